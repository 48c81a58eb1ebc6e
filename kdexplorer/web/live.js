/* The live view: an image or the camera, teacher and students in a worker, two sliders. Nothing is sent. */

const OPACITY = 0.65; // where its slider starts
const fetched = new Map(); // weights by their hash: each is fetched once, however often the view is opened

/** A network's weights: embedded in the page, or fetched once from an address that contains their hash. */
async function loadWeights({ description, weights, url }) {
  const { sha256, name } = description;
  if (!fetched.has(sha256)) {
    if (weights) fetched.set(sha256, Uint8Array.from(atob(weights), (letter) => letter.charCodeAt(0)));
    else {
      const response = await fetch(url, { cache: "force-cache" }).catch(() => null);
      if (!response?.ok) throw new Error(`The weights of ${name} could not be loaded. Reload the page, or choose an image to try again.`);
      fetched.set(sha256, new Uint8Array(await response.arrayBuffer()));
    }
  }
  return fetched.get(sha256);
}

/** The worker with its queue: it holds at most two images, and of later ones only the latest waits.

    `getOptions(source)` returns `{active, repeated}` for an image: which networks are selected, and whether it was shown
    before. `onResult` receives the worker's message, `onError` a sentence. */
function createClassifier(getOptions, onResult, onError) {
  const worker = new Worker(URL.createObjectURL(new Blob([KD_WORKER], { type: "text/javascript" })));
  const readSquare = createSquareReader();
  let [set, loaded, pending, next] = [0, false, 0, null];

  worker.onmessage = ({ data }) => {
    if (data.loaded) loaded = data.set === set;
    else {
      pending--;
      if (data.set === set) onResult(data);
    }
    next?.();
  };
  worker.onerror = (event) => onError(`The networks cannot run in this browser (${event.message}).`);

  function classify(source, width, height) {
    if (!width) return;
    if (pending > 1 || !loaded) {
      next = () => classify(source, width, height);
      return;
    }
    next = null;
    pending++;
    const { rgba, side } = readSquare(source, width, height);
    worker.postMessage({ set, rgba, side, ...getOptions(source) }, [rgba]);
  }

  /** Replaces the networks; returns whether they are still the latest once their weights are there. */
  async function load(networks) {
    const mine = ++set;
    loaded = false;
    const weights = await Promise.all(networks.map(loadWeights));
    if (mine !== set) return false;
    worker.postMessage({ set, networks: networks.map(({ description }, n) => ({ description, weights: weights[n] })) });
    return true;
  }

  return { classify, load, isWaiting: () => next !== null, dropWaiting: () => (next = null), close: () => worker.terminate() };
}

/** A slider with its value as text, by the name `key`: `apply(value)` uses a value and returns its text. */
function createSlider(key, name, min, max, value, apply) {
  const output = element("output", { textContent: apply(value) });
  const range = element("input", { type: "range", name: key, min, max, step: 0.01, value });
  range.setAttribute("aria-label", name);
  range.setAttribute("aria-valuetext", output.textContent);
  range.addEventListener("input", () => {
    output.textContent = apply(Number(range.value));
    range.setAttribute("aria-valuetext", output.textContent);
  });
  return element("label", { className: "kd-slider" }, element("span", {}, `${name} `, output), range);
}

