export default component((view) => (data) => view.root.replaceChildren(...[data.title ? el("h3", { text: data.title }) : null, histogram(data)].filter(Boolean)));
