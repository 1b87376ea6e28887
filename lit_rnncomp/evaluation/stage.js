"use strict";
// Pictures on stages, in the report and in the demo: beside each other, or one over the other with a divider; zoom and
// position are those of all of them. The page has an element #zoom.
const $ = id => document.getElementById(id);
const make = (tag, props = {}, ...children) => { const e = Object.assign(document.createElement(tag), props); e.append(...children); return e; };

const ZOOMS = [1, 2, 3, 4, 6, 8];
/** What is looked at: position in parts of the stage, the divider in parts of its width. */
const view = { zoom: 1, x: 0, y: 0, divider: .5 };

/** A figure with a stage and a caption. Of the images those with a `half`, left or right, end at the divider; `tags` are
 *  the sides at which there is room for a name. */
function figure(picture, images, tags) {
  const stage = make("div", { className: "stage" });
  stage.style.aspectRatio = `${picture.width} / ${picture.height}`;
  for (const { title, half } of images) {
    const image = make("img", { alt: title, draggable: false, decoding: "sync" });
    if (half) image.dataset.half = half;
    stage.append(image);
  }
  for (const side of tags) { const tag = make("span", { className: "tag" }); tag.style[side] = ".5rem"; stage.append(tag); }
  return make("figure", {}, stage, make("figcaption"));
}

function divider(stage) {
  const bar = make("div", { className: "divider", tabIndex: 0, title: "drag, or press the arrow keys" });
  for (const [key, value] of Object.entries({ role: "slider", "aria-label": "divider of the split view", "aria-valuemin": 0, "aria-valuemax": 100 })) bar.setAttribute(key, value);
  bar.addEventListener("pointerdown", event => { event.stopPropagation(); bar.setPointerCapture(event.pointerId); });
  bar.addEventListener("pointermove", event => {
    if (!bar.hasPointerCapture(event.pointerId)) return;
    const box = stage.getBoundingClientRect();
    moveDivider((event.clientX - box.left) / box.width);
  });
  bar.addEventListener("keydown", event => {
    const step = event.shiftKey ? .1 : .02, { divider: at } = view;
    const to = { ArrowLeft: at - step, ArrowRight: at + step, ArrowDown: at - step, ArrowUp: at + step, PageDown: at - .1, PageUp: at + .1, Home: 0, End: 1 }[event.key];
    if (to == null) return;
    event.preventDefault();
    event.stopPropagation();
    moveDivider(to);
  });
  return bar;
}
function moveDivider(to) {
  view.divider = Math.min(1, Math.max(0, to));
  place();
}

/** Puts zoom, position and divider on every stage alike. */
function place() {
  const limit = 1 - view.zoom;
  view.x = Math.min(0, Math.max(limit, view.x));
  view.y = Math.min(0, Math.max(limit, view.y));
  for (const stage of document.querySelectorAll(".stage")) {
    stage.classList.toggle("zoomed", view.zoom > 1);
    stage.classList.toggle("pixels", view.zoom > 2);
    for (const image of stage.querySelectorAll("img")) {
      image.style.transform = `translate(${view.x * 100}%, ${view.y * 100}%) scale(${view.zoom})`;
      const cut = Math.min(100, Math.max(0, (view.divider - view.x) / view.zoom * 100));
      image.style.clipPath = { left: `inset(0 ${100 - cut}% 0 0)`, right: `inset(0 0 0 ${cut}%)` }[image.dataset.half] ?? "";
    }
    const bar = stage.querySelector(".divider");
    if (bar) {
      bar.style.left = `${view.divider * 100}%`;
      bar.setAttribute("aria-valuenow", Math.round(view.divider * 100));
    }
  }
  $("zoom").textContent = `${view.zoom}×`;
}

function zoomTo(zoom, at = [.5, .5]) {
  const factor = zoom / view.zoom;
  view.x = at[0] - (at[0] - view.x) * factor;
  view.y = at[1] - (at[1] - view.y) * factor;
  view.zoom = zoom;
  place();
}
const zoomBy = step => zoomTo(ZOOMS[Math.min(ZOOMS.length - 1, Math.max(0, ZOOMS.indexOf(view.zoom) + step))]);

function draggable(stage) {
  let last = null;
  stage.addEventListener("pointerdown", event => { if (view.zoom > 1) { last = [event.clientX, event.clientY]; stage.setPointerCapture(event.pointerId); } });
  stage.addEventListener("pointermove", event => {
    if (!last) return;
    view.x += (event.clientX - last[0]) / stage.clientWidth;
    view.y += (event.clientY - last[1]) / stage.clientHeight;
    last = [event.clientX, event.clientY];
    place();
  });
  for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => { last = null; });
  stage.addEventListener("dblclick", event => {
    const box = stage.getBoundingClientRect();
    zoomTo(view.zoom > 1 ? 1 : 4, [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]);
  });
}
