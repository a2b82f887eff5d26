// The table of classes: a heading sorts it.

function sortTable(header) {
  const body = document.querySelector("#classes tbody");
  const column = header.cellIndex;
  const descending = header.getAttribute("aria-sort") !== "descending" && column > 0 ||
    header.getAttribute("aria-sort") === "ascending";
  const compare = (a, b) => column === 0
    ? a.cells[0].textContent.localeCompare(b.cells[0].textContent, "en")
    : Number(a.cells[column].dataset.value) - Number(b.cells[column].dataset.value);
  const rows = [...body.rows].sort((a, b) => (descending ? compare(b, a) : compare(a, b)));
  for (const other of header.parentNode.cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", descending ? "descending" : "ascending");
  body.replaceChildren(...rows);
}

for (const button of document.querySelectorAll("#classes thead button"))
  button.addEventListener("click", () => sortTable(button.closest("th")));
