"""What is given hostile input: every place where muscle reads something from outside. One function for each.

A target takes a source of chance and an empty folder, and says what it did. It ends, or raises one of the project's own errors; all else is a
fault.
"""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from muscle.commands.shell import assignments
from muscle.config import load_config, load_stage_settings
from muscle.errors import MuscleError
from muscle.flips import llama_cpp
from muscle.flips.cause_rules import read_rules
from muscle.flips.compare import compare
from muscle.flips.history import history
from muscle.gate import load_baseline, save_baseline, to_annotations, to_junit, to_markdown
from muscle.gate.policy import load_policy
from muscle.gate.run import gate
from muscle.gate.terminal import print_gate
from muscle.plan.confirm import choose, confirm, read_items, write_items
from muscle.predictions import read_run
from muscle.predictions.convert import convert
from muscle.report import read_report, whole_report
from muscle.report.history import history_markdown, print_history
from muscle.report.html import render_html
from muscle.report.markdown import render_markdown
from muscle.report.terminal import print_report
from muscle.tasks.custom import load_task
from robust import seeds
from robust.files import Bundle
from robust.noise import damage, deepened, hurt, odd_value, swap_values
from robust.yaml_noise import ODD_YAML, hurt_yaml

Target = Callable[[random.Random, Path], str]


def _console() -> Any:
    from rich.console import Console

    return Console(file=io.StringIO(), width=100)


def _runs(chance: random.Random) -> tuple[str, Bundle, Bundle]:
    """Choose an old and a new run; of what harnesses wrote, the same one twice."""
    written = seeds.written_runs()
    if chance.random() < 0.75:
        name = chance.choice(list(written))
        return (name, *written[name])
    kept = seeds.harness_runs()
    name = chance.choice(list(kept))
    return name, kept[name], kept[name]


def _hurt_pair(chance: random.Random, folder: Path) -> tuple[str, Path, Path]:
    """Write an old run and a new one, one of them hurt, or both."""
    name, old, new = _runs(chance)
    if chance.random() < 0.2:
        way, first = hurt(old.copy(), folder / "old", chance)
    else:
        first = old.write(folder / "old")
    way, second = hurt(new.copy(), folder / "new", chance)
    return f"{name}: {way}", first, second


def read(chance: random.Random, folder: Path) -> str:
    """Read a run."""
    name, run, _ = _runs(chance)
    way, path = hurt(run.copy(), folder, chance)
    read_run(path)
    return f"{name}: {way}"


def gated(chance: random.Random, folder: Path) -> str:
    """Judge two runs, and write all that a pipeline reads."""
    told, old, new = _hurt_pair(chance, folder)
    result = gate(old, new)
    print_gate(result.report, _console())
    to_markdown(result.report)
    to_junit(result.report)
    to_annotations(result.report)
    return told


def compared(chance: random.Random, folder: Path) -> str:
    """Compare two runs, and render the report in every form."""
    told, old, new = _hurt_pair(chance, folder)
    report = compare(old, new).to_json()
    print_report(report, _console())
    render_markdown(report)
    if chance.random() < 0.3:
        render_html(report)
    return told


def converted(chance: random.Random, folder: Path) -> str:
    """Convert a run, and read it again."""
    name, run, _ = _runs(chance)
    way, path = hurt(run.copy(), folder / "run", chance)
    to, out = chance.choice(
        (("records", "x.jsonl"), ("records", "x.parquet"), ("records", "x"), ("eee", "x"))
    )
    convert(path, folder / out, to=to)  # type: ignore[arg-type]
    read_run(folder / out)
    return f"{name}: {way}"


def followed(chance: random.Random, folder: Path) -> str:
    """Follow three versions."""
    told, old, new = _hurt_pair(chance, folder)
    found = history([old, new, chance.choice((old, new))], names=["a", "b", "c"]).to_json()
    print_history(found, _console())
    history_markdown(found)
    return told


def _yaml(chance: random.Random, folder: Path, kind: str) -> tuple[str, Path]:
    way, data = hurt_yaml(chance.choice(seeds.yaml_texts()[kind]), chance)
    path = folder / f"{kind}.yaml"
    path.write_bytes(data)
    return way, path


@lru_cache(maxsize=1)
def _two_runs() -> tuple[Any, Any]:
    """Return two whole runs, read."""
    import tempfile

    old, new = seeds.written_runs()["jsonl"]
    folder = Path(tempfile.mkdtemp())
    return read_run(old.write(folder / "old")), read_run(new.write(folder / "new"))


def policy(chance: random.Random, folder: Path) -> str:
    """Read a policy, and judge by it where it can be read."""
    way, path = _yaml(chance, folder, "policy")
    rules = load_policy(path)
    if chance.random() < 0.3:
        print_gate(gate(*_two_runs(), rules).report, _console())
    return way


def causes(chance: random.Random, folder: Path) -> str:
    """Read rules for causes, and use them where they can be read."""
    way, path = _yaml(chance, folder, "causes")
    read_rules(path)
    if chance.random() < 0.3:
        compare(*_two_runs(), causes=path)
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
    row = swap_values(
        {"id": "1", "goal": "for soup", "a": "bowl", "b": "fork", "label": 0, "kind": "x"}, chance
    )
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


