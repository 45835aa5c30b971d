/* Shared by every component: numbers, colours, drawing, keyboard. Plain functions; a component's own file follows and
   ends with `export default component(...)`. THEME (colours from cnnviz/figures/theme.py) is written in front.
   A value's colour is found exactly as cnnviz/figures/scales.py finds it. */

const LEVELS = THEME.levels, NAN = LEVELS, EMPTY = LEVELS + 3;

/* ---- life of a component ------------------------------------------------------------------------------------- */

const instances = new WeakMap();

/* Streamlit calls the default export again on every run of the page. `create(view)` runs once for each mounted
   component and gives `draw(data)`, which runs only when the data or the theme is new. */
function component(create) {
  return ({ parentElement, data, setTriggerValue }) => {
    const root = parentElement.querySelector(".kit");
    if (!instances.has(root)) {
      const view = { root, trigger: () => {} };
      instances.set(root, { view, draw: create(view) });
      new ResizeObserver(() => rescale(root)).observe(root);
    }
    const self = instances.get(root);
    self.view.trigger = setTriggerValue;
    const mode = modeOf(root), scale = rootScale();
    if (mode === self.mode && scale === self.scale && sameBytes(data, self.bytes)) return;
    root.dataset.mode = mode;
    Object.assign(self, { mode, scale, bytes: data });
    Object.assign(self.view, { mode, scale });
    keepFocus(root, () => self.draw(unpack(data)));
  };
}

/* 1, and more in projector mode: pictures grow with the type, by whole cells. */
const rootScale = () => parseFloat(getComputedStyle(document.documentElement).fontSize) / 16 || 1;

/* The projector's type is larger, and cells grow with it by whole steps: the same data is drawn anew. */
function rescale(root) {
  const self = instances.get(root);
  if (!self.bytes || self.scale === rootScale()) return;
  self.scale = self.view.scale = rootScale();
  keepFocus(root, () => self.draw(unpack(self.bytes)));
}

function modeOf(root) {
  root.style.backgroundColor = "var(--st-background-color)";
  const parts = getComputedStyle(root).backgroundColor.match(/[\d.]+/g) || [255, 255, 255];
  root.style.backgroundColor = "";
  const scale = String(parts[0]).includes(".") && parts[0] <= 1 ? 255 : 1;
  return (0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]) * scale < 128 ? "dark" : "light";
}

function sameBytes(a, b) {
  if (!b || a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/* A redraw replaces elements; the one that had the keyboard is found again by its data-id. */
function keepFocus(root, draw) {
  const id = root.getRootNode().activeElement?.dataset?.id;
  draw();
  if (id !== undefined) root.querySelector(`[data-id="${CSS.escape(id)}"]`)?.focus({ preventScroll: true });
}

/* ---- data: [header length, uint32][JSON header][arrays, each at a multiple of 8] ------------------------------- */

const ARRAYS = { float32: Float32Array, uint8: Uint8Array, int32: Int32Array };

function unpack(bytes) {
  const own = bytes.slice();                                   // arrays need aligned memory of their own
  const length = new DataView(own.buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(own.subarray(4, 4 + length)));
  header.arrays = {};
  for (const { name, dtype, size, at } of header._arrays) header.arrays[name] = new ARRAYS[dtype](own.buffer, at, size);
  return header;
}

/* Lines of a picture stored as differences to the line above, deflated: see payload.py */
async function inflate(bytes, width) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const values = new Uint8Array(await new Response(stream).arrayBuffer());
  for (let i = width; i < values.length; i++) values[i] += values[i - width];
  return values;
}

/* ---- elements ---------------------------------------------------------------------------------------------------- */

const SVG = "http://www.w3.org/2000/svg";

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, f] of Object.entries(value)) element.addEventListener(event, f);
    else if (name === "style") for (const [key, v] of Object.entries(value)) element.style.setProperty(key, v);
    else if (name === "text") element.textContent = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

const el = (tag, props, ...children) => fill(document.createElement(tag), props, children);
const sv = (tag, props, ...children) => fill(document.createElementNS(SVG, tag), props, children);

/* Sentences from Python: **bold**, `code` and ^{raised}; everything else is text. */
function rich(text) {
  const kinds = [["b", /^\*\*(.+)\*\*$/], ["code", /^`(.+)`$/], ["sup", /^\^\{(.+)\}$/]];
  return text.split(/(\*\*.+?\*\*|`.+?`|\^\{.+?\})/).filter(Boolean).map((part) => {
    const kind = kinds.find(([, shape]) => shape.test(part));
    return kind ? el(kind[0], { text: part.match(kind[1])[1] }) : part;
  });
}

