// One opened example: what it is, what was asked, and every answer to it side by side.

const MAX_REPEATS = 12;
const REPEAT_CLIP = 320;

function labelled(name, ...content) {
  return make("div", { class: "labelled" }, make("h4", {}, name), ...content);
}

/** The runs of one side's answer in its comparison with the old one (for the old answer: with the new one). */
function answerRuns(flip, side) {
  const answer = flip[side].output;
  const other = side === "old" ? flip.new && flip.new.output : flip.old && flip.old.output;
  if (!isText(other) || other === answer) return null;
  const sides = side === "old" ? wordDiff(answer, other) : wordDiff(other, answer);
  return sides && sides[side === "old" ? 0 : 1];
}

/** One side's answer, the words that differ marked. */
function answerColumn(flip, side, marks) {
  const answer = flip[side];
  const heading = make("h4", {}, side, " ", outcome(answer));
  if (typeof answer.correct === "boolean" && isNumber(answer.score)) heading.append(make("span", { class: "outcome" }, " score ", exact(answer.score, 3)));
  if (!isText(answer.output)) return make("div", { class: "answer" }, heading, make("p", { class: "absent" }, "no text"));
  const runs = marks ? answerRuns(flip, side) : null;
  const same = side !== "old" && flip.old && flip.old.output === answer.output;
  return make("div", { class: "answer" }, heading, textBlock(answer.output, runs, side === "old" ? "del" : "ins"),
    same ? make("p", { class: "note" }, "The same text as the old answer.") : null);
}

/** Whether the answers' texts say more than which choice was taken. */
function hasText(flip) {
  return sidesOf(flip).some((side) => isText(flip[side].output) && !(flip.choices || []).includes(flip[side].output.trim()));
}

/** What a repeat came to: its mark, and its text where there is one. */
function repeatCell(flip, answer) {
  if (!answer) return make("td", { class: "absent" }, "\u2013");
  const choice = Number.isInteger(answer.choice) && flip.choices ? flip.choices[answer.choice] : null;
  const text = isText(answer.output) ? answer.output : choice;
  return make("td", {}, outcome(answer), isText(text) ? textBlock(text, null, null, REPEAT_CLIP) : null);
}

/** A row of marks, one a repeat, so that how often a side was right is seen at a glance. */
function repeatMarks(answers) {
  const marks = answers.map((answer) => (answer.correct === true ? "\u2713" : answer.correct === false ? "\u2717" : "\u00b7"));
  const strip = make("span", { class: "repeat-marks", "aria-hidden": "true" });
  marks.forEach((mark) => strip.append(make("span", { class: mark === "\u2713" ? "right" : mark === "\u2717" ? "wrong" : null }, mark)));
  return strip;
}

/** The head of a side's repeats: its name, the share that was right, the marks. */
function repeatHead(flip, side, answers) {
  const rate = flip.pass_rate && isNumber(flip.pass_rate[side]) ? make("span", {}, ...rateParts(flip, side, answers.length)) : `${answers.length} answers`;
  return make("th", { scope: "col" }, side, make("span", { class: "caption" }, rate), repeatMarks(answers));
}

/** Whether the example's answers are right or wrong; else they have a score only. */
function isGraded(flip) {
  return SIDES.some((side) => ((flip.repeats || {})[side] || []).some((answer) => typeof answer.correct === "boolean"));
}

/** The share of a side's answers that is right, or the mean of their scores, and of how many. */
function rateParts(flip, side, total) {
  const rate = flip.pass_rate[side];
  return isGraded(flip) ? [percent(rate), ` right of ${total}`] : [exact(rate, 3), ` mean score of ${total}`];
}

/** How many answers a side has at most; 1 where the item was not asked again. */
function numRepeats(flip) {
  return Math.max(1, ...SIDES.map((side) => ((flip.repeats || {})[side] || []).length));
}

