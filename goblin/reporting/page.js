// Draws the charts of the page; what they are stands in the page as JSON.
(function () {
  "use strict";
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  let views = [];
  let drawing = Promise.resolve();

  function config() {
    const colors = getComputedStyle(document.documentElement);
    const ink = colors.getPropertyValue("--ink").trim();
    const quiet = colors.getPropertyValue("--quiet").trim();
    const line = colors.getPropertyValue("--line").trim();
    return {
      background: null,
      font: "system-ui, -apple-system, 'Segoe UI', Roboto, Arial, sans-serif",
      view: { stroke: null },
      title: { color: ink, fontWeight: 600 },
      text: { color: ink },
      legend: { labelColor: ink, titleColor: ink },
      axis: {
        labelColor: quiet, titleColor: quiet, gridColor: line, domainColor: line, tickColor: line,
        labelFontSize: 11,
      },
    };
  }

  function sized(spec, width) {
    const copy = structuredClone(spec);
    // The plot and the labels to its left and right together are as wide as the page.
    const inner = Math.max(200, Math.floor(width - 100));
    for (const view of copy.vconcat || [copy]) view.width = inner;
    return copy;
  }

  async function draw() {
    const old = views;
    views = [];
    for (const [name, spec] of Object.entries(charts)) {
      const place = document.getElementById(name);
      const shown = await vegaEmbed(place, sized(spec, place.clientWidth), {
        actions: { export: true, source: false, compiled: false, editor: false },
        config: config(),
        downloadFileName: name,
        renderer: "svg",
        tooltip: { theme: dark.matches ? "dark" : "light" },
      });
      views.push(shown);
    }
    for (const each of old) each.finalize();
    document.documentElement.dataset.drawn = "yes";
  }

  function redraw() {
    drawing = drawing.then(draw);
  }

  let waiting = 0;
  let width = window.innerWidth;
  window.addEventListener("resize", function () {
    if (window.innerWidth === width) return;
    width = window.innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(redraw, 150);
  });
  dark.addEventListener("change", redraw);
  redraw();
})();
