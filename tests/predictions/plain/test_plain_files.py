"""Plain files that are cut, shifted, doubled, packed or something else: nothing is filled or lost in silence."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from muscle import read_run
from muscle.errors import DataError
from muscle.predictions.plain import unpacked_size
from muscle.predictions.run import Unread

HEADER = "id,input,correct,output\n"
GOOD = HEADER + "q1,What,true,a\nq2,Who,false,b\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            HEADER + "q1,What,true,a\nq2,Who,false\nq3,Why,true,c\n",
            "line 3: expected 4 fields as in the header, found 3",
        ),
        (
            HEADER + "q1,What,true,a\nq2,Who, oh,false,b\n",
            "line 3: expected 4 fields as in the header, found 5",
        ),
        (HEADER + "q1,What,true,a\nq2,Who,fal", "line 3: expected 4 fields as in the header, found 3"),
        (HEADER + 'q1,What,true,a\nq2,"Who, oh', "line 3 and on: expected quotes around whole fields"),
        (HEADER + 'q1,What,true,"a\nq2,Who,false,b\nq3,"Why",true,c\n', "line 2 and on: expected quotes"),
        (
            HEADER + 'q1,What,true,"a\nq2,Who,false,b\nq3,Why",true,c\n',
            "line 2: expected 4 fields as in the header, found 6",
        ),
        (HEADER + "q1,Wh\0at,true,a\n", "line 2: expected text, found a NUL byte"),
        (
            "id,correct,correct\nq1,true,false\n",
            "line 1: expected a name of its own for each column, found correct twice",
        ),
        (
            HEADER + "q1;What;true;a\n",
            "line 2: expected 4 fields as in the header, found 1; separate fields with ','",
        ),
        (HEADER, "expected at least one prediction, found none"),
    ],
)
def test_a_csv_row_that_does_not_fit_is_refused_by_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError) as caught:
        read_run(tmp_path / "a.csv")
    assert f"{tmp_path / 'a.csv'}" in str(caught.value) and message in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        GOOD.replace("\n", "\r\n"),
        "\ufeff" + GOOD,
        GOOD.replace(",", ";"),
        GOOD.replace(",", "\t"),
        GOOD.replace("q2", "\n\nq2"),
        GOOD.replace("id,", " id ,"),
        GOOD.removesuffix("\n"),
    ],
)
def test_the_same_table_in_several_hands_is_read_alike(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text, newline="")
    rows = read_run(tmp_path / "a.csv").frame.select("id", "input", "correct", "output").rows()
    assert rows == [("q1", "What", True, "a"), ("q2", "Who", False, "b")]


def test_the_line_of_a_csv_row_counts_line_ends_in_quotes_and_blank_lines(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id,input,correct\nq1,"a\nb",true\n\nq2,c,maybe\n')
    with pytest.raises(DataError, match="line 5, field 'correct': expected true or false, found 'maybe'"):
        read_run(tmp_path / "a.csv")


def test_a_long_text_in_csv_is_read_and_damaged_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(HEADER + f"q1,{'x' * 300_000},true,a\n")
    assert len(read_run(path).frame["input"][0]) == 300_000
    path.write_bytes(HEADER.encode() + "q1,é".encode() + b"\xe9,true,a\n")
    with pytest.raises(DataError, match="expected UTF-8, found byte 0xe9"):
        read_run(path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.xml", '<suite><case name="a"/></suite>', "line 1, column 1: expected one JSON object a line"),
        ("a.yaml", "runs:\n  - id: 1\n", "line 1, column 1: expected"),
        ("a.json", '{"id": 1,}', "line 1, column "),
        ("a.json", '[{"id": 1},\n {"id": 2 "x": 3}]', "line 2, column 11: expected a JSON list"),
        ("a.jsonl", '{"id": 1, "correct": true}\n{"id": 2, correct: true}', "line 2, column 11: expected"),
    ],
)
def test_what_is_no_json_is_called_so_and_not_cut_off(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError) as caught:
        read_run(tmp_path / name)
    assert message in str(caught.value) and "is no JSON; muscle reads JSON lines" in str(caught.value)
    assert "cut off" not in str(caught.value)


@pytest.mark.parametrize("end", range(2, 57))
def test_json_that_ends_in_the_middle_is_called_cut_off(tmp_path: Path, end: int) -> None:
    whole = '{"id": "b\\u00e9", "correct": false, "score": {"a": -1.5e3}'
    for name, text in (
        ("a.jsonl", '{"id": "a", "correct": true}\n' + whole[:end]),
        ("b.json", "[" + whole[:end]),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match="cut off in the middle"):
            read_run(tmp_path / name)


def test_an_object_over_several_lines_is_not_called_cut_off(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"id": 1, "correct": True}, indent=1) + "\n")
    with pytest.raises(DataError, match="line 1: expected one JSON object a line, found the beginning of one"):
        read_run(tmp_path / "a.json")


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_a_damaged_table_panics_nobody(tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str]) -> None:
    table = pl.DataFrame({"id": [f"q{n}" for n in range(300)], "correct": [True, False, False] * 100})
    path = tmp_path / f"a{suffix}"
    table.write_parquet(path) if suffix == ".parquet" else table.write_ipc(path)
    data = path.read_bytes()
    refused = 0
    for at in range(4, len(data), max(1, len(data) // 150)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x5A]) + data[at + 1 :])
        try:
            read_run(path)
        except DataError as error:
            refused += 1
            assert "\n" not in str(error) and len(str(error)) < 600
    assert refused > 20
    assert "panicked" not in capfd.readouterr().err


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_a_small_file_that_is_huge_unpacked_is_refused_before_it_is_unpacked(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pl.DataFrame(
        {
            "id": [str(n) for n in range(2_000)],
            "input": [f"{n}" + "x" * 2_000 for n in range(2_000)],
            "correct": True,
        }
    )
    path = tmp_path / f"a{suffix}"
    if suffix == ".parquet":
        table.write_parquet(path, compression="zstd", use_pyarrow=False)
        assert unpacked_size.parquet_size(path)[0] == 2_000 and unpacked_size.parquet_size(path)[1] > 4_000_000
    else:
        table.write_ipc(path, compression="zstd")
        assert unpacked_size.arrow_bytes(path) > 4_000_000
    assert read_run(path).frame.height == 2_000
    monkeypatch.setattr("muscle.predictions.plain.table_files._ALWAYS_BYTES", 1_000)
    monkeypatch.setattr("muscle.predictions.plain.table_files._MAX_RATIO", 10)
    with pytest.raises(DataError, match="rows unpacked, found"):
        read_run(path)


def test_nothing_in_a_folder_is_passed_over_in_silence(tmp_path: Path) -> None:
    line = '{"id": 1, "correct": true}\n'
    for name in (
        "a.jsonl",
        "b.JSONL",
        ".hidden.jsonl",
        ".a.jsonl.1234abcd.part",
        "README.md",
        "LICENSE",
        ".DS_Store",
        "c.jsonl.part",
        "c.jsonl.xz",
        "d.tar",
    ):
        (tmp_path / name).write_text(line)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "e.jsonl").write_text(line)
    (tmp_path / "empty").mkdir()
    run = read_run(tmp_path)
    assert run.tasks == ["a", "b"]
    assert run.unread == tuple(
        Unread("not read", str(tmp_path / name)) for name in ("c.jsonl.part", "c.jsonl.xz", "d.tar", "more")
    )
    (reading,) = run.metadata["readings"]
    assert (
        all(name in reading for name in (".DS_Store", ".hidden.jsonl", "LICENSE", "README.md"))
        and ".part" not in reading
    )


def test_a_note_that_many_files_share_is_made_once(tmp_path: Path) -> None:
    for n in range(20):
        (tmp_path / f"t{n:02}.jsonl").write_text('{"id": 1, "correct": true, "latency": 3}\n')
    assert read_run(tmp_path).metadata["readings"] == [
        "t00.jsonl, t01.jsonl, t02.jsonl and 17 more: column 'correct' decides what is right; not used: latency"
    ]


def test_the_frame_of_many_files_is_in_one_piece(tmp_path: Path) -> None:
    for n in range(30):
        (tmp_path / f"t{n}.jsonl").write_text('{"id": 1, "correct": true}\n')
    assert read_run(tmp_path).frame.n_chunks() == 1


def test_a_line_that_names_the_separator_for_excel_is_no_header(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes('\ufeffsep=;\r\nid;input;correct\r\n1;"a,\r\nb";yes\r\n2;c;perhaps\r\n'.encode())
    with pytest.raises(DataError, match=r"a\.csv, line 5, field 'correct'.*found 'perhaps'"):
        read_run(path)
    path.write_bytes(path.read_bytes().replace(b"perhaps", b"no"))
    assert read_run(path).frame.select("id", "correct").rows() == [("1", True), ("2", False)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_text_file_is_a_table_or_json_lines_by_its_beginning(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.txt").write_bytes("id\tcorrect\n1\tyes\n".encode(encoding))
    (tmp_path / "b.txt").write_text('{"id": 1, "correct": true}\n')
    assert [read_run(tmp_path / f"{name}.txt").frame["correct"].to_list() for name in "ab"] == [[True], [True]]


def test_a_workbook_is_named_as_one(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"PK\x03\x04" + bytes(30))
    with pytest.raises(DataError, match="an Excel workbook: save it as CSV"):
        read_run(tmp_path / "a.xlsx")


@pytest.mark.parametrize(
    "text", ["id\tcorrect\nq1\ttrue\n", "id,correct\nq1,true\n", '{"id": "q1", "correct": true}\n']
)
def test_predictions_in_a_text_file_are_read_in_a_folder_as_they_are_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "q0", "correct": true}\n')
    (tmp_path / "b.txt").write_text(text)
    run = read_run(tmp_path)
    assert run.tasks == ["a", "b"]
    assert run.unread == ()


def test_a_table_in_a_text_file_of_a_folder_that_is_damaged_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "q0", "correct": true}\n')
    (tmp_path / "b.txt").write_text("id\tcorrect\nq1\n")
    with pytest.raises(DataError, match=r"b\.txt, line 2: expected 2 fields"):
        read_run(tmp_path)


@pytest.mark.parametrize("name", ["README.txt", "run.log"])
def test_what_lies_beside_predictions_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "q0", "correct": true}\n')
    (tmp_path / name).write_text("These are results, of May.\n")
    run = read_run(tmp_path)
    assert run.frame.height == 1
    assert any(name in reading for reading in run.metadata["readings"])
