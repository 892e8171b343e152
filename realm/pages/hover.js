// The values of a drawing: on hover, on a tap near a mark, and with the arrow keys once a drawing has the focus.
"use strict";
(() => {
  const REACH = { mouse: 9, touch: 26, pen: 14 };
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.setAttribute("role", "status");
  tip.hidden = true;
  document.body.append(tip);
  let lit = null;

  const hide = () => {
    if (lit) lit.classList.remove("lit");
    lit = null;
    tip.hidden = true;
  };
  const show = (mark) => {
    if (mark === lit) return;
    hide();
    lit = mark;
    mark.classList.add("lit");
    tip.textContent = mark.getAttribute("data-said");
    tip.hidden = false;
    const box = mark.getBoundingClientRect();
    const width = document.documentElement.clientWidth;
    const left = Math.max(8, Math.min(width - tip.offsetWidth - 8, box.left + box.width / 2 - tip.offsetWidth / 2));
    const above = box.top - tip.offsetHeight - 8;
    tip.style.left = `${left}px`;
    tip.style.top = `${above > 4 ? above : box.bottom + 8}px`;
  };
  // What a mark says is its <title>; the browser's own tooltip would come a second time, and never on a phone.
  const prepare = () => {
    for (const title of document.querySelectorAll("svg title")) {
      const mark = title.parentNode;
      if (title.textContent) mark.setAttribute("data-said", title.textContent);
      title.remove();
      const drawing = mark.closest("svg");
      if (drawing.closest("figure")) drawing.setAttribute("tabindex", "0");
    }
    if (lit && !lit.isConnected) hide();
  };
  prepare();
  document.addEventListener("fresh", prepare);
  const marksOf = (drawing) => [...drawing.querySelectorAll("[data-said]"), ...(drawing.hasAttribute("data-said") ? [drawing] : [])];
  const nearest = (drawing, x, y, reach) => {
    let best = null;
    let least = reach;
    for (const mark of marksOf(drawing)) {
      const box = mark.getBoundingClientRect();
      const dx = Math.max(box.left - x, 0, x - box.right);
      const dy = Math.max(box.top - y, 0, y - box.bottom);
      // Of marks that lie on one another the one whose middle is nearest counts.
      const far = Math.hypot(dx, dy) + Math.hypot(box.left + box.width / 2 - x, box.top + box.height / 2 - y) / 1000;
      if (far < least) [best, least] = [mark, far];
    }
    return best;
  };
  const point = (event) => {
    const drawing = event.target instanceof Element ? event.target.closest("svg") : null;
    const mark = drawing && nearest(drawing, event.clientX, event.clientY, REACH[event.pointerType] || REACH.mouse);
    if (mark) show(mark);
    else hide();
  };
  document.addEventListener("pointermove", (event) => { if (event.pointerType === "mouse") point(event); });
  document.addEventListener("pointerdown", point);
  addEventListener("scroll", hide, { passive: true });

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hide();
    const drawing = document.activeElement;
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!by || !(drawing instanceof SVGSVGElement)) return;
    // A whisker and its marker say the same: one stop for both.
    const stops = [...new Map(marksOf(drawing).map((mark) => [mark.getAttribute("data-said"), mark])).values()];
    if (!stops.length) return;
    event.preventDefault();
    const here = stops.findIndex((mark) => lit && mark.getAttribute("data-said") === lit.getAttribute("data-said"));
    show(stops[here < 0 ? (by > 0 ? 0 : stops.length - 1) : (here + by + stops.length) % stops.length]);
  });
  document.addEventListener("focusout", hide);
})();
