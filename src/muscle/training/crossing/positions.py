"""Which positions of two token sequences have read the same text.

Every token ends somewhere in the text. Where both sequences spell the same bytes (but for a blank that SentencePiece
puts before a text), the ends are sums of the tokens' lengths: exact, whatever is cut within a character or a number.
Where they do not (a tokenizer that lowers, composes, or knows no such character), they are the offsets into the given
text that the tokenizer tells, and pieces of one character end only with the last of them. Tokens that a tokenizer adds
(BOS) have no text.

A new token y is predicted at a position that has read the text before it. The old model's position that has read the
same predicts y; where y ends later than the old model's next token, y's likelihood is that of the old tokens on the
way (a chunk, as in approximate likelihood matching: Minixhofer et al. 2025, https://arxiv.org/abs/2503.20083).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from muscle.errors import DataError
from muscle.training.crossing.spelling import Spelling

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_NONE = -1
"""Stands for a place that there is not."""

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Sequenced:
    """A text as one tokenizer's tokens.

    Attributes:
        ids: (tokens,).
        added: (tokens,) whether a token is the tokenizer's own addition: it has no text.
        ends: (tokens,) where each ends in the given text, in characters.
        text: what the tokens spell, as bytes; None where that is not known.
        spelled: (tokens,) where each ends in what they spell.
    """

    ids: Sequence[int]
    added: NDArray[np.bool_]
    ends: Ints
    text: bytes | None
    spelled: Ints


@dataclass(frozen=True)
class Aligned:
    """Where an old model stands while new tokens are predicted: an entry for each predicted token.

    Attributes:
        place: (tokens,) place in the old sequence whose model has read the same text; -1 where there is none.
        last: (tokens,) place of the old token in which the predicted token's text ends; `place` itself where that has
            no text; -1 where it is not known.
        rests: of tokens that end within their last old token, and begin before it: the bytes of them in that one.
    """

    place: Ints
    last: Ints
    rests: Mapping[int, bytes]

    def shifted(self, old: int, new: int) -> Aligned:
        """Return the places in sequences that lost so many tokens at their beginning."""
        place, last = self.place[new:] - old, self.last[new:] - old
        place = np.where(place < 0, _NONE, place)
        return Aligned(
            place,
            np.where(place == _NONE, _NONE, np.maximum(last, _NONE)),
            {token - new: rest for token, rest in self.rests.items() if token >= new and place[token - new] >= 0},
        )


@dataclass(frozen=True)
class CrossedTexts:
    """Texts as both tokenizers cut them.

    Attributes:
        old: token ids of each text, as the old model reads them.
        aligned: of each text; one entry a predicted token of the new sequence.
    """

    old: Sequence[Sequence[int]]
    aligned: Sequence[Aligned]

    @property
    def num_tokens(self) -> int:
        """Predicted tokens of the new sequences."""
        return sum(len(each.place) for each in self.aligned)

    @property
    def num_aligned(self) -> int:
        """Those for which the old model has a position that has read the same text."""
        return sum(int((each.place >= 0).sum()) for each in self.aligned)

    def joined(self, other: CrossedTexts) -> CrossedTexts:
        """Return these texts and then others."""
        return CrossedTexts([*self.old, *other.old], [*self.aligned, *other.aligned])


def sequenced(texts: Sequence[str], spelling: Spelling, *, add_special_tokens: bool = True) -> list[Sequenced]:
    """Cut texts into tokens, and find where each ends.

    Args:
        texts: at least one.
        spelling: of the tokenizer.
        add_special_tokens: whether the tokenizer adds its own (BOS).
    """
    encoded = spelling.tokenizer(
        list(texts),
        add_special_tokens=add_special_tokens,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
    )
    found = []
    columns = (encoded[name] for name in ("input_ids", "offset_mapping", "special_tokens_mask"))
    for given, ids, offsets, mask in zip(texts, *columns, strict=True):
        numbers, spans = np.asarray(ids, dtype=np.int64), np.asarray(offsets, dtype=np.int64).reshape(-1, 2)
        # A special token within the text has a span in it.
        added = np.asarray(mask, dtype=np.bool_) & (spans[:, 0] == spans[:, 1])
        ends = _token_ends(given, spans, added)
        text = spelling.spell([number for number, own in zip(ids, added.tolist(), strict=True) if not own])
        spelled = np.cumsum(np.where(added, 0, spelling.lengths[numbers]))
        found.append(Sequenced(ids, added, ends, text, spelled))
    return found


def _token_ends(text: str, spans: Ints, added: NDArray[np.bool_]) -> Ints:
    """Return where tokens end in a text, with what they took in and the tokenizer does not tell.

    Of "e" and an accent that it composes, it tells the "e" alone. So what no token has goes to the one before it, but
    for blanks, which a tokenizer of words leaves out.
    """
    if not len(spans):
        return spans[:, 1]
    starts = np.sort(spans[~added, 0])
    following = np.append(starts, len(text))[np.searchsorted(starts, spans[:, 1])]
    ends = np.where(added, 0, spans[:, 1])
    for token in np.flatnonzero(~added & (following > ends)).tolist():
        left_out = text[ends[token] : following[token]]
        ends[token] += next((place for place, letter in enumerate(left_out) if letter.isspace()), len(left_out))
    return np.maximum.accumulate(ends)


def align(old: Sequenced, new: Sequenced, *, tail: int = 0) -> Aligned:
    """Find the old model's positions for each predicted token of the new sequence.

    Args:
        old: a text as the old model's tokens.
        new: the same text as the new model's.
        tail: tokens without text that stand behind the new sequence (EOS).
    """
    old_ends, new_ends, text = _on_one_scale(old, new)
    if tail:
        new_ends = np.concatenate([new_ends, np.full(tail, new_ends[-1] if len(new_ends) else 0)])
    added = np.concatenate([new.added, np.ones(tail, dtype=np.bool_)])
    num_old = len(old_ends) - _trailing(old.added)
    old_ends = old_ends[:num_old]
    read, wanted = new_ends[:-1], new_ends[1:]
    place = np.searchsorted(old_ends, read, side="right") - 1
    # Within a character, or behind an EOS, nobody knows what was read.
    whole = _ends_something(new_ends, added)
    sure = whole[:-1] & (np.arange(len(read)) < len(added) - _trailing(added))
    met = sure & (place >= 0) & (old_ends[place] == read) if num_old else np.zeros(len(read), dtype=np.bool_)
    place = np.where(met, place, _NONE)
    last, rests = _last_places(old_ends, read, wanted, place, text)
    return Aligned(place, np.where(whole[1:], last, _NONE), rests)


def _on_one_scale(old: Sequenced, new: Sequenced) -> tuple[Ints, Ints, bytes | None]:
    """Return where the tokens of both end on one scale, and the text of that scale where it is spelled."""
    if old.text is not None and new.text is not None:
        if old.text == new.text:
            return old.spelled, new.spelled, new.text
        # One of them puts a blank before the text, which is no part of it. What has read nothing yet has no place: the
        # blank is what one side goes on with, and the other does not.
        if old.text == b" " + new.text:
            return old.spelled - 1, new.spelled, new.text
        if new.text == b" " + old.text:
            return old.spelled, new.spelled - 1, old.text
    return old.ends, new.ends, None


def _trailing(added: NDArray[np.bool_]) -> int:
    """Return how many added tokens stand at the end, behind any text."""
    others = np.flatnonzero(~added)
    return len(added) - 1 - int(others[-1]) if len(others) else 0


def _ends_something(ends: Ints, added: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell of each token whether all of the text up to its end has been read: of pieces with one end the last has."""
    followed = np.zeros(len(ends), dtype=np.bool_)
    if len(ends) > 1:
        followed[:-1] = (ends[1:] == ends[:-1]) & ~added[1:]
    return ~followed


