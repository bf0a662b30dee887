"""What is given hostile input: every place where muscle reads something from outside. One function for each.

A target takes a source of chance and an empty folder, and says what it did. It ends, or raises one of the project's own
errors; all else is a fault.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from muscle import MuscleError
from robust import kept_targets, route_targets, run_targets, yaml_targets
from robust.verdicts import place_of

Target = Callable[[random.Random, Path], str]

TARGETS: dict[str, tuple[Target, int]] = {
    "read": (run_targets.read, 24_000),
    "gate": (run_targets.gated, 3_000),
    "compare": (run_targets.compared, 2_000),
    "convert": (run_targets.converted, 3_500),
    "history": (run_targets.followed, 1_000),
    "policy": (yaml_targets.policy, 3_000),
    "causes": (yaml_targets.causes, 2_000),
    "update": (yaml_targets.update, 3_000),
    "task": (yaml_targets.task, 2_000),
    "setting": (yaml_targets.setting, 1_500),
    "report": (kept_targets.report, 2_000),
    "baseline": (kept_targets.baseline, 1_000),
    "confirm": (kept_targets.confirmed, 1_000),
    "rule": (route_targets.rule, 1_000),
    "labels": (route_targets.labels, 1_000),
    "closeness": (kept_targets.closeness, 2_000),
    "adapter": (kept_targets.adapter, 1_000),
}
"""Every target, and how many of 54,000 cases are its own."""
WITH_TORCH = ("adapter",)


def try_case(name: str, number: int, folder: Path) -> dict[str, Any]:
    """Run one case; say what was done and how it ended.

    Returns:
        `way`, and `end`: "read", "refused", or the fault.
    """
    chance = random.Random(f"{name}/{number}")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return {"way": TARGETS[name][0](chance, folder), "end": "read"}
    except MuscleError as error:
        message = str(error)
        return {"way": "", "end": "refused", "message": message[:300], "length": len(message)}
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return {"way": "", "end": place_of(error)}
