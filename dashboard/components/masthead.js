// One place for everything that touches the address bar. Nothing here knows what a model or an image is.

const COALESCE = 250; // ms: the address changes of one act (a drag, a page with its own parameters) are one step back

function keepSteps() {
  const push = history.pushState.bind(history);
  const replace = history.replaceState.bind(history);
  let last = -Infinity;
  history.pushState = (state, unused, url) => {
    const now = performance.now();
    (now - last < COALESCE ? replace : push)(state, unused, url);
    last = now;
  };
  history.replaceState = (state, unused, url) => {
    // a bound widget writes a whole address; Streamlit's own corrections are relative and stay replacements
    const chosen = typeof url === "string" && /^https?:/.test(url) && new URL(url).search !== location.search;
    (chosen ? history.pushState : replace)(state, unused, url);
  };
}

// The address of a link: its own parameters over those of this page; an empty value takes a parameter away.
// A fresh one (`data-fresh`) leaves every choice behind.
function merged(href, fresh = false) {
  const url = new URL(href, location.href);
  if (fresh) return url;
  const parameters = new URLSearchParams(location.search);
  for (const [name, value] of url.searchParams) parameters.set(name, value);
  for (const [name, value] of [...parameters]) if (value === "") parameters.delete(name);
  url.search = parameters;
  return url;
}

function go(href, fresh = false) {
  const url = merged(href, fresh);
  if (url.href === location.href) return;
  history.pushState({}, "", url.href);
  dispatchEvent(new PopStateEvent("popstate", { state: {} })); // Streamlit reads the address, as after Back
}

function linkOf(event) {
  return event.composedPath().find((node) => node instanceof HTMLAnchorElement && "go" in node.dataset);
}

function follow(event) {
  const link = linkOf(event);
  if (!link || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  go(link.dataset.go || link.getAttribute("href"), "fresh" in link.dataset);
}

// A link that is opened in a new tab or copied carries everything that has been chosen.
function complete(event) {
  const link = linkOf(event);
  if (!link) return;
  link.dataset.go ||= link.getAttribute("href");
  link.href = merged(link.dataset.go, "fresh" in link.dataset).href;
}

function key(event) {
  const { data } = window.cnnviz;
  if (!data?.present || event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return;
  if (event.key === "Escape") return go("?present=");
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const busy = event.composedPath().some((node) => node.matches?.("input, textarea, select, button, [role], [tabindex]"));
  if (!step || busy) return;
  // a stepper on the page may take the step: it listens for this and calls preventDefault
  const mine = dispatchEvent(new CustomEvent("cnnviz:step", { detail: step, cancelable: true }));
  const href = step < 0 ? data.previous : data.next;
  if (mine && href) go(href);
}

function install() {
  if (window.cnnviz) return;
  window.cnnviz = { go, merged };
  keepSteps();
  document.addEventListener("click", follow);
  for (const name of ["pointerdown", "focusin"]) document.addEventListener(name, complete);
  document.addEventListener("keydown", key);
}

// The answer stands at the sidebar's foot, as wide as the sidebar was drawn to be.
function measureSidebar() {
  const sidebar = document.querySelector("[data-testid=stSidebar]");
  if (!sidebar || window.cnnviz.sidebar === sidebar) return;
  window.cnnviz.sidebar = sidebar;
  new ResizeObserver(([{ contentRect }]) => document.documentElement.style.setProperty("--cnnviz-sidebar", `${contentRect.width}px`)).observe(sidebar);
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // a class on plain http has no clipboard; the old way still works there
    const area = Object.assign(document.createElement("textarea"), { value: text });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

function make(tag, text, attributes = {}) {
  const node = Object.assign(document.createElement(tag), { textContent: text });
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

function running({ section, pages }) {
  const nav = make("nav", "", { "aria-label": `Pages of ${section}`, class: "run" });
  nav.append(make("span", section));
  for (const page of pages) {
    const link = make("a", page.title, { href: page.href, "data-go": page.href });
    if (page.current) link.setAttribute("aria-current", "page");
    nav.append(link);
  }
  return nav;
}

function tools() {
  const box = make("div", "", { class: "tools" });
  const button = make("button", "Copy link", { type: "button" });
  button.onclick = async () => {
    await copy(location.href);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy link"), 1600);
  };
  box.append(button, make("a", "Present", { href: "?present=1", "data-go": "?present=1" }));
  return box;
}

export default function ({ data, parentElement }) {
  install();
  measureSidebar();
  window.cnnviz.data = data;
  const head = parentElement.querySelector("header");
  const drawn = JSON.stringify(data);
  if (head.dataset.drawn === drawn) return;
  head.dataset.drawn = drawn;
  const line = make("div", "", { class: "line" });
  line.append(make("h1", data.title), make("p", data.lede));
  if (!data.present) line.append(tools());
  head.replaceChildren(...(data.pages.length > 1 && !data.present ? [running(data)] : []), line);
}
