/* The patch: drag it, drag its handle, or use the arrow keys (Shift + arrows for its size). */

const SIDE = 252, PHOTO = 280;

export default component((view) => {
  const parts = {};
  let data = null, box = null, asking = false, waiting = false, drag = null, url = null, cell = 1;

  const clamp = (v, low, high) => Math.max(low, Math.min(high, v));
  const same = (a, b) => a.every((v, i) => v === b[i]);

  /* One question at a time; the last patch is always asked about. */
  function ask() {
    if (asking) { waiting = true; return; }
    asking = true;
    view.trigger("move", { box, at: performance.now() });
  }

  function settle(top, left, height, width) {
    const h = clamp(Math.round(height), 1, data.height), w = clamp(Math.round(width), 1, data.width);
    const t = clamp(Math.round(top), 0, data.height - h), l = clamp(Math.round(left), 0, data.width - w);
    const next = [t, l, t + h, l + w];
    if (same(next, box)) return;
    box = next;
    place();
    ask();
  }

  function place() {
    const [t, l, b, r] = box, s = cell / data.picture.by;
    Object.assign(parts.held.style, { left: `${22 + l * s}px`, top: `${22 + t * s}px`, width: `${(r - l) * s}px`, height: `${(b - t) * s}px` });
    parts.held.setAttribute("aria-label", `patch over ${lines("row", t, b)}, ${lines("column", l, r)}; arrow keys move it, Shift and arrows resize it`);
    const w = r - l, h = b - t, image = new ImageData(w, h), plane = data.height * data.width, c = data.channels;
    for (let y = 0; y < h; y++) {
      for (let x = 0; x < w; x++) {
        const from = (t + y) * data.width + l + x, to = 4 * (y * w + x);
        for (let k = 0; k < 3; k++) image.data[to + k] = data.arrays.fill[(c >= 3 ? k : 0) * plane + from];
        image.data[to + 3] = 255;
      }
    }
    parts.canvas.width = w;
    parts.canvas.height = h;
    parts.canvas.getContext("2d").putImageData(image, 0, 0);
    parts.marks.replaceChildren(...brackets(0, 0, w * s, h * s));
    parts.where.textContent = `${lines("row", t, b)}, ${lines("column", l, r)}`;
  }

  function pull(event, kind) {
    event.preventDefault();
    event.stopPropagation();
    parts.held.focus({ preventScroll: true });
    parts.held.setPointerCapture(event.pointerId);
    drag = { kind, x: event.clientX, y: event.clientY, from: [...box] };
  }

  function dragged(event) {
    if (!drag) return;
    const s = cell / data.picture.by, dx = (event.clientX - drag.x) / s, dy = (event.clientY - drag.y) / s, [t, l, b, r] = drag.from;
    if (drag.kind === "move") settle(t + dy, l + dx, b - t, r - l);
    else settle(t, l, clamp(b - t + dy, 1, data.height - t), clamp(r - l + dx, 1, data.width - l));
  }

  function keyed(event) {
    const move = ARROWS[event.key];
    if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    const [t, l, b, r] = box, [dy, dx] = move.map((v) => v * Math.max(1, Math.round(data.height / 112)));
    if (event.shiftKey) settle(t, l, clamp(b - t + dy, 1, data.height - t), clamp(r - l + dx, 1, data.width - l));
    else settle(t + dy, l + dx, b - t, r - l);
  }

  /* A click beside the patch puts its middle there. */
  function jump(event) {
    const bounds = parts.image.getBoundingClientRect(), s = cell / data.picture.by, [t, l, b, r] = box;
    settle((event.clientY - bounds.top) / s - (b - t) / 2, (event.clientX - bounds.left) / s - (r - l) / 2, b - t, r - l);
    pull(event, "move");
  }

  function stage() {
    const { width, height, by } = data.picture;
    cell = Math.max(1, Math.floor(((Math.max(width, height) > 120 ? PHOTO : SIDE) * view.scale) / Math.max(width, height)));
    if (url) URL.revokeObjectURL(url);
    url = pngUrl(data.arrays.png);
    parts.image = el("img", { src: url, alt: data.alt });
    const { element } = ruled(parts.image, { width, height, cell, by });
    parts.canvas = el("canvas", { "aria-hidden": "true" });
    parts.marks = sv("g", {});
    parts.grip = el("span", { class: "grip", title: "Drag to resize", on: { pointerdown: (e) => pull(e, "size") } });
    parts.held = el("button", { class: "held", "data-id": "patch", on: { pointerdown: (e) => pull(e, "move"), pointermove: dragged, pointerup: () => { drag = null; }, pointercancel: () => { drag = null; }, keydown: keyed } },
      parts.canvas, sv("svg", { width: 1, height: 1, "aria-hidden": "true" }, parts.marks), parts.grip);
    parts.image.addEventListener("pointerdown", jump);
    element.append(parts.held);
    return el("div", { class: "stage" }, element);
  }

  function bars() {
    return comparisonBars({ rows: data.rows, chosen: data.chosen, words: ["whole image", "with the patch"], columns: ["whole", "hidden", "change"], label: data.barsLabel });
  }

  function say() {
    parts.where = el("td", { text: "" });
    const table = el("table", { class: "facts" }, el("tbody", {}, el("tr", {}, el("th", { scope: "row", text: "patch" }), parts.where),
      data.facts.map(([name, value]) => el("tr", {}, el("th", { scope: "row", text: name }), el("td", { text: value })))));
    return el("div", { class: "say" },
      el("div", {}, el("p", { class: "answer", "aria-live": "polite" }, "With the patch here it says", el("b", { class: data.answer.name.length > 8 ? "long" : "", text: data.answer.name }), el("em", { text: data.answer.probability })), table),
      el("p", { class: "note", text: data.note }));
  }

  return (fresh) => {
    const pictureIsNew = !data || !sameBytes(data.arrays.png, fresh.arrays.png) || data.picture.width !== fresh.picture.width || parts.scale !== view.scale;
    data = fresh;
    asking = false;
    if (!drag && !waiting) box = [...data.box];
    parts.scale = view.scale;
    if (pictureIsNew) { box = [...data.box]; parts.root = el("div", { class: "hand" }, stage(), el("div"), el("div")); view.root.replaceChildren(parts.root); }
    parts.root.children[1].replaceWith(bars());
    parts.root.children[2].replaceWith(say());
    place();
    if (waiting) { waiting = false; if (!same(box, data.box)) ask(); }
  };
});
