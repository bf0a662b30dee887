"""What metrics and a gate's rules are called, what they mean, and how their numbers are written."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from muscle.report.numbers import Form


@dataclass(frozen=True)
class MetricName:
    """What a metric of two versions is called.

    Attributes:
        key: its field in `SideNumbers`.
        name: where answers are right or wrong.
        meaning: what it is a share of.
        form: how it is written.
        score_name: its name where answers have a score; empty: the same.
        score_meaning: its meaning there; empty: the same.
        score_form: its form there; None: the same.
        effect: the field of `CandidateEffect` that says what a candidate changes of it; empty: none.
    """

    key: str
    name: str
    meaning: str
    form: Form
    score_name: str = ""
    score_meaning: str = ""
    score_form: Form | None = None
    effect: str = ""

    def name_for(self, *, binary: bool) -> str:
        """Return the name for tasks of right and wrong, or of a score."""
        return self.name if binary else self.score_name or self.name

    def meaning_for(self, *, binary: bool) -> str:
        """Return the meaning for tasks of right and wrong, or of a score."""
        return self.meaning if binary else self.score_meaning or self.meaning

    def form_for(self, *, binary: bool) -> Form:
        """Return the form for tasks of right and wrong, or of a score."""
        return self.form if binary else self.score_form or self.form


MAIN_METRICS = (
    MetricName(
        "accuracy_old",
        "Accuracy before",
        "items the old model has right",
        "rate",
        score_name="Mean score before",
        score_meaning="over all items",
        score_form="score",
    ),
    MetricName(
        "accuracy_new",
        "Accuracy after",
        "items this update has right",
        "rate",
        score_name="Mean score after",
        score_meaning="over all items",
        score_form="score",
        effect="accuracy_change",
    ),
    MetricName(
        "accuracy_difference",
        "Difference",
        "after minus before, in points",
        "points",
        score_meaning="after minus before",
        score_form="signed",
    ),
    MetricName(
        "negative_flip_rate",
        "Negative flips, NFR",
        "of all items: right before, wrong now",
        "rate",
        score_name="Regressions, NFR",
        score_meaning="of all items: D < 0",
        effect="negative_flip_rate_change",
    ),
    MetricName(
        "positive_flip_rate",
        "Positive flips, PFR",
        "of all items: wrong before, right now",
        "rate",
        score_name="Gains, PFR",
        score_meaning="of all items: D > 0",
    ),
)
"""The metrics that every table of tasks has."""

FURTHER_METRICS = (
    MetricName(
        "inconsistency_rate",
        Markup("Inconsistency, NFR<sub>mc</sub>"),
        "of all items: wrong now, and another answer than before",
        "rate",
    ),
    MetricName("backward_trust_compatibility", "Trust kept, BTC", "of the items right before: still right", "rate"),
    MetricName(
        "backward_error_compatibility",
        "Known errors, BEC",
        "of the items wrong now: wrong before too",
        "rate",
    ),
    MetricName(
        "relative_negative_flip_rate",
        "Relative NFR",
        "NFR over what chance would give: 1 = as independent models",
        "score",
    ),
    MetricName("churn", "Churn", "of all items: the answer changed", "rate"),
    MetricName(
        "mean_gain",
        Markup("Mean gain, m<sub>g</sub>"),
        "mean of D over items with D > 0",
        "score",
        effect="mean_gain_change",
    ),
    MetricName(
        "mean_regression",
        Markup("Mean regression, m<sub>r</sub>"),
        "mean of |D| over items with D < 0",
        "score",
        effect="mean_regression_change",
    ),
)
"""The metrics that stand below, or are folded away."""

METRICS = (*MAIN_METRICS, *FURTHER_METRICS)


@dataclass(frozen=True)
class EffectName:
    """What a change by a candidate is called: its field in `CandidateEffect`, its name, its form."""

    key: str
    name: str
    form: Form


EFFECTS = (
    EffectName("negative_flip_rate_change", "negative flip rate, points", "points"),
    EffectName("negative_flip_rate_change_percent", "negative flips, percent", "percent"),
    EffectName("accuracy_change", "accuracy or score", "signed"),
    EffectName("mean_gain_change", "mean gain", "signed"),
    EffectName("mean_regression_change", "mean regression", "signed"),
)


@dataclass(frozen=True)
class RuleName:
    """What a rule of a gate's policy is called.

    Attributes:
        name: in a sentence.
        title: in a table of its own.
    """

    name: str
    title: str


RULES = {
    "harm": RuleName("harm", "Harm: more broken than gained"),
    "accuracy_drop": RuleName("accuracy drop", "Accuracy drop"),
    "negative_flip_rate": RuleName("negative flip rate", "Negative flips, NFR"),
    "inconsistency_rate": RuleName("inconsistency rate", "Inconsistency, NFR of many classes"),
    "excess_negative_flip_rate": RuleName("negative flip rate beyond noise", "Negative flips beyond noise"),
    "flips_above_plain": RuleName("flips above plain", "More flips than the plain update"),
    "accuracy_below_plain": RuleName("accuracy drop from plain", "Accuracy below the plain update"),
    "coverage": RuleName("coverage", "Coverage"),
    "against_plain": RuleName("candidate against the plain update", "Candidate against the plain update"),
}
"""By the metric of `Finding`."""