/** All repeats of the item: a row a repeat, a column a side; null where it was asked once. */
function repeatTable(flip) {
  const count = numRepeats(flip);
  if (count < 2) return null;
  const { repeats } = flip;
  const sides = SIDES.filter((side) => Array.isArray(repeats[side]) && repeats[side].length);
  const rowAt = (index) => make("tr", {}, make("th", { scope: "row" }, String(index + 1)), ...sides.map((side) => repeatCell(flip, repeats[side][index])));
  const body = make("tbody", {}, ...Array.from({ length: Math.min(count, MAX_REPEATS) }, (_, index) => rowAt(index)));
  const table = make("table", { class: "figures repeats" }, make("caption", { class: "hidden" }, "All answers to this item"),
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, make("abbr", { title: "repeat" }, "#")), ...sides.map((side) => repeatHead(flip, side, repeats[side])))), body);
  const box = make("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "All answers to this item" }, table);
  const block = labelled(`All ${count} answers of each side`, box);
  if (count > MAX_REPEATS) {
    const button = make("button", { type: "button", class: "show-all" }, `Show all ${count}`);
    button.addEventListener("click", () => {
      for (let index = MAX_REPEATS; index < count; index += 1) body.append(rowAt(index));
      box.focus();
      button.remove();
    });
    block.append(button);
  }
  return block;
}

/** Badges: kind, what the candidate made of it, item verdict, cause, noise. */
function badges(flip) {
  const [name, tone, sign] = kindOf(flip);
  const row = make("p", { class: "badges" }, badge(tone, sign, name));
  if (flip.fixed === true) row.append(badge("gain", "\u21a9", "given back by the candidate"));
  if (flip.introduced === true && flip.kind !== "other_wrong") row.append(badge("loss", "\u2193", "newly broken by the candidate"));
  if (isText(flip.verdict)) {
    const [words, verdictTone, verdictSign, meaning] = Object.hasOwn(VERDICTS, flip.verdict) ? VERDICTS[flip.verdict] : [verdictName(flip.verdict), "wrong", "\u00b7", null];
    row.append(badge(verdictTone, verdictSign, words, meaning));
  }
  if (isText(flip.cause)) row.append(badge("wrong", "\u25e6", `cause: ${causeName(flip.cause)}`));
  if (flip.within_noise === true) row.append(badge("wrong", "\u223f", "within run-to-run noise"));
  if (flip.within_noise === false) row.append(badge("wrong", "\u2191", "beyond run-to-run noise"));
  return row;
}

/** The figures of an example that stand in a line: drop, share of right answers, p; and its input's hash where there are no texts. */
function facts(flip) {
  const list = [];
  if (isNumber(flip.size)) list.push(["drop", exact(flip.size, 3)]);
  const rates = numRepeats(flip) > 1 ? flip.pass_rate || {} : {};
  for (const side of SIDES) if (isNumber(rates[side])) list.push(isGraded(flip) ? [`${side} right`, percent(rates[side])] : [`${side} mean score`, exact(rates[side], 3)]);
  if (isNumber(flip.p_value)) list.push(["p", pValue(flip.p_value)]);
  if (isText(flip.input_hash)) list.push(["input's SHA-256", `${flip.input_hash.slice(0, 16)}\u2026`]);
  return list.length ? make("dl", { class: "facts" }, ...list.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)))) : null;
}

/** The example's slices as buttons that filter by them. */
function sliceButtons(flip, onSlice) {
  const entries = Object.entries(flip.slices || {});
  if (!entries.length) return null;
  return make("p", { class: "slices" }, ...entries.map(([name, value]) => {
    const button = make("button", { type: "button", class: "slice", dir: "auto", title: "Show the examples of this slice" }, ...visibleNodes(`${name}: ${value}`));
    button.addEventListener("click", () => onSlice(`${name}=${value}`));
    return button;
  }));
}

/** Everything about one example, for the pane on the right; `options` has `marks` and `onSlice`. */
function exampleDetail(flip, options) {
  const hasChoices = (flip.choices || []).length > 0;
  const input = isText(flip.input) ? labelled("Input", textBlock(flip.input)) : null;
  const title = make("h3", { class: "name", id: "item-title" }, make("bdi", {}, ...visibleNodes(String(flip.task))), " \u00b7 ", make("bdi", {}, ...visibleNodes(String(flip.id))));
  const body = make("div", { class: "detail-body" }, badges(flip), title, facts(flip), input, sliceButtons(flip, options.onSlice));
  if (hasChoices) body.append(labelled("Choices", choiceTable(flip)));
  const margins = marginChart(flip);
  if (margins) body.append(margins);
  if (hasText(flip) || !hasChoices) body.append(labelled("Answers", make("div", { class: "answers" }, ...sidesOf(flip).map((side) => answerColumn(flip, side, options.marks)))));
  const shown = hasChoices && rightChoice(flip) >= 0;
  if (!shown && (flip.reference || []).length) body.append(labelled("Reference", ...flip.reference.map((text) => textBlock(String(text)))));
  const repeats = repeatTable(flip);
  if (repeats) body.append(repeats);
  return body;
}
