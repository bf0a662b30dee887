"""Label where it pays: which disagreements to judge next, and the verdicts that come back.

Only a disagreement can flip, so only these are listed. A part is for fitting: in the order of what a label is expected
to win, the right answers that are served in place of wrong ones once the item's label is known (a right old answer that
would be lost counts kappa times):

    gain = [old answer not kept] kappa P(old right, new wrong) + [new answer not given] P(new right, old wrong)

The other part is for the bound: in random order, whatever they would win, as only a random part says what the rest is
like. Which part an item belongs to is drawn by its fingerprint, as when a rule is fitted.

A label says who is right of two answers. So its line is known by the item and both answers: where a model was asked
again and says something else, the label is not taken for a verdict on that.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import orjson
import polars as pl
from scipy import special

from muscle.errors import ConfigError, DataError
from muscle.files import write_text
from muscle.flips.statistics.arrays import Bools, Floats
from muscle.foreign_text import listing, outline
from muscle.predictions.plain.json_lines import line_of
from muscle.predictions.plain.table_files import csv_line, read_csv
from muscle.predictions.records import input_hash
from muscle.route.items import ANSWER, FINGERPRINT_DIGITS, Items

Word = Literal["old", "new", "both", "neither"]
"""Who is right."""
WORDS: tuple[Word, ...] = get_args(Word)
_RIGHT: dict[Word, tuple[float, float]] = {"old": (1, 0), "new": (0, 1), "both": (1, 1), "neither": (0, 0)}


_MOST_KAPPA = 1e6
_ANSWERS_DIGITS = 8
_KEY = re.compile(f"[0-9a-f]{{{FINGERPRINT_DIGITS}}}-[0-9a-f]{{{_ANSWERS_DIGITS}}}")


@dataclass(frozen=True)
class Line:
    """A line of a list.

    Attributes:
        word: who is right; None where nobody filled it in.
        for_bound: whether it was drawn at random, for the bound.
        name: "task id", for people.
    """

    word: Word | None
    for_bound: bool = True
    name: str = ""


@dataclass(frozen=True)
class Labels:
    """Verdicts of people.

    Attributes:
        source: the file or files.
        lines: of the lists, by what stands for an item and both answers (`label_keys`).
    """

    source: str
    lines: Mapping[str, Line]

    @property
    def words(self) -> dict[str, Word]:
        """Who is right, of the lines that were filled in."""
        return {key: line.word for key, line in self.lines.items() if line.word is not None}

    @property
    def empty(self) -> int:
        """Lines that nobody filled in."""
        return sum(line.word is None for line in self.lines.values())


def label_keys(items: Items) -> tuple[str, ...]:
    """Return what stands for each item and both answers to it in a list, (items,)."""
    said = [side.frame.select(ANSWER.str.strip_chars().fill_null("")).to_series() for side in (items.old, items.new)]
    prints = [input_hash(f"{old}\x1f{new}")[:_ANSWERS_DIGITS] for old, new in zip(*said, strict=True)]
    return tuple(f"{item}-{answers}" for item, answers in zip(items.fingerprints, prints, strict=True))


def with_labels(items: Items, labels: Labels | None) -> Items:
    """Return the items with the verdicts of lists beside those that the runs have.

    Raises:
        DataError: a label contradicts a run's verdict, or none of them is of these items.
    """
    if labels is None:
        return items
    old, new = items.old.right.copy(), items.new.right.copy()
    places = defaultdict(list)
    for row, key in enumerate(label_keys(items)):
        places[key].append(row)
    found = [(row, word) for key, word in labels.words.items() for row in places.get(key, ())]
    if labels.words and not found:
        raise DataError(
            f"{labels.source}: expected labels of the runs' items and answers, found none of them among the runs'"
        )
    for row, word in found:
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
        frame: a row an item: `fingerprint` (of the item and both answers), `purpose` ("fit" or "bound"), `gain`, task,
            id, input, options and both answers, and an empty `label`.
        disagreements: how many there are.
        judged: how many of them are known already.
        by_gain: whether those for the fit are in the order of their gain; without a rule their order is random.
        notes: what a reader must know of labels that were given.
    """

    frame: pl.DataFrame
    disagreements: int
    judged: int
    by_gain: bool = False
    notes: tuple[str, ...] = ()

    @property
    def unknown(self) -> int:
        """Disagreements that stay unknown when all of the list is labelled."""
        return self.disagreements - self.judged - self.frame.height


