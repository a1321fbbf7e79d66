"use strict";
(() => {
  const root = document.documentElement;
  const toggle = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const name = () => {
    toggle.textContent = isDark() ? "Light" : "Dark";
    toggle.setAttribute("aria-label", `Use the ${isDark() ? "light" : "dark"} colours`);
  };
  toggle.hidden = false;
  toggle.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    name();
  });
  system.addEventListener("change", name);
  name();

  const table = document.getElementById("rows");
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const status = document.getElementById("sorted");
  const by = (column, rising) => (a, b) => {
    const [x, y] = [a, b].map((row) => row.cells[column].dataset.key);
    if (!x || !y) return (x ? 0 : 1) - (y ? 0 : 1); // what was not measured stays last
    const order = heads[column].dataset.kind === "number" ? x - y : x.localeCompare(y);
    return rising ? order : -order;
  };
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      const rising = before ? before === "descending" : head.dataset.first === "rising";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      body.append(...[...body.rows].sort(by(column, rising)));
      status.textContent = `Sorted by ${head.dataset.name}, ${rising ? "rising" : "falling"}`;
    });
  });
})();
