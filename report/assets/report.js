"use strict";
// Draws the pictures with Vega, shows their words, and picks the currency. Text from the data only ever becomes text nodes.
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const page = JSON.parse(document.getElementById("charts").textContent);
  const drawn = new Map();

  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  tip.setAttribute("aria-hidden", "true"); // the same words stand in each picture's table
  document.body.append(tip);

  function showTip(handler, event, item, value) {
    tip.hidden = !value || typeof value !== "object";
    if (tip.hidden) return;
    const table = document.createElement("table");
    for (const [name, text] of Object.entries(value)) {
      const row = table.insertRow();
      row.insertCell().textContent = name;
      row.insertCell().textContent = text;
    }
    tip.replaceChildren(table);
    const at = event.touches?.[0] ?? event.changedTouches?.[0] ?? event;
    const box = tip.getBoundingClientRect();
    const left = Math.min(Math.max(at.clientX - box.width / 2, 8), innerWidth - box.width - 8);
    const above = at.clientY - box.height - 16;
    tip.style.left = `${Math.max(left, 8)}px`;
    tip.style.top = `${above < 8 ? at.clientY + 20 : above}px`;
  }

  function draw(place) {
    if (drawn.has(place.id)) return;
    const chart = page.charts[place.id];
    const spec = structuredClone(page.specs[chart.kind]);
    spec.data.find((data) => data.name === "rows").values = chart.rows;
    try {
      const view = new vega.View(vega.parse(spec), { renderer: "svg", container: place, hover: true, tooltip: showTip });
      view.addEventListener("click", (event, item) => showTip(null, event, item, item?.tooltip)); // a finger does not hover
      view.run();
      drawn.set(place.id, view);
    } catch (error) {
      place.textContent = "This picture could not be drawn; its figures are below.";
      throw error;
    }
  }

  function drawVisible() {
    for (const place of document.querySelectorAll(".chart")) {
      if (place.clientWidth > 0) draw(place);
    }
  }

  const picker = document.getElementById("currency");
  if (picker) {
    const pick = () => {
      for (const panel of document.querySelectorAll(".panel")) panel.hidden = panel.dataset.currency !== picker.value;
      drawVisible();
      dispatchEvent(new Event("resize")); // what was drawn before at another width
    };
    picker.closest(".picker").hidden = false;
    picker.addEventListener("change", pick);
    pick();
  }
  drawVisible();
  addEventListener("resize", () => { tip.hidden = true; drawVisible(); });
  addEventListener("click", (event) => { if (!event.target.closest?.(".chart")) tip.hidden = true; });
  addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });
  // The print style shows every currency and is narrower.
  const forPrint = matchMedia("print");
  forPrint.addEventListener("change", () => { drawVisible(); dispatchEvent(new Event("resize")); });
  root.dataset.drawn = String(drawn.size);
})();
