export default component((view) => (data) => {
  if (data.columns) {
    view.root.replaceChildren(comparisonBars(data));
    return;
  }
  const some = data.rows.length < data.classes;
  const title = el("h3", {}, data.title, some ? el("span", { text: `the most probable of ${data.classes.toLocaleString("en")} classes` }) : null);
  view.root.replaceChildren(title, predictionBars({ ...data, label: data.title }, (index) => view.trigger("class_", index)),
    data.actions.length ? el("div", { style: { "margin-top": "18px" } }, buttons(data.actions, (name) => view.trigger("action", name))) : "");
});
