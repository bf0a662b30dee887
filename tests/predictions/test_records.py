from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.json_lines import write_lines
from muscle import Run, read_run
from muscle.errors import DataError, OutputError
from muscle.predictions import write_records
from muscle.predictions.records import COLUMNS, input_hash

FULL = {
    "task": "piqa",
    "id": "7",
    "filter": "none",
    "repeat": 0,
    "input": "dresser",
    "choices": ["paint it", "eat it"],
    "reference": ["paint it"],
    "output": "eat it",
    "choice": 1,
    "correct": False,
    "score": {"acc": 0.0, "likelihood": -1.5},
    "logprobs": [-3.5, -1.5],
    "slices": {"topic": "home", "hard": "true"},
}


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_records_come_back_as_they_were_written(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"piqa{suffix}"
    write_records(path, [FULL, FULL | {"id": "8", "error": "timeout", "correct": None, "slices": {}}])
    run = read_run(path)
    again = tmp_path / f"again{suffix}"
    write_records(again, run.frame)
    assert read_run(again).frame.equals(run.frame)
    row = run.frame.row(0, named=True)
    assert [*COLUMNS] == run.frame.columns[: len(COLUMNS)]
    assert {name: row[name] for name in FULL if name in COLUMNS} == {k: v for k, v in FULL.items() if k in COLUMNS}
    assert row["score.acc"] == 0.0 and row["slice.topic"] == "home"
    assert run.score_names("piqa") == ["acc", "likelihood"]
    assert [name for name in run.frame.columns if name.startswith("slice.")] == ["slice.topic", "slice.hard"]
    assert run.frame["error"].to_list() == [None, "timeout"]


def test_the_content_hash_covers_input_and_choices(tmp_path: Path) -> None:
    run = read_run(write_lines(tmp_path / "a.jsonl", FULL, {"id": 1, "input": "é", "correct": True}))
    expected = [
        hashlib.sha256(b"dresser\x1fpaint it\x1feat it").hexdigest(),
        hashlib.sha256("é".encode()).hexdigest(),
    ]
    assert run.frame["input_hash"].to_list() == expected
    assert input_hash("dresser", ["paint it", "eat it"]) == expected[0]


def test_a_hash_that_the_file_brings_is_kept(tmp_path: Path) -> None:
    run = read_run(write_lines(tmp_path / "a.jsonl", {"id": "1", "input_hash": "abc", "input": "x", "correct": True}))
    assert run.frame["input_hash"].to_list() == ["abc"]


def test_the_least_that_a_row_needs_is_an_id_and_a_verdict(tmp_path: Path) -> None:
    frame = read_run(write_lines(tmp_path / "quiz.jsonl", {"id": 5, "correct": 1}, {"id": "x", "correct": 0})).frame
    assert frame.select("task", "id", "filter", "repeat", "correct").rows() == [
        ("quiz", "5", "none", 0, True),
        ("quiz", "x", "none", 0, False),
    ]


def test_a_row_without_an_id_is_known_by_its_input(tmp_path: Path) -> None:
    frame = read_run(write_lines(tmp_path / "a.jsonl", {"input": "q", "score": 0.5})).frame
    assert frame["id"].to_list() == [input_hash("q")[:16]]
    assert frame["score.score"].to_list() == [0.5]


@pytest.mark.parametrize(
    ("row", "correct"),
    [
        ({"choice": 1, "reference": 1}, True),
        ({"choice": 0, "reference": 1}, False),
        ({"choice": 1, "reference": "1"}, True),
        ({"choice": 1, "reference": "b", "choices": ["a", "b"]}, True),
        ({"choice": 0, "reference": 1, "choices": ["1", "2"]}, False),
        ({"output": " Paris\n", "reference": "Paris"}, True),
        ({"output": "Lyon", "reference": ["Paris", "Lyon"]}, True),
        ({"output": 42, "reference": 42}, True),
        ({"output": "", "reference": ""}, True),
        ({"output": "[1]", "reference": "[1]"}, True),
    ],
)
def test_correctness_is_computed_where_it_is_not_given(tmp_path: Path, row: dict[str, Any], correct: bool) -> None:
    frame = read_run(write_lines(tmp_path / "a.jsonl", {"id": 1} | row)).frame
    assert frame["correct"].to_list() == [correct]


def test_a_score_without_correctness_stays_continuous(tmp_path: Path) -> None:
    row = {"id": 1, "output": "a", "reference": "a", "score": {"rouge1": 0.4}}
    assert read_run(write_lines(tmp_path / "a.jsonl", row)).frame["correct"].to_list() == [None]


def test_an_index_reference_becomes_the_text_of_the_choice(tmp_path: Path) -> None:
    row = {"id": 1, "choices": ["a", "b"], "reference": 1, "choice": 0}
    assert read_run(write_lines(tmp_path / "a.jsonl", row)).frame["reference"].to_list() == [["b"]]


def test_fields_may_change_their_form_from_line_to_line(tmp_path: Path) -> None:
    lines = [
        {"id": 1, "reference": "a", "output": "a", "score": 1, "correct": True},
        {"id": 2, "reference": ["a", "b"], "output": "c", "score": {"acc": 0}, "correct": 0},
        {"id": 4, "correct": True, "score": {"score": 0.5}},
        {
            "id": 3,
            "reference": 3,
            "output": "3",
            "correct": True,
            "slices": {"level": 2, "new": False, "x": None},
        },
    ]
    frame = read_run(write_lines(tmp_path / "a.jsonl", *lines)).frame
    assert frame["reference"].to_list() == [["a"], ["a", "b"], None, ["3"]]
    assert frame["correct"].to_list() == [True, False, True, True]
    assert frame["score.score"].to_list() == [1.0, None, 0.5, None]
    assert frame["score.acc"].to_list() == [None, 0.0, None, None]
    assert frame["slice.level"].to_list() == [None, None, None, "2"] and frame["slice.new"][3] == "false"


def test_bare_and_named_scores_of_one_name_share_a_column(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", {"id": 1, "score": {"score": 0.5}}, {"id": 2, "score": 1})
    assert read_run(path).frame["score.score"].to_list() == [0.5, 1.0]


def test_a_score_name_that_first_appears_late_is_not_lost(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"id": i, "task": "a", "score": {"acc": 1}} for i in range(300)]
    rows += [{"id": i, "task": "b", "score": {"rouge1": 0.25}, "slices": {"odd}, name": "x"}} for i in range(300)]
    run = read_run(write_lines(tmp_path / "a.jsonl", *rows))
    assert run.score_names("a") == ["acc"] and run.score_names("b") == ["rouge1"]
    assert run.frame["slice.odd}, name"].drop_nulls().len() == 300


def test_a_list_of_references_after_many_plain_ones_is_read_as_a_list(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"id": i, "reference": "a", "output": "a"} for i in range(300)]
    rows.append({"id": "last", "reference": ["b", "c"], "output": "c"})
    frame = read_run(write_lines(tmp_path / "a.jsonl", *rows)).frame
    assert frame["reference"][-1].to_list() == ["b", "c"] and frame["correct"].all()


