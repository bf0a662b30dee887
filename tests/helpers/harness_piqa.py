"""The harness's own `piqa`, from the installed package, on rows of one's own."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from helpers.json_lines import write_lines
from muscle.yaml_files import yaml_text


def score_piqa(lm: Any, rows: list[dict[str, Any]], folder: Path) -> tuple[float, list[dict[str, Any]]]:
    """Score rows with a model of the harness, by its YAML in which nothing but the place of the data is changed.

    Args:
        lm: the model.
        rows: of PIQA.
        folder: where they and the YAML are written.

    Returns:
        The accuracy, and the harness's samples in the order of the rows.
    """
    from lm_eval.evaluator import evaluate
    from lm_eval.tasks import TaskManager

    data = write_lines(folder / "data.jsonl", *rows)
    settings = {
        "include": str(files("lm_eval") / "tasks" / "piqa" / "piqa.yaml"),
        "task": "piqa_local",
        "dataset_path": "json",
        "dataset_kwargs": {
            "data_files": {"train": str(data), "validation": str(data)},
            "cache_dir": str(folder / "cache"),
        },
    }
    (folder / "local.yaml").write_text(yaml_text(settings), encoding="utf-8")
    loaded = TaskManager(include_path=str(folder), include_defaults=False).load(["piqa_local"])
    results = evaluate(lm=lm, task_dict=loaded, bootstrap_iters=0)
    samples = sorted(results["samples"]["piqa_local"], key=lambda sample: sample["doc_id"])
    return results["results"]["piqa_local"]["acc,none"], samples
