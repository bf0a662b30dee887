"""Runs that are hurt: read, judged, compared, converted and followed."""

from __future__ import annotations

import io
import random
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from muscle import compare, history, read_run
from muscle.gate import to_annotations, to_junit, to_markdown
from muscle.gate.run import gate
from muscle.gate.terminal import print_gate
from muscle.predictions.writers.convert import convert
from muscle.report.page.html import render_html
from muscle.report.text.history import history_markdown, print_history
from muscle.report.text.markdown import render_markdown
from muscle.report.text.terminal import print_report
from robust import seeds
from robust.files import Bundle
from robust.noise import hurt


@lru_cache(maxsize=1)
def two_runs() -> tuple[Any, Any]:
    """Return two whole runs, read."""
    old, new = seeds.written_runs()["jsonl"]
    folder = Path(tempfile.mkdtemp())
    return read_run(old.write(folder / "old")), read_run(new.write(folder / "new"))


def console() -> Any:
    """Return a terminal that nobody sees."""
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
    print_gate(result.report, console())
    to_markdown(result.report)
    to_junit(result.report)
    to_annotations(result.report)
    return told


def compared(chance: random.Random, folder: Path) -> str:
    """Compare two runs, and render the report in every form."""
    told, old, new = _hurt_pair(chance, folder)
    report = compare(old, new).report
    print_report(report, console())
    render_markdown(report)
    if chance.random() < 0.3:
        render_html(report)
    return told


def converted(chance: random.Random, folder: Path) -> str:
    """Convert a run, and read it again."""
    name, run, _ = _runs(chance)
    way, path = hurt(run.copy(), folder / "run", chance)
    to, out = chance.choice((("records", "x.jsonl"), ("records", "x.parquet"), ("records", "x"), ("eee", "x")))
    convert(path, folder / out, to=to)  # type: ignore[arg-type]
    read_run(folder / out)
    return f"{name}: {way}"


def followed(chance: random.Random, folder: Path) -> str:
    """Follow three versions."""
    told, old, new = _hurt_pair(chance, folder)
    found = history([old, new, chance.choice((old, new))], names=["a", "b", "c"])
    print_history(found, console())
    history_markdown(found)
    return told
