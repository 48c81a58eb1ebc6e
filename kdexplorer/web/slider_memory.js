/* Reports the temperature and α that a chart's slider was moved to, once it rests: dragging itself asks the server nothing. */

const REST = 500; // milliseconds
const SHARED = { logT: ["T", (value) => 2 ** value], alpha: ["alpha", (value) => value] };
let report = null; // of the page that is open
const timers = {}; // by the name of what was moved

function listen({ target }) {
  const shared = target.matches?.(".vega-bindings input[type=range]") && SHARED[target.name];
  if (!shared) return;
  const [name, read] = shared;
  const chart = target.closest("[class*=st-key-chart_]")?.className.match(/st-key-(chart_\w+)/)[1] ?? "";
  const moved = { name, value: read(Number(target.value)), chart };
  clearTimeout(timers[name]);
  timers[name] = setTimeout(() => report?.(moved), REST);
}

export default function ({ setTriggerValue }) {
  report = (moved) => setTriggerValue("moved", moved);
  document.removeEventListener("input", listen);
  document.addEventListener("input", listen);
}
