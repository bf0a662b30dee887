"""Reports with all that the explorer can show: repeats, verdicts, causes, slices, closeness, a gate's rules."""

from __future__ import annotations

import random
from typing import Any

from helpers.report_examples import ASKED_ONCE, around, estimate, make_report, nothing_more, undefined

CAUSES = ("knowledge", "format", "refusal", "cut_off", "error")


def rich_report(*, tasks: tuple[str, ...] = ("house", "samsum"), **options: Any) -> dict[str, Any]:
    """A report in which every optional key is there."""
    report = make_report(tasks=tasks, **options)
    draw = random.Random(11)
    for name, task in report["tasks"].items():
        _add_noise(task)
        _add_causes(task)
        _add_slices(name, task)
    for flip in report["flips"]:
        _enrich(flip, draw)
    report["noise"] = {
        "source": "repeats",
        "sentence": "4.1 points of the 9.8% negative flips are what the old model shows against itself "
        "(10 answers an item).",
    }
    report["comparability"] = {
        "old_vs_new": [
            difference("generation: temperature 0.7 in the old run, 0.8 in the new one"),
            difference("lm-eval 0.4.9 and 0.4.13"),
        ],
        "old_vs_candidate": [difference("lm-eval 0.4.9 and 0.4.13")],
    }
    return report


def difference(message: str) -> dict[str, Any]:
    return {
        "what": "settings",
        "severity": "note",
        "message": message,
        "allow": None,
        "allowed": False,
        "quoted": "",
    }


def _add_noise(task: dict[str, Any]) -> None:
    for side, regressed in (("old_vs_new", 131), ("old_vs_candidate", 44)):
        if not task.get(side):
            continue
        task[side]["items"] = {
            "n": 2000,
            "regressed": estimate(regressed, 2000),
            "improved": estimate(160, 2000),
            "equivalent": estimate(1401 - regressed, 2000),
            "cannot_tell": estimate(439, 2000),
            "null95": {"value": 0.0045, "low": None, "high": None},
            "null_p": None,
        }
        task[side]["noise_floor"] = estimate(82, 2000)
        task[side]["excess_negative_flip_rate"] = around(0.057 if side == "old_vs_new" else 0.002, 0.011)
    task["repeats"] = {"old": 10, "new": 10, "candidate": 10}
    rest = {"standard_error": 0.007, "standard_error_of_one_answer": 0.011, "n": 2000}
    task["variance"] = {
        "old_vs_new": {"total": 0.221, "items": 0.094, "answers": 0.127, **rest},
        "old_vs_candidate": {"total": 0.2, "items": 0.07, "answers": 0.13, **rest},
    }


def _add_causes(task: dict[str, Any]) -> None:
    counts = {
        "knowledge": 61,
        "format": 97,
        "refusal": 21,
        "cut_off": 14,
        "error": 3,
        "mentions <b>price</b>": 2,
    }
    task["causes"] = {
        "old_vs_new": {"negative_flip": counts, "positive_flip": {"knowledge": 140, "format": 9}},
        "old_vs_candidate": {
            "negative_flip": {"knowledge": 52, "format": 6},
            "positive_flip": {"knowledge": 150},
        },
        "strict_loose": {
            side: {"strict": strict, "loose": loose, "gap": loose - strict}
            for side, strict, loose in (("old", 0.69, 0.7), ("new", 0.71, 0.76), ("candidate", 0.75, 0.757))
        },
        "loose_scorer": "our own reading of the text",
        "sentence": "4.9 points lost, 3.9 of them by format: the new model writes the answer in bold.",
    }
    task["what_changed"] = [
        {
            "what": "answer length in words",
            "kind": "length",
            "flipped": 61.2,
            "others": 24.0,
            "ratio": 2.55,
            "p": 1e-9,
            "p_adjusted": 4e-8,
        },
        {
            "what": "starts with “Sure,”",
            "kind": "ngram",
            "flipped": 0.31,
            "others": 0.04,
            "ratio": 7.75,
            "p": 1e-6,
            "p_adjusted": 2e-5,
        },
    ]
    spread = {"mean": 0.031, "median": 0.011, "p01": -0.21, "p99": 0.44}
    close = {
        "items": 2000,
        "kl": {**spread, "max": 1.7},
        "same_top": estimate(1800, 2000),
        "right_probability_change": {**spread, "rms": 0.08},
    }
    task["closeness"] = {"old_vs_new": close, "old_vs_rerun": None, "sentence": None}


def _slice_row(value: str, n: int, lost: int, gained: int, p: float) -> dict[str, Any]:
    return {
        "by": "place",
        "value": value,
        "n": n,
        "negative_flips": lost,
        "positive_flips": gained,
        "negative_flip_rate": estimate(lost, n),
        "positive_flip_rate": estimate(gained, n),
        "accuracy_old": 0.7,
        "accuracy_new": 0.7 + (gained - lost) / n,
        "accuracy_difference": around((gained - lost) / n, 0.02),
        "direction": "worse" if lost > gained else "better" if gained > lost else "even",
        "p": p,
        "bh_p": min(1.0, 2 * p),
        "holm_p": min(1.0, 3 * p),
        "significant": 2 * p < 0.05,
        "excess": {
            "value": lost / n - 0.05,
            "low": 0.02,
            "high": 0.09,
            "rest": 0.05,
            "p": p,
            "bh_p": min(1.0, 2 * p),
            "holm_p": min(1.0, 3 * p),
        },
    }


