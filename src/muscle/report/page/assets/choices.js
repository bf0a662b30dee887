// Examples with choices: what each model chose, how likely it found each choice, and by how much the right one led.

/** The choices' shares of probability: the softmax of their log-likelihoods; null where not all are known. */
function choiceShares(logprobs, count) {
  if (!Array.isArray(logprobs) || logprobs.length !== count || !logprobs.every(isNumber)) return null;
  const top = Math.max(...logprobs);
  const weights = logprobs.map((value) => Math.exp(value - top));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}

/** One model's view of one choice: a mark where it was taken, a bar of its share, the log-likelihood. */
function choiceCell(answer, index, right, share) {
  const chosen = answer.choice === index;
  const likelihood = (answer.logprobs || [])[index];
  const cell = make("td", { class: chosen ? `chosen ${index === right ? "right" : "wrong"}` : null });
  if (share !== null) {
    const bar = make("span", { class: "share-bar", "aria-hidden": "true" }, make("span", {}));
    bar.firstChild.style.width = `${100 * share}%`;
    bar.title = `${(100 * share).toFixed(1)}% of the probability among the choices`;
    cell.append(bar);
  }
  if (chosen) cell.append(make("span", { class: "dot" }, index === right ? "\u2713" : "\u2717", make("span", { class: "hidden" }, " chosen ")), " ");
  if (isNumber(likelihood)) cell.append(exact(likelihood, 2));
  else if (chosen) cell.append("chosen");
  return cell;
}

/** The choices as rows, the models as columns. */
function choiceTable(flip) {
  const right = rightChoice(flip);
  const sides = sidesOf(flip);
  const shares = sides.map((side) => choiceShares(flip[side].logprobs, flip.choices.length));
  const head = make("tr", {}, make("th", { scope: "col" }, "Choice"), ...sides.map((side) => make("th", { scope: "col" }, side)));
  const rows = flip.choices.map((choice, index) => make("tr", {},
    make("th", { scope: "row", class: index === right ? "is-right" : null },
      make("div", { class: "choice-name" },
        make("span", { class: "choice-text", dir: "auto" }, ...visibleNodes(String(choice))),
        index === right ? make("span", { class: "right-mark" }, "\u2713 right answer") : null)),
    ...sides.map((side, at) => choiceCell(flip[side], index, right, shares[at] && shares[at][index]))));
  const note = shares.some(Boolean) ? make("p", { class: "note" }, "Log-likelihood of each choice; the bar is its share among the choices.") : null;
  return make("div", {},
    make("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "Choices" },
      make("table", { class: "figures choices" }, make("caption", { class: "hidden" }, "Choices"), make("thead", {}, head), make("tbody", {}, ...rows))),
    note);
}

/**
 * By how much each model's best choice leads its second best, a bar a model on one scale; null where it is not known.
 * A short bar is a close call. The tone says whether the choice that leads is right.
 */
function marginChart(flip) {
  const margins = SIDES.filter((side) => flip.margin && isNumber(flip.margin[side])).map((side) => [side, flip.margin[side]]);
  if (!margins.length) return null;
  const reach = Math.max(...margins.map(([, value]) => Math.abs(value)), 1e-9);
  const rows = margins.map(([side, value]) => {
    const correct = flip[side] ? flip[side].correct : null;
    const bar = make("span", { class: `margin-bar ${correct === true ? "gain" : correct === false ? "loss" : ""}` });
    bar.style.width = `${(100 * Math.abs(value)) / reach}%`;
    return make("tr", {}, make("th", { scope: "row" }, side),
      make("td", { class: "margin-track" }, make("span", { class: "margin-line", "aria-hidden": "true" }, bar)), make("td", {}, exact(value, 3)));
  });
  return labelled("Margin: by how much the likeliest choice leads the second, in log-likelihood",
    make("table", { class: "margins" }, make("caption", { class: "hidden" }, "Margins"), make("tbody", {}, ...rows)));
}
