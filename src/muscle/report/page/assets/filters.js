// Which examples are shown: filters, search and sorting, and their form in the page's address.

/** Whether a candidate broke it: what the plain update broke and it did not give back, and what it alone broke. */
function brokenByCandidate(flip) {
  return flip.introduced === true || (flip.kind === "negative_flip" && flip.fixed === false);
}

const KIND_FILTERS = [
  ["all", "All", () => true],
  ["broke", "Broken by the candidate", brokenByCandidate],
  ["negative", "Negative flips", (flip) => flip.kind === "negative_flip"],
  ["fixed", "Given back", (flip) => flip.fixed === true],
  ["kept", "Still broken", (flip) => flip.kind === "negative_flip" && flip.fixed === false],
  ["introduced", "Newly broken", (flip) => flip.introduced === true],
  ["positive", "Positive flips", (flip) => flip.kind === "positive_flip"],
  ["other", "Another wrong answer", (flip) => flip.kind === "other_wrong" && flip.introduced !== true],
];
const MAX_SLICE_VALUES = 60;

/** The filters that are lists: what an example has of each, as a list of values. */
const FACETS = [
  ["task", "Task", (flip) => [String(flip.task)], visibleText],
  ["verdict", "Item verdict", (flip) => (isText(flip.verdict) ? [flip.verdict] : []), verdictName],
  ["cause", "Cause", (flip) => (isText(flip.cause) ? [flip.cause] : []), causeName],
  ["noise", "Noise", (flip) => (typeof flip.within_noise === "boolean" ? [flip.within_noise ? "within" : "beyond"] : []), (value) => `${value} run-to-run noise`],
  ["slice", "Slice", (flip) => Object.entries(flip.slices || {}).map(([name, value]) => `${name}=${value}`), visibleText],
];
const SORTS = [
  ["size", "largest drop first", () => true],
  ["p", "smallest p first", (flip) => isNumber(flip.p_value)],
  ["file", "as in report.json", () => true],
];
const DEFAULTS = { kind: "all", task: "", verdict: "", cause: "", noise: "", slice: "", q: "", sort: "size", item: null };
const FILTER_KEYS = ["kind", ...FACETS.map(([key]) => key), "q"];

/** Every example with a name for its address; an id that comes twice gets a number. */
function indexExamples(flips) {
  const seen = new Map();
  return flips.map((flip, position) => {
    const name = `${flip.task}/${flip.id}`.toWellFormed();
    const times = (seen.get(name) || 0) + 1;
    seen.set(name, times);
    return { flip, position, key: times > 1 ? `${name}~${times}` : name, haystack: null };
  });
}

/** All text of an example in small letters, made when it is first searched. */
function haystack(entry) {
  if (entry.haystack === null) {
    const { flip } = entry;
    const answers = SIDES.map((side) => flip[side] && flip[side].output);
    const repeats = SIDES.flatMap((side) => ((flip.repeats || {})[side] || []).map((answer) => answer.output));
    const slices = Object.entries(flip.slices || {}).flat();
    entry.haystack = [flip.task, flip.id, flip.input, ...(flip.choices || []), ...(flip.reference || []), ...answers, ...repeats, ...slices]
      .filter((text) => text !== null && text !== undefined).join("\n").toLowerCase();
  }
  return entry.haystack;
}

/** Examples that match every filter but the kind: the kinds' chips count these. */
function matchingExamples(entries, state) {
  const needles = state.q.toLowerCase().split(/\s+/).filter(Boolean);
  const facets = FACETS.filter(([key]) => state[key]);
  return entries.filter((entry) => facets.every(([key, , values]) => values(entry.flip).includes(state[key]))
    && needles.every((word) => haystack(entry).includes(word)));
}

/** Sort in place; what has no number comes last, ties stay as in the file. By size, what the verdict is on comes first. */
function sortExamples(list, sort, hasCandidate) {
  const number = {
    size: (flip) => (isNumber(flip.size) ? -flip.size : Infinity),
    p: (flip) => (isNumber(flip.p_value) ? flip.p_value : Infinity),
    file: () => 0,
  }[sort];
  const weights = new Map(list.map((entry) => [entry, number(entry.flip)]));
  const first = (entry) => (sort === "size" && hasCandidate && brokenByCandidate(entry.flip) ? 0 : 1);
  list.sort((a, b) => first(a) - first(b) || (weights.get(a) === weights.get(b) ? a.position - b.position : weights.get(a) - weights.get(b)));
}

/** How often each value of a facet occurs, as [value, number]: as first met, or the most frequent of too many. */
function facetValues(flips, values, limit) {
  const counts = new Map();
  for (const flip of flips) for (const value of values(flip)) counts.set(value, (counts.get(value) || 0) + 1);
  const found = [...counts];
  return found.length <= limit ? found : found.sort((a, b) => b[1] - a[1]).slice(0, limit);
}

/** The page's address for a state: only what differs from the defaults. */
function addressOf(state) {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(state)) if (value && value !== DEFAULTS[key]) search.set(key, value);
  const text = search.toString();
  return text ? `#examples?${text}` : "#examples";
}

/** The state that an address holds; null where it is of another part of the page. Unknown values fall back. */
function stateOf(address) {
  if (address !== "" && address !== "#examples" && !address.startsWith("#examples?")) return null;
  const state = { ...DEFAULTS };
  for (const [key, value] of new URLSearchParams(address.slice("#examples?".length))) if (Object.hasOwn(DEFAULTS, key)) state[key] = value;
  if (!KIND_FILTERS.some(([key]) => key === state.kind)) state.kind = DEFAULTS.kind;
  if (!SORTS.some(([key]) => key === state.sort)) state.sort = DEFAULTS.sort;
  return state;
}
