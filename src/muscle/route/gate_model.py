"""The kappa gate where there are only answers: whose answer is kept where old and new disagree.

Where both say the same nothing can flip. Elsewhere the recorded answer is kept where the odds say so:

    keep the old answer  <=>  kappa P(old right, new wrong | x) >= P(new right, old wrong | x)

The odds are a ridge logistic regression on the disagreements of which exactly one side was right; x is what can be
known when a question is answered: how sure each model says it is, how far its repeated answers agree, how long question
and answers are, and slices that the user names, the answers themselves (`old_answer`, `new_answer`) among them.
kappa = 1 is the more accurate answer; above it a right answer that is lost weighs more than one that is gained (answers
kept unless the odds beat a cost ratio: Traeuble et al., NeurIPS 2021).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import polars as pl
from scipy import special

from muscle.errors import ConfigError, DataError
from muscle.flips.slices.slice_by import parse_slice
from muscle.flips.statistics.arrays import Bools, Floats
from muscle.predictions.run import SCORE_PREFIX, SLICE_PREFIX
from muscle.route.items import CONFIDENCE_SCORE, Items, Pairs, Side
from muscle.route.likelihoods import sureness

Known = Literal[
    "new_sureness",
    "new_confidence",
    "new_agreement",
    "old_sureness",
    "old_confidence",
    "old_agreement",
    "new_length",
    "old_length",
    "length",
]
"""What can be known of a question when it is answered: of each model the likelihood of its answer, its own word for how
sure it is, how far its repeated answers agree, and how long its answer is; and the question's length."""
KNOWN: tuple[Known, ...] = get_args(Known)
SURE: tuple[Known, ...] = ("new_sureness", "new_confidence", "new_agreement")
"""What tells where the new model is unsure, before the old one is asked; the first that is there is taken."""

PENALTY = 1.0
"""Of the squared weights, each of a feature of spread 1: the prior of a weight is normal with spread 1."""
_OF_INTERCEPT = 0.1
_NEAREST = 1e-3
"""A share of 0 or 1 has no log odds; it is taken for one that is this far away."""
_FARTHEST = 4.0
"""Spreads beyond which a number is unlike all that was fitted on, and a line through those says nothing of it."""
_FOLDS = 5
MAX_VALUES = 200
"""Values of a slice: more are no slice."""
ANSWERS = ("old_answer", "new_answer")
"""Slices that every item has: what each model answered."""


@dataclass(frozen=True)
class Feature:
    """A number known of every question, and what it is worth.

    Attributes:
        of: what it is.
        scale: "odds" takes the log odds of a share, "plain" the number, "log" the logarithm of 1 plus it.
        mean: of the items that the gate was fitted on, after scaling.
        spread: their standard deviation.
        weight: of the scaled, centred number over its spread, in log odds for the old answer.
    """

    of: Known
    scale: Literal["odds", "plain", "log"]
    mean: float
    spread: float
    weight: float = 0.0

    def values(self, raw: Floats) -> Floats:
        """Return the standardised numbers, (items,), at most 4 spreads from the mean; 0 where one is not known."""
        scaled = (_scaled(raw, self.scale) - self.mean) / self.spread
        return np.nan_to_num(np.clip(scaled, -_FARTHEST, _FARTHEST), nan=0.0)


@dataclass(frozen=True)
class SliceWeights:
    """A slice, and what each of its values is worth.

    Attributes:
        slice: a column's name or a pattern, as `muscle.flips.slices.slice_by` writes them.
        weights: value to log odds for the old answer; a value that is not there has none.
    """

    slice: str
    weights: dict[str, float]


