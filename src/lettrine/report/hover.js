// Shows the figure of the point next to the pointer. Text is set as text, never as markup.
(() => {
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  document.body.append(tip);
  let lit = null;
  const clear = () => {
    tip.hidden = true;
    if (lit) lit.classList.remove("lit");
    lit = null;
  };
  const show = (event) => {
    const svg = event.currentTarget;
    let best = null, nearest = 24 * 24, place = null;
    for (const point of svg.querySelectorAll("[data-tip]")) {
      const box = point.getBoundingClientRect();
      const x = box.left + box.width / 2, y = box.top + box.height / 2;
      const away = (x - event.clientX) ** 2 + (y - event.clientY) ** 2;
      if (away < nearest) [best, nearest, place] = [point, away, [x, y]];
    }
    if (best === lit) return;
    clear();
    if (!best) return;
    lit = best;
    lit.classList.add("lit");
    tip.textContent = best.dataset.tip;
    tip.hidden = false;
    const width = tip.offsetWidth, edge = document.documentElement.clientWidth - width - 8;
    tip.style.left = Math.max(8, Math.min(edge, place[0] - width / 2)) + "px";
    tip.style.top = Math.max(8, place[1] - tip.offsetHeight - 12) + "px";
  };
  for (const svg of document.querySelectorAll("svg.marks")) {
    svg.addEventListener("pointermove", show);
    svg.addEventListener("pointerdown", show);
    svg.addEventListener("pointerleave", clear);
  }
  addEventListener("scroll", clear, { passive: true });
})();
