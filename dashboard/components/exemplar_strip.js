/* The pictures that excite one unit most, cut to what it sees, and under each what guided backprop sends back to it. */

export default component((view) => {
  let data;

  const cellOf = () => Math.max(1, Math.floor(112 / Math.max(data.width, data.height)));

  function pictureCanvas(index) {
    const { width, height, channels } = data, area = width * height, canvas = el("canvas", { width, height }), image = new ImageData(width, height);
    const from = index * channels * area, inside = data.arrays.inside.subarray(index * area, (index + 1) * area);
    for (let i = 0; i < area; i++) {
      if (!inside[i]) continue;
      for (let c = 0; c < 3; c++) image.data[4 * i + c] = data.arrays.pictures[from + (channels >= 3 ? c : 0) * area + i];
      image.data[4 * i + 3] = 255;
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  }

  function mapCanvas(index) {
    const { width, height } = data, area = width * height, peak = data.items[index].peak || 1;
    const values = data.arrays.maps.subarray(index * area, (index + 1) * area), inside = data.arrays.inside.subarray(index * area, (index + 1) * area);
    const levels_ = levels(values, -peak, peak).map((level, i) => (inside[i] ? level : EMPTY));
    return paint(el("canvas"), levels_, { width, height, cell: 1, colours: table("diverging", view.mode) });
  }

  function item(one, index) {
    const cell = cellOf(), big = [data.width * cell, data.height * cell];
    const picture = pictureCanvas(index), map = data.arrays.maps.length ? mapCanvas(index) : el("div", { class: "wait" });
    picture.setAttribute("role", "img");
    picture.setAttribute("aria-label", `${one.title}, ${one.place}, activation ${short(one.value)}`);
    for (const canvas of [picture, map]) resize(canvas, ...big);
    return el("figure", {}, picture, map, el("figcaption", {}, el("b", { text: short(one.value) }), el("span", { text: one.title })));
  }

  function draw() {
    view.root.replaceChildren(...[el("div", { class: "strip" }, data.items.map(item)), el("p", { class: "note", text: data.note }), data.caption ? el("p", { class: "cap" }, rich(data.caption)) : null].filter(Boolean));
  }

  return (fresh) => { data = fresh; draw(); };
});
