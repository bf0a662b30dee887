"""One meaning for a value, however a file writes it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.json_lines import write_lines
from muscle import Run, read_run
from muscle.errors import DataError
from muscle.predictions.plain import json_lines
from muscle.predictions.plain.columns import as_number, as_truth


def read_both_ways(folder: Path, lines: list[str]) -> tuple[Any, Any]:
    """Read lines by the way that a file of them takes, and row by row; a refusal by its message."""
    path = write_lines(folder / "a.jsonl", *lines)
    results: list[Any] = []
    fast = json_lines._fast_table
    for way in (fast, lambda path, columns: None):
        json_lines._fast_table = way
        try:
            run = read_run(path)
            results.append((run.frame, run.metadata["readings"]))
        except DataError as error:
            results.append(str(error))
        finally:
            json_lines._fast_table = fast
    return results[0], results[1]


numbers = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([3.0, 1e3, -0.0, 0.1, 1e-7, 1e22, 12345678901234567890, 10**30, float("nan"), float("inf")]),
    st.floats(allow_nan=False, allow_infinity=False),
)
texts = st.one_of(
    st.sampled_from(
        [
            "",
            " ",
            "3",
            "3.0",
            "a",
            "[1]",
            '{"a": 1}',
            "NaN",
            "\0",
            "é\u2028",
            "\ud83d",
            "🙂",
            "yes",
            "true",
            "correct",
        ]
    ),
    st.text(max_size=6),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, texts)
anything = st.one_of(
    scalars,
    st.lists(scalars, max_size=2),
    st.dictionaries(st.sampled_from(["a", "id", "é", "\r", 'x": 1, "y', "{b"]), scalars, max_size=2),
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "id": anything,
    "task": scalars,
    "input": anything,
    "output": anything,
    "reference": anything,
    "correct": scalars,
    "choice": st.one_of(st.integers(0, 2), scalars),
    "repeat": st.one_of(st.integers(0, 2), scalars),
    "choices": st.one_of(st.lists(scalars, min_size=2, max_size=2), anything),
    "logprobs": st.one_of(st.lists(numbers, min_size=2, max_size=2), anything),
    "error": scalars,
    "score": anything,
    "score.f1": scalars,
    "slices": anything,
    "slice.topic": scalars,
    "other": anything,
}


@st.composite
def rows(draw: st.DrawFn) -> list[str]:
    """Rows that are alike but for an odd one here and there, some with a field doubled."""
    names = draw(st.lists(st.sampled_from(list(FIELDS)), max_size=5, unique=True))
    plain = st.fixed_dictionaries({"id": st.integers(0, 99), "correct": st.booleans()})
    odd = st.fixed_dictionaries({}, optional={name: FIELDS[name] for name in ("id", "correct", *names)})
    lines = []
    for row in draw(st.lists(plain | odd, min_size=1, max_size=5)):
        line = json.dumps(row, ensure_ascii=draw(st.booleans())).encode("utf-8", "replace").decode()
        if row and draw(st.integers(0, 9)) == 0:
            name, value = draw(st.sampled_from(sorted(row))), draw(scalars)
            line = line[:-1] + ", " + json.dumps({name: value})[1:]
        lines.append(line)
    return lines


@settings(max_examples=300, deadline=None)
@given(rows(), st.integers(0, 3))
@example(['{"id": 1, "reference": "3", "output": 3.0}', '{"id": 2, "reference": "3", "output": "3"}'], 0)
@example(['{"id": 1, "correct": true, "correct": false}'], 0)
@example(['{"id": 1, "score": "0.5"}', '{"id": 2, "score": 0.5}'], 0)
@example(['{"id": 1, "output": "correct", "reference": "correct"}'], 0)
@example(['{"id": 1, "correct": true, "slices": {"\\r": "a"}}'], 0)
@example(['{"id": 1, "correct": true, "slices": {"a": "x\\\\ny", "b": "}\\\\"}}'], 0)
@example(['{"id": 1, "score": {"x\\": 1, \\"y": 0.5}}'], 0)
def test_the_fast_and_the_careful_way_read_the_same(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], num_before: int
) -> None:
    # The fast way looks at the first lines; what is odd may come after them.
    before = [json.dumps({"id": f"p{row}", "correct": True}) for row in range(num_before * 50)]
    fast, slow = read_both_ways(tmp_path_factory.mktemp("ways"), before + lines)
    if isinstance(slow, str) or isinstance(fast, str):
        assert isinstance(slow, str) and isinstance(fast, str)
    else:
        assert fast[0].columns == slow[0].columns
        assert fast[0].equals(slow[0], null_equal=True)


@pytest.mark.parametrize("odd", [{"output": 3.0, "reference": ["3"]}, {"output": {"a": 1}, "reference": "4"}])
def test_an_odd_row_changes_no_other_row(tmp_path: Path, odd: dict[str, Any]) -> None:
    rows = [{"id": f"q{n}", "reference": str(n % 3), "output": float(n % 3)} for n in range(200)]
    frames = [
        read_run(write_lines(tmp_path / f"{name}.jsonl", *rows, {"id": "last", **last})).frame
        for name, last in (("even", {"output": "0", "reference": "0"}), ("odd", odd))
    ]
    assert frames[0]["correct"][:200].all() and frames[0][:200].drop("task").equals(frames[1][:200].drop("task"))
    assert frames[1]["output"][:3].to_list() == ["0", "1", "2"]


@pytest.mark.parametrize(
    "line", ['{"id": 1, "correct": true, "correct": false}', '{"id": 1, "score": {"a": 1, "a": 0}}']
)
def test_a_field_that_stands_there_twice_is_refused(tmp_path: Path, line: str) -> None:
    path = write_lines(tmp_path / "a.jsonl", {"id": 0, "correct": True, "score": {"a": 1}}, line)
    with pytest.raises(DataError, match=r"line 2: expected each field once in an object, found '(correct|a)' twice"):
        read_run(path)


TRUTHS = [True, "True", "true", "yes", "pass", "T", "1", "1.0", 1, 1.0]
FALSEHOODS = [False, "FALSE", "no", "fail", "F", "0", 0, 0.0]


def as_files(folder: Path, rows: list[dict[str, Any]]) -> list[Path]:
    """Write rows as JSON lines, a JSON list and CSV."""
    lines = write_lines(folder / "lines.jsonl", *rows)
    (folder / "list.json").write_text(json.dumps(rows))
    with (folder / "table.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return [lines, folder / "list.json", folder / "table.csv"]


@pytest.mark.parametrize("field", ["correct", "score"])
def test_truth_values_read_alike_in_every_kind_of_file(tmp_path: Path, field: str) -> None:
    values = [*TRUTHS, *FALSEHOODS]
    for path in as_files(tmp_path, [{"id": n, field: value} for n, value in enumerate(values)]):
        column = read_run(path).frame["correct" if field == "correct" else "score.score"]
        assert column.cast(pl.Boolean).to_list() == [True] * len(TRUTHS) + [False] * len(FALSEHOODS), path


@pytest.mark.parametrize("values", [[True, False], ["True", "fail"], [1, 0], [1.0, 0.0]])
def test_truth_values_read_alike_in_parquet_and_arrow(tmp_path: Path, values: list[Any]) -> None:
    table = pl.DataFrame({"id": ["a", "b"], "correct": values})
    table.write_parquet(tmp_path / "a.parquet")
    table.write_ipc(tmp_path / "a.arrow")
    for name in ("a.parquet", "a.arrow"):
        assert read_run(tmp_path / name).frame["correct"].to_list() == [True, False]


def test_numbers_as_answers_read_alike_in_every_kind_of_file(tmp_path: Path) -> None:
    values = [3.0, 1e-7, 0.1, -2.0, 1e22]
    rows = [{"id": n, "output": value, "correct": True} for n, value in enumerate(values)]
    pl.DataFrame(rows).write_parquet(tmp_path / "a.parquet")
    expected = ["3", "0.0000001", "0.1", "-2", "10000000000000000000000"]
    for path in [*as_files(tmp_path, rows)[:2], tmp_path / "a.parquet"]:
        assert read_run(path).frame["output"].to_list() == expected, path


def test_chat_messages_in_parquet_are_the_text_that_json_gives(tmp_path: Path) -> None:
    rows = [{"id": n, "input": [{"role": "user", "content": f"é {n}"}], "correct": True} for n in range(3)]
    pl.DataFrame(rows).write_parquet(tmp_path / "a.parquet")
    lines = write_lines(tmp_path / "a.jsonl", *rows)
    assert read_run(tmp_path / "a.parquet").frame["input"].equals(read_run(lines).frame["input"])


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pl.Series("error", [b"\xff", None]), "row 1, field 'error': expected a text, found b'\\xff'"),
        (pl.Series("choices", [1, 2]), "row 1, field 'choices': expected a list of texts, found 1"),
        (
            pl.Series("logprobs", [["a"], ["b"]]),
            "row 1, field 'logprobs': expected a list of numbers, found ['a']",
        ),
        (
            pl.Series("correct", [[True], [False]]),
            "row 1, field 'correct': expected true or false, found [True]",
        ),
        (pl.Series("choice", [1e20, 1.0]), "row 1, field 'choice': expected a whole number, found 1e+20"),
        (pl.Series("score", [[1.0], [2.0]]), "row 1, field 'score': expected a finite number"),
        (
            pl.Series("slices", [1, 2]),
            "row 1, field 'slices': expected an object of names and values, found 1",
        ),
        (pl.Series("slice.a", [[1], [2]]), "row 1, field 'slice.a': expected a text, a number"),
    ],
)
def test_a_column_of_another_type_is_refused_by_its_row(tmp_path: Path, column: pl.Series, message: str) -> None:
    table = pl.DataFrame({"id": ["a", "b"]} | ({"correct": [True, False]} if column.name != "correct" else {}))
    table.with_columns(column).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError) as caught:
        read_run(tmp_path / "a.parquet")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        '{"id": "a", "correct": true, "choice": 1e+20}',
        '{"id": "a", "correct": true, "repeat": 9223372036854775808}',
    ],
)
def test_a_whole_number_that_is_too_large_is_refused_by_its_line(tmp_path: Path, line: str) -> None:
    with pytest.raises(DataError, match=r"a\.jsonl, line 1, field '(choice|repeat)': expected a whole number"):
        read_run(write_lines(tmp_path / "a.jsonl", line))


def test_nan_is_no_text(tmp_path: Path) -> None:
    run = read_run(write_lines(tmp_path / "a.jsonl", '{"id": 1, "output": NaN, "input": NaN, "correct": true}'))
    assert run.frame.select("output", "input").rows() == [(None, None)]


def test_fields_that_are_not_read_are_named_once(tmp_path: Path) -> None:
    rows = [{"id": n, "correct": True, "latency": 1, **{f"extra{k}": k for k in range(14)}} for n in range(3)]
    pl.DataFrame(rows).write_parquet(tmp_path / "a.parquet")
    runs: list[Run] = [read_run(path) for path in [*as_files(tmp_path, rows), tmp_path / "a.parquet"]]
    for run in [*runs, read_run(pl.DataFrame(rows))]:
        (reading,) = run.metadata["readings"]
        assert "decides what is right; not used: latency, extra0, " in reading and reading.endswith(" and 3 more")


def test_messages_are_short_and_hold_no_control_characters(tmp_path: Path) -> None:
    names = {f"\x1b[31m{n}" + "x" * 500: n for n in range(200)}
    path = write_lines(tmp_path / "a.jsonl", {"id": 1, "correct": "\x1b[31m" + "y" * 10_000, **names})
    odd = write_lines(tmp_path / "odd.jsonl", {"id": 1, "correct": True, "score": {"\x1b[31m" + "z" * 500: "high"}})
    for file, columns in ((path, {}), (path, {"correct": "absent"}), (odd, {})):
        with pytest.raises(DataError) as caught:
            read_run(file, columns=columns)
        assert len(str(caught.value)) < 2_000 and str(caught.value).isprintable()


def test_names_too_long_for_a_pattern_are_read_the_careful_way(tmp_path: Path) -> None:
    name = "x" * 400_000
    path = tmp_path / "run.jsonl"
    path.write_text("".join(json.dumps({"id": str(n), "score": {name: 0.5}}) + "\n" for n in range(3)))
    assert read_run(path).frame[f"score.{name}"].to_list() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("texts", "numbers"),
    [
        (["0,5", "1", "-,25"], [0.5, 1.0, -0.25]),
        (["1,234", "0,5"], [1.234, 0.5]),
        (["1,234", "12,000"], [None, None]),
        (["0,5", "1.5"], [None, 1.5]),
    ],
)
def test_a_decimal_comma_is_read_where_it_cannot_be_a_thousand(texts: list[str], numbers: list[float | None]) -> None:
    assert as_number(pl.Series(texts)).to_list() == numbers


@pytest.mark.parametrize(("word", "truth"), [("WAHR", True), ("Falsch", False), ("VRAI", True), ("falso", False)])
def test_a_spreadsheet_writes_true_in_its_own_language(word: str, truth: bool) -> None:
    assert as_truth(pl.Series([word])).to_list() == [truth]


def test_whole_numbers_that_pandas_wrote_as_floats_are_the_same_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,label,prediction\n1,1,1.0\n2,0,1.0\n3,2,\n")
    frame = read_run(tmp_path / "a.csv").frame
    assert frame.select("output", "correct", "error").rows() == [
        ("1", True, None),
        ("1", False, None),
        (None, None, "no answer"),
    ]
    (tmp_path / "b.csv").write_text("id,label,prediction\n1,1.0,1.0\n2,1.50,1.5\n")
    assert read_run(tmp_path / "b.csv").frame["correct"].to_list() == [True, False]
