// The list of examples. Only the rows in sight are on the page, so that ten thousand cost no more than twenty.

const ROW_HEIGHT = 66;
const OVERSCAN = 8;
const SNIPPET = 180;

/** The part of an input that tells one example from the next: few-shot prompts begin alike, so choices show the end. */
function snippet(flip) {
  const text = (isText(flip.input) ? flip.input : String(flip.id)).trim();
  const atEnd = (flip.choices || []).length > 0 && text.length > SNIPPET;
  const part = atEnd ? `\u2026${text.slice(-SNIPPET)}` : text.slice(0, SNIPPET);
  return visibleText(part.replace(/\s+/g, " "));
}

function rowOf(entry, index, total, current) {
  const { flip } = entry;
  const [name, tone, sign] = kindOf(flip);
  const about = [];
  if (isText(flip.verdict)) about.push(verdictName(flip.verdict));
  if (isText(flip.cause)) about.push(causeName(flip.cause));
  if (flip.fixed === true) about.push("given back");
  const row = make("div", {
    class: "row", role: "option", id: `row-${index}`, "aria-selected": String(entry === current), "aria-setsize": total, "aria-posinset": index + 1,
  },
  make("span", { class: `sign ${tone}`, "aria-hidden": "true" }, sign),
  make("span", { class: "row-main" },
    make("span", { class: "hidden" }, `${name}: `),
    make("span", { class: "row-text", dir: "auto" }, snippet(flip)),
    make("span", { class: "row-meta" },
      make("bdi", {}, visibleText(flip.task)), " \u00b7 ", make("bdi", {}, visibleText(flip.id)),
      about.length ? make("span", { class: "row-about" }, ` \u00b7 ${about.join(" \u00b7 ")}`) : null)),
  isNumber(flip.size) ? make("span", { class: "row-size" }, make("span", { class: "hidden" }, "drop "), exact(flip.size, 2)) : null);
  row.style.top = `${index * ROW_HEIGHT}px`;
  return row;
}

/**
 * A virtual list in `pane` (a listbox): `show(entries, current)` sets what it lists, `reveal(index)` scrolls to a row.
 * `onOpen(entry)` is called when a row is clicked.
 */
function exampleList(pane, onOpen) {
  const sheet = make("div", { class: "sheet", role: "presentation" });
  pane.append(sheet);
  let listed = [];
  let chosen = null;

  function draw() {
    const first = Math.max(0, Math.floor(pane.scrollTop / ROW_HEIGHT) - OVERSCAN);
    const last = Math.min(listed.length, Math.ceil((pane.scrollTop + pane.clientHeight) / ROW_HEIGHT) + OVERSCAN);
    sheet.replaceChildren(...listed.slice(first, last).map((entry, offset) => rowOf(entry, first + offset, listed.length, chosen)));
    const at = listed.indexOf(chosen);
    if (at >= first && at < last) pane.setAttribute("aria-activedescendant", `row-${at}`);
    else pane.removeAttribute("aria-activedescendant");
  }

  function show(entries, current) {
    if (entries !== listed) pane.scrollTop = 0;
    listed = entries;
    chosen = current;
    sheet.style.height = `${listed.length * ROW_HEIGHT}px`;
    draw();
  }

  function reveal(index) {
    const top = index * ROW_HEIGHT;
    if (top < pane.scrollTop) pane.scrollTop = top;
    else if (top + ROW_HEIGHT > pane.scrollTop + pane.clientHeight) pane.scrollTop = top + ROW_HEIGHT - pane.clientHeight;
    draw();
  }

  let waiting = false;
  pane.addEventListener("scroll", () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; draw(); });
  });
  new ResizeObserver(draw).observe(pane);
  sheet.addEventListener("click", (event) => {
    const row = event.target.closest(".row");
    if (row) onOpen(listed[Number(row.getAttribute("aria-posinset")) - 1]);
  });
  return { show, reveal };
}
