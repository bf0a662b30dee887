"""Kept files that are hurt: reports, baselines, lists for `confirm`, texts of llama.cpp, adapters."""

from __future__ import annotations

import json
import random
import tempfile
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl

from muscle import compare
from muscle.flips.explaining import llama_cpp
from muscle.gate import load_baseline, save_baseline
from muscle.gate.run import gate
from muscle.plan.confirm import confirm
from muscle.plan.item_list import choose, read_items, write_items
from muscle.report import read_report, whole_report
from muscle.report.page.html import render_html
from muscle.report.text.markdown import render_markdown
from muscle.report.text.terminal import print_report
from robust import seeds
from robust.noise import damage, deepened, swap_values
from robust.run_targets import console, two_runs


@lru_cache(maxsize=1)
def _reports() -> tuple[str, ...]:
    """Return reports of a comparison and of a gate, as JSON."""
    runs = two_runs()
    found = [compare(*runs, rerun=runs[0]), gate(*runs)]
    return tuple(json.dumps(each.to_json()) for each in found)


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
        print_report(found, console())
        render_markdown(found)
        render_html(found)
    return way


def baseline(chance: random.Random, folder: Path) -> str:
    """Read a kept baseline of which one of the two files is hurt."""
    save_baseline(two_runs()[0], "main", folder)
    path = folder / chance.choice(("main.json", "main.json", "main.parquet"))
    if path.suffix == ".json":
        way, data = _hurt_json(path.read_text(), chance)
    else:
        way, data = damage(path.read_bytes(), chance)
    path.write_bytes(data)
    run = load_baseline("main", folder)
    if chance.random() < 0.3:
        gate(run, two_runs()[1])
    save_baseline(run, "main", folder)
    return way


def confirmed(chance: random.Random, folder: Path) -> str:
    """Judge fresh answers to a list of items that was hurt."""
    old, new = two_runs()
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
    from muscle.config.settings import BaseConfig, LoraSettings
    from muscle.models.adapters import new_adapter, save_adapter
    from muscle.models.bases import load_base
    from tiny.bases import save_base

    root = Path(tempfile.mkdtemp())
    base = load_base(BaseConfig(base=str(save_base(root / "base", seed=1))), precision="float32")
    (root / "adapter").mkdir()
    save_adapter(new_adapter(base, LoraSettings(r=2, alpha=4.0)), root / "adapter", base=base, note={})
    return base, {path.name: path.read_bytes() for path in (root / "adapter").iterdir()}


def adapter(chance: random.Random, folder: Path) -> str:
    """Load an adapter of which one file is hurt."""
    from muscle.models.adapters import load_adapter

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
