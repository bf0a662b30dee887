// The page: its state, what shows it, keyboard and address.

const { names, flips } = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const entries = indexExamples(flips);
const byKey = new Map(entries.map((entry) => [entry.key, entry]));
const wide = matchMedia("(min-width: 900px)");
const state = { ...DEFAULTS };
let view = entries;
let viewOf = null;
let current = null;
let shown = null;
let marks = true;
let list = null;
const labels = new Map();

/* ---- what is shown ---- */

/** The entries that the filters leave, computed anew only where a filter changed. */
function updateView() {
  const key = JSON.stringify([...FILTER_KEYS, "sort"].map((name) => state[name]));
  if (key === viewOf) return false;
  viewOf = key;
  const matching = matchingExamples(entries, state);
  const test = KIND_FILTERS.find(([name]) => name === state.kind)[2];
  view = matching.filter((entry) => test(entry.flip));
  sortExamples(view, state.sort, names.candidate !== null);
  for (const [name, , counts] of KIND_FILTERS) {
    const chip = at(`kind-${name}`);
    if (!chip) continue;
    chip.setAttribute("aria-pressed", String(state.kind === name));
    chip.querySelector(".number").textContent = thousands(matching.filter((entry) => counts(entry.flip)).length);
  }
  return true;
}

/** Bring the controls into line with the state: it may have come from the address. */
function updateControls() {
  for (const [key] of FACETS) at(`by-${key}`).value = state[key];
  at("sort").value = state.sort;
  if (at("query").value !== state.q) at("query").value = state.q;
  at("clear").hidden = FILTER_KEYS.every((key) => state[key] === DEFAULTS[key]);
}

function updateStatus() {
  const place = view.indexOf(current);
  const total = view.length === entries.length ? `${thousands(view.length)} examples` : `${thousands(view.length)} of ${thousands(entries.length)} examples`;
  at("status").textContent = view.length ? total : entries.length ? "No example matches." : "No answer changed.";
  at("place").textContent = place >= 0 ? `${thousands(place + 1)} of ${thousands(view.length)}` : "";
  at("previous").disabled = place <= 0;
  at("next").disabled = place < 0 || place >= view.length - 1;
}

/** Show the state. Where nothing is opened, a wide window shows the first example beside the list. */
function render() {
  const isNew = updateView();
  const opened = state.item === null ? null : byKey.get(state.item) || null;
  if (opened) current = opened;
  else if (isNew && !view.includes(current)) current = view[0] || null;
  updateControls();
  list.show(view, opened);
  if (opened) list.reveal(view.indexOf(opened));
  at("browser").dataset.opened = String(Boolean(opened));
  at("detail").hidden = !current || !view.length;
  at("nothing").hidden = view.length > 0;
  at("nothing").textContent = entries.length ? "No example matches." : "No answer changed.";
  if (current && current !== shown && (opened || wide.matches)) drawDetail();
  updateStatus();
}

function drawDetail() {
  shown = current;
  at("item").replaceChildren(exampleDetail(current.flip, { marks, onSlice: (slice) => go({ slice, item: null }, true) }));
}

/* ---- moving about ---- */

/** Change the state, the address and the page. A step that "back" should undo is pushed, others replace the address. */
function go(changes, push) {
  Object.assign(state, changes);
  try {
    history[push ? "pushState" : "replaceState"](null, "", addressOf(state));
  } catch {
    // A frame without an address of its own (a notebook's) cannot have one set; all else works there.
  }
  render();
}

/** Open what is folded around a part of the page, and the part itself. */
function unfold(part) {
  if (!part) return;
  for (const inner of part.querySelectorAll(":scope > details.section-fold")) inner.open = true;
  for (let outer = part; outer; outer = outer.parentElement) if (outer.tagName === "DETAILS") outer.open = true;
}

/** Printing shows what is folded; afterwards it is folded as it was. */
function unfoldForPrint() {
  const folded = [...document.querySelectorAll("main details:not([open])")];
  for (const part of folded) part.open = true;
  addEventListener("afterprint", () => { for (const part of folded) part.open = false; }, { once: true });
}

