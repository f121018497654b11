"use strict";
// A table of tens of thousands of rows: searched, filtered and sorted in memory, fifty rows in the document at a time.
(() => {
  const PER_PAGE = 50;
  const get = (id) => document.getElementById(id);
  const source = window.atlasTable;
  if (!source) {
    get("status").textContent = "The table's data file is missing: run the same bench sae-rad atlas command again.";
    return;
  }
  const columns = source.columns, drawn = columns.filter((column) => !column.hidden && !column.after);
  const addition = new Map(columns.filter((column) => column.after).map((column) => [column.after, column]));
  const byKey = new Map(columns.map((column) => [column.key, column]));
  const n = columns[0].data.length;
  const first = byKey.get(source.sort) || columns[0];
  const isNumber = (column) => ["count", "share", "score", "scaled"].includes(column.kind);
  const state = { query: "", sort: first.key, descending: isNumber(first), category: "", leastOf: "", least: "", hide: true, page: 0 };

  // ---------------------------------------------------------------- reading values
  const pad = (number, width) => String(number).padStart(width, "0");
  const href = (column, row) => column.kind === "feature"
    ? `features/${pad(Math.floor(column.data[row] / 1000), 3)}/${column.data[row]}.html`
    : `reports/${pad(column.data[row], 5)}.html`;
  const grouped = (number) => number.toLocaleString("en");
  const formats = {
    feature: (v) => String(v),
    report: (v) => String(v + 1),
    text: (v) => v || "–",
    count: (v) => grouped(v),
    share: (v) => v === 0 ? "0 %" : v < 0.001 ? "< 0.1 %" : `${(100 * v).toFixed(1)} %`,
    score: (v) => v.toFixed(2),
    scaled: (v, column) => v.toFixed(column.decimals),
    category: (v, column) => column.names[v],
  };
  const shown = (column, row) => {
    const value = column.data[row];
    return value === null || value === undefined ? "–" : formats[column.kind](value, column);
  };

  const searched = columns.filter((c) => ["feature", "report", "text", "category"].includes(c.kind));
  const haystack = new Array(n);
  for (let row = 0; row < n; row++) {
    haystack[row] = searched.map((c) => c.data[row] === null || c.data[row] === undefined ? "" : shown(c, row)).join("\n").toLowerCase();
  }

  // ---------------------------------------------------------------- which rows
  function keeps() {
    const words = state.query.toLowerCase().split(/\s+/).filter(Boolean);
    const hidden = source.hide && state.hide ? byKey.get(source.hide).data : null;
    const [key, name] = state.category ? state.category.split("\u0000") : [];
    const category = key ? byKey.get(key) : null, wanted = category ? category.names.indexOf(name) : -1;
    const least = state.leastOf && state.least !== "" ? byKey.get(state.leastOf) : null, bar = Number(state.least);
    const scale = least && least.kind === "share" ? 0.01 : 1;
    const rows = [];
    for (const row of order()) {
      if (hidden && !hidden[row]) continue;
      if (category && category.data[row] !== wanted) continue;
      if (least && !(least.data[row] !== null && least.data[row] >= bar * scale)) continue;
      let all = true;
      for (const word of words) if (!haystack[row].includes(word)) { all = false; break; }
      if (all) rows.push(row);
    }
    return rows;
  }

  const ranks = new Map();  // the order of a text column is worked out once
  function sortable(column) {
    if (column.kind !== "text" && column.kind !== "category") return column.data;
    if (!ranks.has(column.key)) {
      const text = column.data.map((v, row) => v === null || v === "" ? null : shown(column, row).toLowerCase());
      const names = [...new Set(text)].filter((v) => v !== null).sort();
      const place = new Map(names.map((name, k) => [name, k]));
      ranks.set(column.key, text.map((v) => v === null ? null : place.get(v)));
    }
    return ranks.get(column.key);
  }

  // All rows in order, sorted when the order changes and not at every key that is pressed in the search.
  let sorted = { key: "", descending: false, rows: [] };
  function order() {
    if (sorted.key !== state.sort || sorted.descending !== state.descending) {
      const values = sortable(byKey.get(state.sort)), sign = state.descending ? -1 : 1;
      const known = [], unknown = [];  // what has no value comes last, whichever the direction
      for (let row = 0; row < n; row++) (values[row] === null ? unknown : known).push(row);
      known.sort((a, b) => sign * (values[a] - values[b]) || a - b);
      sorted = { key: state.sort, descending: state.descending, rows: known.concat(unknown) };
    }
    return sorted.rows;
  }

  // ---------------------------------------------------------------- drawing
  const head = document.querySelector("#table thead tr"), body = document.querySelector("#table tbody");
  for (const column of drawn) {
    const cell = document.createElement("th"), button = document.createElement("button");
    cell.scope = "col";
    cell.className = `k-${column.kind}`;
    cell.dataset.key = column.key;
    button.type = "button";
    button.textContent = column.title;
    button.addEventListener("click", () => {
      const same = state.sort === column.key;
      update({ sort: column.key, descending: same ? !state.descending : isNumber(column) });
    });
    cell.append(button);
    head.append(cell);
  }

  function line(row) {
    const tr = document.createElement("tr");
    for (const column of drawn) {
      const heading = column === drawn[0];
      const cell = document.createElement(heading ? "th" : "td");
      if (heading) {
        cell.scope = "row";
        const link = document.createElement("a");
        link.href = href(column, row);
        link.textContent = shown(column, row);
        cell.append(link);
      } else {
        cell.textContent = shown(column, row);
      }
      const more = addition.get(column.key);
      if (more && more.data[row] !== null) {
        const small = document.createElement("small");
        small.textContent = shown(more, row);
        small.title = more.title;
        cell.append(" ", small);
      }
      cell.className = `k-${column.kind}`;
      cell.dataset.title = column.title;
      tr.append(cell);
    }
    return tr;
  }

  let current = [];
  function draw() {
    current = keeps();
    const pages = Math.max(1, Math.ceil(current.length / PER_PAGE));
    state.page = Math.min(state.page, pages - 1);
    const start = state.page * PER_PAGE, part = current.slice(start, start + PER_PAGE);
    body.replaceChildren(...part.map(line));
    get("status").textContent = current.length
      ? `${grouped(current.length)} of ${grouped(n)} ${source.noun}` + (pages > 1 ? `, ${grouped(start + 1)} to ${grouped(start + part.length)} shown` : "")
      : `No ${source.noun.replace(/s$/, "")} fits: take a word out of the search, or a filter off.`;
    get("table").hidden = !current.length;
    get("pager").hidden = pages < 2;
    get("where").textContent = `Page ${grouped(state.page + 1)} of ${grouped(pages)}`;
    for (const id of ["first", "previous"]) get(id).disabled = state.page === 0;
    for (const id of ["next", "last"]) get(id).disabled = state.page === pages - 1;
    for (const cell of head.children) {
      if (cell.dataset.key === state.sort) cell.setAttribute("aria-sort", state.descending ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    }
  }

  // ---------------------------------------------------------------- controls
  function option(select, value, text) {
    const item = document.createElement("option");
    item.value = value;
    item.textContent = text;
    select.append(item);
    return item;
  }
  for (const column of columns) option(get("sort"), column.key, column.title);
  const categories = columns.filter((c) => c.kind === "category" && c.names.length);
  if (categories.length) {
    option(get("category"), "", "everything");
    for (const column of categories) {
      const group = document.createElement("optgroup");
      group.label = column.title;
      for (const name of column.names) option(group, `${column.key}\u0000${name}`, name);
      get("category").append(group);
    }
    get("category-field").hidden = false;
  }
  const numbers = columns.filter(isNumber);
  if (numbers.length) {
    for (const column of numbers) option(get("least-of"), column.key, column.title + (column.kind === "share" ? " (%)" : ""));
    state.leastOf = numbers[0].key;
    get("least-field").hidden = false;
  }
  if (source.hide) {
    const gone = byKey.get(source.hide).data.reduce((sum, v) => sum + (v ? 0 : 1), 0);
    get("hide-title").textContent = `Hide the ${grouped(gone)} ${source.hideTitle}`;
    get("hide-field").hidden = !gone;
  }

  const kept = ["query", "sort", "descending", "category", "leastOf", "least", "hide", "page"];
  function remember() {
    const said = new URLSearchParams();
    for (const key of kept) if (String(state[key]) !== String(initial[key])) said.set(key, String(state[key]));
    try { history.replaceState(null, "", said.size ? `#${said}` : location.pathname + location.search); } catch { /* not allowed for files everywhere */ }
  }
  function recall() {
    const said = new URLSearchParams(location.hash.slice(1));
    if (said.has("query")) state.query = said.get("query");
    for (const key of ["sort", "leastOf"]) if (byKey.has(said.get(key))) state[key] = said.get(key);
    if (said.has("category") && byKey.has(said.get("category").split("\u0000")[0])) state.category = said.get("category");
    if (said.has("least") && Number.isFinite(Number(said.get("least")))) state.least = said.get("least");
    for (const key of ["descending", "hide"]) if (said.has(key)) state[key] = said.get(key) === "true";
    if (said.has("page")) state.page = Math.max(0, Number.parseInt(said.get("page"), 10) || 0);
  }
  function mirror() {
    get("search").value = state.query;
    get("sort").value = state.sort;
    get("category").value = state.category;
    get("least-of").value = state.leastOf;
    get("least").value = state.least;
    get("hide").checked = state.hide;
    get("direction").textContent = state.descending ? "↓ high first" : "↑ low first";
    get("direction").setAttribute("aria-pressed", String(state.descending));
  }
  function update(change) {
    Object.assign(state, { page: 0 }, change);
    mirror();
    draw();
    remember();
  }
  const turn = (page) => { update({ page }); get("status").scrollIntoView({ block: "nearest" }); };

  const initial = { ...state };
  recall();
  mirror();
  draw();
  get("controls").addEventListener("submit", (event) => event.preventDefault());
  get("search").addEventListener("input", (event) => update({ query: event.target.value }));
  get("sort").addEventListener("change", (event) => update({ sort: event.target.value, descending: isNumber(byKey.get(event.target.value)) }));
  get("direction").addEventListener("click", () => update({ descending: !state.descending }));
  get("category").addEventListener("change", (event) => update({ category: event.target.value }));
  get("least-of").addEventListener("change", (event) => update({ leastOf: event.target.value }));
  get("least").addEventListener("input", (event) => update({ least: event.target.value }));
  get("hide").addEventListener("change", (event) => update({ hide: event.target.checked }));
  get("first").addEventListener("click", () => turn(0));
  get("previous").addEventListener("click", () => turn(state.page - 1));
  get("next").addEventListener("click", () => turn(state.page + 1));
  get("last").addEventListener("click", () => turn(Math.ceil(current.length / PER_PAGE) - 1));
})();
