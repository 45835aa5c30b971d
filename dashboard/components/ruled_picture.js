export default component((view) => {
  let url = null;
  return (data) => {
    const { picture, overlay, side } = data, { width, height, by } = picture;
    const cell = Math.max(1, Math.floor((side * view.scale) / Math.max(width, height)));
    if (url) URL.revokeObjectURL(url);
    url = pngUrl(data.arrays.png);
    const image = el("img", { src: url, alt: data.alt });
    const { element, marks } = ruled(image, { width, height, cell, by });
    const reading_ = el("p", { class: "note", "aria-live": "polite", text: overlay ? "\u00a0" : null });
    if (overlay) {
      const canvas = paint(el("canvas", { "aria-hidden": "true", style: { opacity: overlay.opacity } }),
        levels(data.arrays.values, overlay.low, overlay.high), { width, height, cell, colours: table(overlay.palette, view.mode) });
      image.after(canvas);
      const say = (event) => {
        const column = Math.floor(event.offsetX / cell), row = Math.floor(event.offsetY / cell);
        if (column < 0 || row < 0 || column >= width || row >= height) return;
        reading_.textContent = `row ${span(row * by, row * by + by)}, column ${span(column * by, column * by + by)}: ${reading(data.arrays.values[row * width + column])}`;
      };
      canvas.addEventListener("pointermove", say);
      canvas.addEventListener("pointerleave", () => { reading_.textContent = "\u00a0"; });
    }
    for (const [top, left, bottom, right] of data.brackets) {
      marks.append(...brackets((left / by) * cell, (top / by) * cell, ((right - left) / by) * cell, ((bottom - top) / by) * cell));
    }
    view.root.replaceChildren(...[data.title ? el("h3", { text: data.title }) : null, element,
      overlay ? el("div", { style: { "margin-left": "22px" } }, legend({ ...overlay, width: Math.min(width * cell, 230) }), reading_) : null,
      data.caption ? el("p", { class: "cap" }, rich(data.caption)) : null].filter(Boolean));
  };
});
