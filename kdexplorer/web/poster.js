/* The frozen moment as one PNG: the picture, what the networks saw, their answers and where they looked. */

/** Draws it all on a canvas of its own; `view` is what live.js shows at this moment. */
function poster({ networks, table, answers, temperature, opacity, photo, seen, ink, ground }) {
  const [left, column, line, top] = [330, 210, 24, 70];
  const stages = table.overlays[0].length;
  const tall = top + (table.classes.length + 5) * line + stages * 130 + 40;
  const canvas = element("canvas", { width: left + 110 + column * networks.length + 20, height: tall });
  const context = canvas.getContext("2d");
  const write = (text, x, y, font = "15px sans-serif", colour = ink) => {
    Object.assign(context, { fillStyle: colour, font });
    context.fillText(text, x, y);
  };
  context.fillStyle = ground;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = true;
  context.drawImage(photo, 20, top, 280, 280);
  context.imageSmoothingEnabled = false;
  context.drawImage(seen, 20, top + 310, 160, 160);
  write("what the networks see: 32 × 32", 20, top + 490, "13px sans-serif");
  write(`Soft labels at T = ${temperature.toFixed(2)}`, 20, 40, "bold 20px sans-serif");
  table.classes.forEach((name, k) => write(name, left, top + (k + 2) * line));
  ["entropy", "KL", "T² · KL"].forEach((name, k) => write(name, left, top + (table.classes.length + 2 + k) * line));
  const logs = answers.map((answer) => answer && logSoftmax(answer.logits, temperature));
  networks.forEach(({ name, mark, colour }, n) => {
    const x = left + 110 + n * column;
    write(mark, x, top, "bold 15px sans-serif", colour);
    write(name, x + 20, top, "bold 15px sans-serif");
    if (!logs[n]) return;
    table.classes.forEach((_, k) => {
      const p = Math.exp(logs[n][k]);
      context.fillStyle = colour;
      context.fillRect(x, top + (k + 2) * line - 14, p * (column - 70), 17);
      if (p >= 0.005) write(`${Math.round(100 * p)}%`, x + p * (column - 70) + 5, top + (k + 2) * line);
    });
    const kl = n && logs[0] ? divergence(logs[0], logs[n]) : null;
    const numbers = [`${entropy(logs[n]).toFixed(2)} nats`, ...(kl === null ? [] : [kl.toFixed(3), (temperature ** 2 * kl).toFixed(3)])];
    numbers.forEach((text, k) => write(text, x, top + (table.classes.length + 2 + k) * line));
    table.overlays[n].forEach((map, s) => {
      const y = top + (table.classes.length + 5) * line + s * 130;
      context.drawImage(map, x, y, 120, 120);
      if (n === 0) write(`stage ${s + 1}`, left, y + 65);
    });
  });
  write(`Attention at opacity ${opacity.toFixed(2)}, 0 to ${TOP} × spread evenly. Made by KD Explorer.`, 20, tall - 16, "13px sans-serif");
  return canvas;
}
