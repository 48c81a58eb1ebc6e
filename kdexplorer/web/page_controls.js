/* What every page of the application has: keys, a way past the menu, and charts' sliders with names and words. */

const HELP = [
  ["← →", "previous or next picture"],
  ["+ −", "higher or lower temperature"],
  ["Tab, then ← →", "move in the menu, or in a chart's buttons"],
  ["?", "show or hide this list"],
];
const STORY_HELP = [
  ["→ Page Down Space", "next step"],
  ["← Page Up", "previous step"],
  ["Enter", "reveal the answer; begin or close the vote"],
  ["m", "more: an optional step"],
  ["↑ ↓", "move the figure's control"],
  [", .", "previous or next picture"],
  ["Esc", "leave"],
  ["?", "show or hide this list"],
];
const STORY = { PageDown: "next", ArrowRight: "next", " ": "next", PageUp: "back", ArrowLeft: "back", Escape: "leave", Enter: "reveal", m: "more" };
const UP = { ArrowUp: 1, ArrowDown: -1, "+": 1, "=": 1, "-": -1 };
const STEP = 0.25; // of log2 T: four presses double the temperature
const PRESETS = [0.5, 1, 2, 4, 8, 20]; // of T: ticks at its slider, which catch it within SNAP pixels
const SNAP = 6;
const SHARED = { logT: ["T", (value) => 2 ** value], alpha: ["alpha", (value) => value] };
const REST = 500, ASKED = 100; // milliseconds: until a slider rests, and until the page shows that a run was asked for
const LEADS = ".st-key-story_next, .st-key-story_back, .st-key-story_more"; // to another step
const FRAME = 700; // milliseconds that a replay shows each epoch
const EPOCHS = ".vega-bindings input[name=epoch]";
const UNUSED = "kd-no-character-keys";
const STORAGE = (() => { try { return localStorage; } catch { return null; } })(); // a frame of another site may have none
const OWN_KEYS = "input:not([type=range]), textarea, select, [contenteditable=true], [role=combobox], [role=textbox]";
const ARROW_KEYS = "input, pre, .katex-display, [role=radio], [role=radiogroup], [role=tab], [role=tablist], [role=slider], [role=listbox]";

const APP = "[data-testid=stApp]";
const GROUPS = "[data-testid=stTopNav], [data-testid=stElementToolbar]";

/** All range inputs of charts and of the live view, in the order of the page. */
function findSliders() {
  const views = [...document.querySelectorAll("[data-testid=stBidiComponentIsolated]")].map((host) => host.shadowRoot);
  return [document, ...views.filter(Boolean)].flatMap((root) =>
    [...root.querySelectorAll(".vega-bindings input[type=range], .kd-slider input[type=range]")]
  ).filter((slider) => slider.offsetParent);
}

/** Moves a slider as its reader would. */
function moveSlider(slider, value) {
  slider.value = value;
  slider.dispatchEvent(new Event("input", { bubbles: true }));
}

/** T from its slider's value, whose last step ends just below the highest T. */
function readTemperature(value) {
  const T = 2 ** Number(value);
  return PRESETS.find((preset) => Math.abs(preset - T) < 0.002 * T) ?? T;
}

/** Moves T's slider to a tick that is a few pixels away, while a pointer drags it. */
function snap(slider) {
  if (slider.name !== "logT" || !slider.matches(":active")) return;
  const near = (SNAP * (slider.max - slider.min)) / slider.clientWidth;
  const tick = PRESETS.map(Math.log2).find((one) => Math.abs(one - slider.value) < near);
  if (tick !== undefined) slider.value = tick;
}

/** The ticks below T's slider, each a button. */
function addTicks(slider) {
  const ticks = Object.assign(document.createElement("div"), { className: "kd-ticks" });
  ticks.append(...PRESETS.map((T) => {
    const tick = Object.assign(document.createElement("button"), { type: "button", textContent: T, tabIndex: -1 });
    tick.setAttribute("aria-label", `T = ${T}`);
    tick.style.setProperty("--at", (Math.log2(T) - slider.min) / (slider.max - slider.min));
    tick.addEventListener("click", () => moveSlider(slider, Math.log2(T)));
    return tick;
  }));
  const place = Object.assign(document.createElement("div"), { className: "kd-ticked" });
  slider.before(place);
  place.append(ticks, slider);
}

/** A slider's value in words: Vega writes the parameter's number, which for a temperature is its logarithm. */
function describeValue({ name, value }) {
  if (name === "logT") return `T = ${readTemperature(value).toFixed(2)}`;
  return name === "epoch" ? `Epoch ${value}` : Number(value).toFixed(2);
}

