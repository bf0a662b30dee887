"""Published per-item results of two versions of a model each, converted and compared by the `muscle` command.

    python benchmarks/published.py FOLDER

Fetches nothing: FOLDER holds the files that docs/published.md names, in the sub-folders that `SOURCES` says. Where a
file holds many models, one version's rows are written out as they stand (a CSV or Parquet file with the source's own
columns); where the source keeps answers without a verdict, the source's own rule decides. Then `muscle convert`,
`muscle compare`, and the aggregate numbers go to benchmarks/results/published.json. No item is kept.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

RESULTS = Path(__file__).parent / "results" / "published.json"
METRICS = ("accuracy_old", "accuracy_new", "accuracy_difference", "negative_flip_rate", "positive_flip_rate")
ITEM_SHARES = ("regressed", "improved", "equivalent", "cannot_tell", "null95")


@dataclass(frozen=True)
class Version:
    """A version's run: what `muscle convert` is given, and its options."""

    source: Path
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """A published set: its place under FOLDER, where it is from, and the versions in it."""

    folder: str
    repository: str
    commit: str
    licence: str
    pairs: tuple[tuple[str, str], ...]
    version: Callable[[Path, str, Path], Version]


def _yes_or_no(answer: str) -> str | None:
    """Return what LLMDrift's rule takes from an answer: yes where the word stands anywhere, else no."""
    words = {f"[{word}]" for word in re.sub(r"[,.]", " ", answer.lower()).split()}
    return next((word for word in ("yes", "no") if any(f"[{word}]" in token for token in words)), None)


def _boxed(answer: str) -> str | None:
    """Return the first one-digit number in a box, as LLMDrift's rule does."""
    found = re.search(r"boxed\{([0-9])\}", answer.lower().replace(".", ""))
    return found[1] if found else None


def llmdrift(folder: Path, name: str, work: Path) -> Version:
    """Write out one version's answers to one of LLMDrift's tasks; `name` is task:model."""
    task, model = name.split(":")
    table = pl.read_csv(folder / f"{task}_EVAL.csv", infer_schema=False).filter(
        pl.col("model") == f"openaichat/{model}"
    )
    if task == "LEETCODE_EASY":
        verdicts = (table["Directly Usable"] == "1").to_list()
    else:
        rule = _yes_or_no if task == "PRIME_FULL" else _boxed
        pairs = zip(table["answer"].fill_null(""), table["ref_answer"].str.to_lowercase(), strict=True)
        verdicts = [rule(answer) is not None and rule(answer) == rule(wanted) for answer, wanted in pairs]
    path = work / f"{task}-{model}.csv"
    kept = table.select("id", "query", "ref_answer", "answer").with_columns(
        pl.Series("is_right", verdicts), pl.lit(task).alias("dataset")
    )
    kept.write_csv(path)
    ours = {"task": "dataset", "input": "query", "reference": "ref_answer", "output": "answer"}
    ours |= {"correct": "is_right"}
    if task == "LEETCODE_EASY":
        del ours["reference"]
    return Version(path, _columns(ours))


def wide_table(file: str, key: Callable[[int, dict[str, str]], tuple[str, int]]) -> Any:
    """Return what takes one model's column out of a table with one column a model."""

    def version(folder: Path, name: str, work: Path) -> Version:
        rows = pl.read_csv(folder / file, infer_schema=False).to_dicts()
        path = work / f"{re.sub('[^A-Za-z0-9.-]+', '-', name)}.jsonl"
        with path.open("w") as lines:
            for number, row in enumerate(rows):
                item, repeat = key(number, row)
                value = {"id": item, "repeat": repeat, "correct": float(row[name]) == 1.0}
                lines.write(json.dumps({"task": Path(file).stem} | value) + "\n")
        return Version(path)

    return version


def livebench(folder: Path, name: str, work: Path) -> Version:
    """Write out one model's judgements of LiveBench."""
    path = work / f"{name}.parquet"
    pl.read_parquet(folder / "livebench_13012025.parquet").filter(pl.col("model") == name).write_parquet(path)
    return Version(path, _columns({"id": "question_id", "slice.category": "category"}))


