// An example as Markdown, and onto the clipboard.

/** Text in a fence that is longer than any run of backticks in it. */
function fenced(text) {
  const longest = Math.max(2, ...(text.match(/`+/g) || []).map((run) => run.length));
  const fence = "`".repeat(longest + 1);
  return `${fence}\n${text}\n${fence}`;
}

function inlineCode(text) {
  return `\`${String(text).replace(/\s+/g, " ").replaceAll("`", "'")}\``;
}

/** What a side came to, in words. */
function outcomeWords(answer) {
  if (answer.correct === true) return "right";
  if (answer.correct === false) return "wrong";
  return isNumber(answer.score) ? `score ${answer.score}` : "not scored";
}

/** The line of what is known of an example beside its texts. */
function aboutLine(flip) {
  const parts = [];
  if (isText(flip.verdict)) parts.push(`item verdict: ${verdictName(flip.verdict)}${isNumber(flip.p_value) ? ` (p = ${flip.p_value})` : ""}`);
  if (isText(flip.cause)) parts.push(`cause: ${Object.hasOwn(CAUSES, flip.cause) ? CAUSES[flip.cause] : inlineCode(flip.cause)}`);
  for (const side of SIDES) if (numRepeats(flip) > 1 && flip.pass_rate && isNumber(flip.pass_rate[side])) parts.push(isGraded(flip) ? `${side} right in ${(100 * flip.pass_rate[side]).toFixed(1)}% of its answers` : `${side} mean score ${Number(flip.pass_rate[side].toPrecision(4))}`);
  return parts.join("; ");
}

/** One example as Markdown. */
function exampleMarkdown(flip, names) {
  const lines = [`**${kindOf(flip)[0]}**: ${inlineCode(flip.task)}, ${inlineCode(flip.id)}`];
  const about = aboutLine(flip);
  if (about) lines.push(about);
  if (isText(flip.input)) lines.push("Input", fenced(flip.input));
  if ((flip.choices || []).length) lines.push("Choices", fenced(flip.choices.map((text, index) => `${index}: ${text}`).join("\n")));
  if ((flip.reference || []).length) lines.push("Reference", fenced(flip.reference.join("\n")));
  for (const side of sidesOf(flip)) {
    const answer = flip[side];
    const chosen = Number.isInteger(answer.choice) && flip.choices ? flip.choices[answer.choice] : null;
    lines.push(`${side} (${inlineCode(names[side] ?? side)}): ${outcomeWords(answer)}`, fenced(String(answer.output ?? chosen ?? "")));
  }
  return `${lines.join("\n\n")}\n`;
}

/** Put text on the clipboard; returns whether that was allowed. */
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without the clipboard interface (an old browser, a sandboxed frame) a selection can still be copied.
    const area = make("textarea", { class: "hidden", readonly: true, "aria-label": "text to copy" });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
