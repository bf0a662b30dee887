"use strict";
// Foreign text on the page: shown as it is, never acting, and compared word by word.

const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]/g;
const CLIP = 1500;
const MAX_DIFF_WORDS = 1500;
const MIN_SHARED = 0.2;

/** Make an element: text children go in as text nodes, never as markup. */
function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** The sign that stands for a control, bidirectional or zero-width character. */
function spellOut(character) {
  const code = character.charCodeAt(0);
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  if (code === 0x7f) return "\u2421";
  return `\u27e8U+${code.toString(16).toUpperCase().padStart(4, "0")}\u27e9`;
}

/** Split text into runs of plain text and spelled-out signs. Paired surrogates are plain text. */
function visibleNodes(text) {
  const nodes = [];
  let last = 0;
  for (const match of text.matchAll(CONTROLS)) {
    const code = match[0].charCodeAt(0);
    const paired = code >= 0xd800 && code <= 0xdfff && text.codePointAt(code < 0xdc00 ? match.index : match.index - 1) > 0xffff;
    if (paired) continue;
    if (match.index > last) nodes.push(document.createTextNode(text.slice(last, match.index)));
    nodes.push(make("span", { class: "control" }, spellOut(match[0])));
    last = match.index + 1;
  }
  if (last < text.length) nodes.push(document.createTextNode(text.slice(last)));
  return nodes;
}

/** Words with the white space before them; Chinese and Japanese, which set no spaces, by the character. */
function words(text) {
  return text.match(/\s*(?:[\u3040-\u30ff\u3400-\u9fff]|[^\s\u3040-\u30ff\u3400-\u9fff]+)|\s+$/g) || [];
}

/**
 * Compare two texts word by word; the longest common subsequence stays.
 * Returns a list of [sign, text] for each side, sign "=" or "!"; null where the texts are too long for it, or share so
 * little that marks would only be noise.
 */
function wordDiff(before, after) {
  let a = words(before);
  let b = words(after);
  let head = 0;
  while (head < a.length && head < b.length && a[head].trim() === b[head].trim()) head += 1;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail].trim() === b[b.length - 1 - tail].trim()) tail += 1;
  const start = [a.slice(0, head), b.slice(0, head)];
  const end = [a.slice(a.length - tail), b.slice(b.length - tail)];
  a = a.slice(head, a.length - tail);
  b = b.slice(head, b.length - tail);
  if (a.length * b.length > MAX_DIFF_WORDS * MAX_DIFF_WORDS) return null;
  const width = b.length + 1;
  const lengths = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      lengths[i * width + j] = a[i].trim() === b[j].trim()
        ? lengths[(i + 1) * width + j + 1] + 1
        : Math.max(lengths[(i + 1) * width + j], lengths[i * width + j + 1]);
    }
  }
  const longer = Math.max(a.length, b.length) + head + tail;
  if (head + tail + lengths[0] < MIN_SHARED * longer) return null;
  const sides = [[], []];
  const put = (side, sign, word) => {
    const runs = sides[side];
    if (runs.length && runs[runs.length - 1][0] === sign) runs[runs.length - 1][1] += word;
    else runs.push([sign, word]);
  };
  start[0].forEach((word) => put(0, "=", word));
  start[1].forEach((word) => put(1, "=", word));
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i].trim() === b[j].trim()) {
      put(0, "=", a[i]);
      put(1, "=", b[j]);
      i += 1;
      j += 1;
    } else if (j >= b.length || (i < a.length && lengths[(i + 1) * width + j] >= lengths[i * width + j + 1])) {
      put(0, "!", a[i]);
      i += 1;
    } else {
      put(1, "!", b[j]);
      j += 1;
    }
  }
  end[0].forEach((word) => put(0, "=", word));
  end[1].forEach((word) => put(1, "=", word));
  return sides;
}

/** A block of foreign text: isolated in direction, long text clipped until asked for; `runs` marks a diff. */
function textBlock(text, runs, changed) {
  const block = make("div", { class: "text", dir: "auto" });
  const pieces = runs || [["=", text]];
  const fill = (limit) => {
    block.replaceChildren();
    let left = limit;
    for (const [sign, piece] of pieces) {
      if (left <= 0) break;
      const [, before, marked] = piece.slice(0, left).match(/^(\s*)([^]*)$/);
      if (sign === "=") block.append(before, ...visibleNodes(marked));
      else block.append(before, make(changed, {}, ...visibleNodes(marked)));
      left -= piece.length;
    }
  };
  if (text.length <= CLIP * 1.2) {
    fill(Infinity);
    if (!text) block.append(make("span", { class: "absent" }, "empty"));
    return block;
  }
  fill(CLIP);
  const button = make("button", { type: "button", class: "show-all" }, `… show all ${text.length.toLocaleString("en")} characters`);
  button.addEventListener("click", () => {
    fill(Infinity);
    button.remove();
  });
  return make("div", {}, block, button);
}
