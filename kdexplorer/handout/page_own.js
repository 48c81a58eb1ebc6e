"use strict";
// The section "Your own picture": its networks are unpacked when a reader comes near it; the page's slider is its own too.
(() => {
  const place = document.getElementById("own-view");
  const watcher = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    watcher.disconnect();
    const settings = JSON.parse(document.getElementById("own-data").textContent);
    const temperature = () => Number(document.body.dataset.temperature);
    const view = KDLive.mount(place, { ...settings, temperature: temperature(), follows: true });
    addEventListener("temperature", () => view.setTemperature(temperature()));
  }, { rootMargin: "300px" });
  watcher.observe(place);
})();
