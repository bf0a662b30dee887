// The page: theme, filters, pages of examples, keyboard, deep links.

const PAGE_SIZE = 20;
const FILTERS = [
  ["all", "All", () => true],
  ["negative", "Negative flips", (flip) => flip.kind === "negative_flip"],
  ["fixed", "Given back", (flip) => flip.fixed === true],
  ["kept", "Still broken", (flip) => flip.kind === "negative_flip" && flip.fixed === false],
  ["introduced", "Newly broken", (flip) => flip.introduced === true],
  ["positive", "Positive flips", (flip) => flip.kind === "positive_flip"],
  ["other", "Another wrong answer", (flip) => flip.kind === "other_wrong" && flip.introduced !== true],
];

const { names, flips } = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const state = { filter: "all", task: "", query: "", sort: "size", page: 0, current: -1 };
let view = [];

/** Every example with its anchor; an id that comes twice gets a number. */
const entries = (() => {
  const seen = new Map();
  return flips.map((flip, position) => {
    const name = `flip-${encodeURIComponent(String(flip.task).toWellFormed())}-${encodeURIComponent(String(flip.id).toWellFormed())}`;
    const times = (seen.get(name) || 0) + 1;
    seen.set(name, times);
    return { flip, position, anchor: times > 1 ? `${name}~${times}` : name, haystack: null };
  });
})();
const byAnchor = new Map(entries.map((entry) => [entry.anchor, entry]));

function haystack(entry) {
  if (entry.haystack === null) {
    const { flip } = entry;
    const answers = SIDES.map((side) => flip[side] && flip[side].output);
    entry.haystack = [flip.id, flip.input, ...(flip.choices || []), ...(flip.reference || []), ...answers, ...Object.values(flip.slices || {})]
      .filter((text) => text !== null && text !== undefined).join("\n").toLowerCase();
  }
  return entry.haystack;
}

/** Examples that match task and search, before the kind filter: the chips count these. */
function candidates() {
  const needles = state.query.toLowerCase().split(/\s+/).filter(Boolean);
  return entries.filter((entry) => (!state.task || entry.flip.task === state.task) && needles.every((word) => haystack(entry).includes(word)));
}

function refresh() {
  const matching = candidates();
  for (const [key, , test] of FILTERS) {
    const chip = at(`kind-${key}`);
    if (!chip) continue;
    chip.setAttribute("aria-pressed", String(state.filter === key));
    chip.querySelector(".number").textContent = matching.filter((entry) => test(entry.flip)).length.toLocaleString("en");
  }
  const test = FILTERS.find(([key]) => key === state.filter)[2];
  view = matching.filter((entry) => test(entry.flip));
  if (state.sort === "size") {
    const size = (entry) => (typeof entry.flip.size === "number" ? entry.flip.size : -Infinity);
    view.sort((a, b) => (size(a) === size(b) ? a.position - b.position : size(b) - size(a)));
  }
  state.page = 0;
  state.current = -1;
  draw();
}

function draw() {
  const pages = Math.max(1, Math.ceil(view.length / PAGE_SIZE));
  const start = state.page * PAGE_SIZE;
  const shown = view.slice(start, start + PAGE_SIZE);
  at("cards").replaceChildren(...shown.map((entry) => flipCard(entry, copyEntry)));
  if (!shown.length) at("cards").append(make("p", { class: "nothing" }, entries.length ? "No example matches." : "No answer changed."));
  at("status").textContent = view.length
    ? `${(start + 1).toLocaleString("en")}–${(start + shown.length).toLocaleString("en")} of ${view.length.toLocaleString("en")}`
    : "0 examples";
  at("page").textContent = `Page ${state.page + 1} of ${pages}`;
  at("previous").disabled = state.page === 0;
  at("next").disabled = state.page >= pages - 1;
  at("pager").hidden = pages === 1;
}

function turn(page) {
  state.page = page;
  state.current = -1;
  draw();
  at("examples").scrollIntoView({ behavior: "instant" });
}

