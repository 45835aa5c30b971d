/* The three rules on a network that fits on a napkin: h = W x, y = v · ReLU(h). Every number can be changed, every
   answer is worked out here and written out as the sum it is. */

const FIRST = { x: [2, -1], w: [[1, 0], [0, 1], [1, 1]], v: [1, 1, -3] };
const RULES = [
  { name: "Gradient", reads: ["f"], gate: (f, r) => f > 0, words: "pass where the unit was **open**", known: [-2, -3] },
  { name: "Deconvnet", reads: ["R"], gate: (f, r) => r > 0, words: "pass what is **positive**", known: [1, 1] },
  { name: "Guided", reads: ["f", "R"], gate: (f, r) => f > 0 && r > 0, words: "pass what is positive **where it was open**", known: [1, 0] },
];
const UNITS = ["a", "b", "c"];

const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
const number = (value) => (Number.isInteger(value) ? fixed(value, 0) : fixed(value, 2).replace(/0$/, ""));
const factor = (value) => (value < 0 ? `(${number(value)})` : number(value));

/* What the rule sends back to the two inputs, with the signals that passed on the way. */
function backwards({ x, w, v }, gate) {
  const h = w.map((row) => dot(row, x)), passed = h.map((f, i) => (gate(f, v[i]) ? v[i] : 0));
  return { h, passed, answer: x.map((_, j) => dot(w.map((row) => row[j]), passed)) };
}

const agrees = (answer, known) => answer.every((value, i) => Math.abs(value - known[i]) < 1e-9);

export default component((view) => {
  let toy = structuredClone(FIRST);
  const sound = RULES.every((rule) => agrees(backwards(FIRST, rule.gate).answer, rule.known));

  const same = () => JSON.stringify(toy) === JSON.stringify(FIRST);
  const cells = (values, kind = "") => values.map((value) => el("span", { class: `cell ${kind} ${value === 0 ? "zero" : ""}`, text: number(value) }));

  function field(read, write, label, id) {
    const input = el("input", { type: "text", inputmode: "decimal", size: 3, autocomplete: "off", value: number(read()), "aria-label": label, "data-id": id, class: "cell" });
    input.addEventListener("change", () => {
      const value = Number(input.value.replace(MINUS, "-").replace(",", "."));
      write(Number.isFinite(value) && input.value.trim() !== "" ? Math.max(-99, Math.min(99, value)) : 0);
      keepFocus(view.root, draw);
    });
    return input;
  }

  const matrix = (title, size, columns, children, under) => el("div", { class: "block" },
    el("h3", {}, title, el("span", { text: size })),
    el("div", { class: "cells", style: { "--columns": columns } }, children), under && el("p", { class: "note" }, rich(under)));

  function forward() {
    const { h } = backwards(toy, () => true), y = dot(toy.v, h.map((f) => Math.max(0, f)));
    const terms = toy.v.map((value, i) => `${factor(value)} · ${factor(Math.max(0, h[i]))}`).join(" + ");
    return el("div", { class: "forward" },
      matrix("Image x", "2 pixels", 1, toy.x.map((_, j) => field(() => toy.x[j], (n) => { toy.x[j] = n; }, `pixel ${j + 1}`, `x${j}`)), "Type in any framed cell."),
      matrix("Weights W", `3 ${TIMES} 2`, 2, toy.w.flatMap((row, i) => row.map((_, j) => field(() => toy.w[i][j], (n) => { toy.w[i][j] = n; }, `weight of unit ${UNITS[i]} from pixel ${j + 1}`, `w${i}${j}`))), "One row for each unit a, b, c."),
      matrix("Before", "f = Wx", 1, cells(h), `b: ${factor(toy.w[1][0])} · ${factor(toy.x[0])} + ${factor(toy.w[1][1])} · ${factor(toy.x[1])} = ${number(h[1])}`),
      matrix("ReLU", "max(0, f)", 1, cells(h.map((f) => Math.max(0, f)))),
      matrix("Weights v", "of the answer", 1, toy.v.map((_, i) => field(() => toy.v[i], (n) => { toy.v[i] = n; }, `weight of unit ${UNITS[i]} in the answer`, `v${i}`)), "v is also the signal R that comes back first."),
      matrix("Answer y", "one number", 1, cells([y], "final"), terms));
  }

  const word = (asked, holds, yes, no) => el("td", { class: asked ? (holds ? "" : "stops") : "ignored", text: asked ? (holds ? yes : no) : "not asked" });

  function rule({ name, reads, gate, words, known }) {
    const { h, passed, answer } = backwards(toy, gate);
    const body = h.map((f, i) => el("tr", { class: gate(f, toy.v[i]) ? "" : "stopped" },
      el("th", { scope: "row", text: UNITS[i] }), el("td", { text: number(toy.v[i]) }),
      word(reads.includes("f"), f > 0, "open", "closed"), word(reads.includes("R"), toy.v[i] > 0, "positive", toy.v[i] < 0 ? "negative" : "zero"),
      el("td", { class: "pass", text: number(passed[i]) })));
    const sums = answer.map((value, j) => el("p", { class: "sum" },
      `x${"₁₂"[j]}  ${toy.w.map((row, i) => `${factor(row[j])} · ${factor(passed[i])}`).join(" + ")} = `, el("b", { text: number(value) })));
    const check = same() ? el("p", { class: "check" }, agrees(answer, known) ? `✓ (${known.map(number).join(", ")}) as worked out by hand` : `not (${known.map(number).join(", ")}), as worked out by hand`) : null;
    if (check && !agrees(answer, known)) check.classList.add("warn");
    return el("section", { class: "rule" },
      el("h3", {}, name), el("p", { class: "words" }, rich(words)),
      el("table", {}, el("thead", {}, el("tr", {}, ["unit", "R", "f > 0", "R > 0", "passes"].map((text) => el("th", { scope: "col", text })))), el("tbody", {}, body)),
      el("div", { class: "answer" }, el("span", { class: "to", text: "Wᵀ →" }), el("div", { class: "cells", style: { "--columns": 2 } }, cells(answer, "final"))),
      sums, check ?? []);
  }

  function draw() {
    view.root.replaceChildren(...[forward(),
      el("div", { class: "back" }, el("h3", { class: "lead" }, "Back through the ReLU", el("span", { text: "the rules differ in this one step; Wᵀ then brings every signal to the pixels" })),
        el("div", { class: "rules" }, RULES.map(rule))),
      el("div", { class: "go" }, same() ? null : el("button", { class: "btn ghost", "data-id": "again", text: "Back to the first numbers", on: { click: () => { toy = structuredClone(FIRST); keepFocus(view.root, draw); } } })),
      sound ? null : el("p", { class: "warn", text: "Caveat: this browser does not give the hand-worked answers." })].filter(Boolean));
  }

  return () => draw();
});
