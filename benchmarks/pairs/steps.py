"""What is trained: the two task adapters, their controls, and the methods that are held against them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import Bench, Side

from muscle.config.settings import AlignmentSettings, TrainingSettings
from muscle.errors import ConfigError
from muscle.files import read_json, write_json
from muscle.provenance import fingerprint
from muscle.training.align import align
from muscle.training.finetune import finetune
from muscle.training.run import TrainingResult


@dataclass(frozen=True)
class Step:
    """One adapter, or none.

    Attributes:
        name: of its folder and file.
        words: what it is, in the table.
        side: the base that it stands on.
        train: makes the adapter; None is the bare base.
        needs: steps whose adapters it reads.
    """

    name: str
    words: str
    side: Side
    train: Callable[[Bench, Path], TrainingResult] | None
    needs: tuple[str, ...] = ()


def task_adapter(side: Side, *, again: bool = False) -> Callable[[Bench, Path], TrainingResult]:
    """Return what trains a token adapter; `again` with another seed on the same texts."""

    def train(bench: Bench, out: Path) -> TrainingResult:
        return finetune(
            bench.base(side),
            bench.task,
            train_examples=bench.examples("train"),
            validation_examples=bench.examples("validation"),
            lora=bench.settings.lora,
            settings=bench.training(again=again),
            out=out,
            description=out.name,
        )

    return train


def longer(bench: Bench, out: Path) -> TrainingResult:
    """Train the plain update's adapter on with cross-entropy, as long as Eq. 1's trains."""
    return finetune(
        bench.base("new"),
        bench.task,
        train_examples=bench.examples("train"),
        validation_examples=bench.examples("validation"),
        lora=bench.settings.lora,
        settings=bench.training(),
        out=out,
        start_from=bench.adapter("new"),
        description=out.name,
    )


def aligned(
    *, old: tuple[Side, str] = ("old", "old"), training: dict[str, object] | None = None, **alignment: object
) -> Callable[[Bench, Path], TrainingResult]:
    """Return what trains a compatibility adapter by `muscle.training.align`.

    Args:
        old: base and adapter that stand in the old model's place.
        training: keys of `training` that differ.
        alignment: keys of `alignment` that differ.
    """

    def train(bench: Bench, out: Path) -> TrainingResult:
        side, teacher = old
        chosen = {**bench.settings.alignment.model_dump(), **alignment}
        settings = {**bench.training().model_dump(), **(training or {})}
        return align(
            bench.base(side),
            bench.adapter(teacher),
            bench.base("new"),
            bench.adapter("new"),
            bench.task,
            train_examples=bench.examples("train"),
            validation_examples=bench.examples("validation"),
            alignment=AlignmentSettings.model_validate(chosen),
            settings=TrainingSettings.model_validate(settings),
            out=out,
            description=out.name,
        )

    return train


STEPS: tuple[Step, ...] = (
    Step("old", "old", "old", task_adapter("old")),
    Step("new", "plain update", "new", task_adapter("new")),
    Step("floor", "floor: the old one trained again, other seed", "old", task_adapter("old", again=True)),
    Step("twin", "twin: the plain update trained again, other seed", "new", task_adapter("new", again=True)),
    Step("bare", "bare new base", "new", None),
    Step("eq1", "Eq. 1, T = 2", "new", aligned(), ("old", "new")),
    Step("longer", "plain update trained on, cross-entropy", "new", longer, ("new",)),
)


def run_step(bench: Bench, step: Step) -> None:
    """Train a step's adapter, unless that is done.

    Raises:
        ConfigError: it was trained with other settings or data.
    """
    out = bench.adapter(step.name)
    note = out.with_name(f"{step.name}.json")
    identity = fingerprint(
        [bench.settings.model_dump(), [example.id for example in bench.examples("train")], step.words]
    )
    if note.is_file():
        if read_json(note)["identity"] != identity:
            raise ConfigError(f"{note}: trained with other settings; expected another --out for these")
        return
    if step.train is None:
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    start, cpu = time.monotonic(), time.process_time()
    result = step.train(bench, out)
    write_json(
        note,
        {
            "identity": identity,
            "seconds": round(time.monotonic() - start, 1),
            "cpu_seconds": round(time.process_time() - cpu, 1),
            "best_epoch": result.best_epoch,
            "validation_losses": result.validation_losses,
            "num_steps": result.num_steps,
        },
    )
