"use strict";
// A case's page: whose marks are drawn, and the way back into the list as it was sorted and filtered.
(() => {
  const all = (selector) => [...document.querySelectorAll(selector)];

  // ---------------------------------------------------------------- whose marks
  const tabs = all(".tabs button"), comparisons = all(".comparison");
  const kept = "bench-report metric";
  const remembered = () => { try { return sessionStorage.getItem(kept); } catch { return null; } };
  function choose(tab, keep) {
    for (const other of tabs) other.setAttribute("aria-pressed", String(other === tab));
    for (const part of comparisons) part.hidden = part.dataset.metric !== tab.dataset.shows;
    if (keep) try { sessionStorage.setItem(kept, tab.textContent); } catch { /* the next page begins with the first */ }
  }
  for (const tab of tabs) tab.addEventListener("click", () => choose(tab, true));
  if (tabs.length) {
    document.body.classList.add("chosen");
    choose(tabs.find((tab) => tab.textContent === remembered()) || tabs[0], false);
  }

  // ---------------------------------------------------------------- the way through the list
  const number = Number(document.querySelector("h1").dataset.number);
  const index = location.pathname.replace(/cases\/[^/]*$/, "index.html");
  let order = null;
  try { order = JSON.parse(sessionStorage.getItem(`bench-report ${index}`)); } catch { /* by number then */ }
  const at = Array.isArray(order) ? order.indexOf(number) : -1;
  if (at >= 0) {
    lead("prev", order[at - 1], "First in the list", "← Previous in the list");
    lead("next", order[at + 1], "Last in the list", "Next in the list →");
    document.getElementById("position").textContent = ` · ${(at + 1).toLocaleString("en")} of ${order.length.toLocaleString("en")} in the list`;
  }
  for (const link of all("a.back, a[rel=prev], a[rel=next]")) link.href = link.getAttribute("href").replace(/#.*/, "") + location.hash;

  function lead(rel, to, none, words) {
    for (const nav of all(".steps")) {
      const old = rel === "prev" ? nav.firstElementChild : nav.lastElementChild;
      const made = document.createElement(to ? "a" : "span");
      made.textContent = to ? words : none;
      if (to) {
        made.rel = rel;
        made.href = `${String(to).padStart(5, "0")}.html`;
      }
      old.replaceWith(made);
    }
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    const rel = event.key === "ArrowLeft" ? "prev" : event.key === "ArrowRight" ? "next" : "";
    const link = rel && document.querySelector(`a[rel=${rel}]`);
    if (link) link.click();
  });
})();
