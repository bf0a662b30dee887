"""`muscle route` on published answers of two versions of a model: what stored old answers save beside the new model.

    python benchmarks/route_published.py FOLDER

FOLDER is that of docs/published.md (its sub-folder `llmdrift/`); nothing is fetched. Half of the items are fitted on,
half are kept apart, as muscle does it by itself; features are the lengths and what each model answered. Aggregate
numbers go to benchmarks/results/route_published.json; no item is kept.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import polars as pl

from muscle.files import write_json
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    found = []
    for old, new in PAIRS:
        for how, fit in WAYS.items():
            report = routed(given.folder / "llmdrift", old, new, fit)
            rows = {way.name: way for way in report.ways}
            print(f"{old} -> {new}, {how}: {report.headline}")
            for way in report.ways:
                print(f"  {way.words:22} {way.accuracy:.3f} {way.negative_flip_rate:.3f}")
            told = {"old": old, "new": new, "chosen_by": how, "kappa": report.kappa}
            worth = {"ways": to_json(rows), "flips_saved": report.flips_saved, "bound": to_json(report.bound)}
            found.append({**told, "num_fitted": report.num_fitted, **worth})
    write_json(RESULTS, {"command": "python benchmarks/route_published.py FOLDER", "pairs": found})


if __name__ == "__main__":
    main()
