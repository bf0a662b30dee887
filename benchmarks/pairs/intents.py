r"""The bench's two tasks: one intent of many for a short text, from CLINC150 and Banking77.

    python benchmarks/pairs/intents.py clinc150 --data ../shared/data --base runs/pairs/bases/sibling/new \
        --seed 0 --out runs/pairs/sibling/clinc150/seed-0/data

Writes `TASK.yaml`, `train.jsonl`, `validation.jsonl`, `unlabelled.jsonl` (texts alone), `test.jsonl` and `labels.json`
into the run folder; the data itself is read in place (docs/data.md). Which texts are which:

- labels: of Banking77 all 77, many of which begin alike ("card ..."). Of CLINC150 64: those whose first token behind
  `Intent:` no other of the 150 labels begins with, in alphabetical order, the first 64.
- test: all rows of test.jsonl with these labels. Of CLINC150 also 15 training texts a label, the same for every seed
  and used for nothing else, since the file holds 70 % of the official test and validation texts.
- train (10 a label), validation (4 a label, to choose the epoch by) and unlabelled (3,840 in all): drawn by the seed
  from the other training texts.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muscle.config.settings import BaseConfig
from muscle.files import write_json, write_text
from muscle.models.bases import load_tokenizer
from muscle.tasks.sources import load_rows

NUM_TRAIN, NUM_VALIDATION, NUM_UNLABELLED = 10, 4, 3840
"""Texts a label, a label, in all."""
STEM = "Intent:"

Text = Mapping[str, str]
"""A row: id, text, label."""


@dataclass(frozen=True)
class Intents:
    """What differs between the data sets.

    Attributes:
        num_labels: labels with a first token of their own that are taken; None takes every label.
        num_extra: training texts a label that are tested on.
    """

    num_labels: int | None
    num_extra: int


TASKS = {"clinc150": Intents(num_labels=64, num_extra=15), "banking77": Intents(num_labels=None, num_extra=0)}


def distinct_labels(labels: Sequence[str], base: Path) -> list[str]:
    """Return the labels that begin with a token of their own under a base's tokenizer, sorted."""
    tokenizer = load_tokenizer(BaseConfig(base=str(base)))
    start = len(tokenizer(STEM)["input_ids"])
    first = {label: tokenizer(f"{STEM} {label}")["input_ids"][start] for label in sorted(labels)}
    count = Counter(first.values())
    return [label for label, token in first.items() if count[token] == 1]


def shuffled(rows: Sequence[Text], word: str) -> list[Text]:
    """Return the rows in an order that depends on the word and on each row's id alone."""
    return sorted(rows, key=lambda row: hashlib.sha256(f"{word}\x1f{row['id']}".encode()).digest())


def rows_of(task: str, data: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of a task's train.jsonl and test.jsonl.

    Raises:
        DataError: a file of the data is missing or damaged.
    """
    files = {part: data / task / f"{part}.jsonl" for part in ("train", "test")}
    return {part: [dict(source.row) for source in load_rows(str(file))] for part, file in files.items()}


def write_parts(parts: Mapping[str, Sequence[Mapping[str, Any]]], out: Path) -> None:
    """Write each part's rows into `out/PART.jsonl`.

    Raises:
        OutputError: a file cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    for part, rows in parts.items():
        write_text(out / f"{part}.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def split(rows: Sequence[Text], labels: Sequence[str], *, num_extra: int, seed: int) -> dict[str, list[Text]]:
    """Split training rows into train, validation, unlabelled and extra test rows."""
    parts: dict[str, list[Text]] = {"train": [], "validation": [], "extra": []}
    rest: list[Text] = []
    for label in labels:
        own = shuffled([row for row in rows if row["label"] == label], "extra")
        parts["extra"] += own[:num_extra]
        drawn = shuffled(own[num_extra:], f"seed {seed}")
        parts["train"] += drawn[:NUM_TRAIN]
        parts["validation"] += drawn[NUM_TRAIN : NUM_TRAIN + NUM_VALIDATION]
        rest += drawn[NUM_TRAIN + NUM_VALIDATION :]
    unlabelled = shuffled(rest, f"unlabelled {seed}")[:NUM_UNLABELLED]
    parts["unlabelled"] = [{"id": row["id"], "text": row["text"]} for row in unlabelled]
    return parts


def prepare(task: str, *, data: Path, base: Path, seed: int, out: Path) -> Path:
    """Write a task's files into `out` and return its YAML.

    Args:
        task: a key of `TASKS`.
        data: folder with `TASK/train.jsonl` and `TASK/test.jsonl`.
        base: whose tokenizer tells which labels begin with a token of their own.
        seed: draws the training texts.
        out: the run folder.

    Raises:
        DataError: a file of the data is missing or damaged.
        OutputError: a file cannot be written.
    """
    about = TASKS[task]
    given = rows_of(task, data)
    labels = sorted({row["label"] for row in given["train"]})
    if about.num_labels is not None:
        labels = distinct_labels(labels, base)[: about.num_labels]
    parts = split(given["train"], labels, num_extra=about.num_extra, seed=seed)
    parts["test"] = [row for row in given["test"] if row["label"] in labels] + parts.pop("extra")
    write_parts(parts, out)
    write_json(out / "labels.json", labels)
    yaml = [
        f"# {task}: written by benchmarks/pairs/intents.py, seed {seed}.",
        f"name: {task}",
        "id: id",
        'prompt: "Query: {{ text }}\\n' + STEM + '"',
        f"choices: {json.dumps(labels, ensure_ascii=False)}",
        "label: {column: label, kind: text}",
        "scorer: choice_likelihood",
    ]
    write_text(out / f"{task}.yaml", "\n".join(yaml) + "\n")
    return out / f"{task}.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--base", type=Path, default=Path("runs/pairs/bases/sibling/new"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    print(prepare(given.task, data=given.data, base=given.base, seed=given.seed, out=given.out))


if __name__ == "__main__":
    main()
