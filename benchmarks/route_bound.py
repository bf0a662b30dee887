"""How often the bound of `muscle route` holds, and whether kappa keeps its limit: whole fits on made-up models.

    python benchmarks/route_bound.py

Each run draws the answers of an old and a new model to fresh questions, fits a rule as `muscle route fit` does, and
holds its bound on P(old right and answer wrong), from the items kept apart, against the rule's rate on 20,000 other
questions. A bound of 95 % may be too low in 5 % of the runs. In the cases with labels nobody judged anything but the
list of `muscle route label`: half by expected gain, half at random. Numbers go to benchmarks/results/route_bound.json.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from muscle.files import write_json
from muscle.provenance import versions
from muscle.route import FitOptions, fit_route, list_to_label
from muscle.route.items import Items, pair_items
from muscle.route.labelling.labels import Labels, Line, Word
from muscle.route.serving import serve

RESULTS = Path(__file__).parent / "results" / "route_bound.json"
POPULATION = 20_000
OPTIONS = 4


@dataclass(frozen=True)
class Case:
    """One kind of fit.

    Attributes:
        name: of it.
        num: questions that are asked.
        likelihoods: whether the models' likelihoods are there (a stack) or only answers and confidence (a gate).
        labels: labels that are bought; None where every answer is judged.
        limit: negative flip rate that kappa is chosen by.
    """

    name: str
    num: int
    likelihoods: bool
    labels: int | None
    limit: float


CASES = (
    Case("gate, all judged, 400 items", 400, False, None, 0.02),
    Case("gate, all judged, 1,000 items", 1000, False, None, 0.02),
    Case("gate, 150 labels of 1,000 items", 1000, False, 150, 0.02),
    Case("gate, 300 labels of 3,000 items", 3000, False, 300, 0.02),
    Case("stack, all judged, 400 items", 400, True, None, 0.01),
    Case("stack, all judged, 1,000 items", 1000, True, None, 0.01),
)


def answers(num: int, seed: int, *, likelihoods: bool, start: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return records of an old and a new model, each right where noise does not drown the truth."""
    generator = np.random.default_rng(seed)
    gold = generator.integers(0, OPTIONS, num)
    shared = generator.normal(size=(num, OPTIONS)) * 0.7  # what is hard for one is hard for the other
    frames = []
    for signal in (2.2, 2.5):
        noise = shared + generator.normal(size=(num, OPTIONS)) * 0.7
        values = signal * (np.arange(OPTIONS) == gold[:, None]) + noise
        choice = values.argmax(-1)
        shares = np.exp(values) / np.exp(values).sum(-1, keepdims=True)
        frame = pl.DataFrame(
            {
                "id": [str(start + row) for row in range(num)],
                "input": [f"question {start + row:08d}" for row in range(num)],  # equally long
                "output": choice.astype(str),
                "correct": choice == gold,
                "score.confidence": shares.max(-1),
            }
        )
        if likelihoods:
            options = [str(option) for option in range(OPTIONS)]
            frame = frame.with_columns(
                pl.Series("logprobs", values.tolist()),
                pl.Series("choices", [options] * num),
                pl.Series("reference", [[str(each)] for each in gold]),
                pl.Series("choice", choice),
            )
        frames.append(frame)
    return frames[0], frames[1]


def bought(frames: tuple[pl.DataFrame, pl.DataFrame], num: int) -> tuple[list[pl.DataFrame], Labels]:
    """Return the runs without their verdicts, and the truth for those that the list asks for."""
    runs = [frame.with_columns(correct=pl.lit(None, dtype=pl.Boolean)) for frame in frames]
    listed = list_to_label(runs[0], runs[1], num=num).frame
    right = [dict(zip(frame["id"], frame["correct"], strict=True)) for frame in frames]
    words: dict[tuple[bool, bool], Word] = {
        (True, False): "old",
        (False, True): "new",
        (True, True): "both",
        (False, False): "neither",
    }
    labels = {
        key: Line(words[right[0][item], right[1][item]], purpose == "bound")
        for key, item, purpose in listed.select("fingerprint", "id", "purpose").iter_rows()
    }
    return runs, Labels("drawn", labels)


def one_run(case: Case, seed: int, population: Items) -> tuple[float, float, float]:
    """Return a fit's bound, its rule's rate on the population, and that of the new model alone."""
    frames = answers(case.num, seed, likelihoods=case.likelihoods)
    fit = FitOptions(flip_limit=case.limit)
    if case.labels is None:
        found = fit_route(*frames, fit=fit)
    else:
        runs, labels = bought(frames, case.labels)
        found = fit_route(runs[0], runs[1], fit=fit, labels=labels)
    served = serve(found.rule.rule(), population)
    old_right = population.old.right == 1
    rate = float((old_right & (served.right == 0)).mean())
    assert found.report.bound is not None, "half of the items are kept apart"
    return found.report.bound.high, rate, float((old_right & (population.new.right == 0)).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=300)
    given = parser.parse_args()
    found = []
    for case in CASES:
        population = pair_items(*answers(POPULATION, 10**6, likelihoods=case.likelihoods, start=10**6))
        start = time.monotonic()
        draws = np.array([one_run(case, seed, population) for seed in range(given.runs)])
        bounds, rates, plain = draws.T
        row = {
            "case": case.name,
            "runs": given.runs,
            "flip_limit": case.limit,
            "bound_held": float((bounds >= rates).mean()),
            "mean_bound": float(bounds.mean()),
            "mean_rate": float(rates.mean()),
            "rate_of_new_alone": float(plain[0]),
            "within_limit": float((rates <= case.limit).mean()),
            "seconds": round(time.monotonic() - start, 1),
        }
        print(row, flush=True)
        found.append(row)
        about = {"command": f"python benchmarks/route_bound.py --runs {given.runs}", "versions": versions()}
        write_json(RESULTS, {**about, "population": POPULATION, "cases": found})


if __name__ == "__main__":
    main()
