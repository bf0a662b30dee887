"""Label where it pays: which disagreements to judge next, and the verdicts that come back.

Only a disagreement can flip, so only these are listed. A part is for fitting: in the order of what a label is expected
to win, the right answers that are served in place of wrong ones once the item's label is known (a right old answer that
would be lost counts kappa times):

    gain = [old answer not kept] kappa P(old right, new wrong) + [new answer not given] P(new right, old wrong)

The other part is for the bound: in random order, whatever they would win, as only a random part says what the rest is
like. Which part an item belongs to is drawn by its fingerprint, as when a rule is fitted.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import orjson
import polars as pl
from scipy import special

from muscle.errors import ConfigError, DataError
from muscle.files import write_text
from muscle.flips.statistics.arrays import Floats
from muscle.foreign_text import listing, outline
from muscle.route.items import Items

Word = Literal["old", "new", "both", "neither"]
"""Who is right."""
WORDS: tuple[Word, ...] = get_args(Word)
_RIGHT: dict[Word, tuple[float, float]] = {"old": (1, 0), "new": (0, 1), "both": (1, 1), "neither": (0, 0)}


@dataclass(frozen=True)
class Labels:
    """Verdicts of people.

    Attributes:
        source: the file.
        words: who is right, by an item's fingerprint.
        empty: lines of the list that nobody filled in.
    """

    source: str
    words: Mapping[str, Word]
    empty: int


def with_labels(items: Items, labels: Labels | None) -> Items:
    """Return the items with the verdicts of a list beside those that the runs have.

    Raises:
        DataError: a label contradicts a run's verdict, or none of them is of these items.
    """
    if labels is None:
        return items
    old, new = items.old.right.copy(), items.new.right.copy()
    places = {each: row for row, each in enumerate(items.fingerprints)}
    found = {places[each]: word for each, word in labels.words.items() if each in places}
    if labels.words and not found:
        raise DataError(f"{labels.source}: expected labels of the runs' items, found none of them among the runs'")
    for row, word in found.items():
        for right, verdict in ((old, _RIGHT[word][0]), (new, _RIGHT[word][1])):
            if not math.isnan(right[row]) and right[row] != verdict:
                raise DataError(
                    f"{labels.source}: item {items.name(row)}: the label {word!r} contradicts the runs' verdict; mend "
                    "one of them"
                )
            right[row] = verdict
    return replace(items, old=replace(items.old, right=old), new=replace(items.new, right=new))


@dataclass(frozen=True)
class ToLabel:
    """The list of what to label.

    Attributes:
        frame: a row an item: `fingerprint`, `purpose` ("fit" or "bound"), `gain`, task, id, input, options and both
            answers, and an empty `label`.
        disagreements: how many there are.
        judged: how many of them are known already.
    """

    frame: pl.DataFrame
    disagreements: int
    judged: int

    @property
    def unknown(self) -> int:
        """Disagreements that stay unknown when all of the list is labelled."""
        return self.disagreements - self.judged - self.frame.height


def expected_gain(log_odds: Floats, decided: float, log_kappa: float) -> Floats:
    """Return what a label is expected to win, (items,): see the module.

    Args:
        log_odds: (items,) log P(old right, new wrong) - log P(new right, old wrong).
        decided: P(exactly one of them is right) of a disagreement.
        log_kappa: of the rule; inf always keeps the old answer, so that a label wins what the new one would.
    """
    old_won, new_won = decided * special.expit(log_odds), decided * special.expit(-log_odds)
    kept = -log_odds <= log_kappa
    kappa = math.exp(min(log_kappa, 700.0))
    gain: Floats = np.where(kept, new_won, kappa * old_won)
    return gain


def write_list(path: Path, listed: ToLabel) -> None:
    """Write what to label as `.jsonl` or `.csv`, lists as JSON there.

    Raises:
        ConfigError: the suffix is neither.
        OutputError: it cannot be written.
    """
    rows = listed.frame.to_dicts()
    if path.suffix == ".jsonl":
        write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    elif path.suffix == ".csv":
        out = io.StringIO()
        writer = csv.DictWriter(out, listed.frame.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _table_cell(value) for name, value in row.items()} for row in rows)
        write_text(path, out.getvalue())
    else:
        raise ConfigError(f"{path}: expected a .jsonl or .csv file")


def _table_cell(value: object) -> object:
    """Return a value for a table; a text that a spreadsheet would take for a formula gets an apostrophe before it."""
    if isinstance(value, list):
        return json.dumps(value, ensure_ascii=False)
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def read_labels(path: Path) -> Labels:
    """Read a list that `muscle route label` wrote and someone filled in: `label` is old, new, both or neither.

    Raises:
        DataError: it is no such list, or a label is another word; the line is named.
    """
    words: dict[str, Word] = {}
    empty = 0
    for number, row in enumerate(_rows_of(path), 1):
        fingerprint, label = row.get("fingerprint"), row.get("label")
        if not isinstance(fingerprint, str) or not fingerprint:
            raise DataError(
                f"{path}, item {number}: expected a list written by muscle route label, found no fingerprint"
            )
        text = "" if label is None else str(label).strip().lower()
        word = next((each for each in WORDS if each == text), None)
        if word is None and text:
            raise DataError(
                f"{path}, item {number}, label: expected {', '.join(WORDS)} or nothing, found {outline(label)}"
            )
        if word is None:
            empty += 1
        elif words.setdefault(fingerprint, word) != word:
            raise DataError(f"{path}, item {number}: labelled twice, as {listing([words[fingerprint], word])}")
    return Labels(str(path), words, empty)


def _rows_of(path: Path) -> list[Mapping[str, object]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")  # a spreadsheet may write a byte order mark
        if path.suffix == ".csv":
            rows: list[object] = list(csv.DictReader(io.StringIO(text, newline="")))
        else:
            rows = [orjson.loads(line) for line in text.split("\n") if line.strip()]
    except (OSError, ValueError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error).split("\n")[0][:120]
        raise DataError(f"{path}: expected a list written by muscle route label, found: {reason}") from None
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping):
            raise DataError(f"{path}, item {number}: expected the fields of an item, found {outline(row)}")
    return [row for row in rows if isinstance(row, Mapping)]
