"""Compare our PIQA evaluation with lm-evaluation-harness's own `piqa`, item by item, on a real model.

The harness side is the installed package's YAML, changed in nothing but where the data comes from, and a model that the
harness loads by itself. Our side is `muscle.evaluation.harness.evaluate`. Both compute in float32.

    python benchmarks/piqa_parity.py --model DIR --gguf NAME.gguf --data piqa/test.jsonl --items 100 \
        --out benchmarks/results/piqa-parity.json
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import logging
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from helpers.harness_piqa import score_piqa
from muscle import get_task
from muscle.evaluation.harness import evaluate
from muscle.files import write_json
from muscle.provenance import file_sha256
from muscle.tasks import load_examples
from muscle.tasks.sources import load_rows


def harness_samples(model: str, gguf: str | None, rows: list[dict[str, Any]], batch_size: int) -> list[dict[str, Any]]:
    """Score the rows with the harness alone: its YAML, its loading of the model."""
    from lm_eval.models.huggingface import HFLM

    lm = HFLM(
        pretrained=model,
        gguf_file=gguf,
        device="cpu",
        dtype="float32",
        softmax_dtype="float32",
        batch_size=batch_size,
    )
    with tempfile.TemporaryDirectory() as name:
        return score_piqa(lm, rows, Path(name))[1]


def our_frame(model: str, gguf: str | None, data: Path, items: int, batch_size: int) -> Any:
    """Score the rows with muscle."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {} if gguf is None else {"gguf_file": gguf}
    tokenizer = AutoTokenizer.from_pretrained(model, **source)
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32, **source)
    task = get_task("piqa")
    return evaluate(
        loaded, tokenizer, task, load_examples(task, data, limit=items), batch_size=batch_size, name="muscle"
    ).frame


def compare(theirs: list[dict[str, Any]], frame: Any) -> dict[str, Any]:
    """Count the items on which the two sides differ."""
    logprobs = [[response[0] for response in sample["filtered_resps"]] for sample in theirs]
    choices = [values.index(max(values)) for values in logprobs]
    pairs = zip(logprobs, frame["logprobs"].to_list(), strict=True)
    gaps = [abs(a - b) for one, other in pairs for a, b in zip(one, other, strict=True)]
    return {
        "items": len(theirs),
        "accuracy_harness": sum(sample["acc"] for sample in theirs) / len(theirs),
        "accuracy_muscle": frame["correct"].mean(),
        "acc_norm_harness": sum(sample["acc_norm"] for sample in theirs) / len(theirs),
        "acc_norm_muscle": frame["score.acc_norm"].mean(),
        "items_with_another_choice": sum(a != b for a, b in zip(choices, frame["choice"].to_list(), strict=True)),
        "items_with_another_acc_norm": sum(
            sample["acc_norm"] != value for sample, value in zip(theirs, frame["score.acc_norm"].to_list(), strict=True)
        ),
        "largest_log_likelihood_difference": max(gaps),
    }


def main() -> None:
    """Run both sides and write the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder or hub name")
    parser.add_argument("--gguf", help="GGUF file in that folder")
    parser.add_argument("--data", required=True, type=Path, help="PIQA rows as JSONL")
    parser.add_argument("--items", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/piqa-parity.json"))
    arguments = parser.parse_args()
    logging.getLogger("lm_eval").setLevel(logging.ERROR)

    rows = [dict(source.row) for source in load_rows(arguments.data, limit=arguments.items)]
    frame = our_frame(arguments.model, arguments.gguf, arguments.data, arguments.items, arguments.batch_size)
    theirs = harness_samples(arguments.model, arguments.gguf, rows, batch_size=1)
    packages = ("lm_eval", "torch", "transformers", "muscle-llm")
    result = {
        **compare(theirs, frame),
        "model": arguments.gguf or arguments.model,
        "model_sha256": file_sha256(Path(arguments.model) / arguments.gguf) if arguments.gguf else None,
        "data_sha256": file_sha256(arguments.data),
        "batch_size_muscle": arguments.batch_size,
        "batch_size_harness": 1,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }
    write_json(arguments.out, result)
    print(json.dumps(result, indent=2))
    same = result["items_with_another_choice"] == result["items_with_another_acc_norm"] == 0
    raise SystemExit(0 if same else 1)


if __name__ == "__main__":
    main()
