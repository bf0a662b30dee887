"""On-policy distillation, gated by the old model's right answers: a trial in the world of `demo_answers.py`.

    python benchmarks/demo_answers.py --seeds 0 --folder runs/demo_answers
    python benchmarks/on_policy_trial.py --seeds 0 --folder runs/demo_answers

The question whether such a method should stand in `muscle`. It starts from the plain update. Before each epoch the
student draws an answer (temperature 1) to every training item that the old model answers right, greedily. Its loss on
the tokens of these answers is KL(student, old) (reverse) or KL(old, student) (forward); a token is left out where the
scorer accepts the answer and the student gives the token more than 0.9 (it is confidently right). On the other items it
is the cross-entropy of the reference's tokens. Controls: those of `demo_answers.py`, and a twin in the old one's place.

Adds `on_policy` to `benchmarks/results/demo_answers.json`, which says what came of it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import CausalLMOutput

from demo_answers import RESULTS, TASK, measured
from muscle import load_config
from muscle.evaluation.candidates import Asked, draw_answers
from muscle.evaluation.save import evaluate_to_file
from muscle.files import read_json, write_json
from muscle.models.adapters import load_adapter
from muscle.models.bases import LoadedBase
from muscle.pipeline.stages import UpdateStages
from muscle.tasks import TaskData
from muscle.tasks.task import Example
from muscle.training.data.batches import IGNORE_INDEX, PaddingCollator, TokenIds, model_inputs
from muscle.training.one_training import Student, Training, TrainingData
from muscle.training.run import train_and_save
from muscle.training.token_sums import TokenSums
from muscle.training.trainer import AdapterTrainer

EPOCHS, SURE = 10, 0.9


@dataclass(frozen=True)
class Written:
    """An answer that is learnt.

    Attributes:
        ids: of context, answer and end.
        num_context: tokens before the answer.
        drawn: whether the student wrote it; else it is the reference.
        accepted: whether the scorer accepts it.
    """

    ids: list[int]
    num_context: int
    drawn: bool
    accepted: bool


class Writings:
    """Answers as a data set."""

    def __init__(self, items: Sequence[Written]) -> None:
        self.items = list(items)

    @property
    def sequences(self) -> list[list[int]]:
        """What stands for each in a fingerprint."""
        return [[*each.ids, -1, each.num_context, each.drawn, each.accepted] for each in self.items]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: int) -> TokenIds:
        return {"input_ids": self.items[place].ids, "index": place}


@dataclass(frozen=True)
class AnswerCollator:
    """Pads; only the answers' tokens are labels. `drawn` and `accepted` are (batch, 1)."""

    data: Mapping[int, Written]
    pad_token_id: int

    def __call__(self, features: Sequence[TokenIds]) -> dict[str, Tensor]:
        """Return a batch."""
        batch = PaddingCollator(self.pad_token_id)(features)
        found = [self.data[hash(tuple(feature["input_ids"]))] for feature in features]
        for row, each in enumerate(found):
            batch["labels"][row, : each.num_context] = IGNORE_INDEX
        for name in ("drawn", "accepted"):
            batch[name] = torch.tensor([[getattr(each, name)] for each in found])
        return batch


def token_losses(
    student: Tensor, old: Tensor, labels: Tensor, drawn: Tensor, accepted: Tensor, *, reverse: bool
) -> Tensor:
    """Return each token's loss: the KL on drawn answers where the student isn't confidently right, else the CE.

    Args:
        student: (tokens, vocab), logits.
        old: the same.
        labels: (tokens,).
        drawn: (tokens,), truth values.
        accepted: (tokens,), truth values.
        reverse: KL(student, old) in place of KL(old, student).
    """
    log_q, log_p = student.log_softmax(-1), old.log_softmax(-1)
    first, second = (log_q, log_p) if reverse else (log_p, log_q)
    distance = (first.exp() * (first - second)).sum(-1)
    of_label = log_q.gather(-1, labels[:, None])[:, 0]
    sure = accepted & (of_label.detach().exp() > SURE)
    return torch.where(drawn, torch.where(sure, 0.0, distance), -of_label)


