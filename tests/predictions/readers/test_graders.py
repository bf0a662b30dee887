"""Another judge, scorer, limit or number of examples is told, wherever a format writes it, on one side alone too."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness_files import helm_run, write

from helpers.places import DATA
from muscle import read_run
from muscle.flips.pairing.comparability import find_differences
from muscle.predictions.writers.convert import convert

INSPECT = DATA / "harness_runs" / "inspect" / "old.json"
Change = Callable[[dict[str, Any]], object]


def told(old: Path, new: Path) -> list[tuple[str, str, str]]:
    """Return what differs between two runs beside the model: kind, severity, message."""
    found = find_differences(read_run(old), read_run(new))
    return [(each.what, each.severity, each.message) for each in found if each.what != "model"]


def inspect_log(path: Path, change: Change = lambda log: None) -> Path:
    """Write a real log of Inspect, changed."""
    log = json.loads(INSPECT.read_text())
    change(log)
    return write(path, log)


def scorer_options(**options: object) -> Change:
    return lambda log: log["eval"]["scorers"][0].update(options=options)


def parameters(**values: object) -> Change:
    return lambda log: log["results"]["scores"][0].update(params=values)


def evaluated(**facts: object) -> Change:
    return lambda log: log["eval"].update(facts)


def planned(**settings: object) -> Change:
    return lambda log: log["plan"].update(config=settings)


def limited(**limits: object) -> Change:
    return lambda log: log["eval"]["config"].update(limits)


def both(*changes: Change) -> Change:
    return lambda log: [change(log) for change in changes]


@pytest.mark.parametrize(
    ("old", "new", "kind", "message"),
    [
        (
            scorer_options(location="exact"),
            scorer_options(location="any"),
            "metric",
            "match.location exact against any",
        ),
        (scorer_options(), scorer_options(ignore_case=False), "metric", 'match none against {"ignore_case": false}'),
        (parameters(location="exact"), parameters(location="any"), "metric", "match.location exact against any"),
        (scorer_options(model="x/a"), scorer_options(model="x/b"), "judge", "match.model x/a against x/b"),
        (parameters(model="x/a"), parameters(), "judge", 'judge {"match.model": "x/a"} against none'),
        (scorer_options(model_role="grader"), scorer_options(model_role="other"), "judge", "grader against other"),
        (evaluated(model_roles={"grader": {"model": "x/a"}}), evaluated(), "judge", "against none"),
    ],
)
def test_a_scorer_of_inspect_that_was_told_something_else_is_refused(
    tmp_path: Path, old: Change, new: Change, kind: str, message: str
) -> None:
    ((what, severity, text),) = told(inspect_log(tmp_path / "old.json", old), inspect_log(tmp_path / "new.json", new))
    assert (what, severity) == (kind, "refuse")
    assert message in text


@pytest.mark.parametrize(
    ("old", "new", "kind", "message"),
    [
        (
            evaluated(model_generate_config={"temperature": 0}),
            evaluated(),
            "generation",
            '"temperature": 0} against none',
        ),
        (planned(max_tokens=9), planned(max_tokens=9, seed=1), "generation", "generation.seed none against 1"),
        (
            both(evaluated(model_generate_config={"temperature": 0}), planned(max_tokens=9)),
            both(evaluated(model_generate_config={"temperature": 1}), planned(max_tokens=9)),
            "generation",
            "generation.temperature 0 against 1",
        ),
        (limited(token_limit=900), limited(token_limit=90), "generation", "limits.token_limit 900 against 90"),
        (limited(), limited(time_limit=9), "generation", 'limits none against {"time_limit": 9}'),
        (evaluated(task_args={"shots": 5}), evaluated(), "settings", 'args {"shots": 5} against none'),
    ],
)
def test_settings_of_inspect_that_one_log_alone_has_are_noted(
    tmp_path: Path, old: Change, new: Change, kind: str, message: str
) -> None:
    ((what, severity, text),) = told(inspect_log(tmp_path / "old.json", old), inspect_log(tmp_path / "new.json", new))
    assert (what, severity) == (kind, "note")
    assert message in text


LM_EVAL = DATA / "harness_runs" / "lm_eval" / "0.4.13" / "old"


def lm_eval_run(folder: Path, change: Change = lambda results: None) -> Path:
    """Write a real run of lm-evaluation-harness, its results file changed."""
    shutil.copytree(LM_EVAL, folder)
    (file,) = folder.glob("results_*.json")
    results = json.loads(file.read_text())
    change(results)
    write(file, results)
    return folder


@pytest.mark.parametrize(
    ("change", "kind", "severity", "message"),
    [
        (
            lambda r: r["configs"]["sums"].update(process_results="def process_results(doc): ..."),
            "metric",
            "refuse",
            "process_results the harness's own against def process_results",
        ),
        (lambda r: r["config"].update(gen_kwargs={"temperature": 1}), "generation", "note", "gen_kwargs none against"),
        (lambda r: r.update(system_instruction="Be brief."), "prompts", "note", "none against Be brief."),
        (lambda r: r.update(chat_template_sha="ab"), "prompts", "note", "chat_template_sha none against ab"),
        (lambda r: r["config"].update(limit=10), "settings", "note", "limit none against 10"),
    ],
)
def test_what_one_run_of_lm_eval_alone_sets_is_told(
    tmp_path: Path, change: Change, kind: str, severity: str, message: str
) -> None:
    ((what, found, text),) = told(lm_eval_run(tmp_path / "old"), lm_eval_run(tmp_path / "new", change))
    assert (what, found) == (kind, severity)
    assert message in text


def eee_run(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Write a run as Every Eval Ever has it, as another program would, with its one result changed."""
    rows = [{"id": str(n), "task": "t", "input": f"{n}?", "output": "a", "correct": n < 3} for n in range(4)]
    source = folder.with_suffix(".jsonl")
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    aggregate_file, _ = convert(source, folder, to="eee")
    aggregate = json.loads(aggregate_file.read_text())
    del aggregate["source_metadata"]["additional_details"]
    change(aggregate["evaluation_results"][0])
    write(aggregate_file, aggregate)
    return folder