/** Gives a chart's slider its name and value for screen readers, and a replay's slider a button. */
function completeSlider(slider) {
  if (slider.dataset.complete) return;
  slider.dataset.complete = "yes";
  slider.setAttribute("aria-label", findName(slider)?.textContent ?? slider.name);
  if (slider.name === "logT") addTicks(slider);
  showValue(slider);
  if (slider.name !== "epoch") return;
  if (!document.querySelector(".kd-play")) slider.parentElement.before(createPlayer(slider));
  else slider.closest(".vega-bindings").hidden = true; // it follows the one with the button
}

function findName(slider) {
  return slider.closest(".vega-bind")?.querySelector(".vega-bind-name");
}

/** Writes a slider's value where readers and screen readers find it. */
function showValue(slider) {
  const words = describeValue(slider);
  slider.setAttribute("aria-valuetext", words);
  const name = findName(slider);
  if (name && slider.name === "epoch") name.textContent = words;
  if (name && slider.name === "logT") name.textContent = `Temperature ${words}`;
}

/** The button that plays a replay from its first epoch, or from where the slider is, to the last. */
function createPlayer(slider) {
  const button = Object.assign(document.createElement("button"), { type: "button", className: "kd-play" });
  let timer = null;

  function show() {
    button.textContent = timer ? "Pause" : "Play";
  }

  function stop() {
    clearInterval(timer);
    timer = null;
    show();
  }

  function step() {
    if (!slider.isConnected || Number(slider.value) >= Number(slider.max)) stop();
    else moveSlider(slider, Number(slider.value) + 1);
  }

  button.addEventListener("click", () => {
    if (timer) return stop();
    if (Number(slider.value) >= Number(slider.max)) moveSlider(slider, slider.min);
    timer = setInterval(step, FRAME);
    show();
  });
  show();
  return button;
}

let follows = false; // one that does not go so far would move the others back

/** Charts of one replay show the same epoch: the others follow the slider that moves. */
function followEpoch(moved) {
  if (follows) return;
  follows = true;
  for (const other of document.querySelectorAll(EPOCHS)) {
    if (other !== moved && other.value !== moved.value) moveSlider(other, moved.value);
  }
  follows = false;
}

let report = null; // of the script's last run
const resting = {}; // what was moved, and its timer, by name
let told = -Infinity;

/** Reports the temperature or α that a chart's slider was moved to, once it rests: a drag asks the server nothing. */
function reportMove(slider) {
  if (!SHARED[slider.name]) return;
  const [name, read] = SHARED[slider.name];
  const chart = slider.closest("[class*=st-key-chart_]")?.className.match(/st-key-(chart_\w+)/)[1] ?? "";
  const moved = { name, value: read(Number(slider.value)), chart };
  clearTimeout(resting[name]?.timer);
  resting[name] = { moved, timer: setTimeout(tell, REST, name) };
}

/** Reports what rests, once no run goes on. */
function tell(name) {
  clearTimeout(resting[name].timer);
  if (isRunning()) return (resting[name].timer = setTimeout(tell, 50, name));
  report(resting[name].moved);
  delete resting[name];
  told = performance.now();
}

/** Forgets what moves: the next step would pin it. */
function forgetMoves() {
  for (const name of Object.keys(resting)) {
    clearTimeout(resting[name].timer);
    delete resting[name];
  }
}

/** Whether the page is run, or a run was asked for: a message before its end would take back its change of the link. */
function isRunning() {
  const app = document.querySelector(`${APP}[data-test-script-state=notRunning]`);
  return !app || performance.now() < told + ASKED;
}

function createHelp() {
  const help = document.createElement("dialog");
  help.id = "kd-help";
  help.setAttribute("aria-label", "Keys");
  help.innerHTML = `<h2>Keys</h2><dl></dl><p><label><input type="checkbox"> Use keys that are single characters</label></p>
    <form method="dialog"><button>Close</button></form>`;
  const use = help.querySelector("input"); // speech input and a hand that trembles press such keys by accident
  use.checked = !STORAGE?.getItem(UNUSED);
  use.addEventListener("change", () => use.checked ? STORAGE?.removeItem(UNUSED) : STORAGE?.setItem(UNUSED, "1"));
  return help;
}

function showHelp(help) {
  const keys = document.querySelector(".st-key-story_footer") ? STORY_HELP : HELP;
  const list = keys.map(([names, what]) => `<dt><kbd>${names}</kbd></dt><dd>${what}</dd>`).join("");
  help.querySelector("dl").innerHTML = list;
  help.showModal();
}

