"""`muscle route` on published answers of two versions of a model: what stored old answers save beside the new model.

    python benchmarks/route_published.py FOLDER

FOLDER is that of docs/published.md (its sub-folder `llmdrift/`); nothing is fetched. Half of the items are fitted on,
half are kept apart, as muscle does it by itself; features are the lengths and what each model answered. Aggregate
numbers go to benchmarks/results/route_published.json, from which the table of docs/route.md is made (without FOLDER it
is printed from what is kept); no item is kept.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from muscle.files import read_json, write_json
from muscle.predictions.read import read_run
from muscle.predictions.run import Run
from muscle.route import FitOptions, Prices, RouteReport, fit_route
from muscle.route.gate_model import ANSWERS
from muscle.typed_json import to_json
from published import _boxed, _yes_or_no, llmdrift

RESULTS = Path(__file__).parent / "results" / "route_published.json"
PAIRS = (
    ("PRIME_FULL:gpt-4-0314", "PRIME_FULL:gpt-4-0613"),
    ("PRIME_FULL:gpt-3.5-turbo-0301", "PRIME_FULL:gpt-3.5-turbo-0613"),
    ("COUNTAHAPPYNUMBER:gpt-4-0314", "COUNTAHAPPYNUMBER:gpt-4-0613"),
    ("COUNTAHAPPYNUMBER:gpt-3.5-turbo-0301", "COUNTAHAPPYNUMBER:gpt-3.5-turbo-0613"),
)
WAYS = {
    "limit 1 %": FitOptions(flip_limit=0.01, slices=ANSWERS),
    "limit 5 %": FitOptions(flip_limit=0.05, slices=ANSWERS),
    "accuracy kept": FitOptions(flip_limit=0.05, keep_accuracy=True, slices=ANSWERS),
}


def version(folder: Path, name: str, work: Path) -> Run:
    """Return one version's published answers, with what LLMDrift's rule reads out of each."""
    given = llmdrift(folder, name, work)
    columns = dict(word.split("=", 1) for word in given.options if word != "--column")
    run = read_run(given.source, columns=columns, name=name)
    rule = _yes_or_no if name.startswith("PRIME") else _boxed
    read = pl.Series("extracted_answer", [rule(text or "") for text in run.frame["output"]], dtype=pl.String)
    return replace(run, frame=run.frame.with_columns(read))


def routed(folder: Path, old: str, new: str, fit: FitOptions) -> RouteReport:
    """Fit a gate on two versions' published answers, and report on the items kept apart."""
    with tempfile.TemporaryDirectory() as work:
        runs = [version(folder, name, Path(work)) for name in (old, new)]
    return fit_route(runs[0], runs[1], fit=fit, prices=Prices(old=0.0, new=1.0)).report


def table(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the rows of the table in docs/route.md: of each pair, and of each way to choose kappa that differs."""
    rows: dict[str, list[str]] = {}
    for each in found:
        task, old = str(each["old"]).split(":")
        ways, num = each["ways"], each["bound"]["counts"]["num"]
        new, rule = ways["new"], ways["rule"]
        name = (
            f"{old.rsplit('-', 1)[0].removesuffix('-turbo')}, {'primes' if task == 'PRIME_FULL' else 'happy numbers'}"
        )
        alone = f"{100 * ways['old']['accuracy']:.1f}"
        beside = f"{100 * new['accuracy']:.1f}, {100 * new['negative_flip_rate']:.1f}"
        calls = f"100, {rule['cost'] / 10 - 100:.0f}"  # of 1,000 items, at prices of 1 and 0
        gain = f"{100 * rule['gain']:+.1f}"
        numbers = f"{100 * rule['accuracy']:.1f}, {100 * rule['negative_flip_rate']:.1f} | {calls} | {gain}"
        line = f"{numbers} | {100 * each['flips_saved']:.0f} |"
        rows.setdefault(f"| {name} | {num} | {alone} | {beside} | {{}} | {line}", []).append(str(each["chosen_by"]))
    return [row.format(", ".join(chosen) if len(chosen) < len(WAYS) else "any") for row, chosen in rows.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path, nargs="?")
    given = parser.parse_args()
    if given.folder is not None:
        found = fitted(given.folder)
        write_json(RESULTS, {"command": "python benchmarks/route_published.py FOLDER", "pairs": found})
    print("\n".join(table(read_json(RESULTS)["pairs"])))


def fitted(folder: Path) -> list[dict[str, object]]:
    """Fit and report on every pair in every way."""
    found = []
    for old, new in PAIRS:
        for how, fit in WAYS.items():
            report = routed(folder / "llmdrift", old, new, fit)
            rows = {way.name: way for way in report.ways}
            told = {"old": old, "new": new, "chosen_by": how, "kappa": report.kappa}
            worth = {"ways": to_json(rows), "flips_saved": report.flips_saved, "bound": to_json(report.bound)}
            found.append({**told, "num_fitted": report.num_fitted, **worth})
    return found


if __name__ == "__main__":
    main()
