"""Packed files and texts in UTF-16 are read as what they hold; what they unpack to is bounded."""

from __future__ import annotations

import codecs
import gzip
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.places import DATA
from muscle import read_run
from muscle.errors import DataError, UnclearColumns
from muscle.predictions import packed

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ROWS = '{"id": 1, "output": "Brasília", "correct": true}\n\n{"id": 2, "output": "ja", "correct": false}\n'
TABLE = "id,output,correct\n1,Brasília,true\n2,ja,false\n"
LIST = json.dumps([json.loads(line) for line in ROWS.split("\n") if line])
PACK: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".zst": zstd.compress, "": bytes}


@pytest.fixture(autouse=True)
def no_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Unpack into a folder of our own, in which nothing may be left."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(("name", "text"), [("v1.jsonl", ROWS), ("v1.json", LIST), ("v1.csv", TABLE)])
def test_a_file_is_read_however_it_is_packed_and_written(
    tmp_path: Path, name: str, text: str, encoding: str, suffix: str
) -> None:
    if name.endswith(".csv") and encoding in ("utf-16-le", "utf-16-be"):
        text = f"\ufeff{text}"  # a table in UTF-16 has its mark
    path = tmp_path / (name + suffix)
    path.write_bytes(PACK[suffix](text.encode(encoding)))
    run = read_run(path)
    assert run.frame.select("id", "output", "correct").rows() == [("1", "Brasília", True), ("2", "ja", False)]
    assert (run.name, run.tasks, run.metadata["source"]) == ("v1", ["v1"], str(path))


def test_utf_16_with_either_mark_is_read(tmp_path: Path) -> None:
    for number, mark in enumerate((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        path = tmp_path / f"{number}.jsonl"
        path.write_bytes(mark + ROWS.encode("utf-16-le" if mark == codecs.BOM_UTF16_LE else "utf-16-be"))
        assert read_run(path).frame["output"].to_list() == ["Brasília", "ja"]


def test_several_members_one_behind_the_other_are_one_file(tmp_path: Path) -> None:
    first, second = '{"id": 1, "correct": true}\n', '{"id": 2, "correct": true}\n'
    for suffix in (".gz", ".zst"):
        path = tmp_path / f"a.jsonl{suffix}"
        path.write_bytes(PACK[suffix](first.encode()) + PACK[suffix](second.encode()))
        assert read_run(path).frame.height == 2


def test_messages_name_the_file_that_was_given_and_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress((ROWS + '{"id": 3, "correct": "perhaps"}\n').encode("utf-16")))
    with pytest.raises(DataError) as caught:
        read_run(path)
    assert str(caught.value).startswith(f"{path}, line 4, field 'correct': expected true or false")


def test_a_question_about_columns_keeps_its_proposal(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"id,prediction,response,expected\n1,a,b,a\n"))
    with pytest.raises(UnclearColumns) as caught:
        read_run(path)
    assert str(caught.value).startswith(str(path)) and caught.value.flags


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_bomb_is_refused_in_one_line_before_it_is_unpacked(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch, no_file_is_left: Path
) -> None:
    written: list[int] = []
    unpack = packed._unpack

    def watched(path: Path, opened: object, file: Path) -> None:
        try:
            unpack(path, opened, file)  # type: ignore[arg-type]
        finally:
            written.append(file.stat().st_size)

    monkeypatch.setattr(packed, "_unpack", watched)
    monkeypatch.setattr(packed, "FREE_BYTES", 1 << 20)
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(PACK[suffix](b" " * (64 << 20)))
    with pytest.raises(DataError) as caught:
        read_run(path)
    most = (1 << 20) + packed.MOST_FOLD * path.stat().st_size
    assert f"expected a file that unpacks to at most {most >> 20} MiB" in str(caught.value)
    assert "\n" not in str(caught.value) and written[0] <= most


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_packed_file_that_is_cut_or_changed_is_refused(tmp_path: Path, suffix: str) -> None:
    whole = PACK[suffix](ROWS.encode() * 200)
    path = tmp_path / f"a.jsonl{suffix}"
    for damaged in (whole[:-9], whole[: len(whole) // 2], whole[:20] + bytes([whole[20] ^ 0xFF]) + whole[21:]):
        path.write_bytes(damaged)
        with pytest.raises(DataError) as caught:
            read_run(path)
        assert str(caught.value).startswith(f"{path}") and "\n" not in str(caught.value)


def test_utf_16_that_is_cut_in_a_character_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(ROWS.encode("utf-16")[:-1])
    with pytest.raises(DataError, match="expected UTF-16, as its beginning is, found a damaged text"):
        read_run(path)


def test_a_folder_s_tasks_may_be_packed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(ROWS.encode()))
    (folder / "b.csv").write_text(TABLE, encoding="utf-8")
    run = read_run(folder)
    assert run.tasks == ["a", "b"] and run.unread == ()


def test_a_task_that_stands_there_packed_and_unpacked_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(ROWS.encode()))
    (folder / "a.jsonl").write_text(ROWS, encoding="utf-8")
    with pytest.raises(DataError, match=r"expected each file once, found a.jsonl, a.jsonl.gz"):
        read_run(folder)


def test_a_harness_s_packed_file_is_recognised_by_what_it_holds(tmp_path: Path) -> None:
    source = DATA / "readers" / "promptfoo" / "v1.json"
    plain = read_run(source)
    path = tmp_path / f"{source.name}.gz"
    path.write_bytes(gzip.compress(source.read_bytes()))
    run = read_run(path)
    assert run.metadata["format"] == plain.metadata["format"] and run.frame.height == plain.frame.height
    assert str(path) == run.metadata["source"]
