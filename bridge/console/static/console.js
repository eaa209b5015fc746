// What htmx does not do: leave alone what the visitor is doing, hold the log back and bound it, and say what has become of
// the bridge and the session. Without scripts, pages are as good as when they were loaded.
"use strict";
(function () {
  const main = document.querySelector("main[sse-connect]");
  if (!main) return;

  // busy: what the visitor is filling in, or has unfolded, must not be replaced.
  function busy() {
    const at = document.activeElement;
    const typed = Array.from(main.querySelectorAll("input:not([type=checkbox]), textarea")).some(function (field) { return field.value !== field.defaultValue; });
    return typed || (at && main.contains(at) && at.matches("input, textarea, select, button, summary")) || main.querySelector("details[open], input:checked");
  }
  main.addEventListener("htmx:configRequest", function (event) {
    if (busy() || document.hidden) event.preventDefault();
    event.detail.path = location.pathname + location.search.replace(/(done|n)=[^&]*&?/g, ""); // what was done is said once
  });
  main.addEventListener("htmx:beforeSwap", function (event) { if (busy()) event.preventDefault(); });

  const lost = document.getElementById("lost");
  main.addEventListener("htmx:sseError", function () { lost.hidden = false; });
  main.addEventListener("htmx:sseOpen", function () {
    if (lost.hidden) return;
    lost.hidden = true;
    htmx.trigger(main, "again");
  });
  // The session has ended: the page leads to the form to sign in, except where the visitor may have typed something.
  main.addEventListener("htmx:sseClose", function () {
    if (main.hasAttribute("hx-get")) { location.reload(); return; }
    lost.textContent = "Your session has ended. Copy what you have typed, and sign in again.";
    lost.hidden = false;
  });

  // The page of the log gets the new lines themselves, into a part of the table of their own, from where they go on.
  const fresh = main.querySelector("[sse-swap]"), mostLines = 500;
  if (!fresh) return;
  const shown = fresh.nextElementSibling, pause = document.getElementById("pause");
  function release() {
    fresh.hidden = pause.checked;
    if (!pause.checked) shown.prepend(...fresh.rows);
    for (const part of [fresh, shown]) while (part.rows.length > mostLines) part.deleteRow(-1);
    document.getElementById("none").hidden = shown.rows.length > 0;
  }
  pause.closest("label").hidden = false;
  pause.addEventListener("change", release);
  fresh.addEventListener("htmx:sseMessage", function (event) {
    release();
    main.setAttribute("sse-connect", main.getAttribute("sse-connect").replace(/after=\d+/, "after=" + event.detail.lastEventId)); // for the next stream
  });
})();
