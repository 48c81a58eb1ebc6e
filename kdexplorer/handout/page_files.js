"use strict";
// Buttons below each chart that save it: as SVG on white with its source, as PNG of twice its size, and its data as CSV.
(() => {
  const PADDING = 14, LINE = 16, INK = "#14202b"; // pixels of the SVG
  const about = JSON.parse(document.getElementById("data").textContent).source;

  const nameOf = ({ dataset: { chart } }) => ({ mirrored: "soft labels", scale: "attention scale" })[chart] ?? chart;
  const escape = (text) => text.replace(/[<>&"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
  const toUrl = (text, type) => URL.createObjectURL(new Blob([text], { type }));

  function download(url, name) {
    Object.assign(document.createElement("a"), { href: url, download: name }).click();
    if (url.startsWith("blob:")) setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }

  // The chart as it is now, with the sliders where they are.
  async function toSvg({ chart, view, picture }) {
    const drawn = (await view.toSVG()).replaceAll("currentColor", INK);
    const [, width, height] = drawn.match(/ width="([\d.]+)" height="([\d.]+)"/).map(Number);
    const letters = Math.max(20, Math.floor(width / 6.5));
    const words = [about, picture].filter(Boolean).join(". ").match(new RegExp(`.{1,${letters}}( |$)|\\S{${letters}}`, "g"));
    const [outer, tall] = [width + 2 * PADDING, height + 2 * PADDING + LINE * (words.length + 0.5)];
    const lines = words.map((line, k) => {
      const y = tall - PADDING - LINE * (words.length - 1 - k) - 3;
      return `<text x="${PADDING}" y="${y}">${escape(line.trim())}</text>`;
    });
    return `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="${outer}" ` +
      `height="${tall}" viewBox="0 0 ${outer} ${tall}" role="img"><title>${escape(about)}</title>` +
      `<desc>${escape(chart.description)}</desc><rect width="${outer}" height="${tall}" fill="white"/>` +
      `<g transform="translate(${PADDING},${PADDING})">${drawn}</g>` +
      `<g font-family="system-ui, sans-serif" font-size="12" fill="#4a545e">${lines.join("")}</g></svg>`;
  }

  async function toPng(svg) {
    const image = new Image();
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
    await image.decode();
    const [width, height] = [2 * image.naturalWidth, 2 * image.naturalHeight];
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    canvas.getContext("2d").drawImage(image, 0, 0, width, height);
    return canvas.toDataURL("image/png");
  }

  // A text that a spreadsheet would compute begins with an apostrophe.
  function toCell(value) {
    let text = value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
    if (typeof value === "string" && /^\s*[=+\-@]/.test(text) && Number.isNaN(Number(text))) text = `'${text}`;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }

  // The rows of the chart's data sets, the largest first; images are left out.
  function toCsv(tables) {
    const sorted = [...tables].sort((one, other) => other.length - one.length).flat();
    const rows = [...new Map(sorted.map((row) => [JSON.stringify(row), row])).values()];
    const isImage = (key) => rows.some((row) => typeof row[key] === "string" && row[key].startsWith("data:"));
    const columns = [...new Set(rows.flatMap(Object.keys))].filter((key) => !isImage(key));
    return [columns, ...rows.map((row) => columns.map((key) => row[key]))].map((row) => `${row.map(toCell).join(",")}\n`).join("");
  }

  async function save(frame, kind) {
    const shown = frame.shown; // of page.js; none before the chart is drawn
    if (!shown?.view) return;
    const words = ["kd explorer", nameOf(frame), shown.picture.split(";")[0]].join(" ").normalize("NFKD");
    const name = `${words.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "").slice(0, 100)}.${kind.toLowerCase()}`;
    if (kind === "CSV") return download(toUrl(toCsv(shown.tables), "text/csv"), name);
    const svg = await toSvg(shown);
    download(kind === "SVG" ? toUrl(svg, "image/svg+xml") : await toPng(svg), name);
  }

  for (const frame of document.querySelectorAll(".chart[data-chart]")) {
    const figure = document.createElement("div");
    const files = Object.assign(document.createElement("p"), { className: "files" });
    for (const kind of ["SVG", "PNG", "CSV"]) {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: kind });
      button.setAttribute("aria-label", `${kind} of the chart: ${nameOf(frame)}`);
      button.addEventListener("click", () => save(frame, kind));
      files.append(button);
    }
    frame.replaceWith(figure);
    figure.append(frame, files);
  }
})();
