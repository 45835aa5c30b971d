/* The worked example. Structure (sizes, window) rebuilds the tables; numbers and steps only change their text and marks,
   so that a cell that is being typed in, or pressed, stays where it is. */

const POOLS = { max: "max", average: "average", global: "global average" };
const REST = 600, BEAT = 750;   // ms: before the state is reported, between two steps of the play

/* The lesson: one sentence and the state it speaks of. `first` is the first example. */
const LESSON = [
  ["A picture is a table of numbers, and so is a kernel. Every number here can be changed.", (first) => ({ ...first, at: 0 })],
  ["The kernel is laid over the first corner: **four products, one sum**, and the sum is written down.", (first) => ({ ...first, at: 0 })],
  ["The window moves on by one column, and **the same four weights** are used again.", (first) => ({ ...first, at: 1 })],
  ["At the end of the row it begins anew, one row further down.", (first) => ({ ...first, at: 3 })],
  ["The last stop. A window of 2 fits **three times** along 4 cells, so the map is 3 × 3.", (first) => ({ ...first, at: 8 })],
  ["A kernel with a negative weight takes differences: it answers where the picture changes.", (first) => ({ ...first, kernel: [[1, -1], [0, 0]], at: 4 })],
  ["**ReLU** makes every negative cell 0; the others stay as they are.", (first) => ({ ...first, kernel: [[1, -1], [0, 0]], at: 8 })],
  ["**Max pooling** keeps the largest of each block of 2 × 2. The hatched rest is dropped, and no error tells.", (first) => ({ ...first, at: 4 })],
  ["With **padding** the window also stops at the border: the map is 5 × 5, larger than the picture.", (first) => ({ ...first, padding: 1, at: 0 })],
  ["With **stride** 2 the window skips every other cell: the map is half as large.", (first) => ({ ...first, stride: 2, at: 1 })],
  ["A picture of 12 × 12 under a kernel of 3 × 3 gives 10 × 10: **12 − 3 + 1**.", (first) => ({ ...first, image: Array.from({ length: 12 }, (_, r) => Array.from({ length: 12 }, (_, c) => more(r, c))), kernel: [[1, 0, -1], [2, 0, -2], [1, 0, -1]], at: 37 })],
];
const more = (r, c) => (r * 7 + c * 5 + r * c) % 4;

/* ---- the state as one text, as in by_hand.py ---- */

const encode = ({ image, kernel, stride, padding, dilation, bias, pool, at }) =>
  [image, kernel].map((rows) => rows.map((row) => row.join("_")).join("~")).join("~~") + "~~" + [stride, padding, dilation, bias, pool, at].join("_");

function decode(text) {
  const [image, kernel, moves] = text.split("~~");
  const rows = (part) => part.split("~").map((row) => row.split("_").map(Number));
  const [stride, padding, dilation, bias, pool, at] = moves.split("_");
  return { image: rows(image), kernel: rows(kernel), stride: +stride, padding: +padding, dilation: +dilation, bias: +bias, pool, at: +at };
}

/* ---- the arithmetic, as in cnnviz/convolution.py ---- */

function stopsAlong(length, size, { stride, padding, dilation }) {
  const reach = dilation * (size - 1) + 1, room = length + 2 * padding - reach;
  return room < 0 ? 0 : Math.floor(room / stride) + 1;
}

function taps(state, row, column) {
  const { image, kernel, stride, padding, dilation } = state, list = [];
  kernel.forEach((weights, i) => weights.forEach((weight, j) => {
    const y = row * stride - padding + i * dilation, x = column * stride - padding + j * dilation;
    list.push({ y, x, weight, i, j, value: image[y]?.[x] ?? 0 });
  }));
  return list;
}

const tidy = (value) => Math.round(value * 1e8) / 1e8;
const number = (value) => fixed(tidy(value), 2).replace(/\.?0+$/, (end) => (end.includes(".") ? "" : end));
const factor = (value) => (value < 0 ? `(${number(value)})` : number(value));

