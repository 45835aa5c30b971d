/* A layer's strongest maps to pick a neuron from, and below them what the three rules send back from it to the picture.
   A click on a cell makes that cell the target; the maps below follow after one run of the page. */

const MAP = 56, SMALL = 140, LARGE = 224;
const SHOWS = [["signed", "signed"], ["colour", "as a picture"], ["magnitude", "magnitude"]];

export default component((view) => {
  const state = {}, sent = {};
  let data, given = {}, hovered = null, columns = 16;

  const set = (changes) => {
    Object.assign(state, changes);
    for (const key in changes) (sent[key] ??= []).push(changes[key]);
    draw();
    view.trigger("set", changes);
  };

  /* What Python says is taken over, except the echo of a choice made here, which may be older than the newest one. */
  function adopt(controls) {
    for (const [key, value] of Object.entries(controls)) {
      const mine = sent[key] || [], echo = mine.lastIndexOf(value);
      if (!(key in state) || (value !== given[key] && echo < 0)) state[key] = value;
      sent[key] = mine.slice(echo + 1);
    }
    given = { ...controls };
  }

  /* ---- the maps one picks from ---- */

  const size = () => ({ height: data.shape[1], width: data.shape[2] });
  const values = (tile) => data.arrays.maps.subarray(tile * data.shape[1] * data.shape[2], (tile + 1) * data.shape[1] * data.shape[2]);

  function topOf(tile) {
    const all = values(tile);
    let best = 0;
    for (let i = 1; i < all.length; i++) if (all[i] > all[best]) best = i;
    return { row: Math.floor(best / size().width), column: best % size().width };
  }

  const choose = (tile, place) => view.trigger("choose", { channel: data.channels[tile], ...place });

  function mapTile(tile) {
    const { width, height } = size(), here = data.chosen && data.chosen.channel === data.channels[tile];
    const block = Math.ceil(Math.max(width, height) / MAP), cell = Math.max(1, Math.floor(MAP / Math.max(width, height)));
    const small = strongestOf(values(tile), width, height, block);
    const canvas = paint(el("canvas", { "aria-hidden": "true" }), levels(small.values, data.low, data.high), { ...small, cell, colours: table(data.palette, view.mode) });
    const marks = sv("svg", { class: "hit", width: small.width * cell, height: small.height * cell });
    const channel = data.channels[tile], top = data.tops[tile];
    const button = el("button", { class: `map${here ? " on" : ""}`, "data-id": `pick-${channel}`, "aria-pressed": String(Boolean(here)), "aria-label": `channel ${channel}, highest value ${short(top)}` },
      el("span", { class: "pic" }, canvas, marks), el("span", { class: "mt" }, el("b", { text: channel }), el("i", { text: short(top, 2) })));
    const at = (event) => {
      const box = canvas.getBoundingClientRect(), clamp = (v, end) => Math.max(0, Math.min(end - 1, Math.floor(v)));
      return { row: clamp(((event.clientY - box.top) / box.height) * height, height), column: clamp(((event.clientX - box.left) / box.width) * width, width) };
    };
    const mark = (place) => {
      const side = Math.max(cell, 4), shift = (side - cell) / 2;
      marks.replaceChildren(...(place ? square(Math.floor(place.column / block) * cell - shift, Math.floor(place.row / block) * cell - shift, side) : []));
    };
    const own = here && data.chosen.row !== null ? data.chosen : null;
    mark(own);
    canvas.addEventListener("pointermove", (event) => { const place = at(event); mark(place); tell(tile, place); });
    canvas.addEventListener("pointerleave", () => { mark(own); tell(null); });
    button.addEventListener("focus", () => button.matches(":focus-visible") && tell(tile, topOf(tile)));
    button.addEventListener("click", (event) => choose(tile, event.detail ? at(event) : topOf(tile)));
    return button;
  }

  function strongestOf(all, width, height, block) {
    if (block === 1) return { values: all, width, height };
    const w = Math.ceil(width / block), h = Math.ceil(height / block), out = new Float32Array(w * h);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const to = Math.floor(y / block) * w + Math.floor(x / block), v = all[y * width + x];
        if (Math.abs(v) > Math.abs(out[to])) out[to] = v;
      }
    }
    return { values: out, width: w, height: h };
  }

  function tell(tile, place) {
    if (!hovered) return;
    if (tile === null) { hovered.textContent = data.hint; return; }
    const value = values(tile)[place.row * size().width + place.column];
    hovered.textContent = `channel ${data.channels[tile]}, cell (${place.row}, ${place.column}): ${reading(value)}`;
  }

  function picker() {
    if (!data.channels.length) return el("p", { class: "note", text: data.hint });
    const tiles = data.channels.map((_, tile) => mapTile(tile));
    columns = Math.max(4, Math.min(16, Math.floor(((view.root.clientWidth || 1096) + 8) / (MAP + 8))));
    const grid = el("div", { class: "maps", role: "group", "aria-label": `maps of ${data.layer}; arrow keys move, Enter takes the strongest cell, Shift and arrows move the cell`, style: { "--columns": columns } }, tiles);
    roving(grid, () => tiles, () => columns)(Math.max(0, data.channels.indexOf(data.chosen?.channel)));
    grid.addEventListener("keydown", moveCell);
    hovered = el("p", { class: "note", "aria-live": "polite", text: data.hint });
    return el("div", { class: "picker" }, grid, el("div", { class: "under" }, hovered,
      el("div", { class: "links" }, data.actions.map(({ name, text }) => el("button", { class: "act", text, "data-id": `act-${name}`, on: { click: () => view.trigger("act", { name }) } })))));
  }

  function moveCell(event) {
    const move = ARROWS[event.key], at = data.chosen;
    if (!move || !event.shiftKey || !at || at.row === null) return;
    event.preventDefault();
    const clamp = (v, end) => Math.max(0, Math.min(end - 1, v));
    view.trigger("choose", { channel: at.channel, row: clamp(at.row + move[0], size().height), column: clamp(at.column + move[1], size().width) });
  }

  /* ---- what comes back ---- */

  const area = () => data.height * data.width;

  function leadingOf(planes) {
    const out = new Float32Array(area());
    for (let i = 0; i < out.length; i++) for (const plane of planes) if (Math.abs(plane[i]) > Math.abs(out[i])) out[i] = plane[i];
    return out;
  }

  function rgbCanvas(planes, from, window_) {
    const { top, left, height, width } = window_, canvas = el("canvas", { width, height }), image = new ImageData(width, height);
    const three = planes.length >= 3 ? planes : [planes[0], planes[0], planes[0]];
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const i = (y + top) * data.width + x + left, o = 4 * (y * width + x);
        for (let c = 0; c < 3; c++) image.data[o + c] = 255 * from(three[c][i]);
        image.data[o + 3] = 255;
      }
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  }

  function cut(all, { top, left, height, width }) {
    const out = new Float32Array(height * width);
    for (let y = 0; y < height; y++) out.set(all.subarray((y + top) * data.width + left, (y + top) * data.width + left + width), y * width);
    return out;
  }

  const planesOf = (array, channels, start = 0) => Array.from({ length: channels }, (_, c) => array.subarray((start + c) * area(), (start + c + 1) * area()));

  function windowNow() {
    const [top, left, bottom, right] = data.box || [0, 0, data.height, data.width];
    const crop = state.crop && data.box;
    return crop ? { top, left, height: bottom - top, width: right - left } : { top: 0, left: 0, height: data.height, width: data.width };
  }

  function framed(canvas, words, here, side) {
    const cell = Math.max(1, Math.floor(side / Math.max(here.width, here.height)));
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", words);
    const { element, marks } = ruled(canvas, { width: here.width, height: here.height, cell });
    for (const text of element.querySelectorAll("text")) {
      const offset = text.getAttribute("text-anchor") === "middle" ? here.left : here.top;
      text.textContent = String(Number(text.textContent) + offset);
    }
    if (data.box && !state.crop) {
      const [top, left, bottom, right] = data.box;
      marks.append(...brackets(left * cell, top * cell, (right - left) * cell, (bottom - top) * cell));
    }
    return { element, width: here.width * cell };
  }

  function resultCanvas(panel, index, here) {
    const planes = planesOf(data.arrays.results, data.channelsIn, index * data.channelsIn);
    const peak = panel.peak || 1;
    if (state.show === "colour") return rgbCanvas(planes, (v) => 0.5 + v / (2 * peak), here);
    const lead = cut(leadingOf(planes), here), magnitude = state.show === "magnitude";
    const index_ = magnitude ? levels(lead.map(Math.abs), 0, peak) : levels(lead, -peak, peak); // all zero: the middle colour
    return paint(el("canvas"), index_, { width: here.width, height: here.height, cell: 1, colours: table(magnitude ? "grey" : "diverging", view.mode) });
  }

  function keyOf(panel, width) {
    if (!panel.peak) return el("p", { class: "note" }, el("b", { class: "warn", text: "Blank. " }), panel.blank);
    if (state.show === "colour") return el("p", { class: "note", text: `mid-grey is 0, black and white ${short(panel.peak)}` });
    const signed = state.show === "signed";
    return legend({ words: signed ? "**red** brighter, **blue** darker excites" : "magnitude, largest channel", palette: signed ? "diverging" : "grey", low: signed ? -panel.peak : 0, high: panel.peak, width: Math.max(120, width) });
  }

  function results() {
    const here = windowNow(), side = (view.root.clientWidth || 1096) >= 560 ? LARGE : SMALL;
    const picture = framed(rgbCanvas(planesOf(data.arrays.picture, data.channelsIn), (v) => v / 255, here), data.pictureAlt, here, side);
    const first = el("section", { class: "panel" }, el("h3", {}, "Picture"), el("p", { class: "rule" }, rich(data.pictureWords)), picture.element,
      el("div", { class: "key" }, facts(data.facts)));
    const panels = data.panels.map((panel, i) => {
      const made = framed(resultCanvas(panel, i, here), panel.alt, here, side);
      return el("section", { class: "panel" }, el("h3", {}, el("b", { text: "abc"[i] }), panel.title), el("p", { class: "rule" }, rich(panel.rule)), made.element,
        el("div", { class: "key" }, keyOf(panel, made.width), el("p", { class: "note", text: panel.fact })));
    });
    return el("div", { class: "results" }, first, panels);
  }

  function segments(label, options, chosen, onChoose) {
    return el("div", { class: "field" }, el("span", { class: "name", text: label }), el("div", { class: "seg", role: "group", "aria-label": label },
      options.map(([value, text]) => el("button", { "data-id": `${label}-${value}`, "aria-pressed": String(value === chosen), text, on: { click: () => onChoose(value) } }))));
  }

  function controls() {
    return el("div", { class: "controls" },
      segments("Show", SHOWS, state.show, (show) => set({ show })),
      data.box ? segments("Part", [[false, "whole picture"], [true, "receptive field"]], state.crop, (crop) => set({ crop })) : null);
  }

  function draw() {
    keepFocus(view.root, () => view.root.replaceChildren(...[picker(), controls(), results(), el("p", { class: "cap" }, rich(data.caption))]));
  }

  let width = 0;
  new ResizeObserver(() => {
    const now = view.root.clientWidth;
    if (data && now && Math.abs(now - width) > 4) { width = now; draw(); }
  }).observe(view.root);

  return (fresh) => {
    data = fresh;
    adopt(data.controls);
    width = view.root.clientWidth;
    draw();
  };
});
