function make(tag, text, attributes = {}) {
  const node = Object.assign(document.createElement(tag), { textContent: text });
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

function save({ name, media, content }) {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  const link = make("a", "", { href: URL.createObjectURL(new Blob([bytes], { type: media })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// S_c, x^2 and x_{ij}: what an index or a power needs, without a typesetter.
function formula(text) {
  const line = make("p", "", { class: "formula" });
  for (const part of text.split(/([_^](?:\{[^}]*\}|\S))/)) {
    const mark = { _: "sub", "^": "sup" }[part[0]];
    if (mark && part.length > 1) line.append(make(mark, part.slice(1).replace(/^\{|\}$/g, "")));
    else line.append(part);
  }
  return line;
}

function definition(about) {
  const box = make("div", "", { class: "about" });
  box.append(make("p", about.what));
  if (about.formula) box.append(formula(about.formula));
  for (const caveat of about.caveats) {
    const line = make("p", "", { class: "caveat" });
    line.append(make("b", "Caveat. "), caveat);
    box.append(line);
  }
  if (about.paper) box.append(make("p", about.paper, { class: "paper" }));
  return box;
}

function listing(code) {
  const box = make("div", "", { class: "code" });
  const copy = make("button", "Copy", { type: "button" });
  copy.onclick = async () => {
    await navigator.clipboard?.writeText(code);
    copy.textContent = "Copied";
  };
  box.append(make("pre", code, { tabindex: 0, "aria-label": "Python" }), copy);
  return box;
}

function unfolding(head, word, fold, strong) {
  const button = make("button", word, { type: "button", "aria-expanded": "false", class: strong ? "q" : "" });
  button.onclick = () => {
    const open = button.getAttribute("aria-expanded") === "true";
    for (const other of head.querySelectorAll("[aria-expanded]")) other.setAttribute("aria-expanded", "false");
    head.querySelector(".fold").replaceChildren(...(open ? [] : [fold()]));
    button.setAttribute("aria-expanded", String(!open));
  };
  return button;
}

function draw(head, data, ask) {
  const line = make("div", "", { class: "line" });
  line.append(make("span", `Fig. ${data.number}`, { class: "no" }), make("h2", data.title), make("span", data.facts, { class: "sub" }));
  const acts = make("div", "", { class: "acts" });
  if (data.about) acts.append(unfolding(head, "What is this?", () => definition(data.about), true));
  for (const name of data.files) {
    const button = make("button", name, { type: "button", "aria-label": `${name} of figure ${data.number}` });
    button.onclick = () => ask(name);
    acts.append(button);
  }
  if (data.python) acts.append(unfolding(head, "Python", () => listing(data.python), false));
  if (!data.present) line.append(acts);
  head.replaceChildren(line, make("div", "", { class: "fold" }));
}

export default function ({ data, parentElement, setTriggerValue }) {
  const head = parentElement.querySelector("header");
  const { file, ...still } = data;
  const drawn = JSON.stringify(still);
  if (head.dataset.drawn !== drawn) {
    head.dataset.drawn = drawn;
    draw(head, data, (name) => setTriggerValue("wanted", name));
  }
  if (file && head.dataset.saved !== file.nonce) {
    head.dataset.saved = file.nonce;
    save(file);
  }
}
