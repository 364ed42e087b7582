// The live page: what the board holds is shown, what is clicked is asked for. Text is set as text, never as markup.
(() => {
  const about = JSON.parse(document.querySelector("meta[name=about]").content);
  const token = about.token;
  const $ = (id) => document.getElementById(id);
  const state = { facts: {}, held: new Set() };
  const drawing = drawn(about.colours);
  const trouble = (text) => {
    $("trouble").textContent = text;
    $("trouble").hidden = !text;
  };
  const ask = async (what, values = {}) => {
    try {
      const headers = { "Content-Type": "application/json", "X-Lettrine-Token": token };
      const answer = await fetch("/do/" + what, { method: "POST", headers, body: JSON.stringify(values) });
      const said = await answer.json();
      trouble(answer.ok ? "" : said.error);
      return answer.ok ? said.said ?? true : null;
    } catch {
      trouble("The training has ended, or cannot be reached.");
      return null;
    }
  };

  const number = (value, digits = 3) =>
    value === null || value === undefined ? "–" : Number(value).toLocaleString("en", { maximumSignificantDigits: digits });
  const whole = (value) => Math.round(value).toLocaleString("en");
  const show = {
    facts: (facts) => {
      state.facts = facts;
      const rows = {};
      if (facts.step !== undefined) rows["step"] = whole(facts.step) + (facts.steps ? " of " + whole(facts.steps) : "");
      if (facts.loss !== undefined) rows["loss"] = number(facts.loss, 4);
      if (facts.dev !== undefined && facts.dev !== null) rows["held-out loss"] = number(facts.dev, 4);
      if (facts.guess !== undefined) rows["guessing"] = number(facts.guess, 4);
      if (facts.speed) rows["steps a second"] = whole(facts.speed);
      if (facts.parameters) rows["parameters"] = whole(facts.parameters);
      if (facts.source) rows["words"] = facts.source + (facts.words ? ", " + whole(facts.words) : "");
      $("numbers").replaceChildren(
        ...Object.entries(rows).map(([name, value]) => {
          const pair = made("div");
          pair.append(made("dt", name), made("dd", value));
          return pair;
        }),
      );
      if (!about.plays) return;
      $("train").textContent = facts.running ? "Pause" : "Train";
      $("train").disabled = Boolean(facts.ended);
      $("step").disabled = Boolean(facts.ended);
      if (facts.rate && !state.held.has("rate")) {
        $("rate").value = Math.log10(facts.rate);
        $("rate-shown").textContent = number(facts.rate, 2);
      }
      if (facts.batch && !state.held.has("batch")) $("batch").value = facts.batch;
      if (!state.held.has("temperature")) $("temperature-shown").textContent = number(facts.temperature, 2);
      $("command").textContent = facts.command || "";
      $("changes").textContent = facts.changes && facts.changes.length ? "then, " + facts.changes.join("; ") + " (a kept run holds them)" : "";
    },
    verdict: (verdict) => {
      $("verdict").className = "verdict " + verdict.tone;
      $("verdict").querySelector("h1").textContent = verdict.headline;
      $("verdict").querySelector("p").textContent = verdict.detail;
    },
    findings: (findings) => {
      $("findings").replaceChildren(
        ...findings.map((finding) => {
          const card = made("li", "", finding.severity);
          card.dataset.finding = finding.id;
          const badge = made("p", "", "badge");
          badge.append(made("strong", finding.severity), " " + finding.id);
          const advice = made("dl", "", "advice");
          for (const [name, text] of [["Remedy", finding.remedy], ["Why", finding.why]]) {
            const pair = made("div", "", name === "Remedy" ? "remedy" : "");
            pair.append(made("dt", name), made("dd", text));
            advice.append(pair);
          }
          card.append(badge, made("h3", finding.message), advice);
          if (finding.cure && about.plays) {
            const row = made("div", "", "cure");
            const button = made("button", "Apply");
            button.addEventListener("click", () => ask("apply", { finding: finding.id }));
            row.append(button, made("span", finding.cure));
            card.append(row);
          }
          return card;
        }),
      );
    },
    words: (words) => {
      $("new-words").hidden = !words.length;
      $("words").replaceChildren(...words.map((word) => made("li", word)));
    },
    pictures: drawing.order,
    trouble,
    lessons: (lessons) => {
      $("lessons").replaceChildren(
        ...Object.entries(lessons).map(([name, lesson]) => {
          const line = made("li"), link = made("a", lesson.title);
          link.href = "/lesson/" + name + location.search;
          line.append(link);
          return line;
        }),
      );
      const lesson = lessons[location.pathname.split("/lesson/")[1]];
      $("lesson").hidden = !lesson;
      if (!lesson) return;
      const steps = made("ol");
      for (const part of lesson.parts) {
        const line = made("li", part.says + " ");
        if (part.button) {
          const button = made("button", part.button);
          button.addEventListener("click", async () => (await ask(part.what, part.values)) !== null && ask("train"));
          line.append(button);
        }
        steps.append(line);
      }
      $("lesson").replaceChildren(made("h2", lesson.title), steps);
    },
    chosen: (chosen) => {
      $("faults").replaceChildren(
        ...Object.entries(chosen.faults).map(([name, says]) => {
          const button = made("button", name);
          button.title = says;
          button.addEventListener("click", () => ask("plant", { fault: name }));
          return button;
        }),
      );
      $("fields").replaceChildren(
        ...chosen.fields.map((field) => {
          const label = made("label", field.name.replaceAll("_", " "));
          label.title = field.help;
          const listed = field.choices.length ? field.choices : field.switch ? ["true", "false"] : null;
          const input = made(listed ? "select" : "input");
          input.name = field.name;
          if (listed) {
            const first = made("option", field.holds.toLowerCase() || "as usual");
            first.value = "";
            input.append(first, ...listed.map((each) => made("option", each)));
          } else {
            input.type = "text";
            input.placeholder = field.holds;
          }
          input.value = String(field.typed);
          label.append(input);
          return label;
        }),
        made("button", "Start again with these"),
      );
    },
  };

  const chosen = () => {
    const values = {};
    for (const input of $("fields").elements) if (input.name && input.value !== "") values[input.name] = input.value;
    return values;
  };
  const begin = async () => (await ask("begin", chosen())) !== null && ask("train");
  if (about.plays) {
    $("controls").hidden = false;
    $("train").addEventListener("click", () => ask(state.facts.running ? "pause" : "train"));
    $("step").addEventListener("click", () => ask("step"));
    $("again").addEventListener("click", begin);
    $("fields").addEventListener("submit", (event) => {
      event.preventDefault();
      begin();
    });
    const slide = (id, shown, values) => {
      $(id).addEventListener("input", () => {
        state.held.add(id);
        $(id + "-shown").textContent = number(shown(), 2);
      });
      $(id).addEventListener("change", async () => {
        await ask(...values());
        state.held.delete(id);
      });
    };
    const rate = () => Number((10 ** Number($("rate").value)).toPrecision(3));
    slide("rate", rate, () => ["change", { learning_rate: rate() }]);
    slide("temperature", () => Number($("temperature").value), () => ["temperature", { value: Number($("temperature").value) }]);
    $("batch").addEventListener("focus", () => state.held.add("batch"));
    $("batch").addEventListener("change", () => ask("change", { batch: Number($("batch").value) }));
    $("batch").addEventListener("blur", () => state.held.delete("batch"));
    $("keep").addEventListener("click", async () => {
      $("keep").disabled = true;
      const folder = await ask("keep", {});
      $("keep").disabled = false;
      if (folder) $("keep").textContent = "Kept in " + folder;
    });
    const read = async (file) => file && ask("words", { text: await file.text(), name: file.name });
    $("file").addEventListener("change", () => read($("file").files[0]));
    addEventListener("dragover", (event) => {
      event.preventDefault();
      document.body.classList.add("dropping");
    });
    addEventListener("dragleave", () => document.body.classList.remove("dropping"));
    addEventListener("drop", (event) => {
      event.preventDefault();
      document.body.classList.remove("dropping");
      read(event.dataTransfer.files[0]);
    });
  }

  const news = new EventSource("/news" + location.search);
  const link = (text, kind) => {
    $("link").textContent = text;
    $("link").className = kind;
  };
  news.addEventListener("open", () => link("live", "on"));
  news.addEventListener("error", () => link("not connected", "off"));
  news.addEventListener("put", (event) => {
    const [name, value] = JSON.parse(event.data);
    if (name.startsWith("picture ")) drawing.put(name.slice(8), value);
    else if (show[name]) show[name](value);
  });
  news.addEventListener("end", () => {
    news.close();
    link("ended", "");
    drawing.end();
  });
})();