/** Make the example at this place of the view the current one: its page shown, focused, in the address. */
function select(index) {
  if (index < 0 || index >= view.length) return;
  const page = Math.floor(index / PAGE_SIZE);
  if (page !== state.page) {
    state.page = page;
    draw();
  }
  const before = document.querySelector(".flip.current");
  if (before) before.classList.remove("current");
  state.current = index;
  const card = at(view[index].anchor);
  card.classList.add("current");
  card.focus({ preventScroll: true });
  card.scrollIntoView({ block: "start", behavior: "instant" });
  history.replaceState(null, "", `#${view[index].anchor}`);
}

/** Follow #flip-…; filters that hide the example are lifted. */
function followAddress() {
  const entry = byAnchor.get(location.hash.slice(1));
  if (!entry) return;
  if (!view.includes(entry)) {
    Object.assign(state, { filter: "all", task: "", query: "" });
    at("query").value = "";
    at("task").value = "";
    refresh();
  }
  select(view.indexOf(entry));
}

async function copyEntry(entry, button) {
  const text = flipMarkdown(entry.flip, names);
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without the clipboard interface (old browser, no permission) a selection can still be copied.
    const area = make("textarea", { class: "hidden", readonly: true });
    area.value = text;
    document.body.append(area);
    area.select();
    done = document.execCommand("copy");
    area.remove();
  }
  button.textContent = done ? "Copied" : "Copying is not allowed here";
  setTimeout(() => { button.textContent = "Copy as Markdown"; }, 1600);
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
  if (event.key === "Escape" && typing) event.target.blur();
  if (typing) return;
  const first = state.page * PAGE_SIZE;
  if (event.key === "j") select(state.current < 0 ? first : state.current + 1);
  else if (event.key === "k") select(state.current < 0 ? first : state.current - 1);
  else if (event.key === "c" && state.current >= 0) at(view[state.current].anchor).querySelector(".copy").click();
  else if (event.key === "/") {
    event.preventDefault();
    at("query").focus();
    at("query").select();
  }
}

function setUpTheme() {
  const root = document.documentElement;
  const remember = (value) => { try { localStorage.setItem("muscle-theme", value); } catch { /* storage is off: the choice lasts as long as the page */ } };
  try { root.dataset.theme = localStorage.getItem("muscle-theme") || "auto"; } catch { root.dataset.theme = "auto"; }
  at("theme").addEventListener("click", () => {
    const dark = root.dataset.theme === "auto" ? matchMedia("(prefers-color-scheme: dark)").matches : root.dataset.theme === "dark";
    root.dataset.theme = dark ? "light" : "dark";
    remember(root.dataset.theme);
  });
}

function setUpControls() {
  for (const [key, name, test] of FILTERS) {
    if (key !== "all" && !flips.some(test)) continue;
    const chip = make("button", { type: "button", id: `kind-${key}`, class: `chip ${key}`, "aria-pressed": "false" }, name, " ", make("span", { class: "number" }));
    chip.addEventListener("click", () => { state.filter = key; refresh(); });
    at("kinds").append(chip);
  }
  const tasks = [...new Set(flips.map((flip) => flip.task))];
  at("task").append(make("option", { value: "" }, "all tasks"), ...tasks.map((task) => make("option", { value: task }, task)));
  at("task-field").hidden = tasks.length < 2;
  at("task").addEventListener("change", () => { state.task = at("task").value; refresh(); });
  at("sort").addEventListener("change", () => { state.sort = at("sort").value; refresh(); });
  let waiting = 0;
  at("query").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { state.query = at("query").value; refresh(); }, 80);
  });
  at("previous").addEventListener("click", () => turn(state.page - 1));
  at("next").addEventListener("click", () => turn(state.page + 1));
  document.addEventListener("keydown", onKey);
  addEventListener("hashchange", followAddress);
}

document.documentElement.classList.add("scripted");
setUpTheme();
setUpControls();
refresh();
followAddress();
