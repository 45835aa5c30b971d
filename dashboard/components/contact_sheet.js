/* Methods across, targets down; one of the maps large, with rulers, a pixel probe and the mask of its strongest pixels.
   Everything that only changes how the maps are shown happens here, without a word to the server; what was chosen is
   reported afterwards ("set") so that it becomes part of the link. */



const LARGEST = 420, WIDE = 880;
const FULL = 32767; // a map comes as 16-bit steps of its own strongest value

const luminance = ([r, g, b], i) => 0.2126 * r[i] + 0.7152 * g[i] + 0.0722 * b[i];

function planesOf(picture, channels, area) {
  const planes = Array.from({ length: channels }, (_, c) => picture.subarray(c * area, (c + 1) * area));
  return channels >= 3 ? planes.slice(0, 3) : [planes[0], planes[0], planes[0]];
}

/* Map colours over the picture: at strength 1 the map alone, at 0 the picture alone. */
function blend(canvas, index, colours, planes, { width, height, strength }) {
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(width, height), bytes = image.data;
  const [r, g, b] = planes;
  for (let i = 0; i < index.length; i++) {
    const colour = colours[index[i]], rest = 1 - strength;
    bytes[4 * i] = strength * (colour & 255) + rest * 255 * r[i];
    bytes[4 * i + 1] = strength * ((colour >>> 8) & 255) + rest * 255 * g[i];
    bytes[4 * i + 2] = strength * ((colour >>> 16) & 255) + rest * 255 * b[i];
    bytes[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/* What is kept as it is in the picture, everything else nearly faded into `ground`. */
function cutOut(canvas, kept, planes, { width, height, ground }) {
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(width, height), bytes = image.data;
  for (let i = 0; i < kept.length; i++) {
    const share = kept[i] ? 1 : 0.22;
    for (let c = 0; c < 3; c++) bytes[4 * i + c] = share * 255 * planes[c][i] + (1 - share) * ground[c];
    bytes[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function save(canvas, name) {
  canvas.toBlob((blob) => {
    const link = el("a", { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
}

function maskCanvas(kept, width, height) {
  const canvas = el("canvas", { width, height }), image = new ImageData(width, height);
  kept.forEach((on, i) => image.data.set(on ? [255, 255, 255, 255] : [0, 0, 0, 255], 4 * i));
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

function segmented(label, options, chosen, onChoose) {
  const buttons = options.map(([value, text]) => el("button", {
    "data-id": `${label}-${value}`, "aria-pressed": String(value === chosen), text, on: { click: () => onChoose(value) },
  }));
  return el("div", { class: "field" }, label === "View" ? [] : el("span", { class: "name", text: label }),
    el("div", { class: "seg", role: "group", "aria-label": label }, buttons));
}

function slider(label, { value, low, high, unit }, onInput, onChange) {
  const out = el("output", { text: `${value}${unit}` });
  const input = el("input", { type: "range", min: low, max: high, step: 1, value, "aria-label": label, "data-id": `slider-${label}` });
  const show = () => {
    out.textContent = `${input.value}${unit}`;
    input.style.setProperty("--v", `${(100 * (input.value - low)) / (high - low)}%`);
  };
  input.addEventListener("input", () => { show(); onInput(Number(input.value)); });
  input.addEventListener("change", () => onChange(Number(input.value)));
  show();
  return el("label", { class: "field" }, el("span", { class: "name", text: label }), input, out);
}

/* The maps of one payload, unpacked when they are needed. */
function atlas(data) {
  const { width, height } = data, area = width * height, cache = new Map();
  const raw = new Int16Array(data.arrays.maps.buffer, data.arrays.maps.byteOffset, data.arrays.maps.length / 2);
  const one = (map) => {
    if (map.slot === null) return null;
    if (!cache.has(map.slot)) {
      const steps = raw.subarray(map.slot * area, (map.slot + 1) * area), values = new Float32Array(area);
      for (let i = 0; i < area; i++) values[i] = (steps[i] * map.peak) / FULL;
      cache.set(map.slot, values);
    }
    return cache.get(map.slot);
  };
  const ranks = new Map();
  const order = (map) => {
    if (!ranks.has(map.slot)) {
      const values = one(map), places = Uint32Array.from(values, (_, i) => i);
      places.sort((a, b) => Math.abs(values[b]) - Math.abs(values[a]) || a - b);
      ranks.set(map.slot, places);
    }
    return ranks.get(map.slot);
  };
  return { one, order, at: (m, t) => data.maps.find((map) => map.method === m && map.target === t) };
}

export default component((view) => {
  const state = {}, sent = {};
  let data, maps, planes, given = {}, probe = null, parts = {};

  const report = (changes) => { for (const key in changes) (sent[key] ??= []).push(changes[key]); view.trigger("set", changes); };
  const set = (changes, redraw = drawAll) => { Object.assign(state, changes); redraw(); report(changes); };

  /* What Python says is taken over, except the echo of a choice made here, which may be older than the newest one. */
  function adopt(controls) {
    for (const [key, value] of Object.entries(controls)) {
      const mine = sent[key] || [], echo = mine.lastIndexOf(value);
      if (!(key in state) || (value !== given[key] && echo < 0)) state[key] = value;
      sent[key] = mine.slice(echo + 1);
    }
    given = { ...controls };
  }

  const method = (name) => data.methods.find((m) => m.name === name);
  const tileSide = () => (data.methods.length <= 3 ? 112 : 84);
  const chosen = () => maps.at(state.method, state.target) || data.maps[0];

  function look(map) {
    const signed = method(map.method).signed && state.show === "signed";
    const group = state.scale === "method" ? data.maps.filter((other) => other.method === map.method) : [map];
    const high = Math.max(0, ...group.map((other) => (signed ? other.peak : state.show === "signed" ? other.high : other.peak)));
    return { signed, palette: signed ? "diverging" : "cividis", low: signed ? -high : 0, high };
  }

  function indexOf(values, map) {
    const { signed, low, high } = look(map);
    const top = high || 1; // a map that is zero everywhere has the colour of zero
    return levels(signed || state.show === "signed" ? values : values.map(Math.abs), signed ? -top : low, top);
  }

  /* ---- the sheet ---- */

  function tile(map) {
    const here = map === chosen(), on = here ? " on" : "";
    const block = Math.ceil(Math.max(data.width, data.height) / tileSide()), cell = Math.max(1, Math.floor(tileSide() / Math.max(data.width, data.height)));
    const values = maps.one(map), canvas = el("canvas", { "aria-hidden": "true" });
    const small = { width: Math.ceil(data.width / block), height: Math.ceil(data.height / block) };
    const words = `${method(map.method).title}, ${data.targets.find((t) => t.text === map.target).label}: ${map.alt}`;
    const button = el("button", { class: `tile${on}`, "data-id": `map-${map.method}-${map.target}`, "aria-label": words, "aria-pressed": String(here), title: map.sentences.join(" ") });
    const label = el("span", { class: "num", text: labelOf(map) });
    if (values === null || map.peak === 0) {
      const frame = el("span", { class: `none${values === null ? " waiting" : ""}`, style: { width: `${small.width * cell}px`, height: `${small.height * cell}px` } }, values === null ? map.progress : "all 0");
      button.append(frame, label);
    } else {
      const reduced = shrunk(values, data.width, data.height, block, true);
      blend(canvas, indexOf(reduced.values, map), table(look(map).palette, view.mode), parts.small, { ...reduced, strength: state.overlay / 100 });
      resize(canvas, reduced.width * cell, reduced.height * cell);
      button.append(canvas, label);
      canvas.addEventListener("pointermove", (event) => {
        const box = canvas.getBoundingClientRect();
        move(Math.floor(((event.clientY - box.top) / box.height) * data.height), Math.floor(((event.clientX - box.left) / box.width) * data.width));
      });
    }
    button.addEventListener("click", () => set({ method: map.method, target: map.target }));
    button.addEventListener("pointerleave", () => move(null));
    parts.labels.set(map, label);
    return button;
  }

  function labelOf(map) {
    const values = maps.one(map);
    if (values === null) return "";
    if (probe !== null) return short(state.show === "signed" ? values[probe] : Math.abs(values[probe]));
    return map.peak ? short(look(map).signed || state.show !== "signed" ? map.peak : map.high) : "0";
  }

  function sheet() {
    const head = el("tr", {}, el("td"), data.methods.map((m) => el("th", { scope: "col", class: m.name === state.method ? "on" : "" }, m.title)));
    const rows = data.targets.map((t) => el("tr", {},
      el("th", { scope: "row", class: t.text === state.target ? "on" : "" }, t.label, el("span", { text: t.role })),
      data.methods.map((m) => el("td", {}, tile(maps.at(m.name, t.text))))));
    const foot = data.methods.every((m) => !maps.at(m.name, chosen().target).fact) ? [] : el("tr", { class: "foot" }, el("th", { scope: "row" }, el("span", { text: "facts" })),
      data.methods.map((m) => el("td", { text: maps.at(m.name, chosen().target).fact })));
    const body = el("table", { class: "sheet" }, el("thead", {}, head), el("tbody", {}, rows, foot));
    const move = roving(body, () => [...body.querySelectorAll("button.tile")], () => data.methods.length);
    move(data.maps.indexOf(chosen()));
    return body;
  }

  /* ---- the large map ---- */

  const extent = () => {
    const side = Math.max(data.width, data.height), block = Math.ceil(side / tileSide()), cell = Math.max(1, Math.floor(tileSide() / side));
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize) || 16;
    const taken = 6 * rem + data.methods.length * (Math.max(4.7 * rem, Math.ceil(data.width / block) * cell) + 5);
    const width = view.root.clientWidth || 1096, beside = width - Math.max(taken, 420) - 28 - 30;
    const wide = width >= WIDE && beside >= 250;
    const room = Math.min(side > LARGEST ? side : LARGEST + 28, wide ? beside : Math.min(width - 300, LARGEST));
    return { wide, cell: Math.max(1, Math.floor(room / side)) };
  };

  function keptPixels(map) {
    const kept = new Uint8Array(data.width * data.height), order = maps.order(map);
    const count = Math.max(1, Math.round((kept.length * state.keep) / 100));
    for (let i = 0; i < count; i++) kept[order[i]] = 1;
    return kept;
  }

  function paintLarge() {
    const map = chosen(), values = maps.one(map), size = { width: data.width, height: data.height };
    if (values === null) return;
    if (state.view === "mask") {
      const ground = getComputedStyle(view.root).getPropertyValue("--edge").trim();
      cutOut(parts.canvas, keptPixels(map), planes, { ...size, ground: /^#/.test(ground) ? rgb(ground) : [125, 135, 139] });
    } else {
      blend(parts.canvas, indexOf(values, map), table(look(map).palette, view.mode), planes, { ...size, strength: state.overlay / 100 });
    }
  }

  function drawMarks() {
    const { cell, marks } = parts;
    marks.replaceChildren();
    if (state.outline && state.view === "map") {
      const dark = look(chosen()).palette === "diverging" && state.overlay > 40;
      marks.append(...contourMarks(parts.contour, cell, dark));
    }
    if (probe !== null) {
      const x = probe % data.width, y = Math.floor(probe / data.width), grow = Math.max(0, (7 - cell) / 2);
      marks.append(...square(x * cell - grow, y * cell - grow, cell + 2 * grow));
    }
  }

  function large() {
    const map = chosen(), values = maps.one(map), m = method(map.method), t = data.targets.find((one) => one.text === map.target);
    const title = el("div", { class: "title" }, el("h3", {}, m.title, el("span", { text: `${t.label}, ${t.role}` })),
      segmented("View", [["map", "map"], ["mask", "strongest pixels"]], state.view, (v) => set({ view: v })));
    if (values === null) return [title, el("div", { class: "note waitline" }, map.sentences.length ? map.sentences.join(" ") : map.progress)];
    const { wide, cell } = extent();
    const canvas = el("canvas", { role: "img", "aria-label": map.alt });
    const framed = ruled(canvas, { width: data.width, height: data.height, cell });
    Object.assign(parts, { canvas, cell, marks: framed.marks });
    const stage = el("div", { class: "stage", tabindex: 0, role: "application", "aria-label": "Pixel probe: arrow keys move it", "data-id": "stage" }, framed.element);
    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      const row = Math.floor(((event.clientY - box.top) / box.height) * data.height), column = Math.floor(((event.clientX - box.left) / box.width) * data.width);
      move(...(row >= 0 && column >= 0 && row < data.height && column < data.width ? [row, column] : [null]));
    };
    stage.addEventListener("pointermove", place);
    stage.addEventListener("pointerdown", place);
    stage.addEventListener("pointerleave", () => document.activeElement !== stage && move(null));
    stage.addEventListener("keydown", (event) => {
      const step = ARROWS[event.key];
      if (!step) return;
      event.preventDefault();
      const from = probe ?? maps.order(map)[0], far = event.shiftKey ? 10 : 1;
      const clamp = (v, end) => Math.max(0, Math.min(end - 1, v));
      move(clamp(Math.floor(from / data.width) + step[0] * far, data.height), clamp((from % data.width) + step[1] * far, data.width));
    });
    parts.readout = el("div", { class: "readout", "aria-live": "polite" });
    paintLarge();
    const shown = look(map);
    const words = state.view === "mask"
      ? `pixels with the **largest magnitude**; the rest is faded`
      : `${m.unit}${shown.signed ? "; **red raises, blue lowers**" : state.show === "signed" ? "" : ", magnitude"}`;
    const mixed = state.view === "map" && state.overlay < 100 ? `Colours are mixed with the picture: ${state.overlay} % map.` : null;
    const width = Math.max(180, data.width * cell);
    const key = map.blank ? [] : state.view === "mask" ? el("p", { class: "note" }, rich(words)) : legend({ words, palette: shown.palette, low: shown.low, high: shown.high, width, note: mixed });
    const under = el("div", { class: "under" }, key, map.blank ? el("p", { class: "note blank" }, el("b", { class: "warn", text: "Blank. " }), map.blank) : null);
    return [title, stage, under, el("div", { class: "side" }, keeping(map), parts.readout)];
  }

  function keeping(map) {
    if (state.view !== "mask") return [];
    const name = `${map.method}-${map.target.replace(/[^\w.-]+/g, "_")}-top${state.keep}`, size = [data.width, data.height];
    const preview = (share) => { state.keep = share; paintLarge(); };
    return el("div", { class: "keeping" },
      slider("Keep the top", { value: state.keep, low: 1, high: 100, unit: `${THIN}%` }, preview, (v) => set({ keep: v })),
      el("div", { class: "go" },
        el("button", { class: "act", text: "Mask PNG", "data-id": "mask", on: { click: () => save(maskCanvas(keptPixels(map), ...size), `mask-${name}.png`) } }),
        el("button", { class: "act", text: "Masked picture PNG", "data-id": "masked", on: { click: () => save(parts.canvas, `masked-${name}.png`) } })));
  }

  /* ---- the probe ---- */

  function move(row, column) {
    const next = row === null ? null : row * data.width + column;
    if (next === probe) return;
    probe = next;
    if (parts.marks) drawMarks();
    readout();
    for (const [map, label] of parts.labels) label.textContent = labelOf(map);
  }

  function readout() {
    const map = chosen(), values = maps.one(map);
    if (values === null || !parts.readout) return;
    const at = probe ?? maps.order(map)[0], row = Math.floor(at / data.width), column = at % data.width;
    const order = maps.order(map), rank = order.indexOf(at) + 1;
    const pixel = planesOfPixel(at);
    const rows = [[probe === null && map.peak ? "strongest pixel" : "pixel", `row ${row}, column ${column}`], ["value", signedText(values[at])]];
    const detail = data.detail && data.detail.method === map.method && data.detail.target === map.target && data.arrays.detail;
    if (detail && data.detail.channels > 1) rows.push(["red, green, blue", [0, 1, 2].map((c) => signedText(detail[c * values.length + at])).join(" · ")]);
    rows.push(["rank", map.peak ? `${rank.toLocaleString("en")} of ${values.length.toLocaleString("en")} (top ${percent(rank / values.length)}${THIN}%)` : "all equal"], ["picture", pixel]);
    parts.readout.replaceChildren(facts(rows), ...map.sentences.map((text) => el("p", { class: "note" }, rich(text))));
  }

  const signedText = (value) => (value > 0 ? "+" : "") + short(value);
  const planesOfPixel = (at) => (data.channels >= 3 ? planes.map((plane) => fixed(plane[at])).join(" · ") : fixed(planes[0][at]));

  /* ---- all of it ---- */

  function controls() {
    return el("div", { class: "controls" },
      segmented("Show", [["signed", "signed"], ["magnitude", "magnitude"]], state.show, (v) => set({ show: v })),
      segmented("Scale", [["map", "each map"], ["method", "each method"]], state.scale, (v) => set({ scale: v })),
      slider("Map over picture", { value: state.overlay, low: 0, high: 100, unit: `${THIN}%` }, (v) => { state.overlay = v; drawSheet(); paintLarge(); drawMarks(); }, (v) => set({ overlay: v })),
      el("label", { class: "field" }, el("input", Object.assign({ type: "checkbox", "data-id": "outline", on: { change: (e) => set({ outline: e.target.checked }) } }, state.outline ? { checked: true } : {})), "Outline"));
  }

  function scaleWords() {
    if (state.scale === "map") return "Each map has its own scale; the number under it is its end.";
    return "One scale for each method: compare down a column, not across, because methods have different units.";
  }

  function drawSheet() {
    parts.labels = new Map();
    parts.left.replaceChildren(sheet(), el("p", { class: "note", text: `${scaleWords()} ${data.convention}` }), el("p", { class: "cap" }, rich(data.caption)));
  }

  function drawAll() {
    keepFocus(view.root, () => {
      parts = { left: el("div", { class: "left" }), contour: parts.contour, small: parts.small, labels: new Map() };
      const { wide } = extent();
      const right = el("div", { class: "right" });
      view.root.replaceChildren(controls(), el("div", { class: `board${wide ? " wide" : ""}` }, parts.left, right));
      drawSheet();
      right.append(...large());
      if (parts.marks) drawMarks();
      readout();
    });
  }

  let width = 0;
  new ResizeObserver(() => {
    const now = view.root.clientWidth;
    if (data && now && Math.abs(now - width) > 4) { width = now; drawAll(); }
  }).observe(view.root);

  return (fresh) => {
    data = fresh;
    maps = atlas(data);
    probe = null;
    const area = data.width * data.height, picture = Float32Array.from(data.arrays.picture, (v) => v / 255);
    planes = planesOf(picture, data.channels, area);
    const grey = new Float32Array(area);
    for (let i = 0; i < area; i++) grey[i] = luminance(planes, i);
    const block = Math.ceil(Math.max(data.width, data.height) / tileSide());
    parts = { contour: outline(grey, data.width, data.height), small: planes.map((plane) => shrunk(plane, data.width, data.height, block, false).values), labels: new Map() };
    adopt(data.controls);
    width = view.root.clientWidth;
    drawAll();
  };
});
