"""An old model of another tokenizer as a teacher: what each projection keeps of it, and what it costs.

    python benchmarks/crossing.py --old FOLDER --into TOKENIZER ... --data DIR

A base as it is, without an adapter, and folders with the tokenizers of others. For each of these and each projection
(`alignment.projection`): the share of the new tokens at which the old model has a position, the share of its
distribution that has a place, and how likely the text is by what came across, in nats a byte, over the tokens with a
position; beside it the old model's own over the same texts. A projection that loses nothing of what the old model knows
of the text comes close to its own. No new model is needed for that: its tokens are, not what it thinks.

Then processor seconds: of making the rows (once, before a training), a thousand tokens; and of a training step of the
base itself (forward, backward, LoRA), with rows of its old model made by the same tokenizer, and made as if the
tokenizer were another one: medians over interleaved rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from muscle.config.methods import ProjectionName
from muscle.config.settings import BaseConfig, LoraSettings
from muscle.models.adapters import new_adapter
from muscle.models.bases import LoadedBase, load_base
from muscle.training.crossing.positions import CrossedTexts, cross_texts
from muscle.training.crossing.spelling import Spelling
from muscle.training.data.batches import PaddingCollator
from muscle.training.head.output_head import OutputHead, head_input, output_head
from muscle.training.layers.fast_layers import fast_layers
from muscle.training.losses.fused import fused_compatibility_terms
from muscle.training.teachers.crossed_rows import Crossing, crossed_row_maker
from muscle.training.teachers.make_rows import row_maker
from muscle.training.teachers.rows import LEAST_PLACED

KINDS: tuple[ProjectionName, ...] = ("chunks", "first", "pieces")
HERE = Path(__file__).resolve().parent


def texts_of(folder: Path, count: int) -> list[str]:
    """Return texts of all data sets in turn, 300 characters at most."""
    files = [path.read_text().splitlines() for path in sorted(folder.glob("*/train.jsonl"))]
    if not files:
        raise SystemExit(f"{folder}: expected folders with a train.jsonl, found none")
    rows = (json.loads(lines[place]) for place in range(count) for lines in files if place < len(lines))
    joined = (" ".join(value for value in row.values() if isinstance(value, str)) for row in rows)
    found = [text[:300] for text in joined if text]
    return found[:count]


def processor_seconds(work: Callable[[], Any]) -> float:
    """Return the processor time of a call."""
    start = time.process_time()
    work()
    return time.process_time() - start


@torch.no_grad()
def own_nats(base: LoadedBase, ids: list[list[int]]) -> float:
    """Return -log p of all predicted tokens by the model itself, summed."""
    head = output_head(base.model)
    make = row_maker(base.model, head, ids, pad_token_id=0, student=None, temperature=1.0)
    return -sum(float(make([index]).log_p.double().sum()) for index in range(len(ids)))


def fidelity(rows: Any, aligned: CrossedTexts, labels_bytes: list[int]) -> dict[str, float]:
    """Say what came across."""
    known = rows.placed >= LEAST_PLACED
    sizes = torch.tensor(labels_bytes)
    return {
        "aligned": float(known.double().mean()),
        "aligned_positions": aligned.num_aligned / aligned.num_tokens,
        "placed": float(rows.placed[known].double().mean()),
        "nats_per_byte": float(-rows.log_p[known].double().sum() / sizes[known].sum()),
        "likeliest_is_the_text": float(rows.right[known].double().mean()),
    }


def step_seconds(base: LoadedBase, texts: list[str], rounds: int) -> dict[str, float]:
    """Return the median processor seconds of a step with each kind of old rows, and of one kind once more."""
    student = new_adapter(base, LoraSettings(r=16, alpha=32))
    head, spelling = output_head(student), Spelling.of(base.tokenizer)
    ids = [list(each) for each in base.tokenizer(texts)["input_ids"]]
    batch = PaddingCollator(0)([{"input_ids": each} for each in ids])
    labels, every = batch["labels"][:, 1:], range(len(ids))
    same = row_maker(base.model, head, ids, pad_token_id=0, student=head, temperature=1.0)(every)
    rows: dict[str, Any] = {"same tokenizer": same, "same tokenizer, again": same}
    crossed = cross_texts(texts, ids, spelling, spelling, max_length=1024)
    for kind in KINDS:
        crossing = Crossing(crossed, spelling, spelling, kind)
        rows[kind] = crossed_row_maker(base.model, head, crossing, ids, student=head, temperature=1.0)(every)
    spent: dict[str, list[float]] = {name: [] for name in rows}

    def step(old: Any) -> None:
        states = head_input(student, batch)[:, :-1]
        terms = fused_compatibility_terms(states, head, labels, old, same, temperature=1.0)
        (terms.loss / terms.num_tokens).backward()
        student.zero_grad()

    with fast_layers(student):
        for _ in range(rounds + 1):
            for name, old in rows.items():
                spent[name].append(processor_seconds(lambda old=old: step(old)))
    return {name: statistics.median(each[1:]) for name, each in spent.items()}


def into(base: LoadedBase, folder: Path, texts: list[str]) -> dict[str, Any]:
    """Measure what comes across into another tokenizer's tokens."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    ours, theirs = Spelling.of(base.tokenizer), Spelling.of(tokenizer)
    ids = [list(each) for each in tokenizer(texts)["input_ids"]]
    start = time.process_time()
    crossed = cross_texts(texts, ids, ours, theirs, max_length=1024)
    per = 1000 / crossed.num_tokens
    found: dict[str, Any] = {"tokens": crossed.num_tokens, "aligning_seconds": per * (time.process_time() - start)}
    sizes = [int(theirs.lengths[number]) for each in ids for number in each[1:]]
    # As wide as SmolLM2's; what stands in it does not matter.
    student = OutputHead(torch.randn(len(theirs.texts), 576))
    for kind in KINDS:
        crossing = Crossing(crossed, ours, theirs, kind)
        maker = crossed_row_maker(base.model, output_head(base.model), crossing, ids, student=student, temperature=1.0)
        kept: list[Any] = []
        seconds = processor_seconds(lambda maker=maker, kept=kept: kept.append(maker(range(len(texts)))))
        found[kind] = {**fidelity(kept[0], crossed, sizes), "rows_seconds": per * seconds}
    return found