@pytest.mark.parametrize(
    ("change", "kind", "severity"),
    [
        (lambda r: r["metric_config"].update(llm_scoring={"judges": ["x/a"]}), "judge", "refuse"),
        (lambda r: r["metric_config"].update(metric_parameters={"threshold": 0.5}), "metric", "refuse"),
        (lambda r: r.update(generation_config={"additional_details": {"num_fewshot": "5"}}), "prompts", "note"),
        (lambda r: r.update(generation_config={"generation_args": {"temperature": 1}}), "generation", "note"),
    ],
)
def test_how_every_eval_ever_says_that_answers_were_asked_for_and_graded_is_compared(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], kind: str, severity: str
) -> None:
    def usual(result: dict[str, Any]) -> None:
        given = {"generation_args": {"temperature": 0}, "additional_details": {"num_fewshot": "0"}}
        result["generation_config"] = given

    def changed(result: dict[str, Any]) -> None:
        usual(result)
        before = result["generation_config"]
        change(result)
        result["generation_config"] = {**before, **result["generation_config"]}

    ((what, found, _),) = told(eee_run(tmp_path / "old", usual), eee_run(tmp_path / "new", changed))
    assert (what, found) == (kind, severity)


def test_what_a_metrics_entry_says_of_its_values_on_one_side_alone_is_no_other_metric(tmp_path: Path) -> None:
    old = eee_run(tmp_path / "old", lambda result: result["metric_config"].pop("max_score", None))
    new = eee_run(tmp_path / "new", lambda result: result["metric_config"].update(max_score=1.0))
    assert told(old, new) == []


@pytest.mark.parametrize("name", ["input_suffix", "reference_prefix", "output_suffix", "chain_of_thought_prefix"])
def test_another_wording_of_helms_prompt_is_refused(tmp_path: Path, name: str) -> None:
    folders = []
    for number, words in enumerate(("Q: ", "Question: ")):
        folder = helm_run(tmp_path / str(number))
        spec = json.loads((folder / "run_spec.json").read_text())
        spec["adapter_spec"][name] = words
        write(folder / "run_spec.json", spec)
        folders.append(folder)
    ((what, severity, text),) = told(*folders)
    assert (what, severity) == ("prompts", "refuse")
    assert f"{name} Q: against Question:" in text


def test_tests_of_promptfoos_version_2_that_lost_their_assertions_are_graded_in_another_way(tmp_path: Path) -> None:
    def version_2(path: Path, *, assertions: bool) -> Path:
        graded = [{"pass": True, "score": 1, "assertion": {"type": "equals", "value": "a"}}]
        results = [
            {
                "provider": "x:a",
                "prompt": {"raw": f"{n}?", "label": "q"},
                "vars": {"n": n},
                "response": {"output": "a"},
                "success": True,
                "score": 1,
                "gradingResult": {"pass": True, "score": 1, "reason": "ok", "componentResults": graded}
                if assertions
                else {"pass": True, "score": 1, "reason": "No assertions"},
            }
            for n in range(4)
        ]
        return write(path, {"evalId": "e", "results": {"version": 2, "results": results}})

    old, new = (version_2(tmp_path / f"{has}.json", assertions=has) for has in (True, False))
    ((what, severity, text),) = told(old, new)
    assert (what, severity) == ("metric", "refuse")
    assert "4 of 4 shared items are graded in another way" in text and "no assertion" in text
