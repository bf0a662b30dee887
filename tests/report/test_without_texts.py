"""Reports without texts: nothing of an item's input, options, references and answers is left, and the numbers are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.command_line import muscle, write
from muscle.predictions.records import input_hash

SECRET = "zq"
Row = dict[str, Any]


def _run(path: Path, *, lost: int = 0) -> Path:
    """Questions, twice each, whose every text has a secret word; the last `lost` answers are wrong, all alike."""
    rows: list[Row] = []
    for number in range(60):
        right = number < 60 - lost
        answer = f"it is zq{number % 3}" if right else f"zqsorry zqcannot say zq{number % 3} to that"
        for repeat in (0, 1):
            rows.append(
                {
                    "task": "asked",
                    "id": f"item-{number}",
                    "repeat": repeat,
                    "input": f"zqquestion {number}?",
                    "reference": f"zqlabel{number % 3}",
                    "output": answer,
                    "correct": right,
                }
            )
    for number in range(40):
        picked = 0 if number < 40 - lost else 1
        rows.append(
            {
                "task": "picked",
                "id": f"choice-{number}",
                "input": f"zqchoose {number}",
                "choices": ["zqyes", "zqno"],
                "choice": picked,
                "output": ["zqyes", "zqno"][picked],
                "reference": "zqyes",
                "correct": picked == 0,
            }
        )
    return write(path, rows)


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    return _run(tmp_path / "old.jsonl"), _run(tmp_path / "new.jsonl", lost=15)


def _compare(
    runs: tuple[Path, Path], folder: Path, *more: str, by: str = "reference"
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the report, and all that was written and shown, by where."""
    files = {kind: folder / f"report.{kind}" for kind in ("json", "html", "markdown")}
    where = [word for kind, file in files.items() for word in (f"--{kind}", file)]
    done = muscle("compare", *runs, "--slice", by, *more, *where)
    texts = {kind: file.read_text() for kind, file in files.items()} | {"terminal": done.out}
    return json.loads(texts["json"]), texts


def test_no_text_of_an_item_is_left_anywhere(runs: tuple[Path, Path], tmp_path: Path) -> None:
    _, with_texts = _compare(runs, tmp_path)
    _, without = _compare(runs, tmp_path, "--no-texts")
    for place, text in with_texts.items():
        assert SECRET in text, f"{place}: this test would find nothing"
        assert SECRET not in without[place], place


def test_all_numbers_stay(runs: tuple[Path, Path], tmp_path: Path) -> None:
    before, _ = _compare(runs, tmp_path)
    after, _ = _compare(runs, tmp_path, "--no-texts")
    assert any(row["kind"] == "ngram" for row in before["tasks"]["asked"]["what_changed"])
    for report in (before, after):
        for task in report["tasks"].values():
            del task["slices"], task["what_changed"]
    assert after["tasks"] == before["tasks"]
    assert (after["verdict"], after["headline"]) == (before["verdict"], before["headline"])


def test_an_item_is_named_by_its_id_and_the_hash_of_its_records(runs: tuple[Path, Path], tmp_path: Path) -> None:
    report, texts = _compare(runs, tmp_path, "--no-texts")
    found = {flip["id"]: flip["input_hash"] for flip in report["flips"]}
    assert found["item-59"] == input_hash("zqquestion 59?")
    assert found["choice-39"] == input_hash("zqchoose 39", ["zqyes", "zqno"])
    assert found["item-59"] in texts["markdown"]


def test_slices_of_texts_are_named_by_their_hash_and_can_still_be_told_apart(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    report, _ = _compare(runs, tmp_path, "--no-texts")
    small = report["tasks"]["picked"]["slices"]["old_vs_new"]
    assert [row["value"] for row in small["rows"]] == [f"sha256 {input_hash('zqyes')[:16]}"]
    assert {flip["slices"]["reference"] for flip in report["flips"] if flip["task"] == "asked"} == {
        f"sha256 {input_hash(f'zqlabel{n}')[:16]}" for n in range(3)
    }


def test_what_differs_between_prompts_is_told_without_quoting_them(tmp_path: Path) -> None:
    folder = tmp_path / "prompts"
    rows = [{"id": f"q{n}", "input": f"Say zqold {n}", "output": "zqa", "correct": n > 3} for n in range(40)]
    old = write(folder / "old.jsonl", rows)
    new = write(folder / "new.jsonl", [{**row, "input": f"Say zqnew {row['id']}"} for row in rows])
    report, texts = _compare((old, new), tmp_path, "--on", "id", "--allow", "prompts", "--no-texts", by="length")
    assert not any(SECRET in text for text in texts.values())
    (told,) = report["comparability"]["old_vs_new"]
    assert told["message"] == "40 of 40 shared items have another prompt (or other options), the first is id 'q0'"
    with_texts, _ = _compare((old, new), tmp_path, "--on", "id", "--allow", "prompts", by="length")
    assert "'Say zqold 0' against 'Say zqnew q0'" in with_texts["comparability"]["old_vs_new"][0]["message"]


def test_a_kept_report_loses_its_texts_by_the_report_command(runs: tuple[Path, Path], tmp_path: Path) -> None:
    _compare(runs, tmp_path)
    wanted, _ = _compare(runs, tmp_path / "wanted", "--no-texts")
    kept = tmp_path / "report.json"
    done = muscle("report", kept, "--no-texts", "--json", kept)
    assert SECRET not in done.out + "".join(
        (tmp_path / f"report.{kind}").read_text() for kind in ("json", "html", "md")
    )
    assert json.loads(kept.read_text())["flips"] == wanted["flips"]
    muscle("report", kept, "--no-texts", "--json", kept)  # a second time changes nothing
    again = json.loads(kept.read_text())
    assert again["flips"] == wanted["flips"]
    assert again["warnings"] == wanted["warnings"]
