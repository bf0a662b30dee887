"""Time the scoring of options on a processor by the tokens that a forward pass holds (`option_batches.CPU_TOKENS`).

Nodes of the items' trees a second of this process's time, in rounds over all sizes, so that a busy machine slows each
alike. More tokens a pass do not fit into the processor's caches, and their memory is asked of the system each time.

    python benchmarks/pass_tokens.py --model FILE.gguf --data DIR --out benchmarks/results/pass_tokens.json
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path
from unittest import mock

import torch

from muscle.config.settings import BaseConfig
from muscle.files import write_json
from muscle.models import option_batches
from muscle.models.bases import load_base
from muscle.models.option_tree import encode_options, option_tree
from muscle.provenance import versions
from muscle.tasks import get_task, load_examples

SIZES = (512, 1024, 2048, 4096, 9600)
"""Tokens a pass; 9,600 are 64 options of 150 tokens."""
LENGTH = 256
"""Most tokens of an item with one option."""


def main() -> None:
    """Score the same items in passes of each size, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="GGUF file, folder or hub name")
    parser.add_argument("--data", required=True, type=Path, help="folder with hellaswag/test.jsonl")
    parser.add_argument("--items", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=("bf16", "float32"), default="float32")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()

    torch.set_num_threads(given.threads)
    base = load_base(BaseConfig(base=given.model), precision=given.precision, device="cpu")
    examples = load_examples(get_task("hellaswag"), given.data / "hellaswag" / "test.jsonl", limit=given.items)
    items = [encode_options(each, base.tokenizer, LENGTH) for each in examples]
    nodes = sum(len(option_tree(*item).input_ids) for item in items)
    seconds = dict.fromkeys(SIZES, 0.0)
    # Of one thread the own time, whoever else computes there.
    clock = time.process_time if given.threads == 1 else time.perf_counter
    with torch.no_grad(), mock.patch.object(option_batches, "CPU_TOKENS", max(SIZES)):
        for _ in range(given.rounds):
            for size in SIZES:
                start = clock()
                scored = option_batches.score_items(
                    base.model, items, pad_token_id=base.tokenizer.pad_token_id, most_tokens=size
                )
                assert sum(len(part.options) for part in scored) == sum(len(options) for _, options in items)
                took = clock() - start
                seconds[size] += took
                print(f"{size} tokens a pass: {nodes / took:.0f} nodes/s", flush=True)
    best = min(seconds, key=seconds.__getitem__)
    write_json(
        given.out,
        {
            "model": Path(given.model).name,
            "items": len(items),
            "nodes": nodes,
            "precision": given.precision,
            "machine": f"{platform.machine()}, {given.threads} thread(s), {platform.system()}",
            "versions": versions(),
            "nodes_a_second": {size: nodes * given.rounds / spent for size, spent in seconds.items()},
            "times_slower_than_best": {size: spent / seconds[best] for size, spent in seconds.items()},
        },
    )


if __name__ == "__main__":
    main()
