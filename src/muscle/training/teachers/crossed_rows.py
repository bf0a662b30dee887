"""Makes the rows of an old teacher whose tokenizer is another: its distributions, seen as the student's tokens.

The teacher reads each text in its own tokens, and stands for a token of the student at the position that has read the
same text (`muscle.training.crossing`). Its distribution there is projected into the student's vocabulary and then kept
as any other teacher's: a step of the training costs the same. Where it has no such position, or less than half of what
it expects can be written in the student's tokens (`known_tokens`), the new teacher teaches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from muscle.config.methods import ProjectionName
from muscle.provenance import fingerprint
from muscle.training.crossing.positions import Aligned, CrossedTexts
from muscle.training.crossing.projection import Beginnings, Projection, project
from muscle.training.crossing.spelling import Spelling
from muscle.training.head.head_pass import MEMORY_BYTES, chunk_size, chunks, exactly, soften
from muscle.training.head.output_head import ChunkBuffers, OutputHead
from muscle.training.teachers.make_rows import RowMaker, state_maker
from muscle.training.teachers.rows import ProjectedRows, TopkRows

if TYPE_CHECKING:
    from peft import PeftModel


@dataclass(frozen=True)
class Crossing:
    """How an old model's tokens become a new one's.

    Attributes:
        texts: that both are run on, and their aligned positions.
        old: of the old tokenizer.
        new: of the new one.
        kind: see `muscle.training.crossing.projection`.
    """

    texts: CrossedTexts
    old: Spelling
    new: Spelling
    kind: ProjectionName

    def identity(self) -> dict[str, object]:
        """Return what rows made by it depend on, as plain data."""
        return {
            "old_tokenizer": fingerprint(self.old.tokenizer.get_vocab()),
            "old_data": fingerprint([list(ids) for ids in self.texts.old]),
            "projection": self.kind,
        }


class Places(NamedTuple):
    """A batch's predicted tokens, (tokens,) each, and where the old model stands for them among all of its states."""

    labels: Tensor
    place: Tensor
    last: Tensor
    rests: dict[int, bytes]


class Chains(NamedTuple):
    """What moves in a batch's distributions, (tokens,) each: 0 where nothing does.

    Attributes:
        source: the new token from which it moves; -1 where the old model's next token has none.
        moved: p(t_1) ... p(t_m | ...), the probability of the old tokens that spell the label.
    """

    source: Tensor
    moved: Tensor