/* ---- numbers, as in cnnviz/figures/numbers.py ------------------------------------------------------------------ */

const MINUS = "\u2212", THIN = "\u00a0", TIMES = "\u00d7", DASH = "\u2013";

function fixed(value, digits = 2) {
  if (Number.isNaN(value)) return "not a number";
  if (!Number.isFinite(value)) return value > 0 ? "infinite" : MINUS + "infinite";
  const text = Math.abs(value).toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return value < 0 && /[1-9]/.test(text) ? MINUS + text : text;
}

function short(value, digits = 3) {
  if (value === 0 || !Number.isFinite(value)) return value === 0 ? "0" : fixed(value);
  const exponent = Math.floor(Math.log10(Math.abs(Number(value.toPrecision(digits)))));
  if (exponent >= -4 && exponent < 6) return fixed(value, Math.max(digits - 1 - exponent, 0));
  return value.toExponential(Math.max(digits - 2, 0)).replace(/-/g, MINUS).replace("+", "");
}

/* Two decimals as everywhere in a readout, unless that would lose the number. */
const reading = (value) => (value === 0 || Math.abs(value) >= 0.1 ? fixed(value, 2) : short(value));

const percent = (share) => (share > 0 && share < 0.0005 ? "<\u00a00.1" : fixed(100 * share, 1));
const lines = (word, first, end) => `${word}${end - first === 1 ? "" : "s"} ${span(first, end)}`;
const span = (first, end) => (end - first === 1 ? String(first) : `${first}${DASH}${end - 1}`);

function tickText(value, top) {
  if (value === 0) return "0";
  return top >= 0.01 && top < 1e6 ? fixed(value, top >= 20 ? 0 : top >= 1 ? 1 : top >= 0.1 ? 2 : 3) : short(value, 2);
}

/* ---- colours ------------------------------------------------------------------------------------------------------ */

const tables = {};

/* 256 colours as one 32-bit number each, as a canvas stores them. */
function table(palette, mode) {
  const key = palette + mode;
  if (tables[key]) return tables[key];
  const stops = THEME.stops[palette].map(rgb), entries = [];
  for (let i = 0; i < LEVELS; i++) {
    const place = (i / (LEVELS - 1)) * (stops.length - 1), low = Math.min(Math.floor(place), stops.length - 2);
    entries.push(stops[low].map((value, k) => Math.round(value + (place - low) * (stops[low + 1][k] - value))));
  }
  entries.push(rgb(THEME.nan));
  const numbers = new Uint32Array(256);
  entries.forEach(([r, g, b], i) => { numbers[i] = 0xff000000 + b * 65536 + g * 256 + r; });
  return (tables[key] = numbers);                              // the rest stays transparent
}

const rgb = (colour) => [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));

function levels(values, low, high) {
  const out = new Uint8Array(values.length), signed = low < 0;
  const factor = high > low ? (LEVELS - 1) / (high - low) : 0;
  const offset = (high > low ? -low * factor : signed ? (LEVELS - 1) / 2 : 0) + 0.5;
  for (let i = 0; i < values.length; i++) {
    const v = values[i];
    out[i] = Number.isNaN(v) ? NAN : Math.max(0, Math.min(LEVELS - 1, Math.floor(v * factor + offset)));
  }
  return out;
}

/* A map of `width` × `height` palette indices, each cell `cell` CSS pixels: nothing is ever blurred. */
function paint(canvas, index, { width, height, cell, colours }) {
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(width, height), pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < pixels.length; i++) pixels[i] = colours[index[i]];
  canvas.getContext("2d").putImageData(image, 0, 0);
  resize(canvas, width * cell, height * cell);
  return canvas;
}

function resize(element, width, height) {
  element.style.width = `${width}px`;
  element.style.height = `${height}px`;
}

const pngUrl = (bytes) => URL.createObjectURL(new Blob([bytes], { type: "image/png" }));

/* ---- rulers, brackets, legends ------------------------------------------------------------------------------------ */

/* Positions of the numbers on a ruler over `side` pixels: about `parts` divisions, both ends always. */
function majors(side, parts) {
  let step = side / parts;
  if (!Number.isInteger(step)) step = [1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 16, 20, 25, 28, 32, 40, 50, 56, 64, 75, 80, 100]
    .find((s) => s * parts >= side) || Math.ceil(side / parts / 50) * 50;
  const places = [];
  for (let i = 0; i < side; i += step) places.push(i);
  if (side - places[places.length - 1] < step * 0.6) places.pop();
  return places[0] === 0 ? [...places, side] : [0, side];
}

