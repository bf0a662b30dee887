"""Files that cannot be read, in every format: one clear line, never a traceback of something else."""

from __future__ import annotations

import gzip
import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.places import DATA
from muscle import read_run
from muscle.errors import DataError
from muscle.predictions.readers import inspect, lm_eval, promptfoo
from muscle.predictions.readers.shared import json_members as reader_json

FILES = DATA / "readers"
DEEP = b"[" * 100_000 + b"]" * 100_000
LONG = b'"' + b"x" * (50 << 20) + b'"'

SAMPLES = next((FILES / "lm_eval" / "0.4.13" / "toy__model-1").glob("samples_letters_*"))
FILES: dict[str, tuple[Path, Callable[[Path], Any], bytes]] = {
    "lm_eval.jsonl": (SAMPLES, lm_eval.read, b'"filter": "none"'),
    "lm_eval_list.jsonl": (
        FILES / "lm_eval/0.4.2/pretrained__toy-1_letters.jsonl",
        lm_eval.read,
        b'"target": "B"',
    ),
    "inspect.json": (FILES / "inspect/garden-1.json", inspect.read, b'"input": "Which bird cannot fly?"'),
    "promptfoo.json": (FILES / "promptfoo/v1.json", promptfoo.read, b'"output": "Paris"'),
    "promptfoo.jsonl": (FILES / "promptfoo/v1.jsonl", promptfoo.read, b'"output":"Paris"'),
}


@pytest.fixture(params=FILES)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Callable[[Path], Any], bytes, bytes]:
    source, read, member = FILES[request.param]
    return tmp_path / request.param, read, source.read_bytes(), member


def put(data: bytes, member: bytes, value: bytes) -> bytes:
    """Give the first such member another value."""
    assert member in data
    return data.replace(member, member.partition(b":")[0] + b": " + value, 1)


def fails(read: Callable[[Path], Any], path: Path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) < 600
    return message


def test_a_file_that_is_cut_in_the_middle_is_said_so(
    case: tuple[Path, Callable[[Path], Any], bytes, bytes],
) -> None:
    path, read, data, _ = case
    assert "cut off in the middle" in fails(read, path, data[: len(data) * 2 // 3 + 5])


def test_an_empty_file_is_said_so(case: tuple[Path, Callable[[Path], Any], bytes, bytes]) -> None:
    path, read, _, _ = case
    assert "found an empty file" in fails(read, path, b"")


def test_json_nested_a_hundred_thousand_deep_is_refused(
    case: tuple[Path, Callable[[Path], Any], bytes, bytes],
) -> None:
    path, read, data, member = case
    assert "nested less than 1000 deep, found deeper" in fails(read, path, put(data, member, DEEP))


def test_an_entry_of_fifty_mebibytes_is_refused(
    case: tuple[Path, Callable[[Path], Any], bytes, bytes],
) -> None:
    path, read, data, member = case
    assert "at most 32 MiB, found a longer one" in fails(read, path, put(data, member, LONG))


def test_packed_bytes_under_a_text_name_are_said_so(
    case: tuple[Path, Callable[[Path], Any], bytes, bytes],
) -> None:
    path, read, data, _ = case
    message = fails(read, path, gzip.compress(data))
    assert "gzip" in message or "begins with b'\\x1f'" in message


def test_bytes_that_are_no_utf_8_are_said_so(case: tuple[Path, Callable[[Path], Any], bytes, bytes]) -> None:
    path, read, data, member = case
    assert "expected UTF-8, found byte 0xff" in fails(read, path, put(data, member, b'"\xff"'))


def test_dispatch_finds_the_format_of_each_file_by_its_content(tmp_path: Path) -> None:
    for number, (source, read, _) in enumerate(FILES.values()):
        path = tmp_path / f"run{number}{source.suffix}"
        path.write_bytes(source.read_bytes())
        assert read_run(path).frame.height == read(path).frame.height > 0
        assert read_run(path).metadata["format"] == read.__module__.removesuffix(".reader").rpartition(".")[2]


class SmallReads(io.BytesIO):
    """Gives a few bytes at a time, as a slow stream does."""

    def __init__(self, data: bytes, seed: int) -> None:
        super().__init__(data)
        self._random = random.Random(seed)

    def read(self, size: int | None = -1) -> bytes:
        return super().read(self._random.randint(1, 7))


TEXT = st.one_of(st.text(max_size=6), st.sampled_from(['a"b\\', "x[]{},:", '\\"', "é\\\\"]))
VALUE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), TEXT),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(st.lists(VALUE, max_size=4), VALUE, st.sampled_from([None, 1]), st.booleans(), st.integers(0, 99))
def test_members_are_cut_out_of_a_document_as_a_whole_parse_finds_them(
    rows: list[Any], other: Any, indent: int | None, ascii_only: bool, seed: int
) -> None:
    document = {"left": other, "rows": rows, "other": other}
    data = json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode()
    found = list(reader_json.members(SmallReads(data, seed), "f", [("rows", "#"), ("other",)]))
    assert [member.value for member in found] == [*rows, other]
    assert [member.where for member in found] == [
        *(f"f, rows[{place}]" for place in range(len(rows))),
        "f, other",
    ]


@settings(max_examples=200, deadline=None)
@given(st.lists(VALUE, min_size=1, max_size=4), st.data())
def test_a_document_that_ends_too_early_never_passes(rows: list[Any], data: st.DataObject) -> None:
    text = json.dumps({"rows": rows}).encode()
    cut = text[: data.draw(st.integers(1, len(text) - 1))]
    with pytest.raises(DataError, match="cut off in the middle"):
        list(reader_json.members(io.BytesIO(cut), "f", [("rows", "#")]))