def expected_gain(log_odds: Floats, kept: Bools, decided: float, log_kappa: float) -> Floats:
    """Return what a label is expected to win, (items,): see the module.

    Args:
        log_odds: (items,) log P(old right, new wrong) - log P(new right, old wrong).
        kept: (items,) whether the rule gives the old answer; it does not where it would not ask the old model.
        decided: P(exactly one of them is right) of a disagreement.
        log_kappa: of the rule; an infinite one weighs a lost answer a million times.
    """
    old_won, new_won = decided * special.expit(log_odds), decided * special.expit(-log_odds)
    gain: Floats = np.where(kept, new_won, min(math.exp(min(log_kappa, 700.0)), _MOST_KAPPA) * old_won)
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


def read_labels(*paths: Path) -> Labels:
    """Read lists that `muscle route label` wrote and someone filled in: `label` is old, new, both or neither.

    An item may stand in several lists: what one of them says counts.

    Args:
        paths: of the lists, `.csv` (as a spreadsheet writes it back, too) or JSON lines.

    Raises:
        DataError: one is no such list, a label is another word, or two of them contradict each other; the line is
            named.
    """
    lines: dict[str, Line] = {}
    for path in paths:
        for number, row in enumerate(_rows_of(path)):
            where = partial(_list_line, path, number)
            key, line = _line_of(row, where)
            known = lines.get(key, line)
            if None not in (known.word, line.word) and known.word != line.word:
                raise DataError(f"{where()}: labelled twice, as {listing([str(known.word), str(line.word)])}")
            # Chosen once is chosen: only what was drawn in every list that has it is a random part.
            lines[key] = Line(known.word or line.word, known.for_bound and line.for_bound, line.name)
    return Labels(listing([str(path) for path in paths], 3), lines)


def _list_line(path: Path, row: int) -> str:
    return csv_line(path, row) if path.suffix == ".csv" else line_of(path, row)


def _line_of(row: Mapping[str, object], where: Callable[[], str]) -> tuple[str, Line]:
    key, purpose, label = row.get("fingerprint"), row.get("purpose"), row.get("label")
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        found = "no fingerprint" if key in (None, "") else f"the fingerprint {outline(key)}"
        raise DataError(f"{where()}: expected a list written by muscle route label, found {found}")
    if purpose not in ("fit", "bound"):
        raise DataError(f"{where()}, purpose: expected fit or bound, as the list was written, found {outline(purpose)}")
    text = "" if label is None else str(label).strip().lower()
    word = next((each for each in WORDS if each == text), None)
    if word is None and text:
        raise DataError(f"{where()}, label: expected {', '.join(WORDS)} or nothing, found {outline(label)}")
    return key, Line(word, purpose == "bound", f"{row.get('task')} {row.get('id')}")


def _rows_of(path: Path) -> list[Mapping[str, object]]:
    try:
        if path.suffix == ".csv":
            return list(read_csv(path).to_dicts())
        text = path.read_bytes().decode("utf-8-sig")
        rows: list[object] = [orjson.loads(line) for line in text.split("\n") if line.strip()]
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error).split("\n")[0][:120]
        raise DataError(f"{path}: expected a list written by muscle route label, found: {reason}") from None
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise DataError(f"{_list_line(path, number)}: expected the fields of an item, found {outline(row)}")
    return [row for row in rows if isinstance(row, Mapping)]
