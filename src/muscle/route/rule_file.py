"""The rule as a file: YAML that one can read, with what it was fitted on, so that nobody reports on those items.

```yaml
version: 1
kind: gate                  # gate: from answers alone; stack, mixture: from the options' likelihoods
flip_limit: 0.01            # negative flip rate that kappa was chosen by
kappa: 3.2                  # a right old answer that is lost weighs so many that are gained; or infinite
gate: {intercept: 0.4, features: [{of: new_confidence, scale: odds, mean: 1.3, spread: 0.8, weight: -0.9}]}
fitted_on: [1c2f…, …]       # fingerprints of the items
```
"""

from __future__ import annotations

import importlib.metadata
import math
import re
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from muscle.errors import ConfigError
from muscle.files import write_text
from muscle.flips.options import TOLERANCE
from muscle.flips.statistics.arrays import Bools
from muscle.route.bound import Prices
from muscle.route.gate_model import Feature, GateRule, Known, SliceWeights
from muscle.route.items import CONFIDENCE_SCORE, FINGERPRINT_DIGITS, Items
from muscle.route.likelihoods import Weights
from muscle.route.option_rules import OptionRule
from muscle.typed_json import json_object
from muscle.yaml_files import read_yaml, yaml_text

Kind = Literal["gate", "stack", "mixture"]

MAX_FITTED = 50_000
"""Items that a rule may be fitted on, of those with options half as many: their fingerprints must find room in a YAML
file of 1 MiB."""

_A_LINE = 4
_DIGITS = 6
"""Significant digits of a weight in the file; what is read back is what is used."""

Number = Annotated[float, Field(allow_inf_nan=False)]


class _Part(BaseModel):
    # Features and slices are plain dataclasses: that their numbers are finite holds through this alone.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Made(_Part):
    """When and of what a rule was made.

    Attributes:
        created: when.
        muscle_version: by which version.
        old: the old run's name.
        new: the new run's.
        num_items: items that were fitted on.
        num_judged: of these, the ones known to be right or wrong on both sides.
        negative_flip_rate: of these items with the rule; it was chosen on them, so that it is flattering.
    """

    created: str
    muscle_version: str
    old: str
    new: str
    num_items: int
    num_judged: int
    negative_flip_rate: Number


class Paid(_Part):
    """What a call of each model costs: see `muscle.route.bound.Prices`."""

    old: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    new: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0


class Options(_Part):
    """A rule over the options' likelihoods: see `muscle.route.option_rules.OptionRule`."""

    old_temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    new_temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    share: Annotated[float, Field(ge=0, le=1)] | None = None
    a: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    b: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None


class Gate(_Part):
    """A rule over answers alone: see `muscle.route.gate_model.GateRule`."""

    intercept: Number
    features: tuple[Feature, ...] = ()
    slices: tuple[SliceWeights, ...] = ()
    confidence: str = CONFIDENCE_SCORE
    ask_by: Known | None = None

    @model_validator(mode="after")
    def _spread(self) -> Self:
        for feature in self.features:
            if feature.spread <= 0:
                raise ValueError(f"features: expected a spread above 0 of {feature.of}, found {feature.spread:g}")
        return self


class RuleFile(_Part):
    """A fitted rule with all that must be known to use and to judge it.

    Attributes:
        version: of this form; 1.
        kind: what it goes by.
        made: when and of what.
        flip_limit: negative flip rate that kappa was chosen by, and that the bound is held against.
        kappa: how many gained answers a lost one weighs; None of a mixture.
        ask_below: sureness of the new model below which the old one is asked; None asks always.
        prices: of a call, where nothing else is said.
        apart: share of the items that was kept apart for the bound.
        options: of a stack or mixture.
        gate: of a gate.
        known_by: what the items that it was fitted on are told apart by: "input", "id", or "input and id".
        num_fitted_on: how many fingerprints there are, so that a file that is cut off is known.
        fitted_on: their fingerprints, several on a line.
        fitted_texts: of those with options, the fingerprints of their inputs alone.
    """

    version: Literal[1] = 1
    kind: Kind
    made: Made
    flip_limit: Annotated[float, Field(ge=0, le=1)] = TOLERANCE
    kappa: Annotated[float, Field(ge=1, allow_inf_nan=False)] | Literal["infinite"] | None = None
    ask_below: Number | None = None
    prices: Paid = Paid()
    apart: Annotated[float, Field(ge=0, lt=1)] = 0.0
    options: Options | None = None
    gate: Gate | None = None
    known_by: Literal["input", "id", "input and id"] = "input"
    num_fitted_on: int | None = None
    fitted_on: tuple[str, ...] = ()
    fitted_texts: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.kind == "gate":
            found = self.gate is not None and self.options is None and self.kappa is not None
        elif self.kind == "stack":
            found = self.options is not None and None not in (self.options.a, self.options.b, self.kappa)
        else:
            found = self.options is not None and self.options.share is not None
        if not found:
            raise ValueError(f"kind: expected all that a {self.kind} is made of, found a part of it")
        num = len(self.fingerprints) + len(_fingerprints_in(self.fitted_texts))
        least = 1 if self.made.num_items else 0
        if num < least if self.num_fitted_on is None else num != self.num_fitted_on:
            raise ValueError(
                f"fitted_on: expected the fingerprints of all items that were fitted on "
                f"({self.num_fitted_on or least}), found {num}; is the file cut off?"
            )
        return self

    @property
    def log_kappa(self) -> float:
        """The logarithm of kappa: 0 of a mixture, inf where the old answer is always kept."""
        if self.kappa is None:
            return 0.0
        return math.inf if self.kappa == "infinite" else math.log(self.kappa)

    @property
    def fingerprints(self) -> frozenset[str]:
        """What the items that it was fitted on are told apart by."""
        return _fingerprints_in(self.fitted_on)

    def fitted_among(self, items: Items) -> Bools:
        """Tell which items it was fitted on, (items,), also where one of two files has them without their options."""
        prints, texts = self.fingerprints, _fingerprints_in(self.fitted_texts)
        known = [
            each in prints or (each in texts if text is None else text in prints)
            for each, text in zip(items.fingerprints, items.texts, strict=True)
        ]
        return np.array(known, dtype=np.bool_)

    @property
    def confidence(self) -> str:
        """The score in which a model says how sure it is; of an option rule, the usual name."""
        return CONFIDENCE_SCORE if self.gate is None else self.gate.confidence

    def cost(self) -> Prices:
        """Return what a call costs."""
        return Prices(self.prices.old, self.prices.new)

    def rule(self) -> OptionRule | GateRule:
        """Return the rule as it is applied."""
        if self.gate is not None:
            given = self.gate
            return GateRule(
                given.intercept,
                given.features,
                given.slices,
                self.log_kappa,
                given.confidence,
                given.ask_by,
                self.ask_below,
            )
        assert self.options is not None, "checked when it was read"
        weights = None
        if self.kind == "stack":
            assert self.options.a is not None and self.options.b is not None, "checked when it was read"
            weights = Weights(self.options.a, self.options.b)
        options = self.options
        share = options.share if weights is None else None
        return OptionRule(
            options.old_temperature, options.new_temperature, share, weights, self.log_kappa, self.ask_below
        )