@dataclass(frozen=True)
class GateRule:
    """When the recorded answer is kept.

    Attributes:
        intercept: log odds for the old answer where nothing else is known.
        features: numbers.
        slices: slices.
        log_kappa: at least 0; inf always keeps the old answer.
        confidence: name of the score in which a model says how sure it is.
        ask_by: what tells where the new model is unsure; None where the old answer is always there.
        ask_below: below which number of it the old model is asked; None asks always.
    """

    intercept: float
    features: tuple[Feature, ...]
    slices: tuple[SliceWeights, ...]
    log_kappa: float = 0.0
    confidence: str = CONFIDENCE_SCORE
    ask_by: Known | None = None
    ask_below: float | None = None

    def log_odds(self, items: Pairs) -> Floats:
        """Return log P(old right, new wrong) - log P(new right, old wrong) of disagreements, (items,)."""
        total = np.full(items.num, self.intercept)
        for feature in self.features:
            total += feature.weight * feature.values(known(items, feature.of, self.confidence))
        for each in self.slices:
            values = slice_of(items, each.slice)
            total += np.array([each.weights.get(value, 0.0) if value is not None else 0.0 for value in values])
        return total

    def asked(self, items: Pairs) -> Bools:
        """Return for which items the old model is asked, (items,); where the new one's sureness is unknown it is."""
        if self.ask_by is None or self.ask_below is None:
            return np.ones(items.num, dtype=np.bool_)
        return ~(known(items, self.ask_by, self.confidence) >= self.ask_below)


def known(items: Pairs, name: Known, confidence: str) -> Floats:
    """Return what is known of each question, (items,); NaN where it is not."""
    if name == "length":
        texts = pl.select(pl.coalesce(items.old.frame["input"], items.new.frame["input"])).to_series()
        return texts.str.len_chars().cast(pl.Float64).to_numpy()
    side = items.new if name.startswith("new") else items.old
    if name.endswith("length"):
        return side.frame["output"].str.len_chars().cast(pl.Float64).to_numpy()
    if name.endswith("sureness"):
        return _sureness_of(side)
    if name.endswith("agreement"):
        return np.full(items.num, np.nan) if side.agreement is None else side.agreement
    column = SCORE_PREFIX + confidence
    if column not in side.frame.columns:
        return np.full(items.num, np.nan)
    return side.frame[column].to_numpy().astype(np.float64)


def slice_of(items: Pairs, word: str) -> list[str | None]:
    """Return the slice of each item, (items,).

    Raises:
        ConfigError: it is not written as a slice is, or asks for quarters of the length: those hang on the other items.
        DataError: there is no such column.
    """
    by = parse_slice(word)
    if by.kind == "length":
        raise ConfigError(f"slice {word!r}: the length of the input is among the features already")
    frames = (items.old.frame, items.new.frame)
    if word in ANSWERS:
        answer = pl.coalesce(pl.col("extracted_answer"), pl.col("choice").cast(pl.String), pl.col("output"))
        return frames[ANSWERS.index(word)].select(answer.str.strip_chars()).to_series().to_list()
    if by.kind == "pattern":
        texts = pl.select(pl.coalesce(*(frame["input"] for frame in frames))).to_series()
        return ["yes" if found else "no" for found in texts.str.contains(by.of).fill_null(False)]
    columns = [frame[SLICE_PREFIX + by.of] for frame in frames if SLICE_PREFIX + by.of in frame.columns]
    if not columns:
        names = sorted({n.removeprefix(SLICE_PREFIX) for f in frames for n in f.columns if n.startswith(SLICE_PREFIX)})
        raise DataError(f"slice {word!r}: expected a slice of the records, found {', '.join(names) or 'none'}")
    found: list[str | None] = pl.select(pl.coalesce(*columns)).to_series().to_list()
    return found


def fit_gate(
    items: Items, rows: Bools, *, slices: Sequence[str] = (), confidence: str = CONFIDENCE_SCORE
) -> tuple[GateRule, Floats]:
    """Fit the odds on the judged disagreements of which exactly one side was right.

    Args:
        items: the paired items.
        rows: (items,) which of them may be fitted on.
        slices: slices that are known when a question is answered.
        confidence: name of the score in which a model says how sure it is.

    Returns:
        The gate with kappa = 1, and the log odds of all items, (items,): of those that were fitted on, by gates that
        were not fitted on them (five folds), so that a kappa chosen on them is not flattered.

    Raises:
        DataError: a slice is not there, or has too many values; or a number is too large.
    """
    told = rows & items.judged & (items.old.right != items.new.right)
    features = tuple(_known_features(items, rows & ~items.same, confidence))
    values = [slice_of(items, word) for word in slices]
    levels = [_values_seen(word, each, told) for word, each in zip(slices, values, strict=True)]
    columns = [each.values(known(items, each.of, confidence)) for each in features]
    columns += [
        np.array([value == level for value in each], dtype=np.float64)
        for each, names in zip(values, levels, strict=True)
        for level in names
    ]
    design = np.column_stack([np.ones(items.num), *columns])
    old_won = (items.old.right == 1).astype(np.float64)
    weights = _ridge(design[told], old_won[told])
    log_odds: Floats = design @ weights
    places = np.flatnonzero(told)
    order = sorted(places.tolist(), key=lambda row: items.fingerprints[row])
    if len(order) >= 2 * _FOLDS:
        for fold in range(_FOLDS):
            held = np.array(order[fold::_FOLDS])
            rest = np.setdiff1d(places, held)
            log_odds[held] = design[held] @ _ridge(design[rest], old_won[rest])
    return _gate_of(weights, features, slices, levels, confidence), log_odds


