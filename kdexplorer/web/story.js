/* The presentation's side of the speaker notes: their button, and a channel over which both windows agree on the step. */

const channel = new BroadcastChannel("kdexplorer-story");
let shown = null; // the step on the screen

/** The window that presents, not one that was left. */
function isPresenting() {
  return shown !== null && document.querySelector(".st-key-story_footer") !== null;
}

channel.onmessage = ({ data }) => {
  if (!isPresenting()) return;
  if (data.ask) channel.postMessage({ step: shown });
  if (data.press) document.dispatchEvent(new KeyboardEvent("keydown", { key: data.press })); // as if it were typed here
};

export default function ({ data, parentElement }) {
  shown = data.step;
  channel.postMessage({ step: shown });
  parentElement.querySelector("button").onclick = () => {
    window.open("?story=notes", "kdexplorer-notes", "popup,width=900,height=700");
  };
}
