"""The inputs of an update of two tiny bases, its configuration, and a finished run's adapters in another's place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from helpers.command_line import Done, muscle
from helpers.json_lines import write_lines
from muscle.config.update_file import UpdateConfig, load_config
from muscle.yaml_files import yaml_text
from tiny.bases import TASK_YAML, save_base, write_choice_rows

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
    write_lines(path, *unlabelled)
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
    write_update_yaml(root / "update.yaml", lora={"r": 4, "alpha": 8, **(lora or {})}, sweep=sweep)
    return root


def write_update_yaml(
    path: Path, *, task: str = "tools.yaml", training: Mapping[str, object] = TRAINING, **sections: object
) -> Path:
    """Write the update of these inputs beside them; further sections take the place of the defaults."""
    config = {
        "old": "old",
        "new": "new",
        "tasks": [{"task": task, "train": "train.jsonl", "test": "test.jsonl"}],
        "lora": {"r": 4, "alpha": 8},
        "training": dict(training),
        **sections,
    }
    path.write_text(yaml_text(config))
    return path


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
    evaluation = {"control": control, "bare_base": False}
    path = root / f"{out.name}.yaml"
    write_update_yaml(path, task=task, training=training, alignment=alignment, evaluation=evaluation, output=str(out))
    return load_config(path)


def run_align(root: Path, adapters: Path, out: Path, *more: object, **alignment: object) -> Done:
    """Run `muscle align` on these inputs, from the task adapters of a finished run."""
    (root / "settings.yaml").write_text(yaml_text({"training": TRAINING, "alignment": alignment}))
    arguments = ["align", "--task", str(root / "tools.yaml"), "--train", str(root / "train.jsonl")]
    for side in ("old", "new"):
        arguments += [f"--{side}", f"{root / side}+{adapters / side / 'tools'}"]
    return muscle(*arguments, "--config", root / "settings.yaml", "--out", out, *more)


def align_alone(root: Path, adapters: Path, out: Path, **alignment: object) -> dict[str, Any]:
    """Do so, and return what the training wrote of itself."""
    done = run_align(root, adapters, out, **alignment)
    assert done.code == 0, done.err
    return json.loads((out / "training.json").read_text())


def with_adapters(config: UpdateConfig, folder: Path) -> UpdateConfig:
    """Return an update that takes the task adapters of a finished run over."""
    given = {side: {"tools": str(folder / "adapters" / side / "tools")} for side in ("old", "new")}
    sides = {side: getattr(config, side).located(getattr(config, side).base, given[side]) for side in ("old", "new")}
    return config.model_copy(update=sides)
