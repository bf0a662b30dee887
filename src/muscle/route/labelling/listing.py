"""Chooses what to label: see `muscle.route.labelling.labels` for the order and its reason."""

from __future__ import annotations

import numpy as np
import polars as pl

from muscle.errors import ConfigError
from muscle.flips.options import DEFAULTS, CompareOptions
from muscle.flips.statistics.arrays import Floats
from muscle.predictions.run import Source
from muscle.route.gate_model import GateRule
from muscle.route.items import CONFIDENCE_SCORE, Items, pair_items
from muscle.route.labelling.draw import DEFAULT_APART, is_apart, notes_on
from muscle.route.labelling.labels import Labels, ToLabel, expected_gain, label_keys, with_labels
from muscle.route.rule_file import RuleFile
from muscle.route.serving import serve

_SHOWN = ("task", "id", "input", "choices", "reference")


def list_to_label(
    old: Source,
    new: Source,
    *,
    num: int = 200,
    for_bound: float = 0.5,
    apart: float = DEFAULT_APART,
    rule: RuleFile | None = None,
    labels: Labels | None = None,
    options: CompareOptions = DEFAULTS,
) -> ToLabel:
    """List the disagreements that nobody judged, those first whose labels are expected to win most.

    Args:
        old: the old model's answers, recorded or fresh.
        new: the new model's.
        num: items to label.
        for_bound: share of them that is for the bound, in random order.
        apart: share of the items that is kept apart when a rule is fitted; the rule's own where one is given.
        rule: by which a label's gain is expected; without one all gains are the same, and the order is random: a gate
            that is fitted on what one model is unsure of alone would know nothing of the rest.
        labels: those that are known already.
        options: how the runs are read and paired.

    Raises:
        ConfigError: a share or the number is impossible.
        DataError: a run cannot be read, or a rule's likelihoods or slices are not there.
        JoinError: the runs do not belong together.
    """
    if num < 1 or not (0 <= for_bound <= 1 and 0 <= apart < 1):
        raise ConfigError(
            f"route label: expected one item or more and shares in [0, 1], found {num}, {for_bound} and {apart}"
        )
    name = CONFIDENCE_SCORE if rule is None else rule.confidence
    items = with_labels(pair_items(old, new, options, confidence=name), labels)
    part = apart if rule is None else rule.apart or apart
    gain = _gains(items, rule)
    wanted = np.flatnonzero(~items.same & ~items.judged)
    # The fingerprint is a hash: its order is random, and the same whenever it is asked for.
    ordered = sorted(wanted.tolist(), key=lambda row: items.fingerprints[row])
    bound_rows = [row for row in ordered if is_apart(items.fingerprints[row], part)]
    fit_rows = sorted((row for row in ordered if row not in set(bound_rows)), key=lambda row: -gain[row])
    num_bound = min(len(bound_rows), round(num * for_bound))
    num_fit = min(len(fit_rows), num - num_bound)
    num_bound = min(len(bound_rows), num - num_fit)
    parts = (("fit", fit_rows[:num_fit]), ("bound", bound_rows[:num_bound]))
    frame = pl.concat([_list_rows(items, rows, purpose, gain) for purpose, rows in parts])
    judged = int((~items.same & items.judged).sum())
    return ToLabel(frame, int((~items.same).sum()), judged, rule is not None, notes_on(items, labels))


def _gains(items: Items, rule: RuleFile | None) -> Floats:
    """Return what each item's label is expected to win, (items,)."""
    decided = items.judged & ~items.same
    share = (float((items.old.right != items.new.right)[decided].sum()) + 1) / (int(decided.sum()) + 2)
    if rule is None:
        return np.full(items.num, share / 2)  # nothing is known of who is right where
    given = rule.rule()
    if isinstance(given, GateRule):
        return expected_gain(given.log_odds(items), share, given.log_kappa)
    return expected_gain(-np.nan_to_num(serve(given, items).needed, posinf=0.0), share, given.log_kappa)


def _list_rows(items: Items, rows: list[int], purpose: str, gain: Floats) -> pl.DataFrame:
    keys = label_keys(items)
    old, new = (side.frame[rows] for side in (items.old, items.new))
    answer = pl.coalesce(pl.col("output"), pl.col("extracted_answer"), pl.col("choice").cast(pl.String))
    return old.select(
        pl.Series("fingerprint", [keys[row] for row in rows], dtype=pl.String),
        pl.lit(purpose).alias("purpose"),
        pl.Series("gain", np.round(gain[rows], 6), dtype=pl.Float64),
        *_SHOWN,
        answer.alias("old_answer"),
        new.select(answer.alias("new_answer"))["new_answer"],
        pl.lit(None, dtype=pl.String).alias("label"),
    )