function work(state) {
  const height = stopsAlong(state.image.length, state.kernel.length, state), width = stopsAlong(state.image[0].length, state.kernel[0].length, state);
  const map = Array.from({ length: height && width ? height : 0 }, (_, r) => Array.from({ length: width }, (_, c) =>
    tidy(taps(state, r, c).reduce((sum, tap) => sum + tap.value * tap.weight, state.bias))));
  const relu = map.map((row) => row.map((value) => Math.max(0, value)));
  return { map, relu, pooled: map.length ? pooled(relu, state.pool) : [], height, width };
}

function pooled(map, pool) {
  const all = map.flat(), mean = (list) => tidy(list.reduce((a, b) => a + b, 0) / list.length);
  if (pool === "global") return [[mean(all)]];
  const rows = Math.floor(map.length / 2), columns = Math.floor(map[0].length / 2);
  return Array.from({ length: columns ? rows : 0 }, (_, r) => Array.from({ length: columns }, (_, c) => {
    const four = [map[2 * r][2 * c], map[2 * r][2 * c + 1], map[2 * r + 1][2 * c], map[2 * r + 1][2 * c + 1]];
    return pool === "max" ? Math.max(...four) : mean(four);
  }));
}

export default component((view) => {
  let data, state, done, cells, told = null, timer = null, beat = null, width = 0, guessing = false, revealed = -1, answer = "", lesson = 0;
  const area = el("div"), bar = el("div", { class: "stepbar" }), settings = el("div", { class: "settings", role: "group", "aria-label": "settings" }), words = el("div", { class: "lesson" });
  new ResizeObserver(() => { if (state && Math.abs(view.root.clientWidth - width) > 1) build(); }).observe(view.root);
  window.addEventListener("cnnviz:step", (event) => { if (view.root.isConnected) { event.preventDefault(); pause(); if (lesson) teach(lesson + event.detail); else step(event.detail); } });
  view.root.replaceChildren(words, area, bar, settings);

  const stops = () => done.height * done.width;
  const clampAt = () => { state.at = Math.max(0, Math.min(stops() - 1, state.at)); };
  const place = () => [Math.floor(state.at / done.width), state.at % done.width];
  const pool = () => (state.pool === "global" ? [0, 0] : [Math.min(done.pooled.length - 1, Math.floor(place()[0] / 2)), Math.min(done.pooled[0].length - 1, Math.floor(place()[1] / 2))]);
  const hidden = () => guessing && revealed !== state.at;

  /* ---- telling the page, when the hand rests ---- */

  function tell() {
    clearTimeout(timer);
    if (beat) return;
    timer = setTimeout(() => { const text = encode(state), now = text + lesson; if (now !== told) { told = now; view.trigger("change", { text, lesson }); } }, REST);
  }

  /* ---- changes ---- */

  function go(at, byPerson = true) {
    if (byPerson) pause();
    state.at = at;
    answer = "";
    clampAt();
    mark();
    tell();
  }
  const step = (by) => stops() && go((state.at + by + stops()) % stops(), false);

  function play() {
    if (beat) return pause();
    if (state.at === stops() - 1) go(0);
    beat = setInterval(() => { if (state.at >= stops() - 1 || !view.root.isConnected) pause(); else step(1); }, BEAT);
    mark();
  }

  function pause() {
    if (!beat) return;
    clearInterval(beat);
    beat = null;
    mark();
    tell();
  }

  function set(changes) {
    pause();
    Object.assign(state, changes);
    answer = "";
    build();
    tell();
  }

  const resized = (rows, size, fillWith) => Array.from({ length: size }, (_, r) => Array.from({ length: size }, (_, c) => rows[r]?.[c] ?? fillWith(r, c)));

  /* ---- the lesson: 0 is none ---- */

  function teach(number_) {
    lesson = Math.max(0, Math.min(LESSON.length, number_));
    sayLesson();
    if (lesson) set(LESSON[lesson - 1][1](decode(data.first)));
    else tell();
  }

  function sayLesson() {
    const button = (text, label, id, to) => el("button", { class: "sq", "aria-label": label, "data-id": id, text, disabled: to < 1 || to > LESSON.length, on: { click: () => keepFocus(view.root, () => teach(to)) } });
    words.hidden = !lesson;
    if (inputs) inputs.lesson.checked = lesson > 0;
    words.replaceChildren(...(lesson ? [button("\u2190", "previous step of the lesson", "lesson-back", lesson - 1), button("\u2192", "next step of the lesson", "lesson-next", lesson + 1),
      el("p", { "aria-live": "polite" }, el("b", { text: `${lesson} of ${LESSON.length}` }), ...rich(LESSON[lesson - 1][0]))] : []));
  }

  /* ---- building ---- */

  /* The largest cell with which everything stands on one line. */
  function cellSize() {
    const narrow = view.root.clientWidth <= 760 * view.scale, op = (narrow ? 42 : 66) * view.scale, most = (narrow ? 34 : 42) * view.scale;
    const columns = state.image[0].length + 2 * state.padding + Math.max(state.kernel[0].length, 2.5) + 2 * Math.max(done.width, 2.5) + Math.max(done.pooled[0]?.length ?? 0, 2.6);
    const cell = Math.floor((view.root.clientWidth - 4 * op - 12) / columns) - 1;
    return cell < 26 * view.scale ? [Math.round(28 * view.scale), true] : [Math.min(Math.round(most), cell), false];
  }

  function matrix(title, size, columns, children, label, ...under) {
    return el("div", {}, el("h3", {}, title, el("span", { text: size })),
      el("div", { class: "mat", role: "group", "aria-label": label, style: { "--n": columns } }, children), under);
  }

  const op = (text) => el("div", { class: "op" }, el("span", { text }));
  const by = (rows) => `${rows.length} ${TIMES} ${rows[0]?.length ?? 0}`;
  const hint = (text) => el("p", { class: "hint", text });

  function field(name, r, c) {
    const input = el("input", { type: "text", inputmode: "decimal", autocomplete: "off", value: number(state[name][r][c]), "aria-label": `${name}, row ${r}, column ${c}`, "data-id": `${name}-${r}-${c}` });
    input.addEventListener("focus", () => input.select());
    input.addEventListener("input", () => {
      const value = Number(input.value.replace(MINUS, "-").replace(",", "."));
      if (!Number.isFinite(value)) return;
      state[name][r][c] = Math.round(100 * Math.max(-99, Math.min(99, value))) / 100;
      pause();
      done = work(state);
      mark();
      tell();
    });
    input.addEventListener("change", () => { input.value = number(state[name][r][c]); });
    input.addEventListener("keydown", (event) => {
      const move = ARROWS[event.key];
      if (!move || event.shiftKey || event.altKey || event.ctrlKey || event.metaKey) return;
      const next = cells[name][r + move[0]]?.[c + move[1]];
      if (next) { event.preventDefault(); next.focus(); }
    });
    return input;
  }

  /* Buttons for a computed table: one stop of the Tab key, arrows step through it. */
  function results(name, press) {
    const rows = done[name];
    return rows.map((row, r) => row.map((_, c) => el("button", { "data-id": `${name}-${r}-${c}`, tabindex: -1, on: { click: () => press(r, c) } })));
  }

  function withArrows(block, name, columns, press) {
    roving(block.querySelector(".mat"), () => cells[name].flat(), () => columns, (index) => press(Math.floor(index / columns), index % columns));
    return block;
  }

  const toMap = (r, c) => go(r * done.width + c);
  const toPool = (r, c) => state.pool !== "global" && go(2 * r * done.width + 2 * c);

  function build() {
    done = work(state);
    clampAt();
    width = view.root.clientWidth;
    keepFocus(view.root, draw);
    controls();
    mark();
  }

  function draw() {
    const [cell, wraps] = cellSize(), { image, kernel, padding } = state;
    cells = { image: image.map((row, r) => row.map((_, c) => field("image", r, c))), kernel: kernel.map((row, r) => row.map((_, c) => field("kernel", r, c))),
      map: results("map", toMap), relu: results("relu", toMap), pooled: results("pooled", toPool), pads: [] };
    const padded = Array.from({ length: image.length + 2 * padding }, (_, r) => Array.from({ length: image[0].length + 2 * padding }, (_, c) => {
      const inside = cells.image[r - padding]?.[c - padding];
      if (inside) return inside;
      const pad = el("span", { class: "pad", text: "0", "aria-hidden": "true" });
      cells.pads.push({ pad, y: r - padding, x: c - padding });
      return pad;
    }));
    view.root.classList.toggle("tall", wraps);
    const first = [matrix("Image", by(image) + (padding ? `, padding ${padding}` : ""), padded[0].length, padded.flat(), "image"), op("slides\nover"),
      matrix("Kernel", by(kernel), kernel[0].length, cells.kernel.flat(), "kernel", stops() ? hint(`${count(kernel.flat().length)} ${kernel.flat().length === 1 ? "weight" : "weights"}, used ${times(stops())}.`) : null)];
    area.replaceChildren(el("div", { class: `hand${wraps ? " wraps" : ""}`, style: { "--c": `${cell}px`, "--f": `${cell >= 38 ? 1.25 : cell >= 32 ? 1 : 0.8125}rem` } },
      first, stops() ? rest() : el("p", { class: "misfit warn", text: misfit() })));
  }

  const WORDS = ["", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine"];
  const count = (n) => WORDS[n] || String(n);
  const times = (n) => (n === 1 ? "once" : n === 2 ? "twice" : `${(WORDS[n] || String(n)).toLowerCase()} times`);

  function misfit() {
    const { image, kernel, padding, dilation } = state, reach = dilation * (kernel.length - 1) + 1, wide = image.length + 2 * padding;
    return `Caveat: a window that spans ${reach} does not fit into ${image.length} + 2 · ${padding} = ${wide} cells. A smaller kernel, a smaller dilation or ${Math.ceil((reach - image.length) / 2)} cells of padding would do.`;
  }

  function formula() {
    const { image, kernel, stride, padding, dilation } = state;
    const size = dilation > 1 ? `${dilation}·(${kernel.length} ${MINUS} 1) ${MINUS} 1` : kernel.length;
    return `⌊(${image.length}${padding ? ` + 2·${padding}` : ""} ${MINUS} ${size}) / ${stride}⌋ + 1 = ${done.height}`;
  }

  function rest() {
    const { map, relu, pooled: small } = done, negative = map.flat().filter((value) => value < 0).length;
    const before = withArrows(matrix("Map", by(map), done.width, cells.map.flat(), "map; arrow keys step", hint(formula())), "map", done.width, toMap);
    const after = withArrows(matrix("After ReLU", by(relu), done.width, cells.relu.flat(), "map after ReLU", el("p", { class: "hint", "data-hint": "relu" })), "relu", done.width, toMap);
    const parts = [op("gives"), before, op("ReLU"), after, op(state.pool === "global" ? "mean of\nall" : `2 ${TIMES} 2\n${state.pool}`)];
    if (!small.length) return [...parts, el("p", { class: "hint", style: { "margin-top": "27px" }, text: "No window of 2 fits." })];
    return [...parts, withArrows(matrix("Pooled", by(small), small[0].length, cells.pooled.flat(), "pooled map",
      hint(ignored())), "pooled", small[0].length, toPool)];
  }

  function ignored() {
    const { height, width: wide } = done;
    if (state.pool === "global") return `Every cell counts: ${height * wide} of ${height * wide}.`;
    const odd = [height, wide].find((side) => side % 2);
    return odd ? `Hatched cells are ignored: ⌊${odd} / 2⌋ = ${Math.floor(odd / 2)}.` : "Every cell is used once.";
  }

  /* ---- marks and numbers ---- */

  function mark() {
    cells.image.flat().concat(cells.kernel.flat(), cells.pads.map(({ pad }) => pad)).forEach((cell) => cell.classList.remove("hi", "drop"));
    if (stops()) { markWindow(); markMaps(); }
    bars();
  }

  function markWindow() {
    const [row, column] = place(), under = new Set(taps(state, row, column).map(({ y, x }) => `${y},${x}`));
    const used = (at, size, count_) => at <= (count_ - 1) * state.stride - state.padding + state.dilation * (size - 1);
    const paintCell = (cell, y, x) => {
      cell.classList.toggle("hi", under.has(`${y},${x}`));
      cell.classList.toggle("drop", !used(y, state.kernel.length, done.height) || !used(x, state.kernel[0].length, done.width));
    };
    cells.image.forEach((line, y) => line.forEach((cell, x) => paintCell(cell, y, x)));
    cells.pads.forEach(({ pad, y, x }) => paintCell(pad, y, x));
  }

  function markMaps() {
    const small = done.pooled.length > 0, [pr, pc] = small ? pool() : [-1, -1], all = state.pool === "global";
    const last = { r: 2 * done.pooled.length, c: 2 * (done.pooled[0]?.length ?? 0) };
    const write = (cell, value, unknown, words) => {
      cell.textContent = unknown ? "?" : number(value);
      cell.setAttribute("aria-label", `${words}: ${unknown ? "to be worked out" : number(value)}`);
    };
    done.map.forEach((line, r) => line.forEach((value, c) => {
      const index = r * done.width + c, button = cells.map[r][c], after = cells.relu[r][c], unknown = guessing && (index > state.at || (index === state.at && hidden()));
      write(button, value, unknown, `map, row ${r}, column ${c}`);
      write(after, done.relu[r][c], unknown, `after ReLU, row ${r}, column ${c}`);
      button.className = index === state.at ? "cur" : index > state.at ? "todo" : "";
      button.tabIndex = index === state.at ? 0 : -1;
      after.tabIndex = index === state.at ? 0 : -1;
      after.className = all || (Math.floor(r / 2) === pr && Math.floor(c / 2) === pc && small) ? "hi" : small && (r >= last.r || c >= last.c) ? "drop" : "";
    }));
    const complete = !guessing || (state.at === stops() - 1 && !hidden());
    done.pooled.forEach((line, r) => line.forEach((value, c) => {
      const here = r === pr && c === pc;
      write(cells.pooled[r][c], value, !complete, `pooled, row ${r}, column ${c}`);
      cells.pooled[r][c].className = here ? "cur" : "";
      cells.pooled[r][c].tabIndex = here ? 0 : -1;
    }));
    const negative = done.map.flat().filter((value) => value < 0).length, note = area.querySelector("[data-hint=relu]");
    note.textContent = guessing ? "" : negative === 0 ? "No value was negative." : negative === 1 ? "One negative value became 0." : `${count(negative)} negative values became 0.`;
  }

  /* ---- the bar: where we are, and the sum ---- */

  let parts;
  function bars() {
    if (!parts) buildBar();
    parts.play.textContent = beat ? "Pause" : "Play";
    for (const button of [parts.back, parts.next, parts.play]) button.disabled = !stops();
    if (!stops()) { parts.pos.textContent = ""; parts.sum.replaceChildren(); return; }
    const [row, column] = place(), list = taps(state, row, column), terms = list.map(({ value, weight }) => `${factor(value)} · ${factor(weight)}`);
    if (state.bias) terms.push(factor(state.bias));
    parts.pos.textContent = `Position ${state.at + 1} of ${stops()}, row ${row}, column ${column}`;
    parts.sum.replaceChildren(hidden() ? guess(terms) : el("div", { class: `eq${terms.length > 5 ? " long" : ""}`, "aria-live": beat ? "off" : "polite" },
      terms.join(" + "), " = ", el("b", { text: number(done.map[row][column]) })), hidden() ? "" : running(list));
  }

  function running(list) {
    let sum = 0;
    const sums = list.map(({ value, weight }) => number((sum += value * weight)));
    return el("div", { class: "runs", text: list.length > 16 ? "" : `running sum ${sums.join(", ")}${state.bias ? `; with the bias ${number(sum + state.bias)}` : ""}` });
  }

  /* "Predict the next number": the sum is written out, its result is asked for. */
  function guess(terms) {
    const say = el("span", { "aria-live": "polite" }), [row, column] = place();
    const input = el("input", { type: "text", inputmode: "decimal", autocomplete: "off", "aria-label": "your prediction of this cell", "data-id": "guess", value: answer });
    const check = () => {
      const value = Number(input.value.replace(MINUS, "-").replace(",", "."));
      if (input.value.trim() === "" || !Number.isFinite(value)) return;
      if (Math.abs(value - done.map[row][column]) < 0.005) { revealed = state.at; mark(); area.querySelector(".cur")?.focus(); return; }
      say.className = "wrong";
      say.textContent = `Not ${number(value)}: multiply each shaded cell by the weight at its place, then add.`;
    };
    input.addEventListener("keydown", (event) => event.key === "Enter" && check());
    return el("div", { class: "guess" }, el("span", { class: `eq${terms.length > 5 ? " long" : ""}`, text: `${terms.join(" + ")} =` }), input,
      el("button", { class: "btn ghost", text: "Check", "data-id": "check", on: { click: check } }), say);
  }

  function buildBar() {
    const square = (text, label, id, press, extra = "") => el("button", { class: `sq${extra}`, "aria-label": label, "data-id": id, text, on: { click: press } });
    parts = { back: square("\u2190", "previous position", "back", () => { pause(); step(-1); }), next: square("\u2192", "next position", "next", () => { pause(); step(1); }),
      play: el("button", { class: "sq play", "data-id": "play", on: { click: play } }), pos: el("span", { class: "pos" }), sum: el("div", { class: "sum" }) };
    bar.replaceChildren(parts.back, parts.next, parts.play, parts.pos, parts.sum,
      el("button", { class: "btn ghost", "data-id": "reset", text: "Reset", on: { click: () => { lesson = 0; sayLesson(); set(decode(data.first)); } } }));
    bar.addEventListener("keydown", (event) => {
      const move = ARROWS[event.key];
      if (!move || event.target.tagName === "INPUT") return;
      event.preventDefault();
      pause();
      step(move[0] + move[1]);
    });
  }

  /* ---- settings ---- */

  let inputs;
  function controls() {
    if (!inputs) buildSettings();
    for (const [name, input] of Object.entries(inputs)) if (name !== "lesson" && input.getRootNode().activeElement !== input) input.value = valueOf(name);
  }
  const valueOf = (name) => (name === "image" || name === "kernel" ? state[name].length : state[name]);

  function buildSettings() {
    const whole = (name, label, low, high, change) => {
      const input = el("input", { type: "number", min: low, max: high, step: name === "bias" ? "any" : 1, "data-id": `set-${name}` });
      input.addEventListener("input", () => {
        const value = Number(input.value);
        if (input.value.trim() !== "" && value >= low && value <= high && (name === "bias" || Number.isInteger(value))) change(value);
      });
      input.addEventListener("change", () => { input.value = valueOf(name); });
      inputs[name] = input;
      return el("label", {}, label, input);
    };
    inputs = {};
    const plain = (name) => whole(name, name, ...data.limits[name], (value) => set({ [name]: value }));
    const pooling = el("select", { "data-id": "set-pool", on: { change: () => set({ pool: pooling.value }) } }, Object.entries(POOLS).map(([value, text]) => el("option", { value, text })));
    const predict = el("input", { type: "checkbox", "data-id": "predict", on: { change: () => { guessing = predict.checked; revealed = -1; pause(); mark(); } } });
    const lessons = el("input", { type: "checkbox", "data-id": "lesson", on: { change: () => teach(lessons.checked ? 1 : 0) } });
    settings.replaceChildren(
      whole("image", "image side", 2, data.image, (n) => set({ image: resized(state.image, n, more) })),
      whole("kernel", "kernel side", 1, data.kernel, (n) => set({ kernel: resized(state.kernel, n, (r, c) => (r === c ? 1 : 0)) })),
      plain("stride"), plain("padding"), plain("dilation"), whole("bias", "bias", -99, 99, (n) => set({ bias: Math.round(100 * n) / 100 })),
      el("label", {}, "pooling", pooling), el("label", {}, predict, "predict the next number"),
      el("label", {}, lessons, "lesson"));
    inputs.pool = pooling;
    inputs.lesson = lessons;
    sayLesson();
  }

  return (fresh) => {
    data = fresh;
    const now = fresh.text + fresh.lesson;
    if (state && (now === told || now === encode(state) + lesson)) return build();
    state = decode(fresh.text);
    lesson = fresh.lesson;
    told = now;
    build();
    sayLesson();
  };
});
