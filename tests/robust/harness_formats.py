"""Runs as lm-evaluation-harness, Inspect, HELM and lighteval write them, of as few fields as their readers look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from robust.answers import Answer
from robust.files import Bundle, File

DATE = "2026-01-02T10-00-00.000001"


def tasks_of(answers: Sequence[Answer]) -> dict[str, list[Answer]]:
    """Sort answers by task."""
    tasks: dict[str, list[Answer]] = {}
    for answer in answers:
        tasks.setdefault(answer.task, []).append(answer)
    return tasks


def accuracy(answers: Sequence[Answer]) -> float:
    """Return the share of right answers."""
    return sum(answer.right for answer in answers) / len(answers)


def _lm_eval_text(answer: Answer) -> dict[str, Any]:
    request = {"arg_0": answer.question, "arg_1": {"until": ["\n"], "do_sample": False}}
    return {
        "doc_id": answer.number,
        "doc": {"q": answer.question, "answer": answer.reference, "topic": answer.topic},
        "target": answer.reference,
        "arguments": {"gen_args_0": request},
        "resps": [[f"It is {answer.text}."]],
        "filtered_resps": [answer.text],
        "filter": "none",
        "metrics": ["exact_match"],
        "exact_match": float(answer.right),
    }


def _lm_eval_choice(answer: Answer) -> dict[str, Any]:
    gold = answer.number % 2
    endings = [f" {answer.reference}", f" {10_000 + answer.number}"][:: -1 if gold else 1]
    likely = gold if answer.right else 1 - gold
    values = [[str(-3.0 if place == likely else -5.5), "False"] for place in (0, 1)]
    return {
        "doc_id": answer.number,
        "doc": {"q": answer.question, "topic": answer.topic},
        "target": str(gold),
        "arguments": {
            f"gen_args_{place}": {"arg_0": answer.question, "arg_1": ending} for place, ending in enumerate(endings)
        },
        "resps": [[value] for value in values],
        "filtered_resps": values,
        "filter": "none",
        "metrics": ["acc", "acc_norm"],
        "acc": float(answer.right),
        "acc_norm": float(answer.right),
    }


def _lm_eval(metric: str, sample: Callable[[Answer], dict[str, Any]]) -> Callable[[Sequence[Answer]], Bundle]:
    def write(answers: Sequence[Answer]) -> Bundle:
        tasks = tasks_of(answers)
        results = {
            "results": {t: {"alias": t, f"{metric},none": accuracy(each)} for t, each in tasks.items()},
            "configs": {t: {"task": t, "target_delimiter": " ", "num_fewshot": 0, "output_type": "x"} for t in tasks},
            "versions": dict.fromkeys(tasks, 1.0),
            "n-shot": dict.fromkeys(tasks, 0),
            "higher_is_better": {t: {metric: True} for t in tasks},
            "n-samples": {t: {"original": len(each), "effective": len(each)} for t, each in tasks.items()},
            "config": {"model": "hf", "batch_size": 4, "limit": None},
            "model_name": answers[0].model,
            "lm_eval_version": "0.4.13",
        }
        files = {
            f"run/samples_{t}_{DATE}.jsonl": File("jsonl", [sample(a) for a in each], answers=each)
            for t, each in tasks.items()
        }
        return Bundle("run", {f"run/results_{DATE}.json": File("json", results), **files})

    return write


def _inspect_sample(answer: Answer) -> dict[str, Any]:
    score = {"value": "C" if answer.right else "I", "answer": answer.text}
    message = {"role": "assistant", "content": answer.text}
    failed = {"scores": {}, "error": {"message": "timeout", "traceback": ""}} if answer.failed else {}
    return {
        "id": answer.number,
        "epoch": 1,
        "input": answer.question,
        "target": answer.reference,
        "output": {
            "completion": answer.text,
            "choices": [{"message": message, "stop_reason": "stop"}],
        },
        "scores": {"match": score, "length": {"value": 0.5, "answer": answer.text}},
        "metadata": {"topic": answer.topic},
    } | failed


def _inspect_header(task: str, answers: Sequence[Answer]) -> dict[str, Any]:
    metric = {"accuracy": {"name": "accuracy", "value": accuracy(answers)}}
    count, num_failed = len(answers), sum(answer.failed for answer in answers)
    results = {
        "total_samples": count,
        "completed_samples": count - num_failed,
        "scores": [
            {
                "name": "match",
                "scorer": "match",
                "scored_samples": count - num_failed,
                "unscored_samples": 0,
                "metrics": metric,
            }
        ],
        "headline": {"scorer": "match", "score": "match", "metric": "accuracy"},
    }
    facts = {
        "task": task,
        "created": "2026-01-02T10:00:00+00:00",
        "model": answers[0].model,
        "dataset": {"name": task, "samples": count, "sample_ids": [answer.number for answer in answers]},
        "config": {"epochs": 1},
        "scorers": [{"name": "match"}, {"name": "length"}],
        "task_args": {},
    }
    return {
        "version": 2,
        "status": "success",
        "eval": facts,
        "plan": {"steps": [{"solver": "generate"}], "config": {}},
        "results": results,
    }


def _inspect_json(answers: Sequence[Answer]) -> Bundle:
    files = {}
    for task, each in tasks_of(answers).items():
        value = _inspect_header(task, each) | {"samples": [_inspect_sample(answer) for answer in each]}
        files[f"logs/2026-01-02T10-00-00+00-00_{task}_x.json"] = File("json", value, ("samples",), each)
    return Bundle("logs", files)


def _inspect_eval(answers: Sequence[Answer]) -> Bundle:
    files = {}
    for task, each in tasks_of(answers).items():
        header = _inspect_header(task, each)
        start = {"version": 2, "eval": header["eval"], "plan": header["plan"]}
        value = {"_journal/start.json": start, "header.json": header}
        value["samples"] = [_inspect_sample(answer) for answer in each]  # type: ignore[assignment]
        files[f"logs/2026-01-02T10-00-00+00-00_{task}_x.eval"] = File("eval", value, ("samples",), each)
    return Bundle("logs", files)


def _helm_stat(name: str, mean: float, count: int = 1) -> dict[str, Any]:
    return {"name": {"name": name, "split": "test"}, "count": count, "sum": mean * count, "mean": mean}


def _helm_state(answer: Answer) -> dict[str, Any]:
    return {
        "instance": {
            "input": {"text": answer.question},
            "references": [{"output": {"text": answer.reference}, "tags": ["correct"]}],
            "split": "test",
            "id": f"id{answer.number}",
        },
        "train_trial_index": 0,
        "request": {"prompt": answer.question},
        "result": {
            "success": not answer.failed,
            "completions": [] if answer.failed else [{"text": answer.text}],
        },
    }


def _helm(answers: Sequence[Answer]) -> Bundle:
    files = {}
    for task, each in tasks_of(answers).items():
        model = each[0].model
        folder = f"runs/{task}:model={model.replace('/', '_')}"
        spec = {"name": f"{task}:model={model}", "scenario_spec": {"class_name": task, "args": {}}}
        adapter = {
            "method": "generation",
            "model": model,
            "temperature": 0.0,
            "max_eval_instances": len(each),
        }
        stats = [
            {
                "instance_id": f"id{answer.number}",
                "train_trial_index": 0,
                "stats": [
                    _helm_stat("num_prompt_tokens", 9.0),
                    _helm_stat("exact_match", float(answer.right)),
                    _helm_stat("quasi_exact_match", float(answer.right)),
                ],
            }
            for answer in each
        ]
        totals = [
            _helm_stat("exact_match", accuracy(each), len(each)),
            _helm_stat("num_instances", len(each)),
        ]
        states = {"adapter_spec": adapter, "request_states": [_helm_state(answer) for answer in each]}
        files[f"{folder}/run_spec.json"] = File("json", spec | {"adapter_spec": adapter})
        files[f"{folder}/per_instance_stats.json"] = File("json", stats, (), each)
        files[f"{folder}/scenario_state.json"] = File("json", states, ("request_states",), each)
        files[f"{folder}/stats.json"] = File("json", totals)
    return Bundle("runs", files)


def _lighteval_row(answer: Answer) -> dict[str, Any]:
    return {
        "doc": {
            "query": answer.question,
            "choices": [answer.reference],
            "gold_index": 0,
            "id": str(answer.number),
            "task_name": f"{answer.task}|0",
            "specific": {"topic": answer.topic},
        },
        "metric": {"em": int(answer.right)},
        "model_response": {"text": [answer.text], "text_post_processed": None, "logprobs": None},
    }


def _lighteval(answers: Sequence[Answer]) -> Bundle:
    model, tasks = answers[0].model, tasks_of(answers)
    folder = f"details/{model}/{DATE}"
    files = {
        f"{folder}/details_{task}|0_{DATE}.parquet": File(
            "parquet", [_lighteval_row(answer) for answer in each], answers=each
        )
        for task, each in tasks.items()
    }
    results = {
        "config_general": {"model_name": model, "model_config": {"model_name": model, "dtype": "float32"}},
        "results": {f"{task}|0": {"em": accuracy(each)} for task, each in tasks.items()},
        "config_tasks": {},
    }
    return Bundle("", {f"results/{model}/results_{DATE}.json": File("json", results), **files})


FORMATS: dict[str, Callable[[Sequence[Answer]], Bundle]] = {
    "lm_eval_text": _lm_eval("exact_match", _lm_eval_text),
    "lm_eval_choice": _lm_eval("acc", _lm_eval_choice),
    "inspect_json": _inspect_json,
    "inspect_eval": _inspect_eval,
    "helm": _helm,
    "lighteval": _lighteval,
}
