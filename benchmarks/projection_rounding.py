r"""How far a teacher's stored vector is from the exact one, and where it comes from. One real task model in bf16.

    python benchmarks/smollm2/run.py piqa        # the bases and both task adapters
    python benchmarks/projection_rounding.py --base runs/smollm2/new --texts TRAIN.jsonl --adapter \
        runs/smollm2/piqa/adapters/new/piqa

Each figure is a relative error of W^T softmax(z / T), the mean over some hundred tokens: of the vector as it is stored
(from the teacher's bf16 states: logits of a bf16 product, weights summed in bf16 blocks, kept in fp16) and of the same
with the weights summed in float32, both against float64 from the same states; of fp16 and bf16 alone; and, for scale,
of what the teacher's own bf16 layers do, against float32 layers.
"""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path

import torch
from torch import Tensor

from muscle import IGNORE_INDEX
from muscle.config.settings import BaseConfig
from muscle.models.adapters import load_adapter
from muscle.models.bases import load_base
from muscle.training.data.batches import PaddingCollator
from muscle.training.head.head_pass import MEMORY_BYTES, soften
from muscle.training.head.output_head import ChunkBuffers, head_input, output_head
from muscle.training.teachers.rows import projected_rows


def error(found: Tensor, exact: Tensor) -> float:
    """Mean over the tokens of the relative error."""
    return float(((found.double() - exact).norm(dim=-1) / exact.norm(dim=-1)).mean())


@torch.no_grad()
def main() -> None:
    """Measure at temperatures 1 and 2."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--texts", type=Path, required=True, help="JSONL; a row's values are one text")
    options = parser.parse_args()
    base = load_base(BaseConfig(base=str(options.base)), precision="bf16")
    model = load_adapter(base, options.adapter).eval()
    rows = [json.loads(line) for line in options.texts.read_text().splitlines()[:8]]
    texts = [" ".join(str(value) for value in row.values()) for row in rows]
    batch = PaddingCollator(0)([{"input_ids": base.tokenizer(text)["input_ids"][:80]} for text in texts])
    labels = batch["labels"][:, 1:]
    counted = labels != IGNORE_INDEX
    head, labels = output_head(model), labels[counted]
    weight = head.weight.double()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        states = head_input(model, batch)[:, :-1][counted]
    wide_states = head_input(copy.deepcopy(model).float(), batch)[:, :-1][counted]
    print(f"{len(labels)} tokens")
    print("| T | as stored | summed in float32 | fp16 alone | bf16 alone | the teacher's bf16 layers |")
    print("|---:|---:|---:|---:|---:|---:|")
    for temperature in (1.0, 2.0):
        exact, of_wide = (
            torch.softmax(side.double() @ weight.T / temperature, -1) @ weight for side in (states, wide_states)
        )
        stored = projected_rows(
            states, head, labels, student=head, temperature=temperature, memory_bytes=MEMORY_BYTES
        ).vector.half()
        logits, top = head.logits(states, ChunkBuffers(head, len(states)), labels)
        summed = (soften(logits, top, temperature).softmax @ head.weight.float()).half()
        found = [error(side, exact) for side in (stored, summed, exact.half(), exact.bfloat16())]
        cells = " | ".join(f"{value:.1e}" for value in (*found, error(exact, of_wide)))
        print(f"| {temperature:g} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
