// The pictures of a live page: drawn anew as they come, those out of sight once they are looked at.
const made = (name, text = "", kind = "") => {
  const element = document.createElement(name);
  if (text) element.textContent = text;
  if (kind) element.className = kind;
  return element;
};
const drawn = (colours) => {
  const $ = (id) => document.getElementById(id);
  const pictures = new Map();
  let names = [], ended = false;
  // Charts are made in the light colours of the report; here each becomes the one of the reader's scheme.
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const coloured = (chart) => {
    const style = getComputedStyle(document.documentElement);
    let text = JSON.stringify(chart);
    for (const [name, colour] of Object.entries(colours)) {
      text = text.replaceAll('"' + colour + '"', '"' + style.getPropertyValue("--" + name).trim() + '"');
    }
    return JSON.parse(text);
  };
  const arrange = () => {
    const figures = names.map((name) => pictures.get(name)?.figure).filter(Boolean);
    if (figures.some((figure, place) => $("pictures").children[place] !== figure)) $("pictures").append(...figures);
  };
  // One after the other, so that the page answers in between however many come at once.
  const waiting = new Set();
  let working = false;
  const draw = async (name) => {
    waiting.add(name);
    if (working) return;
    working = true;
    try {
      for (const next of waiting) {
        waiting.delete(next);
        await paint(next);
        await new Promise((resolve) => setTimeout(resolve));
      }
    } finally {
      working = false;
    }
  };
  const paint = async (name) => {
    const picture = pictures.get(name);
    if (!picture) return;
    picture.stale = picture.seen === false && !ended;
    if (picture.stale) return;
    if (!picture.figure) {
      picture.figure = made("figure");
      picture.figure.id = "figure-" + name;
      picture.heading = made("h3");
      picture.slot = made("div", "", "chart");
      picture.slot.setAttribute("role", "img");
      picture.caption = made("figcaption");
      picture.figure.append(picture.heading, picture.slot, picture.caption);
      arrange();
      seen.observe(picture.figure);
    }
    picture.heading.textContent = picture.title;
    picture.slot.setAttribute("aria-label", picture.title);
    picture.caption.textContent = picture.reading;
    picture.figure.classList.toggle("ghosted", Boolean(picture.ghosted));
    const fresh = made("div");
    const options = { ast: true, actions: false, renderer: "svg", defaultStyle: false, tooltip: false };
    const view = await window.vegaEmbed(fresh, coloured(picture.chart), options);
    const svg = fresh.querySelector("svg");
    if (svg) {
      const [width, height] = [svg.getAttribute("width"), svg.getAttribute("height")];
      svg.setAttribute("viewBox", svg.getAttribute("viewBox") || `0 0 ${width} ${height}`);
      svg.removeAttribute("width");
      svg.removeAttribute("height");
      picture.slot.replaceChildren(svg);
    }
    view.finalize();
    if (ended) walk();
  };

  // Pictures out of sight are drawn once they are looked at.
  const seen = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const picture = pictures.get(target.id.slice("figure-".length));
      if (!picture) continue;
      picture.seen = isIntersecting;
      if (isIntersecting && picture.stale) draw(target.id.slice("figure-".length));
    }
  }, { rootMargin: "25%" });
  // After the end the page is the static report, with its slider over the recorded steps.
  const walk = () => {
    const there = [...pictures.values()].filter((picture) => picture.frames && picture.slot?.firstChild);
    replay($("walk"), there.map((picture) => [picture.slot.firstChild, picture.frames]));
  };
  dark.addEventListener("change", () => pictures.forEach((_, name) => draw(name)));
  return {
    put: (name, value) => {
      pictures.set(name, Object.assign(pictures.get(name) || {}, value));
      draw(name);
    },
    order: (those) => {
      names = those;
      for (const [name, { figure }] of pictures) {
        if (names.includes(name)) continue;
        if (figure) {
          seen.unobserve(figure);
          figure.remove();
        }
        pictures.delete(name);
      }
      arrange();
    },
    end: () => {
      ended = true;
      for (const [name, { stale }] of pictures) if (stale) draw(name);
      walk();
    },
  };
};
