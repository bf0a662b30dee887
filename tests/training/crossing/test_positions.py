"""Positions of two tokenizers that have read the same text, against a search by hand."""

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muscle.errors import DataError
from muscle.training.crossing.positions import align, cross_texts, sequenced
from muscle.training.crossing.spelling import Spelling
from tiny.tokenizer_kinds import KINDS, TEXTS, trained_tokenizer

TOKENIZERS = {kind: trained_tokenizer(kind, bos=kind in ("byte-fallback", "digits")) for kind in KINDS}
SPELLINGS = {kind: Spelling.of(tokenizer) for kind, tokenizer in TOKENIZERS.items()}
FAITHFUL = ("byte-level", "digits", "byte-fallback")
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁"), max_size=30)
LIKELY_TEXT = st.lists(st.sampled_from([*" ".join(TEXTS).split(), " ", "\n", "201", "e\u0301"]), max_size=12).map(
    " ".join
)


def read(spelling, ids, until, *, blank):
    """Return what the first tokens spell, without their additions; None before a blank that is no part of the text."""
    text = b"".join(spelling.texts[number] for number in ids[: until + 1] if not spelling.control[number])
    if not blank:
        return text
    return text[1:] if text else None


def by_hand(old, new, text):
    """Find the places by spelling out every beginning of both sequences."""
    ours, theirs = TOKENIZERS[old](text)["input_ids"], TOKENIZERS[new](text)["input_ids"]
    has_blank = {kind: kind == "byte-fallback" and bool(text) for kind in (old, new)}
    both = has_blank[old] and has_blank[new]
    read_old = [read(SPELLINGS[old], ours, end, blank=has_blank[old] and not both) for end in range(len(ours))]
    read_new = [read(SPELLINGS[new], theirs, end, blank=has_blank[new] and not both) for end in range(len(theirs))]
    found = []
    for end in range(len(theirs) - 1):
        same = [
            place for place, beginning in enumerate(read_old) if beginning is not None and beginning == read_new[end]
        ]
        place = same[-1] if same else -1
        last, rest = -1, None
        if place >= 0:
            wanted = read_new[end + 1]
            last = next(number for number, beginning in enumerate(read_old) if len(beginning or b"") >= len(wanted))
            last = place if wanted == read_new[end] else last
            if len(read_old[last]) > len(wanted) and last >= place + 2:
                rest = wanted[len(read_old[last - 1]) :]
        found.append((place, last, rest))
    return found


def places(old, new, text):
    (ours,), (theirs,) = (sequenced([text], SPELLINGS[kind]) for kind in (old, new))
    aligned = align(ours, theirs)
    return [
        (int(place), int(last), aligned.rests.get(token))
        for token, (place, last) in enumerate(zip(aligned.place, aligned.last, strict=True))
    ]


@pytest.mark.parametrize(("old", "new"), [*permutations(FAITHFUL, 2)])
@given(text=ANY_TEXT | LIKELY_TEXT)
@settings(deadline=None)
def test_the_places_are_those_that_spell_the_same_text(old, new, text):
    assert places(old, new, text) == by_hand(old, new, text)


@pytest.mark.parametrize("kind", KINDS)
@given(text=ANY_TEXT | LIKELY_TEXT)
@settings(deadline=None)
def test_with_one_tokenizer_every_token_stands_for_itself(kind, text):
    found = places(kind, kind, text)
    ids = TOKENIZERS[kind](text)["input_ids"]
    pieces = {"unigram", "wordpiece"}  # of a text that they don't spell, offsets count, and ties leave gaps
    spelled = sequenced([text], SPELLINGS[kind])[0].text is not None if ids else True
    if kind in pieces and not spelled:
        assert all(place in (-1, token) for token, (place, _, _) in enumerate(found))
        return
    assert [place for place, _, _ in found] == list(range(len(found)))
    assert [last for _, last, _ in found] == list(range(1, len(found) + 1))


def plain(tokenizer, ids):
    return tokenizer.decode(ids, skip_special_tokens=True).replace(" ", "").lower()


