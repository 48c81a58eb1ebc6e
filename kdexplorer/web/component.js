/* The live view as a Streamlit component: mounted once, updated when the networks change, removed with its page. */

const REST = 500; // milliseconds without a movement, after which a slider's temperature is kept for the other pages
const views = new WeakMap();

/** Reports the temperature once its slider rests. */
function watchTemperature(parentElement, mounted) {
  let timer = null;
  parentElement.addEventListener("input", ({ target }) => {
    if (target !== parentElement.querySelector(".kd-slider input")) return;
    clearTimeout(timer);
    timer = setTimeout(() => mounted.report(2 ** Number(target.value)), REST);
  });
}

export default function ({ data, parentElement, setTriggerValue }) {
  const chosen = JSON.stringify(data.networks);
  let mounted = views.get(parentElement);
  if (mounted) {
    clearTimeout(mounted.closing);
    if (mounted.chosen !== chosen) mounted.view.setNetworks(data.networks);
    mounted.chosen = chosen;
  } else {
    mounted = { view: KDLive.mount(parentElement, { ...data, hasOtherPages: true }), chosen };
    views.set(parentElement, mounted);
    watchTemperature(parentElement, mounted);
  }
  mounted.report = (temperature) => setTriggerValue("temperature", temperature);
  mounted.view.setOnPicture((picture) => setTriggerValue("picture", picture));
  // A rerun of the page ends the component and starts it again at once, so the view closes only after a while.
  return () => {
    mounted.closing = setTimeout(() => {
      mounted.view.close();
      views.delete(parentElement);
    }, 1000);
  };
}
