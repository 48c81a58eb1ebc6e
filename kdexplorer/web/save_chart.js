/* A chart as a file, with its sliders where they stand: SVG and PNG on white with source and link below it, also for a
   slide, and its rows as CSV. Shared by the application's pages and the handout. */

const KDSave = (() => {
  const DOCUMENT = { width: 960, em: 18, text: 13 }; // pixels
  const SLIDE = { width: 1600, height: 900, em: 36, text: 21.6 };
  const SMALLEST = 20; // em on a slide whose chart would be too tall; where this is too large too, the chart is scaled
  const TALLER = 1.6; // at most so many times its own height has a plot that fills a slide
  const MAX_LINES = 3; // of the source and of the link; what is longer is cut
  const INK = "#060d14", GRAY = "#4a545e", FONT = "Arial, Helvetica, sans-serif";
  const SVG = "http://www.w3.org/2000/svg";

  /** The Vega view that has drawn what is in this element: Vega's marks lead to it, as when it handles their events. */
  function findView(place) {
    return place?.querySelector("svg.marks .background")?.__data__.context.dataflow;
  }

  /** A chart drawn in another width, text size and height than on the page, where it stays as it is. */
  async function draw(view, width, em, taller = 1) {
    const place = view.container();
    view.container = () => null; // lines of text break where this drawing ends
    try {
      await view.signal("file", { em, taller }).width(width).resize().runAsync();
      return clean(await view.toSVG());
    } finally {
      delete view.container;
      await view.signal("file", null).width(place.clientWidth).resize().runAsync();
    }
  }

  /** An SVG in a file's font and colors, which the page's theme has decided; each text keeps its measured width. */
  function clean(text) {
    const root = new DOMParser().parseFromString(toXml(text.replaceAll("currentColor", INK)), "image/svg+xml").documentElement;
    const pen = document.createElement("canvas").getContext("2d");
    root.querySelectorAll(":scope > rect").forEach((rect) => rect.remove()); // the page's background
    for (const one of root.querySelectorAll("text")) {
      const style = ["font-style", "font-weight", "font-size", "font-family"].map((name) => one.getAttribute(name) ?? "");
      pen.font = style.join(" ").trim();
      for (const line of one.querySelector("tspan") ? one.querySelectorAll("tspan") : [one]) {
        const long = pen.measureText(line.textContent).width;
        if (long) line.setAttribute("textLength", long.toFixed(2));
        line.setAttribute("lengthAdjust", "spacingAndGlyphs");
      }
      one.setAttribute("font-family", FONT);
      if (one.closest(".role-axis-label, .role-axis-title, .role-legend-label, .role-legend-title, .role-title")) one.setAttribute("fill", INK);
    }
    for (const [role, opacity] of [["grid", 0.12], ["domain", 0.4], ["tick", 0.4]]) {
      for (const line of root.querySelectorAll(`.role-axis-${role} line`)) {
        line.setAttribute("stroke", INK);
        line.setAttribute("opacity", opacity);
      }
    }
    const [width, height] = ["width", "height"].map((name) => Number(root.getAttribute(name)));
    return { svg: new XMLSerializer().serializeToString(root), width, height };
  }

  /** A text without the characters that cannot be part of XML. */
  function toXml(text) {
    return text.replace(/[^\t\n\r\x20-\ud7ff\ue000-\ufffd\ud800-\udfff]/g, "");
  }

  function escape(text) {
    return toXml(text).replace(/[<>&"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
  }

  /** A text as lines of so many letters. */
  function breakLines(text, letters) {
    const lines = (text.match(new RegExp(`.{1,${letters}}( |$)|\\S{${letters}}`, "g")) ?? []).map((line) => line.trim());
    return lines.length > MAX_LINES ? [...lines.slice(0, MAX_LINES - 1), `${lines[MAX_LINES - 1].slice(0, -2)} …`] : lines;
  }

  /** A chart that fills a slide: smaller text where it is too tall, else a taller plot. */
  async function fill(view, width, room) {
    let em = SLIDE.em, drawn = await draw(view, width, em);
    for (let step = 0; step < 3 && drawn.height > room && em > SMALLEST; step++) {
      em = Math.max(SMALLEST, (em * room) / drawn.height);
      drawn = await draw(view, width, em);
    }
    const plot = view.signal("height"), more = room - drawn.height;
    return more > 0.05 * room ? draw(view, width, em, Math.min(TALLER, 1 + more / plot)) : drawn;
  }

  /** The file's SVG: the chart, the source and the link. */
  async function toSvg({ view, source, link, description, slide }) {
    const layout = slide ? SLIDE : DOCUMENT;
    const { width, em, text } = layout, pad = 0.8 * em, inner = width - 2 * pad;
    const letters = Math.max(20, Math.floor(inner / (0.56 * text)));
    const words = [source, link].filter(Boolean).flatMap((part) => breakLines(part, letters));
    const below = (1.35 * words.length + 0.5) * text;
    const free = layout.height - 2 * pad - below;
    const drawn = slide ? await fill(view, inner, free) : await draw(view, inner, em);
    const room = slide ? free : drawn.height;
    const shrink = Math.min(1, room / drawn.height, inner / drawn.width);
    const height = Math.round(2 * pad + room + below);
    const [left, top] = [pad + (inner - shrink * drawn.width) / 2, pad + (room - shrink * drawn.height) / 2];
    const lines = words.map((line, k) => `<text x="${pad}" y="${height - pad - text * (0.3 + 1.35 * (words.length - 1 - k))}">${escape(line)}</text>`);
    const footer = `<g font-family="${FONT}" font-size="${text}" fill="${GRAY}">${lines.join("")}</g>`;
    return `<svg xmlns="${SVG}" xmlns:xlink="http://www.w3.org/1999/xlink" width="${width}" height="${height}" ` +
      `viewBox="0 0 ${width} ${height}" role="img"><title>${escape(source)}</title><desc>${escape(description)}</desc>` +
      `<rect width="${width}" height="${height}" fill="white"/>` +
      `<g transform="translate(${left},${top}) scale(${shrink})">${drawn.svg}</g>` +
      (/^https?:/.test(link ?? "") ? `<a href="${escape(link)}">${footer}</a>` : footer) + "</svg>";
  }

  /** An SVG as PNG with two pixels for one of its own. */
  async function toPng(svg) {
    const image = new Image();
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
    await image.decode();
    const [width, height] = [2 * image.naturalWidth, 2 * image.naturalHeight];
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    canvas.getContext("2d").drawImage(image, 0, 0, width, height);
    return canvas.toDataURL("image/png");
  }

  /** A text that a spreadsheet would compute begins with an apostrophe. */
  function toCell(value) {
    let text = value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
    if (typeof value === "string" && /^\s*[=+\-@]/.test(text) && Number.isNaN(Number(text))) text = `'${text}`;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }

  /** The rows of a chart's data sets, the largest set first; of the others those that it lacks. Images are left out. */
  function toCsv(tables) {
    const seen = new Set();
    const rows = [...tables].sort((one, other) => other.length - one.length).flatMap((table) => {
      const fresh = table.filter((row) => !seen.has(JSON.stringify(row)));
      fresh.forEach((row) => seen.add(JSON.stringify(row)));
      return fresh;
    });
    const isImage = (key) => rows.some((row) => typeof row[key] === "string" && row[key].startsWith("data:"));
    const columns = [...new Set(rows.flatMap(Object.keys))].filter((key) => !isImage(key));
    return [columns, ...rows.map((row) => columns.map((key) => row[key]))].map((row) => `${row.map(toCell).join(",")}\n`).join("");
  }

  function toName(words, ending) {
    const plain = words.filter(Boolean).join(" ").normalize("NFKD").replace(/[^\x00-\x7f]/g, "").toLowerCase();
    return `${plain.replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "").slice(0, 100).replace(/-$/, "")}.${ending}`;
  }

  /** A chart's file, `svg`, `png` or `csv`: its name and its text, of a PNG a data URL. It takes the chart's `view`,
      `tables` (the rows of its data sets), `description`, `source`, `link`,
      whether it is for a `slide`, and for the file's name `name` and `of`. */
  async function makeFile(kind, chart) {
    const name = toName(["kd explorer", chart.name, chart.of, kind !== "csv" && chart.slide ? "slide" : ""], kind);
    if (kind === "csv") return { name, text: toCsv(chart.tables), type: "text/csv" };
    const svg = await toSvg(chart);
    return { name, text: kind === "png" ? await toPng(svg) : svg, type: kind === "png" ? null : "image/svg+xml" };
  }

  let last = Promise.resolve(); // a chart is drawn for one file at a time

  /** Saves what `makeFile` makes, after what was asked for before. */
  function save(kind, chart) {
    return (last = last.catch(() => {}).then(() => saveNow(kind, chart)));
  }

  async function saveNow(kind, chart) {
    const { name, text, type } = await makeFile(kind, chart);
    const url = type ? URL.createObjectURL(new Blob([text], { type })) : text;
    Object.assign(document.createElement("a"), { href: url, download: name }).click();
    if (type) setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }

  return { findView, makeFile, save };
})();
