// Folds, sorts and searches a long table of layers. Without this script every row is there, in the order of the network.
for (const tools of document.querySelectorAll(".tools")) {
  const table = tools.parentElement.querySelector(".modules"), count = tools.querySelector("output");
  const search = tools.querySelector("input"), all = tools.querySelector("button");
  const heads = [...table.tHead.rows[0].cells], sorted = document.createElement("tbody");
  const folds = [...table.tBodies].map((body) => {
    const rows = [...body.rows], fold = { body, open: false, head: body.className === "fold" ? rows.shift() : null, rows };
    if (fold.head) {
      fold.button = button(fold.head.querySelector(".count"), () => ((fold.open = !fold.open), show()));
      fold.button.setAttribute("aria-label", fold.button.textContent + " " + fold.head.querySelector(".name").textContent);
    }
    return fold;
  });
  const rows = folds.flatMap((fold) => fold.rows);
  const texts = new Map(rows.map((row) => [row, row.cells[0].textContent + " " + row.cells[1].textContent]));
  let column = -1, sign = 1;

  function button(place, pressed) {
    const made = document.createElement("button");
    made.type = "button";
    made.append(...place.childNodes);
    made.addEventListener("click", pressed);
    place.append(made);
    return made;
  }
  const figure = (row) => Number.parseFloat(row.cells[column].textContent.replaceAll(",", "").replace("∞", "Infinity"));
  const compare = (a, b) => {
    if (column < 2) return sign * a.cells[column].textContent.localeCompare(b.cells[column].textContent, "en", { numeric: true });
    const [x, y] = [figure(a), figure(b)];
    return Number.isNaN(x) || Number.isNaN(y) ? Number.isNaN(x) - Number.isNaN(y) : sign * (x - y); // what is missing comes last
  };
  function show() {
    const wanted = search.value.trim().replace(/[.+?^${}()|[\]\\]/g, "\\$&").replaceAll("*", ".*");
    const found = new Set(rows.filter((row) => new RegExp(wanted, "i").test(texts.get(row))));
    for (const { body, head, rows, open, button } of folds) {
      const some = rows.some((row) => found.has(row));
      if (column < 0) body.append(...rows);
      for (const row of rows) row.hidden = !found.has(row) || (head && column < 0 && !open && !wanted);
      if (!head) continue;
      head.hidden = column >= 0 || !some;
      button.setAttribute("aria-expanded", open || Boolean(wanted));
    }
    if (column >= 0) sorted.append(...[...rows].sort(compare));
    heads.forEach((head, i) => head.setAttribute("aria-sort", i !== column ? "none" : sign > 0 ? "ascending" : "descending"));
    if (all) all.textContent = folds.some((fold) => fold.head && !fold.open) ? "open all" : "close all";
    count.textContent = wanted ? `${found.size} of ${rows.length} layers` : `${rows.length} layers`;
  }
  heads.forEach((head, i) => {
    const first = i < 2 ? 1 : -1; // names from a on, figures from the largest on; pressed once more the other way, then as it was
    button(head, () => {
      if (column !== i) [column, sign] = [i, first];
      else if (sign === first) sign = -first;
      else column = -1;
      show();
    });
  });
  search.addEventListener("input", show);
  all?.addEventListener("click", () => {
    const open = folds.some((fold) => fold.head && !fold.open);
    for (const fold of folds) fold.open = open;
    show();
  });
  table.append(sorted);
  tools.hidden = false;
  show();
}
