"""How runs are compared: every option of `muscle.compare`, `gate` and `history` with its default."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from muscle.errors import ConfigError

Test = Literal["fisher", "boschloo"]
On = Literal["auto", "id"]

MAX_UNPAIRED = 0.05
"""Share of a side's predictions that may stay without a partner. More could hide as many flips as an update makes."""

TOLERANCE = 0.01
"""Negative flip rate up to which an update passes; no flip in 300 items is what it takes to prove it."""

EPSILON_ITEM = 0.2
"""Least change of an item's pass rate that counts."""

MAX_FLIPS = 2_000
"""Entries in a report's list of flips."""

ALLOWANCES = ("prompts", "documents", "references", "metric", "judge")
"""What a user can allow to differ although it makes flips that no model made."""


@dataclass(frozen=True)
class CauseRule:
    """A cause of wrong answers, by a rule of the user's own.

    Attributes:
        name: the cause that it gives.
        pattern: a regular expression in Rust's syntax.
        field: what it is looked for in: output, input or finish_reason.
    """

    name: str
    pattern: str
    field: str = "output"


@dataclass(frozen=True)
class JudgeErrors:
    """What is known of a judge model.

    Attributes:
        sensitivity: q1, share of right answers that it calls right.
        specificity: q0, share of wrong answers that it calls wrong.
        num_right: answers that q1 was measured on; None takes it as exact.
        num_wrong: the same for q0.
    """

    sensitivity: float
    specificity: float
    num_right: int | None = None
    num_wrong: int | None = None

    def __post_init__(self) -> None:
        """Refuse a judge that tells nothing."""
        if not (0 <= self.sensitivity <= 1 and 0 <= self.specificity <= 1):
            raise ValueError(
                f"sensitivity, specificity: expected shares in [0, 1], found {self.sensitivity}, {self.specificity}"
            )
        if self.sensitivity + self.specificity <= 1:
            raise ValueError(
                f"sensitivity {self.sensitivity} and specificity {self.specificity}: expected a sum above 1; "
                "such a judge is no better than a coin"
            )
        if any(count is not None and count < 1 for _, count in self.rates):
            raise ValueError("expected 1 or more answers that a rate was measured on")

    @property
    def rates(self) -> tuple[tuple[float, int | None], tuple[float, int | None]]:
        """Return q1 and q0, each with the answers that it was measured on."""
        return (self.sensitivity, self.num_right), (self.specificity, self.num_wrong)

    @property
    def youden(self) -> float:
        """Return q0 + q1 - 1, in (0, 1]."""
        return self.specificity + self.sensitivity - 1


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """How runs are read, paired, measured and judged; shared by Python and the command line.

    Attributes:
        format: of all files, as "lm_eval"; None finds it by content.
        columns: our field names to the tables'.
        on: "auto" recognises items by content, then by id where there is no text; "id" by id alone.
        max_unpaired: share of a side's predictions, in [0, 1], that may have no partner.
        allow: what may differ between the runs beside the model, of `ALLOWANCES`; items whose prompt or reference
            changed are kept then.
        epsilon: dead band of a score, in its unit: only a difference beyond it is a gain or a regression.
        cluster: a slice or column whose values group items that belong together; intervals allow for it. Repeats of an
            item are always one group.
        lower_is_better: names of scores of which less is better, beside those that the harness names.
        slices: what the items are cut by, as `muscle.flips.slices.slice_by` writes it; None takes the records' slices,
            the references where they are classes, and the length of the inputs.
        tolerance: negative flip rate that is let pass, in [0, 1].
        epsilon_item: least change of an item's pass rate that makes it regressed or improved, in [0, 1].
        item_test: of an item's answers: "fisher", or "boschloo", which finds more with few answers.
        item_family: a slice within whose values the items' false discovery rate is held; None holds it in each task.
        causes: rules of your own for the causes of flips, or their YAML file, before the built-in ones.
        human_labels: file of people's labels (`id`, `old`, `new`), by which the difference of a judge's scores is
            corrected.
        judge_errors: the judge's known sensitivity and specificity, by which its rates are corrected.
        max_flips: entries in the report's list of flips; counts are always of all.
        seed: of bootstrap, permutation and sampling; the same seed gives the same report.

    Raises:
        ConfigError: `epsilon_item` is no share, or `allow` names what there is not.
    """

    format: str | None = None
    columns: Mapping[str, str] | None = None
    on: On = "auto"
    max_unpaired: float = MAX_UNPAIRED
    allow: Collection[str] = ()
    epsilon: float = 0.0
    cluster: str | None = None
    lower_is_better: Collection[str] = ()
    slices: Sequence[str] | None = None
    tolerance: float = TOLERANCE
    epsilon_item: float = EPSILON_ITEM
    item_test: Test = "fisher"
    item_family: str | None = None
    causes: str | Path | Sequence[CauseRule] | None = None
    human_labels: str | Path | None = None
    judge_errors: JudgeErrors | None = None
    max_flips: int = MAX_FLIPS
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not 0 <= self.epsilon_item <= 1:
            raise ConfigError(f"epsilon_item: expected a change of a pass rate in [0, 1], found {self.epsilon_item}")
        unknown = sorted(set(self.allow) - set(ALLOWANCES))
        if unknown:
            raise ConfigError(f"allow {unknown[0]!r}: expected one of {', '.join(ALLOWANCES)}")

    @property
    def allow_changed(self) -> bool:
        """Whether items are paired although their prompt or reference changed."""
        return bool({"prompts", "references"} & set(self.allow))


DEFAULTS = CompareOptions()
