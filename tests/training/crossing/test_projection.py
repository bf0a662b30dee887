"""Old tokens become new ones by their text."""

import copy

import pytest
import torch

from muscle.training.crossing.projection import Beginnings, project
from muscle.training.crossing.spelling import Spelling
from tiny.tokenizer_kinds import KINDS, trained_tokenizer

SPELLINGS = {kind: Spelling.of(trained_tokenizer(kind)) for kind in KINDS}


def targets(old, new, kind="chunks"):
    found = project(old, new, kind=kind)
    return {
        int(row): [
            (int(column), float(weight))
            for column, weight in zip(found.columns[found.rows == row], found.weights[found.rows == row], strict=True)
        ]
        for row in found.rows.unique()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_one_tokenizer_is_mapped_to_itself(kind):
    spelling, again = SPELLINGS[kind], Spelling.of(copy.deepcopy(SPELLINGS[kind].tokenizer))
    assert again is not spelling
    found = targets(spelling, again)
    known = [number for number, text in enumerate(spelling.texts) if text]
    assert {number: found[number] for number in known} == {number: [(number, 1.0)] for number in known}


@pytest.mark.parametrize("old", KINDS)
@pytest.mark.parametrize("new", KINDS)
def test_the_same_bytes_meet_and_others_go_to_what_their_text_begins_with(old, new):
    ours, theirs = SPELLINGS[old], SPELLINGS[new]
    for number, entries in targets(ours, theirs).items():
        assert len(entries) == 1 and entries[0][1] == 1.0
        text, target = ours.texts[number], theirs.texts[entries[0][0]]
        if ours.control[number]:
            assert ours.names[number] == theirs.names[entries[0][0]]
        elif text in theirs.numbers:
            assert target == text
        elif new != "wordpiece":  # which lowers, and knows no text without its blank
            assert text.startswith(target)


def test_the_roles_of_special_tokens_count_more_than_their_names():
    old, new = trained_tokenizer("byte-level"), trained_tokenizer("byte-fallback")
    new.eos_token, new.bos_token = "<s>", "</s>"
    found = targets(Spelling.of(old), Spelling.of(new))
    assert found[old.eos_token_id] == [(new.eos_token_id, 1.0)]
    assert found[old.bos_token_id] == [(new.bos_token_id, 1.0)]


def test_what_has_no_place_is_left_out():
    ours, theirs = SPELLINGS["byte-level"], SPELLINGS["unigram"]
    found = targets(ours, theirs)
    lone = [number for number, text in enumerate(ours.texts) if text and text[0] >= 0x80 and len(text) == 1]
    assert lone and not any(number in found for number in lone)


def test_pieces_share_an_old_token_out_as_published():
    """X-Token (2026): 0.90, 0.09 and 0.01 of three pieces, made to sum to 1."""
    ours = Spelling.of(trained_tokenizer("byte-level", ["201 201 201"] * 3))
    found = targets(ours, SPELLINGS["digits"], "pieces")
    number = ours.numbers[b"201"]
    pieces = [SPELLINGS["digits"].numbers[digit] for digit in (b"2", b"0", b"1")]
    assert [column for column, _ in found[number]] == pieces
    assert [round(weight, 4) for _, weight in found[number]] == [0.9009, 0.0901, 0.009]


@pytest.mark.parametrize("kind", ["chunks", "pieces"])
def test_the_map_is_that_of_a_plain_matrix(kind):
    ours, theirs = SPELLINGS["byte-level"], SPELLINGS["byte-fallback"]
    projection = project(ours, theirs, kind=kind)
    plain = torch.zeros(len(ours.texts), len(theirs.texts), dtype=torch.float64)
    for row, column, weight in zip(projection.rows, projection.columns, projection.weights, strict=True):
        plain[row, column] += weight  # a token may be cut into the same piece twice
    p = torch.randn(5, len(ours.texts) + 3, dtype=torch.float64).softmax(-1)  # three rows of padding in the head
    expected = p[:, : len(ours.texts)] @ plain
    torch.testing.assert_close(projection.apply(p), expected)
    labels = torch.tensor([4, 7, 2])
    among, kept = projection.among(labels, torch.device("cpu"))
    assert set(labels.tolist()) <= set(kept.tolist())
    torch.testing.assert_close(among.apply(p), expected[:, kept])
    whole = [int(kept[source]) if source >= 0 else -1 for source in among.sources]
    assert whole == projection.sources.tolist()


def test_tokens_are_found_by_what_they_begin_with():
    spelling = SPELLINGS["byte-level"]
    beginnings = Beginnings(spelling)
    for beginning in (b" ", b" w", b"\xf0\x9f", b"for", b"zzz"):
        expected = [number for number, text in enumerate(spelling.texts) if text and text.startswith(beginning)]
        assert sorted(beginnings.of(beginning).tolist()) == expected


def test_a_projection_is_made_once():
    assert project(SPELLINGS["digits"], SPELLINGS["unigram"]) is project(SPELLINGS["digits"], SPELLINGS["unigram"])
