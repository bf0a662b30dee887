"""A run's numbers by `muscle.compare`, kept as counts and rates without texts: benchmarks/results/pairs/NAME.json."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from answers import UNITS, Unit, records
from bench import HERE, Bench

import muscle
from muscle.files import read_json, write_json
from muscle.flips.measuring.side_numbers import SideNumbers
from muscle.provenance import versions

KEPT = HERE.parent / "results" / "pairs"
NUMBERS = muscle.CompareOptions(max_flips=0)
"""No list of flips, which would take half of the time and is not kept."""
RATES = ("accuracy_new", "negative_flip_rate", "positive_flip_rate", "inconsistency_rate")


def keep(bench: Bench, words: Mapping[str, str], command: str) -> Path:
    """Compare every model that has answered with the old one and the plain update, and write what was found.

    Args:
        bench: the run.
        words: name of a model to what it is, in the table's order.
        command: what made it.

    Raises:
        DataError: records cannot be read.
        OutputError: the file cannot be written.
    """
    rows = {name: _row(bench, name, text) for name, text in words.items()}
    path = KEPT / f"{bench.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(
        path,
        {
            "command": command,
            "pair": bench.pair,
            "task": bench.task_name,
            "seed": bench.seed,
            "epoch_of_token_adapters": "last" if bench.last_epoch else "lowest validation loss",
            "num_labels": len(bench.examples("train")[0].choices),
            "num_items": {part: len(bench.examples(part)) for part in ("train", "validation", "test")},
            "settings": bench.settings.model_dump(include={"lora", "training", "alignment"}),
            "machine": {
                "versions": versions(),
                "processor": platform.processor(),
                "system": platform.platform(),
            },
            "rows": {name: row for name, row in rows.items() if row["answers"]},
        },
    )
    return path


def _row(bench: Bench, name: str, words: str) -> dict[str, object]:
    note = bench.adapter(name).with_name(f"{name}.json")
    training = read_json(note) if note.is_file() else None
    answers = {unit: _numbers(bench, name, unit) for unit in UNITS if records(bench, name, unit).is_file()}
    return {
        "words": words,
        **({"served": served} if (served := _served(bench, name)) else {}),
        "training": training and {key: value for key, value in training.items() if key != "identity"},
        "answers": {unit: found for unit, found in answers.items() if found is not None},
    }


def _served(bench: Bench, name: str) -> dict[str, object]:
    """Return what was fitted to serve two models, by unit; nothing of one model."""
    files = {unit: records(bench, name, unit).with_name("run.json") for unit in UNITS}
    facts = {unit: read_json(file).get("served") for unit, file in files.items() if file.is_file()}
    return {unit: told for unit, told in facts.items() if told is not None}


def _numbers(bench: Bench, name: str, unit: Unit) -> dict[str, object] | None:
    """Return a model's numbers against the old one and the plain update; None before those have answered."""
    files = {each: records(bench, each, unit) for each in ("old", "new", name)}
    if not all(file.is_file() for file in files.values()):
        return None
    timed = files[name].parent.with_suffix(".json")
    seconds = read_json(timed)["seconds"] if timed.is_file() else None
    if name in ("old", "new"):
        task = muscle.compare(files["old"], files["new"], options=NUMBERS).report.tasks[bench.task_name]
        assert task.old_vs_new is not None, "both have answered"
        if name == "old":
            return {"n": task.n, "seconds": seconds, "accuracy": task.old_vs_new.accuracy_old.value}
        return {
            "n": task.n,
            "seconds": seconds,
            **_side(task.old_vs_new),
            "counts": asdict(task.quadrants["old_vs_new"]),
        }
    found = muscle.compare(files["old"], files["new"], candidate=files[name], options=NUMBERS)
    task = found.report.tasks[bench.task_name]
    effect, side, plain = task.candidate_effect, task.old_vs_candidate, task.new_vs_candidate
    assert effect is not None and side is not None and plain is not None, "all three have answered"
    return {
        "n": task.n,
        "seconds": seconds,
        **_side(side),
        "counts": asdict(task.quadrants["old_vs_candidate"]),
        "against_plain": {
            "negative_flips_percent": effect.negative_flip_rate_change_percent.value,
            "negative_flips_p": effect.negative_flips_mcnemar_exact_p,
            "accuracy": effect.accuracy_change.value,
            "accuracy_p": plain.mcnemar_exact_p,
        },
    }


def _side(numbers: SideNumbers) -> dict[str, object]:
    """Return a model's rates against the old one, with their 95 % intervals; those that its kind of score has."""
    rates = {name: found for name in RATES if (found := numbers.metric(name)).value is not None}
    return {
        "accuracy" if name == "accuracy_new" else name: {
            "value": each.value,
            "low": each.low,
            "high": each.high,
        }
        for name, each in rates.items()
    }
