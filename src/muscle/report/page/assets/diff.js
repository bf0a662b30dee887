// Two texts compared word by word: the greedy algorithm of Myers (1986, "An O(ND) difference algorithm and its variations"),
// with a bound on its work, so that no pair of answers can hold up the page.

const MAX_EDITS = 1200;
const MAX_WORK = 3_000_000;
const MIN_SHARED = 0.2;

/** Words with the white space before them; Chinese and Japanese, which set no spaces, by the character. */
function words(text) {
  return text.match(/\s*(?:[\u3040-\u30ff\u3400-\u9fff]|[^\s\u3040-\u30ff\u3400-\u9fff]+)|\s+$/g) || [];
}

/** Give each distinct word a number, the same on both sides; white space does not tell words apart. */
function numbered(a, b) {
  const known = new Map();
  const number = (word) => {
    const key = word.trim();
    let found = known.get(key);
    if (found === undefined) known.set(key, found = known.size);
    return found;
  };
  return [Int32Array.from(a, number), Int32Array.from(b, number)];
}

/**
 * The lengths of the two texts' common start and end, in words.
 */
function commonEnds(a, b) {
  const shorter = Math.min(a.length, b.length);
  let head = 0;
  while (head < shorter && a[head] === b[head]) head += 1;
  let tail = 0;
  while (tail < shorter - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail += 1;
  return [head, tail];
}

/**
 * The furthest points reached on each diagonal with 0, 1, 2, ... edits; the last entry has reached the end.
 * Diagonal k holds the points (x, y) with x - y = k. Returns null where the bound on edits or work was met.
 */
function furthestPoints(a, b) {
  const trace = [];
  let work = 0;
  let previous = new Int32Array([0, 0, 0]);
  for (let edits = 0; edits <= Math.min(MAX_EDITS, a.length + b.length); edits += 1) {
    const row = new Int32Array(2 * edits + 3);
    for (let k = -edits; k <= edits; k += 2) {
      const at = k + edits + 1;
      // In the row before, diagonal k + 1 stands at index `at` and k - 1 at `at - 2`.
      const down = k === -edits || (k !== edits && previous[at - 2] < previous[at]);
      let x = edits === 0 ? 0 : down ? previous[at] : previous[at - 2] + 1;
      let y = x - k;
      while (x < a.length && y < b.length && a[x] === b[y]) {
        x += 1;
        y += 1;
        work += 1;
      }
      row[at] = x;
      if (x >= a.length && y >= b.length) return [...trace, row];
    }
    work += edits;
    if (work > MAX_WORK) return null;
    trace.push(row);
    previous = row;
  }
  return null;
}

/** Walk back through the furthest points: for each side, which of its words stay. */
function keptWords(a, b, trace) {
  const kept = [new Uint8Array(a.length), new Uint8Array(b.length)];
  let x = a.length;
  let y = b.length;
  for (let edits = trace.length - 1; edits >= 0; edits -= 1) {
    const k = x - y;
    let fromX = 0;
    let fromY = 0;
    if (edits > 0) {
      const before = trace[edits - 1];
      const at = k + edits + 1;
      const down = k === -edits || (k !== edits && before[at - 2] < before[at]);
      fromX = down ? before[at] : before[at - 2];
      fromY = fromX - (down ? k + 1 : k - 1);
    }
    while (x > fromX && y > fromY && a[x - 1] === b[y - 1]) {
      x -= 1;
      y -= 1;
      kept[0][x] = 1;
      kept[1][y] = 1;
    }
    x = fromX;
    y = fromY;
  }
  return kept;
}

/** Words as runs of [sign, text], sign "=" for what stays and "!" for what differs. */
function runsOf(list, head, tail, kept) {
  const runs = [];
  list.forEach((word, index) => {
    const inside = index >= head && index < list.length - tail;
    const sign = !inside || (kept && kept[index - head]) ? "=" : "!";
    const last = runs[runs.length - 1];
    if (last && last[0] === sign) last[1] += word;
    else runs.push([sign, word]);
  });
  return runs;
}

/**
 * Compare two texts word by word.
 * Returns the runs of each side; null where they share so little that marks would only be noise. Where the bound on work
 * is met, all between the common start and the common end counts as changed.
 */
function wordDiff(before, after) {
  const lists = [words(before), words(after)];
  const [a, b] = numbered(...lists);
  const [head, tail] = commonEnds(a, b);
  const middle = [a.subarray(head, a.length - tail), b.subarray(head, b.length - tail)];
  const trace = furthestPoints(...middle);
  const kept = trace ? keptWords(...middle, trace) : [null, null];
  const shared = head + tail + (kept[0] ? kept[0].reduce((sum, one) => sum + one, 0) : 0);
  if (shared < MIN_SHARED * Math.max(a.length, b.length)) return null;
  return lists.map((list, side) => runsOf(list, head, tail, kept[side]));
}
