"""Whether a change made anything slower or larger: two checkouts, the same work, in turns.

    python benchmarks/side_by_side.py --before ../muscle-0.1 --after . [--rounds 5]
    ... --sizes 100000 1000000 10000000        # pairs of `muscle compare`; 10 million takes minutes a round
    ... --only compare start                   # not the training steps

Every measurement is a whole process of its own: `import muscle` and `muscle --help` (`start`), `muscle compare` from
JSONL to JSON and Markdown (`compare`, laid out as in `compare_speed.py`), and training steps on tiny bases (`steps`, by
each checkout's own `engine.py`, so that each calls its own modules). In every round each measurement is taken of one
checkout and then at once of the other, and the order changes from round to round: what else the machine does meets
both. On a busy machine the processor's seconds tell more than the clock's. A ratio is after / before within a round;
the median over the rounds is printed, with the lowest and highest beside it, and kept in
benchmarks/results/side_by_side.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from compare_speed import LAYOUTS, MAX_WITH_TEXT, machine, run_once, timed, write_run

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "side_by_side.json"
PARTS = ("start", "compare", "steps")
STEPS = ("projected", "fine-tuning")
"""Variants of `engine.py`: a compatibility step from a teacher store, and a fine-tuning step."""
STEP_SIZE = {"batch": 32, "seq": 60, "rank": 16, "warmup": 3, "steps": 12, "threads": 1}
HIDDEN_SIZE, NUM_WORDS = 128, 8_000
"""Of the tiny bases: large enough that the loss over the vocabulary costs what it does in earnest, small enough for two
cores."""
MAX_LENGTH = 64
"""Positions of the tiny bases (`tests/tiny/bases.py`)."""


class Taken(TypedDict):
    """What one process took; of training steps the median's and the fastest one's seconds, peak above weights."""

    seconds: float
    processor_seconds: float
    peak_bytes: float


class Ratio(TypedDict):
    """After over before: the median over the rounds, and the lowest and highest."""

    median: float
    lowest: float
    highest: float


class Row(TypedDict):
    """A measurement of both checkouts."""

    what: str
    before: Taken
    after: Taken
    time_ratio: Ratio
    processor_ratio: Ratio
    memory_ratio: Ratio
    rounds: list[dict[str, Taken]]


@dataclass(frozen=True)
class Checkout:
    """A folder with this project's source.

    Attributes:
        root: the folder.
    """

    root: Path

    @property
    def environment(self) -> dict[str, str]:
        """Variables that let Python take this checkout's package, and one thread a library."""
        return {"PYTHONPATH": str(self.root / "src"), "OMP_NUM_THREADS": "1"}

    def run(self, *words: str) -> str:
        """Run Python on this checkout's package, and return what it printed."""
        done = subprocess.run(
            [sys.executable, "-W", "ignore", *words],
            capture_output=True,
            text=True,
            env={**os.environ, **self.environment},
        )
        if done.returncode:
            raise SystemExit(f"{self.root}: {' '.join(words)[:200]}:\n{done.stderr[-2_000:]}")
        return done.stdout

    def commit(self) -> str:
        """Return the commit that is checked out, after a look that it is this folder's package that runs."""
        found = self.run("-c", "import muscle; print(muscle.__file__)").strip()
        if not Path(found).is_relative_to(self.root):
            raise SystemExit(f"{self.root}: expected its own package, found {found}")
        command = ["git", "-C", str(self.root), "describe", "--always", "--dirty", "--abbrev=12"]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip() or "unknown"


Measure = Callable[[Checkout], Taken]


def of_process(found: dict[str, float]) -> Taken:
    """Return what `timed` found of a whole process."""
    return {
        "seconds": found["wall_seconds"],
        "processor_seconds": found["cpu_seconds"],
        "peak_bytes": found["peak_bytes"],
    }


def process(*words: str) -> Measure:
    """Measure a whole Python process."""

    def measure(checkout: Checkout) -> Taken:
        found = timed([sys.executable, *words], accepted=(0,), environment=checkout.environment)
        return of_process(found)

    return measure


def comparison(folder: Path, size: int, layout: str) -> Measure:
    """Measure `muscle compare` of two made-up runs, which are written here."""
    old, new = folder / f"old-{size}-{layout}.jsonl", folder / f"new-{size}-{layout}.jsonl"
    for seed, path in enumerate((old, new)):
        write_run(path, size, layout, seed=seed)

    def measure(checkout: Checkout) -> Taken:
        found = run_once(old, new, folder, checkout.environment)
        return of_process(found)

    return measure