def _gate_of(
    weights: Floats,
    features: Sequence[Feature],
    slices: Sequence[str],
    levels: Sequence[Sequence[str]],
    confidence: str,
) -> GateRule:
    given = iter(weights.tolist())
    intercept = next(given)
    weighed = tuple(Feature(f.of, f.scale, f.mean, f.spread, next(given)) for f in features)
    sliced = tuple(
        SliceWeights(word, {name: next(given) for name in names}) for word, names in zip(slices, levels, strict=True)
    )
    return GateRule(intercept, weighed, sliced, confidence=confidence)


def _known_features(items: Items, rows: Bools, confidence: str) -> list[Feature]:
    """Return the numbers that are known and differ, with their mean and spread over some items.

    Raises:
        DataError: some are too large to have a spread.
    """
    found = []
    for name in KNOWN:
        raw = known(items, name, confidence)[rows]
        raw = raw[~np.isnan(raw)]
        if raw.size == 0:
            continue
        is_share = bool(((raw >= 0) & (raw <= 1)).all())
        scale: Literal["odds", "plain", "log"] = "log" if name.endswith("length") else "odds" if is_share else "plain"
        scaled = _scaled(raw, scale)
        with np.errstate(over="ignore"):
            mean, spread = float(scaled.mean()), float(scaled.std())
        if not (math.isfinite(mean) and math.isfinite(spread)):
            told = f"{name} (the score {confidence!r})" if name.endswith("confidence") else name
            raise DataError(
                f"route fit: {told}: expected numbers with a mean and a spread, found some as large as "
                f"{np.abs(scaled).max():.3g}"
            )
        if spread > 1e-9:
            found.append(Feature(name, scale, mean, spread))
    return found


def _values_seen(word: str, values: Sequence[str | None], told: Bools) -> list[str]:
    levels = sorted({value for value, is_told in zip(values, told, strict=True) if is_told and value is not None})
    if len(levels) > MAX_VALUES:
        raise DataError(f"slice {word!r}: expected at most {MAX_VALUES} values, found {len(levels)}")
    return levels


def _scaled(raw: Floats, scale: Literal["odds", "plain", "log"]) -> Floats:
    if scale == "odds":
        odds: Floats = special.logit(np.clip(raw, _NEAREST, 1 - _NEAREST))
        return odds
    return np.log1p(raw) if scale == "log" else raw


def _sureness_of(side: Side) -> Floats:
    """Return the probability of each item's likeliest option, (items,); NaN where no likelihoods are recorded."""
    return np.array(
        [
            float(sureness(np.array([each], dtype=np.float64))[0]) if each is not None and len(each) > 1 else math.nan
            for each in side.frame["logprobs"].to_list()
        ],
        dtype=np.float64,
    )


def _ridge(design: Floats, won: Floats) -> Floats:
    """Return the weights of a logistic regression with the least -log likelihood + penalty / 2 |w|^2; convex.

    Args:
        design: (items, weights), the first column 1.
        won: (items,) 1 or 0.
    """
    from scipy.optimize import minimize

    penalty = np.full(design.shape[1], PENALTY)
    penalty[0] = _OF_INTERCEPT

    def loss(weights: Floats) -> tuple[float, Floats]:
        z = design @ weights
        value = float(np.logaddexp(0, z).sum() - won @ z + (penalty * weights**2).sum() / 2)
        slope: Floats = design.T @ (special.expit(z) - won) + penalty * weights
        return value, slope

    found = minimize(loss, np.zeros(design.shape[1]), jac=True, method="L-BFGS-B", options={"gtol": 1e-9})
    weights: Floats = found.x
    return weights
