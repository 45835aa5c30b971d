/* The grid of maps and its readout. Everything but choosing happens here: hovering reads a value and draws what the
   cell sees; arrows walk over the maps, Shift + arrows over the cells of the chosen one. */

export default component((view) => {
  const { root } = view;
  let data, indices, tiles = [], pinned, shown, readout, columnsNow = 8, set, url;
  const watcher = new ResizeObserver(() => data && layout());
  watcher.observe(root);

  const height = () => data.arrays.size[0], width = () => data.arrays.size[1];
  const limits = (tile) => data.limits[data.shared ? 0 : tile];

  /* Exact where numbers came; else the middle of the colour's step. */
  function valueAt({ tile, row, column }, name = "values") {
    const at = (tile * height() + row) * width() + column, exact = data.arrays[name];
    if (exact) return { value: exact[at], about: false };
    const known = data.chosen && samePlace(cellOf({ tile, row, column }), data.chosen);
    if (known) return { value: (name === "values" ? data.chosen.value : data.chosen.other) ?? NaN, about: false };
    if (name !== "values") return null;
    const [low, high] = limits(tile), level = indices[at];
    return { value: level === NAN ? NaN : low + ((high - low) * level) / (LEVELS - 1), about: true };
  }

  const cellOf = ({ tile, row, column }) => data.units
    ? { channel: row * width() + column, row: 0, column: 0 }
    : { channel: data.channels[tile], row: row * data.by, column: column * data.by };

  const samePlace = (a, b) => a.channel === b.channel
    && Math.floor(a.row / data.by) === Math.floor(b.row / data.by) && Math.floor(a.column / data.by) === Math.floor(b.column / data.by);

  function placeOf(cell) {
    if (data.units) return { tile: 0, row: Math.floor(cell.channel / width()), column: cell.channel % width() };
    return { tile: data.channels.indexOf(cell.channel), row: Math.floor(cell.row / data.by), column: Math.floor(cell.column / data.by) };
  }

  function topOf(tile) {
    const size = height() * width(), source = data.arrays.values || indices;
    let best = 0;
    for (let i = 1; i < size; i++) if (source[tile * size + i] > source[tile * size + best] && !(source === indices && source[tile * size + i] === NAN)) best = i;
    return { tile, row: Math.floor(best / width()), column: best % width() };
  }

  /* ---- drawing ---- */

  async function prepare() {
    if (data.units) {                                           // a row of units becomes a block
      const { count, across } = data, down = Math.ceil(count / across);
      const [low, high] = data.limits[0];
      indices = new Uint8Array(across * down).fill(EMPTY);
      indices.set(levels(data.arrays.values, low, high));
      data.arrays.size = [down, across];
    } else if (data.arrays.index) {
      indices = await inflate(data.arrays.index, width());
    } else {
      const size = height() * width();
      indices = new Uint8Array(data.arrays.values.length);
      data.channels.forEach((_, tile) => indices.set(levels(data.arrays.values.subarray(tile * size, (tile + 1) * size), ...limits(tile)), tile * size));
    }
  }

  const small = (value) => (Math.abs(value) >= 0.95 || value === 0 ? fixed(value, Math.abs(value) >= 1000 ? 0 : 1) : short(value, 2));

  function tileOf(tile) {
    const channel = data.channels[tile], dead = data.dead.includes(tile), top = data.tops[tile];
    const size = height() * width();
    const canvas = paint(el("canvas", { "aria-hidden": "true" }), indices.subarray(tile * size, (tile + 1) * size),
      { width: width(), height: height(), cell: 1, colours: table(data.palette, view.mode) });
    const hit = sv("svg", { class: "hit" });
    const name = data.units ? `${data.count} units` : `channel ${channel}`;
    const word = dead ? "dead" : data.under ? small(data.under[tile]) : top === null ? "no number" : small(top);
    const names = data.units ? el("span", { class: "names", "aria-hidden": "true" }) : null;
    const button = el("button", { class: `map${dead ? " dead" : ""}`, "data-id": `map-${channel}`, "aria-label": `${name}, ${data.under ? "" : "highest value "}${word}` },
      names, el("span", { class: "pic" }, canvas, hit),
      el("span", { class: "mt" }, el("b", { text: data.units ? name : channel }), el("i", { text: data.units ? `highest ${word}` : word })));
    const at = (event) => ({ tile, ...inside(event, canvas) });
    canvas.addEventListener("pointermove", (event) => show(at(event)));
    canvas.addEventListener("pointerleave", () => show(pinned));
    button.addEventListener("focus", () => button.matches(":focus-visible") && show(tile === pinned?.tile ? pinned : topOf(tile)));
    button.addEventListener("click", (event) => pin(event.detail && event.target === canvas ? at(event) : tile === pinned?.tile ? pinned : topOf(tile), true));
    return { button, canvas, hit, channel };
  }

  function inside(event, canvas) {
    const box = canvas.getBoundingClientRect();
    const row = Math.floor(((event.clientY - box.top) / box.height) * height()), column = Math.floor(((event.clientX - box.left) / box.width) * width());
    return { row: clamp(row, height()), column: clamp(column, width()) };
  }

  const clamp = (value, size) => Math.max(0, Math.min(size - 1, value));

  function build() {
    tiles = (data.units ? [0] : data.channels).map((_, tile) => tileOf(tile));
    if (url) URL.revokeObjectURL(url);
    url = pngUrl(data.arrays.png);
    const grid = el("div", { class: "grid", role: "group", "aria-label": `maps of ${data.layer}; arrow keys move, Enter chooses, Shift and arrows move the cell` },
      tiles.map((tile) => tile.button));
    const [low, high] = data.shared || data.units ? data.limits[0] : [0, 1];
    const key = data.shared || data.units
      ? legend({ words: data.legend, palette: data.palette, low, high, width: 230 * view.scale, note: data.note, nan: data.nan })
      : ownLimits();
    const side = el("div", { class: "readout" });
    root.replaceChildren(el("div", { class: "fm" },
      el("div", { class: "left" }, tiles.length ? grid : el("p", { class: "cap nothing", text: "No map is left to show: every channel is 0 on this picture." }),
        el("div", { class: "below" }, key, el("p", { class: "cap" }, rich(data.caption)))), side));
    set = roving(grid, () => tiles.map((tile) => tile.button), () => columnsNow);
    grid.addEventListener("keydown", moveCell);
    readout = buildReadout(side);
  }

  /* A scale per map has no common limits: the bar says where each map's own lie. */
  function ownLimits() {
    const box = legend({ words: data.legend, palette: data.palette, low: data.palette === "diverging" ? -1 : 0, high: 1, width: 230 * view.scale, note: data.note, nan: data.nan });
    const ends = data.palette === "diverging" ? ["\u2212 largest", "0", "largest"] : ["0", "highest of each map"];
    box.querySelector(".ticks").replaceChildren(...ends.map((text) => el("span", { text })));
    return box;
  }

  function buildReadout(side) {
    const { picture } = data, cell = Math.max(1, Math.floor((196 * view.scale) / Math.max(picture.width, picture.height)));
    const image = el("img", { src: url, alt: "the picture, with the receptive field of the cell in brackets" });
    const frame = ruled(image, { width: picture.width, height: picture.height, cell, by: picture.by });
    const parts = { title: el("h3", { "aria-live": "polite" }), table: el("div"), marks: frame.marks, cell };
    side.append(parts.title, frame.element, parts.table,
      data.actions.length && data.chosen ? buttons(data.actions, (name) => view.trigger("action", { name, ...pinnedCell() })) : "",
      data.histogram ? el("div", { class: "spread" }, el("h3", { text: "All values of this layer" }), histogram(data.histogram)) : "");
    return parts;
  }

  /* ---- layout: whole pixels, eight to a row where they fit ---- */

  function layout() {
    const { scale } = view, space = root.clientWidth;
    const room = Math.min(space, space > 1040 * scale ? 742 * scale : Infinity), side = Math.max(width(), height());
    const want = Math.round(scale * (space > 760 * scale ? 84 : 70));
    let cell = Math.max(1, Math.floor(want / side));
    if (cell * side < want * 0.74 && (cell + 1) * side <= 112 * scale) cell += 1;
    else if (8 * (cell + 1) * side + 56 * scale <= room) cell += 1;
    if (data.units) cell = Math.max(3, Math.floor(Math.min(46 * scale, room / width())));
    const tile = width() * cell, gap = (n) => (n > 1 ? Math.floor((room - n * tile) / (n - 1)) : 0);
    columnsNow = data.units ? 1 : Math.min(8, Math.max(1, Math.floor((room + 4) / (tile + 4))));
    tiles.forEach(({ canvas, hit, button }) => {
      for (const element of [canvas, hit, button.querySelector(".pic")]) resize(element, tile, height() * cell);
      button.style.width = `${tile}px`;
    });
    const grid = root.querySelector(".grid");
    if (!grid) return;
    grid.style.gridTemplateColumns = `repeat(${columnsNow}, ${tile}px)`;
    grid.style.columnGap = `${Math.min(gap(columnsNow), columnsNow === 8 ? 20 : 10)}px`;
    if (data.units) nameUnits(tiles[0].button.querySelector(".names"), cell);
    cellNow = cell;
    const rows = Math.ceil(tiles.length / columnsNow);             // a legend below the fold explains nothing
    grid.parentElement.classList.toggle("tall", rows * (height() * cell + 28) > 560 * scale);
    mark();
  }
  let cellNow = 1;

  /* The numbers of the first row's units: each where there is room, else every eighth. */
  function nameUnits(names, cell) {
    const every = cell >= 30 ? 1 : 8;
    names.replaceChildren(...Array.from({ length: Math.ceil(width() / every) }, (_, i) =>
      el("span", { text: i * every, style: { left: `${(i * every + 0.5) * cell}px` } })));
  }

  /* ---- one cell ---- */

  const pinnedCell = () => {
    const cell = cellOf(pinned);
    return data.chosen && samePlace(cell, data.chosen) ? { channel: data.chosen.channel, row: data.chosen.row, column: data.chosen.column } : cell;
  };

  function pin(place, byPerson) {
    if (data.units && place.row * width() + place.column >= data.count) return;
    pinned = place;
    tiles.forEach(({ button }, tile) => {
      button.classList.toggle("on", tile === place.tile);
      button.setAttribute("aria-pressed", tile === place.tile);
    });
    set(place.tile);
    show(place);
    if (byPerson) view.trigger("choose", cellOf(place));
  }

  function show(place) {
    if (!place || (data.units && place.row * width() + place.column >= data.count)) return;
    shown = place;
    mark();
    tell(place);
  }

  function mark() {
    tiles.forEach(({ hit }, tile) => hit.replaceChildren(...[pinned, shown].filter((p, i, all) => p && p.tile === tile && (i === 0 || !same(p, all[0])))
      .flatMap((p) => square(...corner(p)))));
  }
  const same = (a, b) => a && b && a.tile === b.tile && a.row === b.row && a.column === b.column;
  const corner = ({ row, column }) => {
    const side = Math.max(cellNow, 4), shift = (side - cellNow) / 2;
    return [column * cellNow - shift, row * cellNow - shift, side];
  };

  function tell(place) {
    const cell = cellOf(place), known = data.chosen && samePlace(cell, data.chosen), by = data.by;
    const at = known ? data.chosen : cell, many = by > 1 && !known;
    const wordsFor = (start, size) => span(start, Math.min(start + (many ? by : 1), size));
    readout.title.textContent = data.units ? `Unit ${at.channel}`
      : `Channel ${at.channel}, cell (${wordsFor(at.row, data.arrays.rows.length / 2)}, ${wordsFor(at.column, data.arrays.columns.length / 2)})`;
    const value = valueAt(place), other = data.otherWords ? valueAt(place, "other") : null, box = boxOf(at, many ? by : 1);
    const say = (reading_) => (reading_.about ? `about ${short(reading_.value, 2)}` : reading(reading_.value));
    const rows = [[many ? `strongest ${data.words}` : data.words, say(value)]];
    if (other) rows.push([data.otherWords, say(other)]);
    if (box.height && box.width) {
      rows.push(["receptive field", `${box.height} ${TIMES} ${box.width} pixels`], ["rows, columns", `${span(box.top, box.top + box.height)}, ${span(box.left, box.left + box.width)}`]);
    } else rows.push(["receptive field", "padding only"]);
    if (!data.units) rows.push(["cells above 0 in this map", `${data.above[place.tile].toLocaleString("en")} of ${((data.arrays.rows.length * data.arrays.columns.length) / 4).toLocaleString("en")}`]);
    else rows.push(["units above 0", `${data.above.filter(Boolean).length} of ${data.count}`]);
    readout.table.replaceChildren(facts(rows));
    const { by: pixelsPerCell } = data.picture, scale = readout.cell / pixelsPerCell;
    readout.marks.replaceChildren(...(box.height && box.width ? brackets(box.left * scale, box.top * scale, box.width * scale, box.height * scale) : []));
  }

  function boxOf({ row, column }, by) {
    const { rows, columns } = data.arrays, lastRow = Math.min(row + by, rows.length / 2) - 1, lastColumn = Math.min(column + by, columns.length / 2) - 1;
    const [r, c] = data.units ? [0, 0] : [row, column], [r2, c2] = data.units ? [0, 0] : [lastRow, lastColumn];
    const top = rows[2 * r], left = columns[2 * c];
    return { top, left, height: rows[2 * r2 + 1] - top, width: columns[2 * c2 + 1] - left };
  }

  function moveCell(event) {
    const move = ARROWS[event.key];
    if (!move || !event.shiftKey || !pinned) return;
    event.preventDefault();
    pin({ tile: pinned.tile, row: clamp(pinned.row + move[0], height()), column: clamp(pinned.column + move[1], width()) }, true);
  }

  return async (next) => {
    const before = data;
    data = next;
    try { await prepare(); } catch (problem) { data = before; throw problem; }
    if (data !== next) return;                                  // a newer picture came while this one was unpacked
    keepFocus(root, build);
    pinned = null;
    if (data.chosen) pin(placeOf(data.chosen), false);
    layout();
  };
});
