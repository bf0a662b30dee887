"""All numbers of one task between two versions, as a report holds them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from muscle.flips.statistics.intervals import Estimate
from muscle.typed_json import OPTIONAL_KEY


@dataclass(frozen=True)
class NumAnswers:
    """How many answers were given in all.

    Attributes:
        old: by the old version.
        new: by the other one.
    """

    old: int
    new: int


@dataclass(frozen=True)
class AllAnswers:
    """Rates over all answers of items that were asked several times, each item alike.

    Attributes:
        n: items, the denominator.
        answers: how many answers these items have.
        pass_rate_old: mean share of right answers of an item, or mean score, by the old version.
        pass_rate_new: the same by the other version.
        pass_rate_difference: new less old; equals PFR - NFR of right and wrong.
        negative_flip_rate: over all pairs of an old and a new answer of an item, p_old (1 - p_new).
        positive_flip_rate: the same of gains.
    """

    n: int
    answers: NumAnswers
    pass_rate_old: Estimate
    pass_rate_new: Estimate
    pass_rate_difference: Estimate
    negative_flip_rate: Estimate
    positive_flip_rate: Estimate


@dataclass(frozen=True)
class ItemShares:
    """The shares of items that are surely worse, better or the same, told from all their answers.

    Attributes:
        n: items, the denominator.
        regressed: their pass rate fell.
        improved: their pass rate rose.
        equivalent: their pass rate provably moved by less than `epsilon_item`.
        cannot_tell: too few answers.
        null95: share that is called changed in 95 % of relabellings that change nothing, at most.
        null_p: how likely as many changed items are under such a relabelling; None of a score.
    """

    n: int
    regressed: Estimate
    improved: Estimate
    equivalent: Estimate
    cannot_tell: Estimate
    null95: Estimate
    null_p: float | None


@dataclass(frozen=True)
class CountOf:
    """A count and what it is a part of."""

    count: int
    of: int


@dataclass(frozen=True)
class FlipsWithinNoise:
    """Flips whose likelihoods moved by no more than those of the old version's second run did.

    Attributes:
        negative_flip: of those whose move is known.
        positive_flip: the same.
    """

    negative_flip: CountOf
    positive_flip: CountOf


@dataclass(frozen=True)
class SideNumbers:
    """All numbers of a task between two versions. Estimates have 95 % intervals; rates are in [0, 1].

    Attributes:
        n: items (answers, where items were asked several times) that both versions have scored.
        accuracy_old: or the mean score.
        accuracy_new: or the mean score.
        accuracy_difference: new less old.
        negative_flip_rate: NFR, over all n.
        positive_flip_rate: PFR, over all n.
        inconsistency_rate: NFR_mc, over all n.
        backward_trust_compatibility: over the items that the old version has right.
        backward_error_compatibility: over the items that the new version has wrong.
        relative_negative_flip_rate: NFR / ((1 - accuracy_new) accuracy_old).
        churn: answers that changed, over all n.
        mean_gain: over the items whose score rose, in the score's unit.
        mean_regression: over the items whose score fell, in the score's unit.
        mcnemar_exact_p: two-sided, of flips one way.
        mcnemar_mid_p: two-sided, less conservative.
        mcnemar_harm_p: one-sided: so many negative flips, if none is likelier than a positive one.
        negative_flip_rate_lower_bound: one-sided exact 95 % bound; None without items.
        negative_flip_rate_upper_bound: one-sided exact 95 % bound; None without items.
        probability_worse: that negative flips are likelier than positive ones; None of grouped items.
        minimum_detectable_difference: at alpha 0.05 with power 0.8; None without items or of grouped ones.
        mcnemar_holm_p: adjusted over the tasks, family-wise; set once all tasks are measured.
        mcnemar_bh_p: adjusted over the tasks, false discovery rate; set once all tasks are measured.
        clustered_p: two-sided, the signs of the groups flipped, of grouped items: McNemar's is then too sure.
        clustered_harm_p: one-sided, the same.
        noise_floor: negative flips of the old version against itself, over all n.
        excess_negative_flip_rate: negative flips beyond the floor, over all n.
        all_answers: rates over all answers, where items were asked several times.
        items: what became of the items, where both versions were asked several times.
        flips_within_noise: flips that a second run of the old version may explain.
    """

    n: int
    accuracy_old: Estimate
    accuracy_new: Estimate
    accuracy_difference: Estimate
    negative_flip_rate: Estimate
    positive_flip_rate: Estimate
    inconsistency_rate: Estimate
    backward_trust_compatibility: Estimate
    backward_error_compatibility: Estimate
    relative_negative_flip_rate: Estimate
    churn: Estimate
    mean_gain: Estimate
    mean_regression: Estimate
    mcnemar_exact_p: float
    mcnemar_mid_p: float
    mcnemar_harm_p: float
    negative_flip_rate_lower_bound: float | None
    negative_flip_rate_upper_bound: float | None
    probability_worse: float | None
    minimum_detectable_difference: float | None
    mcnemar_holm_p: float | None = field(default=None, metadata=OPTIONAL_KEY)
    mcnemar_bh_p: float | None = field(default=None, metadata=OPTIONAL_KEY)
    clustered_p: float | None = field(default=None, metadata=OPTIONAL_KEY)
    clustered_harm_p: float | None = field(default=None, metadata=OPTIONAL_KEY)
    noise_floor: Estimate | None = field(default=None, metadata=OPTIONAL_KEY)
    excess_negative_flip_rate: Estimate | None = field(default=None, metadata=OPTIONAL_KEY)
    all_answers: AllAnswers | None = field(default=None, metadata=OPTIONAL_KEY)
    items: ItemShares | None = field(default=None, metadata=OPTIONAL_KEY)
    flips_within_noise: FlipsWithinNoise | None = field(default=None, metadata=OPTIONAL_KEY)

    @property
    def two_sided_p(self) -> float:
        """The p-value of a difference: over the groups where items are grouped, else McNemar's exact one."""
        return self.mcnemar_exact_p if self.clustered_p is None else self.clustered_p

    @property
    def harm_p(self) -> float:
        """The p-value of harm: over the groups where items are grouped, else McNemar's exact one."""
        return self.mcnemar_harm_p if self.clustered_harm_p is None else self.clustered_harm_p

    @property
    def num_items(self) -> int:
        """How many items there are, however often each was asked."""
        return self.n if self.all_answers is None else self.all_answers.n

    def metric(self, name: str) -> Estimate:
        """Return the estimate of that name; undefined, with the reason, where this comparison has none.

        Raises:
            KeyError: there is no such metric.
        """
        if name not in ESTIMATES:
            raise KeyError(name)
        found = getattr(self, name)
        assert found is None or isinstance(found, Estimate)
        return found or Estimate.undefined("not measured")


ESTIMATES = (
    "accuracy_old",
    "accuracy_new",
    "accuracy_difference",
    "negative_flip_rate",
    "positive_flip_rate",
    "inconsistency_rate",
    "backward_trust_compatibility",
    "backward_error_compatibility",
    "relative_negative_flip_rate",
    "churn",
    "mean_gain",
    "mean_regression",
    "noise_floor",
    "excess_negative_flip_rate",
)
"""The metrics that have an interval, in the order in which they are shown."""


def counted_unit(numbers: Iterable[SideNumbers]) -> str:
    """Return what is counted: items, their answers where asked several times, pairs of these where unequally often."""
    asked = [each.all_answers.answers for each in numbers if each.all_answers is not None]
    if any(answers.old != answers.new for answers in asked):
        return "pairs of answers"
    return "answers" if asked else "items"
