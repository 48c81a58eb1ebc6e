/* The speaker notes: what to say at the step that the presentation shows, what comes next, and the time that has passed. */

const KEYS = ["PageDown", "ArrowRight", " ", "PageUp", "ArrowLeft", "Enter", "m"]; // which the presentation gets
const channel = new BroadcastChannel("kdexplorer-story");
let begin = Date.now();

function make(tag, text = "", name = "") {
  return Object.assign(document.createElement(tag), { textContent: text, className: name });
}

function makeButton(text, act) {
  const button = make("button", text);
  button.type = "button";
  button.addEventListener("click", ({ detail }) => {
    act();
    if (detail) button.blur(); // a pointer's click: Enter is the presentation's again
  });
  return button;
}

function press(key) {
  channel.postMessage({ press: key });
}

function formatTime(milliseconds) {
  const seconds = Math.floor(milliseconds / 1000);
  const rest = [Math.floor(seconds / 60) % 60, seconds % 60].map((part) => String(part).padStart(2, "0"));
  return [Math.floor(seconds / 3600), ...rest].join(":");
}

function describe(steps, number) {
  const step = steps[number - 1];
  if (!step) return [make("p", "Waiting for the presentation: press Present in a window of this browser.", "status")];
  return [
    make("p", `Step ${number} of ${steps.length}`, "status"),
    make("h2", step.title),
    make("p", step.sentence, "sentence"),
    ...(step.answer ? [make("p", `Answer: ${step.answer}`, "sentence")] : []),
    make("p", step.notes.trim() || "No notes.", "notes"),
    make("p", `Next: ${step.next}`, "next"),
  ];
}

export default function ({ data, parentElement }) {
  const place = parentElement.querySelector("main");
  const clock = make("time"), body = make("div"), head = make("header"), foot = make("footer");
  clock.setAttribute("role", "timer"); // which nobody is told of each second
  head.append(clock, makeButton("Restart the clock", () => (begin = Date.now())));
  foot.append(makeButton("Back", () => press("PageUp")), makeButton("Next", () => press("PageDown")));
  place.replaceChildren(head, body, foot);
  const show = (number) => body.replaceChildren(...describe(data.steps, number));
  const tick = () => (clock.textContent = formatTime(Date.now() - begin));
  const type = (event) => {
    if (!KEYS.includes(event.key) || event.ctrlKey || event.metaKey || event.altKey) return;
    if ([" ", "Enter"].includes(event.key) && event.composedPath()[0].matches?.("button")) return;
    event.preventDefault();
    press(event.key);
  };
  channel.onmessage = ({ data: message }) => {
    if (message.step) show(message.step);
  };
  document.addEventListener("keydown", type);
  const timer = setInterval(tick, 500);
  show(0);
  tick();
  channel.postMessage({ ask: true });
  return () => {
    clearInterval(timer);
    document.removeEventListener("keydown", type);
  };
}
