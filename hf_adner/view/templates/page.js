"use strict";
(() => {
  const root = document.documentElement;
  const status = document.querySelector(".status");
  const MIDDLE = "i".charCodeAt(0);
  const levels = {};
  for (const block of document.querySelectorAll("script.levels")) Object.assign(levels, JSON.parse(block.textContent));
  const order = [...document.querySelectorAll(".reason")].map((section) => section.id);
  // links keep their targets, but the browser shall not jump to a section that stands beside its note
  for (const key of order) document.getElementById(key).id = `why-${key}`;
  let chosen = null;

  // the shade of each character goes on the note itself; chips are no part of its text
  function paint(text, shades) {
    const walker = document.createTreeWalker(text, NodeFilter.SHOW_TEXT, {
      acceptNode: (node) => (node.parentElement.closest(".chip") ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT),
    });
    const nodes = [];
    while (walker.nextNode()) nodes.push(walker.currentNode);
    let place = 0;
    for (const node of nodes) {
      const characters = [...node.data];
      const parts = document.createDocumentFragment();
      for (let first = 0; first < characters.length; ) {
        const shade = shades.charCodeAt(place + first);
        let after = first + 1;
        while (after < characters.length && shades.charCodeAt(place + after) === shade) after += 1;
        const run = characters.slice(first, after).join("");
        parts.append(shade === MIDDLE ? run : shaded(run, shade - MIDDLE));
        first = after;
      }
      place += characters.length;
      node.replaceWith(parts);
    }
  }

  function shaded(run, level) {
    const span = document.createElement("span");
    span.className = `shade ${level > 0 ? "p" : "n"}${Math.abs(level)}`;
    span.textContent = run;
    return span;
  }

  function clear() {
    for (const note of document.querySelectorAll(".note.painted")) {
      note.classList.remove("painted");
      for (const span of note.querySelectorAll(".text .shade")) span.replaceWith(...span.childNodes);
      note.querySelector(".text").normalize();
    }
    for (const one of document.querySelectorAll(".chosen")) one.classList.remove("chosen");
    for (const one of document.querySelectorAll("[aria-current]")) one.removeAttribute("aria-current");
  }

  function choose(key) {
    clear();
    chosen = order.includes(key) ? key : null;
    if (!chosen) return;
    const section = sectionOf(chosen);
    const note = section.closest(".note");
    note.classList.add("painted");
    section.classList.add("chosen");
    paint(note.querySelector(".text"), levels[chosen]);
    for (const one of note.querySelectorAll(`[data-entity="${chosen}"]`)) one.classList.add("chosen");
    chip(chosen).setAttribute("aria-current", "true");
    note.querySelector(".reasons").scrollTop = 0;
    status.textContent = `Explanation of ${section.querySelector("h3").textContent}`;
  }

  function sectionOf(key) {
    return document.getElementById(`why-${key}`);
  }

  function chip(key) {
    return document.querySelector(`.chip[href="#${key}"]`);
  }

  function go(key, focus) {
    const hash = key ? `#${key}` : location.pathname + location.search;
    try {
      history.pushState(null, "", hash);
    } catch {
      // a page inside another one may not change its address
    }
    const before = chosen;
    choose(key);
    if (!key) {
      status.textContent = "All entities";
      if (before && focus) chip(before).focus();
      return;
    }
    if (focus) chip(key).focus({ preventScroll: true });
    show(key);
  }

  // beside the note the panel is in view; below it, the panel is brought there
  function show(key) {
    const section = sectionOf(key);
    const isBeside = getComputedStyle(section.closest(".reasons")).position === "sticky";
    (isBeside ? chip(key) : section).scrollIntoView({ block: isBeside ? "nearest" : "start" });
  }

  // entities that the filter leaves out are passed over
  function step(by) {
    const shown = order.filter((key) => key === chosen || !isOff(key));
    const place = shown.indexOf(chosen);
    go(shown[(place + by + shown.length) % shown.length], true);
  }

  function isOff(key) {
    return document.querySelector(`.entity[data-entity="${key}"]`).classList.contains("off");
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest(".steps button");
    if (button) {
      const by = Number(button.dataset.step);
      if (by) step(by);
      else go(null, true);
      return;
    }
    const link = event.target.closest('a[href^="#"]');
    const key = link ? link.getAttribute("href").slice(1) : event.target.closest(".entity:not(.off)")?.dataset.entity;
    if (!order.includes(key) || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (!link && !getSelection().isCollapsed) return;
    event.preventDefault();
    go(key === chosen && !link ? null : key, true);
  });

  // an entity is shown if all that is asserted of it is
  document.addEventListener("change", (event) => {
    if (!event.target.closest(".filters")) return;
    const shown = new Set([...document.querySelectorAll(".filters input:checked")].map((box) => box.value));
    for (const span of document.querySelectorAll(".entity[data-assertion]")) {
      const off = !span.dataset.assertion.split(" ").every((name) => shown.has(name));
      span.classList.toggle("off", off);
      document.querySelector(`.list a[href="#${span.dataset.entity}"]`)?.closest("tr").classList.toggle("off", off);
    }
    if (chosen && isOff(chosen)) go(null, false);
  });

  document.addEventListener("keydown", (event) => {
    if (!chosen || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (event.key === "Escape") go(null, true);
    else if (event.key === "ArrowRight") step(1);
    else if (event.key === "ArrowLeft") step(-1);
    else return;
    event.preventDefault();
  });

  function follow() {
    const key = location.hash.slice(1);
    choose(key);
    if (chosen) show(chosen);
  }
  window.addEventListener("hashchange", follow);
  window.addEventListener("popstate", follow);
  root.classList.add("js");
  if (location.hash) follow();
  else if (order.length === 1) choose(order[0]);
})();
