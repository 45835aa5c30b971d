export default component((view) => (data) => view.root.replaceChildren(legend(data)));
