"""Two tiny bases with task adapters on one choice task, and trainings of compatibility adapters on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file

from muscle.config.alignment import AlignmentSettings
from muscle.config.methods import EngineName
from muscle.config.settings import BaseConfig, LoraSettings, TrainingSettings
from muscle.models.bases import LoadedBase, load_base
from muscle.tasks import get_task, load_examples, load_unlabelled, split_train_validation
from muscle.tasks.data import Split
from muscle.tasks.task import Example, Task
from muscle.training.align import align
from muscle.training.finetune import finetune
from muscle.training.run import TrainingResult
from tiny.bases import TASK_YAML, save_base, write_choice_rows

LORA = LoraSettings(r=4, alpha=8)
SETTINGS = TrainingSettings(
    epochs=2, learning_rate=5e-3, warmup_steps=2, batch_size=8, gradient_accumulation=1, precision="float32"
)
Side = tuple[LoadedBase, Path]
"""A base, and the folder of an adapter on it."""


class TinyPair(NamedTuple):
    """An update: `root` has `adapter-old` and `adapter-new`, `further` is 40 items whose labels nobody looks at."""

    root: Path
    task: Task
    split: Split
    bases: dict[str, LoadedBase]
    further: tuple[Example, ...]

    def side(self, name: str) -> Side:
        """Return a base with its task adapter."""
        return self.bases[name], self.root / f"adapter-{name}"


def tiny_base(root: Path, name: str, *, seed: int, **shape: int) -> LoadedBase:
    """Write a base of some shape, and load it."""
    folder = save_base(root / name, seed=seed, **shape)
    return load_base(BaseConfig(base=str(folder)), precision="float32", device="cpu")


def tiny_task(root: Path, items: int) -> tuple[Task, Split]:
    """Write the choice task and so many items, and return it with their split."""
    (root / "tools.yaml").write_text(TASK_YAML)
    task = get_task(root / "tools.yaml")
    return task, split_train_validation(load_examples(task, write_choice_rows(root / "train.jsonl", items)), seed=0)


def tiny_pair(
    root: Path, *, bases: dict[str, LoadedBase] | None = None, items: int = 60, **settings: object
) -> TinyPair:
    """Make the update; `settings` are of the task adapters."""
    task, split = tiny_task(root, items)
    bases = bases or {name: tiny_base(root, name, seed=seed) for name, seed in (("old", 1), ("new", 2))}
    known = (*split.train, *split.validation)
    further = load_unlabelled(task, write_choice_rows(root / "more.jsonl", 40, start=500), known=known)
    pair = TinyPair(root, task, split, bases, further)
    for name, base in bases.items():
        fine_tuned(pair, base, root / f"adapter-{name}", **settings)
    return pair


def fine_tuned(pair: TinyPair, base: LoadedBase, out: Path, *, count: int | None = None, **settings: object) -> Side:
    """Train a task adapter on some or all of the items."""
    finetune(
        base,
        pair.task,
        train_examples=pair.split.train[:count],
        validation_examples=pair.split.validation,
        lora=LORA,
        settings=SETTINGS.model_copy(update=settings),
        out=out,
    )
    return base, out


def trained(
    pair: TinyPair,
    out: Path,
    *,
    settings: TrainingSettings = SETTINGS,
    further: tuple[Example, ...] = (),
    old: Side | None = None,
    new: Side | None = None,
    engine: EngineName | None = None,
    store: Path | None = None,
    **alignment: Any,
) -> TrainingResult:
    """Train a compatibility adapter by a method; `old` and `new` stand in the sides' place."""
    return align(
        *(old or pair.side("old")),
        *(new or pair.side("new")),
        pair.task,
        train_examples=pair.split.train,
        validation_examples=pair.split.validation,
        alignment=AlignmentSettings(**alignment),
        settings=settings,
        out=out,
        engine=engine,
        store=store,
        unlabelled_examples=further,
        lora=LORA,
    )


def aligned(pair: TinyPair, out: Path, **choices: Any) -> tuple[TrainingResult, dict[str, Any]]:
    """Return how a training by a method went, and what it wrote about itself."""
    return trained(pair, out, **choices), json.loads((out / "training.json").read_text())


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return an adapter's tensors."""
    return load_file(folder / "adapter_model.safetensors")
