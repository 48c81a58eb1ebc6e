"use strict";
// The section "Your own image": its networks are loaded when the reader scrolls near it; the page's slider sets T.
(() => {
  const place = document.getElementById("live-view");
  const observer = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    const settings = JSON.parse(document.getElementById("live-data").textContent);
    const temperature = () => Number(document.body.dataset.temperature);
    const view = KDLive.mount(place, { ...settings, temperature: temperature(), externalTemperature: true });
    addEventListener("temperature", () => view.setTemperature(temperature()));
  }, { rootMargin: "300px" });
  observer.observe(place);
})();
