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

  // When the ledger grows, the page fetches itself and replaces its figures; not while somebody is in them.
  let waiting = false;
  let late = false;
  async function refresh() {
    if (waiting) {
      late = true;
      return;
    }
    waiting = true;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      if (answer.ok) replace(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch {
      document.documentElement.classList.remove("live");
    }
    setTimeout(() => {
      waiting = false;
      if (late) {
        late = false;
        refresh();
      }
    }, 2000);
  }
  function busy() {
    const main = document.getElementById("main");
    const at = document.activeElement;
    const inside = main && at && at !== main && main.contains(at);
    return inside || document.hidden || !getSelection()?.isCollapsed || document.querySelector("main details[open]:not(.custom)");
  }
  function replace(fresh) {
    const asof = fresh.getElementById("asof");
    if (asof) document.getElementById("asof")?.replaceWith(asof);
    if (busy()) return;
    const main = fresh.getElementById("main");
    const old = document.getElementById("main");
    if (!main || !old) return;
    const sideways = [...old.querySelectorAll(".scroll")].map((e) => e.scrollLeft);
    old.replaceWith(main);
    [...main.querySelectorAll(".scroll")].forEach((e, i) => { e.scrollLeft = sideways[i] ?? 0; });
  }
  const source = new EventSource("/live");
  source.addEventListener("seq", refresh);
  source.addEventListener("open", () => document.documentElement.classList.add("live"));
  source.addEventListener("error", () => document.documentElement.classList.remove("live"));
  addEventListener("pagehide", () => source.close());
})();
