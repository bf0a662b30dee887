"use strict";
// Foreign text on the page: shown as it is, never acting. Whatever comes from the data becomes a text node.

const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]/g;
const CLIP = 1500;
const CONTEXT = 240;

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

/** Text in one string with its controls spelled out, for names and labels that hold no elements. */
function visibleText(text) {
  return visibleNodes(String(text)).map((node) => node.textContent).join("");
}

function thousands(number) {
  return number.toLocaleString("en");
}

/** A number from the report: its exact value kept beside the rounded form, as everywhere on the page. */
function exact(value, places, signed) {
  const text = value.toFixed(places).replace("-", "\u2212");
  return make("data", { value }, (signed && value > 0 ? "+" : "") + text);
}

/** A share in [0, 1], in percent. */
function percent(value) {
  return make("data", { value }, `${(100 * value).toFixed(value > 0 && value < 0.001 ? 2 : 1)}%`);
}

/** A p-value: three decimals, or its order of magnitude. */
function pValue(value) {
  return make("data", { value }, value >= 0.001 || value === 0 ? value.toFixed(3) : value.toExponential(1).replace("-", "\u2212"));
}

/** Cut where no surrogate pair is torn. */
function cutAt(text, limit) {
  const code = text.charCodeAt(limit - 1);
  return text.slice(0, code >= 0xd800 && code <= 0xdbff ? limit - 1 : limit);
}

/** Append one run of a text; the white space before a marked word stays outside of its mark. */
function appendRun(block, sign, piece, changed) {
  if (sign === "=") {
    block.append(...visibleNodes(piece));
    return;
  }
  const [, before, marked] = piece.match(/^(\s*)([^]*)$/);
  if (before) block.append(before);
  if (marked) block.append(make(changed, {}, ...visibleNodes(marked)));
}

/** Fold what is alike in a long text, so that the words that differ are seen first. */
function folded(runs) {
  if (!runs.some(([sign]) => sign === "!")) return runs;
  return runs.map(([sign, piece], index) => {
    if (sign !== "=" || piece.length < 3 * CONTEXT) return [sign, piece];
    const head = index === 0 ? "" : cutAt(piece, CONTEXT);
    const tail = index === runs.length - 1 ? "" : piece.slice(piece.length - CONTEXT);
    return ["fold", head, piece.length - head.length - tail.length, tail];
  });
}

/** Put runs into a block until `limit` characters are there. */
function fill(block, runs, changed, limit) {
  block.replaceChildren();
  let left = limit;
  for (const [sign, piece, hidden, tail] of runs) {
    if (left <= 0) break;
    if (sign === "fold") {
      block.append(...visibleNodes(piece), make("span", { class: "fold" }, ` \u22ef ${thousands(hidden)} characters alike \u22ef `), ...visibleNodes(tail));
      left -= piece.length + tail.length;
    } else {
      appendRun(block, sign, piece.length > left ? cutAt(piece, left) : piece, changed);
      left -= piece.length;
    }
  }
}

/** A block of foreign text: isolated in direction, long text clipped until asked for; `runs` marks a diff with <del> or <ins>. */
function textBlock(text, runs, changed, clip = CLIP) {
  const block = make("div", { class: "text", dir: "auto" });
  const pieces = runs || [["=", text]];
  if (!text) block.append(make("span", { class: "absent" }, "empty"));
  if (text.length <= clip * 1.2) {
    if (text) fill(block, pieces, changed, Infinity);
    return block;
  }
  fill(block, folded(pieces), changed, clip);
  const button = make("button", { type: "button", class: "show-all" }, `Show all ${thousands(text.length)} characters`);
  button.addEventListener("click", () => {
    fill(block, pieces, changed, Infinity);
    block.tabIndex = -1;
    block.focus({ preventScroll: true });
    button.remove();
  });
  return make("div", { class: "clipped" }, block, button);
}
