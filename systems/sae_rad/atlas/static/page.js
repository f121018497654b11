"use strict";
// Enlarging images, showing which features led to which sentence, and choosing whose marks are drawn.
(() => {
  const all = (selector, under = document) => [...under.querySelectorAll(selector)];

  // ---------------------------------------------------------------- images
  const links = all("a.zoom");
  let dialog = null, picture = null, words = null, at = 0;

  function build() {
    dialog = document.createElement("dialog");
    dialog.className = "viewer";
    picture = document.createElement("img");
    words = document.createElement("p");
    const close = document.createElement("button");
    close.type = "button";
    close.textContent = "Close";
    close.addEventListener("click", () => dialog.close());
    const back = step("Previous image", "←", -1), on = step("Next image", "→", 1);
    const bar = document.createElement("div");
    bar.className = "viewerbar";
    bar.append(back, words, on, close);
    dialog.append(picture, bar);
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    dialog.addEventListener("close", () => links[at].focus());
    dialog.addEventListener("keydown", (event) => {
      if (event.key === "ArrowRight") show(at + 1);
      if (event.key === "ArrowLeft") show(at - 1);
    });
    document.body.append(dialog);
  }

  function step(label, sign, by) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = sign;
    button.setAttribute("aria-label", label);
    button.addEventListener("click", () => show(at + by));
    return button;
  }

  function show(number) {
    at = (number + links.length) % links.length;
    const image = links[at].querySelector("img");
    const caption = links[at].parentElement.querySelector("figcaption");
    picture.src = links[at].href;
    picture.alt = image ? image.alt : "";
    words.textContent = caption ? caption.textContent.trim().replace(/\s+/g, " ") : picture.alt;
    dialog.setAttribute("aria-label", words.textContent);
    if (!dialog.open) dialog.showModal();
  }

  links.forEach((link, number) => link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || typeof HTMLDialogElement === "undefined") return;
    event.preventDefault();
    if (!dialog) build();
    show(number);
  }));

  document.addEventListener("error", (event) => {  // a file of the atlas was moved or deleted
    if (event.target instanceof HTMLImageElement && event.target.closest("a.zoom")) {
      const missing = document.createElement("span");
      missing.className = "missing";
      missing.textContent = "Image file is missing";
      event.target.replaceWith(missing);
    }
  }, true);

  // ---------------------------------------------------------------- sentences and features
  const sentences = all(".sentence"), features = all(".features [data-feature]"), chips = all(".chips [data-feature]");
  const featuresOf = (sentence) => new Set(sentence.dataset.features.trim().split(/\s+/).filter(Boolean));

  function light(numbers, source) {
    const wanted = new Set(numbers);
    for (const item of [...features, ...chips]) item.classList.toggle("lit", wanted.has(item.dataset.feature));
    for (const sentence of sentences) {
      const own = featuresOf(sentence);
      sentence.classList.toggle("lit", source ? sentence === source : [...wanted].some((number) => own.has(number)));
    }
  }

  function dark() { light([], null); for (const sentence of sentences) sentence.classList.remove("lit"); }

  function follow(element, numbers, source) {
    for (const event of ["mouseenter", "focusin"]) element.addEventListener(event, () => light(numbers(), source));
    for (const event of ["mouseleave", "focusout"]) element.addEventListener(event, dark);
  }

  for (const sentence of sentences) follow(sentence, () => featuresOf(sentence), sentence);
  for (const item of [...features, ...chips]) follow(item, () => [item.dataset.feature], null);

  // ---------------------------------------------------------------- whose marks
  const tabs = all(".tabs button"), comparisons = all(".comparison");
  function choose(chosen) {
    for (const tab of tabs) tab.setAttribute("aria-pressed", String(tab === chosen));
    for (const part of comparisons) part.hidden = part.id !== chosen.dataset.shows;
  }
  for (const tab of tabs) tab.addEventListener("click", () => choose(tab));
  if (tabs.length) choose(tabs[0]);
})();