function ruler(width, height, cell, by = 1) {
  const scale = cell / by, parts = Math.max(width, height) * cell < 190 ? 2 : 4, group = sv("g", { class: "tk" });
  const every = [1, 2, 4, 5, 7, 8, 10, 14, 16, 20, 25, 28, 32].find((k) => k * scale >= 5) || 50;
  const axis = (cells, path, label) => {
    const side = Math.round(cells * by), numbers = majors(side, parts);
    for (let i = 0; i <= side; i += every) if (!numbers.includes(i)) group.append(sv("path", { class: "minor", d: path(22 + i * scale, 18.5) }));
    for (const i of numbers) group.append(sv("path", { d: path(22 + i * scale, 16) }), label(i, 22 + i * scale));
  };
  const text = (i, props) => sv("text", { ...props, text: i });
  axis(width, (at, from) => `M${at} ${from}V21`, (i, at) => text(i, { x: at, y: 13, "text-anchor": "middle" }));
  axis(height, (at, from) => `M${from} ${at}H21`, (i, at) => (i ? text(i, { x: 13, y: at + 4, "text-anchor": "end" }) : sv("g")));
  return group;
}

/* A picture between two rulers. `picture` is a canvas or img of width × height cells; `by` image pixels to a cell.
   Returns its element and `marks`, an SVG group in the picture's CSS pixels for brackets and squares. */
function ruled(picture, { width, height, cell, by = 1 }) {
  const wide = width * cell, high = height * cell, marks = sv("g", { transform: "translate(22,22)" });
  const size = { width: wide + 30, height: high + 24, "aria-hidden": "true" };
  resize(picture, wide, high);
  const element = el("div", { class: "ruled" }, sv("svg", size, ruler(width, height, cell, by)), picture, sv("svg", size, marks));
  resize(element, wide + 30, high + 24);
  return { element, marks };
}

function twice(path) {
  return [sv("path", { class: "halo", d: path }), sv("path", { class: "mark", d: path })];
}

/* The corners of a window or receptive field. */
function brackets(x, y, w, h) {
  const a = Math.max(3, Math.min(w * 0.28, 18)), b = Math.max(3, Math.min(h * 0.28, 18)), r = x + w, e = y + h;
  return twice(`M${x} ${y + b}V${y}H${x + a}M${r - a} ${y}H${r}V${y + b}M${r} ${e - b}V${e}H${r - a}M${x + a} ${e}H${x}V${e - b}`);
}

/* One cell. */
const square = (x, y, side) => twice(`M${x} ${y}h${side}v${side}h${-side}z`);

/* Words first, a bar with end ticks, both limits always, zero where signed. */
function legend({ words, palette, low, high, width, note, nan }) {
  const top = Math.max(Math.abs(low), Math.abs(high)), count = palette === "diverging" ? 3 : width >= 200 * rootScale() ? 5 : 3;
  const numbers = low === high ? [low] : Array.from({ length: count }, (_, i) => low + ((high - low) * i) / (count - 1));
  return el("div", { class: "legend", style: width ? { width: `${width}px` } : {} },
    words && el("div", { class: "words" }, rich(words)),
    el("div", { class: "bar", style: { "--ramp": `var(--${palette})` } }),
    el("div", { class: "ticks" }, numbers.map((n) => el("span", { text: tickText(Math.abs(n) < top * 1e-9 ? 0 : n, top) }))),
    nan ? el("div", { class: "nan" }, el("i"), `${nan.toLocaleString("en")} not a number`) : null,
    note && el("p", { class: "note" }, rich(note)));
}

function facts(rows) {
  return el("table", { class: "facts" }, el("tbody", {}, rows.map(([name, value]) =>
    el("tr", {}, el("th", { scope: "row", text: name }), el("td", { text: value })))));
}

/* ---- bars ------------------------------------------------------------------------------------------------------------ */

