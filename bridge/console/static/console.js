// Keeps the page up to date while it is open. Without it, pages are as good as when they were loaded.
"use strict";
(function () {
  const main = document.querySelector("main[data-live]");
  const lost = document.getElementById("lost");
  if (!main || !window.EventSource) return;

  // busy: what the visitor is filling in, or has unfolded, must not be replaced.
  function busy() {
    const at = document.activeElement;
    return (at && main.contains(at) && at.matches("input, select, button, summary")) || main.querySelector("details[open], input:checked");
  }

  async function refresh() {
    if (busy() || document.hidden) return;
    const answer = await fetch(location.pathname + location.search.replace(/(done|n)=[^&]*&?/g, ""), { headers: { "X-Refresh": "1" } });
    if (answer.redirected) { location.reload(); return; }
    if (!answer.ok) return;
    const next = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
    if (next && !busy()) main.replaceChildren(...next.childNodes);
  }

  // signedIn reads the page once more when the session may have ended: it leads to the form then.
  function signedIn() {
    return fetch(location.pathname, { headers: { "X-Refresh": "1" } }).then(function (answer) { if (answer.redirected) location.reload(); }).catch(function () {});
  }

  function connect() {
    const source = new EventSource("/_appliance/events");
    source.addEventListener("open", function () {
      if (lost.hidden) return;
      lost.hidden = true;
      refresh().catch(function () {});
    });
    source.addEventListener("changed", function () { refresh().catch(function () {}); });
    source.addEventListener("ended", function () { source.close(); location.reload(); });
    source.addEventListener("error", function () {
      lost.hidden = false;
      if (source.readyState !== EventSource.CLOSED) return; // the browser tries again itself
      signedIn().then(function () { setTimeout(connect, 3000); });
    });
  }
  connect();
})();
