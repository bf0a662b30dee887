"""Time a choice task's scoring by trees of options against the harness's one request an option, on a real model.

Both ways are `muscle.evaluation.harness.evaluate`, on the same items, in the same precision, in turns of a few items;
the harness's is what is taken where a model reads no trees. Time is this process's CPU time (on one core, whoever else
computes there), the clock's beside it.

    python benchmarks/options_pass.py --model FILE.gguf --data DIR --precision bf16 \
        --out benchmarks/results/options_pass_bf16.json
"""

from __future__ import annotations

import argparse
import copy
import importlib.metadata
import json
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from muscle.config.settings import BaseConfig
from muscle.evaluation.harness import evaluate
from muscle.files import write_json
from muscle.models import option_batches
from muscle.models.bases import LoadedBase, load_base
from muscle.models.option_scores import option_log_likelihoods
from muscle.provenance import file_sha256
from muscle.tasks import Example, Task, get_task, load_examples

TURN = 10
"""Items."""


def intents(path: Path, items: int, options: int) -> list[Example]:
    """Return texts with the names of intents as their options, spread over the file."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    names = tuple(sorted({row["label"] for row in rows})[:options])
    rows = [row for row in rows if row["label"] in names]
    return [
        Example(
            id=row["id"],
            context=f"Query: {row['text']}\nIntent:",
            reference=(row["label"],),
            target=f" {row['label']}",
            choices=names,
            gold=names.index(row["label"]),
        )
        for row in rows[:: len(rows) // items][:items]
    ]


def settings(data: Path, items: int) -> Iterator[tuple[str, Task, list[Example]]]:
    """Yield name, task and items of each measurement."""
    choice = get_task("piqa")
    yield "banking77, 77 options", choice, intents(data / "banking77" / "test.jsonl", items, 77)
    yield "clinc150, 64 options", choice, intents(data / "clinc150" / "test.jsonl", items, 64)
    for name in ("piqa", "hellaswag"):
        task = get_task(name)
        yield name, task, load_examples(task, data / name / "test.jsonl", limit=items)


@contextmanager
def counted(model: torch.nn.Module, sizes: list[int]) -> Iterator[None]:
    """Keep the tokens of each forward pass, padding included."""
    hook = model.get_input_embeddings().register_forward_hook(
        lambda _, __, output: sizes.append(output.shape[:2].numel())
    )
    try:
        yield
    finally:
        hook.remove()


class WideHead(torch.nn.Module):
    """A head in float32 for states in 16 bits."""

    def __init__(self, head: torch.nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return float32 logits."""
        return self.head(states.float())


def errors(
    base: LoadedBase, task: Task, examples: Sequence[Example], frames: Mapping[str, list[dict[str, Any]]]
) -> dict[str, float]:
    """Return how far each way is from the same weights in float32 (root mean square, nats).

    The third way is the tree's with the head's product in float32 on the same states: what rounding logits alone costs.
    """
    wide = copy.deepcopy(base.model).float()
    head = WideHead(wide.get_output_embeddings())
    score = partial(evaluate, tokenizer=base.tokenizer, task=task, examples=examples, batch_size=16, progress=False)
    exact = score(wide, name="float32").frame
    expected = torch.tensor([value for row in exact["logprobs"] for value in row])
    with mock.patch.object(option_batches, "option_log_likelihoods", partial(option_log_likelihoods, head=head)):
        frames = {**frames, "tree, head in float32": score(base.model, name="head").frame.to_dicts()}
    found = {way: torch.tensor([value for row in rows for value in row["logprobs"]]) for way, rows in frames.items()}
    return {way: float((values - expected).square().mean().sqrt()) for way, values in found.items()}


def measure(
    base: LoadedBase, task: Task, examples: Sequence[Example], batch_size: int, *, rounding: bool
) -> dict[str, Any]:
    """Score items both ways, in turns; with `rounding`, hold both against float32."""
    ways = ("tree", "harness")
    seconds, cpu = dict.fromkeys(ways, 0.0), dict.fromkeys(ways, 0.0)
    sizes: dict[str, list[int]] = {way: [] for way in ways}
    frames: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    for start in range(0, len(examples), TURN):
        for way in ways:
            refused = mock.patch("muscle.evaluation.by_tree.reads_trees", return_value=False)
            with refused if way == "harness" else nullcontext(), counted(base.model, sizes[way]):
                clock, own = time.perf_counter(), time.process_time()
                run = evaluate(
                    base.model,
                    base.tokenizer,
                    task,
                    examples[start : start + TURN],
                    batch_size=batch_size,
                    name=way,
                    progress=False,
                )
                seconds[way] += time.perf_counter() - clock
                cpu[way] += time.process_time() - own
            frames[way] += run.frame.to_dicts()
    pairs = list(zip(frames["tree"], frames["harness"], strict=True))
    gaps = [abs(a - b) for one, other in pairs for a, b in zip(one["logprobs"], other["logprobs"], strict=True)]
    return {
        **({"error_against_float32_nats": errors(base, task, examples, frames)} if rounding else {}),
        "items": len(examples),
        "cpu_seconds": cpu,
        "seconds": seconds,
        "times_faster_cpu": cpu["harness"] / cpu["tree"],
        "times_faster": seconds["harness"] / seconds["tree"],
        "tokens_read": {way: sum(sizes[way]) for way in ways},
        "largest_pass_tokens": {way: max(sizes[way]) for way in ways},
        "largest_difference_nats": max(gaps),
        "mean_difference_nats": sum(gaps) / len(gaps),
        "items_with_another_choice": sum(one["choice"] != other["choice"] for one, other in pairs),
        "accuracy": {way: sum(row["correct"] for row in frames[way]) / len(examples) for way in ways},
    }


def main() -> None:
    """Measure every task and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="GGUF file, folder or hub name")
    parser.add_argument("--data", required=True, type=Path, help="folder with banking77/test.jsonl and so on")
    parser.add_argument("--items", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--precision", choices=("bf16", "float32"), default="bf16")
    parser.add_argument("--rounding", action="store_true", help="hold both ways against float32 as well")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    base = load_base(BaseConfig(base=arguments.model), precision=arguments.precision, device="cpu")
    packages = ("lm_eval", "torch", "transformers", "muscle-llm")
    result: dict[str, Any] = {
        "precision": arguments.precision,
        "batch_size": arguments.batch_size,
        "model": Path(arguments.model).name,
        "model_sha256": file_sha256(Path(arguments.model)) if Path(arguments.model).is_file() else None,
        "machine": f"{platform.machine()}, 1 thread, {platform.system()}",
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "tasks": {},
    }
    for name, task, examples in settings(arguments.data, arguments.items):
        result["tasks"][name] = measure(base, task, examples, arguments.batch_size, rounding=arguments.rounding)
        print(name, json.dumps(result["tasks"][name], indent=2), flush=True)
        write_json(arguments.out, result)


if __name__ == "__main__":
    main()
