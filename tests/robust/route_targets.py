"""Rules and lists of labels of `muscle route` that are hurt."""

from __future__ import annotations

import random
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl

from helpers.two_models import two_answers, two_runs
from muscle.route import (
    apply_route,
    check_route,
    fit_route,
    list_to_label,
    read_labels,
    read_rule,
    write_list,
    write_rule,
)
from muscle.route.rule_file import RuleFile
from muscle.route.shown.page import render_route
from muscle.route.shown.terminal import print_worth
from robust.noise import damage
from robust.run_targets import console
from robust.yaml_noise import hurt_yaml

ODD_NUMBERS = ("0", "1", "-1", "1e300", "1e-300", "-1e300", "1e999", ".nan", ".inf", "infinite", "null", "7")


@lru_cache(maxsize=1)
def _fitted() -> tuple[tuple[RuleFile, Any], ...]:
    """Return a gate and a stack, each with the runs that it was fitted on."""
    return tuple((fit_route(*runs).rule, runs) for runs in (two_answers(150), two_runs(100)))


def rule(chance: random.Random, folder: Path) -> str:
    """Read a rule, and answer and report by it where it can be read."""
    fitted, runs = chance.choice(_fitted())
    path = folder / "rule.yaml"
    write_rule(path, fitted)
    text = path.read_text()
    if chance.random() < 0.5:
        numbers = list(re.finditer(r"(?<=: )-?[0-9.]+$", text, re.MULTILINE))
        found = chance.choice(numbers)
        way, data = (
            "another number",
            (text[: found.start()] + chance.choice(ODD_NUMBERS) + text[found.end() :]).encode(),
        )
    else:
        way, data = hurt_yaml(text, chance)
    path.write_bytes(data)
    read = read_rule(path)
    apply_route(read, *runs)
    report = check_route(read, *runs, leave_out_fitted=chance.random() < 0.7)
    print_worth(report, console())
    render_route(report)
    return way


def labels(chance: random.Random, folder: Path) -> str:
    """Read a list of labels, and fit by it where it can be read."""
    old, new = (frame.with_columns(correct=pl.lit(None, dtype=pl.Boolean)) for frame in two_answers(400))
    path = folder / chance.choice(("list.csv", "list.jsonl"))
    write_list(path, list_to_label(old, new, num=120))
    text = path.read_text().replace(",\n", ",old\n").replace('"label": null', '"label": "new"')
    way, data = damage(text.encode(), chance)
    path.write_bytes(data)
    fit_route(old, new, labels=read_labels(path))
    return way
