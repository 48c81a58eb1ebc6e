/* The live view as a Streamlit component: mounted once, told about other networks, gone with its page. */

const views = new WeakMap();

export default function ({ data, parentElement, setTriggerValue }) {
  const chosen = JSON.stringify(data.networks);
  let open = views.get(parentElement);
  if (open) {
    clearTimeout(open.closing);
    if (open.chosen !== chosen) open.view.setNetworks(data.networks);
    open.chosen = chosen;
  } else {
    open = { view: KDLive.mount(parentElement, { ...data, canUse: true }), chosen };
    views.set(parentElement, open);
  }
  open.view.hear((picture) => setTriggerValue("picture", picture));
  // A new run of the page ends the component and starts it again at once: only one that stays away has gone.
  return () => {
    open.closing = setTimeout(() => {
      open.view.close();
      views.delete(parentElement);
    }, 1000);
  };
}