/** The view's elements by name; `actions` are called by its buttons and sliders. */
function buildElements(settings, actions) {
  const button = (textContent, onclick, primary) =>
    element("button", { type: "button", textContent, onclick, className: primary ? "kd-primary" : "" });
  const labeled = (one, role, label) => {
    one.setAttribute("role", role);
    one.setAttribute("aria-label", label);
    return one;
  };
  const status = element("p", { className: "kd-status" });
  status.setAttribute("role", "status");
  const speed = element("p", { className: "kd-speed" });
  const file = element("input", { type: "file", accept: ACCEPTED });
  file.addEventListener("change", () => file.files[0] && actions.openFile(file.files[0]));
  const start = button("Start the camera", actions.toggleCamera, true);
  const freeze = button("Freeze", actions.toggleFreeze);
  const save = button("Save as PNG", actions.saveSnapshot);
  const use = button("Use this picture", actions.useImage);
  const photo = labeled(element("canvas", { className: "kd-photo", width: 320, height: 320 }), "img", "The middle square of the image");
  const input = labeled(element("canvas", { className: "kd-pixels", width: 32, height: 32 }), "img", "The networks' input: 32 × 32 pixels");
  const predictions = labeled(element("div", { className: "kd-wide", tabIndex: 0 }), "region", "Predictions");
  const [low, high] = settings.range.map(Math.log2);
  const temperature = createSlider("logT", "Temperature", low, high, Math.log2(settings.temperature), actions.setLogTemperature);
  const opacity = createSlider("opacity", "Opacity, from photo to attention map", 0, 1, OPACITY, actions.setOpacity);
  const scale = element("div", { className: "kd-scale" }, element("span", { textContent: "0" }),
    element("i", { style: { background: `linear-gradient(90deg, ${settings.palette.map((color) => `rgb(${color})`).join(", ")})` } }),
    element("span", { textContent: `${MAX_ATTENTION} × uniform attention` }));
  const controls = element("div", { className: "kd-controls" },
    element("label", { className: "kd-file" }, "Choose an image", file), start, freeze, save, ...(settings.hasOtherPages ? [use] : []));
  const small = element("div", { className: "kd-input" }, input, element("small", { textContent: "The networks' input: 32 × 32 pixels." }));
  const root = element("div", { className: "kd-live" },
    element("div", { className: "kd-columns" }, // the slider comes first, so that the keyboard reaches it first
      element("div", { className: "kd-right" }, ...(settings.externalTemperature ? [] : [temperature]), predictions, opacity, scale),
      element("div", { className: "kd-picture" }, photo, controls, status, small, speed)));
  return { root, status, speed, file, start, freeze, save, use, photo, input, predictions };
}

/** Puts the view into `host` and returns `{setNetworks, setTemperature, setOnPicture, close}`.

    `settings`: `networks`, the teacher first, each `{name, color, mark, description, weights | url}`; `palette`, the
    256 colors [r, g, b] of attention; `temperature`, `range` [lowest, highest T]; `sample` {url, caption}, shown until
    the reader chooses an image, or null; `hasOtherPages`, whether other pages can take the image;
    `externalTemperature`, whether the surrounding page has the temperature's slider and calls `setTemperature`. */
