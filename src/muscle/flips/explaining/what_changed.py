"""What sets the answers that broke apart from the others: length, format, language, words.

For each item only what the new answer has and the old one did not have (or the other way round) counts, so that the
topic of a question does not pass for a change of the model. The share of the negative flips with it is held against
the share of the items that did not break, by Fisher's exact test (two-sided for format and language, one-sided for
words: over-represented); lengths by Mann-Whitney's test. All p-values of a task are corrected together
(Benjamini-Hochberg); rows up to 0.05 are told.

Bounded: at most 500 broken and 1,000 other items, one answer each, of 2,000 characters; sampled with a seed beyond
that.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl

from muscle.flips.explaining.loose_scorer import clipped
from muscle.flips.pairing.flip_sign import NEGATIVE_FLIP
from muscle.flips.pairing.items import TaskItems
from muscle.flips.pairing.join import Joined
from muscle.flips.statistics.multiplicity import benjamini_hochberg
from muscle.flips.statistics.two_groups import fisher, mann_whitney

MAX_BROKEN, MAX_OTHERS, MAX_CHARACTERS = 500, 1_000, 2_000
MIN_ITEMS = 10
"""Fewer broken or other items say nothing."""
MAX_ROWS = 12
ALPHA = 0.05
MAX_GRAM, MIN_DOCUMENTS, MAX_GRAMS = 3, 3, 5_000

_FORMATS = {
    "Markdown": r"(?m)^#{1,6} \p{L}|\*\*[^*\n]+\*\*|^\s*[-*] ",
    "a code fence": r"(?m)^\s*```",
    "JSON": r"^\s*(?:```(?:json)?\s*)?[\[{]\s*[\"\[{\]}\d]",
    "an answer marker": r"(?i)####|\\boxed|\banswer\s*(?:is\b|:)|^\s*\(?[A-J][).:]",
    "control characters": r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x{200e}\x{200f}\x{202a}-\x{202e}\x{2066}-\x{2069}]",
    "no text at all": r"^\s*$",
}
_SCRIPTS = {
    name: rf"\p{{{name}}}"
    for name in (
        "Latin", "Cyrillic", "Greek", "Han", "Hiragana", "Katakana", "Hangul", "Arabic", "Hebrew", "Devanagari", "Thai"
    )
}  # fmt: skip
_WORD = re.compile(r"\w+")


FeatureKind = Literal["length", "format", "language", "ngram"]


@dataclass(frozen=True)
class ChangedFeature:
    """Something that is over- or under-represented in the answers that broke.

    Attributes:
        what: in words.
        kind: of feature.
        flipped: share of the broken items that changed so, in [0, 1]; for length the median of new by old length.
        others: the same of the items that did not break.
        ratio: of the two; None where the second is 0.
        p: of the difference.
        p_adjusted: false discovery rate over all features of the task.
    """

    what: str
    kind: FeatureKind
    flipped: float
    others: float
    ratio: float | None
    p: float
    p_adjusted: float


@dataclass(frozen=True)
class _Answers:
    """Old and new answers of some items."""

    old: pl.Series
    new: pl.Series

    @property
    def size(self) -> int:
        return self.new.len()


def what_changed(joined: Joined, items: TaskItems, *, seed: int = 0) -> list[ChangedFeature]:
    """Tell what is over- or under-represented in the answers that broke.

    Args:
        joined: the two runs, row by row.
        items: the task's items in them.
        seed: of the sampling.

    Returns:
        At most 12 features, the surest first; none where there are too few texts or nothing stands out.
    """
    broken, others = _samples(joined, items, seed)
    if broken.size < MIN_ITEMS or others.size < MIN_ITEMS:
        return []
    rows = [_lengths(broken, others), *_features(broken, others), *_grams(broken, others)]
    adjusted = benjamini_hochberg([row.p for row in rows])
    told = [replace(row, p_adjusted=p) for row, p in zip(rows, adjusted, strict=True) if p <= ALPHA]
    told.sort(key=lambda row: (row.p_adjusted, row.p, row.kind == "ngram", -len(row.what)))
    return _without_parts(told)[:MAX_ROWS]


def _samples(joined: Joined, items: TaskItems, seed: int) -> tuple[_Answers, _Answers]:
    """Return broken and other items that no option was picked for, one answer an item."""
    frame = items.frame
    broken = frame["flip"] == NEGATIVE_FLIP
    old, new = joined.old, joined.new
    if any(side["output"].null_count() == side.height for side in (old, new)):
        return _Answers(pl.Series([]), pl.Series([])), _Answers(pl.Series([]), pl.Series([]))
    first = pl.Series(values=np.ones(frame.height, dtype=np.bool_))
    if "cluster" in frame.columns:
        # Answers to one item are alike: of each item one pair, a broken one where there is one.
        ordered = (
            frame.select("cluster", broken=broken)
            .with_row_index("row")
            .sort("broken", descending=True, maintain_order=True)
        )
        first = pl.Series(
            values=np.isin(np.arange(frame.height), ordered.unique("cluster", keep="first")["row"].to_numpy())
        )
    found = []
    for number, (chosen, limit) in enumerate(((broken, MAX_BROKEN), (~broken, MAX_OTHERS))):
        pairs = frame["pair"].filter(chosen & first)
        if pairs.len() > 4 * limit:
            pairs = _sampled(pairs, 4 * limit, seed, number)
        # No answer is a text of no letters.
        picked = [side.select(pl.col("output").fill_null(""), "choice")[pairs] for side in (old, new)]
        free = picked[0]["choice"].is_null() & picked[1]["choice"].is_null()
        kept = free.arg_true()
        kept = _sampled(kept, limit, seed, number) if kept.len() > limit else kept
        texts = [side.select(clipped(pl.col("output"), MAX_CHARACTERS))["output"].gather(kept) for side in picked]
        found.append(_Answers(*texts))
    return found[0], found[1]


def _sampled(values: pl.Series, count: int, seed: int, number: int) -> pl.Series:
    places = np.sort(np.random.default_rng([seed, number]).choice(values.len(), count, replace=False))
    return values.gather(places)


def _feature(what: str, kind: FeatureKind, flipped: float, others: float, p: float) -> ChangedFeature:
    ratio = flipped / others if others > 0 else None
    return ChangedFeature(what, kind, flipped, others, ratio, p, p_adjusted=1.0)


def _lengths(broken: _Answers, others: _Answers) -> ChangedFeature:
    """Compare by how much the answers' lengths changed."""
    # One more on both sides: an empty answer has a length to be compared too.
    ratios = [
        ((each.new.str.len_chars().cast(pl.Float64) + 1) / (each.old.str.len_chars().cast(pl.Float64) + 1)).to_numpy()
        for each in (broken, others)
    ]
    p = mann_whitney(ratios[0], ratios[1])
    medians = [float(np.median(r)) for r in ratios]
    return _feature("length of the answer, new by old", "length", medians[0], medians[1], p)


