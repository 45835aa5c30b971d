/* Panels of one experiment. The cell under the pointer is marked in all of them, and its masked picture is shown. */

const SIDE = 168;

/* Where each window's cell begins and ends: halfway to the next centre. */
function edges(ranges, length) {
  const middles = ranges.map(([low, high]) => (low + high) / 2), half = ranges.length > 1 ? (middles[1] - middles[0]) / 2 : length / 2;
  return middles.map((m, i) => [i ? (middles[i - 1] + m) / 2 : Math.max(0, m - half), i + 1 < middles.length ? (m + middles[i + 1]) / 2 : Math.min(length, m + half)]);
}

export default component((view) => {
  let data = null, at = null, pinned = null, parts = {};

  const scaleOf = () => { const side = Math.max(data.width, data.height), fit = (SIDE * view.scale) / side; return fit >= 1 ? Math.floor(fit) : fit; };

  /* Cells of any size as one canvas in device pixels: nothing is smoothed. */
  function cellCanvas(colourOf) {
    const s = scaleOf(), ratio = Math.max(1, Math.round(window.devicePixelRatio || 1)), canvas = el("canvas", { "aria-hidden": "true" });
    canvas.width = Math.round(data.width * s * ratio);
    canvas.height = Math.round(data.height * s * ratio);
    resize(canvas, Math.round(data.width * s), Math.round(data.height * s));
    const context = canvas.getContext("2d"), snap = (v) => Math.round(v * s * ratio);
    context.fillStyle = getComputedStyle(view.root).getPropertyValue("--well").trim() || "transparent";
    context.fillRect(0, 0, canvas.width, canvas.height);
    parts.down.forEach(([top, bottom], r) => parts.across.forEach(([left, right], c) => {
      context.fillStyle = colourOf(r * parts.across.length + c);
      context.fillRect(snap(left), snap(top), snap(right) - snap(left), snap(bottom) - snap(top));
    }));
    return canvas;
  }

  const css = (number) => `rgb(${number & 255},${(number >>> 8) & 255},${(number >>> 16) & 255})`;

  function drawn(panel, i) {
    const colours = table(panel.palette, view.mode), index = levels(data.arrays[`panel${i}`], panel.low, panel.high);
    if (!panel.per_pixel) return cellCanvas((k) => css(colours[index[k]]));
    const canvas = paint(el("canvas", { "aria-hidden": "true" }), index, { width: data.width, height: data.height, cell: 1, colours });
    resize(canvas, Math.round(data.width * scaleOf()), Math.round(data.height * scaleOf()));
    return canvas;
  }

  function framed(canvas, onPale, extra) {
    const s = scaleOf(), whole = s >= 1;
    const shape = whole ? { width: data.width, height: data.height, cell: s } : { width: Math.round(data.width * s), height: Math.round(data.height * s), cell: 1, by: 1 / s };
    const { element, marks } = ruled(canvas, shape);
    marks.append(...(parts.contour ? contourMarks(parts.contour, s, onPale) : []), ...extra);
    const pointer = sv("g", {});
    marks.append(pointer);
    parts.pointers.push(pointer);
    canvas.addEventListener("pointermove", (event) => point(cellAt(event, canvas)));
    canvas.addEventListener("pointerleave", () => point(pinned));
    canvas.addEventListener("click", (event) => { const cell = cellAt(event, canvas); if (cell) view.trigger("place", { row: cell[0], column: cell[1], at: performance.now() }); });
    return element;
  }

  function cellAt(event, canvas) {
    const bounds = canvas.getBoundingClientRect(), s = scaleOf(), y = (event.clientY - bounds.top) / s, x = (event.clientX - bounds.left) / s;
    const find = (list, v) => list.findIndex(([low, high]) => v >= low && v < high);
    const cell = [find(parts.down, y), find(parts.across, x)];
    return cell.includes(-1) ? pinned : cell;
  }

  function panel(one, i) {
    const width = Math.round(data.width * scaleOf());
    return el("div", { class: "panel", role: "group", "aria-label": `${one.letter} ${one.title}: ${one.alt}` }, el("h3", {}, el("b", { text: one.letter }), one.title),
      framed(drawn(one, i), one.palette === "diverging", []), legend({ ...one, width: Math.min(width, 230) }));
  }

  function labels() {
    const { classes, title, alt, letter, note } = data.labels, colour = Object.fromEntries(classes.map((one) => [one.index, one.colour])), s = scaleOf();
    const canvas = cellCanvas((k) => colour[data.arrays.label[k]]);
    const discs = classes.filter((one) => one.spot && one.name.length <= 3).map((one) => {
      const [r, c] = one.spot, x = ((parts.across[c][0] + parts.across[c][1]) / 2) * s, y = ((parts.down[r][0] + parts.down[r][1]) / 2) * s;
      return sv("g", { class: "disc" }, sv("circle", { cx: x, cy: y, r: 10 * view.scale }), sv("text", { x, y, text: one.name }));
    });
    return el("div", { class: "panel", role: "group", "aria-label": `${letter} ${title}: ${alt}` }, el("h3", {}, el("b", { text: letter }), title), framed(canvas, true, discs),
      el("div", { class: "classes", style: { "max-width": `${Math.round(data.width * s)}px` } }, classes.map((one) => el("span", {}, el("i", { style: { background: one.colour } }), el("span", { class: "nm", title: one.name, text: one.name }), el("span", { class: "n", text: one.count })))),
      note ? el("p", { class: "note", text: note }) : null);
  }

  function point(cell) {
    at = cell;
    const s = scaleOf();
    for (const pointer of parts.pointers) {
      pointer.replaceChildren();
      if (!cell) continue;
      const y = ((parts.down[cell[0]][0] + parts.down[cell[0]][1]) / 2) * s, x = ((parts.across[cell[1]][0] + parts.across[cell[1]][1]) / 2) * s;
      pointer.append(...square(x - 4, y - 4, 8));
    }
    peek();
  }

  function peek() {
    if (!at) { parts.peek.replaceChildren(el("p", { class: "note", text: "Point at a cell to see what the network saw there; click it to put the patch there." })); return; }
    const [top, bottom] = data.rows[at[0]], [left, right] = data.columns[at[1]];
    const canvas = el("canvas", { "aria-hidden": "true" }), plane = data.height * data.width, image = new ImageData(data.width, data.height);
    for (let y = 0; y < data.height; y++) {
      for (let x = 0; x < data.width; x++) {
        const from = y >= top && y < bottom && x >= left && x < right ? data.arrays.fill : data.arrays.picture, k = y * data.width + x;
        for (let c = 0; c < 3; c++) image.data[4 * k + c] = from[(data.channels >= 3 ? c : 0) * plane + k];
        image.data[4 * k + 3] = 255;
      }
    }
    canvas.width = data.width;
    canvas.height = data.height;
    canvas.getContext("2d").putImageData(image, 0, 0);
    const cell = Math.max(data.width, data.height) > 96 ? 96 / Math.max(data.width, data.height) : Math.floor(96 / Math.max(data.width, data.height));
    resize(canvas, data.width * cell, data.height * cell);
    const count = data.names.length, start = (at[0] * data.columns.length + at[1]) * count;
    const ranked = Array.from({ length: count }, (_, i) => [data.names[i], data.arrays.shares[start + i]]).sort((a, b) => b[1] - a[1]).slice(0, 4);
    parts.peek.replaceChildren(el("p", { class: "note", text: `patch over rows ${span(top, bottom)}, columns ${span(left, right)}` }), canvas,
      el("dl", {}, ranked.flatMap(([name, share]) => [el("dt", { title: name, text: name }), el("dd", { text: `${percent(share)}${THIN}%` })])));
  }

  return (fresh) => {
    data = fresh;
    const area = data.width * data.height, planes = Array.from({ length: data.channels }, (_, c) => data.arrays.picture.subarray(c * area, (c + 1) * area));
    const grey = new Float32Array(area);
    for (const plane of planes) for (let i = 0; i < area; i++) grey[i] += plane[i] / planes.length;
    parts = { down: edges(data.rows, data.height), across: edges(data.columns, data.width), pointers: [], contour: data.outline ? outline(grey, data.width, data.height) : "" };
    parts.peek = el("div", { class: "peek", "aria-live": "polite" });
    pinned = data.at;
    const [first, ...rest] = data.panels.map(panel);
    view.root.replaceChildren(el("div", { class: "panels" }, first, labels(), rest,
      el("div", { class: "reader" }, el("p", { class: "cap" }, rich(data.caption)), parts.peek)));
    point(pinned);
  };
});