def _last_places(
    old_ends: Ints, read: Ints, wanted: Ints, place: Ints, text: bytes | None
) -> tuple[Ints, dict[int, bytes]]:
    """Return for each predicted token the old token that it ends in, and what of it stands in that one alone."""
    first = np.searchsorted(old_ends, wanted, side="left")
    final = np.searchsorted(old_ends, wanted, side="right") - 1
    inside = first < len(old_ends)
    meets = inside & (final >= first)
    last = np.where(meets, final, first)
    last = np.where(wanted == read, place, last)
    # Without a common spelling nobody knows what stands in the rest of an old token.
    last = np.where(meets | (inside if text is not None else False) | (wanted == read), last, _NONE)
    last = np.where(place < 0, _NONE, last)
    rests: dict[int, bytes] = {}
    if text is not None:
        within = ~meets & (last >= place + 2) & (place >= 0)
        for token in np.flatnonzero(within).tolist():
            rests[token] = text[int(old_ends[last[token] - 1]) : int(wanted[token])]
    return last, rests


def cross_texts(
    texts: Sequence[str],
    sequences: Sequence[Sequence[int]],
    old: Spelling,
    new: Spelling,
    *,
    max_length: int,
    add_special_tokens: bool = True,
) -> CrossedTexts:
    """Cut texts as the old model reads them, and align both models' positions.

    Args:
        texts: that both models read.
        sequences: the new model's tokens of each: all of the text's and an EOS behind them where there is one, or the
            last `max_length` of these.
        old: of the old tokenizer.
        new: of the new one.
        max_length: the old model's sequences, too, keep their last so many tokens.
        add_special_tokens: whether the tokenizers add their own.

    Raises:
        DataError: a sequence is not the text's.
    """
    sides = (sequenced(texts, spelling, add_special_tokens=add_special_tokens) for spelling in (old, new))
    kept, aligned = [], []
    for number, (ours, theirs, ids) in enumerate(zip(*sides, sequences, strict=True)):
        tail = _tail(theirs.ids, ids, new.tokenizer)
        if tail is None:
            raise DataError(f"text {number}: its tokens are not those that the new base's tokenizer gives")
        found = align(ours, theirs, tail=tail)
        last = ours.ids[: len(ours.ids) - _trailing(ours.added)]
        lost_old, lost_new = max(0, len(last) - max_length), len(theirs.ids) + tail - len(ids)
        kept.append(list(last[lost_old:]))
        aligned.append(found.shifted(lost_old, lost_new))
    return CrossedTexts(kept, aligned)


def _tail(whole: Sequence[int], ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Return how many EOS stand behind a text's tokens, 0 or 1; None where a sequence is not the text's."""
    for tail in ([], [tokenizer.eos_token_id]):
        if [*whole, *tail][-len(ids) :] == list(ids):
            return len(tail)
    return None
