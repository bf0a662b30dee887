"""What training left beside an update's adapters, read for the report: `training.json` and `adapter_config.json`.

The settings are the configuration's, by which the adapters were trained or found to be done; what came of them is the
files'. A step's losses are told to six digits, of a long training as means over stretches of equal length.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeGuard

from muscle.config.alignment import AlignmentSettings
from muscle.config.settings import TrainingSettings
from muscle.errors import DataError
from muscle.files import read_json
from muscle.flips.trained import Curve, Method, Outcome, Series, Stage, TrainedAdapter
from muscle.foreign_text import one_line, outline

MAX_POINTS = 120
"""Points of a curve over steps."""

_OVER_STEPS: Mapping[str, Series] = {"loss": "loss", "masked_share": "masked_share"}
_OVER_EPOCHS: Mapping[str, Series] = {
    "eval_masked_share": "validation_masked_share",
    "eval_agreement": "agreement",
    "eval_kl": "validation_kl",
    "eval_kl_old": "validation_kl_old",
    "eval_kl_new": "validation_kl_new",
    "eval_cross_entropy": "validation_cross_entropy",
}
_OF_A_MASK: tuple[Series, ...] = ("masked_share", "validation_masked_share")
"""Curves that say nothing where every token leans on the old model."""


@dataclass(frozen=True)
class AdapterPlace:
    """Where an adapter is, and by which settings it was trained.

    Attributes:
        run: whose predictions are its.
        folder: the adapter's.
        stage: by what it was trained; None where it is given.
        training: the settings.
        alignment: the method; None of a training on labels or next tokens.
        unit: of such a training.
    """

    run: str
    folder: Path
    stage: Stage | None
    training: TrainingSettings
    alignment: AlignmentSettings | None = None
    unit: str = "tokens"


def read_training(place: AdapterPlace) -> TrainedAdapter:
    """Read how an adapter was trained; of a given one, what its configuration says.

    Raises:
        DataError: a file is missing or damaged.
    """
    config = read_json(place.folder / "adapter_config.json", mend="give another adapter")
    rank, alpha, kind = config.get("r"), config.get("lora_alpha"), config.get("peft_type")
    adapter = TrainedAdapter(
        place.run,
        place.stage,
        kind=one_line(kind, 40) if isinstance(kind, str) else "unknown",
        rank=rank if _is_count(rank) else None,
        alpha=float(alpha) if _is_number(alpha) else None,
    )
    if place.stage is None:
        return adapter
    told = _Told(place.folder / "training.json")
    always = place.alignment is not None and place.alignment.leaning[0] == "old_always"
    return TrainedAdapter(
        adapter.run,
        adapter.stage,
        adapter.kind,
        adapter.rank,
        adapter.alpha,
        _method(place, told),
        _how_it_went(place, told),
        [curve for curve in _curves(told) if not (always and curve.name in _OF_A_MASK)],
    )


class _Told:
    """A `training.json`, each value looked at before it is taken.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mend = f"delete {path.parent} to train it again"
        self.values = read_json(path, mend=self.mend)

    def count(self, key: str) -> int:
        """Return a whole number."""
        value = self.values.get(key)
        return value if _is_count(value) else self.refuse(key, "a whole number", value)

    def count_or_none(self, key: str) -> int | None:
        """Return a whole number, or None where the file says none."""
        return None if self.values.get(key) is None else self.count(key)

    def truth(self, key: str) -> bool:
        """Return a truth value."""
        value = self.values.get(key)
        return value if isinstance(value, bool) else self.refuse(key, "true or false", value)

    def numbers(self, key: str) -> list[float]:
        """Return a list of finite numbers."""
        value = self.values.get(key)
        if isinstance(value, list) and all(_is_number(each) for each in value):
            return [float(each) for each in value]
        return self.refuse(key, "a list of numbers", value)

    def log(self) -> list[Mapping[str, object]]:
        """Return the Trainer's log."""
        value = self.values.get("log")
        if isinstance(value, list) and all(isinstance(line, dict) for line in value):
            return value
        return self.refuse("log", "a list of objects", value)

    def refuse(self, key: str, expected: str, found: object) -> NoReturn:
        """Refuse the file for one of its values."""
        raise DataError(f"{self.path}: {key}: damaged, expected {expected}, found {outline(found)}; {self.mend}")


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _method(place: AdapterPlace, told: _Told) -> Method:
    alignment = place.alignment
    if alignment is None:
        return Method(place.unit, "labels")
    first = told.values.get("labels_first")
    calibration, crossed = told.values.get("temperatures"), told.values.get("old_tokens")
    shares = crossed if isinstance(crossed, dict) else {}

    def kept(key: str) -> bool:
        return alignment.reads(key)

    return Method(
        unit=alignment.unit,
        target=alignment.target,
        temperature=alignment.temperature if kept("temperature") else None,
        texts=alignment.texts if kept("texts") else None,
        mask=alignment.mask if kept("mask") else None,
        ce_weight=alignment.ce_weight if kept("ce_weight") else None,
        old_share=alignment.old_share if kept("old_share") else None,
        kappa=alignment.kappa if kept("kappa") else None,
        kl=alignment.kl if kept("kl") else None,
        labels_first=alignment.labels_first,
        labels_improved=not isinstance(first, dict) or first.get("improved") is not False,
        start=alignment.start if kept("start") else None,
        selection=alignment.selection if kept("selection") else None,
        engine=alignment.engine if kept("engine") else None,
        calibration={str(name): float(value) for name, value in calibration.items() if _is_number(value)}
        if isinstance(calibration, dict)
        else None,
        projection=alignment.projection if shares else None,
        aligned=_number_or_none(shares.get("aligned")),
        placed=_number_or_none(shares.get("placed")),
        too_little=_number_or_none(shares.get("too_little")),
    )


