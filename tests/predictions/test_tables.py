"""Predictions in memory: tables of other libraries and lists of dicts mean what the same file means."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from helpers.json_lines import write_lines
from muscle import compare, read_run
from muscle.errors import DataError, UnclearColumns

ROWS = [
    {"question": "What is the capital of Kenya?", "expected": "Nairobi", "prediction": "Nairobi"},
    {"question": "What is the capital of Turkey?", "expected": "Ankara", "prediction": "Istanbul"},
    {"question": "What is the capital of Peru?", "expected": "Lima", "prediction": None},
]
FIELDS = ("input", "reference", "output", "correct", "error")


class Arrow:
    """A table that has Arrow's stream and nothing else, as DuckDB's results have."""

    def __init__(self, rows: list[dict[str, object]]) -> None:
        self._table = pa.Table.from_pylist(rows)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


class Lazy:
    """A table that turns itself into polars, as the hub's data sets do."""

    def __init__(self, rows: list[dict[str, object]]) -> None:
        self._rows = rows

    def to_polars(self) -> pl.DataFrame:
        return pl.DataFrame(self._rows)


KINDS = {
    "dicts": lambda rows: rows,
    "a tuple of dicts": tuple,
    "polars": pl.DataFrame,
    "polars, lazy": pl.LazyFrame,
    "pandas": pd.DataFrame,
    "pyarrow": pa.Table.from_pylist,
    "arrow stream": Arrow,
    "to_polars": Lazy,
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_in_memory_is_read_as_the_same_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "rows.jsonl"
    write_lines(path, *ROWS)
    of_file, of_table = read_run(path), read_run(KINDS[kind](ROWS))
    assert of_table.frame.select(FIELDS).rows() == of_file.frame.select(FIELDS).rows()
    assert of_table.metadata["decided"] == of_file.metadata["decided"]
    assert of_table.tasks == ["all"]


def test_two_tables_are_compared_by_their_roles_as_names() -> None:
    result = compare(ROWS, [{**row, "prediction": row["expected"]} for row in ROWS])
    assert (result.report.old, result.report.new) == ("old", "new")
    assert result.flips["kind"].to_list() == ["positive_flip"]


def test_values_of_numpy_and_pandas_say_what_they_say() -> None:
    rows = [
        {"id": np.int64(7), "output": np.str_("a"), "correct": np.bool_(True), "score": np.float32(0.5)},
        {"id": "eight", "output": pd.NA, "correct": pd.NA, "score": None},
    ]
    frame = read_run(rows).frame
    assert frame.select("id", "output", "correct", "score.score").rows()[0] == ("7", "a", True, 0.5)
    assert frame.select("output", "correct").rows()[1] == (None, None)
    options = [{"id": 1, "choices": np.array(["a", "b"]), "reference": 1, "choice": np.int32(1)}]
    assert read_run(options).frame.select("choices", "reference", "correct").row(0) == (["a", "b"], ["b"], True)


def test_a_pandas_column_of_several_types_is_read_row_by_row() -> None:
    table = pd.DataFrame(
        {"id": [1, "two", 3.0], "output": ["x", 1, None], "reference": ["x", "1", "y"], "score.f1": [0.5, np.nan, 1.0]}
    )
    frame = read_run(table).frame
    assert frame.select("id", "output", "score.f1").rows() == [("1", "x", 0.5), ("two", "1", None), ("3", None, 1.0)]


def test_a_named_index_of_pandas_is_a_column() -> None:
    table = pd.DataFrame({"id": ["a", "b"], "correct": [True, False]}).set_index("id")
    assert read_run(table).frame["id"].to_list() == ["a", "b"]


def test_pandas_is_read_without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> pl.DataFrame:
        raise ModuleNotFoundError("No module named 'pyarrow'", name="pyarrow")

    monkeypatch.setattr(pl, "from_pandas", missing)
    assert read_run(pd.DataFrame(ROWS)).frame["correct"].to_list() == [True, False, None]


def test_a_missing_field_in_some_dicts_is_null() -> None:
    frame = read_run([{"id": 1, "correct": "yes"}, {"id": 2, "correct": "no", "error": "timeout"}]).frame
    assert frame["error"].to_list() == [None, "timeout"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([{"id": 1, "correct": True}, 5], "old, row 2: expected a dict of fields, as in JSON lines, found int"),
        ([], "old, row 1: expected at least one prediction, found none"),
        (5, "old: expected a path, a Run, a list of dicts, or a polars, pandas or pyarrow table, found int"),
        ([{"id": 1, "correct": "perhaps"}], "old, row 1, field 'correct': expected true or false, found 'perhaps'"),
        (
            pd.DataFrame([[1, True, True]], columns=["id", "correct", "correct"]),
            "old: expected a name of its own for each column, found correct twice",
        ),
    ],
)
def test_what_is_no_table_is_named_by_role_and_row(source: object, message: str) -> None:
    with pytest.raises(DataError) as caught:
        compare(source, ROWS)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_a_question_about_columns_proposes_what_to_write_in_python() -> None:
    rows = [{"id": 1, "prediction": "a", "response": "b", "expected": "a"}]
    with pytest.raises(UnclearColumns) as caught:
        compare(rows, rows)
    (proposed,) = str(caught.value).split("columns=")[1:]
    columns = json.loads(proposed.removesuffix(")").replace("'", '"'))
    assert columns == {"output": "prediction", "reference": "expected"}
    assert read_run(rows, columns=columns).frame["correct"].to_list() == [True]


def test_reading_lists_of_dicts_imports_no_table_library() -> None:
    code = (
        "import sys, muscle; muscle.compare([{'id': 1, 'correct': True}], [{'id': 1, 'correct': False}]);"
        "print({'pandas', 'pyarrow', 'torch'} & set(sys.modules))"
    )
    import subprocess

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
