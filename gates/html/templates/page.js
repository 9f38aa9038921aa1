"use strict";
// Filters and searches; the page can be read without it.
(() => {
  const form = document.querySelector("form.filters");
  const gates = Array.from(document.querySelectorAll(".gate"));
  const shown = form.querySelector(".shown");
  const none = document.querySelector(".none");
  const texts = new Map();
  const textOf = (gate) => {
    if (!texts.has(gate)) texts.set(gate, gate.textContent.toLowerCase());
    return texts.get(gate);
  };
  const matches = (gate, wanted, words) =>
    ["status", "class", "epic"].every((key) => !wanted.get(key) || gate.dataset[key] === wanted.get(key)) &&
    words.every((word) => textOf(gate).includes(word));

  const filter = () => {
    const wanted = new FormData(form);
    const words = wanted.get("text").toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const gate of gates) {
      gate.hidden = !matches(gate, wanted, words);
      count += gate.hidden ? 0 : 1;
    }
    none.hidden = count > 0;
    shown.value = `${count} of ${gates.length} gates`;
  };

  const reveal = () => {
    const gate = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!gate || !gate.classList.contains("gate")) return;
    if (gate.hidden) {
      form.reset();
      filter();
    }
    gate.open = true;
    gate.scrollIntoView();
    (gate.querySelector("summary") || gate).focus({ preventScroll: true });
  };

  form.hidden = false;
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter));
  form.elements.open.addEventListener("click", () => {
    for (const gate of gates) if (!gate.hidden) gate.open = true;
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, select, textarea");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      form.elements.text.focus();
    }
    if (event.key === "Escape" && event.target === form.elements.text) form.reset();
  });
  window.addEventListener("hashchange", reveal);
  filter();
  reveal();
})();
