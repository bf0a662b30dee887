"""Small runs of HELM, BFCL and OpenAI Evals, written as these write them, and changes to kept ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.json_lines import write_lines
from muscle import read_run
from muscle.errors import DataError


def refusal(path: Path) -> str:
    """Return the message with which a path is refused."""
    with pytest.raises(DataError) as caught:
        read_run(path)
    return str(caught.value)


def write(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def one_file(folder: Path, pattern: str) -> Path:
    """Return the file of a folder that a pattern fits; there must be one alone."""
    (found,) = folder.glob(pattern)
    return found


def change_line(file: Path, place: int, **changes: object) -> None:
    """Change fields of one line, counted from 0; None takes a field away."""
    lines = file.read_text(encoding="utf-8").splitlines()
    row = json.loads(lines[place]) | changes
    lines[place] = json.dumps({name: value for name, value in row.items() if name not in changes or value is not None})
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def stat(name: str, mean: float, **context: Any) -> dict[str, Any]:
    return {"name": {"name": name, "split": "test", **context}, "count": 1, "sum": mean, "mean": mean}


def helm_run(folder: Path, *, model: str = "toy/model-1", state: bool = True) -> Path:
    """Write a run folder as HELM's source describes it: a joint choice task with a perturbed copy and a failure."""
    options = ["a knife", "a spoon"]
    references = [{"output": {"text": text}, "tags": ["correct"] * (place == 0)} for place, text in enumerate(options)]
    robust = {"name": "lower", "robustness": True}
    instance = {"input": {"text": "What cuts bread?"}, "references": references, "split": "test", "id": "id1"}
    copy = instance | {"input": {"text": "what cuts bread?"}, "perturbation": robust}
    failed = instance | {"id": "id2", "input": {"text": "What cuts soup?"}}

    def request(each: dict[str, Any], text: str | None) -> dict[str, Any]:
        result = {
            "success": text is not None,
            "completions": [{"text": text}] if text else [],
            "error": "overloaded",
        }
        return {
            "instance": each,
            "train_trial_index": 0,
            "output_mapping": {"A": "a knife", "B": "a spoon"},
            "request": {"model": model, "prompt": "..."},
            "result": result,
        }

    name = f"kitchen:kind=bread,model={model.replace('/', '_')}"
    adapter = {"method": "multiple_choice_joint", "model": model, "temperature": 0.0, "max_tokens": 1}
    write(
        folder / "run_spec.json",
        {"name": name, "adapter_spec": adapter, "scenario_spec": {"class_name": "K"}},
    )
    if state:
        states = [request(instance, " A"), request(copy, " B"), request(failed, None)]
        write(folder / "scenario_state.json", {"adapter_spec": adapter, "request_states": states})
    else:
        write(folder / "instances.json", [instance, copy, failed])
        shown = {
            "instance_id": "id1",
            "train_trial_index": 0,
            "predicted_text": " A",
            "mapped_output": "a knife",
            "stats": {},
        }
        lowered = shown | {"perturbation": robust, "predicted_text": " B", "mapped_output": "a spoon"}
        write(folder / "display_predictions.json", [shown, lowered])
    entry = {"instance_id": "id1", "train_trial_index": 0}
    write(
        folder / "per_instance_stats.json",
        [
            entry | {"stats": [stat("num_prompt_tokens", 9), stat("quasi_exact_match", 1)]},
            entry | {"stats": [stat("exact_match", 1), stat("inference_runtime", 0.2)]},
            entry | {"perturbation": robust, "stats": [stat("exact_match", 0, perturbation=robust)]},
            {"instance_id": "id2", "train_trial_index": 0, "stats": [stat("exact_match", 0)]},
        ],
    )
    write(folder / "stats.json", [stat("exact_match", 0.5), stat("num_prompt_tokens", 9)])
    return folder


def output_item(place: int, passed: bool = True, **changes: Any) -> dict[str, Any]:
    return {
        "object": "eval.run.output_item",
        "id": f"outputitem_{place}",
        "run_id": "evalrun_1",
        "eval_id": "eval_1",
        "status": "pass" if passed else "fail",
        "datasource_item_id": place,
        "datasource_item": {"question": f"{place}+1?", "correct_label": str(place + 1), "topic": "sums"},
        "results": [
            {
                "name": "exact match-0f1e2d3c-1111-2222-3333-444455556666",
                "passed": passed,
                "score": float(passed),
            },
            {"name": "rouge-l", "passed": True, "score": 0.75},
        ],
        "sample": {
            "error": None,
            "input": [{"role": "user", "content": f"{place}+1?"}],
            "output": [{"role": "assistant", "content": str(place + 1)}],
            "model": "gpt-4o-mini",
            "temperature": 0,
        },
    } | changes


def bfcl_scores(folder: Path) -> Path:
    name = "BFCL_v4_simple_python"
    failure = {
        "id": "simple_1",
        "model_name": "toy",
        "valid": False,
        "error": ["wrong"],
        "prompt": {"question": []},
    }
    header = {"accuracy": 0.5, "correct_count": 1, "total_count": 2}
    write_lines(
        folder / "result" / "toy" / f"{name}_result.json",
        *({"id": f"simple_{i}", "result": f"f({i})"} for i in (0, 1)),
    )
    return write_lines(folder / "score" / "toy" / f"{name}_score.json", header, failure)