/** Take over what the address holds; filters that hide its example are lifted. */
function followAddress() {
  const found = stateOf(location.hash);
  if (!found) {
    unfold(at(decodeURIComponent(location.hash.slice(1))));
    return;
  }
  Object.assign(state, found);
  render();
  if (state.item === null) {
    if (location.hash.startsWith("#examples?")) at("examples").scrollIntoView({ behavior: "instant" });
    return;
  }
  if (!byKey.has(state.item)) {
    at("announce").textContent = "The linked example is not in this report.";
    go({ item: null }, false);
  } else if (!view.includes(byKey.get(state.item))) {
    go({ ...DEFAULTS, sort: state.sort, item: state.item }, false);
  }
  scrollToBrowser();
}

function scrollToBrowser() {
  const top = at("panes").getBoundingClientRect().top;
  const hidden = top < 0 || top > innerHeight * 0.6;
  if (hidden || !wide.matches) (wide.matches ? at("panes") : at("detail")).scrollIntoView({ block: "start", behavior: "instant" });
}

/** Open an example; the first one opened can be left by "back". */
function open(entry) {
  if (!entry) return;
  go({ item: entry.key }, state.item === null);
  scrollToBrowser();
  const [name] = kindOf(entry.flip);
  at("announce").textContent = `${thousands(view.indexOf(entry) + 1)} of ${thousands(view.length)}: ${name}, ${visibleText(entry.flip.id)}`;
}

function step(by) {
  const place = view.indexOf(current);
  open(state.item === null || place < 0 ? view[Math.max(0, place)] : view[place + by]);
}

function close() {
  go({ item: null }, true);
  if (!wide.matches) at("list").scrollIntoView({ block: "center", behavior: "instant" });
  at("list").focus({ preventScroll: true });
}

/* ---- actions ---- */

/** Let a button say what came of it for a moment. */
function says(button, text) {
  if (!labels.has(button)) labels.set(button, [...button.childNodes]);
  button.replaceChildren(text);
  at("announce").textContent = text;
  setTimeout(() => button.replaceChildren(...labels.get(button)), 1600);
}

async function copyExample() {
  if (!current) return;
  says(at("copy"), (await copyText(exampleMarkdown(current.flip, names))) ? "Copied" : "Copying is not allowed here");
}

async function copyLink() {
  if (!current) return;
  const link = location.href.split("#")[0] + addressOf({ ...state, item: current.key });
  says(at("link"), (await copyText(link)) ? "Copied" : "Copying is not allowed here");
}

function toggleMarks() {
  marks = !marks;
  at("marks").setAttribute("aria-pressed", String(marks));
  if (shown) drawDetail();
}

/** Read or keep a setting; where storage is off it lasts as long as the page. */
function stored(name, value) {
  try {
    if (value === undefined) return localStorage.getItem(name);
    localStorage.setItem(name, value);
  } catch { /* storage is off */ }
  return null;
}

function toggleTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme === "auto" ? matchMedia("(prefers-color-scheme: dark)").matches : root.dataset.theme === "dark";
  root.dataset.theme = dark ? "light" : "dark";
  stored("muscle-theme", root.dataset.theme);
}

const KEYS = {
  j: () => step(1),
  k: () => step(-1),
  Enter: () => { if (current) open(current); at("item").focus({ preventScroll: true }); },
  Escape: () => { if (state.item !== null) close(); else if (!at("clear").hidden) clearFilters(); },
  "/": () => { at("query").scrollIntoView({ block: "center", behavior: "instant" }); at("query").focus(); at("query").select(); },
  "?": () => at("help").showModal(),
  c: copyExample,
  l: copyLink,
  d: toggleMarks,
  t: toggleTheme,
};

