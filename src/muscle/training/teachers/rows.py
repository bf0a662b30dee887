"""What is kept of a frozen teacher: one row per predicted token, made once.

`ProjectedRows` are enough for forward KL under a frozen head, and cost no more per step than a label does.
`MixedRows` are the same of a mixture of both teachers: one vector a token, where the shares don't depend on the
student. `HiddenRows` keep the teacher's last state, from which its whole distribution comes back by its own head, at
the price of that product in every step. `TopkRows` keep the k likeliest tokens and what is left over: the smallest
for wide models, and approximate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from muscle.training.head.head_pass import chunk_size, chunks, entropy, exactly, head_pass, soften
from muscle.training.head.output_head import ChunkBuffers, OutputHead

LEAST_PLACED = 0.5
"""Of a distribution; with less, what is left says little about the whole."""


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
        placed: (tokens,), of an old model with another tokenizer: the share of its distribution that stands for tokens
            of the student; -1 where it has no position of its own, and nothing here means anything. None elsewhere.
    """

    vector: Tensor
    entropy: Tensor
    log_p: Tensor
    right: Tensor
    bias: Tensor | None
    temperature: float
    placed: Tensor | None = None

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


@dataclass(frozen=True)
class MixedRows:
    """A mixture p = a p_1 + (1 - a) p_2 of both teachers, p_i = softmax(z_i / T), seen through the student's head.

    Attributes:
        vector: (tokens, width of the student), W^T p.
        entropy: (tokens,), of p, in nats.
        old_share: (tokens,), a, in [0, 1].
        bias: (tokens,), p . b with b the bias of the student's head; None where it has none.
        temperature: T.
    """

    vector: Tensor
    entropy: Tensor
    old_share: Tensor
    bias: Tensor | None
    temperature: float

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self.entropy)


@dataclass(frozen=True)
class TopkRows:
    """A teacher's k likeliest tokens at T, and the mass of all others in one.

    Attributes:
        ids: (tokens, k), token ids.
        log_probs: (tokens, k), log softmax(z_t / T)[ids].
        tail: (tokens,), 1 - sum of their probabilities.
        log_p: (tokens,), log softmax(z_t)[label] at T = 1.
        right: (tokens,) boolean, argmax z_t = label.
        temperature: T.
        placed: (tokens,), of an old model with another tokenizer: the share of its distribution that stands for tokens
            of the student; -1 where it has no position of its own, and nothing here means anything. None elsewhere.
    """

    ids: Tensor
    log_probs: Tensor
    tail: Tensor
    log_p: Tensor
    right: Tensor
    temperature: float
    placed: Tensor | None = None

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self.log_p)


@dataclass(frozen=True)
class OptionRows:
    """What a teacher thinks of answer options.

    Attributes:
        log_likelihood: (options,), sum of log p over an option's tokens given the context, in nats.
        num_tokens: (options,), tokens of an option.
    """

    log_likelihood: Tensor
    num_tokens: Tensor

    def __len__(self) -> int:
        """Return the number of options."""
        return len(self.num_tokens)


TeacherRows = ProjectedRows | HiddenRows | TopkRows
"""Rows of one teacher, between which a mask can choose."""


def known_tokens(rows: TeacherRows) -> Tensor | None:
    """Tell which tokens a teacher has enough to say of: (tokens,) boolean; None where it has of all."""
    placed = None if isinstance(rows, HiddenRows) else rows.placed
    return None if placed is None else placed >= LEAST_PLACED


OldShare = Callable[[Tensor, Tensor, Tensor], Tensor]
"""log p_1(y), log p_2(y), argmax z_1 = y in, the old model's share out; (tokens,) each."""


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
    _check_vocabulary(teacher, student)
    wide = student.wide_dtype
    per_token = teacher.vocab_size * (teacher.bytes_per_logit + wide.itemsize)
    largest = min(chunk_size(len(hidden), per_token, memory_bytes), len(hidden))
    buffers = ChunkBuffers(teacher, largest)
    beside = torch.empty_like(buffers.wide)
    rows: list[tuple[Tensor, ...]] = []
    with exactly(hidden):
        for part in chunks(len(hidden), per_token, memory_bytes):
            label = labels[part]
            logits, top = teacher.logits(hidden[part], buffers, label)
            # Before the softmax takes the logits' place.
            wanted = logits.gather(1, label.unsqueeze(1)).squeeze(1)
            soft = soften(logits, top, temperature, out=beside[: len(logits)])
            spread = entropy(soft, logits, top)
            weights = soft.softmax.to(wide)
            bias = torch.zeros_like(spread) if student.bias is None else weights @ student.bias.to(wide)
            vector = student.pull(weights, (top, label), buffers.narrow)
            rows.append((vector, spread, wanted - soft.lse_plain, top == label, bias))
    if not rows:
        empty = hidden.new_empty(0, dtype=wide)
        rows.append((empty.view(0, student.weight.shape[1]), empty, empty, empty.bool(), empty))
    vector, spread, log_p, right, bias = (torch.cat(column) for column in zip(*rows, strict=True))
    return ProjectedRows(vector, spread, log_p, right, None if student.bias is None else bias, temperature)


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


