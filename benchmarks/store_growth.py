"""What a teacher store costs as the data grows: bytes, opening it, reading random batches from memory and disk.

    python benchmarks/store_growth.py [--tokens 10000 100000 1000000]

`projected` rows in fp16 for a student 576 wide (SmolLM2-135M), examples of 128 tokens, 8 a batch; the rows are random,
the files are the real ones. "From the disk" drops the store from the page cache before each batch.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from muscle.training.teachers.rows import ProjectedRows
from muscle.training.teachers.store import TeacherStore
from muscle.training.teachers.write_store import RowLayout, build_store

HERE = Path(__file__).resolve().parent
WIDTH, LENGTH, BATCH, ROUNDS = 576, 128, 8, 20


def random_rows(indices: Any) -> ProjectedRows:
    """Rows of examples, without a teacher."""
    count = len(indices) * LENGTH
    return ProjectedRows(
        vector=torch.randn(count, WIDTH, dtype=torch.float16),
        entropy=torch.rand(count),
        log_p=-torch.rand(count),
        right=torch.rand(count) < 0.5,
        bias=None,
        temperature=2.0,
    )


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of a call, and what it gave."""
    start = time.perf_counter()
    given = call()
    return time.perf_counter() - start, given


def forget(folder: Path) -> None:
    """Drop a folder's files from the page cache."""
    for file in folder.iterdir():
        handle = os.open(file, os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def reading(store: TeacherStore, generator: torch.Generator, *, cold: bool) -> float:
    """Median milliseconds of a batch of random examples."""
    found = []
    for _ in range(ROUNDS):
        if cold:
            forget(store.path)
        indices = torch.randint(store.num_examples, (BATCH,), generator=generator).tolist()
        seconds, rows = timed(lambda chosen=indices: store.rows(chosen))
        assert len(rows) == BATCH * LENGTH
        found.append(1e3 * seconds)
    return statistics.median(found)


def measure(folder: Path, tokens: int) -> dict[str, Any]:
    """Build a store of so many tokens, open it, read batches."""
    lengths = [LENGTH] * (tokens // LENGTH)
    identity = {"temperature": 2.0}
    layout = RowLayout("projected", WIDTH, torch.float16)
    write, store = timed(lambda: build_store(folder, random_rows, layout, identity=identity, num_tokens=lengths))
    size = store.num_bytes
    del store
    check, store = timed(lambda: build_store(folder, random_rows, layout, identity=identity, num_tokens=lengths))
    generator = torch.Generator().manual_seed(0)
    return {
        "tokens": sum(lengths),
        "bytes": size,
        "bytes_per_token": size / sum(lengths),
        "write_seconds": write,
        "open_seconds": check,
        "batch_milliseconds_memory": reading(store, generator, cold=False),
        "batch_milliseconds_disk": reading(store, generator, cold=True),
    }


def main() -> None:
    """Measure all sizes, print a table, keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    options = parser.parse_args()
    found = []
    print("| tokens | store | bytes a token | written | opened and checked | a batch, from memory | from the disk |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    for tokens in options.tokens:
        with tempfile.TemporaryDirectory() as folder:
            row = measure(Path(folder) / "store", tokens)
        found.append(row)
        print(
            f"| {row['tokens']:,} | {row['bytes'] / 1e6:,.0f} MB | {row['bytes_per_token']:.0f} "
            f"| {row['write_seconds']:.1f} s "
            f"| {row['open_seconds']:.2f} s | {row['batch_milliseconds_memory']:.1f} ms "
            f"| {row['batch_milliseconds_disk']:.1f} ms |",
            flush=True,
        )
    (HERE / "results" / "store_growth.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
