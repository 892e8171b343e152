// The browser of completions, or of a bank's CoTs. What a model wrote reaches the page through textContent, never as
// markup.
const browse = () => {
  const byId = (id) => document.getElementById(id);
  const NAMES = ["recipe", "step", "by", "kind", "correct", "reason", "text", "from", "to"];
  // A filter that the page does not offer lets everything through.
  const filters = Object.fromEntries(NAMES.map((name) => [name, byId(`f-${name}`) || document.createElement("select")]));
  const browser = byId("browser");
  const noun = browser.dataset.noun;
  let groups = [];
  let source = "";
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
  const distinct = (values) => [...new Set(values)];
  const moment = (group) => `${group.recipe}: ${group.when}`;
  const routesOf = (group) => group.routes || [];
  const every = (group) => group.completions.map((_, index) => index);
  const accuracy = (group) => group.right / group.n;

  // What the filters let through ---------------------------------------------------------------------------------------

  const ANSWERS = {
    right: (one) => one.correct,
    wrong: (one) => one.correct === false,
    unknown: (one) => one.correct === null,
    copied: (one) => one.copied,
    truncated: (one) => one.truncated === true,
  };
  const wanted = (completion) => {
    const answer = ANSWERS[filters.correct.value];
    if ((answer && !answer(completion)) || !same(filters.by, completion.by)) return false;
    const reason = filters.reason.value;
    if (reason === "clean") return completion.reasons.length === 0;
    if (reason === "any") return completion.reasons.length > 0;
    return reason === "" || completion.reasons.includes(reason.slice(2));
  };
  const same = (filter, value) => filter.value === "" || filter.value === `=${value}`;
  const holds = (needle, ...texts) => texts.some((content) => (content || "").toLowerCase().includes(needle));
  const ofGroup = (group, needle) => holds(needle, group.question, group.id, group.gold) || routesOf(group).some((route) => holds(needle, route.text, route.answer));
  const found = (group, needle) => {
    const all = every(group);
    if (!needle || ofGroup(group, needle)) return all;
    return all.filter((index) => holds(needle, group.completions[index].think, group.completions[index].text, group.completions[index].answer));
  };

  const plain = (needle) => {
    const kept = [];
    for (const group of groups) {
      if (!same(filters.recipe, group.recipe) || !same(filters.step, group.when) || !same(filters.kind, group.kind)) continue;
      const indices = found(group, needle).filter((index) => wanted(group.completions[index]));
      if (indices.length) kept.push({ group, sides: [{ group, indices }], change: null });
    }
    return kept;
  };

  // A moment of training stands for itself and all before it (from) or after it (to): few questions are sampled twice.
  const around = (chosen, before) => {
    const mark = groups.find((group) => moment(group) === chosen);
    return groups.filter((group) => group.recipe === mark.recipe && group.final === mark.final
      && (mark.final ? group.when === mark.when : before ? group.place <= mark.place : group.place >= mark.place));
  };
  const changed = (needle) => {
    const question = (group) => `${group.id}\n${group.question}`;
    const earlier = new Map();
    for (const group of around(filters.from.value.slice(1), true)) earlier.set(question(group), group);
    const kept = [];
    const done = new Set();
    for (const group of around(filters.to.value.slice(1), false).reverse()) {
      const before = earlier.get(question(group));
      if (!before || before === group || done.has(question(group)) || !before.completions.length || !group.completions.length) continue;
      done.add(question(group));
      if (!same(filters.kind, group.kind) || !(found(group, needle).length || found(before, needle).length)) continue;
      const sides = [before, group].map((side) => ({ group: side, indices: every(side) }));
      kept.push({ group, sides, change: accuracy(group) - accuracy(before) });
    }
    return kept.sort((a, b) => Math.abs(b.change) - Math.abs(a.change));
  };

  // What is shown --------------------------------------------------------------------------------------------------------

  // The verifier may have failed on an answer: then nobody knows.
  const verdict = (correct) => correct === null ? make("span", "badge", "? not judged") : badge(correct);
  const part = (title, ...children) => make("div", "part", make("h4", "", title), ...children);
  const textBlock = (content) => make("div", "text", content || "(empty)");

  const routeList = (group) => {
    const list = make("ol", "routes");
    for (const route of routesOf(group)) {
      const head = [route.label === null ? "unlabelled" : badge(route.label === 1), make("span", "quoted", route.answer || "no answer")];
      // An evaluation keeps of its routes what they answer, not what they say.
      list.append(make("li", "", route.text ? make("details", "", make("summary", "", ...head), textBlock(route.text)) : make("span", "", ...head)));
    }
    return list;
  };

  const scoreTable = (group, completion) => {
    const body = make("tbody");
    routesOf(group).forEach((route, index) => {
      const score = index < completion.scores.length ? completion.scores[index] : null;
      const bar = make("span", "bar", make("i"));
      bar.firstChild.style.width = `${100 * Math.min(1, Math.max(0, score || 0))}%`;
      body.append(make("tr", "", make("th", "", String(index + 1)), make("td", "", route.label === null ? "?" : badge(route.label === 1)),
        make("td", "", bar), make("td", "figure", score === null ? "none read" : figure(score))));
    });
    const head = make("tr", "", ...["Route", "Label", "Score", ""].map((name) => make("th", "", name)));
    return make("table", "scores", make("thead", "", head), body);
  };

  const rewardPart = (group, completion) => {
    const [format, right, scored] = completion.parts || [];
    const split = completion.parts
      ? `${figure(completion.reward)} = format ${figure(format)} + answer ${figure(right)} + scores ${figure(scored)}` : figure(completion.reward);
    const quality = completion.scoring === null || !routesOf(group).length ? "" : `; quality of the scores ${figure(completion.scoring)}`;
    return part("Reward", make("p", "", split + quality));
  };

  const completionView = (group, completion, number, open) => {
    const view = make("details", "completion");
    view.open = open;
    const answer = completion.answer === null ? "no answer" : completion.answer;
    const marks = [["copied", completion.copied], ["truncated", completion.truncated === true], [completion.by, completion.by],
      ["guided", completion.guided], ...(group.routes ? [] : completion.reasons.map((reason) => [reason, true]))].filter(([, set]) => set);
    view.append(make("summary", "", make("span", "number", `${number}`), verdict(completion.correct), make("span", "quoted", answer),
      ...marks.map(([name]) => make("span", "flag", name)),
      ...(completion.reward === null ? [] : [make("span", "reward", `reward ${figure(completion.reward)}`)])));
    const inner = make("div", "inner");
    if (completion.think) inner.append(part("Thinking", textBlock(completion.think)));
    inner.append(part("Answer", make("div", "pair", make("small", "", "given"), make("span", "text", answer), make("small", "", "gold"), make("span", "text", group.gold))));
    if (routesOf(group).length) inner.append(part("Scores beside the labels", scoreTable(group, completion)));
    if (completion.reward !== null) inner.append(rewardPart(group, completion));
    if (completion.reasons.length) inner.append(part(group.routes ? "Could not be parsed" : "What is wrong with it", make("p", "", completion.reasons.join(", "))));
    if (completion.text) inner.append(part("As it was written", textBlock(completion.text)));
    view.append(inner);
    return view;
  };

  const answers = ({ group, indices }, titled) => {
    const kept = group.completions.length;
    const left = kept < group.n ? `; the first ${kept} are on this page` : "";
    const name = titled ? moment(group) : `${noun[0].toUpperCase()}${noun.slice(1)}s`;
    const list = make("div", "side", make("h3", "", `${name} (${group.right} of ${group.n} right${left})`));
    indices.forEach((index, place) => list.append(completionView(group, group.completions[index], index + 1, place === 0)));
    return list;
  };

  const counted = () => {
    const total = matches.reduce((sum, match) => sum + match.sides[0].indices.length, 0);
    if (comparing()) {
      return matches.length ? `Question ${current + 1} of ${matches.length}, by change of accuracy` : "No question was kept at both of these";
    }
    return matches.length ? `${groups[0].routes ? "Group" : "Question"} ${current + 1} of ${matches.length}, ${total} ${noun}${total === 1 ? "" : "s"}` : `No ${noun} fits these filters`;
  };

  const label = () => {
    byId("previous").disabled = current <= 0;
    byId("next").disabled = current >= matches.length - 1;
    byId("count").textContent = counted();
  };
  const show = () => {
    const target = byId("group");
    target.replaceChildren();
    label();
    if (!matches.length) return;
    const { group, sides, change } = matches[current];
    const points = change === null ? "" : `accuracy ${change > 0 ? "+" : ""}${figure(100 * change, 0)} points`;
    const facts = [change === null ? group.recipe : "", change === null ? group.when : points, group.kind,
      group.difficulty === null ? "" : `difficulty ${figure(group.difficulty)}`, group.p === null ? "" : `p ${figure(group.p)}`, group.id].filter(Boolean);
    const question = make("div", "question", make("p", "facts", facts.join(" · ")), make("h3", "", "Question"), textBlock(group.question),
      make("p", "", "Gold answer ", make("span", "text gold", group.gold)));
    if (group.routes) question.append(make("h3", "", group.routes.length ? `Routes in the prompt (${group.routes.length})` : "No routes in the prompt"));
    if (routesOf(group).length) question.append(routeList(group));
    target.append(question, make("div", "answers", ...sides.map((side) => answers(side, change !== null))));
  };

  // The state, in the address too ------------------------------------------------------------------------------------------

  const comparing = () => filters.from.value !== "" && filters.to.value !== "";
  const write = () => {
    const state = new URLSearchParams(NAMES.filter((name) => filters[name].value).map((name) => [name, filters[name].value]));
    if (current) state.set("at", String(current));
    // An address that names a section stays as it is until something is chosen.
    if (String(state) || location.hash.startsWith("#browse")) history.replaceState(null, "", String(state) ? `#browse?${state}` : "#completions");
  };
  // Browsers refuse an address that changes with every repeat of a key held down.
  let waiting = 0;
  const remember = () => {
    clearTimeout(waiting);
    waiting = setTimeout(write, 250);
  };
  const find = () => {
    const needle = filters.text.value.trim().toLowerCase();
    for (const name of ["recipe", "step", "correct", "reason"]) filters[name].disabled = comparing();
    matches = comparing() ? changed(needle) : plain(needle);
  };
  const refresh = (at = 0) => {
    find();
    current = Math.max(0, Math.min(matches.length - 1, at));
    show();
  };
  const update = () => {
    refresh();
    remember();
  };
  const move = (by) => {
    current = Math.min(matches.length - 1, Math.max(0, current + by));
    show();
    remember();
  };

  const fill = (select, options) => {
    const kept = select.value;
    if (String([...select.options].map((one) => one.value)) !== String(options.map(([, value]) => value))) {
      select.replaceChildren(...options.map(([name, value]) => new Option(name, value)));
      select.value = kept;
    }
    if (select.selectedIndex < 0) select.value = "";
  };
  // Every select offers what occurs in the data; "=" before a value keeps it apart from "" (all).
  const offer = (select, all, values) => fill(select, [[all, ""], ...values.map((value) => [value || "none", `=${value}`])]);
  const offerSteps = () => offer(filters.step, "all", distinct(groups.filter((group) => same(filters.recipe, group.recipe)).map((group) => group.when)));

  const restore = () => {
    if (!location.hash.startsWith("#browse?")) return;
    const state = new URLSearchParams(location.hash.slice("#browse?".length));
    for (const name of NAMES) {
      filters[name].value = state.get(name) || "";
      if (name === "recipe") offerSteps();
      if (filters[name].selectedIndex < 0) filters[name].value = "";
    }
    refresh(Number.parseInt(state.get("at") || "0", 10) || 0);
    byId("completions").scrollIntoView();
  };

  const read = () => {
    source = byId("data").textContent;
    groups = JSON.parse(source);
    const moments = distinct(groups.map(moment));
    const all = groups.flatMap((group) => group.completions);
    const reasons = distinct(all.flatMap((completion) => completion.reasons)).sort();
    const answers = [["all", ""], ["right", "right"], ["wrong", "wrong"]];
    if (all.some((one) => one.correct === null)) answers.push(["not judged", "unknown"]);
    if (groups.some((group) => group.routes)) answers.push(["copied from a wrong route", "copied"]);
    if (all.some((one) => one.truncated !== null)) answers.push(["truncated", "truncated"]);
    offer(filters.recipe, "all", distinct(groups.map((group) => group.recipe)));
    offer(filters.by, "all", distinct(all.map((one) => one.by || "")).sort());
    offer(filters.kind, "all", distinct(groups.map((group) => group.kind)).sort());
    offer(filters.from, "none", moments);
    offer(filters.to, "none", moments);
    fill(filters.correct, answers);
    fill(filters.reason, [["all", ""], ["clean", "clean"], ["any failure", "any"], ...reasons.map((reason) => [reason, `r:${reason}`])]);
    offerSteps();
  };

  // What `realm view` brings anew: the reader stays at the question in view, with what is open and how far it is read.
  const renew = () => {
    if (byId("data").textContent === source) return;
    const name = (match) => match && match.sides.map(({ group }) => `${moment(group)}\n${group.id}`).join("\n");
    const seen = (match) => match && JSON.stringify([match.change, match.sides]);
    const [before, at] = [matches[current], current];
    read();
    find();
    current = matches.findIndex((match) => name(match) === name(before));
    if (current < 0) current = Math.max(0, Math.min(matches.length - 1, at));
    if (seen(matches[current]) === seen(before)) label();
    else {
      const target = byId("group");
      const stays = name(matches[current]) === name(before);
      const parts = () => (stays ? [...target.querySelectorAll("details, div.text")] : []);
      const kept = parts().map((node) => [node.open, node.scrollTop]);
      show();
      const now = parts();
      now.forEach((node, index) => { if (kept[index] && node.matches("details")) node.open = kept[index][0]; });
      now.forEach((node, index) => { if (kept[index]) node.scrollTop = kept[index][1]; });
    }
    if (current !== at) remember();
  };

  read();
  filters.recipe.addEventListener("change", offerSteps);
  byId("filters").addEventListener("change", update);
  filters.text.addEventListener("input", update);
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("previous").addEventListener("click", () => move(-1));
  byId("next").addEventListener("click", () => move(1));
  byId("clear").addEventListener("click", () => {
    for (const name of NAMES) filters[name].value = "";
    offerSteps();
    update();
  });
  addEventListener("hashchange", restore);
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.matches("input, select, textarea")) return;
    if (event.key === "/") {
      event.preventDefault();
      filters.text.focus();
      return;
    }
    // The arrow keys belong to the browser when it has the focus or fills the middle of the window.
    const box = browser.getBoundingClientRect();
    const here = browser.contains(document.activeElement) || (document.activeElement === document.body && box.top < innerHeight / 2 && box.bottom > innerHeight / 2);
    if (here && event.key === "ArrowLeft") move(-1);
    if (here && event.key === "ArrowRight") move(1);
  });
  document.addEventListener("fresh", renew);
  browser.hidden = false;
  refresh();
  restore();
};
// A run that is just beginning has no completions yet.
const begin = () => {
  if (document.getElementById("data")) browse();
  else document.addEventListener("fresh", begin, { once: true });
};
begin();
