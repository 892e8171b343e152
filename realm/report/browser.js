// The browser of sampled completions. Everything a model wrote reaches the page through textContent, never as markup.
"use strict";
(() => {
  const groups = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const filters = { recipe: byId("f-recipe"), step: byId("f-step"), kind: byId("f-kind"), correct: byId("f-correct"), reason: byId("f-reason") };
  let matches = [];
  let current = 0;

  const make = (tag, kind, ...children) => {
    const node = document.createElement(tag);
    if (kind) node.className = kind;
    for (const child of children) node.append(child);
    return node;
  };
  const figure = (value, digits = 2) => (value === null ? "none" : String(Number(value.toFixed(digits))).replace("-", "−"));
  const badge = (right) => make("span", right ? "badge right" : "badge wrong", right ? "✓ right" : "✗ wrong");
  const when = (group) => `${group.stage.toUpperCase()} ${group.round ? `round ${group.round + 1} ` : ""}step ${group.step}`;

  const wanted = (completion) => {
    if (filters.correct.value && completion.correct !== (filters.correct.value === "right")) return false;
    const reason = filters.reason.value;
    if (reason === "clean") return completion.reasons.length === 0;
    if (reason === "any") return completion.reasons.length > 0;
    return reason === "" || completion.reasons.includes(reason.slice(2));
  };
  const same = (filter, value) => filter.value === "" || filter.value === `=${value}`;

  // Every select offers what occurs in the data; "=" before a value keeps it apart from "" (all).
  const offer = (select, all, values, name = (value) => value || "none") => {
    const kept = select.value;
    select.replaceChildren(new Option(all, ""));
    for (const value of values) select.append(new Option(name(value), `=${value}`));
    select.value = kept;
    if (select.selectedIndex < 0) select.value = "";
  };
  const distinct = (values) => [...new Set(values)];
  const offerSteps = () => {
    const seen = groups.filter((group) => same(filters.recipe, group.recipe));
    offer(filters.step, "all", distinct(seen.map(when)));
  };

  const part = (title, ...children) => make("div", "part", make("h4", "", title), ...children);
  const textBlock = (content) => make("div", "text", content || "(empty)");

  const routeList = (group) => {
    const list = make("ol", "routes");
    for (const route of group.routes) {
      const head = make("summary", "", route.label === null ? "unlabelled" : badge(route.label === 1), make("span", "quoted", route.answer || "no answer"));
      list.append(make("li", "", make("details", "", head, textBlock(route.text))));
    }
    return list;
  };

  const scoreTable = (group, completion) => {
    const body = make("tbody");
    group.routes.forEach((route, index) => {
      const score = index < completion.scores.length ? completion.scores[index] : null;
      const bar = make("span", "bar", make("i"));
      bar.firstChild.style.width = `${100 * Math.min(1, Math.max(0, score || 0))}%`;
      body.append(make("tr", "", make("th", "", String(index + 1)), make("td", "", route.label === null ? "?" : badge(route.label === 1)),
        make("td", "", bar), make("td", "figure", score === null ? "none read" : figure(score))));
    });
    const head = make("tr", "", ...["Route", "Label", "Score", ""].map((name) => make("th", "", name)));
    return make("table", "scores", make("thead", "", head), body);
  };

  const completionView = (group, completion, number, open) => {
    const view = make("details", "completion");
    view.open = open;
    const answer = completion.answer === null ? "no answer" : completion.answer;
    view.append(make("summary", "", make("span", "number", `${number}`), completion.correct === null ? make("span", "badge", "? not judged") : badge(completion.correct),
      make("span", "quoted", answer), make("span", "reward", `reward ${figure(completion.reward)}`)));
    const inner = make("div", "inner");
    inner.append(part("Thinking", textBlock(completion.think)));
    inner.append(part("Answer", make("div", "pair", make("small", "", "given"), make("span", "text", answer), make("small", "", "gold"), make("span", "text", group.gold))));
    if (group.routes.length) inner.append(part("Scores beside the labels", scoreTable(group, completion)));
    const [format, right, scored] = completion.parts || [];
    const split = completion.parts
      ? `${figure(completion.reward)} = format ${figure(format)} + answer ${figure(right)} + scores ${figure(scored)}` : figure(completion.reward);
    const quality = completion.scoring === null || !group.routes.length ? "" : `; quality of the scores ${figure(completion.scoring)}`;
    inner.append(part("Reward", make("p", "", split + quality)));
    if (completion.reasons.length) inner.append(part("Could not be parsed", make("p", "", completion.reasons.join(", "))));
    if (completion.text) inner.append(part("As it was written", textBlock(completion.text)));
    view.append(inner);
    return view;
  };

  const show = () => {
    const target = byId("group");
    target.replaceChildren();
    byId("previous").disabled = current <= 0;
    byId("next").disabled = current >= matches.length - 1;
    const total = matches.reduce((sum, match) => sum + match.completions.length, 0);
    byId("count").textContent = matches.length
      ? `Group ${current + 1} of ${matches.length}, ${total} completion${total === 1 ? "" : "s"}`
      : "No completion fits these filters";
    if (!matches.length) return;
    const { group, completions } = matches[current];
    const facts = [group.recipe, when(group), group.kind, group.difficulty === null ? "" : `difficulty ${figure(group.difficulty)}`,
      group.p === null ? "" : `p ${figure(group.p)}`, group.id].filter(Boolean);
    const question = make("div", "question", make("p", "facts", facts.join(" · ")), make("h3", "", "Question"), textBlock(group.question),
      make("p", "", "Gold answer ", make("span", "text gold", group.gold)));
    question.append(make("h3", "", group.routes.length ? `Routes in the prompt (${group.routes.length})` : "No routes in the prompt"));
    if (group.routes.length) question.append(routeList(group));
    const right = group.completions.filter((completion) => completion.correct).length;
    const list = make("div", "answers", make("h3", "", `Completions (${right} of ${group.completions.length} right)`));
    completions.forEach((index, place) => list.append(completionView(group, group.completions[index], index + 1, place === 0)));
    target.append(question, list);
  };

  const update = () => {
    matches = [];
    for (const group of groups) {
      if (!same(filters.recipe, group.recipe) || !same(filters.step, when(group)) || !same(filters.kind, group.kind)) continue;
      const completions = group.completions.map((_, index) => index).filter((index) => wanted(group.completions[index]));
      if (completions.length) matches.push({ group, completions });
    }
    current = 0;
    show();
  };
  const move = (by) => {
    current = Math.min(matches.length - 1, Math.max(0, current + by));
    show();
  };

  offer(filters.recipe, "all", distinct(groups.map((group) => group.recipe)));
  offer(filters.kind, "all", distinct(groups.map((group) => group.kind)).sort());
  const reasons = distinct(groups.flatMap((group) => group.completions.flatMap((completion) => completion.reasons))).sort();
  filters.reason.replaceChildren(new Option("all", ""), new Option("clean", "clean"), new Option("any failure", "any"));
  for (const reason of reasons) filters.reason.append(new Option(reason, `r:${reason}`));
  offerSteps();
  filters.recipe.addEventListener("change", offerSteps);
  byId("filters").addEventListener("change", update);
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("previous").addEventListener("click", () => move(-1));
  byId("next").addEventListener("click", () => move(1));
  byId("browser").hidden = false;
  update();
})();
