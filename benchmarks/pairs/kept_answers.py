"""What every model chose, item by item and without texts, so that later seeds and models are held against earlier ones.

benchmarks/results/pairs/answers/NAME-UNIT.csv: a line a test text, a column a model, in it the index of the option that
it chose. `board.py` takes from there the models whose own records are not at hand.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl
from answers import UNITS, Unit, records, write_run
from bench import HERE, Bench

from muscle.errors import DataError
from muscle.evaluation.rows import Answer
from muscle.files import atomic_path

ANSWERS = HERE.parent / "results" / "pairs" / "answers"


def answers_file(bench: Bench, unit: Unit) -> Path:
    """Return where a run's answers are kept."""
    return ANSWERS / f"{bench.name}-{unit}.csv"


def keep_answers(bench: Bench) -> None:
    """Write what the models of a run chose, those kept before and not at hand too; nothing where texts are written."""
    if bench.generates:
        return
    for unit in UNITS:
        restore_answers(bench, unit)
        found = records(bench, "old", unit).parents[1].glob(f"*/{bench.task_name}.jsonl")
        files = {file.parent.name: file for file in sorted(found)}
        if not files:
            continue
        examples = bench.examples("test")
        columns: dict[str, list[object]] = {
            "id": [example.id for example in examples],
            "right": [example.gold for example in examples],
        }
        for name, file in files.items():
            chosen = dict(pl.read_ndjson(file, infer_schema_length=None).select("id", "choice").iter_rows())
            columns[name] = [chosen[example.id] for example in examples]
        path = answers_file(bench, unit)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            pl.DataFrame(columns).write_csv(temporary)


def restore_answers(bench: Bench, unit: Unit) -> None:
    """Write the records of models that are kept and have none at hand.

    Raises:
        DataError: the kept answers are to other texts.
    """
    path = answers_file(bench, unit)
    if not path.is_file():
        return
    kept = pl.read_csv(path)
    examples = bench.examples("test")
    for name in kept.columns[2:]:
        out = records(bench, name, unit)
        if out.is_file():
            continue
        if kept["id"].to_list() != [example.id for example in examples]:
            raise DataError(f"{path}: expected the test texts of {bench.folder}, found others")
        answers = [
            Answer(output=example.choices[choice], choice=choice, correct=choice == example.gold)
            for example, choice in zip(examples, kept[name].to_list(), strict=True)
        ]
        write_run(bench.task, examples, answers, out, name=name, facts={"kept": path.name})
