/* The arithmetic of a window along one axis, as in cnnviz/convolution.py, and four figures about it. */

const MOST = 40, REST = 600;   // stops that are drawn; ms before the settings are reported

const span_ = ({ f, d }) => d * (f - 1) + 1;
const room = (w, win) => w + 2 * win.p - span_(win);

/* How many stops; 0 where the window does not fit once. With ceil no stop starts in the padding after the end. */
function stopsOf(w, win) {
  if (room(w, win) < 0) return 0;
  const stops = (win.ceil ? Math.ceil : Math.floor)(room(w, win) / win.s) + 1;
  return win.ceil && (stops - 1) * win.s >= w + win.p ? stops - 1 : stops;
}

const ignored = (w, win) => Math.max(0, room(w, win) - (stopsOf(w, win) - 1) * win.s);

function formula(w, { f, s, p, d, ceil }) {
  const [a, b] = ceil ? ["⌈", "⌉"] : ["⌊", "⌋"];
  return `${a}(${w} + 2 · ${p} ${MINUS} ${d === 1 ? f : `${d} · (${f} ${MINUS} 1) ${MINUS} 1`}) / ${s}${b} + 1`;
}

const misfit = (w, win) => `a window that spans ${span_(win)} does not fit into ${w} + 2 · ${win.p} = ${w + 2 * win.p} cells`;
const many = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;

