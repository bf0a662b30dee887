r"""The bench's tasks that muscle has built in: PIQA and HellaSwag, with options of an item's own, and SAMSum.

    python benchmarks/pairs/items.py piqa --data ../shared/data --seed 0 --out runs/pairs/sibling/piqa/seed-0/data

Writes `train.jsonl`, `validation.jsonl`, `unlabelled.jsonl` (without labels) and `test.jsonl` into the run folder; the
data itself is read in place (docs/data.md). An answer is the option that is likeliest as a whole, or a summary. Test
are the first rows of test.jsonl in an order of their own, the same for every seed; train, validation and unlabelled are
drawn by the seed from train.jsonl.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from intents import rows_of, shuffled, write_parts


@dataclass(frozen=True)
class Items:
    """How many rows each part has; so few that a seed fits into two hours of a core.

    Attributes:
        train: with labels.
        validation: with labels.
        unlabelled: without.
        test: None takes all.
        answer: the column that unlabelled rows lack.
    """

    train: int
    validation: int
    unlabelled: int
    test: int | None = None
    answer: str = "label"


BUILT_IN = {
    "piqa": Items(500, 125, 1500),
    "hellaswag": Items(250, 100, 500, test=1000),
    "samsum": Items(200, 40, 300, test=200, answer="summary"),
}


def prepare_items(task: str, *, data: Path, seed: int, out: Path) -> None:
    """Write a task's files into `out`.

    Args:
        task: a key of `BUILT_IN`.
        data: folder with `TASK/train.jsonl` and `TASK/test.jsonl`.
        seed: draws the training rows.
        out: the run folder.

    Raises:
        DataError: a file of the data is missing or damaged.
        OutputError: a file cannot be written.
    """
    about = BUILT_IN[task]
    given = rows_of(task, data)
    drawn, ends = shuffled(given["train"], f"seed {seed}"), about.train + about.validation
    rest = drawn[ends : ends + about.unlabelled]
    parts = {
        "train": drawn[: about.train],
        "validation": drawn[about.train : ends],
        "unlabelled": [{key: value for key, value in row.items() if key != about.answer} for row in rest],
        "test": shuffled(given["test"], "test")[: about.test],
    }
    write_parts(parts, out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("task", choices=BUILT_IN)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    prepare_items(given.task, data=given.data, seed=given.seed, out=given.out)


if __name__ == "__main__":
    main()
