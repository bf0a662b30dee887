"""What an update may break: a policy as typed objects, read from YAML and validated before anything is compared.

```yaml
version: 1
tolerance: 0.01                         # the limit of every rule that names none
default:                                # for every task of right and wrong that is not named below
  harm: block                           # more broke than was gained, beyond chance
  accuracy_drop: block                  # short for {tier: block}, with the tolerance as its limit
  negative_flip_rate: {limit: 0.05, tier: warn}
tasks:
  billing: {negative_flip_rate: 0.01}   # short for {limit: 0.01, test: interval, tier: block}
slices:
  - {slice: topic, value: refunds, negative_flip_rate: {limit: 0.02, test: point}}
```

A section that stands in the file replaces the built-in one; a task's rules replace the default's one by one, and `null`
takes a rule away.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from muscle.errors import ConfigError
from muscle.flips.options import TOLERANCE
from muscle.flips.pairing.flip_sign import Kind
from muscle.flips.result.finding import Tier
from muscle.flips.slices.slice_by import parse_slice
from muscle.foreign_text import outline
from muscle.yaml_files import read_yaml

Metric = Literal[
    "harm",
    "accuracy_drop",
    "negative_flip_rate",
    "inconsistency_rate",
    "excess_negative_flip_rate",
    "flips_above_plain",
    "accuracy_below_plain",
]
AGAINST_PLAIN: tuple[Metric, ...] = ("flips_above_plain", "accuracy_below_plain")
"""Judged where a candidate stands beside the plain update, of whole tasks alone."""

METRICS: tuple[Metric, ...] = (
    "harm",
    "accuracy_drop",
    "negative_flip_rate",
    "inconsistency_rate",
    "excess_negative_flip_rate",
    *AGAINST_PLAIN,
)

MIN_ITEMS = 100
SLICE_MIN_ITEMS = 30
ALPHA = 0.05
MAX_MISSING = 0.05

Fraction = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Harm(_Section):
    """Is more broken than gained, or than the plain update breaks, beyond chance? One-sided exact McNemar.

    Attributes:
        tier: what a breach leads to.
    """

    tier: Tier = "block"


class Limit(_Section):
    """How much of something is let pass.

    Attributes:
        limit: highest value that is let pass, a share in [0, 1]; None takes the policy's tolerance.
        test: "interval": it must be proven, by the one-sided upper bound; broken only where the lower one is above.
            "point": the bare number is held against the limit.
        tier: what a breach leads to.
    """

    limit: Fraction | None = None
    test: Literal["interval", "point"] = "interval"
    tier: Tier = "block"


def _tier_alone(value: object) -> object:
    """`harm: warn` stands for `{tier: warn}`."""
    if isinstance(value, str):
        return {"tier": value}
    if value is None or isinstance(value, Mapping | Harm):
        return value
    raise ValueError(f"expected a tier such as block, found {outline(value)}")


def _limit_alone(value: object) -> object:
    """`negative_flip_rate: 0.01` stands for `{limit: 0.01}`, `negative_flip_rate: warn` for `{tier: warn}`."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {"limit": value}
    if value in get_args(Tier):
        return {"tier": value}
    if value is None or isinstance(value, Mapping | Limit):
        return value
    raise ValueError(f"expected a limit such as 0.02, found {outline(value)}")


HarmRule = Annotated[Harm | None, BeforeValidator(_tier_alone)]
LimitRule = Annotated[Limit | None, BeforeValidator(_limit_alone)]


class Rules(_Section):
    """The limits for a task or a slice. A rule that is left out is not judged.

    Attributes:
        harm: more broken than gained, beyond chance.
        accuracy_drop: fall of accuracy, in [0, 1]; of a score, the fall of its mean as a share of the old mean.
        negative_flip_rate: items that were right and are wrong, of all items; of a score, items that got worse.
        inconsistency_rate: negative flips and wrong answers that became other wrong ones, of all items.
        excess_negative_flip_rate: negative flips beyond those of a second run of the old version, of all items.
        flips_above_plain: a candidate breaks more than the plain update, beyond chance.
        accuracy_below_plain: a candidate's fall of accuracy against the plain update, as `accuracy_drop`.
        min_items: fewer can break a rule, but not prove it.
    """

    harm: HarmRule = None
    accuracy_drop: LimitRule = None
    negative_flip_rate: LimitRule = None
    inconsistency_rate: LimitRule = None
    excess_negative_flip_rate: LimitRule = None
    flips_above_plain: HarmRule = None
    accuracy_below_plain: LimitRule = None
    min_items: Annotated[int, Field(ge=1)] | None = None

    @property
    def has_rules(self) -> bool:
        """Whether anything is judged."""
        return any(getattr(self, metric) is not None for metric in METRICS)

    @property
    def can_stop(self) -> bool:
        """Whether a rule of the tier `block` is among them."""
        given = (getattr(self, metric) for metric in METRICS)
        return any(rule is not None and rule.tier == "block" for rule in given)

    def over(self, other: Rules) -> Rules:
        """Return these rules, with the other's where nothing is said."""
        given = {name: getattr(self, name) for name in Rules.model_fields if name in self.model_fields_set}
        return Rules.model_construct(**{**{n: getattr(other, n) for n in Rules.model_fields}, **given})

    def with_limits(self, tolerance: float) -> Self:
        """Return these rules, with the tolerance as the limit of each that names none."""
        found = {name: getattr(self, name) for name in Rules.model_fields}
        named = {
            name: rule.model_copy(update={"limit": tolerance})
            for name, rule in found.items()
            if isinstance(rule, Limit) and rule.limit is None
        }
        return self.model_copy(update=named)


