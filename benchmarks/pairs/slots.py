r"""The bench's generation task: intent and slots of a request as one line of JSON, from SNIPS.

    python benchmarks/pairs/slots.py --data ../shared/data --seed 0 --out runs/pairs/sibling/snips/seed-0/data

Writes `snips.yaml`, `train.jsonl`, `validation.jsonl`, `unlabelled.jsonl` (texts alone) and `test.jsonl` into the run
folder; the data itself is read in place (docs/data.md). An answer is right where it equals the reference. Which texts
are which, of three of the seven intents: test are 150 rows an intent of test.jsonl, the same for every seed; train (60
an intent), validation (15) and unlabelled (60) are drawn by the seed from train.jsonl.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from intents import Text, rows_of, shuffled, write_parts

from muscle.files import write_text

INTENTS = ("GetWeather", "PlayMusic", "SearchCreativeWork")
"""Those with the shortest answers, 28 tokens: writing an answer costs as many passes as it has tokens."""
NUM_TRAIN, NUM_VALIDATION, NUM_UNLABELLED, NUM_TEST = 60, 15, 60, 150
"""Texts an intent."""
YAML = """\
# snips: written by benchmarks/pairs/slots.py, seed {seed}.
name: snips
id: id
prompt: "Request: {{{{ text }}}}\\nAnswer:"
target: "{{{{ answer }}}}"
generation: {{until: ["\\n"], max_new_tokens: 80}}
scorer: exact_match
slices: [intent]
"""


def draw(train: Sequence[Text], test: Sequence[Text], *, seed: int) -> dict[str, list[Text]]:
    """Return the rows of each part."""
    parts: dict[str, list[Text]] = {"train": [], "validation": [], "unlabelled": [], "test": []}
    for intent in INTENTS:
        drawn = shuffled([row for row in train if row["intent"] == intent], f"seed {seed}")
        ends = (NUM_TRAIN, NUM_TRAIN + NUM_VALIDATION, NUM_TRAIN + NUM_VALIDATION + NUM_UNLABELLED)
        parts["train"] += drawn[: ends[0]]
        parts["validation"] += drawn[ends[0] : ends[1]]
        rest = drawn[ends[1] : ends[2]]
        parts["unlabelled"] += [{"id": row["id"], "text": row["text"], "intent": ""} for row in rest]
        parts["test"] += shuffled([row for row in test if row["intent"] == intent], "test")[:NUM_TEST]
    # So that the first few are of every intent.
    return {name: shuffled(rows, name) for name, rows in parts.items()}


def prepare_slots(*, data: Path, seed: int, out: Path) -> Path:
    """Write the task's files into `out` and return its YAML.

    Args:
        data: folder with `snips/train.jsonl` and `snips/test.jsonl`.
        seed: draws the texts.
        out: the run folder.

    Raises:
        DataError: a file of the data is missing or damaged.
        OutputError: a file cannot be written.
    """
    given = rows_of("snips", data)
    write_parts(draw(given["train"], given["test"], seed=seed), out)
    write_text(out / "snips.yaml", YAML.format(seed=seed))
    return out / "snips.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    print(prepare_slots(data=given.data, seed=given.seed, out=given.out))


if __name__ == "__main__":
    main()
