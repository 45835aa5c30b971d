/* What the tests of a map say: the map under ever more random weights, its pixels taken away and put back, its answer to
   noise, and whether it adds up. A curve grows while it is computed. */

const STEP = 62, PLOT = { width: 196, height: 104 };

function axis(width, height, low, high, marks) {
  const group = sv("g", { class: "tk" });
  for (const [value, text] of marks) {
    const y = height - ((value - low) / (high - low || 1)) * height;
    group.append(sv("path", { class: "minor", d: `M0 ${y}H${width}` }), sv("text", { x: -6, y: y + 4, "text-anchor": "end", text }));
  }
  return group;
}

const pathOf = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

function line(points, kind) {
  const dots = kind.includes("square") ? points.map(([x, y]) => sv("rect", { class: kind, x: x - 3, y: y - 3, width: 6, height: 6 }))
    : kind.includes("dot") ? points.map(([x, y]) => sv("circle", { class: kind, cx: x, cy: y, r: 3 })) : [];
  return [sv("path", { class: `line ${kind}`, d: pathOf(points) }), ...dots];
}

export default component((view) => {
  let data;

  /* ---- random weights: a map for each stage, and right under it its two numbers ---- */

  function stageMap(index, label) {
    const { width, height } = data, area = width * height, cell = Math.max(1, Math.floor(56 / Math.max(width, height)));
    const values = data.arrays.stages.subarray(index * area, (index + 1) * area);
    let top = 0;
    for (const v of values) top = Math.max(top, v);
    const canvas = paint(el("canvas", { role: "img", "aria-label": label }), levels(values, 0, top || 1), { width, height, cell, colours: table("cividis", view.mode) });
    return canvas;
  }

  function randomPanel(test, index, start) {
    const { stages, total } = test, columns = total + 1, wide = columns * STEP, high = 84;
    const x = (i) => i * STEP + 28, y = (v) => high - Math.max(0, v) * high;
    const curve = (name) => [[x(0), y(1)], ...stages.map((stage, i) => [x(i + 1), y(stage[name])])];
    const words = `rank correlation ${stages.map((s) => fixed(s.spearman)).join(", ") || "not yet"}; structural similarity ${stages.map((s) => fixed(s.ssim)).join(", ") || "not yet"}`;
    const chart = sv("svg", { class: "plot", width: wide + 30, height: high + 26, role: "img", "aria-label": words },
      sv("g", { transform: "translate(26,8)" }, axis(wide - 6, high, 0, 1, [[0, "0"], [0.5, "0.5"], [1, "1"]]), line(curve("ssim"), "other square"), line(curve("spearman"), "main dot")));
    const maps = el("div", { class: "stages" }, [["as trained", 0], ...stages.map((stage, i) => [stage.layer, i + 1])].map(([name, i]) => el("figure", {},
      stageMap(start + i, i ? `map with random weights down to ${name}` : "the map itself"), el("figcaption", { title: name }, i ? el("code", { text: name.length > 8 ? `…${name.slice(-7)}` : name }) : name))),
      Array.from({ length: total - stages.length }, () => el("figure", {}, el("div", { class: "wait" }))));
    return el("section", { class: columns > 7 ? "long" : "" }, el("h3", {}, el("b", { text: "abcdefgh"[index] }), test.title, el("span", { text: "each map has its own scale; magnitude" })),
      maps, chart, key([["main", "rank correlation with the map"], ["other", "structural similarity"]]), said(test.sentence));
  }

  const key = (entries) => el("p", { class: "keys" }, entries.map(([kind, text]) => el("span", {}, el("i", { class: kind }), text)));
  const said = (sentence) => el("p", { class: "cap" }, rich(sentence));

  /* ---- pixels taken away, put back ---- */

  function curvePanel(title, note, own, random, shares, unit, letter) {
    const all = [...own, ...random], low = Math.min(0, ...all), high = Math.max(...all, low + 1e-9);
    const points = (values) => values.map((v, i) => [shares[i] * PLOT.width, PLOT.height - ((v - low) / (high - low)) * PLOT.height]);
    const words = `${title}: ${own.length ? `${short(own[0])} to ${short(own[own.length - 1])}` : "not yet"}, random order ${random.length ? `${short(random[0])} to ${short(random[random.length - 1])}` : "not yet"}`;
    return el("section", {}, el("h3", {}, letter ? el("b", { text: letter }) : null, title, el("span", { text: note })),
      sv("svg", { class: "plot", width: PLOT.width + 52, height: PLOT.height + 34, role: "img", "aria-label": words },
        sv("g", { transform: "translate(38,8)" }, axis(PLOT.width, PLOT.height, low, high, [[low, tickText(low, high)], [high, tickText(high, high)]]),
          line(points(random), "other"), line(points(own), "main"),
          [0, 50, 100].map((share) => sv("text", { class: "small", x: (share / 100) * PLOT.width, y: PLOT.height + 18, "text-anchor": share === 0 ? "start" : share === 100 ? "end" : "middle", text: share === 100 ? `100${THIN}%` : share })))),
      el("p", { class: "note", text: unit }));
  }

  function removalPanels(test, index) {
    const areas = test.areas || {};
    const area = (name) => (areas[name] === undefined ? "area not yet known" : `area ${fixed(areas[name])}, random ${fixed(areas[`random_${name}`] ?? NaN)}`);
    return el("section", {}, el("div", { class: "pair" },
      curvePanel("Taken away", "strongest first", test.deletion, test.random_deletion, test.shares, `${test.unit} against share taken away; ${area("deletion")}`, "abcdefgh"[index]),
      curvePanel("Put back", "strongest first", test.insertion, test.random_insertion, test.shares, `${test.unit} against share put back; ${area("insertion")}`)),
      key([["main", "order of the map"], ["other", "random order"]]), said(test.sentence));
  }

  /* ---- noise, completeness ---- */

  function noisePanel(test, index) {
    const top = Math.max(1, ...test.changes), width = 220, x = (v) => (v / top) * width;
    return el("section", {}, el("h3", {}, el("b", { text: "abcdefgh"[index] }), "A little noise", el("span", { text: `${test.changes.length} of ${test.total} tries` })),
      sv("svg", { class: "plot", width: width + 20, height: 44, role: "img", "aria-label": `changes ${test.changes.map((c) => percent(c)).join(", ")} per cent` },
        sv("g", { transform: "translate(8,6)" }, sv("path", { class: "axis", d: `M0 14H${width}` }), test.changes.map((change) => sv("circle", { class: "main dot", cx: x(change), cy: 14, r: 4 })),
          sv("text", { class: "small", x: 0, y: 34, text: "0" }), sv("text", { class: "small", x: width, y: 34, "text-anchor": "end", text: `${fixed(100 * top, 0)}${THIN}%` }))),
      el("p", { class: "note", text: "change of the map, as a share of its own size" }), said(test.sentence));
  }

  function completenessPanel(test, index) {
    return el("section", {}, el("h3", {}, el("b", { text: "abcdefgh"[index] }), "Does it add up?"),
      facts(test.steps.map((steps, i) => [`${steps} steps`, `gap ${percent(test.gaps[i])}${THIN}%`])), said(test.sentence));
  }

  const PANELS = { removal: removalPanels, noise: noisePanel, completeness: completenessPanel };

  return (fresh) => {
    data = fresh;
    let start = 0;
    const sections = data.tests.map((test, index) => {
      if (test.kind !== "randomisation") return PANELS[test.kind](test, index);
      const section = randomPanel(test, index, start);
      start += test.stages.length + 1;
      return section;
    });
    view.root.replaceChildren(el("div", { class: "tests" }, sections), el("p", { class: "note caveat" }, el("b", { class: "warn", text: "Caveat. " }), data.caveat));
  };
});