def _number_or_none(value: object) -> float | None:
    return float(value) if _is_number(value) else None


def _how_it_went(place: AdapterPlace, told: _Told) -> Outcome:
    labelled, unlabelled = told.count_or_none("num_labelled"), told.count_or_none("num_unlabelled") or 0
    longer = place.alignment.unlabelled_epochs if place.alignment and unlabelled else None
    return Outcome(
        num_labelled=told.count_or_none("num_examples") if labelled is None else labelled,
        num_unlabelled=unlabelled,
        num_validation=told.count_or_none("num_validation"),
        max_epochs=longer or place.training.epochs,
        num_epochs=told.count("num_epochs"),
        best_epoch=told.count("best_epoch"),
        num_steps=told.count("num_steps"),
        converged=told.truth("converged"),
        learning_rate=place.training.learning_rate,
        seed=place.training.seed,
        improved=told.values.get("improved") is None or told.truth("improved"),
    )


def _curves(told: _Told) -> Iterator[Curve]:
    losses, before = told.numbers("validation_losses"), told.values.get("loss_before")
    at_epoch = {0.0: float(before)} if _is_number(before) else {}
    at_epoch |= {float(epoch): loss for epoch, loss in enumerate(losses, 1)}
    yield Curve("validation_loss", list(at_epoch), [_six(loss) for loss in at_epoch.values()])
    first = told.values.get("before")
    log = [*([first] if isinstance(first, dict) else []), *told.log()]
    for key, name in (*_OVER_STEPS.items(), *_OVER_EPOCHS.items()):
        points = [
            (float(epoch), float(value))
            for epoch, value in ((line.get("epoch"), line.get(key)) for line in log)
            if _is_number(epoch) and _is_number(value)
        ]
        if points:
            epochs, values = zip(*(points if key in _OVER_EPOCHS else _thinned(points)), strict=True)
            yield Curve(name, [_six(epoch) for epoch in epochs], [_six(value) for value in values])


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the means over stretches of equal length, at most `MAX_POINTS`."""
    size = -(-len(points) // MAX_POINTS)
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    return [(sum(at for at, _ in part) / len(part), sum(value for _, value in part) / len(part)) for part in parts]


def _six(value: float) -> float:
    return float(f"{value:.6g}")