@lru_cache(maxsize=1)
def _reports() -> tuple[str, ...]:
    """Return reports of a comparison and of a gate, as JSON."""
    runs = _two_runs()
    found = [compare(*runs, rerun=runs[0]).to_json(), gate(*runs).report]
    return tuple(json.dumps(report) for report in found)


def _hurt_json(text: str, chance: random.Random) -> tuple[str, bytes]:
    if chance.random() < 0.25:
        return damage(text.encode(), chance)
    value = swap_values(json.loads(text), chance)
    return "swap values", deepened(json.dumps(value).encode(), chance)


def report(chance: random.Random, folder: Path) -> str:
    """Render a kept report again."""
    way, data = _hurt_json(chance.choice(_reports()), chance)
    (folder / "report.json").write_bytes(data)
    found, _ = read_report(folder)
    with whole_report(folder):
        print_report(found, _console())
        render_markdown(found)
        render_html(found)
    return way


def baseline(chance: random.Random, folder: Path) -> str:
    """Read a kept baseline of which one of the two files is hurt."""
    save_baseline(_two_runs()[0], "main", folder)
    path = folder / chance.choice(("main.json", "main.json", "main.parquet"))
    if path.suffix == ".json":
        way, data = _hurt_json(path.read_text(), chance)
    else:
        way, data = damage(path.read_bytes(), chance)
    path.write_bytes(data)
    run = load_baseline("main", folder)
    if chance.random() < 0.3:
        gate(run, _two_runs()[1])
    save_baseline(run, "main", folder)
    return way


def confirmed(chance: random.Random, folder: Path) -> str:
    """Judge fresh answers to a list of items that was hurt."""
    old, new = _two_runs()
    path = folder / chance.choice(("items.jsonl", "items.csv"))
    write_items(path, choose(old, new, share=0.3))
    if path.suffix == ".jsonl" and chance.random() < 0.6:
        lines = swap_values([json.loads(line) for line in path.read_text().splitlines()], chance)
        rows = lines if isinstance(lines, list) else [lines]
        way, data = (
            "swap values",
            b"".join(deepened(json.dumps(row).encode(), chance) + b"\n" for row in rows),
        )
    else:
        way, data = damage(path.read_bytes(), chance)
    path.write_bytes(data)
    asked = read_items(path)
    fresh = [_twice(run) for run in (old, new)]
    confirm(asked, *fresh)
    return way


def _twice(run: Any) -> Any:
    from dataclasses import replace

    import polars as pl

    frame = run.frame
    return replace(run, frame=pl.concat([frame, frame.with_columns(repeat=pl.lit(1, pl.Int64))]))


def closeness(chance: random.Random, folder: Path) -> str:
    """Read what llama.cpp printed."""
    way, data = damage(seeds.CLOSENESS.encode(), chance)
    if chance.random() < 0.3:
        way, data = damage(data, chance)
    path = folder / "kl.txt"
    path.write_bytes(data)
    found = llama_cpp.read(path)
    llama_cpp.lines(found, llama_cpp.parse(seeds.CLOSENESS))
    llama_cpp.to_json(found, None)
    return way


@lru_cache(maxsize=1)
def _tiny_adapter() -> tuple[Any, dict[str, bytes]]:
    """Return a tiny base and the files of an adapter on it."""
    import tempfile

    import tiny
    from muscle.adapters import new_adapter, save_adapter
    from muscle.config import BaseConfig, LoraSettings
    from muscle.models import load_base

    root = Path(tempfile.mkdtemp())
    base = load_base(BaseConfig(base=str(tiny.save_base(root / "base", seed=1))), precision="float32")
    (root / "adapter").mkdir()
    save_adapter(new_adapter(base, LoraSettings(r=2, alpha=4.0)), root / "adapter", base=base, note={})
    return base, {path.name: path.read_bytes() for path in (root / "adapter").iterdir()}


def adapter(chance: random.Random, folder: Path) -> str:
    """Load an adapter of which one file is hurt."""
    from muscle.adapters import load_adapter

    base, files = _tiny_adapter()
    hurt_name = chance.choices(list(files), [1 if name.endswith("tensors") else 4 for name in files])[0]
    way = "none"
    for name, data in files.items():
        if name == hurt_name:
            is_json = name.endswith(".json")
            way, data = _hurt_json(data.decode(), chance) if is_json else damage(data, chance)
        (folder / name).write_bytes(data)
    load_adapter(base, folder)
    return f"{hurt_name}: {way}"


TARGETS: dict[str, tuple[Target, int]] = {
    "read": (read, 24_000),
    "gate": (gated, 3_000),
    "compare": (compared, 2_000),
    "convert": (converted, 3_500),
    "history": (followed, 1_000),
    "policy": (policy, 3_000),
    "causes": (causes, 2_000),
    "update": (update, 3_000),
    "task": (task, 2_000),
    "setting": (setting, 1_500),
    "report": (report, 2_000),
    "baseline": (baseline, 1_000),
    "confirm": (confirmed, 1_000),
    "closeness": (closeness, 2_000),
    "adapter": (adapter, 1_000),
}
"""Every target, and how many of 52,000 cases are its own."""
WITH_TORCH = ("adapter",)


def try_case(name: str, number: int, folder: Path) -> dict[str, Any]:
    """Run one case; say what was done and how it ended.

    Returns:
        `way`, and `end`: "read", "refused", or the fault.
    """
    from robust.verdicts import place_of

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
