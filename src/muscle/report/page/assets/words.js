// What an example is called: its kind, verdict, cause and outcome, each as words, a tone and a sign. Never colour alone.

const SIDES = ["old", "new", "candidate"];
const KINDS = {
  negative_flip: ["Negative flip", "loss", "\u2193"],
  positive_flip: ["Positive flip", "gain", "\u2191"],
  other_wrong: ["Another wrong answer", "wrong", "\u21c4"],
};
const VERDICTS = {
  regressed: ["Regressed", "loss", "\u25bc", "more than chance: the new model is right less often"],
  improved: ["Improved", "gain", "\u25b2", "more than chance: the new model is right more often"],
  equivalent: ["Equivalent", "wrong", "=", "right as often as before, within the margin that was set"],
  cannot_tell: ["Cannot tell", "wrong", "?", "the repeats are too few to say"],
};
const CAUSES = {
  knowledge: "Knowledge",
  format: "Format",
  refusal: "Refusal",
  cut_off: "Cut off",
  error: "Error",
};

/** What kind of change this is, as [words, tone, sign]. */
function kindOf(flip) {
  if (flip.kind === "other_wrong" && flip.introduced) return ["Broken by the candidate only", "loss", "\u2193"];
  return KINDS[flip.kind] || ["Changed", "wrong", "\u21c4"];
}

/** A cause's name; a user's own rule is called as it is. */
function causeName(cause) {
  return Object.hasOwn(CAUSES, cause) ? CAUSES[cause] : visibleText(cause);
}

function verdictName(verdict) {
  return Object.hasOwn(VERDICTS, verdict) ? VERDICTS[verdict][0] : visibleText(verdict);
}

function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}

function isText(value) {
  return typeof value === "string";
}

/** The sides that answered, in order. */
function sidesOf(flip) {
  return SIDES.filter((side) => flip[side]);
}

/** Index of the right choice, or -1: what a right side chose, else the choice that equals the reference. */
function rightChoice(flip) {
  const choices = flip.choices || [];
  const right = SIDES.map((side) => flip[side]).find((answer) => answer && answer.correct === true && Number.isInteger(answer.choice));
  if (right) return right.choice;
  const references = flip.reference || [];
  const named = choices.findIndex((choice) => references.includes(choice));
  if (named >= 0) return named;
  const index = references.length === 1 && /^\d+$/.test(references[0]) ? Number(references[0]) : -1;
  return index < choices.length ? index : -1;
}

/** Right or wrong, in a word and a sign; a score where there is no right or wrong. */
function outcome(answer) {
  if (answer.correct === true) return make("span", { class: "outcome right" }, "\u2713 right");
  if (answer.correct === false) return make("span", { class: "outcome wrong" }, "\u2717 wrong");
  if (isNumber(answer.score)) return make("span", { class: "outcome" }, "score ", exact(answer.score, 3));
  return make("span", { class: "outcome" }, "not scored");
}

function badge(tone, sign, text, title) {
  return make("span", { class: `kind ${tone}`, title }, make("span", { "aria-hidden": "true" }, `${sign} `), text);
}
