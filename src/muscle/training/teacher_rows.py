"""What is kept of a frozen teacher: one row per predicted token, made once.

`ProjectedRows` are enough for forward KL under a frozen head, and cost no more per step than a label does. `HiddenRows` keep the
teacher's last state, from which its whole distribution comes back by its own head, at the price of that product in every step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from muscle.training.head import ChunkBuffers, OutputHead
from muscle.training.head_pass import chunk_size, chunks, exactly, head_pass, soften


@dataclass(frozen=True)
class ProjectedRows:
    """A teacher seen through the student's head.

    Attributes:
        vector: (tokens, width of the student), c = W^T p with p = softmax(z_t / T) and W the student's head.
        entropy: (tokens,), of p, in nats.
        log_p: (tokens,), log softmax(z_t)[label] at T = 1.
        right: (tokens,) boolean, argmax z_t = label.
        bias: (tokens,), p . b with b the bias of the student's head; None where it has none.
        temperature: T.
    """

    vector: Tensor
    entropy: Tensor
    log_p: Tensor
    right: Tensor
    bias: Tensor | None
    temperature: float

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self.log_p)


@dataclass(frozen=True)
class HiddenRows:
    """A teacher's last states.

    Attributes:
        vector: (tokens, width of the teacher), what it hands to its head.
        log_p: (tokens,), log softmax(z_t)[label] at T = 1.
        right: (tokens,) boolean, argmax z_t = label.
        head: the teacher's own.
    """

    vector: Tensor
    log_p: Tensor
    right: Tensor
    head: OutputHead

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self.log_p)


TeacherRows = ProjectedRows | HiddenRows


def projected_rows(
    hidden: Tensor,
    teacher: OutputHead,
    labels: Tensor,
    *,
    student: OutputHead,
    temperature: float,
    memory_bytes: int,
) -> ProjectedRows:
    """Project a teacher's distributions through the student's head.

    Args:
        hidden: (tokens, width of the teacher), what it hands to its head.
        teacher: its head.
        labels: (tokens,), token ids.
        student: the student's head, of the same vocabulary.
        temperature: T > 0.
        memory_bytes: budget for the logits of a chunk.

    Returns:
        One row a token, wide.

    Raises:
        ValueError: the vocabularies differ.
    """
    if teacher.vocab_size != student.vocab_size:
        raise ValueError(
            f"teacher: expected a head of {student.vocab_size} rows as the student's, found {teacher.vocab_size}"
        )
    wide = student.wide_dtype
    per_token = teacher.vocab_size * (teacher.bytes_per_logit + 2 * wide.itemsize)
    buffers = ChunkBuffers(teacher, min(chunk_size(len(hidden), per_token, memory_bytes), len(hidden)))
    rows: list[tuple[Tensor, ...]] = []
    with exactly(hidden):
        for part in chunks(len(hidden), per_token, memory_bytes):
            label = labels[part]
            logits, top = teacher.logits(hidden[part], buffers, label)
            wanted = logits.gather(1, label.unsqueeze(1)).squeeze(1)
            soft = soften(logits, top, temperature)
            entropy = torch.special.entr(soft.warm).sum(-1)
            weights = soft.warm.to(wide)
            bias = torch.zeros_like(entropy) if student.bias is None else weights @ student.bias.to(wide)
            vector = student.pull(weights, (), exact=True)  # once for all steps
            rows.append((vector, entropy, wanted - soft.lse_plain, top == label, bias))
    if not rows:
        empty = hidden.new_empty(0, dtype=wide)
        rows.append((empty.view(0, student.weight.shape[1]), empty, empty, empty.bool(), empty))
    vector, entropy, log_p, right, bias = (torch.cat(column) for column in zip(*rows, strict=True))
    return ProjectedRows(vector, entropy, log_p, right, None if student.bias is None else bias, temperature)


def hidden_rows(hidden: Tensor, teacher: OutputHead, labels: Tensor, *, memory_bytes: int) -> HiddenRows:
    """Keep a teacher's states as they are.

    Args:
        hidden: (tokens, width of the teacher), what it hands to its head.
        teacher: its head.
        labels: (tokens,), token ids.
        memory_bytes: budget for the logits of a chunk.
    """
    found = head_pass(
        hidden,
        teacher,
        labels,
        temperature=1.0,
        ce_weight=0.0,
        gradient=False,
        memory_bytes=memory_bytes,
    )
    return HiddenRows(hidden.detach(), found.log_p, found.right, teacher)
