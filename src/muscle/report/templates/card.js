// One flipped example: its card on the page and its Markdown.

const SIDES = ["old", "new", "candidate"];
const KINDS = {
  negative_flip: ["Negative flip", "loss", "\u2193"],
  positive_flip: ["Positive flip", "gain", "\u2191"],
  other_wrong: ["Another wrong answer", "wrong", "\u21c4"],
};

/** What kind of change this is, as [words, tone, sign]. */
function kindOf(flip) {
  if (flip.kind === "other_wrong" && flip.introduced) return ["Broken by the candidate only", "loss", "\u2193"];
  if (KINDS[flip.kind]) return KINDS[flip.kind];
  return ["Changed", "wrong", "\u21c4"];
}

/** Index of the right choice, or -1: what a right side chose, else the choice that equals the reference. */
function rightChoice(flip) {
  const right = SIDES.map((side) => flip[side]).find((answer) => answer && answer.correct === true && Number.isInteger(answer.choice));
  if (right) return right.choice;
  const references = flip.reference || [];
  const named = (flip.choices || []).findIndex((choice) => references.includes(choice));
  if (named >= 0) return named;
  const index = references.length === 1 && /^\d+$/.test(references[0]) ? Number(references[0]) : -1;
  return index < (flip.choices || []).length ? index : -1;
}

function shortNumber(value, places) {
  return value.toFixed(places).replace("-", "\u2212");
}

function exact(value, places) {
  return make("data", { value }, shortNumber(value, places));
}

/** Right or wrong, in a word and a sign. */
function outcome(answer) {
  if (answer.correct === true) return make("span", { class: "outcome right" }, "\u2713 right");
  if (answer.correct === false) return make("span", { class: "outcome wrong" }, "\u2717 wrong");
  if (typeof answer.score === "number") return make("span", { class: "outcome" }, "score ", exact(answer.score, 3));
  return make("span", { class: "outcome" }, "not scored");
}

/** The choices as rows, the models as columns: what each chose and how likely it found each choice. */
function choiceTable(flip) {
  const right = rightChoice(flip);
  const sides = SIDES.filter((side) => flip[side]);
  const head = make("tr", {}, make("th", { scope: "col" }, "Choice"), ...sides.map((side) => make("th", { scope: "col" }, side)));
  const rows = flip.choices.map((choice, index) => {
    const name = make("th", { scope: "row", class: index === right ? "is-right" : null },
      make("div", { class: "choice-name" },
        make("span", { class: "choice-text", dir: "auto" }, ...visibleNodes(choice)),
        index === right ? make("span", { class: "right-mark" }, "\u2713 right answer") : null));
    const cells = sides.map((side) => {
      const answer = flip[side];
      const chosen = answer.choice === index;
      const cell = make("td", { class: chosen ? `chosen ${index === right ? "right" : "wrong"}` : null });
      if (chosen) cell.append(make("span", { class: "dot" }, index === right ? "\u2713" : "\u2717", make("span", { class: "hidden" }, " chosen ")), " ");
      const likelihood = (answer.logprobs || [])[index];
      if (typeof likelihood === "number") cell.append(exact(likelihood, 2));
      else if (chosen) cell.append("chosen");
      return cell;
    });
    return make("tr", {}, name, ...cells);
  });
  return make("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "Choices" },
    make("table", { class: "figures choices" }, make("caption", { class: "hidden" }, "Choices"), make("thead", {}, head), make("tbody", {}, ...rows)));
}

/** The answers side by side, the words that differ marked. */
function answerColumns(flip) {
  const before = flip.old && flip.old.output;
  const columns = SIDES.filter((side) => flip[side]).map((side) => {
    const answer = flip[side];
    const heading = make("h3", {}, side, " ", outcome(answer));
    if (answer.correct !== null && answer.correct !== undefined && typeof answer.score === "number") {
      heading.append(make("span", { class: "outcome" }, " score ", exact(answer.score, 3)));
    }
    if (typeof answer.output !== "string") return make("div", { class: "answer" }, heading, make("p", { class: "absent" }, "no text"));
    const other = side === "old" ? flip.new && flip.new.output : before;
    const diff = typeof other === "string" && other !== answer.output
      ? (side === "old" ? wordDiff(answer.output, other) : wordDiff(other, answer.output))
      : null;
    const runs = diff && diff[side === "old" ? 0 : 1];
    return make("div", { class: "answer" }, heading, textBlock(answer.output, runs, side === "old" ? "del" : "ins"));
  });
  return make("div", { class: "answers" }, ...columns);
}

