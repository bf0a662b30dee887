"""A rule applied to items that nobody needs to have judged: to two runs, or to one question where it is asked.

`Route.choose` gives the answer that `apply_route` gives to the same item: both end in `muscle.route.serving.serve`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from muscle.errors import DataError
from muscle.flips.options import DEFAULTS, CompareOptions
from muscle.flips.pairing.items import answers_differ
from muscle.predictions.records import complete
from muscle.predictions.run import SCORE_PREFIX, SLICE_PREFIX, Source
from muscle.route.bound import Prices
from muscle.route.gate_model import GateRule
from muscle.route.items import Pairs, Side, pair_items
from muscle.route.option_rules import OptionRule
from muscle.route.rule_file import RuleFile, read_rule
from muscle.route.scores import option_scores
from muscle.route.serving import ROUTE_SLICE, serve, served_records

Whose = Literal["old", "new", "both agree", "another option", "new, nothing recorded"]
"""Whose answer it is, in the words of the slice `route`."""


@dataclass(frozen=True)
class Applied:
    """Answers by a rule.

    Attributes:
        frame: records, in memory form; the slice `route` says whose answer each is.
        whose: how many answers are whose.
        asked_share: share of the paired items about which the old model is asked.
        cost: of 1,000 items, by the prices.
        missing: what of the runs is missing, in words; empty where nothing is.
        num_fitted: how many of the paired items the rule was fitted on; what it breaks of these flatters it.
    """

    frame: pl.DataFrame
    whose: dict[str, int]
    asked_share: float
    cost: float
    missing: str
    num_fitted: int


def apply_route(
    rule: RuleFile, old: Source, new: Source, *, options: CompareOptions = DEFAULTS, prices: Prices | None = None
) -> Applied:
    """Answer items by a rule.

    Args:
        rule: the rule.
        old: the old model's answers, recorded or fresh.
        new: the new model's.
        options: how the runs are read and paired.
        prices: of a call; those of the rule without.

    Raises:
        DataError: a run cannot be read, or lacks the likelihoods or slices that the rule goes by.
        JoinError: the runs do not belong together.
    """
    items = pair_items(old, new, options, confidence=rule.confidence)
    served = serve(rule.rule(), items)
    frame = served_records(items, served)
    counts = frame[ROUTE_SLICE].value_counts().sort("count", ROUTE_SLICE, descending=[True, False])
    price = prices or rule.cost()
    cost = price.per_thousand(served.asked_share, old_calls=items.old.calls, new_calls=items.new.calls)
    num_fitted = int(rule.fitted_among(items).sum())
    return Applied(frame, dict(counts.iter_rows()), served.asked_share, cost, items.lost.sentence(), num_fitted)


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a model said to a question: all of it that the rule was fitted with.

    Attributes:
        text: its answer.
        extracted: what is read out of the text, where the runs had that.
        option: place of the option that it names, from 0; None where it names none, or there are none.
        logprobs: log-likelihood of each option, in nats.
        confidence: how sure it says it is: the score that the rule was fitted with (`--confidence`).
        agreement: share of its repeated answers that say what most of them say.
    """

    text: str | None = None
    extracted: str | None = None
    option: int | None = None
    logprobs: Sequence[float] | None = None
    confidence: float | None = None
    agreement: float | None = None


@dataclass(frozen=True)
class Question:
    """What is asked, as far as the rule was fitted with it.

    Attributes:
        text: the input, as the runs have it.
        options: of a question with options.
        slices: values of the slices that were named (`--slice`).
    """

    text: str = ""
    options: Sequence[str] = ()
    slices: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Chosen:
    """The answer to a question.

    Attributes:
        whose: it is.
        text: of the answer; of another option, that option.
        option: its place, where one is named.
    """

    whose: Whose
    text: str | None
    option: int | None


class Route:
    """A fitted rule at run time: which answer to give to a question.

    Args:
        rule: as `read_rule` gives it.

    Example:
        route = load_route("rule.yaml")
        new = Said(text="lamp", confidence=0.4)
        question = Question("What lights a room?", slices={"topic": "home"})
        old = recorded.get(question.text) if route.asks_old(question, new) else None
        answer = route.choose(question, old=old, new=new)
    """

    def __init__(self, rule: RuleFile) -> None:
        self.rule = rule
        self._rule = rule.rule()

    def asks_old(self, question: Question, new: Said) -> bool:
        """Tell whether the old model is asked, or its record looked up; always, unless the rule has a share to ask.

        Args:
            question: what is asked.
            new: what the new model said.

        Raises:
            DataError: an option or a likelihood is missing or impossible.
        """
        pair = self._pair(question, new, new)
        if isinstance(self._rule, GateRule):
            return bool(self._rule.asked(pair)[0])
        return self._rule.ask_below is None or bool(self._rule.asked(option_scores(pair))[0])

    def choose(self, question: Question, *, old: Said | None, new: Said) -> Chosen:
        """Choose the answer.

        Args:
            question: what is asked.
            old: what the old model said; None where nothing is recorded, or it was not asked.
            new: what the new model said.

        Raises:
            DataError: the rule goes by likelihoods or a slice that are not given, or an option is impossible.
        """
        if old is None:
            return Chosen("new, nothing recorded" if self.asks_old(question, new) else "new", new.text, new.option)
        pair = self._pair(question, old, new)
        served = serve(self._rule, pair)
        if served.kept[0]:
            return Chosen("both agree" if pair.same[0] else "old", old.text, old.option)
        if served.third[0] and served.choice is not None:
            place = int(served.choice[0])
            return Chosen("another option", question.options[place], place)
        return Chosen("new", new.text, new.option)

    def _pair(self, question: Question, old: Said, new: Said) -> Pairs:
        sides = [self._side(question, said, name) for said, name in ((old, "old"), (new, "new"))]
        differ = answers_differ(sides[0].frame, sides[1].frame).fill_null(value=True)
        return Pairs(sides[0], sides[1], ~differ.to_numpy())

    def _side(self, question: Question, said: Said, name: str) -> Side:
        num = len(question.options)
        if said.option is not None and not 0 <= said.option < num:
            raise DataError(f"{name} answer: expected the place of one of {num} options, from 0, found {said.option}")
        if said.logprobs is not None and len(said.logprobs) != num:
            raise DataError(
                f"{name} answer: expected the log-likelihood of each of {num} options, found {len(said.logprobs)}"
            )
        if isinstance(self._rule, OptionRule) and said.logprobs is None:
            raise DataError(
                f"{name} answer: expected log-likelihoods of the options, which a {self.rule.kind} goes by, found none"
            )
        frame = pl.DataFrame(
            {
                "task": ["question"],
                "id": ["asked"],
                "input": [question.text],
                "choices": [list(question.options) or None],
                "output": [said.text],
                "extracted_answer": [said.extracted],
                "choice": [said.option],
                "logprobs": [None if said.logprobs is None else list(said.logprobs)],
                SCORE_PREFIX + self.rule.confidence: pl.Series([said.confidence], dtype=pl.Float64),
                **{SLICE_PREFIX + slice_name: [str(value)] for slice_name, value in question.slices.items()},
            },
            schema_overrides={"choices": pl.List(pl.String), "logprobs": pl.List(pl.Float64)},
        )
        agreement = None if said.agreement is None else np.array([said.agreement])
        return Side(complete(frame), np.array([np.nan]), agreement, 1.0)


def load_route(path: str | Path) -> Route:
    """Load a rule that `muscle route fit` wrote, to choose answers by it.

    Raises:
        ConfigError: there is no such file, or it is no such rule.
    """
    return Route(read_rule(Path(path)))
