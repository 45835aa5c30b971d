/* The ledger of one cell, and the maps it belongs to. Everything that follows the pointer happens here: 64 input
   channels are 64 sums of a few products, and only as many rows as are shown are painted. */

const SIDE = 150, MINI = 27;

const signedText = (value, digits) => (value > 0 && /[1-9]/.test(fixed(value, digits)) ? "+" : "") + fixed(value, digits);

export default component((view) => {
  let data, inputs, kernel, output, sums, pinned, shown, chosen, cells, parts, frame = 0, next = null, url = null;

  /* ---- arithmetic ---- */

  /* The sum of products of every input channel at an output cell, in double precision. */
  function contributions(row, column) {
    const [count, height, width] = data.inputShape, [, high, wide] = data.kernelShape, top = row * data.stride[0] - data.padding[0], left = column * data.stride[1] - data.padding[1];
    for (let c = 0; c < count; c++) {
      let sum = 0;
      for (let i = 0; i < high; i++) {
        const y = top + i * data.dilation[0];
        if (y < 0 || y >= height) continue;
        for (let j = 0; j < wide; j++) {
          const x = left + j * data.dilation[1];
          if (x >= 0 && x < width) sum += inputs[(c * height + y) * width + x] * kernel[(c * high + i) * wide + j];
        }
      }
      sums[c] = sum;
    }
    return sums;
  }

  const total = (list) => list.reduce((a, b) => a + b, data.bias ?? 0);
  const at = (map, row, column) => map[row * data.outputShape[1] + column];

  /* Our whole map against PyTorch's: the largest difference, as a share of the largest value. */
  function worst() {
    const [height, width] = data.outputShape;
    let most = 0, top = 0;
    for (let r = 0; r < height; r++) {
      for (let c = 0; c < width; c++) {
        most = Math.max(most, Math.abs(total(contributions(r, c)) - at(output, r, c)));
        top = Math.max(top, Math.abs(at(output, r, c)));
      }
    }
    return top ? most / top : most;
  }

  const largest = (values) => values.reduce((top, value) => Math.max(top, Math.abs(value)), 0);
  const tolerance = () => (data.halved ? 5e-3 : 1e-5) * Math.max(data.outputTop, 1e-6);

  /* ---- building ---- */

  const palette = () => (data.signed ? "diverging" : "cividis");
  const inputLow = () => (data.signed ? -data.top : 0);

  function fresh() {
    const { arrays } = data;
    inputs = inputsOf(data);
    ({ kernel, output } = arrays);
    sums = new Float64Array(data.inputShape[0]);
    data.outputTop = largest(output);
    data.kernelTop = largest(kernel);
    pinned = shown = { row: data.cell[0], column: data.cell[1] };
    chosen = order(contributions(pinned.row, pinned.column))[0];
    build();
    show(pinned);
    checkAll();
  }

  const order = (list) => [...list.keys()].sort((a, b) => Math.abs(list[b]) - Math.abs(list[a]) || a - b);

  function build() {
    parts = { rows: [] };
    view.root.replaceChildren(el("div", { class: "real" }, el("div", { class: "left" }, picker(), ledger(), (parts.cap = el("p", { class: "cap" }))),
      el("div", { class: "side" }, maps(), legends()), seen()));
  }

  function picker() {
    const input = el("input", { type: "number", min: 0, max: data.channels - 1, value: data.channel, "data-id": "channel", "aria-label": "output channel" });
    const ask = (value) => Number.isInteger(value) && value >= 0 && value < data.channels && value !== data.channel && view.trigger("channel", value);
    input.addEventListener("change", () => { if (ask(Number(input.value)) === false) input.value = data.channel; });
    const arrow = (text, by, label) => el("button", { "data-id": label, "aria-label": label, text, on: { click: () => ask((data.channel + by + data.channels) % data.channels) } });
    return el("div", { class: "picker" }, "output channel", arrow("\u2190", -1, "previous output channel"), input, arrow("\u2192", 1, "next output channel"), `of ${data.channels.toLocaleString("en")}`);
  }

  function ledger() {
    const count = data.kernelShape[1] * data.kernelShape[2], head = (text, name) => el("th", { class: name, scope: "col" }, text.split("\n").flatMap((line, i) => (i ? [el("br"), line] : [line])));
    parts.axis = ["", "", ""].map(() => el("span"));
    const body = el("tbody");
    for (let i = 0; i < Math.min(data.rows, data.inputShape[0]); i++) body.append(row(i));
    parts.rest = plainRow(body);
    parts.bias = plainRow(body);
    parts.where = el("th", { scope: "row", colspan: 3 });
    parts.badge = el("span", { class: "badge" });
    return el("table", { class: "ledger" }, el("caption", { class: "hidden", text: "What each input channel adds to this cell" }),
      el("thead", {}, el("tr", {}, head("input\nchannel"), head("patch"), el("td"), head("kernel"), head(count === 1 ? "product" : `sum of\n${count} products`, "nu total"),
        el("td", { class: "bb", "aria-hidden": "true" }, el("div", { class: "ax" }, parts.axis)), head("so far", "nu ru"))),
      body, el("tfoot", {}, el("tr", {}, parts.where, el("td", { colspan: 4, "aria-live": "polite" }, parts.badge))));
  }

  function row(i) {
    const line = { patch: el("canvas", { class: "mini", "aria-hidden": "true" }), kernel: el("canvas", { class: "mini", "aria-hidden": "true" }),
      name: el("button", { class: "ch", "data-id": `row-${i}`, on: { click: () => choose(line.channel) } }), ...numbers() };
    parts.rows.push(line);
    line.element = el("tr", {}, el("th", { scope: "row" }, line.name), el("td", {}, line.patch), el("td", { class: "o", text: TIMES }), el("td", {}, line.kernel),
      line.sum, el("td", { class: "bb" }, line.bar), line.far);
    return line.element;
  }

  const numbers = () => ({ sum: el("td", { class: "nu total" }), bar: el("i"), far: el("td", { class: "nu ru" }) });

  function plainRow(body) {
    const line = { name: el("th", { scope: "row", colspan: 4 }), ...numbers() };
    line.element = el("tr", { class: "rest" }, line.name, line.sum, el("td", { class: "bb" }, line.bar), line.far);
    body.append(line.element);
    return line;
  }

  const cellFor = (width, height) => { const fit = (SIDE * view.scale) / Math.max(width, height); return fit >= 1 ? Math.floor(fit) : Math.max(fit, Math.min(1, 224 / Math.max(width, height))); };

  function maps() {
    const [, height, width] = data.inputShape, [high, wide] = data.outputShape;
    cells = { input: cellFor(width, height), output: cellFor(wide, high) };
    parts.input = el("canvas", { role: "img" });
    parts.output = el("canvas", { "aria-hidden": "true" });
    parts.pad = el("button", { class: "cells", "data-id": "output-map" }, parts.output);
    const box = ruled(parts.input, { width, height, cell: cells.input }), out = ruled(parts.pad, { width: wide, height: high, cell: cells.output });
    parts.window = box.marks;
    parts.square = out.marks;
    parts.inputTitle = el("h3");
    parts.input.addEventListener("pointermove", (event) => later(under(event, parts.input, height, width, true)));
    parts.output.addEventListener("pointermove", (event) => later(under(event, parts.output, high, wide)));
    for (const canvas of [parts.input, parts.output]) canvas.addEventListener("pointerleave", () => later(pinned));
    parts.input.addEventListener("click", (event) => pin(under(event, parts.input, height, width, true)));
    parts.pad.addEventListener("click", (event) => event.detail && pin(under(event, parts.output, high, wide)));
    parts.pad.addEventListener("keydown", walk);
    paint(parts.output, levels(output, -data.outputTop, data.outputTop), { width: wide, height: high, cell: cells.output, colours: table("diverging", view.mode) });
    paintInput();
    return el("div", { class: "maps" }, el("div", {}, parts.inputTitle, box.element),
      el("div", {}, el("h3", {}, "The map it belongs to", el("span", { text: `channel ${data.channel}` })), out.element));
  }

  function paintInput() {
    const [, height, width] = data.inputShape, size = height * width;
    paint(parts.input, levels(inputs.subarray(chosen * size, (chosen + 1) * size), inputLow(), data.top), { width, height, cell: cells.input, colours: table(palette(), view.mode) });
    parts.input.setAttribute("aria-label", `input channel ${chosen + data.first} with the window in brackets`);
    parts.inputTitle.replaceChildren("Where we are", el("span", { text: `channel ${chosen + data.first} of the input` }));
  }

  function legends() {
    const wide = 116 * view.scale;
    return el("div", { class: "lgs" }, legend({ words: data.input, palette: palette(), low: inputLow(), high: data.top, width: wide }),
      legend({ words: "output value", palette: "diverging", low: -data.outputTop, high: data.outputTop, width: wide + 24 }),
      legend({ words: "kernel weight", palette: "diverging", low: -data.kernelTop, high: data.kernelTop, width: wide }));
  }

  function seen() {
    const { width, height, by } = data.picture, cell = Math.max(1, Math.floor((SIDE * view.scale) / Math.max(width, height)));
    if (url) URL.revokeObjectURL(url);
    url = pngUrl(data.arrays.png);
    const box = ruled(el("img", { src: url, alt: "the picture, with the receptive field of the cell in brackets" }), { width, height, cell, by });
    parts.field = { marks: box.marks, scale: cell / by };
    parts.facts = el("div");
    parts.all = "";
    return el("div", { class: "seen" }, el("div", {}, el("h3", {}, "What the cell sees"), box.element), parts.facts);
  }

  /* ---- pointer and keyboard ---- */

  const clamp = (value, size) => Math.max(0, Math.min(size - 1, value));

  /* The output cell under the pointer; on the input map, the one whose window has its middle there. */
  function under(event, canvas, height, width, isInput = false) {
    const box = canvas.getBoundingClientRect();
    let row = ((event.clientY - box.top) / box.height) * height, column = ((event.clientX - box.left) / box.width) * width;
    if (isInput) {
      const middle = (place, k) => (place - 0.5 + data.padding[k] - (data.dilation[k] * (data.kernelShape[k + 1] - 1)) / 2) / data.stride[k] + 0.5;
      row = middle(row, 0);
      column = middle(column, 1);
    }
    return { row: clamp(Math.floor(row), data.outputShape[0]), column: clamp(Math.floor(column), data.outputShape[1]) };
  }

  function later(place) {
    next = place;
    if (!frame) frame = requestAnimationFrame(() => { frame = 0; show(next); });
  }

  function walk(event) {
    const move = ARROWS[event.key];
    if (!move || event.shiftKey || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    pin({ row: clamp(pinned.row + move[0], data.outputShape[0]), column: clamp(pinned.column + move[1], data.outputShape[1]) });
  }

  let timer = null;
  function pin(place) {
    pinned = place;
    show(place);
    clearTimeout(timer);
    timer = setTimeout(() => view.trigger("cell", [pinned.row, pinned.column]), 500);
  }

  function choose(channel) {
    chosen = channel;
    paintInput();
    show(shown);
  }

  /* ---- one cell ---- */

  function show(place) {
    const start = performance.now();
    shown = place;
    const list = contributions(place.row, place.column), sorted = order(list), rows = parts.rows.length, rest = sorted.slice(rows);
    const others = rest.reduce((sum, c) => sum + list[c], 0);
    const top = Math.max(...sorted.slice(0, rows).map((c) => Math.abs(list[c])), Math.abs(others), Math.abs(data.bias ?? 0), 1e-12);
    let far = 0;
    parts.rows.forEach((line, i) => { far += list[sorted[i]]; fillRow(line, sorted[i], list[sorted[i]]); fillNumbers(line, list[sorted[i]], far, top); });
    far += others;
    plain(parts.rest, rest.length ? `${rest.length.toLocaleString("en")} more` : null, others, far, top);
    plain(parts.bias, data.bias === null ? null : "bias", data.bias ?? 0, far + (data.bias ?? 0), top);
    parts.axis.forEach((span_, i) => { span_.textContent = tickText((i - 1) * top, top); });
    compare(place, total(list));
    say(list, sorted, others);
    drawMarks(place);
    tell(place);
    performance.clearMeasures("cnnviz:hover");
    performance.measure("cnnviz:hover", { start });
  }

  function fillRow(line, channel, value) {
    line.channel = channel;
    line.name.textContent = channel + data.first;
    line.name.setAttribute("aria-label", `input channel ${channel + data.first}: show its map`);
    line.name.setAttribute("aria-pressed", channel === chosen);
    const [, high, wide] = data.kernelShape, cell = Math.max(1, Math.floor((MINI * view.scale) / Math.max(high, wide)));
    paint(line.patch, levels(patch(channel), inputLow(), data.top), { width: wide, height: high, cell, colours: table(palette(), view.mode) });
    const size = high * wide;
    paint(line.kernel, levels(kernel.subarray(channel * size, (channel + 1) * size), -data.kernelTop, data.kernelTop), { width: wide, height: high, cell, colours: table("diverging", view.mode) });
  }

  function patch(channel) {
    const [, height, width] = data.inputShape, [, high, wide] = data.kernelShape, values = new Float32Array(high * wide);
    for (let i = 0; i < high; i++) {
      for (let j = 0; j < wide; j++) {
        const y = shown.row * data.stride[0] - data.padding[0] + i * data.dilation[0], x = shown.column * data.stride[1] - data.padding[1] + j * data.dilation[1];
        if (y >= 0 && y < height && x >= 0 && x < width) values[i * wide + j] = inputs[(channel * height + y) * width + x];
      }
    }
    return values;
  }

  function fillNumbers(line, value, far, top) {
    line.sum.textContent = signedText(value, 3);
    line.far.textContent = fixed(far, 3);
    line.bar.className = value < 0 ? "n" : "p";
    line.bar.style.width = `${(50 * Math.abs(value)) / top}%`;
  }

  function plain(line, name, value, far, top) {
    line.element.hidden = name === null;
    line.name.textContent = name ?? "";
    fillNumbers(line, value, far, top);
  }

  function compare({ row: r, column: c }, ours) {
    const theirs = at(output, r, c), off = Math.abs(ours - theirs), holds = off <= tolerance();
    parts.where.textContent = `${data.layer.length > 8 ? "" : `${data.layer}, `}channel ${data.channel}, cell (${r}, ${c})`;
    parts.badge.className = holds ? "badge" : "badge off";
    const digits = Math.abs(theirs) >= 1000 ? 2 : 4, rounded = fixed(ours, digits) === fixed(theirs, digits);
    parts.badge.textContent = holds && rounded ? `✓ our sum ${fixed(ours, digits)} = PyTorch ${fixed(theirs, digits)}`
      : holds ? `✓ our sum ${fixed(ours, digits)}, PyTorch ${fixed(theirs, digits)}: rounding, ${short(off, 2)} apart`
        : `our sum ${fixed(ours, digits)} is not PyTorch’s ${fixed(theirs, digits)}: they differ by ${short(off, 3)}`;
  }

  const ROWS = ["", "", "two", "three", "four", "five", "six", "seven", "eight"];

  function say(list, sorted, others) {
    const count = list.length, each = data.kernelShape[1] * data.kernelShape[2], products = (count * each).toLocaleString("en"), bias = data.bias === null ? "" : " and a bias";
    const cell = `One cell of ${data.layer} is ${count === 1 ? "" : `${count} ${TIMES} ${each} = `}${products} ${count * each === 1 ? "product" : "products"}${bias}, and nothing else.`;
    parts.cap.replaceChildren(...rich(`${finding(list, sorted, others)[0]} ${cell} ${finding(list, sorted, others)[1]}`));
  }

  function finding(list, sorted, others) {
    const shownRows = parts.rows.length, sum = total(list), bring = sorted.slice(0, shownRows).reduce((a, c) => a + list[c], 0);
    if (sorted.every((c) => list[c] === 0)) return ["**Look for** a cell where something is.", "Here every product is 0: what is left is the bias alone."];
    if (list.length === 1) return ["**Look for** the one row.", data.groups > 1 ? "This filter sees one input channel only, its own (depthwise): channels do not mix here." : "There is one input channel, so there is one kernel."];
    if (list.length <= shownRows) return ["**Look for** the rows that decide.", `Each input channel has a kernel of its own; the ${ROWS[list.length] || list.length} sums are added to one number.`];
    const first = `The first ${ROWS[shownRows] || shownRows} channels bring ${fixed(bring, 2)}`;
    if (Math.sign(others) !== Math.sign(bring) && Math.abs(others) > 0.005) return ["**Look for** what the small rows take back.", `${first}, the other ${(list.length - shownRows).toLocaleString("en")} ${signedText(others, 2)}; ${fixed(sum, 2)} remains.`];
    return ["**Look for** the few rows that decide.", `${first} of ${fixed(sum, 2)}.`];
  }

  function drawMarks({ row: r, column: c }) {
    const high = data.dilation[0] * (data.kernelShape[1] - 1) + 1, wide = data.dilation[1] * (data.kernelShape[2] - 1) + 1, scale = cells.input;
    const y = r * data.stride[0] - data.padding[0], x = c * data.stride[1] - data.padding[1], side = Math.max(cells.output, 5), shift = (side - cells.output) / 2;
    parts.window.replaceChildren(...brackets(x * scale, y * scale, wide * scale, high * scale));
    parts.square.replaceChildren(...square(c * cells.output - shift, r * cells.output - shift, side));
    const { seenRows, seenColumns } = data.arrays, [t, b] = [seenRows[2 * r], seenRows[2 * r + 1]], [left, right] = [seenColumns[2 * c], seenColumns[2 * c + 1]], s = parts.field.scale;
    parts.field.marks.replaceChildren(...(b > t && right > left ? brackets(left * s, t * s, (right - left) * s, (b - t) * s) : []));
    parts.box = { t, b, left, right };
  }

  function tell({ row: r, column: c }) {
    const { t, b, left, right } = parts.box, value = at(output, r, c), rows = [["value here", reading(value)]];
    data.after.forEach((name, i) => rows.push([`after ${name}`, reading(at(data.arrays[`after${i}`], r, c))]));
    rows.push(["receptive field", b > t && right > left ? `${b - t} ${TIMES} ${right - left} pixels` : "padding only"]);
    if (b > t && right > left) rows.push(["rows, columns", `${span(t, b)}, ${span(left, right)}`]);
    if (parts.all) rows.push(parts.all);
    parts.facts.replaceChildren(facts(rows));
    parts.pad.setAttribute("aria-label", `output map, cell (${r}, ${c}), value ${reading(value)}; arrow keys move`);
  }

  /* The whole map once, when the page is quiet: no single lucky cell. */
  function checkAll() {
    const wanted = data, work = output.length * kernel.length;
    if (work > 1e8) return;
    setTimeout(() => {
      if (data !== wanted) return;
      const share = worst();
      parts.all = [data.halved ? "largest difference (inputs sent as float16)" : "largest difference in the map", share ? `${short(share, 2)} of its maximum` : "none"];
      view.root.dataset.worst = share;
      show(shown);
    }, 60);
  }

  return (given) => { data = given; fresh(); };
});
