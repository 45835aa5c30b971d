/* Under a cloud: where its points are now (told to the cloud through the window), and what the figures say. */

export default component((view) => {
  function scree({ shares, words }) {
    const width = 220, height = 56, step = width / shares.length, top = Math.max(...shares, 1e-12);
    const bars = shares.map((share, i) => sv("rect", { x: i * step, y: height - (share / top) * height, width: Math.max(1, step - 2), height: (share / top) * height, class: i < 2 ? "kept" : "" }));
    return el("div", {}, el("h3", { text: "Variance by component" }), sv("svg", { class: "hist", width, height: height + 1, role: "img", "aria-label": words }, bars, sv("path", { class: "axis", d: `M0 ${height + 0.5}H${width}` })), el("p", { class: "note", style: { width: `${width}px` }, text: words }));
  }

  return (data) => {
    const clouds = (window.cnnvizClouds ??= { last: {}, heard: {} });
    clouds.last[data.cloud] = data;
    clouds.heard[data.cloud]?.(data);
    const bar = data.progress === null ? null : el("div", { class: "progress", role: "progressbar", "aria-label": data.status, "aria-valuenow": Math.round(100 * data.progress), "aria-valuemin": 0, "aria-valuemax": 100 }, el("i", { style: { width: `${100 * data.progress}%` } }));
    const button = data.action ? el("button", { class: "btn ghost", "data-id": data.action, text: data.action === "stop" ? "Stop" : "Start again", on: { click: () => view.trigger("act", { act: data.action, at: performance.now() }) } }) : null;
    const say = el("div", { class: "say" }, data.status ? el("div", { class: "status" }, el("span", { class: "note", "aria-live": "off", text: data.status }), bar, button) : null, el("p", { class: "cap" }, rich(data.caption)), data.banner ? el("p", { class: "note banner" }, rich(data.banner)) : null);
    view.root.replaceChildren(el("div", { class: "readings" }, say, data.facts.length ? facts(data.facts) : el("div"), data.scree ? scree(data.scree) : null));
  };
});
