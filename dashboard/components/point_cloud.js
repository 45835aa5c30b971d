/* A cloud of points. Its pictures, labels and neighbours come once; positions come from cloud_readings, through the
   window, so that a picture that forms sends coordinates and nothing else. Zoom and pan outlive every change. */

const DURATION = 420, NEAR = 14, STILL = matchMedia("(prefers-reduced-motion: reduce)"), MOST_SHOWN = 120, FOOT = 26;

export default component((view) => {
  const clouds = (window.cnnvizClouds ??= { last: {}, heard: {} });
  const eye = { zoom: 1, x: 0, y: 0 };
  let data = null, parts = {}, sheet = null, sheetPixels = null, frame = null, before = null, after = null, began = 0, queued = false, stale = true;
  let kinds = null, hidden = new Set(), picked = new Set(), chosen = null, hovered = null, rings = true, drag = null;

  /* ---- what is where ---- */

  const moved = () => (STILL.matches || !began ? 1 : Math.min(1, (performance.now() - began) / DURATION));
  const now = (i) => { const t = moved(); return [0, 1].map((k) => before[2 * i + k] + t * (after[2 * i + k] - before[2 * i + k])); };
  const size = () => [parts.stage.clientWidth, Math.max(1, parts.stage.clientHeight - FOOT)];

  function scaleNow() {
    const [w, h] = size(), [ex, ey] = frame.extent;
    return 0.5 * eye.zoom * Math.min((w - 36) / ex, (h - 36) / ey);
  }

  function onStage([x, y]) {
    const [w, h] = size(), s = scaleNow();
    return [w / 2 + (x - eye.x) * s, h / 2 - (y - eye.y) * s];
  }

  const visible = (i) => !(kinds[2 * i + 1] & HIDDEN);
  const colouring = () => data.colourings[frame?.colour] || Object.values(data.colourings)[0];
  const groups = () => data.arrays[`group_${colouring().name}`];
  const wrong = (i) => data.known && data.arrays.label[i] !== data.arrays.predicted[i];
  const trueName = (i) => (data.labels ? data.labels[data.arrays.label[i]] : null);
  const title = (i) => data.titles?.[i] ?? `${data.source} ${data.arrays.index[i]}`;

  /* The point nearest to a place on the stage, at most so many pixels away; plain numbers, for it runs at every move. */
  function nearestTo(x, y, most) {
    const [w, h] = size(), s = scaleNow(), t = moved(), left = eye.x + (x - w / 2) / s, up_ = eye.y + (h / 2 - y) / s;
    let best = null, least = (most / s) ** 2;
    for (let i = 0; i < data.count; i++) {
      if (kinds[2 * i + 1] & HIDDEN) continue;
      const dx = before[2 * i] + t * (after[2 * i] - before[2 * i]) - left, dy = before[2 * i + 1] + t * (after[2 * i + 1] - before[2 * i + 1]) - up_, d = dx * dx + dy * dy;
      if (d < least) { least = d; best = i; }
    }
    return best;
  }

  /* ---- painting ---- */

  const pointSize = () => (data.count > 3000 ? 6 : data.count > 1500 ? 8 : data.count > 300 ? 10 : 13) * view.scale * Math.min(2, Math.max(1, eye.zoom ** 0.35));

  /* Pointing at a point moves a ring and leaves the points as they are, so it costs the same for any number of them. */
  function paintSoon(points = true) {
    stale ||= points;
    if (queued) return;
    queued = true;
    requestAnimationFrame(() => { queued = false; if (parts.stage?.isConnected && frame) stale ? paintNow() : marks(); });
  }

  function paintNow() {
    stale = false;
    const [w, h] = size(), ratio = window.devicePixelRatio || 1, s = scaleNow();
    const wide = Math.round(w * ratio), high = Math.round(h * ratio);
    if (parts.canvas.width !== wide || parts.canvas.height !== high) Object.assign(parts.canvas, { width: wide, height: high });
    parts.painter.paint({ count: data.count, moved: moved(), size: pointSize() * ratio, centre: [eye.x, eye.y], scale: [(2 * s) / w, (2 * s) / h] });
    marks();
    if (moved() < 1) paintSoon();
  }

  function circle(kind, i, r) {
    const [cx, cy] = onStage(now(i));
    return [sv("circle", { class: "ring", cx, cy, r }), sv("circle", { class: `ring ${kind}`, cx, cy, r })];
  }

  function marks() {
    const r = pointSize() * 0.85 + 3, found = [];
    const threads = (from, others) => others.filter(visible).map((i) => { const [a, b] = onStage(from), [c, d] = onStage(now(i)); return sv("path", { class: "thread", d: `M${a} ${b}L${c} ${d}` }); });
    if (chosen !== null && visible(chosen)) found.push(...threads(now(chosen), near(chosen).map((one) => one.index)), ...circle("on", chosen, r));
    else if (frame.here && !picked.size) found.push(...threads(frame.here.point, frame.here.near.map((one) => one.index)));
    if (frame.here) {
      const [x, y] = onStage(frame.here.point), a = 7, b = 17, arms = `M${x - b} ${y}H${x - a}M${x + a} ${y}H${x + b}M${x} ${y - b}V${y - a}M${x} ${y + a}V${y + b}`;
      const left = x > size()[0] - 110;
      found.push(...["here under", "here"].map((kind) => sv("path", { class: kind, d: arms })), ...["here under", "here"].map((kind) => sv("circle", { class: kind, cx: x, cy: y, r: 11 })),
        sv("text", { class: "here-name", x: left ? x - 21 : x + 21, y: y - 8, "text-anchor": left ? "end" : "start", text: "your picture" }));
    }
    if (hovered !== null && visible(hovered)) found.push(...circle("hover", hovered, r));
    if (drag?.path) found.push(sv("path", { class: "lasso", d: `M${drag.path.map((p) => p.join(" ")).join("L")}Z` }));
    parts.over.replaceChildren(...found);
  }

  function regroup() {
    const group = groups();
    kinds = new Uint8Array(2 * data.count);
    for (let i = 0; i < data.count; i++) {
      kinds[2 * i] = group[i];
      kinds[2 * i + 1] = (hidden.has(group[i]) ? HIDDEN : 0) | (rings && wrong(i) ? RINGED : 0) | (picked.size && !picked.has(i) ? DIMMED : 0);
    }
    const ink = getComputedStyle(view.root).color.match(/[\d.]+/g).slice(0, 3).map((v) => v / 255);
    parts.painter.kinds(kinds);
    parts.painter.groups(colouring().groups, new Float32Array(ink));
    paintSoon();
  }

  /* ---- pictures from the one sheet ---- */

  function thumb(i, side) {
    const { tile, columns } = data, by = side / Math.max(tile[0], tile[1]), canvas = el("canvas", { width: tile[0], height: tile[1], "aria-hidden": "true" });
    if (sheet) canvas.getContext("2d").drawImage(sheet, (i % columns) * tile[0], Math.floor(i / columns) * tile[1], ...tile, 0, 0, ...tile);
    resize(canvas, Math.round(tile[0] * by), Math.round(tile[1] * by));
    return canvas;
  }

  function meanPicture(members) {
    const [w, h] = data.tile, canvas = el("canvas", { width: w, height: h, role: "img", "aria-label": `mean of ${members.length} pictures` });
    if (!sheet) return canvas;
    if (!sheetPixels) {
      const whole = el("canvas", { width: sheet.width, height: sheet.height }).getContext("2d", { willReadFrequently: true });
      whole.drawImage(sheet, 0, 0);
      sheetPixels = whole.getImageData(0, 0, sheet.width, sheet.height).data;
    }
    const sum = new Float64Array(4 * w * h), image = new ImageData(w, h);
    for (const i of members) {
      const left = (i % data.columns) * w, top = Math.floor(i / data.columns) * h;
      for (let y = 0; y < h; y++) for (let k = 0, from = 4 * ((top + y) * sheet.width + left); k < 4 * w; k++) sum[4 * y * w + k] += sheetPixels[from + k];
    }
    for (let k = 0; k < sum.length; k++) image.data[k] = Math.round(sum[k] / members.length);
    canvas.getContext("2d").putImageData(image, 0, 0);
    const by = Math.max(1, Math.floor(112 / Math.max(w, h)));
    resize(canvas, w * by, h * by);
    return canvas;
  }

  /* ---- words ---- */

  const near = (i) => Array.from({ length: data.neighbours }, (_, k) => ({ index: data.arrays.near[i * data.neighbours + k], distance: data.arrays.distances[i * data.neighbours + k] }));
  const says = (i) => `${data.classes[data.arrays.predicted[i]]} ${percent(data.arrays.confidence[i])}${THIN}%`;
  const named = (i) => (data.labels ? trueName(i) : title(i));
  const spoken = (i) => `${data.labels ? `${trueName(i)}, ` : ""}${title(i)}; it says ${says(i)}${wrong(i) ? ", a mistake" : ""}`;

  function tip(i, x, y) {
    hovered = i;
    parts.tip.hidden = i === null;
    if (i !== null) {
      parts.tip.replaceChildren(thumb(i, 56), el("div", {}, el("b", { text: data.labels ? trueName(i) : title(i) }), el("br"), `it says ${says(i)}`, wrong(i) ? el("div", { class: "warned", text: "a mistake" }) : null));
      const [w, h] = size(), box = parts.tip.getBoundingClientRect();
      Object.assign(parts.tip.style, { left: `${x + 16 + box.width > w ? x - 16 - box.width : x + 16}px`, top: `${Math.min(Math.max(4, y - box.height / 2), h - box.height - 4)}px` });
    }
    paintSoon(false);
  }

  function neighbourButtons(list, own) {
    return el("div", { class: "near" }, list.map(({ index, distance }, k) => el("button", { "data-id": `near-${k}`, "aria-label": `neighbour ${k + 1}: ${spoken(index)}, distance ${short(distance)}`, on: { click: () => choose(index) } },
      thumb(index, 48), el("span", {}, el("b", { class: data.labels && own !== null && trueName(index) !== own ? "wrong" : "", text: data.labels ? trueName(index).slice(0, 3) : "" }), short(distance)))));
  }

  function who() {
    const list = [];
    if (chosen !== null) {
      const href = data.href.replace("NUMBER", data.arrays.position[chosen]).replace("TITLE", encodeURIComponent(title(chosen)));
      list.push(el("h3", { text: "The chosen point" }),
        el("div", { class: "top" }, thumb(chosen, 84), el("div", {}, data.labels ? el("p", {}, "class ", el("b", { text: trueName(chosen) })) : null, el("p", { text: title(chosen) }), el("p", {}, "it says ", el("b", { text: says(chosen) })),
          wrong(chosen) ? el("p", { class: "warned", text: "A mistake." }) : null, data.href ? el("a", { class: "link", href, "data-go": href, "data-id": "open", text: "Open on every page" }) : null,
          frame?.here ? el("button", { class: "link", "data-id": "back", text: "Back to your picture", on: { click: () => choose(null) } }) : null)),
        el("h3", { style: { "margin-top": "10px" } }, "Nearest", el("span", { text: "in the vectors, with distance" })), neighbourButtons(near(chosen), trueName(chosen)));
    } else if (frame?.here) {
      const here = frame.here;
      list.push(el("h3", { text: "Your picture" }), el("div", { class: "top" }, el("img", { src: parts.here, alt: here.title, width: 84 }), el("div", {}, el("p", { text: here.title }), el("p", {}, "it says ", el("b", { text: here.says })), el("p", { class: "note", text: here.placed }))),
        el("h3", { style: { "margin-top": "10px" } }, "Nearest", el("span", { text: "in the vectors, with distance" })), neighbourButtons(here.near, here.own));
    } else {
      list.push(el("p", { class: "note", text: frame?.running ? "The picture is still forming. Yours is placed when it is final." : "Choose a point to see its picture and its neighbours." }));
    }
    parts.who.replaceChildren(...list);
  }

  function legend_() {
    const { groups: list, ramp } = colouring(), group = groups();
    if (ramp) { parts.legend.replaceChildren(legend({ ...ramp, palette: "cividis", width: 216 }), ringBox()); return; }
    const long = list.some((one) => one.name.length > 5);
    const buttons = list.map((one, g) => el("button", { "data-id": `group-${g}`, "aria-pressed": String(!hidden.has(g)), title: hidden.has(g) ? `show ${one.name}` : `hide ${one.name}`,
      on: { click: () => { hidden.has(g) ? hidden.delete(g) : hidden.add(g); refresh(); } } }, shapeIcon(one.shape, one.colour), el("span", { class: "nm", text: one.name }), el("span", { class: "n", text: group.reduce((n, v) => n + (v === g), 0) })));
    parts.legend.replaceChildren(el("h3", {}, colouring().title, el("span", { text: "click to hide" })), el("div", { class: `groups${long ? " long" : ""}` }, buttons), ringBox());
  }

  function ringBox() {
    if (!data.known) return "";
    const box = el("input", { type: "checkbox", "data-id": "rings", on: { change: () => { rings = box.checked; regroup(); } } });
    box.checked = rings;
    const count = Array.from({ length: data.count }, (_, i) => wrong(i)).filter(Boolean).length;
    return el("label", {}, box, `Ring the ${count} mistake${count === 1 ? "" : "s"}`);
  }

  function selection() {
    parts.picked.hidden = !picked.size;
    if (!picked.size) { parts.picked.replaceChildren(); return; }
    const members = [...picked].sort((a, b) => a - b), names = data.labels || data.classes, of = data.labels ? data.arrays.label : data.arrays.predicted, counts = new Map();
    for (const i of members) counts.set(of[i], (counts.get(of[i]) || 0) + 1);
    const ranked = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 10), mistakes = members.filter(wrong).length;
    parts.picked.replaceChildren(
      el("header", {}, el("h3", {}, `${members.length.toLocaleString("en")} selected`, data.known ? el("span", { text: `${mistakes} mistake${mistakes === 1 ? "" : "s"}` }) : null),
        el("button", { class: "link", "data-id": "csv", text: "CSV", on: { click: () => save(members) } }), el("button", { class: "link", "data-id": "clear", text: "Clear", on: { click: () => pick([]) } })),
      el("div", { class: "share", role: "img", "aria-label": ranked.map(([c, n]) => `${names[c]}: ${n}`).join(", ") },
        ranked.flatMap(([c, n]) => [el("span", { title: names[c], text: names[c] }), el("i", { style: { width: `${(100 * n) / ranked[0][1]}%` } }), el("span", { text: n })])),
      el("div", {}, meanPicture(members), el("p", { class: "note", style: { "margin-top": "6px" }, text: `mean of ${members.length === 1 ? "one picture" : "all of them"}` })),
      el("div", { class: "pictures" }, el("div", { class: "many", role: "group", "aria-label": "selected pictures" }, members.slice(0, MOST_SHOWN).map((i) => el("button", { "aria-label": spoken(i), title: spoken(i), on: { click: () => choose(i) } }, thumb(i, 40)))),
        members.length > MOST_SHOWN ? el("p", { class: "note", text: `the first ${MOST_SHOWN} of ${members.length.toLocaleString("en")}` }) : null));
  }

  function save(members) {
    const quoted = (text) => `"${String(text).replaceAll('"', '""')}"`;
    const lines = members.map((i) => [data.arrays.position[i], quoted(title(i)), quoted(trueName(i) ?? ""), quoted(data.classes[data.arrays.predicted[i]]), data.arrays.confidence[i].toFixed(4), after[2 * i], after[2 * i + 1]].join(","));
    const url = URL.createObjectURL(new Blob([["position,picture,class,prediction,confidence,x,y", ...lines].join("\n")], { type: "text/csv" }));
    el("a", { href: url, download: "cnnviz-selection.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }

  function twin() {
    if (!parts.twin.open || !frame) return;
    const group = groups(), rows = colouring().groups.map((one, g) => {
      const members = [];
      for (let i = 0; i < data.count; i++) if (group[i] === g) members.push(i);
      const mean = (k) => (members.length ? fixed(members.reduce((s, i) => s + after[2 * i + k], 0) / members.length, 3) : "");
      return [one.name, members.length, members.filter(wrong).length, mean(0), mean(1), members.filter((i) => picked.has(i)).length];
    });
    const heads = [colouring().title, "points", "mistakes", "centre x", "centre y", "selected"];
    parts.table.replaceChildren(el("table", {}, el("thead", {}, el("tr", {}, heads.map((text) => el("th", { scope: "col", text })))),
      el("tbody", {}, rows.map(([name, ...cells]) => el("tr", {}, el("th", { scope: "row", text: name }), cells.map((text) => el("td", { text })))))));
  }

  /* ---- choosing ---- */

  function choose(i) {
    chosen = i;
    parts.live.textContent = i === null ? "" : spoken(i);
    keepFocus(view.root, who);
    paintSoon(false);
  }

  function pick(members) {
    picked = new Set(members);
    parts.live.textContent = picked.size ? `${picked.size} points selected` : "nothing selected";
    refresh();
  }

  function refresh() { keepFocus(view.root, () => { regroup(); legend_(); who(); selection(); twin(); }); }

  const all = (test) => Array.from({ length: data.count }, (_, i) => i).filter((i) => visible(i) && test(i));
  const inView = (i) => { const [x, y] = onStage(now(i)), [w, h] = size(); return x >= 0 && y >= 0 && x <= w && y <= h; };

  function inside(path, [x, y]) {
    let odd = false;
    for (let i = 0, j = path.length - 1; i < path.length; j = i++) {
      const [ax, ay] = path[i], [bx, by] = path[j];
      if ((ay > y) !== (by > y) && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) odd = !odd;
    }
    return odd;
  }

  /* ---- pointer and keyboard ---- */

  const place = (event) => { const box = parts.stage.getBoundingClientRect(); return [event.clientX - box.left - 1, event.clientY - box.top - 1]; };

  function down(event) {
    if (event.button !== 0 || !frame) return;
    parts.stage.setPointerCapture(event.pointerId);
    const [x, y] = place(event);
    drag = { x, y, eye: { ...eye }, far: false, path: event.shiftKey ? [[x, y]] : null };
  }

  function move(event) {
    if (!frame) return;
    const [x, y] = place(event);
    parts.stage.classList.toggle("choosing", event.shiftKey || Boolean(drag?.path));
    if (!drag) { const i = nearestTo(x, y, NEAR * view.scale); if (i !== hovered || i !== null) tip(i, x, y); return; }
    drag.far ||= Math.hypot(x - drag.x, y - drag.y) > 4;
    if (drag.path) drag.path.push([x, y]);
    else if (drag.far) { const s = scaleNow(); eye.x = drag.eye.x - (x - drag.x) / s; eye.y = drag.eye.y + (y - drag.y) / s; tip(null); }
    paintSoon(!drag.path);
  }

  function up(event) {
    if (!drag) return;
    const { far, path } = drag, [x, y] = place(event);
    drag = null;
    if (path && far) pick(all((i) => inside(path, onStage(now(i)))));
    else if (!far) choose(nearestTo(x, y, NEAR * view.scale));
    paintSoon();
  }

  function zoomAt(x, y, factor) {
    const [w, h] = size(), s = scaleNow(), fresh = Math.min(60, Math.max(0.5, eye.zoom * factor)), k = fresh / eye.zoom, dx = x - w / 2, dy = h / 2 - y;
    eye.x += (dx / s) * (1 - 1 / k);
    eye.y += (dy / s) * (1 - 1 / k);
    eye.zoom = fresh;
    paintSoon();
  }

  function whole() { Object.assign(eye, { zoom: 1, x: 0, y: 0 }); paintSoon(); }

  /* From the point one is at to the nearest whose direction is within 45 degrees of the arrow. */
  function step([down_, right]) {
    const [x, y] = hovered === null ? (chosen === null ? size().map((v) => v / 2) : onStage(now(chosen))) : onStage(now(hovered));
    let best = null, least = Infinity;
    for (const i of all(inView)) {
      const [px, py] = onStage(now(i)), along = (px - x) * right + (py - y) * down_, across = Math.abs((px - x) * down_) + Math.abs((py - y) * right);
      if (i === hovered || along <= 0.5 || across > along) continue;
      const d = along * along + 2 * across * across;
      if (d < least) { least = d; best = i; }
    }
    if (best === null) return;
    tip(best, ...onStage(now(best)));
    parts.live.textContent = spoken(best);
  }

  function keyed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !frame) return;
    const [w, h] = size();
    const acts = { Enter: () => hovered !== null && choose(hovered), " ": () => hovered !== null && choose(hovered), "+": () => zoomAt(w / 2, h / 2, 1.4), "=": () => zoomAt(w / 2, h / 2, 1.4), "-": () => zoomAt(w / 2, h / 2, 1 / 1.4), 0: whole,
      Escape: () => { tip(null); choose(null); pick([]); } };
    const act = ARROWS[event.key] ? () => step(ARROWS[event.key]) : acts[event.key];
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  }

  /* ---- life ---- */

  function heard(fresh) {
    if (!data || !parts.painter || fresh.set !== data.set) return;
    const points = fresh.arrays.points, recoloured = frame?.colour !== fresh.colour;
    if (after && points.length === after.length) {
      if (!points.every((v, k) => v === after[k])) { const t = moved(); before = before.map((v, k) => v + t * (after[k] - v)); after = points; began = performance.now(); }
    } else { before = after = points; began = 0; }
    if (recoloured) hidden.clear();
    if (parts.here) URL.revokeObjectURL(parts.here);
    parts.here = fresh.here ? pngUrl(fresh.arrays.here) : null;
    frame = fresh;
    parts.axes.textContent = fresh.axes;
    parts.painter.positions(before, after);
    refresh();
  }

  function build() {
    parts.canvas = el("canvas", { "aria-hidden": "true" });
    parts.painter = pointPainter(parts.canvas);
    if (!parts.painter) {
      view.root.replaceChildren(el("p", { class: "sorry note", text: "This browser has no WebGL 2, which the cloud is drawn with. Take PNG above for the picture, or npz for the points." }));
      return;
    }
    parts.over = sv("svg", { "aria-hidden": "true" });
    parts.tip = el("div", { class: "tip", hidden: true });
    parts.axes = el("span", {});
    parts.live = el("p", { class: "hidden", "aria-live": "polite" });
    parts.stage = el("div", { class: "stage", tabindex: 0, role: "application", "data-id": "stage", "aria-label": `${data.alt} Arrow keys step from point to point, Enter chooses, plus and minus zoom, 0 shows all.`,
      on: { pointerdown: down, pointermove: move, pointerup: up, pointercancel: () => { drag = null; paintSoon(); }, pointerleave: () => { if (!drag) tip(null); }, keydown: keyed, dblclick: whole } },
      parts.canvas, parts.over, el("p", { class: "axis-note" }, parts.axes), parts.tip);
    parts.stage.addEventListener("wheel", (event) => { if (!frame) return; event.preventDefault(); zoomAt(...place(event), Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016))); }, { passive: false });
    const link = (id, text, act) => el("button", { class: "link", "data-id": id, text, on: { click: act } });
    const under = el("div", { class: "under-stage" }, el("span", { text: "wheel zooms, drag moves, Shift + drag selects" }), link("all", "Show all", whole), link("view", "Select what is in view", () => frame && pick(all(inView))),
      data.known ? link("mistakes", "Select mistakes", () => frame && pick(all(wrong))) : null);
    parts.legend = el("div", {});
    parts.who = el("div", { class: "who" });
    parts.picked = el("section", { class: "picked", hidden: true, "aria-label": "Selection" });
    parts.table = el("div", { class: "wide" });
    parts.twin = el("details", { class: "twin", on: { toggle: twin } }, el("summary", { "data-id": "twin", text: "The cloud as a table" }), parts.table);
    view.root.replaceChildren(el("div", { class: "cloud", style: { "--grow": Math.min(view.scale, 1.25) } }, el("div", {}, parts.stage, under, parts.live), el("div", { class: "aside" }, parts.legend, parts.who), parts.picked, parts.twin));
    new ResizeObserver(() => paintSoon()).observe(parts.stage);
  }

  return (fresh) => {
    if (!data || data.crowd !== fresh.crowd) { picked.clear(); hidden.clear(); chosen = null; before = after = null; whole(); }
    data = fresh;
    hovered = drag = null;
    frame = null;
    build();
    if (!parts.painter) return;
    sheetPixels = null;
    createImageBitmap(new Blob([data.arrays.sheet])).then((image) => { sheet = image; sheetPixels = null; keepFocus(view.root, () => { who(); selection(); }); });
    clouds.heard[data.cloud] = heard;
    if (clouds.last[data.cloud]) heard(clouds.last[data.cloud]);
  };
});