/** The button before the menu that leads to the main slider, or to the page's title where there is none. */
function createSkip() {
  const button = Object.assign(document.createElement("button"), { id: "kd-skip", type: "button" });
  button.textContent = "Skip to the main control";
  button.addEventListener("click", () => {
    const target = findSliders()[0] ?? document.querySelector("main h1");
    if (target?.tagName === "H1") target.tabIndex = -1;
    target?.focus();
    target?.scrollIntoView({ block: "center" });
  });
  const place = document.createElement("nav");
  place.setAttribute("aria-label", "Skip");
  place.append(button);
  return place;
}

/** What is wider than its place can be scrolled by keys. */
function makeScrollable() {
  for (const one of document.querySelectorAll(".katex-display, [data-testid=stCode] pre")) {
    if (one.scrollWidth > one.clientWidth || one.scrollHeight > one.clientHeight) one.tabIndex = 0;
  }
}

/** The menu and a chart's buttons are one stop of the Tab key each; the arrows move in them. */
function joinStops() {
  document.querySelector("[data-testid=stSkipToContent]")?.setAttribute("tabindex", "-1"); // ours leads further
  for (const group of document.querySelectorAll(GROUPS)) {
    const items = [...group.querySelectorAll("a, button")];
    const stop = items.find((one) => one === document.activeElement)
      ?? items.find((one) => one.getAttribute("aria-current") === "page") ?? items[0];
    for (const one of items) one.tabIndex = one === stop ? 0 : -1;
  }
}

/** Moves the focus in a group as its key says; false for another key. */
function moveInGroup(group, target, key) {
  const items = [...group.querySelectorAll("a, button")].filter((one) => one.offsetParent);
  const last = items.length - 1;
  const at = items.indexOf(target);
  const next = { ArrowLeft: at > 0 ? at - 1 : last, ArrowRight: at < last ? at + 1 : 0, Home: 0, End: last }[key];
  if (at < 0 || next === undefined) return false;
  items[next].focus();
  joinStops();
  return true;
}

/** Moves what a lecture's figure lets move: its slider, else its choice, else its picture. */
function moveFigure(direction, repeats) {
  const slider = findSliders().find((one) => one.closest(".st-key-kd_figure"));
  const options = [...document.querySelectorAll(".st-key-kd_figure [data-testid=stButtonGroup] button")];
  const chosen = options.findIndex((one) => one.ariaChecked === "true" || /Active$/.test(one.dataset.testid ?? ""));
  if (slider) {
    const step = slider.name === "logT" ? STEP : (slider.max - slider.min) / 20;
    moveSlider(slider, Math.min(slider.max, Math.max(slider.min, Number(slider.value) + direction * step)));
  } else if (options.length) options[chosen - direction]?.click();
  else turnPicture(direction > 0 ? "Next" : "Previous", repeats);
}

const turns = []; // presses that wait: of two within one run of the page the server would see one

function turnPicture(which, repeats = false) {
  if ((repeats && turns.length) || !document.querySelector(`.st-key-pick_${which} button`)) return;
  turns.push(which);
  if (turns.length === 1) turnNext();
}

/** Presses the button of the first that waits, and goes on once the page has been run for it, or has not within 2 s. */
function turnNext() {
  const begin = performance.now();
  let pressed = false, ran = false;
  const look = () => {
    const late = performance.now() - begin > 2000;
    ran ||= pressed && isRunning();
    if (!pressed && (!isRunning() || late)) {
      const [moved] = late ? [] : Object.keys(resting); // the next picture begins with it
      if (moved) tell(moved);
      else document.querySelector(`.st-key-pick_${turns[0]} button`)?.click();
      pressed = !moved;
    } else if ((ran && !isRunning()) || late) {
      turns.shift();
      if (turns.length) turnNext();
      return;
    }
    setTimeout(look, 10);
  };
  look();
}

/** Back leaves a page with one press: what Streamlit adds to the address of a page that has just been opened is no step
    of its own. Nor is what it takes from the address of a page that a link leaves: Back returns to what was chosen. */
