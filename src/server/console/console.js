// Brings what a page shows up to date while things happen, without losing focus, scroll or what was
// typed. Everything works without it.
"use strict";

(() => {
  const events = document.body.dataset.events;
  const live = document.getElementById("live");
  const SOONEST = 1000; // milliseconds between two looks
  const LATEST = 15000;

  function say(word) {
    if (live && live.textContent !== word) live.textContent = word;
  }

  // What has an id is the same thing wherever it moves to.
  function name(node) {
    return node.nodeType === Node.ELEMENT_NODE ? node.id : "";
  }

  function kind(node) {
    return node.nodeType === Node.ELEMENT_NODE ? `${node.id} ${node.getAttribute("class") ?? ""}` : "";
  }

  function isSame(one, other) {
    return one.nodeType === other.nodeType && one.nodeName === other.nodeName && kind(one) === kind(other);
  }

  function bring(old, fresh) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    for (const { name } of [...old.attributes]) {
      // What somebody has opened stays open.
      if (!fresh.hasAttribute(name) && name !== "open" && name !== "hidden") old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (name === "hidden" && old.matches("[data-copy]")) continue;
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    bringChildren(old, fresh);
  }

  function bringChildren(old, fresh) {
    let at = old.firstChild;
    for (const wanted of [...fresh.childNodes]) {
      let found = at;
      while (found && !isSame(found, wanted)) found = found.nextSibling;
      if (!found) {
        old.insertBefore(document.importNode(wanted, true), at);
        continue;
      }
      if (name(wanted) && found !== at && !found.contains(document.activeElement)) {
        old.insertBefore(found, at);
      } else {
        while (at !== found) {
          const gone = at;
          at = at.nextSibling;
          gone.remove();
        }
        at = found.nextSibling;
      }
      bring(found, wanted);
    }
    while (at) {
      const gone = at;
      at = at.nextSibling;
      gone.remove();
    }
  }

  let looking = false;
  let again = false;
  let pace = SOONEST;
  let timer = 0;

  async function look() {
    clearTimeout(timer);
    if (looking || document.hidden) {
      again = true;
      return;
    }
    looking = true;
    again = false;
    const began = performance.now();
    try {
      const answer = await fetch(location.href, { headers: { "X-Refresh": "1" }, cache: "no-store" });
      if (answer.redirected && new URL(answer.url).pathname === "/login") {
        location.reload();
        return;
      }
      if (answer.ok) {
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        for (const part of document.querySelectorAll("[data-live]")) {
          const wanted = fresh.getElementById(part.id);
          if (wanted) bring(part, wanted);
        }
        showCopies();
        say("live");
      }
    } catch {
      say("not reached");
    }
    // A page that costs a lot is asked for less often.
    pace = Math.max(SOONEST, 5 * (performance.now() - began));
    looking = false;
    timer = setTimeout(look, again ? pace : LATEST);
  }

  function soon() {
    if (!looking && !again) {
      clearTimeout(timer);
      timer = setTimeout(look, pace);
    }
    again = true;
  }

  // A browser has few connections to a place: a page that nobody sees holds none.
  let line = null;

  function listen() {
    line?.close();
    line = new EventSource(events);
    line.onopen = () => say("live");
    line.onerror = () => say("not reached");
    for (const kind of ["run-started", "progress", "run-ended", "missed"]) {
      line.addEventListener(kind, soon);
    }
  }

  function showCopies() {
    if (!navigator.clipboard) return;
    for (const button of document.querySelectorAll("[data-copy]")) button.hidden = false;
  }

  document.addEventListener("click", async (click) => {
    const button = click.target.closest("[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });

  // On a telephone the list comes first; whoever has filtered sees by what.
  if (window.matchMedia("(max-width: 760px)").matches) {
    for (const fold of document.querySelectorAll("[data-fold]")) fold.open = false;
  }
  showCopies();
  if (events) {
    listen();
    timer = setTimeout(look, LATEST);
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) {
        line.close();
      } else {
        listen();
        look();
      }
    });
  }
})();
