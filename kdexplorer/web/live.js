/* The live view: a picture or the camera, teacher and students answering in a worker, two sliders. Sends nothing. */

const fetched = new Map(); // weights by their hash: fetched once however often the view is opened

/** A network's weights: from the page itself, or once from an address that names their hash. */
async function weightsOf({ description, weights, url }) {
  const { sha256, name } = description;
  if (!fetched.has(sha256)) {
    if (weights) fetched.set(sha256, Uint8Array.from(atob(weights), (letter) => letter.charCodeAt(0)));
    else {
      const response = await fetch(url, { cache: "force-cache" });
      if (!response.ok) throw new Error(`The weights of ${name} did not arrive. Reload the page.`);
      fetched.set(sha256, new Uint8Array(await response.arrayBuffer()));
    }
  }
  return fetched.get(sha256);
}

/** Puts the view into `host` and returns `{setNetworks, setTemperature, hear, close}`.

    `settings`: `networks`, the teacher first, each `{name, colour, mark, description, weights | url}`; `palette`, the
    colours of attention; `temperature`, `range` [lowest, highest T]; `sample` {address, caption}, shown until there is
    another picture, or null; `canUse`, whether there are other pages; `follows`, whether the page around it has the
    temperature's slider and calls `setTemperature`. */
function mount(host, settings) {
  const worker = new Worker(URL.createObjectURL(new Blob([KD_WORKER], { type: "text/javascript" })));
  const readSquare = squareReader();
  const palette = colours(settings.palette);
  const view = { temperature: settings.temperature, opacity: 0.65, frozen: false, seen: null, onPicture: null };
  let [networks, table, set, loaded] = [[], null, 0, false];
  let [asked, waiting] = [0, null]; // questions in the worker; the picture that waits to be one
  let [count, since, counted] = [0, performance.now(), 0];

  const camera = cameraOf((video) => view.frozen || ask(video, video.videoWidth, video.videoHeight), () => {
    say("The camera has gone. Choose a picture from a file, or start the camera again.");
    showCamera();
  });

  const status = element("p", { className: "kd-status" });
  status.setAttribute("role", "status");
  const speed = element("p", { className: "kd-speed" });
  const file = element("input", { type: "file", accept: KINDS.join(","), onchange: () => file.files[0] && open(file.files[0]) });
  const button = (textContent, onclick, primary) =>
    element("button", { type: "button", textContent, onclick, className: primary ? "kd-primary" : "" });
  const start = button("Start the camera", toggleCamera, true);
  const freeze = button("Freeze", toggleFreeze);
  const save = button("Save as PNG", savePoster);
  const use = button("Use this picture", () => view.onPicture?.(seen.toDataURL("image/png")));
  const photo = element("canvas", { className: "kd-photo", width: 320, height: 320 });
  const seen = element("canvas", { className: "kd-pixels", width: 32, height: 32 });
  photo.setAttribute("role", "img");
  photo.setAttribute("aria-label", "The middle square of the picture");
  seen.setAttribute("role", "img");
  seen.setAttribute("aria-label", "What the networks see: 32 × 32 pixels");
  const answers = element("div", { className: "kd-wide", tabIndex: 0 });
  answers.setAttribute("role", "region");
  answers.setAttribute("aria-label", "Answers");
  const scale = element("div", { className: "kd-scale" }, element("span", { textContent: "0" }),
    element("i", { style: { background: `linear-gradient(90deg, ${settings.palette.join(", ")})` } }),
    element("span", { textContent: `${TOP} × attention spread evenly` }));

  const [low, high] = settings.range.map(Math.log2);
  const temperature = slider("Temperature", low, high, 0.01, Math.log2(view.temperature), (value) => {
    view.temperature = 2 ** value;
    return `T = ${view.temperature.toFixed(2)}`;
  });
  const opacity = slider("Opacity, from photo to attention alone", 0, 1, 0.01, view.opacity, (value) => {
    view.opacity = value;
    return value.toFixed(2);
  });

  const root = element("div", { className: "kd-live" },
    element("div", { className: "kd-controls" },
      element("label", { className: "kd-file" }, "Choose a picture", file), start, freeze, save, ...(settings.canUse ? [use] : [])),
    status,
    element("div", { className: "kd-columns" },
      element("div", { className: "kd-picture" }, photo, element("div", { className: "kd-seen" }, seen,
        element("small", { textContent: "What the networks see: 32 × 32 pixels." })), speed),
      element("div", { className: "kd-right" }, ...(settings.follows ? [] : [temperature]), answers, opacity, scale)));
  host.append(root);
  const endFiles = takeFiles(root, open);

  function slider(name, min, max, step, value, take) {
    const output = element("output", { textContent: take(value) });
    const range = element("input", { type: "range", min, max, step, value });
    range.setAttribute("aria-valuetext", output.textContent);
    range.addEventListener("input", () => {
      output.textContent = take(Number(range.value));
      range.setAttribute("aria-valuetext", output.textContent);
      show();
    });
    return element("label", { className: "kd-slider" }, element("span", {}, `${name} `, output), range);
  }

  function say(sentence) {
    status.textContent = sentence;
  }

  /** Asks the worker about a picture: one that it answers, one ready for it, and of those that come meanwhile the latest. */
  function ask(source, width, height) {
    if (!width) return;
    if (asked > 1 || !loaded) {
      waiting = () => ask(source, width, height);
      return;
    }
    waiting = null;
    asked++;
    const { rgba, side } = readSquare(source, width, height);
    worker.postMessage({ set, rgba, side, active: [...table.active], again: source === photo }, [rgba]);
  }

  worker.onmessage = ({ data }) => {
    if (data.loaded) loaded = data.set === set;
    else {
      asked--;
      if (data.set === set && (data.again || !view.frozen)) take(data); // what was under way when it froze is dropped
    }
    waiting?.();
  };
  worker.onerror = (event) => say(`The networks cannot run in this browser (${event.message}).`);

  function take(data) {
    view.seen = data;
    if (photo.width !== data.side) photo.width = photo.height = data.side;
    photo.classList.toggle("kd-pixels", data.side <= 64);
    photo.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(data.rgba), data.side, data.side), 0, 0);
    const image = new ImageData(32, 32);
    for (let i = 0; i < 4096; i++) image.data[i] = (i & 3) === 3 ? 255 : data.pixels[3 * (i >> 2) + (i & 3)];
    seen.getContext("2d").putImageData(image, 0, 0);
    root.dataset.pictures = ++count;
    root.dataset.milliseconds = data.milliseconds.toFixed(2);
    const now = performance.now();
    if (now - since > 500) {
      const rate = ((count - counted) / (now - since)) * 1000;
      speed.textContent = camera.isOn() ? `${rate.toFixed(0)} pictures a second, ${data.milliseconds.toFixed(0)} ms each` : "";
      [since, counted] = [now, count];
    }
    save.disabled = use.disabled = false;
    show();
  }

  function show() {
    if (!view.seen) return;
    table.show(view.seen.answers, view.temperature);
    table.drawMaps(view.seen.answers, view.seen.pixels, view.opacity);
  }

  /** Asks about the picture on show, where no camera brings a new one. */
  function again() {
    if (count && (view.frozen || !camera.isOn())) ask(photo, photo.width, photo.height);
  }

  /** What to do first, and meanwhile a sample that is answered. */
  async function invite() {
    const { sample } = settings;
    const ways = "Drop a picture here, paste one, choose a file, or start the camera.";
    say(sample ? `A sample to begin with (${sample.caption}). Now yours: ${ways[0].toLowerCase()}${ways.slice(1)}` : ways);
    if (!sample || waiting) return;
    const image = element("img", { src: sample.address });
    await image.decode();
    if (!count && !waiting && !camera.isOn()) ask(image, image.naturalWidth, image.naturalHeight);
  }

  async function open(picture) {
    try {
      const decoded = await decodeFile(picture);
      camera.stop();
      view.frozen = false;
      showCamera();
      say("");
      ask(decoded, decoded.width, decoded.height);
    } catch (error) {
      say(error.message);
    }
    file.value = "";
  }

  async function toggleCamera() {
    view.frozen = false;
    if (camera.isOn()) camera.stop();
    else {
      say("Waiting for the camera …");
      try {
        await camera.start();
        say("");
      } catch (error) {
        camera.stop();
        say(cameraSentence(error));
      }
    }
    showCamera();
  }

  function toggleFreeze() {
    view.frozen = !view.frozen;
    waiting = null;
    again(); // by the networks that are chosen now
    showCamera();
  }

  function showCamera() {
    start.textContent = camera.isOn() ? "Stop the camera" : "Start the camera";
    freeze.disabled = !camera.isOn();
    freeze.textContent = view.frozen ? "Go on" : "Freeze";
    freeze.setAttribute("aria-pressed", view.frozen);
  }

  function savePoster() {
    const style = getComputedStyle(root);
    const made = poster({ ...view, networks, table, answers: view.seen.answers, photo, seen, ink: style.color, ground: style.backgroundColor });
    made.toBlob((blob) => {
      const address = URL.createObjectURL(blob);
      element("a", { href: address, download: "soft-labels.png" }).click();
      setTimeout(() => URL.revokeObjectURL(address), 10_000);
    }, "image/png");
  }

  /** Shows these networks from now on; the picture or the camera stays. */
  async function setNetworks(chosen) {
    const mine = ++set;
    loaded = false;
    view.seen = null;
    networks = chosen;
    table = answersTable(networks, palette, again);
    answers.replaceChildren(table.table);
    say("Loading the networks …");
    try {
      const weights = await Promise.all(networks.map(weightsOf));
      if (mine !== set) return;
      worker.postMessage({ set, networks: networks.map(({ description }, n) => ({ description, weights: weights[n] })) });
      if (count || camera.isOn()) say("");
      else invite();
      again();
    } catch (error) {
      say(error.message);
    }
  }

  function setTemperature(T) {
    view.temperature = T;
    show();
  }

  function close() {
    camera.stop();
    worker.terminate();
    endFiles();
    root.remove();
  }

  save.disabled = use.disabled = freeze.disabled = true;
  showCamera();
  setNetworks(settings.networks);
  return { setNetworks, setTemperature, close, hear: (onPicture) => (view.onPicture = onPicture) };
}
