/* One kernel under the pencil. The edited map is the learned map plus what the change of the kernel adds, so only the
   input channels that changed are gone through. */

const SIDE = 168, REST = 350;

/* Classic kernels, placed in the middle of the window. */
const PATTERNS = {
  "Sobel, upright": [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], "Sobel, level": [[-1, -2, -1], [0, 0, 0], [1, 2, 1]],
  Laplacian: [[0, 1, 0], [1, -4, 1], [0, 1, 0]], sharpen: [[0, -1, 0], [-1, 5, -1], [0, -1, 0]],
};
const ANY_SIZE = { blur: (r, c, h, w) => 1 / (h * w), identity: (r, c, h, w) => +(r === (h >> 1) && c === (w >> 1)), zero: () => 0 };

export default component((view) => {
  let data, inputs, learned, current, scope, told = null, timer = null, past = [], future = [], parts, name = "learned", identity = null;

  const high = () => data.kernelShape[1], wide = () => data.kernelShape[2], size = () => high() * wide();
  const kernelOf = (channel) => learned.subarray(channel * size(), (channel + 1) * size());
  const shownLearned = () => Array.from(kernelOf(scope ?? 0));
  const rounded = (value) => Number(value.toPrecision(4));

  const encode = () => (current === null ? "" : `${scope ?? "a"}~${current.map((value) => rounded(value)).join("_")}`);

  function decode(text) {
    if (!text) { current = null; return; }
    const [where, values] = text.split("~");
    scope = where === "a" ? null : Number(where);
    current = values.split("_").map(Number);
  }

  /* ---- changes ---- */

  function report() {
    clearTimeout(timer);
    timer = setTimeout(() => { const text = encode(); if (text !== told) view.trigger("edit", (told = text)); }, REST);
  }

  function change(values, from) {
    past.push({ text: encode(), scope, name });
    future = [];
    current = values === null ? null : values.map(rounded);
    name = from;
    draw();
    report();
  }

  function travel(back) {
    const from = back ? past : future, to = back ? future : past, place = from.pop();
    if (!place) return;
    to.push({ text: encode(), scope, name });
    ({ scope, name } = place);
    decode(place.text);
    draw();
    report();
  }

  const length = (values) => Math.hypot(...values);

  /* A preset has the strength (L2 norm) of the learned kernel, so that the rest of the network can work with it. */
  function preset(which) {
    if (which === "learned") return change(null, which);
    const flat = Array.from({ length: size() }, (_, i) => weight(which, Math.floor(i / wide()), i % wide()));
    const own = length(scope === null ? learned : shownLearned()) / (scope === null ? Math.sqrt(data.inputShape[0]) : 1), norm = length(flat);
    return change(flat.map((value) => (norm ? (value * own) / norm : 0)), which);
  }

  function weight(which, r, c) {
    if (which === "random") return gauss();
    if (ANY_SIZE[which]) return ANY_SIZE[which](r, c, high(), wide());
    const top = (high() >> 1) - 1, left = (wide() >> 1) - 1;
    return PATTERNS[which][r - top]?.[c - left] ?? 0;
  }

  const gauss = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());

  /* ---- the edited map ---- */

  function editedMap() {
    const [, height, width] = data.inputShape, [rows, columns] = data.outputShape, out = Float32Array.from(data.arrays.output);
    if (current === null) return out;
    const channels = scope === null ? [...Array(data.inputShape[0]).keys()] : [scope];
    for (const c of channels) {
      const delta = current.map((value, i) => value - learned[c * size() + i]);
      for (let r = 0; r < rows; r++) {
        for (let q = 0; q < columns; q++) {
          let sum = 0;
          for (let i = 0; i < size(); i++) {
            const y = r * data.stride[0] - data.padding[0] + Math.floor(i / wide()) * data.dilation[0], x = q * data.stride[1] - data.padding[1] + (i % wide()) * data.dilation[1];
            if (y >= 0 && y < height && x >= 0 && x < width) sum += inputs[(c * height + y) * width + x] * delta[i];
          }
          out[r * columns + q] += sum;
        }
      }
    }
    return out;
  }

  /* ---- drawing ---- */

  function build() {
    parts = { mode: view.mode + view.scale };
    view.root.replaceChildren(el("div", { class: "edit" }, el("div", {}, asks(), presets(), el("div", { class: "pair-of" }, el("div", { "data-part": "matrix" }), under()), history()),
      el("div", {}, maps(), (parts.cap = el("p", { class: "cap", "aria-live": "polite" })))));
    draw();
  }

  function asks() {
    const input = el("input", { type: "number", min: 0, max: data.channels - 1, value: data.channel, "data-id": "channel", "aria-label": "output channel" });
    const ask = (value) => Number.isInteger(value) && value >= 0 && value < data.channels && value !== data.channel && view.trigger("channel", value);
    input.addEventListener("change", () => { if (ask(Number(input.value)) === false) input.value = data.channel; });
    const arrow = (text, by, label) => el("button", { "data-id": label, "aria-label": label, text, on: { click: () => ask((data.channel + by + data.channels) % data.channels) } });
    const count = data.inputShape[0], box = el("div", { class: "ask" }, "output channel", arrow("\u2190", -1, "previous output channel"), input, arrow("\u2192", 1, "next output channel"));
    if (count > 1) {
      parts.scope = el("select", { "data-id": "scope", on: { change: () => { scope = parts.scope.value === "a" ? null : Number(parts.scope.value); current = null; name = "learned"; past = []; future = []; draw(); report(); } } },
        el("option", { value: "a", text: `all ${count}` }), Array.from({ length: count }, (_, i) => el("option", { value: i, text: i + data.first })));
      box.append(el("label", {}, "input channel", parts.scope));
    }
    return box;
  }

  function presets() {
    const names = ["learned", ...(high() >= 3 && wide() >= 3 ? Object.keys(PATTERNS) : []), ...Object.keys(ANY_SIZE), "random"];
    parts.presets = names.map((which) => el("button", { "data-id": `preset-${which}`, text: which, on: { click: () => preset(which) } }));
    return el("div", { class: "presets", role: "group", "aria-label": "kernels to put in" }, parts.presets);
  }

  function under() {
    const figure = (words, part) => el("figure", {}, el("figcaption", { text: words }), (parts[part] = el("canvas", { "aria-hidden": "true" })));
    return el("div", { class: "under" }, figure("learned", "before"), figure("edited", "after"), figure("difference", "change"));
  }

  function history() {
    const button = (text, id, press) => el("button", { class: "btn ghost", "data-id": id, text, on: { click: press } });
    parts.undo = button("Undo", "undo", () => travel(true));
    parts.redo = button("Redo", "redo", () => travel(false));
    return el("div", { class: "back" }, parts.undo, parts.redo);
  }

  function maps() {
    const [rows, columns] = data.outputShape, fit = ((view.root.clientWidth > 760 * view.scale ? SIDE : 126) * view.scale) / Math.max(rows, columns), cell = fit >= 1 ? Math.floor(fit) : fit;
    const one = (title, part) => {
      parts[part] = el("canvas", { role: "img" });
      return el("div", {}, el("h3", { text: title }), ruled(parts[part], { width: columns, height: rows, cell }).element);
    };
    parts.cell = cell;
    parts.legend = el("div", { class: "lgs" });
    return el("div", {}, el("div", { class: "maps" }, one("With the learned kernel", "mapBefore"), one("With this kernel", "mapAfter")), parts.legend);
  }

  const show = (value) => (value === 0 ? "0" : Math.abs(value) >= 0.0995 ? fixed(value, 2) : fixed(value, 3));

  function matrix() {
    const values = current ?? (scope === null ? mean() : shownLearned()), before = shownLearned();
    const cells = values.map((value, i) => {
      const r = Math.floor(i / wide()), c = i % wide(), input = el("input", { type: "text", inputmode: "decimal", autocomplete: "off", value: show(value), class: current && scope !== null && Math.abs(value - before[i]) > 1e-4 ? "new" : "", "data-id": `weight-${r}-${c}`, "aria-label": `weight, row ${r}, column ${c}` });
      input.addEventListener("focus", () => input.select());
      input.addEventListener("change", () => {
        const typed = Number(input.value.replace(MINUS, "-").replace(",", "."));
        if (input.value.trim() === "" || !Number.isFinite(typed)) { input.value = show(value); return; }
        const next = [...values];
        next[i] = Math.max(-999, Math.min(999, typed));
        change(next, "");
      });
      input.addEventListener("keydown", (event) => {
        const move = ARROWS[event.key], next = move && view.root.querySelector(`[data-id="weight-${r + move[0]}-${c + move[1]}"]`);
        if (next && !event.shiftKey && !event.altKey && !event.ctrlKey && !event.metaKey) { event.preventDefault(); next.focus(); }
      });
      return input;
    });
    const title = scope === null && data.inputShape[0] > 1 ? (current ? "The same kernel for every input channel" : "Mean of the learned kernels") : "Kernel";
    return el("div", { "data-part": "matrix" }, el("h3", {}, title, el("span", { text: `${high()} ${TIMES} ${wide()}` })), el("div", { class: "mat", role: "group", "aria-label": "weights", style: { "--n": wide(), "--c": `${Math.round((wide() > 5 ? 46 : 58) * view.scale)}px` } }, cells));
  }

  const mean = () => Array.from({ length: size() }, (_, i) => { let sum = 0; for (let c = 0; c < data.inputShape[0]; c++) sum += learned[c * size() + i]; return sum / data.inputShape[0]; });

  function minis() {
    const before = scope === null ? mean() : shownLearned(), after = current ?? before, difference = after.map((value, i) => value - before[i]);
    const top = Math.max(...before.concat(after, difference).map(Math.abs), 1e-9), cell = Math.max(2, Math.floor((54 * view.scale) / Math.max(high(), wide())));
    [["before", before], ["after", after], ["change", difference]].forEach(([part, values]) =>
      paint(parts[part], levels(Float32Array.from(values), -top, top), { width: wide(), height: high(), cell, colours: table("diverging", view.mode) }));
  }

  function draw() {
    keepFocus(view.root, () => view.root.querySelector("[data-part=matrix]").replaceWith(matrix()));
    if (parts.scope) parts.scope.value = scope ?? "a";
    parts.presets.forEach((button) => button.setAttribute("aria-pressed", button.textContent === (current === null ? "learned" : name)));
    parts.undo.disabled = !past.length;
    parts.redo.disabled = !future.length;
    minis();
    drawMaps();
  }

  function drawMaps() {
    const [rows, columns] = data.outputShape, before = data.arrays.output, after = editedMap(), top = Math.max(...[before, after].map((map) => map.reduce((most, value) => Math.max(most, Math.abs(value)), 0)), 1e-9);
    for (const [part, values, words] of [["mapBefore", before, "map with the learned kernel"], ["mapAfter", after, "map with this kernel"]]) {
      paint(parts[part], levels(values, -top, top), { width: columns, height: rows, cell: parts.cell, colours: table("diverging", view.mode) });
      parts[part].setAttribute("aria-label", `${words}, from ${short(values.reduce((a, b) => Math.min(a, b), Infinity))} to ${short(values.reduce((a, b) => Math.max(a, b), -Infinity))}`);
    }
    parts.legend.replaceChildren(legend({ words: "output value, both maps", palette: "diverging", low: -top, high: top, width: 230 * view.scale }));
    const positive = (map) => map.reduce((n, value) => n + (value > 0), 0);
    parts.cap.replaceChildren(...rich(current === null ? `**Look for** what changes when you put in another kernel. This one is as it was learned; ${positive(before).toLocaleString("en")} of ${before.length.toLocaleString("en")} cells of its map are above 0.`
      : `**Look for** what the map keeps. ${positive(after).toLocaleString("en")} of ${after.length.toLocaleString("en")} cells are above 0, ${positive(before).toLocaleString("en")} with the learned kernel; the largest is ${short(after.reduce((a, b) => Math.max(a, b), -Infinity))}.${name && name !== "learned" && name !== "zero" ? " A preset has the length (L2 norm) of the learned kernel." : ""}`));
  }

  return (fresh) => {
    const which = [fresh.layer, fresh.channel, fresh.arrays.output.length, fresh.arrays.output.slice(0, 32).join()].join("|");
    const same = which === identity && parts;
    data = fresh;
    inputs = inputsOf(data);
    learned = data.arrays.kernel;
    if (same && (data.edit === told || data.edit === encode())) return parts.mode === view.mode + view.scale ? undefined : build();
    if (!same) { past = []; future = []; scope = data.inputShape[0] > 1 ? null : 0; }
    identity = which;
    name = data.edit ? "" : "learned";
    decode(data.edit);
    told = data.edit;
    build();
  };
});
