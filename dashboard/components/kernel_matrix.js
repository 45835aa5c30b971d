/* Kernels as tiles or as a matrix, whole pixels to a weight, and the readout of the chosen one. Hovering only marks;
   choosing asks Python for the numbers. */

const CELLS = [12, 10, 8, 6, 5, 4, 3, 2], ROOM_LEFT = 34, ROOM_RIGHT = 58, HEADS = 18, FITS = 440;

export default component((view) => {
  const { root } = view;
  let data, indices, source, at, hovered, set, columnsNow = 8, blocks = [], built = false, spread;
  new ResizeObserver(() => built && root.clientWidth && layout()).observe(root);

  const count = () => data.filters.length, inputs = () => data.columns;
  const high = () => data.size[0], wide = () => data.size[1];
  const pointwise = () => high() === 1 && wide() === 1;
  const small = (value) => (value === null ? "NaN" : short(value, 2));
  const nameOf = (row, column) => `filter ${data.filters[row]}${data.grid ? "" : `, input ${data.inputs[column]}`}`;
  const flagOf = (row) => (data.dead[row] ? "dead" : data.twins[row] >= 0 ? `\u2248\u00a0${data.twins[row]}` : "");

  /* Every weight as one pixel of one picture: kernel below kernel. */
  async function prepare() {
    const total = count() * inputs() * high();
    const image = new ImageData(wide(), total), pixels = new Uint32Array(image.data.buffer);
    if (data.colour) {
      const { colours } = data.arrays;
      for (let i = 0; i < pixels.length; i++) pixels[i] = 0xff000000 + colours[3 * i + 2] * 65536 + colours[3 * i + 1] * 256 + colours[3 * i];
    } else {
      indices = await inflate(data.arrays.index, wide());
      const colours = table(data.palette, view.mode);
      for (let i = 0; i < pixels.length; i++) pixels[i] = colours[indices[i]];
    }
    source = el("canvas", { width: wide(), height: total });
    source.getContext("2d").putImageData(image, 0, 0);
  }

  function stamp(context, place, x, y, cell) {
    context.drawImage(source, 0, place * high(), wide(), high(), x, y, wide() * cell, high() * cell);
  }

  const sharp = (canvas, width, height) => {
    canvas.width = width;
    canvas.height = height;
    resize(canvas, width, height);
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    return context;
  };

  /* ---- building ---- */

  function build() {
    spread = el("div", { class: "spread" }, el("h3", { text: "All weights of this layer" }), histogram({ ...data.readout.histogram, width: 230 }));
    at = Math.max(0, data.filters.indexOf(data.readout.filter)) * inputs() + (data.grid ? 0 : Math.max(0, data.inputs.indexOf(data.readout.input)));
    const board = data.grid ? tileBoard() : el("div", { class: "blocks" });
    root.replaceChildren(el("div", { class: "km" },
      el("div", { class: "left" }, pager(), board, el("div", { class: "under" }, el("div", { class: "keys" }, key()), el("p", { class: "cap" }, rich(data.caption)))),
      el("div", { class: "side" }, readout())));
  }

  function pager() {
    const [page, pages] = data.page;
    if (pages < 2) return null;
    const step = (by, text, label) => el("button", { text, "aria-label": label, "data-id": label, disabled: page + by < 0 || page + by >= pages,
      on: { click: () => view.trigger("page", page + by) } });
    return el("div", { class: "pager" }, step(-1, "\u2190", "previous filters"), step(1, "\u2192", "next filters"), data.pageWords);
  }

  function key() {
    if (data.colour) return colourKey();
    const top = data.top ?? 1, box = legend({ words: data.legend, palette: data.palette, low: -top, high: top, width: 230, note: data.note, nan: data.nan });
    if (data.top === null) box.querySelector(".ticks").replaceChildren(...["\u2212 largest", "0", "largest"].map((text) => el("span", { text })));
    return box;
  }

  function colourKey() {
    return el("div", { class: "legend", style: { width: "230px" } }, el("div", { class: "words" }, rich(data.legend)), el("p", { class: "note" }, rich(data.note)));
  }

  function tileBoard() {
    const tiles = data.filters.map((filter, row) => {
      const canvas = el("canvas", { "aria-hidden": "true" }), flag = flagOf(row);
      return el("button", { class: `tile${row === at ? " on" : ""}`, "data-id": `tile-${filter}`, "aria-pressed": String(row === at),
        "aria-label": `filter ${filter}, strength ${small(data.strengths[row])}${flag ? `, ${flag}` : ""}`, on: { click: () => choose(row) } },
      el("span", { class: "pic" }, canvas, data.dead[row] ? el("span", { class: "dead" }) : null),
      el("span", { class: "tl" }, el("b", { text: filter }), el("i", { text: flag || small(data.strengths[row]) })));
    });
    const grid = el("div", { class: "tiles", role: "group", "aria-label": `filters of ${data.layer}; arrow keys move, Enter chooses` }, tiles);
    set = roving(grid, () => [...grid.children], () => columnsNow);
    set(at);
    return grid;
  }

  const choose = (place) => view.trigger("choose", { filter: data.filters[Math.floor(place / inputs())], input: data.grid ? -1 : data.inputs[place % inputs()] });

  /* ---- layout ---- */

  function layout() {
    const room = Math.min(root.clientWidth, root.clientWidth > 1040 ? 742 : Infinity);
    if (data.grid) layTiles(room);
    else layBlocks(room);
  }

  function layTiles(room) {
    const few = count() <= 8, want = few ? (room > 720 ? 168 : 150) : count() <= 40 ? (room > 720 ? 84 : 70) : count() <= 80 ? 56 : 44;
    const cell = Math.max(1, Math.floor(want / Math.max(high(), wide()))), tile = Math.max(wide() * cell, 36), gap = 10;
    const grid = root.querySelector(".tiles");
    columnsNow = Math.max(1, Math.min(few ? 4 : count() <= 40 ? 8 : 99, Math.floor((room + gap) / (tile + gap))));
    grid.style.gridTemplateColumns = `repeat(${columnsNow}, ${tile}px)`;
    grid.style.columnGap = `${columnsNow === 1 ? gap : Math.min(20, Math.max(gap, Math.floor((room - columnsNow * tile) / (columnsNow - 1))))}px`;
    [...grid.children].forEach((button, row) => {
      stamp(sharp(button.querySelector("canvas"), wide() * cell, high() * cell), row, 0, 0, cell);
      resize(button.querySelector(".pic"), wide() * cell, high() * cell);
      button.querySelector("i").hidden = tile < 56 && !flagOf(row);
    });
    tall(Math.ceil(count() / columnsNow) * (high() * cell + 30));
  }

  /* A legend below the fold explains nothing: over a tall board it comes first, and the histogram stands aside. */
  function tall(height) {
    const is = root.querySelector(".left").classList.toggle("tall", height > 560);
    root.querySelector(is ? ".side" : ".keys").append(spread);
  }

  function plan(room) {
    const sizes = CELLS.map((cell) => {
      const gap = pointwise() ? 0 : cell > 3 ? 2 : 1, x = wide() * cell + gap, y = high() * cell + gap, width = inputs() * x + ROOM_LEFT + ROOM_RIGHT;
      const many = Math.min(count(), Math.floor((room + 24) / (width + 24))), rows = many ? Math.ceil(count() / many) : 0;
      return { cell, x, y, width, many, rows, height: rows * y + HEADS };
    }).filter((size) => size.many > 0);
    return sizes.find((size) => size.height <= FITS) || sizes.find((size) => size.cell <= (pointwise() ? 4 : 5)) || sizes[sizes.length - 1]
      || { cell: 1, x: wide(), y: high(), width: inputs() * wide() + ROOM_LEFT + ROOM_RIGHT, many: 1, rows: count(), height: count() * high() + HEADS };
  }

  function layBlocks(room) {
    const size = plan(room), board = root.querySelector(".blocks");
    const focused = root.getRootNode().activeElement?.classList.contains("face");
    blocks = [];
    for (let first = 0; first < count(); first += size.rows) blocks.push(block(first, Math.min(size.rows, count() - first), size));
    board.replaceChildren(...blocks.map(({ element }) => element));
    tall(size.height);
    mark();
    if (focused) board.querySelector(".face")?.focus({ preventScroll: true });
  }

  function block(first, rows, size) {
    const { cell, x, y } = size, canvas = el("canvas"), context = sharp(canvas, inputs() * x, rows * y), svg = sv("svg");
    for (let row = 0; row < rows; row++) for (let column = 0; column < inputs(); column++) stamp(context, (first + row) * inputs() + column, column * x, row * y, cell);
    const face = el("button", { class: "face", "data-id": `face-${first}`, style: { left: `${ROOM_LEFT}px`, top: `${HEADS}px` },
      "aria-label": `kernels of filters in ${data.layer}; arrow keys move, Enter chooses` }, canvas);
    const frame = el("div", { class: "block" }, heads(size), labels(first, rows, size), face, svg);
    resize(frame, size.width, rows * y + HEADS);
    for (let row = 0; row < rows; row++) if (data.dead[first + row]) frame.append(striped(row, size));
    resize(svg, size.width, rows * y + HEADS);
    listen(face, canvas, first, rows, size);
    return { element: frame, svg, first, rows, size };
  }

  function striped(row, { x, y, cell }) {
    const box = el("span", { class: "dead", style: { left: `${ROOM_LEFT}px`, top: `${HEADS + row * y}px` } });
    resize(box, inputs() * x, high() * cell);
    return box;
  }

  function heads({ x, cell }) {
    const every = x >= 22 ? 1 : Math.max(1, Math.ceil(22 / x / 4) * 4);
    const places = data.inputs.map((input, i) => [input, i]).filter(([, i]) => i % every === 0);
    return el("div", { class: "heads", "aria-hidden": "true" }, places.map(([input, i]) =>
      el("span", { text: input, style: { left: `${ROOM_LEFT + i * x + (wide() * cell) / 2}px`, top: "2px" } })));
  }

  function labels(first, rows, { x, y, cell }) {
    const every = y >= 13 ? 1 : Math.ceil(13 / y / 4) * 4, box = el("div", { class: "rows", "aria-hidden": "true" });
    for (let row = 0; row < rows; row += 1) {
      const top = `${HEADS + row * y + (high() * cell) / 2 - 6.5}px`, flag = flagOf(first + row);
      if (row % every === 0) box.append(el("b", { text: data.filters[first + row], style: { left: "0", width: `${ROOM_LEFT - 8}px`, top } }));
      if (row % every === 0 || (flag && y >= 13)) box.append(el("span", { text: flag || small(data.strengths[first + row]), style: { left: `${ROOM_LEFT + inputs() * x + 6}px`, top } }));
    }
    return box;
  }

  function listen(face, canvas, first, rows, { x, y }) {
    const placeOf = (event) => {
      const box = canvas.getBoundingClientRect();
      const column = Math.floor((event.clientX - box.left) / x), row = Math.floor((event.clientY - box.top) / y);
      return column >= 0 && column < inputs() && row >= 0 && row < rows ? (first + row) * inputs() + column : null;
    };
    face.addEventListener("pointermove", (event) => point(placeOf(event)));
    face.addEventListener("pointerleave", () => point(null));
    face.addEventListener("focus", () => face.matches(":focus-visible") && point(within(at, first, rows) ? at : first * inputs()));
    face.addEventListener("blur", () => point(null));
    face.addEventListener("click", (event) => {
      const place = event.detail ? placeOf(event) : hovered;
      if (place !== null && place !== undefined) choose(place);
    });
    face.addEventListener("keydown", (event) => {
      const move = ARROWS[event.key];
      if (!move || event.shiftKey || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      const from = hovered ?? at, row = Math.floor(from / inputs()) + move[0], column = (from % inputs()) + move[1];
      if (row < first || row >= first + rows || column < 0 || column >= inputs()) return;
      point(row * inputs() + column);
    });
  }

  const within = (place, first, rows) => place >= first * inputs() && place < (first + rows) * inputs();

  function point(place) {
    hovered = place;
    mark();
    const face = root.querySelector(".face");
    if (place !== null && face) face.title = nameOf(Math.floor(place / inputs()), place % inputs());
  }

  function mark() {
    for (const { svg, first, rows, size } of blocks) {
      const box = (place, kind) => sv("rect", { class: kind, x: ROOM_LEFT + (place % inputs()) * size.x - 1.5, y: HEADS + (Math.floor(place / inputs()) - first) * size.y - 1.5,
        width: wide() * size.cell + 3, height: high() * size.cell + 3 });
      svg.replaceChildren(...[[hovered, "hover"], [at, "pin"]].filter(([place]) => place !== null && place !== undefined && within(place, first, rows)).map(([place, kind]) => box(place, kind)));
    }
  }

  /* ---- the chosen kernel ---- */

  function readout() {
    const { title, parts, facts: rows, actions } = data.readout;
    return [
      el("h3", { "aria-live": "polite", text: title }),
      parts.length ? el("div", { class: "parts" }, parts.map(([name, input]) => el("button", { text: name, class: input === data.readout.input ? "on" : "", "data-id": `part-${input}`,
        "aria-pressed": String(input === data.readout.input), on: { click: () => view.trigger("choose", { filter: data.readout.filter, input }) } }))) : null,
      el("div", { class: "pair" }, el("figure", {}, numberMatrix()), el("figure", {}, spectrum())),
      el("p", { class: "note" }, rich(data.readout.wave)),
      facts(rows),
      buttons(actions, (name) => view.trigger("action", name)),
    ].filter(Boolean);
  }

  /* Of black and white, one always reads with 4.5 : 1 on a colour; above 0.179 it is black. */
  function luminance(...rgb_) {
    const [r, g, b] = rgb_.map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }

  function numberMatrix() {
    const { numbers: values, height, width, limit } = data.readout, most = Math.max(height, width);
    const side = most <= 7 ? Math.round((most <= 3 ? 46 : most <= 5 ? 38 : 36) * rootScale()) : Math.max(4, Math.floor(260 / most));
    const exact = Float32Array.from(values, (value) => (value === null ? NaN : value)), level = levels(exact, -limit, limit);
    const colours = table("diverging", view.mode);
    const cellOf = (value, i) => {
      const colour = colours[level[i]], [r, g, b] = [colour & 255, (colour >> 8) & 255, (colour >> 16) & 255];
      const light = luminance(r, g, b) > 0.179, text = value === null ? "NaN" : Math.abs(value) >= 9.995 ? short(value, 2) : fixed(value, 2);
      return el("span", { title: value === null ? "not a number" : short(value, 5), style: { background: `rgb(${r} ${g} ${b})`, color: `var(${light ? "--dark-text" : "--mark"})`, height: `${most <= 7 ? side - 8 : side}px` }, text: most <= 7 ? text : "" });
    };
    return el("div", { class: "nums", role: "img", "aria-label": `weights of ${data.readout.title}: ${values.slice(0, 49).map((v) => (v === null ? "NaN" : fixed(v, 2))).join(", ")}`,
      style: { "grid-template-columns": `repeat(${width}, ${side}px)`, "--dark-text": "black" } }, values.map(cellOf));
  }

  function spectrum() {
    const { side, height, width } = data.readout, cell = Math.max(height, width) > 3 ? 3 : 4;
    return paint(el("canvas", { class: "spectrum", role: "img", "aria-label": `spectrum: ${data.readout.wave.replace(/\*\*/g, "")}` }), data.arrays.spectrum,
      { width: side, height: side, cell, colours: table("cividis", view.mode) });
  }

  return async (next) => {
    const before = data;
    data = next;
    try { await prepare(); } catch (problem) { data = before; throw problem; }
    if (data !== next) return;
    hovered = null;
    keepFocus(root, build);
    built = true;
    layout();
  };
});
