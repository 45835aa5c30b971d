export default component((view) => {
  let url;
  const isSmall = () => view.root.clientWidth <= 1040 * view.scale;

  /* The tile size at which the maps of all strips, enlarged by whole numbers, cover most. */
  function slotFor(strips) {
    const cover = (slot) => strips.reduce((sum, { sides }) => sum + (Math.floor(slot / Math.max(...sides)) * Math.max(...sides)) / slot, 0);
    return [56, 57, 58, 60, 62, 64].map((slot) => Math.round(slot * view.scale)).reduce((best, slot) => (cover(slot) > cover(best) + 1e-9 ? slot : best));
  }

  const limits = ({ low, high }) => {
    const top = Math.max(-low, high);
    return el("div", { class: "ends" }, [low, ...(low < 0 ? [0] : []), high].map((value) => el("span", { text: tickText(value, top) })));
  };
  const key = (strip) => el("div", { class: "key" }, el("b", { class: strip.name.length > 13 ? "long" : null, text: strip.name, title: strip.name }), el("span", { text: strip.words }),
    el("div", { class: "bar", style: { "--ramp": `var(--${strip.palette})` } }), limits(strip));

  const open = (layer, channel) => () => view.trigger("map", { layer, channel });

  function stripRow(strip, index, channels, slot) {
    const [height, width] = strip.sides, cell = Math.max(1, Math.floor(slot / Math.max(height, width)));
    const tiles = channels.map((channel, i) => el("button", {
      class: "tile", "data-id": `${strip.name}:${channel}`, title: strip.hint || null,
      "aria-label": `${strip.name}, channel ${channel}, highest value ${reading(strip.tops[i])}`, on: { click: open(strip.name, channel) },
    }, paint(el("canvas"), index.subarray(i * height * width, (i + 1) * height * width), { width, height, cell, colours: table(strip.palette, view.mode) })));
    return el("div", { class: "row" }, el("div", { class: "tiles" }, tiles), key(strip));
  }

  const header = (channels, later) => el("div", { class: `row head${later ? " later" : ""}` },
    el("div", { class: "tiles", "aria-hidden": "true" }, channels.map((channel, i) => el("span", { text: i ? channel : `ch. ${channel}` }))),
    el("div", { text: later ? "" : "scale per layer" }));

  function unitsRow(strip, index, room) {
    const across = Math.min(strip.count, Math.max(32, 2 ** Math.ceil(Math.log2(Math.sqrt(strip.count * 8))))), down = Math.ceil(strip.count / across);
    const cell = Math.max(1, Math.min(24 * view.scale, Math.floor(room / across))), padded = new Uint8Array(across * down).fill(EMPTY);
    padded.set(index);
    return el("div", { class: "row units" }, el("div", { class: "tiles" }, el("button", {
      class: "tile", "data-id": `${strip.name}:units`, "aria-label": `${strip.name}, ${strip.words}`, on: { click: open(strip.name, 0) },
    }, paint(el("canvas"), padded, { width: across, height: down, cell, colours: table(strip.palette, view.mode) }))), key(strip));
  }

  function layers(data) {
    const all = data.blocks.flatMap((block) => block.strips), slot = slotFor(all), room = 490 * view.scale, small = isSmall();
    const count = Math.min(8, small ? Math.floor((420 * view.scale) / (slot + 4)) : Math.floor((room + 6) / (slot + 6)));
    const part = el("div", { class: "lay", style: { "--slot": `${slot}px` } }, el("h3", {}, "Layers", el("span", { text: data.words })));
    let at = 0;
    data.blocks.forEach((block, i) => {
      const channels = block.channels.slice(0, count);
      part.append(header(channels, i > 0));
      for (const strip of block.strips) part.append(stripRow(strip, data.arrays[`strip${at++}`], channels, slot));
    });
    if (data.units) part.append(unitsRow(data.units, data.arrays[`strip${at}`], small ? 416 * view.scale : room));
    roving(part, () => [...part.querySelectorAll(".tile")], () => count)(0);
    return part;
  }

  function input(data) {
    const { picture } = data, cell = Math.max(1, Math.floor((168 * view.scale) / Math.max(picture.width, picture.height)));
    if (url) URL.revokeObjectURL(url);
    url = pngUrl(data.arrays.png);
    const size = `${Math.round(picture.height * picture.by)} by ${Math.round(picture.width * picture.by)} pixels`;
    const frame = ruled(el("img", { src: url, alt: `the input, ${size}` }), { ...picture, cell });
    const scale = picture.channels === 3 ? el("div", { class: "pixels", text: "red, green and blue, 0 to 1" })
      : el("div", { class: "pixels" }, el("span", { text: "0" }), el("i"), el("span", { text: "1" }), el("em", { text: "pixel value" }));
    return el("div", { class: "in" }, el("h3", { text: "Input" }), frame.element, scale, el("p", { class: "cap" }, rich(data.caption)));
  }

  function prediction({ rows, chosen, classes, actions, asideTitle, aside }) {
    const title = el("h3", {}, "Prediction", rows.length < classes ? el("span", { text: `${rows.length} of ${classes.toLocaleString("en")} classes` }) : null);
    return el("div", { class: "pr" }, title, predictionBars({ rows, chosen, label: "Prediction" }, (index) => view.trigger("class_", index)),
      aside ? el("div", { class: "aside" }, el("b", { text: asideTitle }), el("p", {}, rich(aside))) : null,
      actions.length ? buttons(actions, (name) => view.trigger("action", name)) : null);
  }

  let data, wasSmall;
  const draw = () => {
    wasSmall = isSmall();
    view.root.replaceChildren(el("div", { class: "ov" }, input(data), layers(data), prediction(data.prediction)),
      el("p", { class: "cap later-cap" }, rich(data.caption)));
  };
  new ResizeObserver(() => data && wasSmall !== isSmall() && keepFocus(view.root, draw)).observe(view.root);
  return (next) => { data = next; draw(); };
});
