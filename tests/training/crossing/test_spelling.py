"""What text each token stands for, in tokenizers of every kind."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muscle.errors import ModelError
from muscle.training.crossing.spelling import Spelling
from tiny.bases import byte_tokenizer
from tiny.tokenizer_kinds import KINDS, TEXTS, trained_tokenizer

TOKENIZERS = {kind: trained_tokenizer(kind) for kind in KINDS}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("byte-level", "bytes"),
        ("digits", "bytes"),
        ("byte-fallback", "blanks"),
        ("unigram", "blanks"),
        ("wordpiece", "pieces"),
    ],
)
def test_the_kind_is_read_off_the_decoder(kind, expected):
    assert Spelling.of(TOKENIZERS[kind]).kind == expected


@given(text=st.text(max_size=40))
@settings(deadline=None)
@pytest.mark.parametrize("kind", ["byte-level", "digits"])
def test_byte_level_tokens_spell_any_text(kind, text):
    spelling = Spelling.of(TOKENIZERS[kind])
    ids = TOKENIZERS[kind](text)["input_ids"]
    assert spelling.spell(ids) == text.encode()


@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁"), max_size=40))
@settings(deadline=None)
def test_byte_fallback_spells_any_text_behind_its_blank(text):
    spelling = Spelling.of(TOKENIZERS["byte-fallback"])
    ids = TOKENIZERS["byte-fallback"](text)["input_ids"]
    assert spelling.spell(ids) == (b" " + text.encode() if text else b"")


def test_an_unknown_token_spells_nothing():
    spelling = Spelling.of(TOKENIZERS["unigram"])
    assert spelling.spell(TOKENIZERS["unigram"]("w1 ⌘")["input_ids"]) is None
    assert spelling.spell(TOKENIZERS["unigram"]("w1 w2")["input_ids"]) == b" w1 w2"


def test_pieces_of_words_go_on_and_words_begin_with_a_blank():
    spelling = Spelling.of(TOKENIZERS["wordpiece"])
    assert spelling.spell(TOKENIZERS["wordpiece"]("use the, w1")["input_ids"]) == b" use the, w1"


@pytest.mark.parametrize("kind", ["byte-level", "byte-fallback", "unigram"])
@pytest.mark.parametrize("text", TEXTS)
def test_the_first_tokens_are_those_of_the_tokenizer_in_the_midst_of_a_text(kind, text):
    tokenizer, spelling = TOKENIZERS[kind], Spelling.of(TOKENIZERS[kind])
    for word in text.split():
        inside = tokenizer(f" {word}")["input_ids"] if kind == "byte-level" else tokenizer(word)["input_ids"]
        if spelling.spell(inside) != f" {word}".encode():
            continue  # composed, or unknown
        assert spelling.first_tokens(f" {word}".encode()) == inside


def test_of_half_a_character_the_first_byte_s_token_is_taken():
    spelling = Spelling.of(TOKENIZERS["byte-fallback"])
    half = "東".encode()[:2]
    assert spelling.texts[spelling.first_tokens(half)[0]] == half[:1]
    assert Spelling.of(TOKENIZERS["unigram"]).first_tokens(half) == []


def test_a_token_of_a_lone_byte_gives_way_to_the_character_s_own():
    tokenizer = TOKENIZERS["byte-fallback"]
    spelling = Spelling.of(tokenizer)
    letter = spelling.numbers[b"w"]
    assert spelling.names[letter] == "w"
    assert spelling.names[spelling.numbers[b"\x01"]] == "<0x01>"


def test_special_tokens_are_told_from_text():
    spelling = Spelling.of(byte_tokenizer(TEXTS, bos=True))
    assert spelling.control.nonzero()[0].tolist() == [0, 1]
    assert b"<s>" not in spelling.numbers


def test_a_kind_that_is_not_known_is_refused_in_one_line():
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE(vocab={"a": 0, "a</w>": 1}, merges=[], end_of_word_suffix="</w>"))
    raw.decoder = decoders.BPEDecoder()
    with pytest.raises(ModelError, match=r"marks the ends of words; alignment\.method: options") as caught:
        Spelling.of(PreTrainedTokenizerFast(tokenizer_object=raw))
    assert "\n" not in str(caught.value)
