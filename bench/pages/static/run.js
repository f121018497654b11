"use strict";
// The list of cases of a run page: texts and scores of every run in a row, columns that can be chosen, bars that filter.
(() => {
  const get = (id) => document.getElementById(id);
  const source = JSON.parse(get("data").textContent);
  const several = source.runs.length > 1, defaults = source.shown.join("\n");
  const byKey = new Map(source.columns.map((column) => [column.key, column]));
  const data = (key) => byKey.get(key).data;
  const pages = data("page"), ids = data("id"), status = byKey.get("status");
  const metricOf = (key) => key.split(":").slice(2).join(":");
  const make = (name, text, className) => {
    const element = document.createElement(name);
    if (text !== undefined) element.textContent = text;
    if (className) element.className = className;
    return element;
  };

  // ---------------------------------------------------------------- columns
  const lead = byKey.get("case"), texts = { ...byKey.get("reference"), title: several ? "Reference and reports" : "Reference and report" };
  const score = new Map();  // metric → the column by which its heading sorts
  for (const metric of source.metrics) {
    const place = source.runs.findIndex((_, k) => byKey.has(`score:${k}:${metric.key}`));
    score.set(metric.key, { ...byKey.get(`score:${place}:${metric.key}`), heading: metric.heading, metric: metric.key });
  }
  const chosen = (table) => new Set(table.state.columns.split("\n"));
  function drawn(table) {
    const wanted = chosen(table), sorted = table.state.sort;
    if (/^(score|difference):/.test(sorted)) wanted.add(metricOf(sorted));
    const metrics = source.metrics.filter((metric) => wanted.has(metric.key)).map((metric) => score.get(metric.key));
    const length = sorted.startsWith("words:") ? [byKey.get(sorted)] : [];
    return [lead, texts, ...length, ...metrics];
  }

  // ---------------------------------------------------------------- cells
  function fill(cell, column, row, table) {
    if (column === lead) return caseCell(cell, row, table);
    if (column === texts) return textCell(cell, row);
    if (column.metric === undefined) return false;
    return scoreCell(cell, column, row, table.state.sort);
  }

  function caseCell(cell, row, table) {
    cell.classList.add("casecell");
    const number = String(row + 1);
    if (pages[row]) {
      const link = make("a", number);
      link.href = `cases/${String(pages[row]).padStart(5, "0")}.html${table.address()}`;
      cell.append(link);
    } else {
      cell.append(make("span", number));
    }
    const id = make("bdi", ids[row], "id");
    id.title = ids[row];
    cell.append(" ", id);
    if (status.data[row].length) {
      const flags = make("div", undefined, "flags");
      for (const place of status.data[row]) flags.append(make("span", status.names[place]), " ");
      cell.append(flags);
    }
    return true;
  }

  function textCell(cell, row) {
    cell.classList.add("textcell");
    cell.classList.toggle("many", source.runs.length > 2);
    cell.append(text("Reference", data("reference")[row], "ref"));
    source.runs.forEach((run, k) => cell.append(text(several ? run.letter : "Report", data(`report:${k}`)[row], "said")));
    return true;
  }

  function text(name, value, className) {
    const line = make("p", undefined, className);
    line.dir = "auto";
    line.append(make("b", name), " ", value.trim() ? document.createTextNode(value) : make("em", "empty"));
    return line;
  }

  function scoreCell(cell, column, row, sort) {
    const sorted = /^(score|difference):/.test(sort) && metricOf(sort) === column.metric;
    cell.classList.add("scorecell");
    cell.classList.toggle("sorted", sorted);
    source.runs.forEach((run, k) => {
      const own = byKey.get(`score:${k}:${column.metric}`);
      if (!own) return;
      const line = make("div");
      if (several) line.append(make("span", run.letter, "letter"), " ");
      line.append(own.data[row] === null ? "–" : own.data[row].toFixed(own.decimals));
      const difference = byKey.get(`difference:${k}:${column.metric}`);
      const by = difference && sorted ? difference.data[row] : null;
      if (by !== null && by !== 0) {
        const worse = (by < 0) === (difference.first === "low");
        line.append(" ", make("small", (by > 0 ? "+" : "−") + Math.abs(by).toFixed(difference.decimals), worse ? "worse" : "better"));
      }
      cell.append(line);
    });
    return true;
  }

  // ---------------------------------------------------------------- what case pages are told
  const name = `bench-report ${location.pathname}`;
  function after(now) {
    const order = now.rows().filter((row) => pages[row]).map((row) => pages[row]);
    try { sessionStorage.setItem(name, JSON.stringify(order)); } catch { /* case pages then go by number */ }
  }

  const table = window.benchTable(source, { drawn, fill, href: () => null, state: { columns: defaults }, after });

  // ---------------------------------------------------------------- choosing columns, bars, keys
  for (const metric of source.metrics) {
    const label = make("label"), box = make("input");
    box.type = "checkbox";
    box.checked = chosen(table).has(metric.key);
    box.addEventListener("change", () => {
      const wanted = chosen(table);
      if (box.checked) wanted.add(metric.key); else wanted.delete(metric.key);
      table.update({ page: table.state.page, columns: source.metrics.map((m) => m.key).filter((key) => wanted.has(key)).join("\n") });
    });
    label.append(box, " ", metric.heading);
    get("columns").append(label);
  }
  get("choose").hidden = source.metrics.length < 2;

  // An edge as the filter takes it: rounded outwards, so that no case of the bar is lost.
  function edge(value, column, up) {
    const digits = 10 ** (byKey.get(column).decimals + 2);
    return String((up ? Math.ceil(value * digits - 1e-6) : Math.floor(value * digits + 1e-6)) / digits);
  }
  for (const bar of document.querySelectorAll(".spread rect")) {
    bar.addEventListener("click", () => {
      const { column, low, high } = bar.dataset;
      table.update({ sort: column, descending: false, leastOf: column, least: edge(Number(low), column, false), most: edge(Number(high), column, true) });
      get("cases").scrollIntoView();
    });
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === "/" && !typing) {
      event.preventDefault();
      get("search").focus();
    }
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const links = [...document.querySelectorAll("#table tbody .casecell a")], at = links.indexOf(document.activeElement);
      const next = at < 0 && event.target.id === "search" ? 0 : at + (event.key === "ArrowDown" ? 1 : -1);
      if ((at >= 0 || event.target.id === "search") && links[next]) {
        event.preventDefault();
        links[next].focus();
      }
    }
  });
})();
