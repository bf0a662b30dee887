"""The pass over the output head by PyTorch and by the Triton kernel, in turn: milliseconds, peak memory. Needs a GPU.

python benchmarks/kernels.py                        # bfloat16, 4,096 wide, 4,096 tokens, the default budget of 128 MiB
python benchmarks/kernels.py --width 2048 --memory-mb 512
"""

import argparse
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from muscle.training.head.head_pass import HeadPass, head_pass
from muscle.training.head.kernels import triton_kernel
from muscle.training.head.output_head import OutputHead

VOCABULARIES = (49_152, 128_256, 262_144)
FORMULAS = {
    "cross-entropy": (1.0, 1.0),
    "KL at T = 2": (2.0, 0.0),
    "KL at T = 2, 0.2 cross-entropy": (2.0, 0.2),
}
"""Temperature and ce_weight."""

Pass = Callable[[], HeadPass]


def head_of(vocab: int, width: int, device: str, dtype: torch.dtype) -> OutputHead:
    """Random, with logits about as wide as a model's."""
    return OutputHead(torch.randn(vocab, width, device=device, dtype=dtype) * (2.0 / width**0.5))


def passes(head: OutputHead, tokens: int, formula: tuple[float, float], memory_bytes: int) -> tuple[Pass, Pass]:
    """The same value and gradient by either path: PyTorch's operations, the kernel."""
    weight = head.weight
    states = torch.randn(tokens, weight.shape[1], device=weight.device, dtype=weight.dtype)
    labels = torch.randint(head.vocab_size, (tokens,), device=weight.device)
    temperature, ce_weight = formula

    def by(side: OutputHead) -> Pass:
        return lambda: head_pass(
            states,
            side,
            labels,
            temperature=temperature,
            ce_weight=ce_weight,
            gradient=True,
            memory_bytes=memory_bytes,
        )

    return by(head), by(replace(head, kernel=triton_kernel()))


def milliseconds(ways: tuple[Pass, Pass], rounds: int) -> tuple[float, float]:
    """Medians of interleaved rounds; the first round, which compiles, is left out."""
    found: tuple[list[float], list[float]] = ([], [])
    for _ in range(1 + rounds):
        for way, taken in zip(ways, found, strict=True):
            start = time.perf_counter()
            way().lse.cpu()  # waits for the device
            taken.append(1e3 * (time.perf_counter() - start))
    first, second = (statistics.median(taken[1:]) for taken in found)
    return first, second


def peak_mb(way: Pass) -> float:
    """Memory of the GPU above what stands there before."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    way().lse.cpu()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def difference(ways: tuple[Pass, Pass]) -> float:
    """Of the gradients, as a share of their size."""
    expected, found = (way().pulled for way in ways)
    assert expected is not None
    assert found is not None
    return float((found - expected).norm() / expected.norm())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--memory-mb", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("kernels: needs a GPU, and there is none: nothing was measured")
    if importlib.util.find_spec("triton") is None:
        sys.exit("kernels: needs triton, which is not installed: nothing was measured")
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}\n")
    print("| vocabulary | loss | PyTorch | kernel | ratio | peak, PyTorch | peak, kernel | gradients differ by |")
    print("|---:|---|---:|---:|---:|---:|---:|---:|")
    for vocab in VOCABULARIES:
        head = head_of(vocab, given.width, "cuda", torch.bfloat16)
        for name, formula in FORMULAS.items():
            ways = passes(head, given.tokens, formula, given.memory_mb * 2**20)
            plain, kernel = milliseconds(ways, given.rounds)
            peaks = " | ".join(f"{peak_mb(way):.0f} MB" for way in ways)
            print(
                f"| {vocab:,} | {name} | {plain:.1f} ms | {kernel:.1f} ms | {kernel / plain:.2f} | {peaks} | "
                f"{difference(ways):.1e} |"
            )


if __name__ == "__main__":
    main()
