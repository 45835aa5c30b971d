export default component((view) => (data) => {
  const at = data.stops.findIndex((stop) => stop.name === data.current);
  const choose = (index) => data.stops[index] && view.trigger("choose", data.stops[index].name);
  const end = (text, label, index) => el("button", { class: "end", "aria-label": label, "data-id": label, text,
    disabled: !data.stops[index], on: { click: () => choose(index) } });
  const stop = ({ name, text, letter, size, unit }, index) => el("button", {
    class: `st${index === at ? " on" : ""}${text ? " plain" : ""}`, "data-id": `stop-${name}`,
    "aria-current": index === at ? "step" : null, on: { click: () => choose(index) },
  }, el("b", {}, letter ? el("em", { text: letter }) : null, text || name),
    size ? el("span", {}, size, unit ? el("span", { class: "unit", text: ` ${unit}` }) : null) : null);
  const old = view.root.querySelector(".stops")?.scrollLeft ?? 0;
  const stops = el("div", { class: "stops" }, data.stops.map(stop));
  view.root.replaceChildren(el("nav", { class: "stepper", "aria-label": data.label },
    end("\u2190", `previous: ${data.label.toLowerCase()}`, at - 1), stops, end("\u2192", `next: ${data.label.toLowerCase()}`, at + 1)));
  const set = roving(stops, () => [...stops.children], () => 1, choose);
  set(Math.max(at, 0));
  stops.scrollLeft = old;
  const current = stops.children[at];
  if (!current) return;
  const left = current.offsetLeft - stops.offsetLeft, right = left + current.offsetWidth;
  if (left < stops.scrollLeft || right > stops.scrollLeft + stops.clientWidth) stops.scrollLeft = left - (stops.clientWidth - current.offsetWidth) / 2;
});