@dataclass(frozen=True)
class CrossedTeacher:
    """A frozen old teacher, and the student whose tokens it speaks of.

    Attributes:
        head: the teacher's.
        student: the student's, cut down to the tokens that the teacher can speak of and the labels.
        kept: (size,) their ids.
        projection: into them.
        beginnings: of the old tokens; None where chunks are left alone.
        temperature: T.
        memory_bytes: budget for the logits of a chunk.
    """

    head: OutputHead
    student: OutputHead
    kept: Tensor
    projection: Projection
    beginnings: Beginnings | None
    temperature: float
    memory_bytes: int

    @property
    def bytes_per_token(self) -> int:
        """What a token takes while its distribution is at hand."""
        wide = self.student.wide_dtype.itemsize
        return self.head.vocab_size * (self.head.bytes_per_logit + 2 * wide) + 3 * self.student.vocab_size * wide

    def chains(self, states: Tensor, following: Tensor, places: Places, temperature: float) -> Chains | None:
        """Return what moves; None where nothing does.

        Args:
            states: (old tokens, width), of all positions of a batch.
            following: (old tokens,) the old token behind each; -100 behind the last.
            places: the predicted tokens.
            temperature: of the probabilities.
        """
        if self.beginnings is None:
            return None
        longer = (places.place >= 0) & (places.last >= places.place + 2)
        source = torch.where(longer, self.projection.sources[following[places.place].clamp(min=0)], -1)
        moved = torch.zeros(len(longer), dtype=self.student.wide_dtype, device=longer.device)
        tokens = longer.nonzero().squeeze(1)
        if not len(tokens):
            return Chains(source, moved)
        lasts = places.last.tolist()
        # No two labels end within one old token, and begin before it.
        ends = {lasts[token] - 1: token for token in places.rests}
        steps, tails = self._steps(states, following, ends, places.rests, temperature)
        total = torch.cat([steps.new_zeros(1), steps.cumsum(0)])
        first, last = places.place[tokens], places.last[tokens]
        chained = total[last] - total[first]
        for row, token in enumerate(tokens.tolist()):
            if token in tails:  # the last token goes on beyond the label
                chained[row] += tails[token] - steps[lasts[token] - 1]
        moved[tokens] = chained.exp().to(moved)
        return Chains(source, moved)

    def _steps(
        self,
        states: Tensor,
        following: Tensor,
        ends: dict[int, int],
        rests: dict[int, bytes],
        temperature: float,
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """Return log p of each following token, (old tokens,) in float64, and of what some labels end with."""
        assert self.beginnings is not None, "chunks are chained"
        steps = torch.zeros(len(states), dtype=torch.float64, device=states.device)
        tails: dict[int, Tensor] = {}
        room = ChunkBuffers(
            self.head, min(chunk_size(len(states), self.bytes_per_token, self.memory_bytes), len(states))
        )
        for part in chunks(len(states), self.bytes_per_token, self.memory_bytes):
            label = following[part].clamp(min=0)
            logits, top = self.head.logits(states[part], room, label)
            wanted = logits.gather(1, label.unsqueeze(1)).squeeze(1) / temperature
            soft = soften(logits, top, temperature)
            steps[part] = (wanted - soft.lse).double()
            for end in range(part.start, part.stop):
                if end in ends:
                    token = ends[end]
                    ids = self.beginnings.of(rests[token]).to(states.device)
                    tails[token] = soft.softmax[end - part.start, ids].double().sum().log()
        return torch.where(following >= 0, steps, 0.0), tails

    def projected(
        self, states: Tensor, labels: Tensor, chains: Chains | None, room: ChunkBuffers, temperature: float
    ) -> tuple[Tensor, Tensor]:
        """Return the distributions over the student's tokens, (tokens, size), and the mass that was placed, (tokens,).

        Args:
            states: (tokens, width) of the positions that stand for the tokens.
            labels: (tokens,) as the projection counts.
            chains: what moves.
            room: for the logits.
            temperature: T.
        """
        logits, top = self.head.logits(states, room)
        found = self.projection.apply(soften(logits, top, temperature).softmax.to(self.student.wide_dtype))
        if chains is not None:
            has = chains.source >= 0
            column = chains.source.clamp(min=0).unsqueeze(1)
            found.scatter_add_(1, column, -torch.where(has, chains.moved, 0.0).unsqueeze(1))
            found.scatter_add_(1, labels.unsqueeze(1), chains.moved.unsqueeze(1))
            found.clamp_(min=0.0)  # of the difference of two nearly equal numbers
        placed = found.sum(-1)
        return found.div_(placed.clamp(min=torch.finfo(found.dtype).tiny).unsqueeze(1)), placed


def crossed_row_maker(
    model: PeftModel,
    head: OutputHead,
    crossing: Crossing,
    sequences: Sequence[Sequence[int]],
    *,
    student: OutputHead,
    temperature: float,
    topk: int | None = None,
    memory_bytes: int = MEMORY_BYTES,
) -> RowMaker:
    """Return a function that runs the old teacher on examples (by index) and gives their rows, one after the other.

    Args:
        model: the frozen task model.
        head: its output head.
        crossing: from its tokens to the student's.
        sequences: the student's token ids, one list an example.
        student: the student's head.
        temperature: T of the rows.
        topk: tokens of a top-k row; without it the rows are projected through the student's head.
        memory_bytes: budget for the logits of a chunk.
    """
    pad = crossing.old.tokenizer.pad_token_id
    run = state_maker(model, head, crossing.texts.old, pad_token_id=pad or 0, all_states=True)
    device = head.weight.device
    labels = torch.tensor(sorted({number for ids in sequences for number in ids}), dtype=torch.long)
    projection, kept = project(crossing.old, crossing.new, kind=crossing.kind).among(labels, device)
    small = OutputHead(student.weight[kept], None if student.bias is None else student.bias[kept])
    beginnings = Beginnings(crossing.old) if crossing.kind == "chunks" else None
    teacher = CrossedTeacher(head, small, kept, projection, beginnings, temperature, memory_bytes)

    def make(indices: Sequence[int]) -> ProjectedRows | TopkRows:
        states, following = run(indices)
        places = _places(indices, crossing.texts, sequences, kept)
        with exactly(states):
            rows = _Rows(teacher, len(places.labels), topk)
            rows.fill(states, following, places)
        return rows.done()

    return make


def _places(indices: Sequence[int], texts: CrossedTexts, sequences: Sequence[Sequence[int]], kept: Tensor) -> Places:
    """Return a batch's predicted tokens, with places in the batch's states one after the other."""
    labels: list[int] = []
    rests: dict[int, bytes] = {}
    places, lasts = [], []
    before = 0
    for index in indices:
        aligned: Aligned = texts.aligned[index]
        rests |= {token + len(labels): rest for token, rest in aligned.rests.items()}
        places.append(np.where(aligned.place >= 0, aligned.place + before, -1))
        lasts.append(np.where(aligned.last >= 0, aligned.last + before, -1))
        labels += sequences[index][1:]
        before += len(texts.old[index])
    wanted = torch.searchsorted(kept, torch.tensor(labels, dtype=torch.long, device=kept.device))
    place, last = (torch.from_numpy(np.concatenate(each)).to(kept.device) for each in (places, lasts))
    return Places(wanted, place, last, rests)


class _Rows:
    """Rows that are filled where the old model has a position; blank elsewhere."""

    def __init__(self, teacher: CrossedTeacher, num_tokens: int, topk: int | None) -> None:
        wide, device = teacher.student.wide_dtype, teacher.head.weight.device
        self.teacher, self.topk = teacher, topk and min(topk, teacher.student.vocab_size)
        width = self.topk or teacher.student.weight.shape[1]
        self.wide = torch.zeros(num_tokens, width, dtype=wide, device=device)
        self.ids = torch.zeros(num_tokens, width, dtype=torch.long, device=device) if self.topk else None
        self.spread, self.log_p, self.bias = torch.zeros(3, num_tokens, dtype=wide, device=device)
        self.placed = torch.full_like(self.spread, -1.0)
        self.right = torch.zeros(num_tokens, dtype=torch.bool, device=device)

    def fill(self, states: Tensor, following: Tensor, places: Places) -> None:
        """Compute the rows of a batch."""
        teacher = self.teacher
        temperatures = dict.fromkeys((teacher.temperature, 1.0))
        chains = {each: teacher.chains(states, following, places, each) for each in temperatures}
        tokens = (places.place >= 0).nonzero().squeeze(1)
        per_token = teacher.bytes_per_token
        largest = min(chunk_size(len(tokens), per_token, teacher.memory_bytes), len(tokens))
        room = ChunkBuffers(teacher.head, largest)
        for part in chunks(len(tokens), per_token, teacher.memory_bytes):
            chosen = tokens[part]
            label, at = places.labels[chosen], states[places.place[chosen]]
            moved = {each: found and Chains(*(column[chosen] for column in found)) for each, found in chains.items()}
            plain, placed = teacher.projected(at, label, moved[1.0], room, 1.0)
            self._answers(chosen, plain, label)
            if teacher.temperature != 1.0:
                plain, placed = teacher.projected(at, label, moved[teacher.temperature], room, teacher.temperature)
            self.placed[chosen] = placed
            self._keep(chosen, plain, label)

    def _answers(self, chosen: Tensor, plain: Tensor, label: Tensor) -> None:
        likely = plain.gather(1, label.unsqueeze(1)).squeeze(1)
        self.log_p[chosen] = likely.clamp(min=torch.finfo(likely.dtype).tiny).log()
        self.right[chosen] = plain.argmax(-1) == label

    def _keep(self, chosen: Tensor, soft: Tensor, label: Tensor) -> None:
        if self.ids is not None and self.topk:
            kept, ids = soft.topk(self.topk, -1)
            self.wide[chosen] = kept.clamp(min=torch.finfo(kept.dtype).tiny).log()
            self.ids[chosen] = self.teacher.kept[ids]
            self.spread[chosen] = soft.scatter(1, ids, 0.0).sum(-1)
            return
        student = self.teacher.student
        self.spread[chosen] = torch.special.entr(soft).sum(-1)
        if student.bias is not None:
            self.bias[chosen] = soft @ student.bias.to(soft)
        self.wide[chosen] = student.pull(soft, (soft.argmax(-1), label))

    def done(self) -> ProjectedRows | TopkRows:
        """Return them."""
        temperature = self.teacher.temperature
        if self.ids is not None:
            # Blank rows are read too, and not counted: each token once, as a row must have.
            blank = (self.placed < 0).unsqueeze(1)
            ids = torch.where(blank, self.teacher.kept[: self.ids.shape[1]], self.ids)
            return TopkRows(ids, self.wide, self.spread, self.log_p, self.right, temperature, self.placed)
        bias = None if self.teacher.student.bias is None else self.bias
        return ProjectedRows(self.wide, self.spread, self.log_p, self.right, bias, temperature, self.placed)
