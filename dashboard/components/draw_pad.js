/* The drawing lives here; Python gets all strokes after each one. Points are shares of the side, three decimals. */
const WIDTH = 0.09, STEP = 0.03;

function inked(context, strokes, side) {
  Object.assign(context, { lineWidth: WIDTH * side, lineCap: "round", lineJoin: "round" });
  context.clearRect(0, 0, side, side);
  context.strokeStyle = getComputedStyle(context.canvas).color;
  for (const [first, ...rest] of strokes) {
    context.beginPath();
    context.moveTo(first[0] * side, first[1] * side);
    for (const [x, y] of rest.length ? rest : [first]) context.lineTo(x * side, y * side);
    context.stroke();
  }
}

export default component((view) => {
  let strokes = [], stroke = null, keyed = null, cursor = [0.5, 0.5];
  const canvas = el("canvas", { width: 448, height: 448, tabindex: 0, role: "application", "data-id": "pad",
    "aria-label": "Drawing pad. Arrow keys move the pen, Space puts it down and lifts it, Backspace takes the last stroke away." });
  const pen = el("i", { class: "pen", "aria-hidden": "true" });
  const state = el("p", { class: "note", role: "status" });
  const button = (name, act) => el("button", { class: "btn ghost", text: name, "data-id": name, on: { click: act } });
  const undo = button("Undo", () => { strokes.pop(); told(); }), clear = button("Clear", () => { strokes = []; told(); });

  const show = () => {
    inked(canvas.getContext("2d"), stroke ? [...strokes, stroke] : strokes, canvas.width);
    pen.style.left = `${cursor[0] * 100}%`;
    pen.style.top = `${cursor[1] * 100}%`;
    pen.classList.toggle("down", Boolean(keyed));
    undo.disabled = clear.disabled = !strokes.length;
    state.textContent = keyed ? "Pen down: the arrow keys draw." : strokes.length ? "" : "Draw with mouse, pen or finger, or with the arrow keys and Space.";
  };
  const told = () => { show(); view.trigger("strokes", strokes); };
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    const share = (at, from, size) => Math.round(Math.min(Math.max((at - from) / size, 0), 1) * 1000) / 1000;
    return [share(event.clientX, box.left, box.width), share(event.clientY, box.top, box.height)];
  };
  const lift = () => {
    if (!stroke) return;
    strokes.push(stroke);
    stroke = keyed = null;
    told();
  };

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    if (keyed) lift();
    canvas.setPointerCapture(event.pointerId);
    stroke = [(cursor = place(event))];
    show();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!stroke || keyed) return;
    for (const at of event.getCoalescedEvents?.() ?? [event]) stroke.push((cursor = place(at)));
    show();
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => !keyed && lift());
  canvas.addEventListener("keydown", (event) => {
    const move = ARROWS[event.key];
    if (move) {
      cursor = [move[1], move[0]].map((by, i) => Math.round(Math.min(Math.max(cursor[i] + by * STEP, 0), 1) * 1000) / 1000);
      if (keyed) stroke.push(cursor);
      show();
    } else if (event.key === " ") {
      if (keyed) lift();
      else { keyed = true; stroke = [cursor]; show(); }
    } else if (event.key === "Backspace" && strokes.length) undo.click();
    else return;
    event.preventDefault();
  });
  canvas.addEventListener("blur", () => keyed && lift());

  view.root.replaceChildren(el("div", { class: "pad" }, canvas, pen), el("div", { class: "go" }, undo, clear), state);
  return (data) => {
    if (!stroke) strokes = data.strokes;
    show();
  };
});
