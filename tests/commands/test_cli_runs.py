"""`muscle history`, `convert` and `report` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from helpers.command_line import muscle, refused, rows, write, write_folder
from helpers.places import DATA

FILES = DATA / "readers"


@pytest.fixture
def chain(tmp_path: Path) -> list[Path]:
    return [
        write(tmp_path / "v1.jsonl", rows()),
        write(tmp_path / "v2.jsonl", rows(lost=14, gained=9)),
        write(tmp_path / "v3.jsonl", rows(lost=4, gained=9)),
    ]


def test_history_follows_the_steps_and_the_whole_way(chain: list[Path]) -> None:
    done = muscle("history", *chain)
    text = " ".join(done.out.split())
    assert done.code == 0
    assert "trivia: v1 to v3: +9 gained / -4 broken of 300 items; along the steps 14 broken" in text
    assert "10 of them came back for good" in text
    assert "right, wrong, right again: 10" in text
    for step in ("v1 → v2", "v2 → v3", "v1 → v3"):
        assert step in done.out
    assert "…" not in done.out
    assert len(done.out.splitlines()) <= 30


def test_history_is_written_as_json_and_markdown(chain: list[Path], tmp_path: Path) -> None:
    done = muscle("history", *chain, "--json", "-", "--markdown", tmp_path / "h.md")
    report = json.loads(done.out)
    assert report["tasks"]["trivia"]["kinds"]["recovered"] == 10
    assert "### v1 → v2 → v3" in (tmp_path / "h.md").read_text()
    muscle("history", *chain, "--json", tmp_path / "h.json", "--quiet")
    assert json.loads((tmp_path / "h.json").read_text())["tasks"] == report["tasks"]


def test_versions_of_one_name_are_told_apart_and_can_be_named(chain: list[Path]) -> None:
    assert "1 v1 → 2 v1" in muscle("history", chain[0], chain[0]).out
    text = muscle("history", *chain, "--name", "may", "--name", "june", "--name", "july").out
    assert "may → june" in text
    assert "expected 3 names" in refused("history", *chain, "--name", "may")
    assert "expected two runs or more" in refused("history", chain[0])
    assert "july" in muscle("history", chain[0], f"{chain[1]}::name=july").out


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet", "out"])
def test_a_run_that_is_converted_compares_as_the_run_itself(chain: list[Path], tmp_path: Path, name: str) -> None:
    outs = [tmp_path / f"converted{n}" / name for n in (0, 1)]
    for source, out in zip(chain, outs, strict=False):
        done = muscle("convert", source, "--out", out)
        assert done.code == 0
        written = [Path(line) for line in done.out.splitlines()]
        assert written
        assert all(path.is_file() for path in written)
    found, expected = (
        json.loads(muscle("compare", *sides, "--json", "-").out)["tasks"]["trivia"] for sides in (outs, chain[:2])
    )
    assert found == expected


def test_any_format_becomes_our_records(tmp_path: Path) -> None:
    sources = [
        FILES / "lm_eval/0.4.13/toy__model-1",
        FILES / "inspect/garden-1.zstd.eval",
        FILES / "promptfoo/v1.json",
    ]
    for number, source in enumerate(sources):
        out = tmp_path / f"{number}.parquet"
        assert muscle("convert", source, "--out", out, "--quiet").code == 0
        columns = pl.read_parquet(out).columns
        assert {"task", "id", "filter", "repeat", "correct", "score"} <= set(columns)


def test_one_reading_of_several_can_be_converted(tmp_path: Path) -> None:
    words = ("--filter", "strict", "--metric", "acc_norm", "--out", tmp_path / "out", "--quiet")
    assert muscle("convert", FILES / "lm_eval/0.4.13/toy__model-1", *words).code == 0
    lines = [json.loads(line) for line in (tmp_path / "out" / "sums.jsonl").read_text().splitlines()]
    assert {line["filter"] for line in lines} == {"strict"}
    both = ("convert", FILES / "promptfoo/v1.json::provider=toy-v1", "--out", tmp_path / "p.jsonl")
    assert muscle(*both).code == 0


def test_every_eval_ever_is_written_and_read_again(chain: list[Path], tmp_path: Path) -> None:
    for number, source in enumerate(chain[:2]):
        done = muscle("convert", source, "--to", "eee", "--out", tmp_path / f"eee{number}")
        assert done.code == 0
        assert any(line.endswith("_samples.jsonl") for line in done.out.splitlines())
    report = json.loads(muscle("compare", tmp_path / "eee0", tmp_path / "eee1", "--json", "-").out)
    (task,) = report["tasks"].values()
    assert task["quadrants"]["old_vs_new"]["negative_flips"] == 14
    line = refused("convert", chain[0], "--to", "eee", "--out", tmp_path / "x.jsonl")
    assert "expected a folder for Every Eval Ever" in line


def test_an_unwritable_place_is_one_line(chain: list[Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refused("convert", chain[0], "--out", tmp_path / "file" / "x.jsonl")
    assert "cannot be written" in refused("compare", *chain[:2], "--json", tmp_path / "file" / "r.json")


def without_written(shown: str) -> str:
    return shown.partition("Written: ")[0]


DECIDED = "v1, v2: column 'correct' decides what is right\n"
ALL_FLIPS = "All 23 items whose answer changed: --html report.html\n"


def test_a_report_is_rendered_again_from_its_json(chain: list[Path], tmp_path: Path) -> None:
    words = ("--json", tmp_path / "report.json", "--markdown", tmp_path / "first.md")
    shown = muscle("compare", *chain[:2], *words).out
    again = muscle("report", tmp_path / "report.json").out
    # What decides is said of the files, below the report, and where all flips are; then what was written.
    assert without_written(shown) == without_written(again) + ALL_FLIPS + DECIDED
    assert (tmp_path / "report.md").read_text() == (tmp_path / "first.md").read_text()


def test_what_differs_between_neighbours_stands_first(tmp_path: Path) -> None:
    facts = [{"settings": {"batch_size": size}} for size in (1, 8, 8)]
    runs = [write_folder(tmp_path / f"v{n}", rows(lost=n), fact) for n, fact in enumerate(facts)]
    text = " ".join(muscle("history", *runs).out.split())
    assert text.startswith("v0 to v1 differs beside the model: scoring: batch_size 1 against 8 trivia:")
