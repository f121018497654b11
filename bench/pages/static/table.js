"use strict";
// A table of tens of thousands of rows: searched, filtered and sorted in memory, fifty rows in the document at a time.
//
// source: { noun, sort, hide, hideTitle, columns: [{ key, title, kind, data, … }] }. Kinds: text, category (data: places
// in `names`), flags (data: lists of places in `names`), and the numbers count, share, score and scaled (`decimals`).
// A column's `first` ("low", "high") is the end that comes first when it is sorted by; `group` is its heading in lists.
// hooks: href(column, row); drawn(table) → columns to draw; fill(cell, column, row, table) → true where it filled it;
// state: further { key: default } that the address keeps; after(table) once a page of rows is drawn.
window.benchTable = (source, hooks) => {
  const PER_PAGE = 50;
  const get = (id) => document.getElementById(id);
  const columns = source.columns, visible = columns.filter((column) => !column.hidden && !column.after);
  const drawn = hooks.drawn || (() => visible);
  const addition = new Map(columns.filter((column) => column.after).map((column) => [column.after, column]));
  const byKey = new Map(columns.map((column) => [column.key, column]));
  const n = columns[0].data.length;
  const first = byKey.get(source.sort) || columns[0];
  const isNumber = (column) => ["count", "share", "score", "scaled"].includes(column.kind);
  const highFirst = (column) => column.first ? column.first === "high" : isNumber(column);
  const state = { query: "", sort: first.key, descending: highFirst(first), category: "", leastOf: "", least: "", most: "", hide: true, page: 0, ...hooks.state };

  // ---------------------------------------------------------------- reading values
  const grouped = (number) => number.toLocaleString("en");
  const formats = {
    feature: (v) => String(v),
    report: (v) => String(v + 1),
    text: (v) => v || "–",
    count: (v) => grouped(v),
    share: (v) => v === 0 ? "0 %" : v < 0.001 ? "< 0.1 %" : `${(100 * v).toFixed(1)} %`,
    score: (v) => v.toFixed(2),
    scaled: (v, column) => (column.signed && v > 0 ? "+" : "") + v.toFixed(column.decimals).replace(/^-/, "−"),
    category: (v, column) => column.names[v],
    flags: (v, column) => v.map((place) => column.names[place]).join(", "),
  };
  const shown = (column, row) => {
    const value = column.data[row];
    return value === null || value === undefined ? "–" : formats[column.kind](value, column);
  };

  const searched = columns.filter((c) => ["feature", "report", "text", "category"].includes(c.kind));
  let haystack = null;  // made when something is searched for
  function texts() {
    if (haystack) return haystack;
    haystack = new Array(n);
    for (let row = 0; row < n; row++) {
      haystack[row] = searched.map((c) => c.data[row] === null || c.data[row] === undefined ? "" : shown(c, row)).join("\n").toLowerCase();
    }
    return haystack;
  }

  // ---------------------------------------------------------------- which rows
  function keeps() {
    const words = state.query.toLowerCase().split(/\s+/).filter(Boolean), text = words.length ? texts() : null;
    const hidden = source.hide && state.hide ? byKey.get(source.hide).data : null;
    const [key, name] = state.category ? state.category.split("\u0000") : [];
    const category = key ? byKey.get(key) : null, wanted = category ? category.names.indexOf(name) : -1;
    const among = category && category.kind === "flags";
    const bounded = state.leastOf && (state.least !== "" || state.most !== "") ? byKey.get(state.leastOf) : null;
    const scale = bounded && bounded.kind === "share" ? 0.01 : 1;
    const low = state.least === "" ? -Infinity : Number(state.least) * scale;
    const high = state.most === "" ? Infinity : Number(state.most) * scale;
    const rows = [];
    for (const row of order()) {
      if (hidden && !hidden[row]) continue;
      if (category && !(among ? category.data[row].includes(wanted) : category.data[row] === wanted)) continue;
      if (bounded && !(bounded.data[row] !== null && bounded.data[row] >= low && bounded.data[row] <= high)) continue;
      let all = true;
      for (const word of words) if (!text[row].includes(word)) { all = false; break; }
      if (all) rows.push(row);
    }
    return rows;
  }

  const ranks = new Map();  // the order of a text column is worked out once
  function sortable(column) {
    if (column.kind === "flags") return column.data.map((v) => v.length);
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
  function heading(column) {
    const cell = document.createElement("th"), button = document.createElement("button");
    cell.scope = "col";
    cell.className = `k-${column.kind}`;
    cell.dataset.key = column.key;
    button.type = "button";
    button.textContent = column.heading || column.title;
    button.addEventListener("click", () => {
      const same = state.sort === column.key;
      update({ sort: column.key, descending: same ? !state.descending : highFirst(column) });
      const again = [...head.children].find((other) => other.dataset.key === column.key);
      if (again) again.firstChild.focus();
    });
    cell.append(button);
    if (column.key === state.sort) cell.setAttribute("aria-sort", state.descending ? "descending" : "ascending");
    return cell;
  }

  function line(row, shownColumns) {
    const tr = document.createElement("tr");
    for (const column of shownColumns) {
      const isHeading = column === shownColumns[0];
      const cell = document.createElement(isHeading ? "th" : "td");
      if (isHeading) cell.scope = "row";
      cell.className = `k-${column.kind}`;
      cell.dataset.title = column.heading || column.title;
      if (!(hooks.fill && hooks.fill(cell, column, row, table))) plain(cell, column, row, isHeading);
      tr.append(cell);
    }
    return tr;
  }

  function plain(cell, column, row, isHeading) {
    const address = isHeading ? hooks.href(column, row) : null;
    if (address) {
      const link = document.createElement("a");
      link.href = address;
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
  }

  let current = [];
  function draw() {
    current = keeps();
    const pages = Math.max(1, Math.ceil(current.length / PER_PAGE));
    state.page = Math.min(state.page, pages - 1);
    const start = state.page * PER_PAGE, part = current.slice(start, start + PER_PAGE), shownColumns = drawn(table);
    head.replaceChildren(...shownColumns.map(heading));
    body.replaceChildren(...part.map((row) => line(row, shownColumns)));
    get("status").textContent = current.length
      ? `${grouped(current.length)} of ${grouped(n)} ${source.noun}` + (pages > 1 ? `, ${grouped(start + 1)} to ${grouped(start + part.length)} shown` : "")
      : `No ${source.noun.replace(/s$/, "")} fits: take a word out of the search, or a filter off.`;
    get("table").hidden = !current.length;
    get("pager").hidden = pages < 2;
    get("where").textContent = `Page ${grouped(state.page + 1)} of ${grouped(pages)}`;
    for (const id of ["first", "previous"]) get(id).disabled = state.page === 0;
    for (const id of ["next", "last"]) get(id).disabled = state.page === pages - 1;
  }

  // ---------------------------------------------------------------- controls
  function option(under, value, text) {
    const item = document.createElement("option");
    item.value = value;
    item.textContent = text;
    under.append(item);
    return item;
  }
  // Options for columns, those of one group under its heading.
  function options(select, offered, titleOf) {
    let under = select, group;
    for (const column of offered) {
      if (column.group !== group) {
        group = column.group;
        under = select;
        if (group) {
          under = document.createElement("optgroup");
          under.label = group;
          select.append(under);
        }
      }
      option(under, column.key, titleOf(column));
    }
  }
  options(get("sort"), columns.filter((column) => !column.unsorted), (column) => column.title);
  const categories = columns.filter((c) => ["category", "flags"].includes(c.kind) && c.names.length);
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
  const numbers = columns.filter((column) => isNumber(column) && !column.unranged);
  if (numbers.length) {
    options(get("least-of"), numbers, (column) => column.title + (column.kind === "share" ? " (%)" : ""));
    state.leastOf = (numbers.find((column) => column.key === state.sort) || numbers[0]).key;
    get("least-field").hidden = false;
  }
  if (source.hide) {
    const gone = byKey.get(source.hide).data.reduce((sum, v) => sum + (v ? 0 : 1), 0);
    get("hide-title").textContent = `Hide the ${grouped(gone)} ${source.hideTitle}`;
    get("hide-field").hidden = !gone;
  }

  const kept = ["query", "sort", "descending", "category", "leastOf", "least", "most", "hide", "page", ...Object.keys(hooks.state || {})];
  const initial = { ...state };
  const said = () => {
    const found = new URLSearchParams();
    const usual = { ...initial, descending: highFirst(byKey.get(state.sort)) };
    for (const key of kept) if (String(state[key]) !== String(usual[key])) found.set(key, String(state[key]));
    return found.size ? `#${found}` : "";
  };
  function remember() {
    try { history.replaceState(null, "", said() || location.pathname + location.search); } catch { /* not allowed for files everywhere */ }
  }
  function recall() {
    const told = new URLSearchParams(location.hash.slice(1));
    if (told.has("query")) state.query = told.get("query");
    for (const key of ["sort", "leastOf"]) if (byKey.has(told.get(key))) state[key] = told.get(key);
    state.descending = highFirst(byKey.get(state.sort));
    if (told.has("category")) {
      const [key, name] = told.get("category").split("\u0000");
      if (byKey.has(key) && (byKey.get(key).names || []).includes(name)) state.category = told.get("category");
    }
    for (const key of ["least", "most"]) if (told.get(key) && Number.isFinite(Number(told.get(key)))) state[key] = told.get(key);
    for (const key of ["descending", "hide"]) if (told.has(key)) state[key] = told.get(key) === "true";
    for (const key of Object.keys(hooks.state || {})) if (told.has(key)) state[key] = told.get(key);
    if (told.has("page")) state.page = Math.max(0, Number.parseInt(told.get("page"), 10) || 0);
  }
  function mirror() {
    const set = (id, value) => { if (get(id).value !== value) get(id).value = value; };
    set("search", state.query);
    set("sort", state.sort);
    set("category", state.category);
    set("least-of", state.leastOf);
    set("least", state.least);
    set("most", state.most);
    get("hide").checked = state.hide;
    get("direction").textContent = state.descending ? "↓ high first" : "↑ low first";
    get("direction").setAttribute("aria-pressed", String(state.descending));
  }
  function show() {
    mirror();
    draw();
    if (hooks.after) hooks.after(table);
  }
  function update(change) {
    Object.assign(state, { page: 0 }, change);
    show();
    remember();
  }
  const turn = (page) => { update({ page }); get("status").scrollIntoView({ block: "nearest" }); };
  const table = { state, byKey, shown, update, address: said, rows: () => current };

  recall();
  show();
  get("controls").addEventListener("submit", (event) => event.preventDefault());
  get("search").addEventListener("input", (event) => update({ query: event.target.value }));
  get("sort").addEventListener("change", (event) => update({ sort: event.target.value, descending: highFirst(byKey.get(event.target.value)) }));
  get("direction").addEventListener("click", () => update({ descending: !state.descending }));
  get("category").addEventListener("change", (event) => update({ category: event.target.value }));
  get("least-of").addEventListener("change", (event) => update({ leastOf: event.target.value }));
  get("least").addEventListener("input", (event) => update({ least: event.target.value }));
  get("most").addEventListener("input", (event) => update({ most: event.target.value }));
  get("hide").addEventListener("change", (event) => update({ hide: event.target.checked }));
  get("first").addEventListener("click", () => turn(0));
  get("previous").addEventListener("click", () => turn(state.page - 1));
  get("next").addEventListener("click", () => turn(state.page + 1));
  window.addEventListener("hashchange", () => {
    if (get(location.hash.slice(1))) remember();  // a link to a part of the page: what is chosen goes back into the address
    else location.reload();
  });
  get("last").addEventListener("click", () => turn(Math.ceil(current.length / PER_PAGE) - 1));
  return table;
};
