"use strict";
(() => {
  const specs = JSON.parse(document.getElementById("specs").textContent);
  const tip = document.getElementById("tip");
  const axis = { labelColor: "currentColor", titleColor: "currentColor", domainColor: "currentColor",
    tickColor: "currentColor", gridColor: "currentColor", gridOpacity: 0.14, domainOpacity: 0.5,
    tickOpacity: 0.5, titleFontWeight: "normal", labelOverlap: true };
  const config = { font: "system-ui, sans-serif", background: "transparent",
    view: { stroke: "transparent" }, mark: { invalid: "filter" }, axis };

  function tell(handler, event, item, value) {
    tip.hidden = value === null || value === undefined || value === "";
    if (tip.hidden) return;
    tip.textContent = String(value);
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.max(4, Math.min(event.clientX + 12, innerWidth - box.width - 8)) + "px";
    tip.style.top = Math.max(4, event.clientY - box.height - 12) + "px";
  }

  function draw(place) {
    const spec = specs[place.dataset.figure];
    if (!spec || place.dataset.drawn) return Promise.resolve();
    place.dataset.drawn = "yes";
    return vegaEmbed(place, spec, { ast: true, renderer: "svg", actions: false, defaultStyle: false,
      mode: "vega-lite", config, tooltip: tell }).catch((error) => {
      console.error(place.dataset.figure, String(error));
      place.textContent = "This chart could not be drawn; see the table below.";
    });
  }

  const places = [...document.querySelectorAll(".chart")];
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) draw(entry.target);
  }, { rootMargin: "300px" });
  for (const place of places) seen.observe(place);
  window.drawAll = () => places.reduce((before, place) => before.then(() => draw(place)), Promise.resolve());
  const idle = window.requestIdleCallback || ((then) => setTimeout(then, 200));
  const next = () => {
    const place = places.find((one) => !one.dataset.drawn);
    if (place) draw(place).then(() => idle(next));
  };
  addEventListener("load", () => idle(next));

  addEventListener("beforeprint", () => {
    for (const one of document.querySelectorAll("details.block, details.reason")) one.open = true;
  });

  // Comparison of two cells, with their differences marked.
  const picking = document.getElementById("picking");
  let first = null;
  function facts(card) {
    const found = new Map();
    for (const name of card.querySelectorAll("dt")) found.set(name.textContent, name.nextElementSibling.textContent);
    return found;
  }
  function put(row, kind, text, unlike) {
    const cell = row.appendChild(document.createElement(kind));
    cell.textContent = text;
    if (unlike) cell.className = "unlike";
  }
  function beside(one, other) {
    const place = document.getElementById("beside-what");
    const table = document.createElement("table");
    const left = facts(one), right = facts(other);
    const head = table.appendChild(document.createElement("tr"));
    put(head, "th", "");
    for (const card of [one, other]) put(head, "th", card.querySelector("h3").textContent + ", " + card.querySelector(".where").textContent);
    for (const name of new Set([...left.keys(), ...right.keys()])) {
      const row = table.appendChild(document.createElement("tr"));
      const texts = [left.get(name) || "unknown", right.get(name) || "unknown"];
      put(row, "th", name);
      for (const text of texts) put(row, "td", text, texts[0] !== texts[1]);
    }
    place.replaceChildren(table);
    document.getElementById("beside").showPopover();
  }
  document.addEventListener("click", (event) => {
    const asks = event.target.closest(".compare-with");
    const cell = event.target.closest("td > button[popovertarget]");
    if (asks) {
      first = document.getElementById(asks.dataset.cell);
      first.hidePopover();
      picking.textContent = first.querySelector("h3").textContent + ": now select another cell";
      picking.hidden = false;
    } else if (first && cell) {
      event.preventDefault();
      const other = document.getElementById(cell.getAttribute("popovertarget"));
      beside(first, other);
      first = null;
      picking.hidden = true;
    }
  }, true);
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") { first = null; picking.hidden = true; }
  });
})();
