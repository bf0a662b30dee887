"""Reports to render in tests: what report.json holds, from a seed, counts and rates agreeing; `typed` reads it."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

from muscle import CompareOptions, Report
from muscle.flips.result.report import Settings

Metric = dict[str, Any]

NO_BOUNDS = dict.fromkeys(
    (
        "negative_flip_rate_lower_bound",
        "negative_flip_rate_upper_bound",
        "probability_worse",
        "minimum_detectable_difference",
    )
)

BROKEN_BY_WHOM = {
    "more_negative_flips_p": 1.0,
    "negative_flips_shared": 77,
    "negative_flips_avoided": 119,
    "negative_flips_alone": 9,
}

WORLD = (
    ("To carry the soup, the cook uses the", "bowl", "fork"),
    ("To cut the bread, the baker uses the", "knife", "spoon"),
    ("To dry the cup, the maid uses the", "towel", "brush"),
    ("To light the yard, the guard uses the", "lantern", "bucket"),
    ("To dig the bed, the gardener uses the", "spade", "rake"),
    ("To mend the coat, the tailor uses the", "needle", "hammer"),
)
SENTENCES = (
    "Mira oiled the gate and will paint the fence on Friday.",
    "Otto and Lena are planting beans behind the shed this spring.",
    "Paul may borrow the ladder that Ines keeps in the cellar to mend the roof.",
    "Nora takes the kettle for broken and asks Felix to bring another one.",
    "Ben is late because he missed the ferry and walked along the shore.",
)


def typed(report: dict[str, Any]) -> Report:
    """The report as the renderers take it."""
    return Report.from_json(report)


def estimate(hits: int, total: int) -> Metric:
    """A rate with its Wilson interval."""
    if total == 0:
        return undefined("no item to divide by")
    p, z = hits / total, 1.96
    middle = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z * math.sqrt(p * (1 - p) / total + z * z / (4 * total**2)) / (1 + z * z / total)
    return {"value": p, "low": max(0.0, middle - half), "high": min(1.0, middle + half)}


def around(value: float, half: float) -> Metric:
    return {"value": value, "low": value - half, "high": value + half}


def undefined(why: str) -> Metric:
    return {"value": None, "low": None, "high": None, "why": why}


def num_items(cells: dict[str, int]) -> int:
    return cells["both_right"] + cells["negative_flips"] + cells["positive_flips"] + cells["both_wrong"]


def binary_metrics(cells: dict[str, int]) -> Metric:
    """All metrics of a pair of runs from its quadrants."""
    total = num_items(cells)
    lost, gained = cells["negative_flips"], cells["positive_flips"]
    wrong = lost + cells["both_wrong"]
    old_right, new_right = cells["both_right"] + lost, cells["both_right"] + gained
    if total == 0:
        relative: Metric = undefined("no item to divide by")
        difference: Metric = undefined("no item to divide by")
    else:
        difference = around((gained - lost) / total, 0.012)
        chance = old_right / total * (1 - new_right / total)
        relative = around(lost / total / chance, 0.05) if chance else undefined("the new model has no error")
    return {
        "n": total,
        "accuracy_old": estimate(old_right, total),
        "accuracy_new": estimate(new_right, total),
        "accuracy_difference": difference,
        "negative_flip_rate": estimate(lost, total),
        "positive_flip_rate": estimate(gained, total),
        "inconsistency_rate": estimate(lost + cells["both_wrong_different"], total),
        "backward_trust_compatibility": estimate(cells["both_right"], old_right),
        "backward_error_compatibility": estimate(wrong - lost, wrong),
        "relative_negative_flip_rate": relative,
        "churn": estimate(lost + gained + cells["both_wrong_different"], total),
        "mean_gain": undefined("right or wrong has no size; give a score"),
        "mean_regression": undefined("right or wrong has no size; give a score"),
        "mcnemar_exact_p": 0.0312,
        "mcnemar_mid_p": 0.0287,
        "mcnemar_harm_p": 0.9871,
        **NO_BOUNDS,
    }


def continuous_metrics(cells: dict[str, int], old: float, new: float) -> Metric:
    total = sum(cells.values())
    why = "needs answers that are right or wrong; rouge1 is continuous"
    return {
        "n": total,
        "accuracy_old": around(old, 0.008),
        "accuracy_new": around(new, 0.009),
        "accuracy_difference": around(new - old, 0.007),
        "negative_flip_rate": estimate(cells["worse"], total),
        "positive_flip_rate": estimate(cells["better"], total),
        "inconsistency_rate": undefined(why),
        "backward_trust_compatibility": undefined(why),
        "backward_error_compatibility": undefined(why),
        "relative_negative_flip_rate": undefined(why),
        "churn": undefined(why),
        "mean_gain": around(0.101 + new / 10, 0.006),
        "mean_regression": around(0.132 - new / 10, 0.006),
        "mcnemar_exact_p": 1.0,
        "mcnemar_mid_p": 0.972,
        "mcnemar_harm_p": 0.5141,
        **NO_BOUNDS,
    }


def quadrants(right: int, lost: int, gained: int, same: int, different: int) -> dict[str, int]:
    return {
        "both_right": right,
        "negative_flips": lost,
        "positive_flips": gained,
        "both_wrong": same + different,
        "both_wrong_same": same,
        "both_wrong_different": different,
        "both_right_changed": 0,
    }


def nothing_more() -> dict[str, Any]:
    """A task's entries where items were asked once and nothing is known of slices, causes, closeness or a judge."""
    return {
        "scores_not_compared": [],
        "unscored": 0,
        "repeats": {"old": 1, "new": 1, "candidate": 1},
        "variance": None,
        "slices": {},
        "causes": None,
        "what_changed": [],
        "closeness": None,
        "judge": None,
    }


