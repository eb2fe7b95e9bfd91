"use strict";
(() => {
  const said = document.getElementById("said");
  const tables = [...document.querySelectorAll("table.sortable")];

  const value = (row, column) => {
    const cell = row.cells[column];
    if (!("sort" in cell.dataset)) return null;
    const number = Number(cell.dataset.sort);
    return cell.classList.contains("n") && !Number.isNaN(number) ? number : cell.dataset.sort;
  };

  /* Missing values stay last in either direction; equal ones keep their order. */
  const sort = (table, head, descending) => {
    const column = head.cellIndex, body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [value(row, column), row]);
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
      return descending ? -order : order;
    });
    rows.forEach(([, row]) => body.append(row));
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
  };

  /* A number's natural order is largest first, but for ranks, p-values and costs; a word's is from A. */
  const natural = (head) => head.classList.contains("n") && !("small" in head.dataset);

  for (const table of tables) {
    table.tHead.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      const head = button.closest("th"), now = head.getAttribute("aria-sort");
      const descending = now ? now === "ascending" : natural(head);
      sort(table, head, descending);
      const sign = descending === natural(head) ? "" : "-";
      history.replaceState(null, "", `#sort=${sign}${head.dataset.key}`);
      said.textContent = `sorted by ${button.textContent}, ${descending ? "descending" : "ascending"}`;
    });
  }

  /* A link such as #sort=uf1 or #sort=-uf1 (the other way round) can be shared. */
  const follow = () => {
    const [, sign, key] = /^#sort=(-?)([\w.-]+)$/.exec(decodeURIComponent(location.hash)) ?? [];
    if (key === undefined) return;
    for (const table of tables) {
      const head = [...table.tHead.rows[0].cells].find((cell) => cell.dataset.key === key);
      if (head) sort(table, head, natural(head) !== (sign === "-"));
    }
  };

  addEventListener("hashchange", follow);
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
  follow();
})();