def measured(given: argparse.Namespace) -> dict[str, Any]:
    """Measure all."""
    torch.set_num_threads(1)
    base = load_base(BaseConfig(base=str(given.old)), precision=given.precision)
    texts = texts_of(given.data, given.texts)
    ours = Spelling.of(base.tokenizer)
    ids = [list(each) for each in base.tokenizer(texts)["input_ids"]]
    num_bytes = sum(int(ours.lengths[each[1:]].sum()) for each in ids)
    crossed = {folder.name: into(base, folder, texts) for folder in given.into}
    steps = step_seconds(base, [text[:160] for text in texts[: given.batch]], given.rounds)
    return {
        **{"old": given.old.name, "texts": len(texts), "precision": given.precision},
        "machine": platform.processor() or platform.machine(),
        "load_average": os.getloadavg()[0],
        "old_nats_per_byte": own_nats(base, ids) / num_bytes,
        "into": crossed,
        "step_seconds": steps,
        "step_ratio": {name: value / steps["same tokenizer"] for name, value in steps.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--old", type=Path, required=True, help="folder or GGUF file of a base")
    parser.add_argument("--into", type=Path, nargs="+", required=True, help="folders with a tokenizer.json")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--texts", type=int, default=70)
    parser.add_argument("--batch", type=int, default=4, help="examples of a step")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", choices=("bf16", "float32"), default="float32")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "crossing.json")
    given = parser.parse_args()
    found = measured(given)
    text = json.dumps(found, indent=1)
    given.out.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