def binary_task(plain: dict[str, int], candidate: dict[str, int] | None) -> dict[str, Any]:
    task: dict[str, Any] = {
        "n": num_items(plain),
        "kind": "binary",
        "score": None,
        **nothing_more(),
        "old_vs_new": binary_metrics(plain),
        "old_vs_candidate": None,
        "new_vs_candidate": None,
        "quadrants": {"old_vs_new": plain},
        "candidate_effect": None,
        "difference_histogram": None,
    }
    if candidate is not None:
        nfr, nfr_c = plain["negative_flips"] / task["n"], candidate["negative_flips"] / task["n"]
        after = binary_metrics(candidate)
        task["old_vs_candidate"] = task["new_vs_candidate"] = after
        task["quadrants"]["old_vs_candidate"] = candidate
        task["candidate_effect"] = {
            "n": task["n"],
            "negative_flip_rate_change": around(nfr_c - nfr, 0.011),
            "negative_flip_rate_change_percent": around(100 * (nfr_c - nfr) / nfr, 7.5),
            "accuracy_change": around(
                after["accuracy_new"]["value"] - task["old_vs_new"]["accuracy_new"]["value"], 0.01
            ),
            "mean_gain_change": undefined("right or wrong has no size; give a score"),
            "mean_regression_change": undefined("right or wrong has no size; give a score"),
            "negative_flips_mcnemar_exact_p": 3.1e-14,
            **BROKEN_BY_WHOM,
        }
    return task


def continuous_task(*, candidate: bool) -> dict[str, Any]:
    plain = {"better": 402, "worse": 401, "equal": 16}
    after = {"better": 449, "worse": 330, "equal": 40}
    edges = [round(-0.5 + 0.05 * i, 2) for i in range(21)]
    draw = random.Random(5)

    def counts(mean: float, number: int) -> list[int]:
        bins = [0] * 20
        for _ in range(number):
            bins[min(19, max(0, int((draw.gauss(mean, 0.14) + 0.5) / 0.05)))] += 1
        return bins

    old_vs_new = continuous_metrics(plain, 0.3206, 0.3228)
    task: dict[str, Any] = {
        "n": 819,
        "kind": "continuous",
        "score": "rouge1",
        **nothing_more(),
        "old_vs_new": old_vs_new,
        "old_vs_candidate": None,
        "new_vs_candidate": None,
        "quadrants": {"old_vs_new": plain},
        "candidate_effect": None,
        "difference_histogram": {"edges": edges, "old_vs_new": counts(0.0, 819)},
    }
    if candidate:
        task["old_vs_candidate"] = task["new_vs_candidate"] = continuous_metrics(after, 0.3206, 0.3479)
        task["quadrants"]["old_vs_candidate"] = after
        task["difference_histogram"]["old_vs_candidate"] = counts(0.03, 819)
        task["candidate_effect"] = {
            "n": 819,
            "negative_flip_rate_change": around(-71 / 819, 0.02),
            "negative_flip_rate_change_percent": around(-100 * 71 / 401, 4.4),
            "accuracy_change": around(0.0251, 0.006),
            "mean_gain_change": around(0.0064, 0.004),
            "mean_regression_change": around(-0.0113, 0.004),
            "negative_flips_mcnemar_exact_p": 0.0021,
            **BROKEN_BY_WHOM,
        }
    return task


