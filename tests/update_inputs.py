"""The inputs of an update of two tiny bases, its configuration, and a finished run's adapters in another's place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from muscle.config.update_file import UpdateConfig, load_config
from muscle.yaml_files import yaml_text
from tiny import TASK_YAML, save_base, write_choice_rows

TRAINING = {
    "epochs": 1,
    "learning_rate": 0.005,
    "warmup_steps": 2,
    "batch_size": 8,
    "gradient_accumulation": 1,
    "precision": "float32",
}


def write_update_inputs(
    root: Path, *, task: str = TASK_YAML, train: int = 40, test: int = 16, more: int = 30, kept: tuple[str, ...] = ()
) -> Path:
    """Write bases, task and data into a folder, and return it.

    Args:
        root: the folder.
        task: the task's YAML.
        train: rows to train on, in train.jsonl.
        test: rows to test on, in test.jsonl.
        more: rows without labels, in more.jsonl.
        kept: the columns of these; all but the label without it.
    """
    (root / "tools.yaml").write_text(task)
    write_choice_rows(root / "train.jsonl", train)
    write_choice_rows(root / "test.jsonl", test, start=1000)
    path = write_choice_rows(root / "more.jsonl", more, start=500)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    unlabelled = [{key: row[key] for key in kept or row if key != "label"} for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in unlabelled))
    save_base(root / "old", seed=1)
    save_base(root / "new", seed=2)
    return root


def write_sweep_inputs(
    root: Path, *, sweep: Mapping[str, object], train: int, test: int, lora: Mapping[str, object] | None = None
) -> Path:
    """Write the inputs of an update with a third base, and its update.yaml with a sweep, into a folder; return it.

    Args:
        root: the folder.
        sweep: the section of that name.
        train: as in `write_update_inputs`.
        test: as there.
        lora: keys of `lora` that differ.
    """
    write_update_inputs(root, train=train, test=test)
    save_base(root / "third", seed=3)
    config = {
        "old": "old",
        "new": "new",
        "tasks": [{"task": "tools.yaml", "train": "train.jsonl", "test": "test.jsonl"}],
        "lora": {"r": 4, "alpha": 8, **(lora or {})},
        "training": TRAINING,
        "sweep": sweep,
    }
    (root / "update.yaml").write_text(yaml_text(config))
    return root


def configured(
    root: Path,
    out: Path,
    *,
    task: str = "tools.yaml",
    training: Mapping[str, object] = TRAINING,
    control: bool = True,
    **alignment: Any,
) -> UpdateConfig:
    """Return the update with a method, written beside its inputs."""
    config = {
        "old": "old",
        "new": "new",
        "tasks": [{"task": task, "train": "train.jsonl", "test": "test.jsonl"}],
        "lora": {"r": 4, "alpha": 8},
        "training": dict(training),
        "alignment": alignment,
        "evaluation": {"control": control, "bare_base": False},
        "output": str(out),
    }
    path = root / f"{out.name}.yaml"
    path.write_text(yaml_text(config))
    return load_config(path)


def with_adapters(config: UpdateConfig, folder: Path) -> UpdateConfig:
    """Return an update that takes the task adapters of a finished run over."""
    given = {side: {"tools": str(folder / "adapters" / side / "tools")} for side in ("old", "new")}
    sides = {side: getattr(config, side).located(getattr(config, side).base, given[side]) for side in ("old", "new")}
    return config.model_copy(update=sides)
