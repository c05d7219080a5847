// What every page has: light and dark, and commands that can be copied.
"use strict";
(() => {
  const root = document.documentElement;
  const dark = () => root.dataset.theme
    ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  // Some browsers keep nothing for pages that were opened as files.
  const keep = (act) => { try { return act(); } catch { return null; } };
  const kept = keep(() => localStorage.getItem("theme"));
  if (kept === "dark" || kept === "light") root.dataset.theme = kept;
  const toggle = document.getElementById("theme");
  if (toggle) toggle.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    keep(() => localStorage.setItem("theme", root.dataset.theme));
  });
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", () => {
      const code = document.getElementById(button.dataset.copy);
      const chosen = getSelection();
      chosen.selectAllChildren(code);
      const copied = navigator.clipboard ? navigator.clipboard.writeText(code.textContent) : Promise.reject();
      copied.then(() => { button.textContent = "copied"; }, () => { button.textContent = "press Ctrl-C"; });
    });
  }
  const filter = document.getElementById("filter");
  if (filter) filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of document.querySelectorAll("tr[data-words]")) {
      row.hidden = !words.every((word) => row.dataset.words.includes(word));
    }
  });
})();
