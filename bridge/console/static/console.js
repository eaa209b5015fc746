// Keeps the page up to date while it is open. Without it, pages are as good as when they were loaded.
"use strict";
(function () {
  const main = document.querySelector("main[data-live]");
  const lost = document.getElementById("lost");
  let over = false;
  if (!main || !window.EventSource) return;

  // The page of the log gets the new lines themselves, the newest first.
  const tail = main.querySelector("[data-last]");
  const mostLines = 500;
  let held = [];

  function lines(event) {
    tail.dataset.last = event.lastEventId;
    const page = new DOMParser().parseFromString("<table><tbody>" + event.data + "</tbody></table>", "text/html");
    held.push(...page.querySelectorAll("tr"));
    held = held.slice(-mostLines);
    release();
  }

  function release() {
    const pause = document.getElementById("pause");
    if (pause && pause.checked) return;
    for (const row of held) tail.prepend(row);
    held = [];
    while (tail.rows.length > mostLines) tail.deleteRow(-1);
    const none = document.getElementById("none");
    if (none && tail.rows.length) none.hidden = true;
  }
  if (tail) {
    const pause = document.getElementById("pause");
    pause.closest("label").hidden = false;
    pause.addEventListener("change", release);
  }

  // busy: what the visitor is filling in, or has unfolded, must not be replaced.
  function busy() {
    const at = document.activeElement;
    const typed = Array.from(main.querySelectorAll("input:not([type=checkbox]), textarea")).some(function (field) { return field.value !== field.defaultValue; });
    return typed || (at && main.contains(at) && at.matches("input, textarea, select, button, summary")) || main.querySelector("details[open], input:checked");
  }

  async function refresh() {
    if (main.dataset.live !== "yes" || busy() || document.hidden) return;
    const answer = await fetch(location.pathname + location.search.replace(/(done|n)=[^&]*&?/g, ""), { headers: { "X-Refresh": "1" } });
    if (answer.redirected) { ended(); return; }
    if (!answer.ok) return;
    const next = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
    if (next && !busy()) main.replaceChildren(...next.childNodes);
  }

  // ended leads to the form to sign in, except from a page on which the visitor may have typed something.
  function ended() {
    if (main.dataset.live === "yes") { location.reload(); return; }
    over = true;
    lost.textContent = "Your session has ended. Copy what you have typed, and sign in again.";
    lost.hidden = false;
  }

  // signedIn reads the page once more when the session may have ended: it leads to the form then.
  function signedIn() {
    return fetch(location.pathname, { headers: { "X-Refresh": "1" } }).then(function (answer) { if (answer.redirected) ended(); }).catch(function () {});
  }

  function connect() {
    if (over) return;
    const source = new EventSource(tail ? "/_appliance/log/events" + location.search + (location.search ? "&" : "?") + "after=" + (tail.dataset.last || 0) : "/_appliance/events?of=" + main.dataset.of);
    if (tail) source.addEventListener("lines", function (event) { lines(event); });
    source.addEventListener("open", function () {
      if (lost.hidden) return;
      lost.hidden = true;
      refresh().catch(function () {});
    });
    source.addEventListener("changed", function () { refresh().catch(function () {}); });
    source.addEventListener("ended", function () { source.close(); ended(); });
    source.addEventListener("error", function () {
      lost.hidden = false;
      if (source.readyState !== EventSource.CLOSED) return; // the browser tries again itself
      signedIn().then(function () { setTimeout(connect, 3000); });
    });
  }
  connect();
})();