class OnPolicyTrainer(AdapterTrainer):
    """Train on drawn answers and references."""

    def __init__(self, *args: object, old: nn.Module, reverse: bool, **kwargs: Any) -> None:
        super().__init__(*args, objective=None, **kwargs)
        self._old, self._reverse = old.eval(), reverse

    def batch_sums(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> tuple[TokenSums, CausalLMOutput]:
        """Return the sums over the answers' tokens."""
        labels = inputs["labels"][:, 1:]
        counted = labels != IGNORE_INDEX
        with torch.no_grad():
            old = self._old(**model_inputs(inputs)).logits[:, :-1][counted]
        student = self.outputs(model, inputs).logits[:, :-1][counted]
        masks = [inputs[name].expand(labels.shape)[counted] for name in ("drawn", "accepted")]
        losses = token_losses(student, old, labels[counted], *masks, reverse=self._reverse)
        return TokenSums(losses.sum(), len(losses), {"distilled": float(masks[0].sum())}), CausalLMOutput()


def written(example: Example, answer: str, base: LoadedBase, *, drawn: bool, accepted: bool) -> Written:
    """Encode an answer as training does."""
    context = base.tokenizer(example.context)["input_ids"]
    ids = base.tokenizer(f"{example.context} {answer}")["input_ids"]
    return Written([*ids, base.tokenizer.eos_token_id], len(context), drawn, accepted)


def train(stages: UpdateStages, data: TaskData, old: tuple[LoadedBase, Path], out: Path, *, reverse: bool) -> Path:
    """Train an adapter, an epoch a round; return the last one's folder."""
    base, task = stages.bases.base("new"), data.task
    old_model = load_adapter(old[0], old[1])
    greedy = draw_answers(out / "stores", "old", *old, task, data.train, Asked(0, 1.0, 0, 256))
    right = [any(each.correct for each in answers) for answers in greedy]
    asked = [example for example, is_right in zip(data.train, right, strict=True) if is_right]
    plain = [
        written(one, one.reference[0], base, drawn=False, accepted=True)
        for one, is_right in zip(data.train, right, strict=True)
        if not is_right
    ]
    held = [written(one, one.reference[0], base, drawn=False, accepted=True) for one in data.validation]
    adapter = stages.adapter("new", TASK)
    for number in range(EPOCHS):
        answers = draw_answers(out / "stores", "student", base, adapter, task, asked, Asked(1, 1.0, number, 256))
        drawn = [
            written(one, each.text.strip(), base, drawn=True, accepted=bool(each.correct))
            for one, found in zip(asked, answers, strict=True)
            for each in found
            if each.source == "student sample" and each.text.strip()
        ]
        items = [*plain, *drawn]
        changes = {"epochs": 1, "warmup_steps": 2, "learning_rate": 1e-3 * (1 - number / EPOCHS)}
        settings = stages.config.training.model_copy(update=changes)
        student = load_adapter(base, adapter, trainable=True)
        by_ids = {hash(tuple(each.ids)): each for each in (*items, *held)}
        adapter = out / f"round-{number}"
        train_and_save(
            lambda model=student, **arguments: OnPolicyTrainer(
                model=model, old=old_model, reverse=reverse, **arguments
            ),
            Student(student, base),
            TrainingData(task, Writings(items), Writings(held), AnswerCollator(by_ids, base.tokenizer.pad_token_id)),
            Training(settings, adapter, f"on-policy, epoch {number + 1}"),
            note={"stage": "on-policy", "round": number, "reverse": reverse},
        )
    return adapter


def run(folder: Path, keep: Callable[[str, dict[str, Any]], None]) -> None:
    """Train the variants in a seed's folder, measure them, and keep each once it is."""
    stages = UpdateStages(load_config(folder / "update.yaml"))
    (data,) = stages.data.values()
    sides = {
        "old": (stages.bases.base("old"), stages.adapter("old", TASK)),
        "twin": (stages.bases.base("new"), folder / "again" / "adapters" / "floor" / TASK),
    }
    for name, side, reverse in (
        ("reverse KL", "old", True),
        ("forward KL", "old", False),
        ("reverse KL, a twin in the old one's place", "twin", True),
    ):
        start = time.process_time()
        out = folder / "on-policy" / f"{side}-{'reverse' if reverse else 'forward'}"
        adapter = train(stages, data, sides[side], out, reverse=reverse)
        file = out / "predictions" / f"{TASK}.jsonl"
        evaluate_to_file(stages.bases.base("new"), adapter, data.task, data.test, file, name=name, batch_size=256)
        predictions = folder / "run" / "predictions"
        told = measured(predictions / "old", predictions / "new", file.parent)
        keep(name, {**told, "cpu_seconds": round(time.process_time() - start, 1)})


def keep(seed: str, name: str, told: dict[str, Any]) -> None:
    """Write what a variant gave beside the seed's other numbers."""
    kept = read_json(RESULTS)
    kept["seeds"][seed].setdefault("on_policy", {})[name] = told
    write_json(RESULTS, kept)
    print(seed, name, {key: round(value, 4) for key, value in told.items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--folder", type=Path, required=True)
    given = parser.parse_args()
    for seed in given.seeds:
        run(given.folder / f"seed-{seed}", partial(keep, str(seed)))


if __name__ == "__main__":
    main()