def rule_file(rule: OptionRule | GateRule, **facts: object) -> RuleFile:
    """Return a rule with its facts, its numbers as short as the file has them.

    Args:
        rule: what was fitted.
        **facts: keys of `RuleFile` that are not the rule's own.
    """
    kappa = "infinite" if rule.log_kappa == math.inf else max(1.0, _short(math.exp(rule.log_kappa)))
    found: dict[str, object] = {"kappa": kappa, "ask_below": None if rule.ask_below is None else _short(rule.ask_below)}
    if isinstance(rule, GateRule):
        gate = {name: value for name, value in json_object(rule).items() if name not in ("log_kappa", "ask_below")}
        found |= {"kind": "gate", "gate": _shortened(gate)}
    else:
        weights = rule.weights
        options = {
            "old_temperature": rule.old_temperature,
            "new_temperature": rule.new_temperature,
            **({"share": rule.share} if weights is None else {"a": weights.a, "b": weights.b}),
        }
        found |= {"kind": "mixture" if weights is None else "stack", "options": _shortened(options)}
        if weights is None:
            found["kappa"] = None
    return RuleFile.model_validate({**found, **facts})


def made_now(**facts: object) -> Made:
    """Return when and of what a rule was made."""
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return Made.model_validate(
        {"created": created, "muscle_version": importlib.metadata.version("muscle-llm"), **facts}
    )


def fitted_on(items: Items, rows: Bools) -> dict[str, object]:
    """Return what a rule's file says of the items that it was fitted on.

    Args:
        items: all of them.
        rows: (items,) which ones.

    Raises:
        ConfigError: they are more than a rule may be fitted on.
    """
    pairs = zip(items.fingerprints, items.texts, strict=True)
    known = [pair for pair, is_in in zip(pairs, rows, strict=True) if is_in]
    prints, texts = {each for each, _ in known}, {text for _, text in known if text is not None}
    most = MAX_FITTED // 2 if texts else MAX_FITTED
    if len(prints) > most:
        raise ConfigError(
            f"route: expected at most {most:,} items to fit on, found {len(prints):,}; keep more of them "
            "apart (--apart)"
        )
    lines = {"fitted_on": _lines(prints), "fitted_texts": _lines(texts)}
    return {"known_by": items.known_by, "num_fitted_on": len(prints) + len(texts), **lines}


def _lines(fingerprints: Collection[str]) -> tuple[str, ...]:
    every = sorted(fingerprints)
    return tuple(" ".join(every[start : start + _A_LINE]) for start in range(0, len(every), _A_LINE))


def _fingerprints_in(lines: Iterable[str]) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split())


def write_rule(path: Path, rule: RuleFile) -> None:
    """Write a rule as YAML.

    Raises:
        OutputError: it cannot be written.
    """
    values = rule.model_dump(mode="json", exclude_none=True)
    write_text(path, yaml_text(values))


def read_rule(path: Path) -> RuleFile:
    """Read a rule that `muscle route fit` wrote.

    Raises:
        ConfigError: there is no such file, it is no YAML, or a key is unknown, missing or impossible.
    """
    found = read_yaml(path, expected="a rule written by muscle route fit").validate(RuleFile)
    for key, lines in (("fitted_on", found.fitted_on), ("fitted_texts", found.fitted_texts)):
        if not all(re.fullmatch(f"[0-9a-f]{{{FINGERPRINT_DIGITS}}}", print_) for print_ in _fingerprints_in(lines)):
            raise ConfigError(f"{path}: {key}: expected fingerprints of {FINGERPRINT_DIGITS} hex digits")
    return found


def _short(number: float) -> float:
    return float(f"{number:.{_DIGITS}g}")


def _shortened(value: object) -> object:
    """Return numbers with the file's digits, however deep they stand."""
    if isinstance(value, float):
        return _short(value)
    if isinstance(value, dict):
        return {name: _shortened(each) for name, each in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_shortened(each) for each in value]
    return value
