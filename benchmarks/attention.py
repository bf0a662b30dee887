"""Attention, forward and backward: torch's fused CPU kernel and `muscle.training.layers.attention`, in turn.

python benchmarks/attention.py

bfloat16, 9 query heads on 3 key heads, 64 wide (SmolLM2-135M's), 1,024 tokens a call, 4,096 from 512 on.

Prints a table and keeps it in `benchmarks/results/attention.json`, with the machine's load.
"""

import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn.functional import scaled_dot_product_attention

from muscle.files import write_json
from muscle.provenance import versions
from muscle.training.layers.attention import causal_attention

RESULT = Path(__file__).resolve().parent / "results" / "attention.json"

HEADS, KEY_HEADS, WIDTH, ROUNDS = 9, 3, 64, 15


def milliseconds(attend: Callable[..., torch.Tensor], states: list[torch.Tensor]) -> float:
    start = time.perf_counter()
    attend(*states).sum().backward()
    return 1e3 * (time.perf_counter() - start)


def main() -> None:
    machine = {"cores": os.cpu_count(), "processor": platform.machine(), "load_at_start": os.getloadavg()[0]}
    rows = []
    print("| tokens a sequence | fused kernel | blocks of plain products | ratio |\n|---:|---:|---:|---:|")
    for seq in (32, 64, 128, 256, 512, 1024, 2048, 4096):
        tokens = 1024 if seq < 512 else 4096
        shapes = [(tokens // seq, seq, heads, WIDTH) for heads in (HEADS, KEY_HEADS, KEY_HEADS)]
        states = [torch.randn(shape, dtype=torch.bfloat16).transpose(1, 2).requires_grad_() for shape in shapes]
        ways: dict[str, Callable[..., torch.Tensor]] = {
            "fused": lambda q, k, v: scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True),
            "plain": lambda q, k, v: causal_attention(q, k, v, WIDTH**-0.5),
        }
        found: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, attend in ways.items():
                found[name].append(milliseconds(attend, states))
        fused, plain = (statistics.median(found[name]) for name in ways)
        ratio = statistics.median(b / a for a, b in zip(*found.values(), strict=True))
        print(f"| {seq} | {fused:.1f} ms | {plain:.1f} ms | {ratio:.2f} |", flush=True)
        rows.append({"seq": seq, "tokens": tokens, "fused_ms": fused, "plain_ms": plain, "ratio": ratio})
    command = "python benchmarks/attention.py"
    write_json(RESULT, {"command": command, "machine": machine, "versions": versions(), "rows": rows})


if __name__ == "__main__":
    main()
