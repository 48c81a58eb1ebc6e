/* The networks' predictions as one table: a column per network, a row per class, then KL and the attention maps. */

const CLASS_LIMIT = 10; // of more classes those most probable for the first network are shown, and all others as one
const MAX_ATTENTION = 2; // the brightest color: twice the value of a uniform map

function element(tag, properties = {}, ...children) {
  const { dataset, style, ...rest } = properties;
  const created = Object.assign(document.createElement(tag), rest);
  Object.assign(created.dataset, dataset);
  Object.assign(created.style, style);
  created.append(...children);
  return created;
}

/** log softmax(logits / T), shifted by the largest logit against overflow. */
function logSoftmax(logits, temperature) {
  const largest = Math.max(...logits);
  const scaled = [...logits].map((z) => (z - largest) / temperature);
  const total = Math.log(scaled.reduce((sum, z) => sum + Math.exp(z), 0));
  return scaled.map((z) => z - total);
}

/** KL(p || q) in nats, from log p and log q. */
function klDivergence(logP, logQ) {
  return Math.max(0, logP.reduce((sum, value, k) => sum + Math.exp(value) * (value - logQ[k]), 0));
}

/** Shannon entropy in nats, from log p. */
function entropy(logP) {
  return logP.reduce((sum, value) => sum - Math.exp(value) * value, 0);
}

/** The name of the row of all classes that are not shown; none where all are. */
function nameOthers(classes) {
  return classes.length > CLASS_LIMIT ? [`the other ${classes.length - CLASS_LIMIT}`] : [];
}

/** The classes that are shown, in their order; `logs` are the networks' log p, null for one that is deselected. */
function chooseClasses(classes, logs) {
  const first = logs.find(Boolean) ?? [];
  return [...classes.keys()].sort((a, b) => first[b] - first[a] || a - b).slice(0, CLASS_LIMIT).sort((a, b) => a - b);
}

/** The probability of all classes that are not shown. */
function sumOthers(logP, shown) {
  return Math.max(0, 1 - shown.reduce((sum, k) => sum + Math.exp(logP[k]), 0));
}

/** A map less its mean: the cosine of two such maps is their correlation. */
function centerMap(map) {
  const mean = map.reduce((sum, value) => sum + value, 0) / map.length;
  return map.map((value) => value - mean);
}

/** A map scaled to unit L2 norm, as attention transfer compares maps. */
function normalizeMap(map) {
  const norm = Math.sqrt(map.reduce((sum, value) => sum + value * value, 0)) || 1;
  return map.map((value) => value / norm);
}

/** A share in percent; what is nearly all is not said to be all, and what rounds to nothing is empty. */
function formatShare(p) {
  return p >= 0.995 ? "> 99%" : p >= 0.005 ? `${Math.round(100 * p)}%` : "";
}

