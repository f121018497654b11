(() => {
  const pad = (number, width) => String(number).padStart(width, "0");
  const href = (column, row) => column.kind === "feature"
    ? `features/${pad(Math.floor(column.data[row] / 1000), 3)}/${column.data[row]}.html`
    : `reports/${pad(column.data[row], 5)}.html`;
  if (window.atlasTable) window.benchTable(window.atlasTable, { href });
  else document.getElementById("status").textContent = "The table's data file is missing: run the same bench sae-rad atlas command again.";
})();