class SliceRules(Rules):
    """The limits for slices of the items.

    Attributes:
        slice: what to slice by, as `muscle.flips.slices.slice_by` writes it: a column, `/a pattern/` or `length`.
        value: one slice; without it every slice with enough items is judged.
        task: name or pattern (`mmlu_*`) of the tasks; without it all of them.
    """

    slice: str
    value: str | None = None
    task: str | None = None

    @field_validator("slice")
    @classmethod
    def _readable(cls, text: str) -> str:
        try:
            parse_slice(text)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return text

    @field_validator(*AGAINST_PLAIN)
    @classmethod
    def _not_of_slices(cls, rule: Harm | Limit | None) -> None:
        if rule is not None:
            raise ValueError("expected it for tasks alone, not for slices")

    @field_validator("value", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        """Slices are texts, but YAML reads `value: 3` as a number and `value: yes` as a truth."""
        if isinstance(value, bool):
            raise ValueError(f"expected text, found {outline(value)}; put the value in quotes")
        return str(value) if isinstance(value, int | float) else value


DEFAULT_SCORE_RULES = Rules(harm=Harm(), accuracy_drop=Limit(), flips_above_plain=Harm(), accuracy_below_plain=Limit())
DEFAULT_RULES = DEFAULT_SCORE_RULES.model_copy(update={"negative_flip_rate": Limit(tier="warn")})


class Policy(_Section):
    """What an update may break.

    Attributes:
        version: of this form; 1.
        name: what reports call the policy.
        tolerance: the limit of every rule that names none; that of `muscle compare` too, unless it is told another.
        alpha: level of each one-sided bound, and of all blocking tests together (Holm).
        min_items: items that a task needs before a rule can be proven.
        max_missing: share of the answers, in [0, 1], that may be missing: errors, unscored or unpaired ones. Fewer
            are judged at their worst (`muscle.flips.pairing.missing`).
        default: rules for tasks of right and wrong.
        scores: rules for tasks with a score only.
        tasks: rules for some tasks, by name or pattern (`mmlu_*`), over the default; later ones win.
        slices: rules for slices.
    """

    version: Literal[1] = 1
    name: str = "policy"
    tolerance: Fraction = TOLERANCE
    alpha: Annotated[float, Field(gt=0, le=0.5)] = ALPHA
    min_items: Annotated[int, Field(ge=1)] = MIN_ITEMS
    max_missing: Fraction = MAX_MISSING
    default: Rules = DEFAULT_RULES
    scores: Rules = DEFAULT_SCORE_RULES
    tasks: dict[str, Rules] = Field(default_factory=dict)
    slices: list[SliceRules] = Field(default_factory=list)

    def rules_for(self, task: str, kind: Kind) -> Rules:
        """Return the rules of a task: its own over the default of its kind, each with its limit."""
        rules = self.default if kind == "binary" else self.scores
        for name in self._matching(task):
            rules = self.tasks[name].over(rules)
        return rules.with_limits(self.tolerance)

    def rules_for_slices(self) -> list[SliceRules]:
        """Return the rules for slices, each with its limit."""
        return [rules.with_limits(self.tolerance) for rules in self.slices]

    def _matching(self, task: str) -> list[str]:
        return [name for name in self.tasks if matches(task, name)]


DEFAULT_POLICY = Policy(name="default")
"""The policy where none is given; docs/gate.md says its rules."""


def matches(task: str, pattern: str) -> bool:
    """Whether a task has a name, or one that fits a pattern with `*`, `?` or `[...]`."""
    return task == pattern or fnmatch.fnmatchcase(task, pattern)


def load_policy(path: str | Path) -> Policy:
    """Read and validate a policy.

    Args:
        path: the YAML file. Its stem is the policy's name unless it says another.

    Returns:
        The policy, with the defaults for what the file leaves out.

    Raises:
        ConfigError: the file is missing, is no YAML, or a key is unknown, missing or impossible; the message names the
            file, the line and the key's path.
    """
    return read_yaml(path, expected="a policy with keys such as `default`").validate(Policy, name=Path(path).stem)