/** Draws a map over the 32 x 32 pixels: opacity 0 is the photo, 1 the map alone. */
function drawOverlay(canvas, pixels, map, opacity, palette) {
  const image = new ImageData(32, 32);
  const side = Math.sqrt(map.length);
  const values = normalizeMap(map).map((value) => (value * side) / MAX_ATTENTION);
  const at = (pixel) => Math.floor((pixel * side) / 32);
  for (let i = 0; i < 1024; i++) {
    const share = values[at(i >> 5) * side + at(i & 31)];
    const color = palette[Math.max(0, Math.min(255, Math.round(255 * share)))];
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = (1 - opacity) * pixels[3 * i + c] + opacity * color[c];
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** Creates the table for these networks; `onSelect` is called when the reader selects or deselects a network. */
function createTable(networks, palette, onSelect) {
  const classes = networks[0].description.classes;
  const stages = Math.max(...networks.map(({ description }) => description.graph.stages.length));
  const cells = networks.map(() => ({ bars: [], percents: [], overlays: [], correlations: [] }));
  const active = networks.map(() => true);

  const row = (name, fill, kind = "td") =>
    element("tr", {}, element("th", { scope: "row", textContent: name }), ...networks.map((_, n) => element(kind, {}, ...fill(n))));

  const head = row("", (n) => {
    const box = element("input", { type: "checkbox", checked: true, onchange: () => select(n, box.checked) });
    const mark = element("span", { className: "kd-mark", textContent: networks[n].mark, style: { color: networks[n].color } });
    return [element("label", {}, box, mark, ` ${networks[n].name}`), element("small", { textContent: networks[n].what })];
  }, "th");
  head.firstChild.replaceWith(element("td"));
  head.querySelectorAll("th").forEach((cell) => (cell.scope = "col"));

  const bars = [...classes, ...nameOthers(classes)].map((name, k) => row(name, (n) => {
    const bar = (cells[n].bars[k] = element("i", { style: { background: networks[n].color } }));
    const percent = (cells[n].percents[k] = element("span"));
    return [element("div", { className: "kd-bar" }, bar, percent)];
  }));
  const number = (name, key) => row(name, (n) => [(cells[n][key] = element("span"))]);
  const overlays = Array.from({ length: stages }, (_, s) => row(`stage ${s + 1}`, (n) => {
    const canvas = (cells[n].overlays[s] = element("canvas", { width: 32, height: 32, className: "kd-pixels" }));
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `Attention of ${networks[n].name} at stage ${s + 1}`);
    return [canvas, (cells[n].correlations[s] = element("small"))];
  }));
  const table = element("table", { className: "kd-predictions" },
    element("thead", {}, head),
    element("tbody", {}, number("prediction", "prediction"), ...bars),
    element("tbody", {}, number("effective classes", "effective"), number("entropy (nats)", "entropy"), number("KL from teacher", "kl"), number("T² · KL", "t2kl")),
    element("tbody", { className: "kd-maps" }, ...overlays));

  function select(n, wanted) {
    active[n] = wanted;
    onSelect();
  }

  /** Fills the table with the worker's predictions (null for a network that is deselected). */
  function show(predictions, temperature) {
    const logs = predictions.map((one) => one && logSoftmax(one.logits, temperature));
    const shown = chooseClasses(classes, logs);
    classes.forEach((_, k) => (bars[k].hidden = !shown.includes(k)));
    logs.forEach((logP, n) => {
      const cell = cells[n];
      const kl = logP && logs[0] && n ? klDivergence(logs[0], logP) : null;
      const best = logP ? logP.indexOf(Math.max(...logP)) : -1;
      const nats = logP && entropy(logP);
      bars.forEach((_, k) => {
        const p = !logP ? 0 : k < classes.length ? Math.exp(logP[k]) : sumOthers(logP, shown);
        cell.bars[k].parentNode.style.setProperty("--p", p); // the bar's length, and where its percentage begins
        cell.percents[k].textContent = formatShare(p);
        cell.bars[k].parentNode.classList.toggle("kd-best", k === best);
      });
      cell.prediction.textContent = best < 0 ? "–" : classes[best];
      cell.effective.textContent = logP ? Math.exp(nats).toFixed(2) : "–";
      cell.entropy.textContent = logP ? nats.toFixed(2) : "–";
      cell.kl.textContent = kl === null ? "–" : kl.toFixed(3);
      cell.t2kl.textContent = kl === null ? "–" : (temperature * temperature * kl).toFixed(3);
    });
  }

  /** Draws every map over the image, and its correlation with the teacher's map below. */
  function drawMaps(predictions, pixels, opacity) {
    const compared = (map) => normalizeMap(centerMap(map));
    const teacher = predictions[0]?.maps.map(compared);
    predictions.forEach((one, n) => cells[n].overlays.forEach((canvas, s) => {
      const map = one?.maps[s];
      if (map) drawOverlay(canvas, pixels, map, opacity, palette);
      else canvas.getContext("2d").clearRect(0, 0, 32, 32);
      const comparable = map && n && teacher?.[s]?.length === map.length;
      const correlation = () => compared(map).reduce((sum, value, i) => sum + value * teacher[s][i], 0);
      cells[n].correlations[s].textContent = comparable ? `correlation ${correlation().toFixed(2)}` : "";
    }));
  }

  return { table, show, drawMaps, active, classes, overlays: cells.map((cell) => cell.overlays) };
}
