"use strict";
// Draws the handout's charts and moves them: one temperature, one alpha and one opacity for the whole page.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const signals = { logT: Math.log2(data.signals.T), alpha: data.signals.alpha, opacity: data.signals.opacity };
  const chosen = { picture: 0, student: 1 };
  const drawn = new Map(); // frame -> {spec, view}
  const visible = new Set();
  const paperTemperatures = [1, 2, 4, 8];

  const one = (selector) => document.querySelector(selector);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const picture = () => data.pictures[chosen.picture];

  // A chart in a frame. The interpreter (`ast`) evaluates Vega's expressions: this page's policy forbids eval.
  async function draw(frame, spec, values = signals, width = "container") {
    const params = (spec.params ?? []).map((p) => (p.name in values ? { ...p, value: values[p.name] } : p));
    const result = await vegaEmbed(frame, { ...spec, params, width }, {
      mode: "vega-lite", ast: true, renderer: "svg", actions: false, defaultStyle: false, config: data.look, logLevel: 1,
      tooltip: { disableDefaultStyle: true },
    });
    return result.view;
  }

  function specOf(frame) {
    const { chart, by } = frame.dataset;
    const name = by ? `${chart} ${chosen[by]}` : chart;
    return picture().charts[name] ?? data.shared[name];
  }

  // Draws a frame whose chart has changed, else moves its signals. Frames off the screen wait until they are seen.
  async function refresh(frame) {
    const spec = specOf(frame);
    const before = drawn.get(frame);
    if (before?.spec !== spec) {
      const next = { spec, view: null };
      drawn.set(frame, next);
      before?.view?.finalize();
      if (!spec) return frame.replaceChildren();
      next.view = await draw(frame, spec);
      if (drawn.get(frame) !== next) return next.view.finalize();
      if (!performance.getEntriesByName("first chart").length) performance.mark("first chart"); // for measurements
    }
    const view = drawn.get(frame)?.view; // none where a picture has no such chart
    if (!view) return;
    for (const { name } of spec.params ?? []) if (name in signals) view.signal(name, signals[name]);
    await view.runAsync();
    if (frame.dataset.chart === "mirrored") showNumbers(view);
  }

  let waiting = false;
  function refreshVisible() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      visible.forEach(refresh);
    });
  }

  // The numbers behind the bars, as the chart itself computed them.
  function showNumbers(view) {
    if (!one("#numbers").open) return;
    const names = Object.keys(view.getState({ signals: () => false, data: () => true }).data);
    const sets = names.map((name) => view.data(name)).filter((rows) => rows?.[0] && "K" in rows[0]);
    const rows = sets.sort((a, b) => b.length - a.length)[0]; // the others are parts of it
    const networks = [...new Set(rows.map((row) => row.network))];
    const by = (name) => rows.filter((row) => row.network === name);
    const T = 2 ** signals.logT;
    const lines = by(networks[0]).map((row, k) => [row.class, ...networks.map((name) => by(name)[k].p.toFixed(6))]);
    lines.push(["entropy (nats)", ...networks.map((name) => by(name)[0].H.toFixed(6))]);
    lines.push(["KL from the teacher", ...networks.map((name) => Math.max(0, by(name)[0].K).toFixed(6))]);
    lines.push(["T² · KL", ...networks.map((name) => Math.max(0, T * T * by(name)[0].K).toFixed(6))]);
    const cell = (text, kind) => Object.assign(document.createElement(kind), { textContent: text });
    const line = (texts, kind) => {
      const row = document.createElement("tr");
      row.append(...texts.map((text, k) => cell(text, k ? kind : "th")));
      return row;
    };
    one("#numbers table").replaceChildren(line([`T = ${T.toFixed(2)}`, ...networks], "th"), ...lines.map((l) => line(l, "td")));
  }

  function showPicture() {
    one("#picture").src = picture().pixels;
    one("#picture").alt = one("#caption").textContent = picture().caption;
  }

  function showSignals() {
    const T = 2 ** signals.logT;
    one("#T").textContent = `T = ${T.toFixed(2)}`;
    one("#logT").setAttribute("aria-valuetext", `T = ${T.toFixed(2)}`);
    for (const name of ["alpha", "opacity"]) {
      const output = document.getElementById(`${name}-value`);
      if (output) output.textContent = signals[name].toFixed(2);
    }
    for (const slider of all("[data-signal]")) slider.value = signals[slider.dataset.signal];
  }

  function set(name, value) {
    signals[name] = value;
    showSignals();
    refreshVisible();
  }

  // Paper has no slider: a sheet for each picture, at four temperatures side by side.
  let laidOut = null;
  function layOut() {
    laidOut ??= Promise.all([
      ...data.pictures.map(async (each) => {
        const sheet = document.createElement("section");
        sheet.className = "sheet";
        const image = Object.assign(document.createElement("img"), { src: each.pixels, alt: "" });
        const name = Object.assign(document.createElement("h2"), { textContent: each.caption });
        const grid = document.createElement("div");
        const frames = paperTemperatures.map(() => Object.assign(document.createElement("div"), { className: "chart" }));
        grid.append(...frames);
        sheet.append(image, name, grid);
        one("#paper").append(sheet);
        const at = (T) => ({ ...signals, logT: Math.log2(T) });
        await Promise.all(frames.map((frame, k) => draw(frame, each.charts.mirrored, at(paperTemperatures[k]), 420)));
      }),
      ...all("section:not(.live) > .chart, section:not(.live) .columns > .chart").map(refresh),
    ]);
    return laidOut;
  }

  one("#logT").min = Math.log2(data.range[0]);
  one("#logT").max = Math.log2(data.range[1]);
  for (const slider of all("[data-signal]")) {
    slider.addEventListener("input", () => set(slider.dataset.signal, Number(slider.value)));
  }
  for (const button of all("[data-temperature]")) {
    button.addEventListener("click", () => set("logT", Math.log2(button.dataset.temperature)));
  }
  for (const radio of all("input[type=radio]")) {
    radio.addEventListener("change", () => {
      chosen[radio.name] = Number(radio.value);
      showPicture();
      refreshVisible();
    });
  }
  one("#numbers").addEventListener("toggle", refreshVisible);
  addEventListener("beforeprint", layOut);

  showPicture();
  showSignals();
  const watcher = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) visible.delete(target);
      else if (visible.add(target)) refresh(target);
    }
  }, { rootMargin: "300px" });
  all(".chart").forEach((frame) => watcher.observe(frame));
  window.handout = { data, draw, set, layOut, signals }; // for further scripts of this file
})();
