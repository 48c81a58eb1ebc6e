"use strict";
// Draws the handout's charts and updates them: one value of each slider for the whole page. Saves them (KDSave).
(() => {
  const parse = (id) => JSON.parse(document.getElementById(id).textContent);
  const data = parse("data");
  const signals = { logT: Math.log2(data.signals.T), alpha: data.signals.alpha, opacity: data.signals.opacity, beta: data.signals.beta };
  const opened = document.querySelector("input[name=student]:checked");
  const chosen = { picture: 0, student: Number(opened?.value ?? 1), moment: 1 };
  const moved = new Set(); // sliders that the reader has moved
  const drawn = new Map(); // frame -> {chart, view}
  const pictures = new Map(); // number -> its charts, parsed when they are first needed
  const visible = new Set();
  const printTemperatures = [1, 2, 4, 8];

  const one = (selector) => document.querySelector(selector);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const thumbnails = all(".thumbnails img");

  function chartsOf(number) {
    if (!pictures.has(number)) pictures.set(number, parse(`charts-${number}`));
    return pictures.get(number);
  }

  // Draws a chart in a frame, as wide as the frame or `width`: the chart's shape with its rows and values.
  // The interpreter (`ast`) evaluates Vega's expressions, because this page's policy forbids eval.
  async function draw(frame, chart, overrides = signals, width = null) {
    const shape = data.shapes[chart.shape];
    const values = { ...chart.values, ...overrides };
    const fill = (set) => ({ ...set, values: chart.rows[set.name].map((row) => ({ ...row })) }); // Vega changes rows
    const update = (signal) => (signal.name in values ? { ...signal, value: values[signal.name] } : signal);
    const vega = {
      ...shape,
      description: chart.description,
      data: shape.data.map((set) => (set.name in chart.rows ? fill(set) : set)),
      signals: shape.signals.map((signal) => (width && signal.name === "width" ? { name: "width", value: width } : update(signal))),
    };
    const result = await vegaEmbed(frame, vega, {
      mode: "vega", ast: true, renderer: "svg", actions: false, defaultStyle: false, logLevel: 1,
      tooltip: { disableDefaultStyle: true },
    });
    return result.view;
  }

  function chartOf(frame) {
    const { chart, by, start } = frame.dataset;
    const name = start && !chosen.moment ? start : by ? `${chart} ${chosen[by]}` : chart;
    return chartsOf(chosen.picture)[name] ?? data.shared[name];
  }

  // A frame's chart as a file.
  function save(frame, kind, name) {
    const { chart, view } = drawn.get(frame) ?? {};
    if (!view) return;
    const own = Object.values(chartsOf(chosen.picture)).includes(chart);
    const picture = own ? thumbnails[chosen.picture].alt : "";
    const tables = data.shapes[chart.shape].data.map((set) => chart.rows[set.name] ?? set.values).filter(Array.isArray);
    const source = [data.source, picture].filter(Boolean).join(". ");
    KDSave.save(kind, { view, tables, source, name, description: chart.description, of: picture.split(";")[0] });
  }

  // The buttons below a frame that save its chart.
  function addFiles(frame) {
    const { chart } = frame.dataset, name = chart.replace("_", " ");
    const figure = document.createElement("div");
    const files = Object.assign(document.createElement("p"), { className: "files" });
    for (const kind of ["SVG", "PNG", "CSV"]) {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: kind });
      button.setAttribute("aria-label", `${kind} of the chart: ${name}`);
      button.addEventListener("click", () => save(frame, kind.toLowerCase(), name));
      files.append(button);
    }
    frame.replaceWith(figure);
    figure.append(frame, files);
  }

  // Draws a frame whose chart has changed, else updates its signals. Frames off the screen wait until they are visible.
  async function refresh(frame) {
    const chart = chartOf(frame);
    const before = drawn.get(frame);
    if (!before || before.chart !== chart) {
      const next = { chart, view: null };
      drawn.set(frame, next);
      before?.view?.finalize();
      frame.parentElement.classList.toggle("empty", !chart);
      if (!chart) return frame.replaceChildren();
      next.view = await draw(frame, chart);
      if (drawn.get(frame) !== next) return next.view.finalize();
      if (!performance.getEntriesByName("first chart").length) performance.mark("first chart"); // for benchmarks
    }
    const view = drawn.get(frame)?.view; // none where a picture has no such chart
    if (!view) return;
    for (const name of Object.keys(chart.values)) if (name in signals) view.signal(name, signals[name]);
    await view.runAsync();
    if (frame.dataset.chart === "soft_labels") showNumbers(view);
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

  // The numbers of the bars, as the chart computed them.
  function showNumbers(view) {
    if (!one("#numbers").open) return;
    const names = Object.keys(view.getState({ signals: () => false, data: () => true }).data);
    const sets = names.map((name) => view.data(name)).filter((rows) => rows?.[0] && "K" in rows[0]);
    const rows = sets.sort((a, b) => b.length - a.length)[0]; // the others are subsets of it
    const networks = [...new Set(rows.map((row) => row.network))];
    const by = (name) => rows.filter((row) => row.network === name);
    const T = 2 ** signals.logT;
    const lines = by(networks[0]).map((row, k) => [row.class, ...networks.map((name) => by(name)[k].p.toFixed(6))]);
    lines.push(["entropy (nats)", ...networks.map((name) => by(name)[0].H.toFixed(6))]);
    lines.push(["KL from teacher", ...networks.map((name) => Math.max(0, by(name)[0].K).toFixed(6))]);
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
    const { src, alt } = thumbnails[chosen.picture];
    Object.assign(one("#picture"), { src, alt });
    one("#caption").textContent = alt;
  }

  function showSignals() {
    const T = 2 ** signals.logT;
    one("#T").textContent = `T = ${T.toFixed(2)}`;
    one("#logT").setAttribute("aria-valuetext", `T = ${T.toFixed(2)}`);
    for (const name of ["alpha", "opacity", "beta"]) {
      const output = document.getElementById(`${name}-value`);
      if (output) output.textContent = signals[name].toFixed(2);
    }
    for (const slider of all("[data-signal]")) slider.value = signals[slider.dataset.signal];
    document.body.dataset.temperature = T;
    dispatchEvent(new Event("temperature")); // for page_live.js
  }

  function set(name, value) {
    signals[name] = value;
    showSignals();
    refreshVisible();
  }

  // Paper has no slider: a sheet for each image, at four temperatures side by side.
  let printLayout = null;
  function layOutForPrint() {
    printLayout ??= Promise.all([
      ...thumbnails.map(async ({ src, alt }, number) => {
        const sheet = document.createElement("section");
        sheet.className = "sheet";
        const image = Object.assign(document.createElement("img"), { src, alt: "" });
        const name = Object.assign(document.createElement("h2"), { textContent: alt });
        const grid = document.createElement("div");
        const frames = printTemperatures.map(() => Object.assign(document.createElement("div"), { className: "chart" }));
        grid.append(...frames);
        sheet.append(image, name, grid);
        one("#print").append(sheet);
        const at = (T) => ({ ...signals, logT: Math.log2(T) });
        const { soft_labels: chart } = chartsOf(number);
        await Promise.all(frames.map((frame, k) => draw(frame, chart, at(printTemperatures[k]), 420)));
      }),
      ...all("section:not(.interactive) .chart[data-chart]").map(refresh),
    ]);
    return printLayout;
  }

  one("#logT").min = Math.log2(data.range[0]);
  one("#logT").max = Math.log2(data.range[1]);
  for (const slider of all("[data-signal]")) {
    slider.addEventListener("input", () => {
      moved.add(slider.dataset.signal);
      const [value, end] = [Number(slider.value), Number(slider.max)];
      set(slider.dataset.signal, end - value < slider.step / 2 ? end : value); // its last step may be below its end
    });
  }
  for (const button of all("[data-temperature]")) {
    button.addEventListener("click", () => set("logT", Math.log2(button.dataset.temperature)));
  }
  for (const radio of all("input[type=radio]")) {
    radio.addEventListener("change", () => {
      chosen[radio.name] = Number(radio.value);
      const own = chartsOf(0)[`gradient ${chosen.student}`]?.values.alpha; // what the student was trained with
      if (radio.name === "student" && own !== undefined && !moved.has("alpha")) set("alpha", own);
      showPicture();
      refreshVisible();
    });
  }
  one("#numbers").addEventListener("toggle", refreshVisible);
  addEventListener("beforeprint", layOutForPrint);

  all(".chart[data-chart]").forEach(addFiles);
  showPicture();
  showSignals();
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) visible.delete(target);
      else if (visible.add(target)) refresh(target);
    }
  }, { rootMargin: "600px" });
  all(".chart").forEach((frame) => observer.observe(frame));
})();