def harness_run(folder: Path, name: str, work: Path) -> Version:
    """Name a dated run of lm-evaluation-harness; its samples lie beside it."""
    return Version(folder / f"results_{name}.json")


def _columns(ours: dict[str, str]) -> tuple[str, ...]:
    return tuple(part for pair in ours.items() for part in ("--column", "=".join(pair)))


def _repeat(number: int, row: dict[str, str]) -> tuple[str, int]:
    """Read MathArena's numbering: question 3 asked four times is 3, 3.1, 3.2, 3.3."""
    item, _, repeat = row["Question"].partition(".")
    return item, int(repeat or 0)


LLMDRIFT_TASKS = ("PRIME_FULL", "COUNTAHAPPYNUMBER", "LEETCODE_EASY")
SOURCES = (
    Source(
        "llmdrift", "lchen001/LLMDrift, generation/", "4938eb720aed5210dd2153644fa35cf38b9c6d26", "Apache-2.0",
        tuple(
            (f"{task}:{old}", f"{task}:{new}")
            for task in LLMDRIFT_TASKS
            for old, new in (("gpt-4-0314", "gpt-4-0613"), ("gpt-3.5-turbo-0301", "gpt-3.5-turbo-0613"))
        ),
        llmdrift,
    ),
    Source(
        "langchain", "sambowyer/bayes_evals, examples/data/langchain_data_tool_use_FULL.csv",
        "b9711844e00e9664258de321966ecd258a7273d6", "MIT",
        (
            ("gpt-4-0613 (functions)", "gpt-4-1106-preview (functions)"),
            ("gpt-3.5-turbo-0613-openai (functions)", "gpt-3.5-turbo-1106 (functions)"),
        ),
        wide_table("langchain_data_tool_use_FULL.csv", lambda number, row: (str(number), 0)),
    ),
    Source(
        "aime", "sambowyer/no_clt_paper, data/matharena_aime_II.csv",
        "ab812f29f6508f53352a57b397669b2227f06164", "MIT",
        (
            ("DeepSeek-V3", "DeepSeek-V3-03-24*"),
            ("QwQ-32B-Preview", "QwQ-32B*"),
            ("o3-mini (low)", "o3-mini (high)"),
        ),
        wide_table("matharena_aime_II.csv", _repeat),
    ),
    Source(
        "livebench", "sambowyer/bayes_evals, examples/data/livebench_13012025.parquet",
        "b9711844e00e9664258de321966ecd258a7273d6", "MIT (the repository's)",
        (
            ("gpt-4o-2024-05-13", "gpt-4o-2024-08-06"),
            ("gemini-1.5-pro-exp-0801", "gemini-1.5-pro-exp-0827"),
            ("command-r-plus", "command-r-plus-08-2024"),
        ),
        livebench,
    ),
    Source(
        "pyfade", "DanielKluev/pyFade, tests/data/ (runs of lm-evaluation-harness)",
        "47de8237a7c87e6b39c3c6348f4f553babafba85", "MIT",
        (
            ("2025-09-09T13-42-42.857006", "2025-09-09T13-31-53.431753"),
            ("2025-10-14T14-44-39.372006", "2025-10-14T15-11-56.507865"),
        ),
        harness_run,
    ),
)  # fmt: skip


def muscle(*arguments: str, accepted: tuple[int, ...] = (0,)) -> None:
    """Run the command."""
    done = subprocess.run([sys.executable, "-m", "muscle.cli", *arguments, "--quiet"], capture_output=True, text=True)
    if done.returncode not in accepted:
        raise SystemExit(f"muscle {' '.join(arguments)}: {done.stdout}{done.stderr}")


