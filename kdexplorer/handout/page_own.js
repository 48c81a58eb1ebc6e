"use strict";
// The section "Your own picture": its networks are unpacked when a reader comes near it.
(() => {
  const place = document.getElementById("own-view");
  const watcher = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    watcher.disconnect();
    KDLive.mount(place, JSON.parse(document.getElementById("own-data").textContent));
  }, { rootMargin: "300px" });
  watcher.observe(place);
})();
