// Keeps an open page fresh, and adds keys. Everything works without it.
"use strict";
(() => {
  // A list that is changed applies at once; the button stays for those without script.
  document.addEventListener("change", (event) => {
    const field = event.target;
    if (!(field instanceof HTMLSelectElement) || !("auto" in field.dataset) || !field.form) return;
    if (field.name === "range") {
      for (const name of ["from", "to"]) {
        const date = field.form.elements.namedItem(name);
        if (date instanceof HTMLInputElement) date.value = "";
      }
    }
    submit(field.form);
  });
  // An address says only what was chosen.
  document.addEventListener("submit", (event) => {
    if (event.target instanceof HTMLFormElement) trim(event.target);
  });
  function trim(form) {
    for (const field of form.elements) {
      if ("value" in field && field.value === "" && field.name) field.disabled = true;
    }
    setTimeout(() => {
      for (const field of form.elements) field.disabled = false;
    });
  }
  function submit(form) {
    trim(form);
    form.submit();
  }

  // `/` searches, `j` and `k` walk the rows, Enter follows.
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const at = document.activeElement;
    if (at instanceof HTMLInputElement || at instanceof HTMLSelectElement || at instanceof HTMLTextAreaElement) return;
    if (event.key === "/") {
      const search = document.querySelector("[data-search]");
      if (search) {
        event.preventDefault();
        search.focus();
        search.select();
      }
    } else if (event.key === "j" || event.key === "k") {
      const links = [...document.querySelectorAll("[data-rows] tbody th a")];
      if (!links.length) return;
      const here = links.indexOf(at);
      const next = event.key === "j" ? Math.min(here + 1, links.length - 1) : Math.max(here - 1, 0);
      links[next].focus();
    }
  });

  // When the ledger grows, the page fetches itself and replaces its figures, and the time they are of with them; not
  // while somebody is in them, and not while nobody sees it. A page that is hidden does not even listen: browsers
  // open six connections to a host, and the seventh tab wants one too.
  let grown = false; // since the figures were fetched
  let resting = false; // for `pause`, whatever comes
  let pause = 2000; // milliseconds; longer after each fetch in a row that failed
  async function refresh() {
    if (!grown || resting || document.hidden) return;
    resting = true;
    if (!busy()) {
      grown = false;
      try {
        const answer = await fetch(location.href, { headers: { accept: "text/html" } });
        if (!answer.ok) throw new Error(answer.statusText);
        grown = !replace(new DOMParser().parseFromString(await answer.text(), "text/html")) || grown;
        pause = 2000;
        if (source?.readyState === EventSource.OPEN) document.documentElement.classList.add("live");
      } catch {
        grown = true;
        pause = Math.min(2 * pause, 16000);
        document.documentElement.classList.remove("live");
      }
    }
    setTimeout(() => {
      resting = false;
      refresh();
    }, pause);
  }
  function busy() {
    const main = document.getElementById("main");
    const at = document.activeElement;
    const inside = main && at && at !== main && main.contains(at);
    return inside || !getSelection()?.isCollapsed || document.querySelector("main details[open]:not(.custom)");
  }
  // False if somebody is in the figures by now: then they stay.
  function replace(fresh) {
    if (busy()) return false;
    const main = fresh.getElementById("main");
    const old = document.getElementById("main");
    if (!main || !old) return true;
    const asof = fresh.getElementById("asof");
    if (asof) document.getElementById("asof")?.replaceWith(asof);
    const sideways = [...old.querySelectorAll(".scroll")].map((e) => e.scrollLeft);
    old.replaceWith(main);
    [...main.querySelectorAll(".scroll")].forEach((e, i) => { e.scrollLeft = sideways[i] ?? 0; });
    return true;
  }
  function news() {
    grown = true;
    refresh();
  }
  let source = null;
  let missed = document.hidden; // what came while nobody listened
  function listen() {
    if (source || document.hidden) return;
    source = new EventSource("/live");
    source.addEventListener("seq", news);
    source.addEventListener("open", () => {
      document.documentElement.classList.add("live");
      if (missed) news();
      missed = true;
    });
    source.addEventListener("error", () => document.documentElement.classList.remove("live"));
  }
  function leave() {
    source?.close();
    source = null;
    document.documentElement.classList.remove("live");
  }
  document.addEventListener("visibilitychange", () => (document.hidden ? leave() : listen()));
  addEventListener("pagehide", leave);
  addEventListener("pageshow", listen);
  listen();
})();