def step(bases: Path, variant: str) -> Measure:
    """Measure a training step of a variant of `engine.py`."""
    sizes = [word for name, value in STEP_SIZE.items() for word in (f"--{name}", str(value))]

    def measure(checkout: Checkout) -> Taken:
        script = str(checkout.root / "benchmarks" / "engine.py")
        sides = ["--old", str(bases / "old"), "--new", str(bases / "new")]
        printed = checkout.run(script, *sides, *sizes, "--precision", "float32", "--variant", variant)
        found = json.loads(printed.splitlines()[-1])
        steps = found["seconds"]
        # The fastest step is the one that others on the machine held up least.
        return {"seconds": statistics.median(steps), "processor_seconds": min(steps), "peak_bytes": found["peak_bytes"]}

    return measure


def write_bases(folder: Path) -> Path:
    """Write the two tiny bases."""
    sys.path.insert(0, str(HERE.parent / "tests"))
    from tiny.bases import save_base

    assert STEP_SIZE["seq"] <= MAX_LENGTH
    for seed, side in enumerate(("old", "new")):
        save_base(folder / side, seed=seed, hidden_size=HIDDEN_SIZE, extra_words=NUM_WORDS)
    return folder


def measurements(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, Measure]]:
    """Yield what is measured, with its name; inputs are written when it is its turn."""
    if "start" in options.only:
        yield "import muscle", process("-c", "import muscle")
        yield "muscle --help", process("-m", "muscle", "--help")
    for size in options.sizes if "compare" in options.only else ():
        for layout in LAYOUTS if size <= MAX_WITH_TEXT else LAYOUTS[:1]:
            yield f"compare {size:,} pairs, {layout}", comparison(folder, size, layout)
    if "steps" in options.only:
        bases = write_bases(folder)
        for variant in STEPS:
            yield f"training step, {variant}", step(bases, variant)


def measured(what: str, measure: Measure, checkouts: dict[str, Checkout], rounds: int) -> Row:
    """Measure both checkouts in turns, and hold them against each other."""
    taken: list[dict[str, Taken]] = []
    for number in range(rounds):
        names = list(checkouts) if number % 2 == 0 else list(reversed(checkouts))
        found = {name: measure(checkouts[name]) for name in names}
        taken.append({name: found[name] for name in checkouts})
    return {
        "what": what,
        "before": median_of([each["before"] for each in taken]),
        "after": median_of([each["after"] for each in taken]),
        "time_ratio": ratio([each["after"]["seconds"] / each["before"]["seconds"] for each in taken]),
        "processor_ratio": ratio(
            [each["after"]["processor_seconds"] / each["before"]["processor_seconds"] for each in taken]
        ),
        "memory_ratio": ratio([each["after"]["peak_bytes"] / each["before"]["peak_bytes"] for each in taken]),
        "rounds": taken,
    }


def median_of(taken: list[Taken]) -> Taken:
    """Return the medians over the rounds."""
    return {
        "seconds": round(statistics.median(each["seconds"] for each in taken), 4),
        "processor_seconds": round(statistics.median(each["processor_seconds"] for each in taken), 4),
        "peak_bytes": round(statistics.median(each["peak_bytes"] for each in taken)),
    }


def ratio(values: list[float]) -> Ratio:
    """Return the median of the rounds' ratios, and their ends."""
    return {
        "median": round(statistics.median(values), 3),
        "lowest": round(min(values), 3),
        "highest": round(max(values), 3),
    }


def line(row: Row) -> str:
    """Return a row of the table."""
    cells = [f"{row['what']:<42}"]
    for key, name, unit, form in (
        ("seconds", "time_ratio", 1.0, "9.3f"),
        ("processor_seconds", "processor_ratio", 1.0, "9.3f"),
        ("peak_bytes", "memory_ratio", 1e6, "9.1f"),
    ):
        found: Ratio = row[name]  # type: ignore[literal-required]
        cells += [f"{row[side][key] / unit:{form}}" for side in ("before", "after")]  # type: ignore[literal-required]
        cells.append(f"{found['median']:7.2f} ({found['lowest']:.2f} to {found['highest']:.2f})")
    return " ".join(cells)


def main() -> None:
    """Measure, print the ratios, and keep everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, metavar="PATH", help="a checkout")
    parser.add_argument("--after", type=Path, required=True, metavar="PATH", help="the one held against it")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000], metavar="PAIRS")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    checkouts = {name: Checkout(getattr(options, name).resolve()) for name in ("before", "after")}
    result = {
        "commits": {name: checkout.commit() for name, checkout in checkouts.items()},
        "machine": machine(),
        "rounds": options.rounds,
        "step": {**STEP_SIZE, "hidden_size": HIDDEN_SIZE, "num_words": NUM_WORDS, "precision": "float32"},
    }
    print(f"{'':<42} {'seconds before, after, ratio':<44} {'processor seconds':<44} MB before, after, ratio")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for what, measure in measurements(options, Path(folder)):
            rows.append(measured(what, measure, checkouts, options.rounds))
            print(line(rows[-1]), flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({**result, "results": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