function labelled(name, ...content) {
  return make("div", { class: "labelled" }, make("h3", {}, name), ...content);
}

/** Whether the answers' texts say more than which choice was taken. */
function hasText(flip) {
  return SIDES.some((side) => flip[side] && typeof flip[side].output === "string" && !(flip.choices || []).includes(flip[side].output.trim()));
}

/** The card of one example. */
function flipCard(entry, onCopy) {
  const { flip, anchor } = entry;
  const [name, tone, sign] = kindOf(flip);
  const head = make("header", {}, make("span", { class: `kind ${tone}` }, `${sign} ${name}`));
  if (flip.fixed === true) head.append(make("span", { class: "kind gain" }, "\u21a9 given back by the candidate"));
  if (flip.introduced === true && flip.kind !== "other_wrong") head.append(make("span", { class: "kind loss" }, "\u2193 newly broken by the candidate"));
  head.append(make("a", { class: "name", href: `#${anchor}`, title: "Link to this example" },
    make("bdi", {}, ...visibleNodes(String(flip.task))), " · ", make("bdi", {}, ...visibleNodes(String(flip.id)))));
  if (typeof flip.size === "number") head.append(make("span", { class: "size" }, "drop ", exact(flip.size, 3)));
  const copy = make("button", { type: "button", class: "quiet copy" }, "Copy as Markdown");
  copy.addEventListener("click", () => onCopy(entry, copy));
  head.append(copy);
  const card = make("article", { class: "flip", id: anchor, tabindex: "-1", "aria-label": `${name}, ${flip.task} ${flip.id}` }, head);
  const input = typeof flip.input === "string" ? labelled("Input", textBlock(flip.input)) : null;
  const slices = Object.entries(flip.slices || {}).map(([key, value]) => make("span", { class: "slice", dir: "auto" }, ...visibleNodes(`${key}: ${value}`)));
  const question = make("div", {}, input, slices.length ? make("p", { class: "slices" }, ...slices) : null);
  const choices = flip.choices && flip.choices.length ? choiceTable(flip) : null;
  // A short question stands beside its choices; a long one above them.
  const beside = input && choices && flip.input.length < 600;
  card.append(make("div", { class: beside ? "beside" : null }, question, choices));
  if (hasText(flip) || !(flip.choices && flip.choices.length)) card.append(answerColumns(flip));
  const shown = flip.choices && flip.choices.length && rightChoice(flip) >= 0;
  if (!shown && (flip.reference || []).length) card.append(labelled("Reference", ...flip.reference.map((text) => textBlock(String(text)))));
  return card;
}

/** Text in a fence that is longer than any run of backticks in it. */
function fenced(text) {
  const longest = Math.max(2, ...(text.match(/`+/g) || []).map((run) => run.length));
  const fence = "`".repeat(longest + 1);
  return `${fence}\n${text}\n${fence}`;
}

/** One example as Markdown. */
function flipMarkdown(flip, names) {
  const lines = [`**${kindOf(flip)[0]}**: \`${String(flip.task).replaceAll("`", "'")}\`, \`${String(flip.id).replaceAll("`", "'")}\``];
  if (typeof flip.input === "string") lines.push("Input", fenced(flip.input));
  if (flip.choices && flip.choices.length) lines.push("Choices", fenced(flip.choices.map((text, index) => `${index}: ${text}`).join("\n")));
  if ((flip.reference || []).length) lines.push("Reference", fenced(flip.reference.join("\n")));
  for (const side of SIDES) {
    const answer = flip[side];
    if (!answer) continue;
    const state = answer.correct === true ? "right" : answer.correct === false ? "wrong" : typeof answer.score === "number" ? `score ${answer.score}` : "not scored";
    const chosen = Number.isInteger(answer.choice) && flip.choices ? flip.choices[answer.choice] : null;
    lines.push(`${side} (${String(names[side]).replace(/\s+/g, " ")}): ${state}`, fenced(String(answer.output ?? chosen ?? "")));
  }
  return lines.join("\n\n") + "\n";
}