def _add_slices(name: str, task: dict[str, Any]) -> None:
    rows = [_slice_row("kitchen", 900, 140, 60, 1e-5), _slice_row("yard", 1100, 56, 182, 1e-9)]
    rows += [_slice_row(f"room {i}", 60, 5, 6, 0.4) for i in range(14)]
    kept = ("by", "value", "n", "negative_flips", "negative_flip_rate", "excess")
    sliced = {
        "min_items": 30,
        "by": [
            {
                "by": "place",
                "kind": "column",
                "of": "place",
                "slices": 19,
                "tested": 16,
                "skipped": None,
                "without_value": 0,
                "small": {"slices": 3, "items": 22, "negative_flips": 2, "positive_flips": 1},
            }
        ],
        "rows": rows,
        "simpson": [
            {
                "by": "place",
                "kind": "against_the_whole",
                "worse": ["kitchen"],
                "better": ["yard"],
                "overall": {"direction": "better", "clear": True, "accuracy_difference": around(0.023, 0.01)},
            }
        ],
        "concentrated": [{key: rows[0][key] for key in kept} | {"significant": True}],
    }
    task["slices"] = {side: sliced for side in ("old_vs_new", "old_vs_candidate") if task.get(side)}


def _enrich(flip: dict[str, Any], draw: random.Random) -> None:
    """Add to a flip what repeats and causes would give it."""
    lost = flip["kind"] == "negative_flip"
    flip["verdict"] = draw.choice(["regressed", "cannot_tell"] if lost else ["improved", "equivalent"])
    flip["p_value"] = round(draw.uniform(1e-5, 0.2), 6)
    flip["cause"] = draw.choice(CAUSES) if lost else None
    flip["within_noise"] = draw.random() < 0.4
    sides = ("old", "new", "candidate")
    flip["margin"] = {side: _lead(flip[side]) for side in sides} if flip["choices"] else None
    flip["repeats"] = {side: _repeats(flip[side], draw) for side in sides}
    flip["pass_rate"] = {
        side: None if answers is None else sum(a["correct"] is True for a in answers) / len(answers)
        for side, answers in flip["repeats"].items()
    }


def _lead(answer: dict[str, Any] | None) -> float | None:
    """By how much the likeliest choice leads the second."""
    if answer is None:
        return None
    second, first = sorted(answer["logprobs"])[-2:]
    return round(first - second, 4)


def _repeats(answer: dict[str, Any] | None, draw: random.Random) -> list[dict[str, Any]] | None:
    if answer is None:
        return None
    keys = ("output", "choice", "correct", "score")
    first = {key: answer[key] for key in keys}
    return [first] + [{**first, "correct": draw.random() < 0.6} for _ in range(9)]


def gate_report(**options: Any) -> dict[str, Any]:
    """A report that came from the gate."""
    report = rich_report(**options)
    base = {
        "task": "house",
        "slice": None,
        "metric": "negative_flip_rate",
        "tier": "block",
        "test": "interval",
        "limit": 0.02,
        "n": 2000,
        "value": 0.043,
        "low": 0.036,
        "high": 0.052,
        "p": 1e-8,
        "outcome": "broken",
        "verdict": "block",
        "reason": "4.3% of the items broke, at least 3.6%: more than the 2.0% that the policy lets pass",
        "unit": "share",
    }
    findings = [
        base,
        {
            **base,
            "slice": "place = kitchen",
            "tier": "warn",
            "outcome": "undecided",
            "verdict": "cannot_tell",
            "p": 0.2,
            "reason": "too few items to tell",
        },
        {
            **base,
            "metric": "harm",
            "limit": None,
            "value": -0.02,
            "low": None,
            "high": -0.01,
            "outcome": "holds",
            "verdict": "pass",
            "p": 0.9,
            "reason": "no more broke than was gained",
        },
        {
            **base,
            "task": None,
            "metric": "coverage",
            "test": "presence",
            "limit": None,
            "n": 0,
            "value": None,
            "low": None,
            "high": None,
            "p": None,
            "outcome": "undecided",
            "verdict": "cannot_tell",
            "reason": "the policy names this task, and no such task was compared",
        },
    ]
    report["gate"] = {
        "policy": {"alpha": 0.05, "tasks": {"house": {"negative_flip_rate": 0.02}}},
        "strict": True,
        "verdict": "block",
        "exit_code": 1,
        "findings": findings,
    }
    report["verdict"] = "block"
    return report


def not_known(report: dict[str, Any]) -> dict[str, Any]:
    """The same report where the optional keys are there and hold nothing, as without repeats and causes."""
    why = "floor unknown; run the old model once more (--rerun FILE)"
    for task in report["tasks"].values():
        for side in ("old_vs_new", "old_vs_candidate"):
            if task.get(side):
                del task[side]["items"]
                task[side] |= {"noise_floor": undefined(why), "excess_negative_flip_rate": undefined(why)}
        task |= nothing_more()
    for flip in report["flips"]:
        flip |= {**ASKED_ONCE, "slices": {}}
    report["noise"] = {
        "source": "unknown",
        "sentence": "Floor unknown; run the old model once more (--rerun FILE).",
    }
    report["comparability"] = {"old_vs_new": [], "old_vs_candidate": []}
    return report
