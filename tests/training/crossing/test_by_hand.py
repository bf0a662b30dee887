"""Texts of which anyone can tell where both token sequences have read the same: the answer stands beside each."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from muscle.training.crossing.positions import align, sequenced
from muscle.training.crossing.spelling import Spelling

BURNING = "❤\ufe0f\u200d🔥"
"""A heart, its form, a joiner and a flame: 3, 3, 3 and 4 bytes."""
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def byte_level(*pieces: str, special: str | None = None, bos: bool = False) -> Spelling:
    """A tokenizer like GPT-2's: every byte is a token, and so are these pieces."""
    written = [BYTES.pre_tokenize_str(piece)[0][0] for piece in pieces]
    raw = Tokenizer(models.BPE(*_merged(sorted(pre_tokenizers.ByteLevel.alphabet()), written)))
    raw.pre_tokenizer, raw.decoder = BYTES, decoders.ByteLevel()
    return _spelling(raw, special, bos=bos)


def sentence_piece(*pieces: str, bos: bool = False) -> Spelling:
    """One like Llama 2's: a blank is put before a text and written "▁", an unknown character in bytes."""
    letters = sorted({letter for piece in pieces for letter in piece} | {"▁"})
    vocabulary, merges = _merged(letters, list(pieces))
    vocabulary |= {f"<0x{byte:02X}>": len(vocabulary) + byte for byte in range(256)}
    raw = Tokenizer(models.BPE(vocabulary, merges, byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    raw.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return _spelling(raw, None, bos=bos)


def composing(*pieces: str) -> Spelling:
    """A Unigram one that composes characters first, as T5's does."""
    scores = [("<unk>", 0.0), *((piece, -1.0) for piece in pieces)]
    raw = Tokenizer(models.Unigram(scores, unk_id=0))
    raw.normalizer, raw.decoder = normalizers.NFKC(), decoders.Metaspace()
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    return _spelling(raw, None, bos=False)


def _merged(letters: Sequence[str], pieces: Sequence[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return a vocabulary and merges that put each piece together from its left."""
    steps = [(piece[:end], piece[end]) for piece in pieces for end in range(1, len(piece))]
    names = dict.fromkeys(["<unk>", *letters, *(left + right for left, right in steps)])
    return {name: number for number, name in enumerate(names)}, list(dict.fromkeys(steps))


def _spelling(raw: Tokenizer, special: str | None, *, bos: bool) -> Spelling:
    if special is not None:
        raw.add_special_tokens([AddedToken(special, special=True, normalized=False)])
    if bos:
        raw.add_special_tokens([AddedToken("<s>", special=True, normalized=False)])
        raw.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", raw.token_to_id("<s>"))]
        )
    return Spelling.of(PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>"))


# The new tokens but for the first are predicted; beside each stands the old token behind which the same was read.
CASES = {
    "byte-level: a merged word against its bytes": (byte_level(), byte_level("hay"), "hay!", ["hay", "!"], [2]),
    "byte-level: bytes within a word have no place": (
        *(byte_level("hay"), byte_level(), "hay!"),
        *(["h", "a", "y", "!"], [-1, -1, 0]),
    ),
    "the blank that SentencePiece puts first is no text": (
        *(sentence_piece("▁for", "▁hay"), byte_level("for", " hay"), "for hay"),
        *(["for", "Ġhay"], [0]),
    ),
    "nor is it on the new side": (
        *(byte_level("for", " hay"), sentence_piece("▁for", "▁hay"), "for hay"),
        *(["▁for", "▁hay"], [0]),
    ),
    "alone, it has read nothing": (
        *(byte_level("for"), sentence_piece("for"), "for!"),
        *(["▁", "for", "<0x21>"], [-1, 0]),
    ),
    "a character in bytes is read behind its last": (
        *(sentence_piece("a", "b"), byte_level("👍"), "a👍b"),
        *(["a", "ðŁĳį", "b"], [1, 5]),
    ),
    "within its bytes there is no place": (
        *(byte_level("👍"), sentence_piece("a", "b"), "a👍b"),
        *(["▁", "a", "<0xF0>", "<0x9F>", "<0x91>", "<0x8D>", "b"], [-1, 0, -1, -1, -1, 1]),
    ),
    "bytes meet bytes": (byte_level(), sentence_piece("a"), "aé", ["▁", "a", "<0xC3>", "<0xA9>"], [-1, 0, 1]),
    "digits one by one meet a number behind its last": (
        *(byte_level("201"), byte_level(), "201."),
        *(["2", "0", "1", "."], [-1, -1, 0]),
    ),
    "a number meets its last digit": (byte_level(), byte_level("201"), "201.", ["201", "."], [2]),
    "numbers cut in other places meet where both end": (
        *(byte_level("20", "15"), byte_level("01"), "2015."),
        *(["2", "01", "5", "."], [-1, -1, 1]),
    ),
    "a joined emoji": (
        *(byte_level("❤"), byte_level(BURNING), f"{BURNING}a"),
        *([BYTES.pre_tokenize_str(BURNING)[0][0], "a"], [10]),
    ),
    "a combining mark": (byte_level(), byte_level("e\u0301"), "e\u0301a", ["eÌģ", "a"], [2]),
    "a mark that one side composes": (byte_level(), composing("▁é", "a"), "e\u0301a", ["▁é", "a"], [2]),
    "a mark on a letter, between blanks": (
        *(byte_level(), composing("▁x", "▁é", "▁a"), "x e\u0301 a"),
        *(["▁x", "▁é", "▁a"], [0, 4]),
    ),
    "letters that one side composes": (
        *(byte_level("한"), composing("▁한", "글"), "\u1112\u1161\u11ab글"),
        *(["▁한", "글"], [8]),  # three letters of three bytes
    ),
    "a special token that the other spells out": (
        *(byte_level(), byte_level(special="<turn>"), "<turn>a"),
        *(["<turn>", "a"], [5]),
    ),
    "and the other way round": (
        *(byte_level(special="<turn>"), byte_level(), "<turn>a"),
        *(["<", "t", "u", "r", "n", ">", "a"], [-1, -1, -1, -1, -1, 0]),
    ),
    "a BOS on the old side alone": (byte_level(bos=True), byte_level(), "ab", ["a", "b"], [1]),
    "a BOS on the new side alone": (byte_level(), byte_level(bos=True), "ab", ["<s>", "a", "b"], [-1, 0]),
    "a BOS on both": (byte_level("ab", bos=True), byte_level(bos=True), "abc", ["<s>", "a", "b", "c"], [0, -1, 1]),
    "a BOS on both, behind which one goes on with a blank": (
        *(byte_level(bos=True), sentence_piece("▁a", "b", bos=True), "ab"),
        *(["<s>", "▁a", "b"], [-1, 1]),
    ),
}


@pytest.mark.parametrize(("old", "new", "text", "tokens", "expected"), CASES.values(), ids=CASES)
def test_the_places_are_those_that_one_sees(
    old: Spelling, new: Spelling, text: str, tokens: list[str], expected: list[int]
) -> None:
    (ours,), (theirs,) = sequenced([text], old), sequenced([text], new)
    assert new.tokenizer.convert_ids_to_tokens(theirs.ids) == tokens
    assert align(ours, theirs).place.tolist() == expected