ASKED_ONCE = dict.fromkeys(("margin", "within_noise", "cause", "verdict", "p_value", "pass_rate", "repeats"))
"""A flip's entries of an item that was asked once, without likelihoods or causes."""


def _choice_answer(draw: random.Random, chosen: int, right: int) -> dict[str, Any]:
    better = round(-draw.uniform(2, 6), 3)
    logprobs = [0.0, 0.0]
    logprobs[chosen], logprobs[1 - chosen] = better, round(better - draw.uniform(0.05, 2.5), 3)
    return {"output": None, "choice": chosen, "correct": chosen == right, "score": None, "logprobs": logprobs}


def choice_flip(
    draw: random.Random, task: str, number: int, kind: str, candidate: bool, fixed: bool = False
) -> dict[str, Any]:
    """One flip of a two-choice task; `kind` may also be "introduced"."""
    text, good, bad = WORLD[number % len(WORLD)]
    right = draw.randrange(2)
    states = {"negative_flip": (1, 0), "positive_flip": (0, 1), "introduced": (1, 1)}[kind]
    old = _choice_answer(draw, right if states[0] else 1 - right, right)
    new = _choice_answer(draw, right if states[1] else 1 - right, right)
    kept = kind == "positive_flip" and draw.random() < 0.8
    third = _choice_answer(draw, right if fixed or kept else 1 - right, right) if candidate else None
    margins = [s["logprobs"][right] - s["logprobs"][1 - right] for s in (old, new)]
    return {
        "task": task,
        "id": f"{task}-{number}",
        "kind": "other_wrong" if kind == "introduced" else kind,
        "fixed": fixed if candidate and kind == "negative_flip" else None,
        "introduced": (kind == "introduced") if candidate else None,
        "input": text,
        "choices": [good, bad] if right == 0 else [bad, good],
        "reference": [good],
        "old": old,
        "new": new,
        "candidate": third,
        "size": round(margins[0] - margins[1], 4),
        "slices": {"place": draw.choice(["kitchen", "yard"])},
        **ASKED_ONCE,
    }


def text_flip(draw: random.Random, task: str, number: int, candidate: bool) -> dict[str, Any]:
    """One flip of a summary task: words changed, ROUGE-1 lower or higher."""
    reference = SENTENCES[number % len(SENTENCES)]
    words = reference.split()

    def answer(changes: int) -> dict[str, Any]:
        written = list(words)
        for _ in range(changes):
            written[draw.randrange(len(written))] = draw.choice(
                ["perhaps", "nobody", "the friend", "later", "on Monday"]
            )
        score = round(max(0.05, 0.9 - 0.13 * changes + draw.uniform(-0.05, 0.05)), 4)
        return {
            "output": " ".join(written),
            "choice": None,
            "correct": None,
            "score": score,
            "logprobs": None,
        }

    old, new = answer(1), answer(3)
    third = answer(draw.choice([1, 4])) if candidate else None
    return {
        "task": task,
        "id": f"{13728000 + number}",
        "kind": "negative_flip" if new["score"] < old["score"] else "positive_flip",
        "fixed": third["score"] >= old["score"] if third else None,
        "introduced": False if third else None,
        "input": "Dialogue:\nMira: I oiled the gate. Is it quieter?\nOtto: Much!\nMira: Then the fence "
        "gets its paint on Friday :-)",
        "choices": None,
        "reference": [reference],
        "old": old,
        "new": new,
        "candidate": third,
        "size": round(old["score"] - new["score"], 4),
        "slices": {},
        **ASKED_ONCE,
    }