/* Rows of classes as they come: { index, name, probability, logit }; `chosen` in accent, the most probable bold. */
function predictionBars({ rows, chosen, label }, onClass) {
  const best = rows.reduce((a, b) => (b.probability > a.probability ? b : a)).index;
  const line = (row) => {
    const on = row.index === chosen ? " on" : "", top = row.index === best ? " top" : "";
    return [
      el("button", { class: `c${on}`, title: row.name, "data-id": `class-${row.index}`, "aria-label": `explain ${row.name}`,
        on: { click: () => onClass(row.index) } }, el("span", { text: row.name })),
      el("span", { class: `t${on}` }, el("i", { style: { width: `${(100 * row.probability).toFixed(2)}%` } })),
      el("span", { class: `r${on}${on || top ? " top" : ""}`, text: percent(row.probability) }),
      el("span", { class: "r logit", text: fixed(row.logit, 1) }),
    ];
  };
  const long = rows.some((row) => row.name.length > 5) ? " long" : "";   // names take the room of the axis
  return el("div", { class: `pred${long}`, role: "group", "aria-label": label },
    el("span", { class: "h" }), el("span", { class: "h axis" }, ["0", "50", `100${THIN}%`].map((text) => el("span", { text }))),
    el("span", { class: "h r", text: "prob." }), el("span", { class: "h r", text: "logit" }), rows.flatMap(line));
}

/* Two answers, class by class: thin grey bar before, thick ink bar after. Rows { index, name, before, after };
   `words` name the bars, `columns` the three numbers. A row whose share moves by 1 % or more is bold. */
function comparisonBars({ rows, chosen, words, columns, label }) {
  const swatch = (kind, text) => el("span", {}, el("i", { class: kind }), text);
  const line = ({ index, name, before, after }) => {
    const on = index === chosen ? " on" : "", bold = Math.abs(after - before) >= 0.01 ? " top" : "";
    const bar = (kind, share) => el("i", { class: kind + on, style: { width: `${(100 * share).toFixed(2)}%` } });
    const change = 100 * (after - before), text = fixed(change, 1);
    return [el("span", { class: `c${on}${bold}`, title: name }, el("span", { text: name })), el("span", { class: "t" }, bar("before", before), bar("after", after)),
      ...[percent(before), percent(after), change > 0 && /[1-9]/.test(text) ? `+${text}` : text].map((value) => el("span", { class: `r${bold}`, text: value }))];
  };
  return el("div", {}, el("div", { class: "pair" }, swatch("before", words[0]), swatch("after", words[1])),
    el("div", { class: "cmp", role: "group", "aria-label": label }, el("span", { class: "h", text: "class" }),
      el("span", { class: "h axis" }, ["0", "25", "50", "75", `100${THIN}%`].map((text) => el("span", { text }))),
      columns.map((text) => el("span", { class: "h r", text })), rows.flatMap(line)));
}

/* Counts over equal bins from `low` to `high`; the height is the square root of the count, so that few are still seen. */
function histogram({ counts, low, high, words, width = 250, height = 56 }) {
  const top = Math.sqrt(Math.max(...counts, 1)), step = width / counts.length;
  const bars = counts.map((count, i) => {
    const tall = count ? Math.max(1, (Math.sqrt(count) / top) * height) : 0;
    return sv("rect", { x: i * step, y: height - tall, width: Math.max(step - 1, 1), height: tall });
  });
  const zero = low < 0 && high > 0 ? (width * -low) / (high - low) : null;
  return el("div", { style: { width: `${width}px` } },
    sv("svg", { class: "hist", width, height, role: "img", "aria-label": words }, bars,
      zero === null ? null : sv("path", { class: "zero", d: `M${zero} 0V${height}` }), sv("path", { class: "axis", d: `M0 ${height + 0.5}H${width}` })),
    el("div", { class: "hist-ends" }, el("span", { text: short(low) }), zero === null ? null : el("span", { text: "" }), el("span", { text: short(high) })),
    el("p", { class: "note" }, rich(words)));
}

function buttons(actions, onAction) {
  return el("div", { class: "go" }, actions.map(({ name, text, filled }) =>
    el("button", { class: `btn ${filled ? "filled" : "ghost"}`, "data-id": `action-${name}`, text, on: { click: () => onAction(name) } })));
}

/* ---- keyboard -------------------------------------------------------------------------------------------------------- */

const ARROWS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

/* One stop of the Tab key for many buttons; arrows move between them, Home and End to the ends. */
function roving(container, items, columns, onMove) {
  const set = (index) => items().forEach((item, i) => { item.tabIndex = i === index ? 0 : -1; });
  container.addEventListener("keydown", (event) => {
    const all = items(), at = all.indexOf(event.target.closest("button"));
    if (at < 0 || event.shiftKey || event.ctrlKey || event.metaKey || event.altKey) return;
    const move = ARROWS[event.key];
    const to = move ? at + move[0] * columns() + move[1] : { Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined || to < 0 || to >= all.length) return;
    event.preventDefault();
    set(to);
    all[to].focus();
    onMove?.(to);
  });
  return set;
}
