/* Silhouette, table and detail of a network. The same choice in two places: a box of the silhouette and a row. */

const BODY = 96, GAP = 3;

export default component((view) => {
  const { root } = view;
  let data, open = new Set(), last, url, set, built = false, shownFor;
  new ResizeObserver(() => built && silhouette()).observe(root);

  const row = (place) => {
    const [name, kind, family, shape, side, parameters, macs, sees] = data.rows[place];
    return { place, name, kind, family, shape, side, parameters, macs, sees };
  };
  const count = (value) => value.toLocaleString("en");
  const large = (value) => (value >= 1e9 ? `${short(value / 1e9)}\u00a0G` : value >= 1e6 ? `${short(value / 1e6)}\u00a0M` : value >= 1e4 ? `${short(value / 1e3)}\u00a0k` : count(value));
  const shapeOf = (shape) => shape.join(` ${TIMES} `);
  const choose = (place) => view.trigger("choose", data.rows[place][0]);
  const at = () => data.rows.findIndex(([name]) => name === data.chosen);

  /* ---- silhouette ---- */

  const steps = (value) => Math.log2(Math.max(value, 1));
  const heightOf = ({ side, shape }) => {
    const most = steps(data.imageSide);
    return side ? Math.max(5, BODY * (0.1 + 0.9 * (steps(side) / Math.max(most, 1)))) : Math.max(12, Math.min(BODY, 8 * steps(shape[0])));
  };
  const widthOf = ({ side, shape }) => (side ? 2 + 3.2 * steps(shape[0]) : 6);

  /* Under boxes that stand close the shapes are set without spaces, or left to the table below. */
  function shapesThatFit(rows, slot) {
    const letter = 0.34 * parseFloat(getComputedStyle(document.documentElement).fontSize);
    const fit = (texts, width) => Math.max(...texts.map((text) => text.length)) * width < slot && texts;
    return fit(rows.map((r) => shapeOf(r.shape)), letter) || fit(rows.map((r) => r.shape.join(TIMES)), 1.2 * letter) || rows.map(() => "");
  }

  function plan(room) {
    const rows = data.rows.map((_, place) => row(place)), natural = rows.map(widthOf);
    const picture = Math.min(96, Math.round(room / 9)), space = room - picture - 44;
    const total = natural.reduce((a, b) => a + b, 0), few = rows.length <= 14;
    if (few) {
      const slot = Math.min(space / rows.length, 110), factor = Math.min(2.4, (slot * 0.7) / Math.max(...natural));
      return { rows, picture, few, shapes: shapesThatFit(rows, slot), width: room, places: natural.map((w, i) => ({ x: picture + 22 + i * slot + (slot - w * factor) / 2, w: w * factor })) };
    }
    const gap = rows.length > 120 ? 1 : GAP, factor = Math.max(0.08, Math.min(1.2, (space - gap * rows.length) / total));
    let x = picture + 22;
    const places = natural.map((w) => {
      const wide = Math.max(2, w * factor), here = { x, w: wide };
      x += wide + gap;
      return here;
    });
    return { rows, picture, few, width: Math.max(room, x + 22), places };
  }

  function silhouette() {
    if (!root.clientWidth) return;                              // a page that is being left has no room for anything
    const { rows, picture, few, width, places, shapes } = plan(root.clientWidth), chosen = at(), roofs = data.shortcuts.length ? 30 : 8;
    const middle = roofs + BODY / 2, floor = roofs + BODY;
    const boxes = rows.map((r, i) => {
      const h = heightOf(r), { x, w } = places[i];
      return sv("g", { class: `box ${r.family}${i === chosen ? " on" : ""}`, "data-place": i, on: { click: () => choose(i), pointerenter: () => near(i), pointerleave: () => near(null) } },
        sv("title", { text: `${r.name}: ${r.kind}, ${shapeOf(r.shape)}` }),
        sv("rect", { x: x - 1, y: roofs, width: w + 2, height: BODY + (few ? 36 : 0), fill: "transparent" }),
        sv("rect", { class: "body", x, y: middle - h / 2, width: w, height: h }),
        ...(few ? [sv("text", { class: "nm", x: x + w / 2, y: floor + 18, "text-anchor": "middle", text: r.name }),
          sv("text", { x: x + w / 2, y: floor + 35, "text-anchor": "middle", text: shapes[i] })] : []));
    });
    const old = root.querySelector(".silhouette"), scroll = old.scrollLeft;
    const svg = sv("svg", { width, height: floor + (few ? 42 : 24), role: "img", "aria-label": data.legend },
      sv("defs", {}, sv("pattern", { id: "cut", width: 4, height: 4, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
        sv("rect", { width: 4, height: 4, fill: "var(--well)" }), sv("path", { d: "M0 0V4", stroke: "var(--edge)", "stroke-width": 1.5 }))),
      inputPicture(picture, middle), arcs(rows, places, middle, picture, chosen), ...boxes, ...(few ? [] : spans(places, floor)));
    old.replaceChildren(svg);
    old.scrollLeft = scroll;
    const { x } = places[chosen];
    if (x < scroll || x > scroll + old.clientWidth) old.scrollLeft = x - old.clientWidth / 2;
  }

  function inputPicture(side, middle) {
    const { width, height } = data.picture, factor = Math.max(width, height) <= side ? Math.floor(side / Math.max(width, height)) : side / Math.max(width, height);
    const w = width * factor, h = height * factor;
    return sv("g", {}, sv("image", { href: url, x: 0, y: middle - h / 2, width: w, height: h }), sv("rect", { x: 0.5, y: middle - h / 2 + 0.5, width: w - 1, height: h - 1, fill: "none", stroke: "var(--edge)" }));
  }

  /* A sum or concatenation reads an earlier layer, too: an arc over what it jumps. */
  function arcs(rows, places, middle, picture, chosen) {
    const centre = (place) => (place < 0 ? picture * 0.9 : places[place].x + places[place].w / 2), roof = (place) => (place < 0 ? middle - BODY / 2 : middle - heightOf(rows[place]) / 2);
    return sv("g", {}, data.shortcuts.map(([from, to]) => {
      const a = centre(from), b = centre(to), lift = Math.max(4, Math.min(roof(from), roof(to)) - Math.min(26, 7 + (b - a) / 8));
      return sv("path", { class: `arc${from === chosen || to === chosen ? " on" : ""}`, d: `M${a} ${roof(from)}C${a} ${lift} ${b} ${lift} ${b} ${roof(to)}` });
    }));
  }

  function spans(places, floor) {
    let first = 0, free = -1;
    return data.blocks.flatMap(([name, size]) => {
      const from = places[first].x, end = places[first + size - 1].x + places[first + size - 1].w;
      first += size;
      const line = sv("path", { class: "span", d: `M${from} ${floor + 5}H${Math.max(end, from + 2)}` }), wide = name.length * 7.6;
      if (size < 2 || from < free || wide > Math.max(end - from, 60) + 30) return [line];
      free = from + wide + 8;
      return [line, sv("text", { class: "nm", x: from, y: floor + 20, text: name })];
    });
  }

  function near(place) {
    for (const box of root.querySelectorAll(".box")) box.classList.toggle("near", Number(box.dataset.place) === place);
    for (const line of root.querySelectorAll("tr[data-place]")) line.classList.toggle("near", Number(line.dataset.place) === place);
  }

  /* ---- table ---- */

  const sum = (rows, name) => rows.reduce((total, r) => total + r[name], 0);

  /* One scale for the meters: the largest block where layers fold, else the largest layer. */
  function largest(rows, name) {
    let first = 0;
    const sums = data.blocks.map(([, size]) => sum(rows.slice(first, (first += size)), name));
    return Math.max(1, ...(data.fold ? sums : rows.map((r) => r[name])));
  }

  function table() {
    const rows = data.rows.map((_, place) => row(place)), most = { parameters: largest(rows, "parameters"), macs: largest(rows, "macs") };
    const body = el("tbody"), chosen = at();
    let first = 0;
    for (const [name, size] of data.blocks) {
      const inner = rows.slice(first, first + size);
      first += size;
      if (size === 1 || !data.fold) body.append(...inner.map((r) => line(r, most, chosen, "")));
      else body.append(header(name, inner, most, chosen), ...(open.has(name) ? inner.map((r) => line(r, most, chosen, name)) : []));
    }
    const head = ["layer", "kind", "output", "parameters", "multiply-adds", "sees"].map((text) => el("th", { scope: "col", text }));
    const total = el("tr", {}, el("th", { scope: "row", text: `${rows.length} layers` }), el("td"), el("td"), amount(sum(rows, "parameters"), null), amount(sum(rows, "macs"), null), el("td"));
    return el("table", { class: "layers" }, el("thead", {}, el("tr", {}, head)), body, el("tfoot", {}, total));
  }

  function amount(value, share) {
    return el("td", {}, el("span", { class: "amount", text: value ? large(value) : DASH, title: count(value) }),
      el("span", { class: "meter", "aria-hidden": "true", style: share === null ? { visibility: "hidden" } : {} }, share ? el("i", { style: { width: `${Math.max(1, 54 * share)}px`, "max-width": "100%" } }) : null));
  }

  function line(r, most, chosen, inner) {
    const on = r.place === chosen;
    return el("tr", { class: `${on ? "on" : ""}${inner ? " inner" : ""}`, "data-place": r.place,
      on: { click: () => choose(r.place), pointerenter: () => near(r.place), pointerleave: () => near(null) } },
    el("th", { scope: "row" }, el("button", { text: inner ? r.name.slice(inner.length + 1) : r.name, title: r.name, "aria-label": r.name, "data-id": `row-${r.name}`, "aria-pressed": String(on) })),
    el("td", { text: r.kind, title: r.kind }), el("td", { text: shapeOf(r.shape) }), amount(r.parameters, r.parameters / most.parameters), amount(r.macs, r.macs / most.macs), el("td", { text: r.sees }));
  }

  function header(name, inner, most, chosen) {
    const is = open.has(name), end = inner[inner.length - 1], on = !is && inner.some((r) => r.place === chosen);
    const toggle = (event) => { event.stopPropagation(); flip(name); };
    return el("tr", { class: `block${on ? " on" : ""}`, on: { click: toggle } },
      el("th", { scope: "row" }, el("button", { text: `${is ? "\u25be" : "\u25b8"} ${name}`, title: name, "aria-expanded": String(is), "data-id": `block-${name}`, "data-block": name })),
      el("td", { text: `${inner.length} layers` }), el("td", { text: is ? "" : shapeOf(end.shape) }),
      amount(sum(inner, "parameters"), Math.min(1, sum(inner, "parameters") / most.parameters)), amount(sum(inner, "macs"), Math.min(1, sum(inner, "macs") / most.macs)), el("td", { text: is ? "" : end.sees }));
  }

  function flip(name, want = !open.has(name)) {
    if (want) open.add(name);
    else open.delete(name);
    keepFocus(root, drawTable);
  }

  function drawTable() {
    const box = root.querySelector(".board");
    const tools = data.fold ? el("div", { class: "tools" },
      el("button", { text: "Unfold all", "data-id": "unfold", on: { click: () => { open = new Set(data.blocks.map(([name]) => name)); keepFocus(root, drawTable); } } }),
      el("button", { text: "Fold all", "data-id": "fold", on: { click: () => { open.clear(); keepFocus(root, drawTable); } } })) : null;
    box.replaceChildren(...[tools, table()].filter(Boolean));
    box.parentElement.classList.toggle("tall", box.querySelectorAll("tbody tr").length > 13);
    const body = box.querySelector("tbody"), buttons_ = () => [...body.querySelectorAll("button")];
    set = roving(body, buttons_, () => 1, (to) => {
      const { place } = buttons_()[to].closest("tr").dataset;
      near(place === undefined ? null : Number(place));
    });
    const on = buttons_().findIndex((button) => button.closest("tr").classList.contains("on"));
    set(Math.max(on, 0));
    body.addEventListener("keydown", (event) => {
      const name = event.target.dataset?.block;
      if (!name || !["ArrowLeft", "ArrowRight"].includes(event.key)) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      flip(name, event.key === "ArrowRight");
    }, { capture: true });
  }

  /* ---- the chosen layer ---- */

  function detail() {
    const { title, settings, facts: rows, box, boxWords, actions } = data.detail, { picture } = data;
    const cell = Math.max(1, Math.floor(196 / Math.max(picture.width, picture.height))), scale = cell / picture.by;
    const frame = ruled(el("img", { src: url, alt: boxWords }), { width: picture.width, height: picture.height, cell, by: picture.by });
    const [top, left, bottom, right] = box;
    if (bottom > top && right > left) frame.marks.append(...brackets(left * scale, top * scale, (right - left) * scale, (bottom - top) * scale));
    return [el("h3", { "aria-live": "polite", text: title }), settings ? el("p", { class: "settings", text: settings }) : null,
      el("div", { class: "where" }, frame.element, el("p", { class: "note", text: boxWords })), facts(rows), buttons(actions, (name) => view.trigger("action", name))].filter(Boolean);
  }

  function kinds() {
    const words = { weights: "with weights", norm: "normalisation", activation: "activation", pooling: "pooling or reshaping", join: "sum, product or concatenation" };
    const there = new Set(data.rows.map(([, , family]) => (family === "other" ? "pooling" : family)));
    return el("div", { class: "kinds" }, Object.entries(words).filter(([name]) => there.has(name)).map(([name, text]) => el("span", {}, el("i", { class: name }), text)), el("span", { text: data.legend }));
  }

  function build() {
    const picture = data.arrays.png;
    if (url) URL.revokeObjectURL(url);
    url = pngUrl(picture);
    root.replaceChildren(el("div", { class: "silhouette", tabindex: "0", role: "group", "aria-label": "the network's layers, drawn to scale; choose one here or in the table" }), kinds(),
      el("div", { class: "nd" }, el("div", { class: "left" }, el("div", { class: "board" }), el("p", { class: "cap" }, rich(data.caption))), el("div", { class: "detail" }, detail())));
    drawTable();
    silhouette();
  }

  function unfoldChosen() {
    let first = 0;
    for (const [name, size] of data.blocks) {
      if (at() >= first && at() < first + size) open.add(name);
      first += size;
    }
  }

  return (next) => {
    data = next;
    const names = data.rows.map(([name]) => name).join();
    if (names !== shownFor) open = new Set();
    if (names !== shownFor || data.chosen !== last) unfoldChosen();
    [shownFor, last] = [names, data.chosen];
    keepFocus(root, build);
    built = true;
  };
});