def mixed_rows(
    hidden: Sequence[Tensor],
    teachers: Sequence[OutputHead],
    labels: Tensor,
    *,
    old_share: OldShare,
    student: OutputHead,
    temperature: float,
    memory_bytes: int,
) -> MixedRows:
    """Mix both teachers' distributions and project the mixture through the student's head.

    Args:
        hidden: of the old and the new teacher, (tokens, width of the teacher) each; or of the old one alone, which
            stands for both then.
        teachers: their heads.
        labels: (tokens,), token ids.
        old_share: the old teacher's share of each token; it sees the teachers and the label, not the student.
        student: the student's head, of the same vocabulary.
        temperature: T > 0.
        memory_bytes: budget for the logits of a chunk.

    Returns:
        One row a token, wide.

    Raises:
        ValueError: the vocabularies differ.
    """
    for teacher in teachers:
        _check_vocabulary(teacher, student)
    wide, count = student.wide_dtype, len(labels)
    per_token = sum(head.vocab_size * (head.bytes_per_logit + 2 * wide.itemsize) for head in teachers)
    largest = min(chunk_size(count, per_token, memory_bytes), count)
    buffers = [ChunkBuffers(head, largest) for head in teachers]
    vector = hidden[-1].new_empty(count, student.weight.shape[1], dtype=wide)
    spread, shares, bias = vector.new_empty(3, count).unbind()
    with exactly(hidden[0]):
        for part in chunks(count, per_token, memory_bytes):
            label = labels[part]
            softmaxes, log_p, right = [], [], []
            for states, head, room in zip(hidden, teachers, buffers, strict=True):
                logits, top = head.logits(states[part], room, label)
                wanted = logits.gather(1, label.unsqueeze(1)).squeeze(1)
                soft = soften(logits, top, temperature)
                softmaxes.append(soft.softmax.to(wide))
                log_p.append(wanted - soft.lse_plain)
                right.append(top == label)
            share = old_share(log_p[0], log_p[-1], right[0]).to(wide)
            mixture = torch.lerp(softmaxes[-1], softmaxes[0], share.unsqueeze(1))
            spread[part] = torch.special.entr(mixture).sum(-1)
            shares[part] = share
            if student.bias is not None:
                bias[part] = mixture @ student.bias.to(wide)
            vector[part] = student.pull(mixture, (label,), buffers[-1].narrow)
    return MixedRows(vector, spread, shares, None if student.bias is None else bias, temperature)


def topk_rows(
    hidden: Tensor, teacher: OutputHead, labels: Tensor, *, k: int, temperature: float, memory_bytes: int
) -> TopkRows:
    """Keep a teacher's k likeliest tokens.

    Args:
        hidden: (tokens, width of the teacher), what it hands to its head.
        teacher: its head.
        labels: (tokens,), token ids.
        k: tokens that are kept; at most the whole vocabulary.
        temperature: T > 0.
        memory_bytes: budget for the logits of a chunk.
    """
    count, k = len(hidden), min(k, teacher.vocab_size)
    per_token = teacher.vocab_size * (teacher.bytes_per_logit + 2 * teacher.wide_dtype.itemsize)
    buffers = ChunkBuffers(teacher, min(chunk_size(count, per_token, memory_bytes), count))
    log_probs = hidden.new_empty(count, k, dtype=teacher.wide_dtype)
    ids = torch.empty(count, k, dtype=torch.long, device=hidden.device)
    tail, log_p = log_probs.new_empty(2, count).unbind()
    right = torch.empty(count, dtype=torch.bool, device=hidden.device)
    with exactly(hidden):
        for part in chunks(count, per_token, memory_bytes):
            label = labels[part]
            logits, top = teacher.logits(hidden[part], buffers, label)
            wanted = logits.gather(1, label.unsqueeze(1)).squeeze(1)
            kept, ids[part] = logits.topk(k, -1)
            soft = soften(logits, top, temperature)
            log_probs[part] = kept / temperature - soft.lse.unsqueeze(1)
            # Not 1 - sum: a small tail keeps its digits.
            tail[part] = soft.softmax.scatter_(1, ids[part], 0.0).sum(-1)
            log_p[part], right[part] = wanted - soft.lse_plain, top == label
    return TopkRows(ids, log_probs, tail, log_p, right, temperature)


def _check_vocabulary(teacher: OutputHead, student: OutputHead) -> None:
    if teacher.vocab_size != student.vocab_size:
        raise ValueError(
            f"teacher: expected a head of {student.vocab_size} rows as the student's, found {teacher.vocab_size}"
        )
