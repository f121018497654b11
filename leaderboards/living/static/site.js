"use strict";
// Headings of tables become buttons that sort: numbers by what stands in data-v, what has none last.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  const value = (row, at) => {
    const cell = row.cells[at];
    if (heads[at].dataset.first) return cell.dataset.v === undefined ? null : Number(cell.dataset.v);
    return cell.textContent.trim().toLowerCase();
  };
  const sort = (at) => {
    const before = heads[at].getAttribute("aria-sort"), first = heads[at].dataset.first === "high" ? "descending" : "ascending";
    const now = before === null ? first : before === "ascending" ? "descending" : "ascending";
    const sign = now === "ascending" ? 1 : -1;
    const rows = [...body.rows].map((row, place) => ({ row, place, key: value(row, at) }));
    rows.sort((a, b) => {
      if (a.key === null || b.key === null) return (a.key === null) - (b.key === null) || a.place - b.place;
      return sign * (a.key < b.key ? -1 : a.key > b.key ? 1 : 0) || a.place - b.place;
    });
    body.append(...rows.map(({ row }) => row));
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[at].setAttribute("aria-sort", now);
  };
  heads.forEach((head, at) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(at));
    head.append(button);
  });
}
document.body.classList.add("live");