export default component((view) => {
  let data, told = null, timer = null, figure = null;

  function report(text) {
    clearTimeout(timer);
    timer = setTimeout(() => { if (text !== told) view.trigger("change", (told = text)); }, REST);
  }

  /* A whole number with its letter; `change` is called with each sensible value. */
  function whole(label, [low, high], value, id, change) {
    const input = el("input", { type: "number", min: low, max: high, value, "data-id": id, "aria-label": label.name });
    input.addEventListener("input", () => {
      const n = Number(input.value);
      if (input.value.trim() !== "" && Number.isInteger(n) && n >= low && n <= high) change(n);
    });
    return label.text || label.letter ? el("label", {}, label.text || "", label.letter ? el("var", { text: label.letter }) : null, input) : input;
  }

  function tick(text, value, id, change) {
    const input = el("input", { type: "checkbox", "data-id": id, on: { change: () => change(input.checked) } });
    input.checked = value;
    return el("label", {}, input, text);
  }

  const LIMITS = { w: [1, 512], f: [1, 15], s: [1, 9], p: [0, 9], d: [1, 6] };
  const NAMES = { w: "input side", f: "window", s: "stride", p: "padding", d: "dilation" };

  /* ---- one layer ---- */

  function sizeFigure(text) {
    const [w, f, s, p, d, ceil] = text.split("_").map(Number), win = { w: Math.max(1, w), f: Math.max(1, f), s: Math.max(1, s), p, d: Math.max(1, d), ceil: !!ceil };
    const sum = el("p", { class: "formula", "aria-live": "polite" }), slide = el("div", { class: "slide" }), say = el("div", { class: "say" });
    const change = (name) => (value) => { win[name] = value; draw(); report([win.w, win.f, win.s, win.p, win.d, +win.ceil].join("_")); };
    const fields = Object.entries(NAMES).map(([name, word]) => whole({ name: word, text: word, letter: name.toUpperCase() }, LIMITS[name], win[name], `size-${name}`, change(name)));
    function draw() {
      const out = stopsOf(win.w, win);
      sum.replaceChildren(`${formula(win.w, win)} = `, out ? el("b", { text: out }) : el("span", { class: "warn", text: "less than 1" }));
      slide.replaceChildren(...(out ? [sliding(win, out)] : []));
      say.replaceChildren(...advice(win, out).map((line) => el("p", { class: out ? "" : "bad" }, rich(line))));
    }
    draw();
    return [el("div", { class: "ask" }, fields, tick("ceil mode", win.ceil, "size-ceil", change("ceil"))), sum, slide, say];
  }

  /* One axis as a row of cells, and under it where the window stops. */
  function sliding(win, out) {
    const cells = win.w + 2 * win.p, beyond = Math.max(cells, (out - 1) * win.s + span_(win)), side = Math.max(7, Math.min(26, Math.floor((view.root.clientWidth - 16) / beyond)));
    const shown = Math.min(out, MOST), step = Math.max(6, Math.min(9, Math.floor(170 / shown))), lost = ignored(win.w, win), top = 18, high = top + side + 8 + shown * step;
    const picture = sv("svg", { width: beyond * side + 14, height: high, role: "img", "aria-label": `${many(out, "stop")} of a window of ${win.f} along ${many(cells, "cell")}${lost ? `; the last ${lost} never covered` : ""}` },
      sv("defs", {}, sv("pattern", { id: "hatch", width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
        sv("rect", { width: 5, height: 5, fill: "var(--paper)" }), sv("rect", { width: 1.4, height: 5, fill: "var(--edge)" }))));
    for (let i = 0; i < beyond; i++) {
      const kind = i >= cells - lost && i < cells ? "lost" : i < win.p || i >= win.p + win.w ? "pad" : "cell";
      picture.append(sv("rect", { class: kind, x: i * side + 1, y: top, width: side, height: side }));
    }
    picture.append(sv("rect", { class: "frame", x: win.p * side + 1, y: top, width: win.w * side, height: side }));
    for (const i of [0, win.w]) picture.append(sv("text", { x: (win.p + i) * side + 1, y: 12, "text-anchor": i || win.p ? "middle" : "start", text: i }));
    for (let stop = 0; stop < shown; stop++) {
      const y = top + side + 8 + stop * step, x = stop * win.s * side + 1;
      picture.append(sv("path", { class: "reach", d: `M${x} ${y + 2}h${span_(win) * side}` }));
      for (let i = 0; i < win.f; i++) picture.append(sv("rect", { class: "tap", x: x + i * win.d * side + 1, y, width: side - 2, height: Math.max(3, step - 4) }));
    }
    return picture;
  }

  function advice(win, out) {
    const { w, f, s, p, d } = win, need = span_(win) - 1, lines = [];
    if (!out) {
      lines.push(`This does not fit: ${misfit(w, win)}. PyTorch raises an error here. Make the window or the dilation smaller, or pad by ${Math.ceil((span_(win) - w) / 2)} or more.`);
      return lines;
    }
    const lost = ignored(w, win);
    lines.push(`**${w} becomes ${out}.** ${w + 2 * p} cells with the padding, a window that spans ${span_(win)}: room for ${many(room(w, win), "step")} of 1${s > 1 ? `, so for ${out - 1} of ${s}` : ""}, and the first stop.`);
    if (lost) lines.push(`The last ${many(lost, "cell")} (hatched) ${lost === 1 ? "is" : "are"} never covered: ${room(w, win)} / ${s} leaves a rest of ${lost}. No error is raised.`);
    if (win.ceil && stopsOf(w, { ...win, ceil: false }) < out) lines.push("With ceil mode the last window reaches past the end; what is missing there counts as nothing. Only pooling has it.");
    if (s === 1 && need % 2 === 0) lines.push(p === need / 2 ? `This is “same”: P = D(F ${MINUS} 1) / 2 = ${p} keeps the size.` : `To keep ${w} (“same”): P = D(F ${MINUS} 1) / 2 = ${need / 2}.`);
    if (s === 1 && need % 2) lines.push(`No padding keeps ${w}: D(F ${MINUS} 1) = ${need} is odd, half a cell would be needed on each side. That is why windows have odd sizes.`);
    if (s > 1) lines.push(`With stride ${s} no padding keeps every size${need % 2 ? "" : `; the usual P = D(F ${MINUS} 1) / 2 = ${need / 2} gives ⌈${w} / ${s}⌉ = ${Math.ceil(w / s)}`}.`);
    if (p > need && p > 0) lines.push("Caveat: the padding is as wide as the window or wider, so whole windows see nothing but zeros.");
    if (s > span_(win)) lines.push(`Caveat: the stride is larger than the window; ${s - span_(win)} of every ${s} cells are never looked at.`);
    return lines;
  }

  /* ---- a chain ---- */

  const rowText = (r) => [r.kind, r.f, r.s, r.p, r.d, +r.ceil, r.kind === "c" ? r.out : 0].join("_");
  const chainText = (chain) => [`${chain.channels}_${chain.w}`, ...chain.rows.map(rowText)].join("~");

  function chainOf(text) {
    const [head, ...rows] = text.split("~"), [channels, w] = head.split("_").map(Number);
    return { channels: Math.max(1, channels), w: Math.max(1, w), rows: rows.map((row) => {
      const [kind, f, s, p, d, ceil, out] = row.split("_");
      return { kind, f: Math.max(1, +f), s: Math.max(1, +s), p: +p, d: Math.max(1, +d), ceil: ceil === "1", out: Math.max(1, +out) };
    }) };
  }

  function chainFigure(text) {
    let chain = chainOf(text), results = [];
    const body = el("tbody"), say = el("div", { class: "say", "aria-live": "polite" });
    const changed = () => { tell(); report(chainText(chain)); };
    const rebuild = () => { keepFocus(view.root, build); changed(); };
    const first = { w: whole({ name: "input side", text: "input side", letter: "W" }, LIMITS.w, chain.w, "chain-w", (n) => { chain.w = n; changed(); }),
      c: whole({ name: "input channels", text: "channels" }, [1, 2048], chain.channels, "chain-c", (n) => { chain.channels = n; changed(); }) };

    function build() {
      const seen = { c: 0, p: 0 };
      results = [];
      body.replaceChildren(...chain.rows.map((row, i) => {
        seen[row.kind] += 1;
        row.name = `${row.kind === "c" ? "conv" : "pool"}${seen[row.kind]}`;
        const cell = (name) => el("td", {}, whole({ name: `${row.name}, ${NAMES[name]}` }, LIMITS[name], row[name], `chain-${i}-${name}`, (n) => { row[name] = n; changed(); }));
        const out = row.kind === "c" ? whole({ name: `${row.name}, output channels` }, [1, 2048], row.out, `chain-${i}-out`, (n) => { row.out = n; changed(); }) : "";
        const ceil = row.kind === "p" ? el("input", { type: "checkbox", "data-id": `chain-${i}-ceil`, "aria-label": `${row.name}, ceil mode`, on: { change: (e) => { row.ceil = e.target.checked; changed(); } } }) : "";
        if (ceil) ceil.checked = row.ceil;
        results.push({ shape: el("td", { class: "out" }), weights: el("td", { class: "num" }) });
        return el("tr", {}, el("th", { scope: "row", text: row.name }), el("td", {}, out), ["f", "s", "p", "d"].map(cell), el("td", {}, ceil), results[i].shape, results[i].weights,
          el("td", {}, el("button", { "data-id": `drop-${i}`, "aria-label": `remove ${row.name}`, text: TIMES, on: { click: () => { if (chain.rows.length > 1) { chain.rows.splice(i, 1); rebuild(); } } } })));
      }));
    }

    function tell() {
      let { w, channels } = chain, weights = 0, broken = null;
      chain.rows.forEach((row, i) => {
        const { shape, weights: cell } = results[i], out = broken ? 0 : stopsOf(w, row);
        shape.className = broken ? "out after" : out ? "out" : "bad";
        if (broken) { shape.textContent = "not reached"; cell.textContent = ""; return; }
        if (!out) { broken = { row, w }; shape.textContent = "does not fit"; cell.textContent = ""; return; }
        const own = row.kind === "c" ? channels * row.out * row.f * row.f + row.out : 0;
        if (row.kind === "c") channels = row.out;
        const lost = ignored(w, row);
        w = out;
        weights += own;
        shape.textContent = `${channels} ${TIMES} ${w} ${TIMES} ${w}${lost ? ` (${many(lost, "cell")} left out)` : ""}`;
        cell.textContent = own ? own.toLocaleString("en") : "";
      });
      say.replaceChildren(...chainWords(w, channels, weights, broken).map((line) => el("p", { class: broken ? "bad" : "" }, rich(line))));
    }

    function chainWords(w, channels, weights, broken) {
      if (broken) return [`**${broken.row.name} does not fit:** it is given ${broken.w} ${TIMES} ${broken.w}, and ${misfit(broken.w, broken.row)}. PyTorch stops with an error at this layer; one pooling less before it, a smaller window or more padding would do.`];
      const flat = channels * w * w;
      return [`**${chain.channels} ${TIMES} ${chain.w} ${TIMES} ${chain.w} becomes ${channels} ${TIMES} ${w} ${TIMES} ${w}.** Flattened that is ${channels} · ${w} · ${w} = ${flat.toLocaleString("en")} numbers: the first linear layer must expect exactly as many, and for an image of another size it raises an error.`,
        `${many(weights, "weight")} and biases in the convolutions; they do not depend on the size of the image. Pooling has none.`];
    }

    const start = (text_) => { chain = chainOf(text_); for (const [key, name] of [["w", "w"], ["c", "channels"]]) first[key].querySelector("input").value = chain[name]; rebuild(); };
    const add = (kind) => { if (chain.rows.length < 14) { chain.rows.push(kind === "c" ? { kind, f: 3, s: 1, p: 1, d: 1, ceil: false, out: 64 } : { kind, f: 2, s: 2, p: 0, d: 1, ceil: false, out: 0 }); rebuild(); } };
    const button = (text_, id, press) => el("button", { class: "btn ghost", "data-id": id, text: text_, on: { click: press } });
    build();
    tell();
    const head = ["layer", "channels", "F", "S", "P", "D", "ceil", "becomes", "weights", ""].map((name) => (name ? el("th", { scope: "col", class: name === "weights" ? "num" : "", text: name }) : el("td")));
    return [el("div", { class: "ask" }, first.c, first.w), el("div", { class: "wide" }, el("table", { class: "steps" }, el("caption", { class: "hidden", text: "The size after each layer" }), el("thead", {}, el("tr", {}, head)), body)), say,
      el("div", { class: "more" }, button("Add a convolution", "add-conv", () => add("c")), button("Add a pooling", "add-pool", () => add("p")),
        data.own ? button("The open network", "own", () => start(data.own)) : null, data.own === data.notes ? null : button("Two convolutions, two poolings", "notes", () => start(data.notes)))];
  }

  /* ---- the puzzle ---- */

  function puzzleFigure() {
    const say = el("div", { class: "say", "aria-live": "polite" }, el("p", {}, rich("**5 × 5 with stride 2 gives 3 × 3.** For which windows is that true? Choose those you believe in; each tells its sum."))), found = new Set(), tried = new Set();
    const cases = [[0, false], [1, false], [2, false], [0, true], [1, true], [2, true]], buttons_ = [];
    const wins = (f, [p, ceil]) => ({ f, s: 2, p, d: 1, ceil }), all = [];
    for (let f = 1; f <= 5; f++) for (const c of cases) if (c[0] <= f / 2 && stopsOf(5, wins(f, c)) === 3) all.push(`${f}-${c}`);
    const reveal = (f, c, button) => {
      const win = wins(f, c), out = stopsOf(5, win), yes = out === 3, id = `${f}-${c}`;
      button.className = yes ? "yes" : "no";
      button.textContent = out;
      button.setAttribute("aria-label", `F = ${f}, P = ${c[0]}${c[1] ? ", ceil mode" : ""}: ${out}`);
      tried.add(id);
      if (yes) found.add(id);
      return `${formula(5, win)} = **${out}**: ${yes ? "true." : `not 3.${f === 2 && !c[0] && !c[1] ? " This is the usual 2 × 2 pooling: it drops the last row and column." : ""}`}`;
    };
    const tell = (line) => say.replaceChildren(el("p", {}, rich(line)), el("p", {}, `${found.size} of ${all.length} found, ${many(tried.size, "try").replace(/trys$/, "tries")}.`),
      found.size === all.length ? el("p", {}, rich("The sentence is true for some windows and false for others: **a size alone says nothing without F and P.** And the number of channels never enters: it sets how deep each kernel is, and the number of kernels sets how many maps there are.")) : "");
    const row = (f) => el("tr", {}, el("th", { scope: "row" }, el("var", { text: "F" }), ` = ${f}`), cases.map((c) => {
      if (c[0] > f / 2) return el("td", { class: "none", text: DASH, title: "padding beyond half the window" });
      const button = el("button", { text: "?", "data-id": `try-${f}-${c[0]}-${+c[1]}`, "aria-label": `F = ${f}, P = ${c[0]}${c[1] ? ", ceil mode" : ""}: try`, on: { click: () => tell(reveal(f, c, button)) } });
      buttons_.push([f, c, button]);
      return el("td", {}, button);
    }));
    const head = cases.map(([p, ceil]) => el("th", { scope: "col" }, el("var", { text: "P" }), ` = ${p}`, ceil ? el("br") : "", ceil ? "ceil" : ""));
    const table_ = el("table", { class: "grid" }, el("caption", { class: "hidden", text: "Windows to try along 5 cells at stride 2" }), el("thead", {}, el("tr", {}, el("td"), head)), el("tbody", {}, [1, 2, 3, 4, 5].map(row)));
    roving(table_, () => buttons_.map(([, , button]) => button), () => 1)(0);
    return [el("div", { class: "puzzle" }, table_, el("div", {}, say,
      el("div", { class: "more" }, el("button", { class: "btn ghost", "data-id": "all", text: "Show all", on: { click: () => { buttons_.forEach(([f, c, b]) => reveal(f, c, b)); tell("All windows with a padding of at most half their size."); } } }))))];
  }

  /* ---- weights ---- */

  function shareFigure(text) {
    const [side, f, channels, maps] = text.split("_").map(Number), now = { side: Math.max(1, side), f: Math.max(1, f), channels: Math.max(1, channels), maps: Math.max(1, maps) };
    const picture = el("div"), words = el("div", { "aria-live": "polite" });
    const change = (name) => (value) => { now[name] = value; draw(); report([now.side, now.f, now.channels, now.maps].join("_")); };
    const fields = [["side", "image side", [1, 1000]], ["f", "kernel side", [1, 31]], ["channels", "input channels", [1, 1024]], ["maps", "output maps", [1, 1024]]]
      .map(([name, label, limits]) => whole({ name: label, text: label }, limits, now[name], `share-${name}`, change(name)));
    function draw() {
      const { side: n, f: k, channels: c, maps: m } = now, conv = m * c * k * k, dense = m * c * n * n, stops = Math.max(0, n - k + 1), big = 200 * view.scale, small = Math.min(big, (big * k) / n);
      picture.replaceChildren(sv("svg", { class: "areas", width: big + 2, height: big + 2, role: "img", "aria-label": `the ${k} ${TIMES} ${k} kernel drawn to scale on the ${n} ${TIMES} ${n} image` },
        sv("rect", { class: "all", x: 1, y: 1, width: big, height: big }), sv("rect", { class: "few", x: 1, y: 1, width: Math.max(small, 1), height: Math.max(small, 1) })));
      const line = (value) => value.toLocaleString("en");
      words.replaceChildren(facts([["convolution, weight.shape", `(${m}, ${c}, ${k}, ${k})`], ["its weights", `${m} · ${c} · ${k} · ${k} = ${line(conv)}`], [`${m === 1 ? "one dense unit" : `${m} dense units`} on the same image`, `${m} · ${c} · ${n} · ${n} = ${line(dense)}`],
        ["dense, for as many cells as the maps have", stops ? line(dense * stops * stops) : DASH]]),
        el("div", { class: "say" }, el("p", {}, rich(k > n ? `A kernel of ${k} does not fit into an image of ${n}.`
          : `**${line(conv)} against ${line(dense)}**${dense > conv ? `: ${(dense / conv).toLocaleString("en", { maximumFractionDigits: 1 })} times fewer` : ""}. A kernel’s weights are the same at all ${stops} ${TIMES} ${stops} = ${line(stops * stops)} positions: those are shared.`)),
          el("p", {}, `Not shared: each of the ${m} ${TIMES} ${c} = ${line(m * c)} pairs of an output map and an input channel has a kernel of its own. ${m === 1 ? "One bias comes" : `${line(m)} biases come`} on top, one for each map.`)));
    }
    draw();
    return [el("div", { class: "ask" }, fields), el("div", { class: "share" }, picture, words)];
  }

  const FIGURES = { size: sizeFigure, chain: chainFigure, puzzle: puzzleFigure, share: shareFigure };

  return (fresh) => {
    data = fresh;
    if (figure === data.kind + view.scale && (data.text === told || data.kind === "puzzle")) return;
    figure = data.kind + view.scale;
    told = data.text;
    view.root.replaceChildren(...FIGURES[data.kind](data.text).flat().filter(Boolean));
  };
});