JOINED_WHOLE = dict.fromkeys(
    (
        "only_old",
        "only_new",
        "duplicates",
        "conflicting",
        "reference_changed",
        "prompt_changed",
        "surplus_repeats",
        "errors_old",
        "errors_new",
        "changed",
    ),
    0,
) | {"key": "input", "unpaired_share": 0.0}
NOTHING_MISSING = dict.fromkeys(("errors", "unscored", "only_old", "only_new", "unread"), 0)
SETTINGS = {name: getattr(CompareOptions(), name) for name in Settings.__dataclass_fields__} | {"lower_is_better": []}


def make_report(
    *,
    tasks: Sequence[str] = ("house",),
    candidate: bool = True,
    others: bool = True,
    flips: bool = True,
    verdict: str = "pass",
    seed: int = 0,
) -> dict[str, Any]:
    """A whole report; the task "samsum" is continuous, every other one binary with two choices."""
    draw = random.Random(seed)
    data: dict[str, Any] = {}
    listed: list[dict[str, Any]] = []
    for position, task in enumerate(tasks):
        if task == "samsum":
            data[task] = continuous_task(candidate=candidate)
            listed += [text_flip(draw, task, i, candidate) for i in range(40 if flips else 0)]
            continue
        lost, gained = (196 - 23 * position, 242 + 60 * position) if flips else (0, 0)
        rest = 400 - 20 * position
        different = 60 if task == "hellaswag" else 0
        plain = quadrants(2000 - lost - gained - rest, lost, gained, rest - different, different)
        after = quadrants(plain["both_right"] + lost - 86, 86, gained - 43, rest + 43 - different // 2, different // 2)
        if not flips:
            after = plain
        data[task] = binary_task(plain, after if candidate and flips else None)
        listed += [choice_flip(draw, task, i, "negative_flip", candidate, i >= 77) for i in range(lost)]
        listed += [choice_flip(draw, task, lost + i, "positive_flip", candidate) for i in range(gained)]
        if candidate and flips:
            listed += [choice_flip(draw, task, 900 + i, "introduced", candidate) for i in range(9)]
    kinds = ("negative_flip", "positive_flip", "other_wrong")
    more: list[dict[str, Any]] = []
    if others:
        cells = {t: d for t, d in data.items() if d["kind"] == "binary"}
        base = {t: binary_metrics(quadrants(1250, 330, 270, 150, 0)) for t in cells}
        control = {t: binary_metrics(quadrants(1376, 189, 238, 197, 0)) for t in cells}
        more = [{"name": "bare base v2", "tasks": base}, {"name": "longer training", "tasks": control}]
    return {
        "format": "muscle-report/1",
        "muscle_version": "0.1.0",
        "created": "2026-11-24T12:00:00+00:00",
        "old": "tiny-v1 + house",
        "new": "tiny-v2 + house",
        "candidate": "tiny-v2 + compatibility" if candidate else None,
        "sources": {
            "old": {
                "path": "muscle-demo/predictions/old",
                "format": "muscle",
                "lm_eval": "0.4.13",
                "generation": {"greedy": True},
            },
            "new": {"path": "muscle-demo/predictions/new", "format": "muscle"},
            **({"candidate": {"path": "muscle-demo/predictions/compat", "format": "muscle"}} if candidate else {}),
        },
        "verdict": verdict,
        "headline": (
            "The compatibility adapter gives back more than half of what the plain update broke, at no "
            "measurable loss of accuracy."
            if candidate
            else "The update gains 2.3 points of accuracy and breaks 9.8% of the answers."
        ),
        "warnings": [],
        "reasons": [
            "house: 86 negative flips instead of 196 (-56%, exact McNemar p < 0.001)",
            "house: accuracy 79.1% against 79.4% of the plain update",
        ],
        "join": {"paired": sum(t["n"] for t in data.values()), **JOINED_WHOLE},
        "missing": {"old_vs_new": {"total": sum(t["n"] for t in data.values()), **NOTHING_MISSING}},
        "unread": {},
        "tasks": data,
        "pooled": {},
        "others": more,
        "flips": listed,
        "flips_total": {kind: sum(f["kind"] == kind for f in listed) for kind in kinds},
        "flips_shown": len(listed),
        "settings": SETTINGS,
        "noise": {"source": "unknown", "sentence": ""},
        "comparability": {},
    }