function clearFilters() {
  go({ ...DEFAULTS, sort: state.sort }, true);
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || at("help").open) return;
  const tag = event.target.tagName;
  if (event.key === "Escape" && /^(INPUT|SELECT)$/.test(tag)) {
    event.target.blur();
    return;
  }
  const inList = event.target === at("list");
  const arrows = { ArrowDown: "j", ArrowUp: "k" };
  const key = inList && arrows[event.key] ? arrows[event.key] : event.key;
  if (/^(INPUT|SELECT|TEXTAREA)$/.test(tag) || !Object.hasOwn(KEYS, key)) return;
  // Enter on a button or link is that button's; letters can be switched off for those who speak to their computer.
  if (key === "Enter" && !inList) return;
  if (key.length === 1 && !at("letters").checked && !inList) return;
  event.preventDefault();
  KEYS[key]();
}

/** Links inside the page: to examples, and, in a frame without an address of its own, to sections. */
function onLink(event) {
  const link = event.target.closest("a[href^='#']");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const address = link.getAttribute("href");
  const found = stateOf(address);
  if (found && address !== "#examples") {
    event.preventDefault();
    go({ ...found, sort: state.sort }, true);
    at("examples").scrollIntoView({ behavior: "instant" });
    at("list").focus({ preventScroll: true });
    return;
  }
  const target = at(address.slice(1));
  unfold(target);
  if (location.protocol === "about:") {
    event.preventDefault();
    if (target) target.scrollIntoView();
  }
}

/* ---- setting up ---- */

function setUpChips() {
  for (const [key, name, test] of KIND_FILTERS) {
    if (key !== "all" && !flips.some(test)) continue;
    const chip = make("button", { type: "button", id: `kind-${key}`, class: "chip", "aria-pressed": "false" }, name, " ", make("span", { class: "number" }));
    chip.addEventListener("click", () => go({ kind: key, item: null }, true));
    at("kinds").append(chip);
  }
}

function setUpSelects() {
  for (const [key, name, values, label] of FACETS) {
    const found = facetValues(flips, values, key === "slice" ? MAX_SLICE_VALUES : Infinity);
    const select = make("select", { id: `by-${key}` }, make("option", { value: "" }, "all"), ...found.map(([value, number]) => make("option", { value }, `${label(value)} (${thousands(number)})`)));
    const field = make("label", {}, make("span", {}, name), select);
    // A filter with nothing to choose from is not shown: no causes, one task.
    field.hidden = found.length < (key === "task" ? 2 : 1);
    select.addEventListener("change", () => go({ [key]: select.value, item: null }, true));
    at("facets").append(field);
  }
  at("sort").append(...SORTS.filter(([, , test]) => !flips.length || flips.some(test)).map(([value, name]) => make("option", { value }, name)));
  at("sort").addEventListener("change", () => go({ sort: at("sort").value }, false));
}

function setUpSearch() {
  let waiting = 0;
  at("query").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => go({ q: at("query").value, item: null }, false), 90);
  });
}

function setUpButtons() {
  const actions = { theme: toggleTheme, previous: () => step(-1), next: () => step(1), back: close, copy: copyExample, link: copyLink, marks: toggleMarks, clear: clearFilters };
  for (const [id, action] of Object.entries(actions)) at(id).addEventListener("click", action);
  at("keys").addEventListener("click", () => at("help").showModal());
  at("close-help").addEventListener("click", () => at("help").close());
  at("letters").checked = stored("muscle-letters") !== "off";
  at("letters").addEventListener("change", () => stored("muscle-letters", at("letters").checked ? "on" : "off"));
}

function setUp() {
  document.documentElement.classList.add("scripted");
  document.documentElement.dataset.theme = stored("muscle-theme") || "auto";
  list = exampleList(at("list"), open);
  setUpChips();
  setUpSelects();
  setUpSearch();
  setUpButtons();
  document.addEventListener("keydown", onKey);
  document.addEventListener("click", onLink);
  addEventListener("popstate", followAddress);
  addEventListener("beforeprint", unfoldForPrint);
  wide.addEventListener("change", render);
  render();
  followAddress();
}

setUp();