function mount(host, settings) {
  const view = { temperature: settings.temperature, opacity: OPACITY, frozen: false, result: null, onPicture: null };
  let [networks, table] = [[], null];
  let [count, since, counted] = [0, performance.now(), 0];
  let [opened, failed] = [0, false]; // files so far; whether the weights could not be loaded

  const elements = buildElements(settings, {
    openFile, toggleCamera, toggleFreeze, saveSnapshot,
    useImage: () => view.onPicture?.(elements.input.toDataURL("image/png")),
    setLogTemperature: (value) => {
      setTemperature(2 ** value);
      return `T = ${view.temperature.toFixed(2)}`;
    },
    setOpacity: (value) => {
      view.opacity = value;
      show();
      return value.toFixed(2);
    },
  });
  const { root, photo, input, speed } = elements;
  host.append(root);
  const stopAccepting = acceptFiles(root, openFile);
  const getOptions = (source) => ({ active: [...table.active], repeated: source === photo });
  const classifier = createClassifier(getOptions, receive, say);
  const camera = createCamera((video) => view.frozen || classifier.classify(video, video.videoWidth, video.videoHeight), () => {
    say("The camera was disconnected. Choose an image file, or start the camera again.");
    showCamera();
  });

  function say(sentence) {
    elements.status.textContent = sentence;
  }

  function receive(data) {
    if (view.frozen && !data.repeated) return; // a frame from before the freeze
    view.result = data;
    if (photo.width !== data.side) photo.width = photo.height = data.side;
    photo.classList.toggle("kd-pixels", data.side <= 64);
    photo.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(data.rgba), data.side, data.side), 0, 0);
    const image = new ImageData(32, 32);
    for (let i = 0; i < 4096; i++) image.data[i] = (i & 3) === 3 ? 255 : data.pixels[3 * (i >> 2) + (i & 3)];
    input.getContext("2d").putImageData(image, 0, 0);
    root.dataset.pictures = ++count;
    root.dataset.milliseconds = data.milliseconds.toFixed(2);
    showSpeed(data.milliseconds);
    elements.save.disabled = elements.use.disabled = false;
    show();
  }

  function showSpeed(milliseconds) {
    const now = performance.now();
    if (now - since <= 500) return;
    const rate = ((count - counted) / (now - since)) * 1000;
    speed.textContent = camera.isOn() && !view.frozen ? `${rate.toFixed(0)} images per second, ${milliseconds.toFixed(0)} ms each` : "";
    [since, counted] = [now, count];
  }

  function show() {
    if (!view.result) return;
    table.show(view.result.predictions, view.temperature);
    table.drawMaps(view.result.predictions, view.result.pixels, view.opacity);
  }

  /** Classifies the displayed image once more, unless the camera brings a new one. */
  function repeat() {
    if (count && (view.frozen || !camera.isOn())) classifier.classify(photo, photo.width, photo.height);
  }

  /** Says what to do first, and classifies the sample meanwhile. */
  async function invite() {
    const { sample } = settings;
    if (classifier.isWaiting()) return say("");
    const ways = "Drop an image here, paste one, choose a file, or start the camera.";
    say(sample ? `${sample.caption}. ${ways}` : ways);
    if (!sample) return;
    const image = element("img", { src: sample.url });
    await image.decode();
    if (count || classifier.isWaiting() || camera.isOn()) return;
    classifier.classify(image, image.naturalWidth, image.naturalHeight);
  }

  async function openFile(chosen) {
    const mine = ++opened;
    try {
      const decoded = await decodeFile(chosen);
      if (mine !== opened) return; // a later one was faster
      camera.stop();
      view.frozen = false;
      showCamera();
      say("");
      classifier.classify(decoded, decoded.width, decoded.height);
      if (failed) setNetworks(networks);
    } catch (error) {
      say(error.message);
    }
    elements.file.value = "";
  }

  async function toggleCamera() {
    view.frozen = false;
    if (camera.isOn()) camera.stop();
    else {
      say("Waiting for the camera …");
      try {
        await camera.start();
        say("");
        if (failed) setNetworks(networks);
      } catch (error) {
        camera.stop();
        say(explainCameraError(error));
      }
    }
    showCamera();
  }

  function toggleFreeze() {
    view.frozen = !view.frozen;
    classifier.dropWaiting();
    repeat(); // with the networks that are selected now
    showCamera();
  }

  function showCamera() {
    const { start, freeze } = elements;
    if (!camera.isOn() || view.frozen) speed.textContent = "";
    start.textContent = camera.isOn() ? "Stop the camera" : "Start the camera";
    freeze.disabled = !camera.isOn();
    freeze.textContent = view.frozen ? "Continue" : "Freeze";
  }

  function saveSnapshot() {
    const { color: ink, backgroundColor: ground } = getComputedStyle(root);
    const canvas = drawSnapshot({ ...view, networks, table, predictions: view.result.predictions, photo, input, ink, ground });
    canvas.toBlob((blob) => {
      const address = URL.createObjectURL(blob);
      element("a", { href: address, download: "soft-labels.png" }).click();
      setTimeout(() => URL.revokeObjectURL(address), 10_000);
    }, "image/png");
  }

  /** Shows these networks from now on; the image or the camera stays. */
  async function setNetworks(chosen) {
    view.result = null;
    elements.save.disabled = elements.use.disabled = true;
    networks = chosen;
    table = createTable(networks, settings.palette, repeat);
    failed = false;
    elements.predictions.replaceChildren(table.table);
    say("Loading the networks …");
    try {
      if (!(await classifier.load(networks))) return;
      if (count || camera.isOn()) say("");
      else invite();
      repeat();
    } catch (error) {
      failed = true;
      say(error.message);
    }
  }

  function setTemperature(T) {
    view.temperature = T;
    show();
  }

  function close() {
    camera.stop();
    classifier.close();
    stopAccepting();
    root.remove();
  }

  showCamera();
  setNetworks(settings.networks);
  return { setNetworks, setTemperature, setOnPicture: (onPicture) => (view.onPicture = onPicture), close };
}
