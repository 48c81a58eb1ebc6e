/* The current view as one PNG: the image, the networks' input, their predictions and their attention. */

/** Draws everything on a canvas of its own; `view` is what live.js shows at this moment. */
function drawSnapshot(view) {
  const { networks, table, temperature, opacity, photo, input, ink, ground } = view;
  const [left, column, line, top] = [330, 210, 24, 70];
  const stages = table.overlays[0].length;
  const logs = view.predictions.map((one) => one && logSoftmax(one.logits, temperature));
  const shown = chooseClasses(table.classes, logs);
  const names = [...shown.map((k) => table.classes[k]), ...nameOthers(table.classes)];
  const height = top + (names.length + 5) * line + stages * 130 + 40;
  const canvas = element("canvas", { width: left + 110 + column * networks.length + 20, height });
  const context = canvas.getContext("2d");
  const write = (text, x, y, font = "15px sans-serif", color = ink, width = undefined) => {
    Object.assign(context, { fillStyle: color, font });
    context.fillText(text, x, y, width); // narrower letters where it is longer
  };
  context.fillStyle = ground;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = true;
  context.drawImage(photo, 20, top, 280, 280);
  context.imageSmoothingEnabled = false;
  context.drawImage(input, 20, top + 310, 160, 160);
  write("the networks' input: 32 × 32", 20, top + 490, "13px sans-serif");
  write(`Soft labels at T = ${temperature.toFixed(2)}`, 20, 40, "bold 20px sans-serif");
  names.forEach((name, k) => write(name, left, top + (k + 2) * line, "15px sans-serif", ink, 104));
  ["entropy", "KL", "T² · KL"].forEach((name, k) => write(name, left, top + (names.length + 2 + k) * line));
  networks.forEach((_, n) => drawColumn(context, write, view, n, logs, shown, { x: left + 110 + n * column, column, line, top, left }));
  write(`Attention at opacity ${opacity.toFixed(2)}, 0 to ${MAX_ATTENTION} × uniform. KD Explorer.`, 20, height - 16, "13px sans-serif");
  return canvas;
}

/** One network's column: its name, its bars, the numbers below them, its maps. */
function drawColumn(context, write, { networks, table, temperature, ink }, n, logs, shown, { x, column, line, top, left }) {
  const { name, mark, color } = networks[n];
  write(mark, x, top, "bold 15px sans-serif", color);
  write(name, x + 20, top, "bold 15px sans-serif", ink, column - 26);
  const logP = logs[n];
  if (!logP) return;
  const values = shown.map((k) => Math.exp(logP[k]));
  if (table.classes.length > CLASS_LIMIT) values.push(sumOthers(logP, shown));
  values.forEach((p, k) => {
    context.fillStyle = color;
    context.fillRect(x, top + (k + 2) * line - 14, p * (column - 70), 17);
    write(formatShare(p), x + p * (column - 70) + 5, top + (k + 2) * line);
  });
  const kl = n && logs[0] ? klDivergence(logs[0], logP) : null;
  const numbers = [`${entropy(logP).toFixed(2)} nats`, ...(kl === null ? [] : [kl.toFixed(3), (temperature ** 2 * kl).toFixed(3)])];
  numbers.forEach((text, k) => write(text, x, top + (values.length + 2 + k) * line));
  table.overlays[n].forEach((map, s) => {
    const y = top + (values.length + 5) * line + s * 130;
    context.drawImage(map, x, y, 120, 120);
    if (n === 0) write(`stage ${s + 1}`, left, y + 65);
  });
}
