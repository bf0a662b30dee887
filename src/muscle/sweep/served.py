"""Both models served as rows of the leaderboard: the ways of `muscle.route`, fitted on the validation data.

Nothing is trained for them. Old and new are scored on the validation items, a rule is fitted there, and its answers to
the test items are written as records like any other run's.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from muscle import distributed
from muscle.evaluation.save import evaluate_to_file, save_run
from muscle.flips.options import TOLERANCE
from muscle.pipeline.loaded_bases import SIDES, Side
from muscle.pipeline.run_folder import content_of
from muscle.pipeline.stage import Stage
from muscle.pipeline.stages import UpdateStages
from muscle.predictions.run import METADATA_FILE, SCORE_PREFIX, Run
from muscle.route.items import Items, pair_items
from muscle.route.likelihoods import log_softmax
from muscle.route.option_rules import NO_GOLD, OptionRule, OptionScores
from muscle.route.scores import option_scores
from muscle.route.served import VARIANTS, Variant
from muscle.tasks import TaskData

NAMES = {
    "mean": "served: mean",
    "stack1": "served: kappa 1",
    "limit": "served: kappa by limit",
    "ask25": "served: old for 25%",
}
"""What the tables call the ways that are shown."""

WAYS: tuple[Variant, ...] = tuple(each for each in VARIANTS if each.name in NAMES)
"""The ways to serve two models that are shown; kappa's flip limit is the verdict's tolerance."""


def served_stages(update: UpdateStages, data: TaskData, test: Path) -> list[Stage]:
    """Return the stages that serve both models on one task.

    Args:
        update: whose adapters are given.
        data: of a choice task.
        test: folder of the predictions on the test data, by side.
    """
    held = [_score_validation(update, side, data) for side in SIDES]
    return [*held, _serve(update, data, test)]


def _validation(update: UpdateStages, side: Side, task: str) -> Path:
    return update.folder / "validation" / side / f"{task}.jsonl"


def _score_validation(update: UpdateStages, side: Side, data: TaskData) -> Stage:
    name = data.task.name
    out, adapter, size = (
        _validation(update, side, name),
        update.adapter(side, name),
        update.config.evaluation.batch_size,
    )
    of_test = update.evaluate(side, data)

    def inputs() -> dict[str, object]:
        return {**of_test.inputs(), "test": data.fingerprints["validation"]}

    def work() -> None:
        base = update.bases.scorer(side)
        evaluate_to_file(base, adapter, data.task, data.validation, out, name=side, batch_size=size)

    return Stage(f"validation {side}/{name}", inputs, (out, out.parent / METADATA_FILE), work, data=data)


def _serve(update: UpdateStages, data: TaskData, test: Path) -> Stage:
    name = data.task.name
    files = {f"validation/{side}": _validation(update, side, name) for side in SIDES}
    files |= {f"test/{side}": test / side / f"{name}.jsonl" for side in SIDES}
    outputs = [update.predictions(way.name, name) for way in WAYS]

    def inputs() -> dict[str, object]:
        ways = {way.name: [way.share, way.kappa, way.ask_share] for way in WAYS}
        return {"files": {key: content_of(path) for key, path in files.items()}, "ways": ways, "limit": TOLERANCE}

    def work() -> None:
        distributed.from_main(partial(_write_served, data, files, dict(zip(WAYS, outputs, strict=True))))

    facts = [path.parent / METADATA_FILE for path in outputs]
    return Stage(f"serve {name}", inputs, (*outputs, *facts), work, data=data)


def _write_served(data: TaskData, files: dict[str, Path], outputs: dict[Variant, Path]) -> None:
    """Fit each way on the validation items, and write its answers to the test items."""
    known = option_scores(pair_items(files["validation/old"], files["validation/new"]))
    known = known[known.gold != NO_GOLD]
    items = pair_items(files["test/old"], files["test/new"])
    asked = option_scores(items)
    for way, out in outputs.items():
        rule = way.fit(known, TOLERANCE)
        about = {
            "definition": dict(data.task.definition),
            "num_items": items.num,
            "data_fingerprint": data.fingerprints["test"],
        }
        metadata = {"format": "muscle", "tasks": {data.task.name: about}}
        facts = {"served": way.words, "asked_share": float(np.mean(rule.asked(asked)))}
        out.parent.mkdir(parents=True, exist_ok=True)
        save_run(Run(way.name, served_records(items, asked, rule), metadata), out, facts=facts)


def served_records(items: Items, scores: OptionScores, rule: OptionRule) -> pl.DataFrame:
    """Return the new model's records with the served answers in their place.

    Log-likelihoods are those that the rule answers from, and the scores are those that follow from them.
    """
    frame = items.new.frame
    answers, values = rule.answers(scores), log_softmax(rule.values(scores))
    right, each = answers == scores.gold, np.arange(answers.size)
    of_gold = np.where(scores.gold == NO_GOLD, np.nan, values[each, scores.gold])
    counts, options = frame["choices"].list.len().to_list(), frame["choices"].to_list()
    made = {
        "gold_probability": np.exp(of_gold),
        "gold_logprob": of_gold,
        "acc": right.astype(np.float64),
    }
    names = [name for name in frame.columns if name.startswith(SCORE_PREFIX)]
    kept = [name for name in names if name.removeprefix(SCORE_PREFIX) in made]
    return frame.drop(set(names) - set(kept)).with_columns(
        pl.Series("choice", answers, dtype=frame.schema["choice"]),
        pl.Series("output", [of[answer] for of, answer in zip(options, answers, strict=True)], dtype=pl.String),
        pl.Series("correct", right),
        pl.Series("logprobs", [row[:count].tolist() for row, count in zip(values, counts, strict=True)]),
        *(pl.Series(name, made[name.removeprefix(SCORE_PREFIX)]).fill_nan(None) for name in kept),
    )
