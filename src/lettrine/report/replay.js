// Walks a page's pictures back to any recorded step: what is drawn for the last one gives way to what was there then.
// A picture brings its frames along; see `beside.py`. Without this script the last step is there.
const replay = (() => {
  const heights = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
  const kept = new WeakMap();
  const made = (name, attributes, tip) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (tip) element.dataset.tip = tip;
    return element;
  };
  const draw = {
    densities: (layer, frames, at, width) => {
      for (const row of frames.rows) {
        const [from, to, shape] = row.records[row.at[at]];
        const x = from * width, bin = ((to - from) * width) / shape.length, high = row.base - row.top;
        const top = [...shape].map((each, i) => `L${(x + (i + 0.5) * bin).toFixed(1)},${(row.base - (high * heights.indexOf(each)) / 63).toFixed(1)}`);
        const path = `M${x},${row.base}${top.join("")}L${to * width},${row.base}`;
        layer.append(made("path", { d: path, class: "walked fill" }), made("path", { d: path, class: "walked line" }));
      }
    },
    profile: (layer, frames, at, width, height) => {
      const points = frames.rows.filter((row) => row.x[at] !== null).map((row) => [row.x[at] * width, row.y * height, row]);
      const joins = points.map(([x, y, row], i) => (i && points[i - 1][2].kind === row.kind ? "L" : "M") + x + "," + y);
      layer.append(made("path", { d: joins.join(""), class: "walked line faint" }));
      for (const [x, y] of points) layer.append(made("circle", { cx: x, cy: y, r: 3.8, class: "walked dot" }));
      for (const [x, y, row] of points) {
        const tip = `${row.label}, step ${frames.steps[at].toLocaleString("en")}: ${row.said[at]}`;
        layer.append(made("circle", { cx: x, cy: y, r: 3 }, tip));
      }
    },
    strands: (layer, frames, at, width, height) => {
      for (const row of frames.rows) {
        let pen = "M";
        const points = [...row.shapes[at]].map((each, i) => {
          if (each === " ") return (pen = "M"), "";
          const point = `${pen}${(row.x[i] * width).toFixed(1)},${(height * (row.base - (row.high * heights.indexOf(each)) / 63)).toFixed(1)}`;
          pen = "L";
          return point;
        });
        layer.append(made("path", { d: points.join(""), class: "walked line" }));
      }
    },
    curve: (layer, frames, at, width, height) => {
      const x = frames.x[at] * width;
      layer.append(made("path", { d: `M${x},0V${height}`, class: "walked line" }));
    },
  };
  const words = (svg, frames) => {
    if (!kept.has(svg)) {
      const texts = [...svg.querySelectorAll("text")];
      const remarks = frames.kind === "densities" ? [...svg.querySelectorAll(".remarks_marks text")] : [];
      kept.set(svg, [texts.filter((each) => frames.name && each.textContent === frames.name), remarks, remarks.map((each) => each.textContent)]);
    }
    return kept.get(svg);
  };
  // Shows a drawing as it was at a step; at the last one, as it was made.
  const show = (svg, frames, step) => {
    const [names, remarks, said] = words(svg, frames);
    const at = Math.max(0, frames.steps.findLastIndex((each) => each <= step));
    const now = at === frames.steps.length - 1;
    svg.querySelector(".walk-layer")?.remove();
    for (const each of svg.querySelectorAll('[class*=" now_"]')) each.style.display = now ? "" : "none";
    for (const each of names) each.textContent = now ? frames.name : "step " + frames.steps[at].toLocaleString("en");
    remarks.forEach((each, i) => (each.textContent = now ? said[i] : frames.rows[i].records[frames.rows[i].at[at]][3]));
    if (now) return;
    const root = svg.querySelector(".root>g");
    const [, width, height] = root.querySelector(".background").getAttribute("d").match(/h([\d.]+)v([\d.]+)/).map(Number);
    const layer = made("g", { class: "walk-layer" });
    const clip = svg.querySelector('[class*=" now_"][clip-path]')?.getAttribute("clip-path");
    if (clip) layer.setAttribute("clip-path", clip);
    draw[frames.kind](layer, frames, at, width, height);
    const last = [...root.children].at(-1);
    (last.localName === "path" ? root : last).append(layer);
  };
  // Puts a slider over drawings with their frames, [svg, frames] each.
  const over = (label, drawings) => {
    const slider = label.querySelector("input"), shown = label.querySelector("output");
    const steps = [...new Set(drawings.flatMap(([, frames]) => frames.steps))].sort((a, b) => a - b);
    label.hidden = steps.length < 2;
    if (label.hidden) return;
    slider.max = slider.value = steps.length - 1;
    slider.oninput = () => {
      const step = steps[slider.value];
      shown.textContent = step.toLocaleString("en");
      slider.setAttribute("aria-valuetext", "step " + shown.textContent);
      for (const [svg, frames] of drawings) show(svg, frames, step);
    };
    shown.textContent = steps.at(-1).toLocaleString("en");
    slider.setAttribute("aria-valuetext", "step " + shown.textContent);
  };
  for (const label of document.querySelectorAll("section>.walk")) {
    const found = [...label.parentElement.querySelectorAll(".frames")];
    over(label, found.map((each) => [each.parentElement.querySelector("svg"), JSON.parse(each.textContent)]));
  }
  return over;
})();
