// A page of `realm view`: what changed in the run's files is put in place, and the reader's place is kept.
"use strict";
(() => {
  const PERIOD = 1500;
  // As it came: what the other scripts change is no news.
  let shown = document.cloneNode(true);
  const root = document.documentElement;
  const state = document.createElement("p");
  state.id = "live";
  state.setAttribute("role", "status");
  state.hidden = true;
  document.body.append(state);
  root.style.overflowAnchor = "none";  // `steady` does it, in every browser

  const named = (node) => {
    const seen = {};
    return new Map([...node.children].map((child) => {
      seen[child.tagName] = (seen[child.tagName] || 0) + 1;
      return [child.id || `${child.tagName} ${seen[child.tagName]}`, child];
    }));
  };
  const holds = (node) => node.matches("main, header, section, div, figure, details")
    && [...node.childNodes].every((child) => child.nodeType !== Node.TEXT_NODE || !child.data.trim());
  // Makes of `live`, which was `was` when it came, what is now `now`; gives the element that stands there then.
  const patch = (live, was, now) => {
    if (was.isEqualNode(now)) return live;
    if (!holds(was) || !holds(now) || !was.cloneNode(false).isEqualNode(now.cloneNode(false))) {
      const fresh = document.importNode(now, true);
      live.replaceWith(fresh);
      return fresh;
    }
    const [there, before, after] = [live, was, now].map(named);
    for (const [name, node] of there) if (!after.has(name)) node.remove();
    let place = live.firstElementChild;
    for (const [name, fresh] of after) {
      let node = there.get(name);
      if (node === place && place) place = place.nextElementSibling;
      if (node && before.has(name)) node = patch(node, before.get(name), fresh);
      else node = document.importNode(fresh, true);
      if (node.nextElementSibling !== place || node.parentNode !== live) live.insertBefore(node, place);
    }
    return live;
  };

  // What the reader looks at does not move when something above it grows.
  const steady = (change) => {
    const above = [...document.querySelectorAll("header, section, section > *, figure")]
      .map((node) => [node, node.getBoundingClientRect().top]).filter(([, top]) => top <= 1);
    change();
    const [node, top] = above.findLast(([one]) => one.isConnected) || [];
    if (node && scrollY > 0) scrollBy({ top: node.getBoundingClientRect().top - top, behavior: "instant" });
  };

  const renew = (text) => {
    const now = new DOMParser().parseFromString(text, "text/html");
    const script = (page) => page.querySelector("body > script:last-of-type").textContent;
    const data = (page) => page.getElementById("data");
    // A newer program, or another run in the same folder.
    if (script(now) !== script(shown) || (data(shown) && !data(now))) {
      location.reload();
      return;
    }
    steady(() => {
      document.title = now.title;
      for (const part of ["header", "main"]) {
        patch(document.querySelector(`body > ${part}`), shown.querySelector(`body > ${part}`), now.querySelector(`body > ${part}`));
      }
      if (!data(now)) return document.dispatchEvent(new Event("fresh"));
      if (!data(document)) document.querySelector("body > script").before(document.importNode(data(now), false));
      data(document).textContent = data(now).textContent;
      return document.dispatchEvent(new Event("fresh"));
    });
    shown = now;
  };

  const tell = (text) => {
    if (state.textContent !== text) state.textContent = text;
    state.hidden = !text;
  };
  const ask = async () => {
    try {
      const answer = await fetch("/", { headers: { "If-None-Match": `"${shown.documentElement.dataset.version}"` }, cache: "no-store" });
      if (answer.status === 503) tell(await answer.text());
      else {
        if (answer.ok) renew(await answer.text());
        tell("");
      }
    } catch {
      tell("realm view has ended: this page grows no more.");
    }
    setTimeout(later, PERIOD);
  };
  // Nobody looks at a page in the background.
  const later = () => {
    if (document.hidden) document.addEventListener("visibilitychange", later, { once: true });
    else ask();
  };
  ask();
})();