function joinHistory() {
  const push = history.pushState.bind(history);
  let acted = false, left = null;
  for (const kind of ["pointerdown", "keydown", "input"]) document.addEventListener(kind, () => (acted = true), true);
  document.addEventListener("click", ({ target, ctrlKey, metaKey }) => {
    const link = !ctrlKey && !metaKey && target.closest?.("a[href]:not([download])");
    left = link && link.pathname !== location.pathname ? [history.state, "", location.href] : null;
  }, true);
  history.pushState = (state, title, url) => {
    const opens = new URL(url, location.href).pathname !== location.pathname;
    if (opens && left) history.replaceState(...left);
    if (opens || (acted && !left)) push(state, title, url);
    else history.replaceState(state, title, url);
    acted = !opens && acted;
    if (opens) left = null;
  };
}

/** A lecture's keys. Arrows and the space bar stay where they mean something; what a slide clicker sends never does. */
function pressStoryKey(event, target) {
  if (document.querySelector("[data-testid=stPopoverBody]")) return;
  const action = STORY[event.key], picture = { ",": "Previous", ".": "Next" }[event.key];
  if (event.key.startsWith("Arrow") && target.matches?.(ARROW_KEYS)) return;
  if ([" ", "Enter"].includes(event.key) && target.matches?.("button, a, summary, input:not([type=range])")) return;
  const vote = action === "reveal" ? ", .st-key-vote_close button:not(:disabled), .st-key-vote_ask button" : "";
  if (action) document.querySelector(`.st-key-story_${action} button:not(:disabled)${vote}`)?.click();
  else if (picture) turnPicture(picture, event.repeat);
  else if (UP[event.key]) moveFigure(UP[event.key], event.repeat);
  else return;
  event.preventDefault();
}

function pressKey(event, help) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const [target] = event.composedPath();
  const passes = event.key.startsWith("Page") && target.matches?.("[role=combobox]:not([aria-expanded=true])");
  if (target.matches?.(OWN_KEYS) && !passes) return;
  if (event.key.length === 1 && event.key !== " " && !help.querySelector("input").checked) return;
  const group = target.closest?.(GROUPS);
  if (group && moveInGroup(group, target, event.key)) return event.preventDefault();
  if (event.key === "?") {
    if (help.open) help.close();
    else showHelp(help);
    return;
  }
  if (help.open) return;
  if (document.querySelector(".st-key-story_footer")) return pressStoryKey(event, target);
  if (event.key === "Escape") document.querySelector(".st-key-figure_leave button")?.click();
  const picture = { ArrowLeft: "Previous", ArrowRight: "Next" }[event.key];
  const direction = { "+": 1, "=": 1, "-": -1 }[event.key];
  if (picture && !target.matches?.(ARROW_KEYS)) turnPicture(picture, event.repeat);
  const slider = direction && findSliders().find((one) => one.name === "logT");
  if (slider) moveSlider(slider, Math.min(slider.max, Math.max(slider.min, Number(slider.value) + direction * STEP)));
}

/** Adds everything to the document, once, however often the page is run. */
function addControls() {
  if (document.getElementById("kd-help")) return;
  const help = createHelp();
  const button = Object.assign(document.createElement("button"), { id: "kd-keys", type: "button", textContent: "?" });
  button.setAttribute("aria-label", "Show the keys");
  button.addEventListener("click", () => showHelp(help));
  document.body.prepend(createSkip());
  (document.querySelector(APP) ?? document.body).append(button, help); // whose colors they have
  watchUploads();
  joinHistory();
  document.addEventListener("keydown", (event) => pressKey(event, help));
  document.addEventListener("click", ({ target }) => target.closest?.(LEADS) && forgetMoves(), true);
  const isSlider = (one) => one.matches?.(".vega-bindings input[type=range]");
  document.addEventListener("input", ({ target }) => isSlider(target) && snap(target), true); // before the chart reads it
  document.addEventListener("input", ({ target }) => {
    if (!isSlider(target)) return;
    showValue(target);
    reportMove(target);
    if (target.name === "epoch") followEpoch(target);
  });
  let waiting = null;
  const complete = () => {
    joinStops();
    makeScrollable();
    document.querySelectorAll(".vega-bindings input[type=range]").forEach(completeSlider);
    document.querySelectorAll(UPLOAD).forEach((input) => (input.accept = "image/*,.heic,.heif"));
    clearTimeout(waiting);
    waiting = setTimeout(makeScrollable, 200); // again, once the layout has settled
  };
  new MutationObserver(complete).observe(document.body, { childList: true, subtree: true });
  window.addEventListener("resize", complete);
  document.fonts.addEventListener("loadingdone", makeScrollable); // formulas grow with their fonts
  complete();
}

export default function ({ setTriggerValue }) {
  report = (moved) => setTriggerValue("moved", moved);
  addControls();
}
