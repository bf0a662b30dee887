"""A base that has read more text: all weights trained on with the next-token loss, as vendors do between releases.

The text is GSM8K's training part (MIT): questions and worked answers, far from the intents that the bench tests, about
1.1 million tokens, read once. Texts stand one behind the other in blocks of one length, each ended by EOS. Weights are
float32 while they train and bf16 once written. A stopped training goes on at its last checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import transformers
from torch import Tensor

from muscle.errors import DataError
from muscle.models.bases import LoadedBase
from muscle.tasks.sources import load_rows

BLOCK = 256
"""Tokens of a row."""
CHECKPOINTS = 10
"""Of a training, the last two of which are kept."""


def gsm8k_texts(data: Path) -> Iterator[str]:
    """Yield GSM8K's training texts: question, line, answer."""
    for source in load_rows(str(data / "gsm8k" / "train.jsonl")):
        yield f"{source.row['question']}\n{source.row['answer']}"


def blocks(texts: Iterator[str], base: LoadedBase, *, length: int = BLOCK) -> Tensor:
    """Return all tokens of the texts in rows: (rows, length); what doesn't fill the last row is left out.

    Raises:
        DataError: they don't fill one row.
    """
    ends = base.tokenizer.eos_token_id
    ids = [token for text in texts for token in (*base.tokenizer(text)["input_ids"], ends)]
    rows = len(ids) // length
    if rows == 0:
        raise DataError(f"texts to read further: expected {length} tokens at least, found {len(ids)}")
    return torch.tensor(ids[: rows * length]).view(rows, length)


def read_on(
    base: LoadedBase,
    rows: Tensor,
    *,
    folder: Path,
    learning_rate: float = 1e-4,
    batch_size: int = 8,
    seed: int = 0,
) -> float:
    """Train all of a base's weights on rows of tokens, once each, and return the mean loss in nats a token.

    Args:
        base: changed in place; float32 afterwards.
        rows: (rows, length), token ids.
        folder: of checkpoints, which a stopped training goes on from.
        learning_rate: peak, after a warm-up of a twentieth of the steps; then falling linearly to 0.
        batch_size: rows a step.
        seed: of their order.
    """
    model = base.model.float()
    model.requires_grad_(True)
    steps = -(-len(rows) // batch_size)
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=1,
        per_device_train_batch_size=batch_size,
        learning_rate=learning_rate,
        warmup_steps=max(1, steps // 20),
        lr_scheduler_type="linear",
        bf16=True,
        use_cpu=not torch.cuda.is_available(),
        save_steps=max(1, steps // CHECKPOINTS),
        save_total_limit=2,
        logging_steps=max(1, steps // 50),
        report_to=[],
        seed=seed,
    )
    trainer = transformers.Trainer(model=model, args=arguments, train_dataset=_Rows(rows))
    done = trainer.train(resume_from_checkpoint=any(folder.glob("checkpoint-*")) or None)
    model.requires_grad_(False)
    return float(done.training_loss)


class _Rows(torch.utils.data.Dataset[dict[str, Tensor]]):
    def __init__(self, rows: Sequence[Tensor] | Tensor) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"input_ids": self._rows[index], "labels": self._rows[index]}
