"""Which verdicts say what the others are like: those of items that were drawn at random.

A bound from a part of the verdicts holds where that part is random. So it goes by what `muscle route label` drew for
it. Verdicts that the runs came with stand for themselves alone: a matching text judged right leaves the hard ones open.
A list may be filled in from its beginning, in its own order, as far as one likes. An item before the last label that
has none was passed over, perhaps because it was hard: it is taken for a flip. So is one that never was in the list.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from muscle.errors import DataError
from muscle.flips.statistics.arrays import Bools
from muscle.foreign_text import listing
from muscle.route.items import Items
from muscle.route.labelling.labels import Labels, label_keys

DEFAULT_APART = 0.5
"""Share of the items that is kept apart from a fit, where nothing else is said."""


def is_apart(fingerprint: str, share: float) -> bool:
    """Tell whether an item is kept apart: a share of all, drawn by what the item is."""
    return _place_of(fingerprint) < share * 16**8


def _place_of(fingerprint: str) -> int:
    return int(fingerprint[8:16], 16)


@dataclass(frozen=True)
class Draw:
    """Which items were drawn at random to be judged.

    Attributes:
        judged: (items,) drawn, and judged.
        passed_over: (items,) drawn, or before such a one in the order, and not judged.
        outside: (items,) whose verdicts stand for themselves alone.
    """

    judged: Bools
    passed_over: Bools
    outside: Bools


def all_drawn(items: Items) -> Draw:
    """Return the draw of items whose verdicts are a random part of all."""
    nothing = np.zeros(items.num, dtype=np.bool_)
    return Draw(items.judged, nothing, nothing)


def draw_of(plain: Items, labels: Labels) -> Draw:
    """Return what was drawn at random, of items that lists of `muscle route label` judge.

    Args:
        plain: the items without the labels.
        labels: the lists.
    """
    keys = label_keys(plain)
    drawn = {key: line for key, line in labels.lines.items() if line.for_bound}
    judged = ~plain.judged & np.array([key in drawn and drawn[key].word is not None for key in keys], dtype=np.bool_)
    farthest = max((_place_of(key) for key in drawn), default=-1)
    last = max((keys[row] for row in np.flatnonzero(judged)), default="")
    reached = np.array([key <= last and _place_of(key) <= farthest for key in keys], dtype=np.bool_)
    # What the old model had wrong cannot flip, whatever the other answer is.
    could_flip = ~plain.same & (plain.old.right != 0)
    return Draw(judged, could_flip & ~plain.judged & ~judged & reached, plain.judged)


def chosen_for_fit(items: Items, labels: Labels | None) -> Bools:
    """Return which items' labels were chosen by what they win, (items,): these say nothing of the others."""
    lines = {} if labels is None else labels.lines
    chosen = {key for key, line in lines.items() if line.word is not None and not line.for_bound}
    return np.array([key in chosen for key in label_keys(items)], dtype=np.bool_)


def refuse_chosen(items: Items, labels: Labels | None, rows: Bools, advice: str) -> None:
    """Refuse to report on items whose labels were chosen by what they win, beside others that nobody judged.

    Raises:
        DataError: there are such items.
    """
    found = rows & chosen_for_fit(items, labels)
    if labels is not None and found.any() and (rows & ~items.same & ~items.judged).any():
        raise DataError(
            f"{labels.source}: {int(found.sum()):,} labels that were chosen for the fit are of items to report on "
            f"({items.names_of(found)}): they say nothing of the others; {advice}"
        )


def notes_on(items: Items, labels: Labels | None) -> tuple[str, ...]:
    """Say which lines of lists are empty, and which labels are of no item or of other answers."""
    if labels is None:
        return ()
    keys, notes = set(label_keys(items)), []
    if labels.empty:
        notes.append(
            f"{labels.source}: {labels.empty:,} of {len(labels.lines):,} lines have no label: they stay unknown"
        )
    strange = [labels.lines[key].name for key in labels.words if key not in keys]
    if strange:
        notes.append(
            f"{labels.source}: {len(strange):,} labels are of items or answers that the runs do not have, and are left "
            f"out: {listing(strange, 5)}"
        )
    return tuple(notes)