@pytest.mark.parametrize(
    ("old", "new"), [(old, new) for old, new in permutations(KINDS, 2) if "wordpiece" in (old, new)]
)
@given(
    text=st.lists(
        st.sampled_from(["for", "soup", "w1", "Use", "the", "bowl", "201", "it's", ",", "."]), max_size=12
    ).map(" ".join)
)
@settings(deadline=None)
def test_by_offsets_too_both_have_read_the_same_words(old, new, text):
    ours, theirs = TOKENIZERS[old](text)["input_ids"], TOKENIZERS[new](text)["input_ids"]
    found = places(old, new, text)
    for token, (place, last, _) in enumerate(found):
        if place >= 0:
            assert plain(TOKENIZERS[old], ours[: place + 1]) == plain(TOKENIZERS[new], theirs[: token + 1])
        if last > place:
            assert len(plain(TOKENIZERS[old], ours[: last + 1])) >= len(plain(TOKENIZERS[new], theirs[: token + 2]))
    ends_of_words = len(text.split()) - 1
    assert sum(place >= 0 for place, _, _ in found) >= min(ends_of_words, len(found))


def test_digits_meet_only_where_the_number_ends():
    tokenizer = trained_tokenizer("byte-level", ["201 201 201"] * 3)
    (ours,), (theirs,) = (sequenced(["is 201 or"], Spelling.of(each)) for each in (tokenizer, TOKENIZERS["digits"]))
    aligned = align(ours, theirs)
    ends = [theirs.text[: theirs.spelled[token]] for token in range(len(aligned.place)) if aligned.place[token] >= 0]
    assert b"is 2" not in ends and b"is 20" not in ends
    assert b"is 201" in ends


def test_a_bos_on_the_new_side_alone_has_no_old_position():
    found = places("byte-level", "digits", "for soup")
    assert found[0] == (-1, -1, None)
    assert all(place >= 0 for place, _, _ in found[1:])


def test_a_bos_on_the_old_side_alone_moves_the_places_by_one():
    found = places("digits", "byte-level", "for soup")
    assert [place for place, _, _ in found] == list(range(1, len(found) + 1))


def test_emoji_that_one_side_cuts_into_bytes_meet_behind_them():
    text = "a 👩‍👩‍👧 b"
    found = dict(enumerate(places("byte-fallback", "byte-level", text)))
    (theirs,) = sequenced([text], SPELLINGS["byte-level"])
    last = theirs.text.index(b" b")
    meeting = [token for token in found if theirs.spelled[token] == last]
    assert found[meeting[0]][0] > 0


def test_an_end_of_text_is_predicted_where_the_text_ends():
    texts = ["for soup", "Use the bowl"]
    old, new = SPELLINGS["byte-fallback"], SPELLINGS["byte-level"]
    sequences = [[*TOKENIZERS["byte-level"](text)["input_ids"], 2] for text in texts]
    crossed = cross_texts(texts, sequences, old, new, max_length=64)
    for ids, aligned in zip(crossed.old, crossed.aligned, strict=True):
        assert (aligned.place[-1], aligned.last[-1]) == (len(ids) - 1, len(ids) - 1)


def test_texts_that_lose_their_beginning_keep_their_places():
    text = "for soup w1 w2 Use the bowl"
    old, new = SPELLINGS["byte-fallback"], SPELLINGS["byte-level"]
    ids = TOKENIZERS["byte-level"](text)["input_ids"]
    whole = cross_texts([text], [ids], old, new, max_length=64)
    cut = cross_texts([text], [ids[-6:]], old, new, max_length=5)
    assert list(cut.old[0]) == list(whole.old[0][-5:])
    lost = len(whole.old[0]) - 5
    expected = [place - lost if place >= lost else -1 for place in whole.aligned[0].place[-5:]]
    assert cut.aligned[0].place.tolist() == expected
    assert cut.num_tokens == 5 and cut.num_aligned == sum(place >= 0 for place in expected)


def test_tokens_of_another_text_are_refused():
    with pytest.raises(DataError, match="text 0: its tokens are not those"):
        cross_texts(["for"], [[9, 9, 9]], SPELLINGS["digits"], SPELLINGS["byte-level"], max_length=64)
