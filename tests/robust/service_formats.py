"""Runs as promptfoo, Every Eval Ever, NeMo Evaluator, OpenAI's hosted Evals and BFCL write them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from robust.answers import Answer
from robust.files import Bundle, File
from robust.harness_formats import accuracy, tasks_of


def _promptfoo_result(answer: Answer) -> dict[str, Any]:
    assertion = {"type": "equals", "value": answer.reference}
    grade = {"pass": answer.right, "score": float(answer.right), "reason": "x"}
    return {
        "id": f"r{answer.number}",
        "gradingResult": grade | {"namedScores": {}, "componentResults": [grade | {"assertion": assertion}]},
        "namedScores": {"exact": float(answer.right)},
        "prompt": {"raw": answer.question, "label": "{{q}}"},
        "promptId": "p",
        "promptIdx": 0,
        "provider": {"id": answer.model, "label": answer.model},
        "response": None if answer.failed else {"output": answer.text, "finishReason": "stop"},
        "score": float(answer.right),
        "success": answer.right,
        "testCase": {
            "vars": {"q": answer.question},
            "assert": [assertion],
            "metadata": {"topic": answer.topic},
        },
        "testIdx": answer.number,
        "vars": {"q": answer.question},
        "error": None if answer.right else "Expected output to equal",
        "failureReason": 2 if answer.failed else 0 if answer.right else 1,
    }


def _promptfoo_json(answers: Sequence[Answer]) -> Bundle:
    right, failed = (sum(getattr(answer, name) for answer in answers) for name in ("right", "failed"))
    value = {
        "evalId": "eval-1",
        "results": {
            "version": 3,
            "timestamp": "2026-01-02T10:00:00.000Z",
            "prompts": [{"raw": "{{q}}", "label": "{{q}}", "provider": answers[0].model}],
            "results": [_promptfoo_result(answer) for answer in answers],
            "stats": {"successes": right, "failures": len(answers) - right - failed, "errors": failed},
        },
        "config": {"description": "toy"},
        "metadata": {"promptfooVersion": "0.121.20"},
    }
    return Bundle("out.json", {"out.json": File("json", value, ("results", "results"), answers)})


def _promptfoo_lines(answers: Sequence[Answer]) -> Bundle:
    rows = [_promptfoo_result(answer) for answer in answers]
    return Bundle("out.jsonl", {"out.jsonl": File("jsonl", rows, (), answers)})


def _eee_sample(answer: Answer) -> dict[str, Any]:
    attribution = {"turn_idx": 0, "source": "output.raw", "extracted_value": answer.text, "is_terminal": True}
    return {
        "schema_version": "0.3.0",
        "evaluation_id": f"{answer.task}/1",
        "model_id": answer.model,
        "evaluation_name": answer.task,
        "evaluation_result_id": "acc",
        "sample_id": str(answer.number),
        "interaction_type": "single_turn",
        "input": {"raw": answer.question, "reference": [answer.reference], "choices": None},
        "output": {"raw": [answer.text]},
        "answer_attribution": [attribution],
        "evaluation": {"score": float(answer.right), "is_correct": answer.right},
        "error": "timeout" if answer.failed else None,
        "metadata": {"topic": answer.topic},
    }


def _every_eval_ever(answers: Sequence[Answer]) -> Bundle:
    files = {}
    for place, (task, each) in enumerate(tasks_of(answers).items()):
        stem = f"data/{task}/{each[0].model}/0000000{place}-0000-4000-8000-000000000000"
        result = {
            "evaluation_result_id": "acc",
            "evaluation_name": task,
            "metric_config": {"metric_id": "acc", "score_type": "binary", "lower_is_better": False},
            "score_details": {"score": accuracy(each), "uncertainty": {"num_samples": len(each)}},
        }
        aggregate = {
            "schema_version": "0.3.0",
            "evaluation_id": f"{task}/1",
            "retrieved_timestamp": "1795530403",
            "eval_library": {"name": "toy", "version": "1"},
            "model_info": {"name": each[0].model, "id": each[0].model},
            "evaluation_results": [result],
            "detailed_evaluation_results": {"format": "jsonl", "total_rows": len(each)},
        }
        files[f"{stem}.json"] = File("json", aggregate)
        files[f"{stem}_samples.jsonl"] = File("jsonl", [_eee_sample(answer) for answer in each], (), each)
    return Bundle("", files)


def _nemo_row(answer: Answer) -> dict[str, Any]:
    return {
        "problem_idx": answer.number,
        "repeat": 0,
        "reward": float(answer.right),
        "prompt": answer.question,
        "expected_answer": answer.reference,
        "model_response": f"It is {answer.text}.",
        "extracted_answer": answer.text,
        "metadata": {"topic": answer.topic},
        "error": "timeout" if answer.failed else None,
        "failure_category": None,
    }


def _nemo(answers: Sequence[Answer]) -> Bundle:
    files = {}
    for task, each in tasks_of(answers).items():
        bundle = {
            "run_id": "eval-1",
            "config_hash": "sha256:0",
            "sdk_version": "0.4.0",
            "config": {"model": each[0].model, "temperature": 0.0, "benchmark": task},
            "benchmark": {
                "name": task,
                "repeats": 1,
                "samples": len(each),
                "scores": {"mean_reward": {"value": accuracy(each)}},
            },
        }
        files[f"{task}/eval-1-{task}.json"] = File("json", bundle)
        files[f"{task}/results.jsonl"] = File("jsonl", [_nemo_row(answer) for answer in each], (), each)
    return Bundle("", files)


def _openai_item(answer: Answer) -> dict[str, Any]:
    grader = {"name": "exact", "passed": answer.right, "score": float(answer.right)}
    return {
        "object": "eval.run.output_item",
        "id": f"outputitem_{answer.task}_{answer.number}",
        "run_id": f"evalrun_{answer.model}",
        "eval_id": "eval_1",
        "status": "pass" if answer.right else "fail",
        "datasource_item_id": f"{answer.task}/{answer.number}",
        "datasource_item": {"question": answer.question, "label": answer.reference, "topic": answer.topic},
        "results": [grader],
        "sample": {
            "error": {"code": "x", "message": "timeout"} if answer.failed else None,
            "input": [{"role": "user", "content": answer.question}],
            "output": [{"role": "assistant", "content": answer.text}],
            "model": answer.model,
            "temperature": 0,
        },
    }


def _openai_lines(answers: Sequence[Answer]) -> Bundle:
    rows = [_openai_item(answer) for answer in answers]
    return Bundle("items.jsonl", {"items.jsonl": File("jsonl", rows, (), answers)})


def _openai_page(answers: Sequence[Answer]) -> Bundle:
    page = {"object": "list", "data": [_openai_item(answer) for answer in answers], "has_more": False}
    return Bundle("items.json", {"items.json": File("json", page, ("data",), answers)})


def _bfcl(answers: Sequence[Answer]) -> Bundle:
    files = {}
    for task, each in tasks_of(answers).items():
        name, wrong = f"BFCL_v4_{task}", [answer for answer in each if not answer.right]
        header = {
            "accuracy": accuracy(each),
            "correct_count": len(each) - len(wrong),
            "total_count": len(each),
        }
        failures = [
            {"id": f"{task}_{answer.number}", "model_name": answer.model, "valid": False, "error": ["wrong"]}
            for answer in wrong
        ]
        answered = [{"id": f"{task}_{answer.number}", "result": answer.text} for answer in each]
        model = each[0].model.replace("/", "_")
        files[f"result/{model}/{name}_result.json"] = File("jsonl", answered, (), each)
        files[f"score/{model}/{name}_score.json"] = File("jsonl", [header, *failures])
    return Bundle("", files)


FORMATS: dict[str, Callable[[Sequence[Answer]], Bundle]] = {
    "promptfoo_json": _promptfoo_json,
    "promptfoo_jsonl": _promptfoo_lines,
    "every_eval_ever": _every_eval_ever,
    "nemo": _nemo,
    "openai_lines": _openai_lines,
    "openai_page": _openai_page,
    "bfcl": _bfcl,
}
