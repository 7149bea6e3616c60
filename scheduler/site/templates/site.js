"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const spec = read("spec");
  const runs = read("runs");
  const axis = { labelColor: "currentColor", titleColor: "currentColor", domainColor: "currentColor",
    tickColor: "currentColor", gridColor: "currentColor", gridOpacity: 0.14, labelOverlap: true };
  const config = { font: "system-ui, sans-serif", background: "transparent",
    view: { stroke: "transparent" }, axis, legend: { labelColor: "currentColor" } };
  const tip = document.getElementById("tip");

  function tell(handler, event, item, value) {
    tip.hidden = !value;
    if (tip.hidden) return;
    tip.textContent = String(value);
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.max(4, Math.min(event.clientX + 12, innerWidth - box.width - 8)) + "px";
    tip.style.top = Math.max(4, event.clientY - box.height - 12) + "px";
  }

  for (const place of document.querySelectorAll(".chart")) {
    const values = runs.filter((row) => row.phase === place.dataset.phase);
    const drawn = { ...spec, datasets: { runs: values } };
    vegaEmbed(place, drawn, { ast: true, renderer: "svg", actions: false, defaultStyle: false,
      mode: "vega-lite", config, tooltip: tell }).catch((error) => {
      console.error(place.dataset.phase, String(error));
      place.textContent = "This chart could not be drawn; the table below holds its numbers.";
    });
  }
})();
