"""YAML that is hurt: policies, rules for causes, updates, tasks, and settings of the command line."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from muscle import CompareOptions, compare, load_config
from muscle.commands.shell import assignments
from muscle.config.update_file import load_stage_settings
from muscle.flips.explaining.cause_rules import read_rules
from muscle.gate.policy import load_policy
from muscle.gate.run import gate
from muscle.gate.terminal import print_gate
from muscle.tasks.own.task_file import load_task
from robust import seeds
from robust.noise import odd_value, swap_values
from robust.run_targets import console, two_runs
from robust.yaml_noise import ODD_YAML, hurt_yaml


def _yaml(chance: random.Random, folder: Path, kind: str) -> tuple[str, Path]:
    way, data = hurt_yaml(chance.choice(seeds.yaml_texts()[kind]), chance)
    path = folder / f"{kind}.yaml"
    path.write_bytes(data)
    return way, path


def policy(chance: random.Random, folder: Path) -> str:
    """Read a policy, and judge by it where it can be read."""
    way, path = _yaml(chance, folder, "policy")
    rules = load_policy(path)
    if chance.random() < 0.3:
        print_gate(gate(*two_runs(), rules).report, console())
    return way


def causes(chance: random.Random, folder: Path) -> str:
    """Read rules for causes, and use them where they can be read."""
    way, path = _yaml(chance, folder, "causes")
    read_rules(path)
    if chance.random() < 0.3:
        compare(*two_runs(), options=CompareOptions(causes=path))
    return way


def update(chance: random.Random, folder: Path) -> str:
    """Read an update's YAML, with a setting from the command line now and then."""
    way, path = _yaml(chance, folder, "update")
    load_config(path, overrides=_settings(chance) if chance.random() < 0.2 else None)
    return way


def task(chance: random.Random, folder: Path) -> str:
    """Read a task's YAML, and make an example by it where it can be read."""
    way, path = _yaml(chance, folder, "task")
    read_task = load_task(path)
    row = swap_values({"id": "1", "goal": "for soup", "a": "bowl", "b": "fork", "label": 0, "kind": "x"}, chance)
    if isinstance(row, dict) and set(read_task.columns) <= set(row):  # as the reader of a task's data asks
        read_task.to_example(row, 0)
    return way


_KEYS = (
    "training.epochs",
    "training.learning_rate",
    "lora.r",
    "alignment.training.epochs",
    "output",
    "report.title",
)


def _settings(chance: random.Random) -> dict[str, Any]:
    values = [chance.choice(ODD_YAML), str(odd_value(chance))[:2_000], "3", ""]
    keys = [*_KEYS, "tasks", "old.base", "a..b", "", ".", "\u202e.x", "training", "training.epochs.x"]
    words = [f"{chance.choice(keys)}={chance.choice(values)}" for _ in range(chance.choice((1, 2)))]
    return assignments(words)


def setting(chance: random.Random, folder: Path) -> str:
    """Take a setting from the command line."""
    path = folder / "update.yaml"
    path.write_text(seeds.UPDATE)
    overrides = _settings(chance)
    load_config(path, overrides=overrides)
    load_stage_settings(None, overrides={k: v for k, v in overrides.items() if k.startswith("training")})
    return "set"