def _features(broken: _Answers, others: _Answers) -> list[ChangedFeature]:
    """Compare how often an answer took on, or lost, a format or a script."""
    found = []
    looked_for: tuple[tuple[FeatureKind, dict[str, str], tuple[str, str]], ...] = (
        ("format", _FORMATS, ("has {} now", "no longer has {}")),
        ("language", _SCRIPTS, ("{} script now", "no {} script any more")),
    )
    for kind, patterns, verbs in looked_for:
        for name, pattern in patterns.items():
            sides = [_changes(each, pattern, language=kind == "language") for each in (broken, others)]
            for verb, *hits in zip(verbs, *sides, strict=True):
                if sum(hits) >= MIN_DOCUMENTS:
                    p = fisher(hits[0], broken.size, hits[1], others.size, two_sided=True)
                    shares = hits[0] / broken.size, hits[1] / others.size
                    found.append(_feature(verb.format(name), kind, *shares, p))
    return found


def _changes(answers: _Answers, pattern: str, *, language: bool) -> tuple[int, int]:
    """Count the answers that took on what a pattern finds, and those that lost it."""
    old, new = answers.old.str.contains(pattern), answers.new.str.contains(pattern)
    if language:
        # From a bare number to words is no change of language: both answers must have letters.
        letters = answers.old.str.contains(r"\p{L}") & answers.new.str.contains(r"\p{L}")
        old, new = old & letters, new & letters
    return int((new & ~old).sum()), int((old & ~new).sum())


def _new_grams(answers: _Answers) -> list[set[str]]:
    """Return of each item the word n-grams of the new answer that the old one lacks."""
    found = []
    for old, new in zip(answers.old, answers.new, strict=True):
        known = set(_gram_list(old))
        found.append({gram for gram in _gram_list(new) if gram not in known})
    return found


def _gram_list(text: str) -> list[str]:
    plain = "".join(c for c in text.casefold() if unicodedata.category(c)[0] != "C" or c.isspace())
    words = _WORD.findall(plain)
    return [
        " ".join(words[start : start + size])
        for size in range(1, MAX_GRAM + 1)
        for start in range(len(words) - size + 1)
    ]


def _grams(broken: _Answers, others: _Answers) -> list[ChangedFeature]:
    """Compare which words came new into the answers, by the number of items."""
    counts = [Counter(gram for grams in _new_grams(each) for gram in grams) for each in (broken, others)]
    frequent = [
        gram
        for gram, count in counts[0].most_common(MAX_GRAMS)
        if count >= MIN_DOCUMENTS
        and count / broken.size > counts[1][gram] / others.size
        and len(gram) <= 120
        and len(gram) > 1
    ]
    found = []
    cache: dict[tuple[int, int], float] = {}
    for gram in frequent:
        hits = counts[0][gram], counts[1][gram]
        if hits not in cache:
            cache[hits] = fisher(hits[0], broken.size, hits[1], others.size, two_sided=False)
        found.append(_feature(gram, "ngram", hits[0] / broken.size, hits[1] / others.size, cache[hits]))
    return found


def _without_parts(rows: Sequence[ChangedFeature]) -> list[ChangedFeature]:
    """Of words that overlap and have the very same counts keep the longest: they come from one phrase."""
    kept: list[ChangedFeature] = []
    for row in rows:
        words = set(row.what.split())
        is_told = row.kind == "ngram" and any(
            other.kind == "ngram"
            and (other.flipped, other.others) == (row.flipped, row.others)
            and words & set(other.what.split())
            for other in kept
        )
        if not is_told:
            kept.append(row)
    return kept
