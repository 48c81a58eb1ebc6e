/* What the networks answer, as one table: a column a network, a row a class, then KL and the attention of each stage. */

const TOP = 2; // the brightest colour: attention twice as dense as if it were spread evenly

function element(tag, properties = {}, ...children) {
  const { dataset, style, ...rest } = properties;
  const made = Object.assign(document.createElement(tag), rest);
  Object.assign(made.dataset, dataset);
  Object.assign(made.style, style);
  made.append(...children);
  return made;
}

/** log softmax(logits / T), by way of the largest logit. */
function logSoftmax(logits, temperature) {
  const largest = Math.max(...logits);
  const scaled = [...logits].map((z) => (z - largest) / temperature);
  const total = Math.log(scaled.reduce((sum, z) => sum + Math.exp(z), 0));
  return scaled.map((z) => z - total);
}

/** KL(p || q) in nats, from log p and log q. */
function divergence(logP, logQ) {
  return Math.max(0, logP.reduce((sum, value, k) => sum + Math.exp(value) * (value - logQ[k]), 0));
}

/** Shannon entropy in nats, from log p. */
function entropy(logP) {
  return logP.reduce((sum, value) => sum - Math.exp(value) * value, 0);
}

/** A map at unit length, as the loss takes it. */
function unit(map) {
  const norm = Math.sqrt(map.reduce((sum, value) => sum + value * value, 0)) || 1;
  return map.map((value) => value / norm);
}

/** 256 colours [r, g, b] between a palette's anchors "#rrggbb". */
function colours(anchors) {
  const parts = anchors.map((colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)));
  return Array.from({ length: 256 }, (_, i) => {
    const place = (i / 255) * (parts.length - 1);
    const first = Math.min(parts.length - 2, Math.floor(place));
    return parts[first].map((value, c) => Math.round(value + (place - first) * (parts[first + 1][c] - value)));
  });
}

/** Draws a map over the 32 x 32 pixels: opacity 0 is the photo, 1 the map alone. */
function drawOverlay(canvas, pixels, map, opacity, palette) {
  const image = new ImageData(32, 32);
  const side = Math.sqrt(map.length);
  const values = unit(map).map((value) => (value * side) / TOP);
  const shift = Math.log2(32 / side);
  for (let i = 0; i < 1024; i++) {
    const share = values[((i >> 5) >> shift) * side + ((i & 31) >> shift)];
    const colour = palette[Math.max(0, Math.min(255, Math.round(255 * share)))];
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = (1 - opacity) * pixels[3 * i + c] + opacity * colour[c];
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** The table of these networks; `show` fills it, `onChoice` hears which networks shall answer. */
function answersTable(networks, palette, onChoice) {
  const classes = networks[0].description.classes;
  const stages = Math.max(...networks.map(({ description }) => description.graph.stages.length));
  const cells = networks.map(() => ({ bars: [], percents: [], overlays: [], cosines: [] }));
  const active = networks.map(() => true);

  const row = (name, make, kind = "td") =>
    element("tr", {}, element("th", { scope: "row", textContent: name }), ...networks.map((_, n) => element(kind, {}, ...make(n))));

  const head = row("", (n) => {
    const box = element("input", { type: "checkbox", checked: true, onchange: () => choose(n, box.checked) });
    const mark = element("span", { className: "kd-mark", textContent: networks[n].mark, style: { color: networks[n].colour } });
    return [element("label", {}, box, mark, ` ${networks[n].name}`)];
  }, "th");
  head.firstChild.replaceWith(element("td"));
  head.querySelectorAll("th").forEach((cell) => (cell.scope = "col"));

  const bars = classes.map((name, k) => row(name, (n) => {
    const bar = (cells[n].bars[k] = element("i", { style: { background: networks[n].colour } }));
    const percent = (cells[n].percents[k] = element("span"));
    return [element("div", { className: "kd-bar" }, bar, percent)];
  }));
  const number = (name, key) => row(name, (n) => [(cells[n][key] = element("span"))]);
  const overlays = Array.from({ length: stages }, (_, s) => row(`stage ${s + 1}`, (n) => {
    const canvas = (cells[n].overlays[s] = element("canvas", { width: 32, height: 32, className: "kd-pixels" }));
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `Attention of ${networks[n].name} at stage ${s + 1}`);
    return [canvas, (cells[n].cosines[s] = element("small"))];
  }));
  const table = element("table", { className: "kd-answers" },
    element("thead", {}, head),
    element("tbody", {}, number("answers", "answer"), ...bars),
    element("tbody", {}, number("entropy (nats)", "entropy"), number("KL from teacher", "kl"), number("T² · KL", "t2kl")),
    element("tbody", { className: "kd-maps" }, ...overlays));

  function choose(n, wanted) {
    active[n] = wanted;
    onChoice();
  }

  /** Fills the table from the worker's answers (null where a network was not asked). */
  function show(answers, temperature) {
    const logs = answers.map((answer) => answer && logSoftmax(answer.logits, temperature));
    logs.forEach((logP, n) => {
      const cell = cells[n];
      const kl = logP && logs[0] && n ? divergence(logs[0], logP) : null;
      const best = logP ? logP.indexOf(Math.max(...logP)) : -1;
      classes.forEach((_, k) => {
        const p = logP ? Math.exp(logP[k]) : 0;
        cell.bars[k].style.transform = `scaleX(${p})`;
        cell.percents[k].textContent = p >= 0.005 ? `${Math.round(100 * p)}%` : "";
        cell.bars[k].parentNode.classList.toggle("kd-best", k === best);
      });
      cell.answer.textContent = best < 0 ? "–" : classes[best];
      cell.entropy.textContent = logP ? entropy(logP).toFixed(2) : "–";
      cell.kl.textContent = kl === null ? "–" : kl.toFixed(3);
      cell.t2kl.textContent = kl === null ? "–" : (temperature * temperature * kl).toFixed(3);
    });
  }

  /** Draws every map over the picture. */
  function drawMaps(answers, pixels, opacity) {
    const teacher = answers[0]?.maps.map(unit);
    answers.forEach((answer, n) => cells[n].overlays.forEach((canvas, s) => {
      const map = answer?.maps[s];
      if (map) drawOverlay(canvas, pixels, map, opacity, palette);
      else canvas.getContext("2d").clearRect(0, 0, 32, 32);
      const same = map && n && teacher?.[s]?.length === map.length;
      cells[n].cosines[s].textContent = same ? `cos ${unit(map).reduce((sum, v, i) => sum + v * teacher[s][i], 0).toFixed(3)}` : "";
    }));
  }

  return { table, show, drawMaps, active, classes, overlays: cells.map((cell) => cell.overlays) };
}