def test_blank_lines_and_windows_line_ends_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"id": 1, "correct": true}\r\n\r\n  \n{"id": 2, "correct": false}')
    assert read_run(path).frame["id"].to_list() == ["1", "2"]


def test_chat_messages_are_kept_as_json_text(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": 'say "a\\n"'}]
    frame = read_run(write_lines(tmp_path / "a.jsonl", {"id": 1, "input": messages, "correct": True})).frame
    assert json.loads(frame["input"][0]) == messages


def test_an_error_leaves_the_answer_missing(tmp_path: Path) -> None:
    lines = [{"id": 1, "error": "HTTP 500"}, {"id": 2, "error": " ", "correct": True}]
    frame = read_run(write_lines(tmp_path / "a.jsonl", *lines)).frame
    assert frame["error"].to_list() == ["HTTP 500", None] and frame["correct"].to_list() == [None, True]


def test_columns_take_other_names_by_a_map(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", {"qid": 3, "ok": True, "topic": "law", "id": "no"})
    frame = read_run(path, columns={"id": "qid", "correct": "ok", "slice.topic": "topic"}).frame
    assert frame.select("id", "correct", "slice.topic").rows() == [("3", True, "law")]


GOOD = {"id": 1, "input": "q", "correct": True}

BAD_LINES = [
    ({"id": 2, "correct": "maybe"}, "line 3, field 'correct': expected true or false, found 'maybe'"),
    ({"id": 2, "correct": 2}, "line 3, field 'correct': expected true or false, found '2'"),
    ({"correct": True}, "line 3, field 'id': expected an 'id' or an 'input'"),
    (
        {"id": 2, "choice": 3, "choices": ["a", "b"], "reference": "a"},
        "line 3, field 'choice': expected an index below",
    ),
    ({"id": 2, "choice": -1, "reference": 0}, "line 3, field 'choice': expected the index of an option"),
    (
        {"id": 2, "choice": 0, "choices": ["a"], "reference": 4},
        "line 3, field 'reference': expected the index of one",
    ),
    (
        {"id": 2, "choice": 0.5, "reference": 0},
        "line 3, field 'choice': expected a whole number, found '0.5'",
    ),
    ('{"id": 2, "score": NaN}', "line 3, field 'score': expected a finite number"),
    ('{"id": 2, "score": {"acc": Infinity}}', "line 3, field 'score.acc': expected a finite number"),
    ({"id": 2, "score": "high"}, "line 3, field 'score': expected a finite number"),
    ({"id": 2, "score": {"acc": [1, 2]}}, "line 3, field 'score.acc': expected a finite number"),
    ({"id": 2, "correct": True, "slices": ["a"]}, "line 3, field 'slices': expected an object"),
    ({"id": 2, "correct": True, "slices": {"a": [1]}}, "line 3, field 'slices.a': expected a text, a number"),
    (
        {"id": 2, "correct": True, "logprobs": [-1], "choices": ["a", "b"]},
        "line 3, field 'logprobs': expected one",
    ),
    ({"id": 2, "correct": True, "repeat": -1}, "line 3, field 'repeat': expected a number from 0"),
    ({"id": 2, "correct": True, "choices": "ab"}, "line 3, field 'choices': expected a list of texts"),
    ("[1, 2]", "line 3: expected a JSON object"),
    ("hello", "line 3, column 1: expected one JSON object a line, found 'hello"),
    ('{"id": ' + "[" * 100_000, "line 3: expected a flat JSON object, found one nested too deeply"),
]


@pytest.mark.parametrize(("line", "message"), BAD_LINES)
def test_a_bad_line_is_named_with_its_field(tmp_path: Path, line: Any, message: str) -> None:
    path = write_lines(tmp_path / "a.jsonl", GOOD, "", line, GOOD)
    with pytest.raises(DataError) as caught:
        read_run(path)
    assert str(caught.value).startswith(f"{path}, ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize("bad_row", [150, 5_000])
def test_a_bad_line_far_down_is_named_too(tmp_path: Path, bad_row: int) -> None:
    rows: list[Any] = [{"id": i, "score": {"acc": 0.5}} for i in range(bad_row)]
    path = write_lines(tmp_path / "a.jsonl", *rows, '{"id": "x", "score": {"acc": NaN}}', {"id": "y", "score": 1})
    with pytest.raises(DataError, match=rf"line {bad_row + 1}, field 'score.acc'"):
        read_run(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "found an empty file"),
        (b"\n \n", "found an empty file"),
        (b"PAR1....", "found Parquet"),
        (
            b'{"id": 1, "correct": true}\n{"id": 2, "corr',
            "line 2: the file is cut off in the middle of this line",
        ),
        (
            b'{"id": 1, "correct": true}\n{"id": "\xff", "correct": true}\n',
            "line 2: expected UTF-8, found byte 0xff",
        ),
        (b'\xef\xbb\xbf{"id": "\xff", "correct": true}\n', "line 1: expected UTF-8, found byte 0xff"),
        (b'\xef\xbb\xbf[{"id": "\xff", "correct": true}]', "expected UTF-8, found byte 0xff"),
        (b'{"id": 1, "correct": true}{"id": 2, "correct": true}\n', "line 1, column 27"),
        (b"[]", "found none"),
        (b'[{"id": 1}', "line 1: the file is cut off"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_run(path)
    assert str(path) in str(caught.value) and message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".arrow"])
@pytest.mark.parametrize("content", [b"", b"PAR1 and then nothing", b"\x00\xff\x00"])
def test_a_damaged_table_is_refused_in_one_line(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_run(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found nothing there"):
        read_run(tmp_path / "absent.jsonl")


def test_an_unknown_format_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="format 'xls' is not known; expected one of records"):
        read_run(write_lines(tmp_path / "a.jsonl", GOOD), format="xls")


def test_a_csv_file_is_read_with_its_words(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,correct,score.f1,slice.topic\n01,TRUE,0.5,law\n2,false,,art\n")
    frame = read_run(path).frame
    assert frame.select("id", "correct", "score.f1", "slice.topic").rows() == [
        ("01", True, 0.5, "law"),
        ("2", False, None, "art"),
    ]
    path.write_text("id,score\na,0.5\nb,high\n")
    with pytest.raises(DataError, match=r"a\.csv.*field 'score'.*expected"):
        read_run(path)


def test_tables_in_memory_are_taken_as_they_are() -> None:
    run = read_run(pl.DataFrame({"id": [1, 2], "correct": [1, 0], "score": [0.5, 0.25]}), name="mine")
    assert run.name == "mine" and run.frame["correct"].to_list() == [True, False]
    assert read_run(run) is not None and read_run(run, name="x").name == "x"
    with pytest.raises(DataError, match=r"mine, row 2, field 'score': expected a finite number"):
        read_run(pl.DataFrame({"id": [1, 2], "score": [0.5, float("nan")]}), name="mine")
    with pytest.raises(DataError, match="found int"):
        read_run(3)


def test_a_folder_holds_a_file_a_task_and_its_metadata(tmp_path: Path) -> None:
    folder = tmp_path / "old"
    write_records(folder / "piqa.jsonl", [FULL])
    write_records(folder / "samsum.parquet", [{"id": 1, "output": "a", "score": {"rouge1": 0.3}}])
    (folder / "run.json").write_text('{"model": "tiny"}')
    run = read_run(folder)
    assert run.name == "old" and run.tasks == ["piqa", "samsum"] and run.metadata["model"] == "tiny"
    assert run.score_names("samsum") == ["rouge1"]
    (folder / "run.json").write_text("{")
    with pytest.raises(DataError, match=r"run\.json"):
        read_run(folder)
    (tmp_path / "void").mkdir()
    with pytest.raises(DataError, match=r"expected TASK\.jsonl"):
        read_run(tmp_path / "void")


def test_what_a_folder_says_of_how_it_was_read_keeps_its_kind(tmp_path: Path) -> None:
    write_records(tmp_path / "t.jsonl", [FULL])
    for facts in ({"notes": ["did not finish"], "readings": ["the newest of 2"]}, {"notes": ["the newest of 2"]}):
        (tmp_path / "run.json").write_text(json.dumps(facts))
        again = read_run(tmp_path).metadata
        assert {kind: again[kind] for kind in ("notes", "readings")} == {"readings": []} | facts


@pytest.mark.parametrize("kind", ["notes", "readings"])
@pytest.mark.parametrize("found", ['"a"', '[{"a": 1}]'])
def test_remarks_of_a_folder_that_are_no_sentences_are_refused(tmp_path: Path, kind: str, found: str) -> None:
    write_records(tmp_path / "t.jsonl", [FULL])
    (tmp_path / "run.json").write_text(f'{{"{kind}": {found}}}')
    with pytest.raises(DataError, match=rf"run\.json, field '{kind}': expected a list of sentences"):
        read_run(tmp_path)


def test_writing_refuses_what_json_cannot_hold(tmp_path: Path) -> None:
    frame = pl.DataFrame({"task": ["t"], "id": ["1"], "score.acc": [float("nan")]})
    with pytest.raises(DataError, match=r"id '1'.*'score.acc': expected a finite number"):
        write_records(tmp_path / "a.jsonl", frame)
    assert not (tmp_path / "a.jsonl").exists()
    with pytest.raises(ValueError, match="jsonl or"):
        write_records(tmp_path / "a.txt", frame)
    with pytest.raises(OutputError):
        write_records(Path("/proc/none/a.jsonl"), [FULL])


def test_a_run_names_its_columns() -> None:
    run = Run("x", pl.DataFrame({"task": ["b", "a", "b"], "score.s": [None, 0.5, None], "slice.q": ["1", "2", "3"]}))
    assert run.tasks == ["b", "a"] and run.score_names("b") == [] and run.score_names() == ["s"]


texts = st.text(st.characters(codec="utf-8"), max_size=8)
values = st.fixed_dictionaries(
    {"id": texts, "correct": st.booleans()},
    optional={
        "input": texts,
        "reference": texts | st.lists(texts, max_size=2),
        "output": texts,
        "score": st.dictionaries(texts, st.floats(allow_nan=False, allow_infinity=False), max_size=2),
        "slices": st.dictionaries(texts, texts | st.integers() | st.booleans(), max_size=2),
    },
)


@settings(max_examples=100, deadline=None)
@given(st.lists(values, min_size=1, max_size=6))
def test_the_fast_and_the_careful_reader_agree(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    folder = tmp_path_factory.mktemp("agree")
    write_lines(folder / "a.jsonl", *rows)
    careful = folder / "b" / "a.json"
    careful.parent.mkdir()
    careful.write_text(json.dumps(rows))
    fast = read_run(folder / "a.jsonl").frame
    slow = read_run(careful).frame
    assert fast.select(sorted(fast.columns)).equals(slow.select(sorted(slow.columns)))
