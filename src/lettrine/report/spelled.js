// Words of several temperatures behind a slider, and the probability of the letter under the pointer. Without a script the words of
// temperature 1 are there.
for (const box of document.querySelectorAll(".spelled")) {
  const lists = [...box.querySelectorAll(".words")];
  const slider = box.querySelector("input"), shown = box.querySelector("output");
  if (slider) {
    const pick = () => {
      lists.forEach((list, i) => (list.hidden = i !== Number(slider.value)));
      shown.textContent = lists[slider.value].dataset.name;
      slider.setAttribute("aria-valuetext", shown.textContent);
    };
    slider.value = lists.findIndex((list) => !list.hidden);
    slider.addEventListener("input", pick);
    slider.parentElement.hidden = false;
    pick();
  }
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  box.append(tip);
  const show = (event) => {
    const letter = event.target.closest("[data-chance]");
    tip.hidden = !letter;
    if (!letter) return;
    tip.textContent = letter.dataset.chance;
    const at = letter.getBoundingClientRect(), edge = document.documentElement.clientWidth - tip.offsetWidth - 8;
    tip.style.left = Math.max(8, Math.min(edge, at.left + (at.width - tip.offsetWidth) / 2)) + "px";
    tip.style.top = Math.max(8, at.top - tip.offsetHeight - 4) + "px";
  };
  box.addEventListener("pointerover", show);
  box.addEventListener("pointerdown", show);
  box.addEventListener("pointerleave", () => (tip.hidden = true));
  addEventListener("scroll", () => (tip.hidden = true), { passive: true });
}
