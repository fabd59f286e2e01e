/* Draws the figures of a page. A specification stands in a <script type="application/json"> block; a colour "@name"
   is the CSS variable --name, so that light, dark and print each get their own; below a width of its own a figure takes its
   narrow layout. */
"use strict";
(() => {
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const resolve = (value) => {
    if (typeof value === "string") return value.startsWith("@") ? css("--" + value.slice(1)) : value;
    if (Array.isArray(value)) return value.map(resolve);
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, resolve(item)]));
    }
    return value;
  };
  const put = (target, path, value) => {
    const keys = path.split(".");
    const last = keys.pop();
    keys.reduce((node, key) => (node[key] ??= {}), target)[last] = value;
  };
  const layout = (spec, width) => {
    const axis = { gridcolor: "@grid", zeroline: false, linecolor: "@line", tickcolor: "@line", fixedrange: true };
    const own = structuredClone(spec.layout);
    for (const key of Object.keys(own).filter((one) => /^[xy]axis\d*$/.test(one))) own[key] = { ...axis, ...own[key] };
    const base = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", dragmode: false, hovermode: "closest",
      font: { family: css("--sans"), size: 12, color: "@muted" },
      hoverlabel: { bgcolor: "@bg", bordercolor: "@line", font: { color: "@ink" } },
      legend: { orientation: "h", x: 0, y: -0.2, font: { color: "@ink" } },
      xaxis: axis, yaxis: axis,
    };
    const merged = { ...base, ...own };
    if (width < spec.below) for (const [path, value] of Object.entries(spec.narrow)) put(merged, path, value);
    return resolve(merged);
  };
  const draw = () => {
    for (const block of document.querySelectorAll("script[data-figure]")) {
      const target = document.getElementById(block.dataset.figure);
      const spec = JSON.parse(block.textContent);
      const config = { displayModeBar: false, responsive: false, doubleClick: false };
      const width = target.clientWidth || 700;
      window.Plotly.react(target, resolve(spec.data), { ...layout(spec, width), width }, config);
    }
    document.documentElement.dataset.figures = "drawn";
  };
  draw();
  let pending = 0;
  const later = () => { clearTimeout(pending); pending = setTimeout(draw, 120); };
  window.addEventListener("resize", later);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  matchMedia("print").addEventListener("change", draw);
})();
