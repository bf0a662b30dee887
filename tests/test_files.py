"""Files are there whole or not at all, also where the disk is full."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from helpers.command_line import muscle, refused, rows, write
from muscle.errors import OutputError
from muscle.files import atomic_path, write_json, write_text
from muscle.gate import save_baseline
from muscle.plan.item_list import choose, write_items
from muscle.predictions import write_records

FULL = OSError(28, "No space left on device")
POLARS = pl.exceptions.ComputeError("parquet: File out of specification: Invalid thrift: transport error")


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that takes nothing: neither from Python nor from polars, which does not always say why."""

    def fails(error: Exception) -> Callable[..., Any]:
        def write(*_: Any, **__: Any) -> Any:
            raise error

        return write

    monkeypatch.setattr("muscle.files.os.fsync", fails(FULL))
    monkeypatch.setattr(Path, "write_text", fails(FULL))

    def write_parquet(self: pl.DataFrame, path: Path, **_: Any) -> None:
        path.write_bytes(b"PAR1")
        raise POLARS

    monkeypatch.setattr(pl.DataFrame, "write_parquet", write_parquet)
    monkeypatch.setattr(pl.DataFrame, "write_ndjson", fails(OSError("No space left on device (os error 28)")))


WRITERS: dict[str, Callable[[Path], Any]] = {
    "x.txt": lambda path: write_text(path, "x"),
    "x.json": lambda path: write_json(path, {"a": 1}),
    "x.parquet": lambda path: write_records(path, rows()),
    "x.jsonl": lambda path: write_records(path, rows()),
    "ask.jsonl": lambda path: write_items(path, choose(pl.DataFrame(rows()), pl.DataFrame(rows()))),
    "ask.csv": lambda path: write_items(path, choose(pl.DataFrame(rows()), pl.DataFrame(rows()))),
    "main.parquet": lambda path: save_baseline(pl.DataFrame(rows()), "main", path.parent),
}


@pytest.mark.parametrize("name", WRITERS)
def test_on_a_full_disk_the_old_file_stays_and_nothing_else(tmp_path: Path, full: None, name: str) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / name).write_bytes(b"before")
    with pytest.raises(OutputError, match=r"cannot be written: No space left on device$"):
        WRITERS[name](folder / name)
    assert [path.name for path in folder.iterdir()] == [name] and (folder / name).read_bytes() == b"before"


def test_an_error_that_is_not_the_disks_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), atomic_path(tmp_path / "x") as path:
        path.write_text(str(1 / 0))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="needs /dev/null")
def test_what_is_no_file_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    link = tmp_path / "null"
    link.symlink_to("/dev/null")
    write_text(link, "x")
    write_records(link.with_suffix(".jsonl"), rows())
    assert link.is_symlink() and Path("/dev/null").is_char_device()


def test_a_name_that_is_no_utf8_is_kept_as_an_escape_in_json(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"name": "a\udcff"})
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8")) == {"name": "a\udcff"}


def whole_report(folder: Path) -> dict[str, Any]:
    run = write(folder / "old.jsonl", rows()), write(folder / "new.jsonl", rows(lost=20))
    muscle("compare", *run, "--json", folder / "report.json", "--quiet")
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return found


@pytest.mark.parametrize(
    "change",
    [
        {"flips": None},
        {"headline": None},
        {"tasks": {"a": 1}},
        {"tasks": []},
        {"verdict": "x"},
        {"join": {}},
        {"flips_total": {"negative_flip": "x"}},
        {"settings": 3},
    ],
)
def test_a_report_of_another_shape_is_one_line_and_writes_nothing(tmp_path: Path, change: dict[str, Any]) -> None:
    found = whole_report(tmp_path)
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "report.json").write_text(json.dumps({**found, **change}))
    line = refused("report", tmp_path / "r")
    assert "report.json" in line or "cannot be rendered" in line
    assert [path.name for path in (tmp_path / "r").iterdir()] == ["report.json"]


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "\ud800", '{"format": "muscle-report/1", "x": NaN}', "[]", ""])
def test_a_report_that_is_cut_or_none_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "report.json").write_text(text, errors="surrogatepass")
    assert "expected a report" in refused("report", tmp_path / "report.json")


def test_a_report_that_is_a_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "report.json").mkdir()
    assert "cannot be read" in refused("report", tmp_path)