def aggregate(report: dict[str, Any]) -> dict[str, Any]:
    """Return what is kept of a report: counts, rates, intervals, tests; no item."""
    tasks = {}
    for name, task in report["tasks"].items():
        measured = task["old_vs_new"]
        tasks[name] = {
            "n": task["n"],
            "kind": task["kind"],
            "quadrants": task["quadrants"]["old_vs_new"],
            **{metric: measured[metric] for metric in METRICS},
            "mcnemar_exact_p": measured["mcnemar_exact_p"],
            "noise_floor": measured.get("noise_floor"),
            "repeats": (task.get("repeats") or {}).get("old"),
            "items": {name: measured["items"][name]["value"] for name in ITEM_SHARES}
            if measured.get("items")
            else None,
        }
    kept = ("verdict", "headline", "join")
    return {key: report[key] for key in kept} | {"pooled": report["pooled"]["old_vs_new"], "tasks": tasks}


def compare_pair(source: Source, folder: Path, old: str, new: str) -> dict[str, Any]:
    """Convert both versions, compare the records, and return the aggregate."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        records = []
        for side, label in (("old", old), ("new", new)):
            version = source.version(folder / source.folder, label, work)
            records.append(str(work / side))
            muscle("convert", str(version.source), "--out", records[-1], *version.options)
        muscle("compare", *records, "--json", str(work / "report.json"), accepted=(0, 1, 2))
        return {"old": old, "new": new, **aggregate(json.loads((work / "report.json").read_text()))}


def reference_classes(folder: Path, old: str, new: str) -> dict[str, dict[str, int]]:
    """Return the flips of the prime task apart for primes and for composites, from the records' slices."""
    with tempfile.TemporaryDirectory() as name:
        files = []
        for side, label in (("old", old), ("new", new)):
            version = llmdrift(folder, label, Path(name))
            files.append(f"{name}/{side}.jsonl")
            muscle("convert", str(version.source), "--out", files[-1], *version.options)
        old_rows, new_rows = (pl.read_ndjson(file) for file in files)
    joined = old_rows.join(new_rows, on="input", suffix="_new")
    counted = joined.group_by(pl.col("reference").list.first().str.to_lowercase()).agg(
        pl.len().alias("n"),
        pl.col("correct").sum().alias("right_old"),
        pl.col("correct_new").sum().alias("right_new"),
    )
    return {row.pop("reference"): row for row in counted.sort("reference").to_dicts()}


def _percent(estimate: dict[str, Any], *, points: bool = False) -> str:
    form = "{:+.1f}" if points else "{:.1f}"
    if estimate["value"] is None:
        return "—"
    value, low, high = (form.format(100 * estimate[key]) for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def markdown(pairs: list[dict[str, Any]]) -> str:
    """Return a table, one row a pair and task that is right or wrong; rates in percent, with their 95 % intervals."""
    lines = [
        "| old → new | n | accuracy | change, points | broken | NFR | gained | McNemar p | verdict |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for pair in pairs:
        for name, task in pair["tasks"].items():
            if task["kind"] != "binary":
                continue
            label = f"{pair['old'].split(':')[-1]} → {pair['new'].split(':')[-1]}"
            label += f", {name}" if len(pair["tasks"]) > 1 or ":" in pair["old"] else ""
            old, new = (100 * task[f"accuracy_{side}"]["value"] for side in ("old", "new"))
            cells, p_value = task["quadrants"], task["mcnemar_exact_p"]
            lines.append(
                f"| {label} | {task['n']} | {old:.1f} → {new:.1f} "
                f"| {_percent(task['accuracy_difference'], points=True)} | "
                f"{cells['negative_flips']} | {_percent(task['negative_flip_rate'])} | {cells['positive_flips']} | "
                f"{p_value:.3g} | {pair['verdict'].replace('_', ' ')} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Compare every pair, print a table, keep the aggregates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    value: list[dict[str, Any]] = []
    for source in SOURCES:
        pairs = [compare_pair(source, folder, old, new) for old, new in source.pairs]
        facts = {name: getattr(source, name) for name in ("folder", "repository", "commit", "licence")}
        value.append({**facts, "pairs": pairs})
        print(f"\n{source.folder}\n\n{markdown(pairs)}")
    primes = reference_classes(folder / "llmdrift", "PRIME_FULL:gpt-4-0314", "PRIME_FULL:gpt-4-0613")
    RESULTS.write_text(json.dumps({"sources": value, "prime_by_reference": primes}, indent=2) + "\n")


if __name__ == "__main__":
    main()
