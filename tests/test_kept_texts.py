"""Tracked files hold no texts of data whose licence forbids to pass them on."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from helpers.places import ROOT

DATA = ROOT.parent / "shared" / "data"
FORBIDDEN = ("samsum",)
"""CC BY-NC-ND 4.0. The other sets may be passed on with attribution (docs/data.md)."""

NUM_WORDS = 7
"""As many words in a row are no chance: the project's prose shares six ("the order in which they were") with the
dialogues."""

_WORD = re.compile(r"\w+(?:['\N{RIGHT SINGLE QUOTATION MARK}]\w+)*")
_ESCAPES = re.compile(r"\\[nrt]|</?[a-z][^<>]{0,200}>")


def runs_of_words(text: str) -> Iterator[tuple[str, ...]]:
    words = _WORD.findall(html.unescape(_ESCAPES.sub(" ", text)).lower())
    every = zip(*(words[start:] for start in range(NUM_WORDS)), strict=False)
    return (run for run in every if len(set(run)) > NUM_WORDS // 2)  # not "d d d d d d d" of patterns


def lines_of(value: Any) -> Iterator[str]:
    """Return every line of every text in a row of the data."""
    if isinstance(value, str):
        yield from value.splitlines()
    elif isinstance(value, dict):
        for each in value.values():
            yield from lines_of(each)


def known_runs() -> set[tuple[str, ...]]:
    files = [file for name in FORBIDDEN for file in sorted((DATA / name).glob("*.jsonl"))]
    rows = (json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines())
    return {run for row in rows for line in lines_of(row) for run in runs_of_words(line)}


def tracked_texts() -> Iterator[tuple[str, str]]:
    """Return the name and content of every file that git tracks, binary ones left out."""
    named = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, named.split("\0")):
        try:
            yield name, (ROOT / name).read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue


def test_no_tracked_file_holds_texts_that_must_not_be_passed_on() -> None:
    if not all((DATA / name).is_dir() for name in FORBIDDEN):
        pytest.skip(f"needs the data beside the project, {DATA}: docs/data.md says where it comes from")
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("needs git, to know which files are passed on")
    known = known_runs()
    assert len(known) > 100_000
    found = [
        f"{name}: {' '.join(run)}" for name, text in tracked_texts() for run in runs_of_words(text) if run in known
    ]
    assert not found, "\n".join(found[:20])


def test_a_text_is_found_in_json_and_html_too() -> None:
    line = "One: shall we meet at the old mill, say, by six?"
    wanted = next(runs_of_words(line))
    for written in (
        json.dumps({"input": f"x\n{line}"}),
        f"<p>{line.replace('the old', '<b>the</b> old')}</p>",
    ):
        assert wanted in set(runs_of_words(written))
