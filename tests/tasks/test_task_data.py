import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.json_lines import write_lines
from helpers.places import SHARED
from muscle import get_task
from muscle.errors import DataError
from muscle.tasks import Example, TaskData, load_examples, load_task_data, split_train_validation
from muscle.tasks.sources import load_rows

PIQA = get_task("piqa")


def rows(count: int, *, word: str = "goal") -> list[dict[str, Any]]:
    return [
        {
            "id": f"{word}-{n}",
            "goal": f"{word} {n}",
            "sol1": f"first {n}",
            "sol2": f"second {n}",
            "label": n % 2,
        }
        for n in range(count)
    ]


def examples(count: int) -> tuple[Example, ...]:
    return tuple(PIQA.to_example(row, n) for n, row in enumerate(rows(count)))


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(DataError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".tsv", ".parquet"])
def test_every_kind_of_file_gives_the_same_examples(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"data{suffix}"
    frame = pl.DataFrame(rows(5))
    match suffix:
        case ".jsonl":
            write_lines(path, *rows(5))
        case ".json":
            path.write_text(json.dumps(rows(5)))
        case ".parquet":
            frame.write_parquet(path)
        case _:
            frame.write_csv(path, separator="\t" if suffix == ".tsv" else ",")
    assert load_examples(PIQA, path) == examples(5)


def test_several_files_are_read_one_after_the_other_up_to_the_limit(tmp_path: Path) -> None:
    first = write_lines(tmp_path / "a.jsonl", *rows(3, word="a"))
    second = write_lines(tmp_path / "b.jsonl", *rows(3, word="b"))
    loaded = load_examples(PIQA, [first, str(second)], limit=4)
    assert [example.id for example in loaded] == ["a-0", "a-1", "a-2", "b-0"]


def test_a_row_without_id_gets_its_position(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", *[{k: v for k, v in row.items() if k != "id"} for row in rows(2)])
    assert [example.id for example in load_examples(PIQA, path)] == ["0", "1"]


def test_blank_lines_and_a_byte_order_mark_do_not_disturb_the_line_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(rows(1)[0]).encode() + b"\r\n\r\n{broken\n")
    assert f"{path}, line 3: expected JSON" in refused(lambda: load_rows(path))


def test_line_separators_inside_a_text_do_not_break_the_line(tmp_path: Path) -> None:
    row = {**rows(1)[0], "goal": "one\u2028two\x85three"}
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    assert "one\u2028two\x85three" in load_examples(PIQA, path)[0].context


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "expected a file, found nothing there" in refused(lambda: load_rows(tmp_path / "a.jsonl"))


def test_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").mkdir()
    assert "found a folder" in refused(lambda: load_rows(tmp_path / "a.jsonl"))


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet"])
def test_an_empty_file_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"")
    assert str(path) in refused(lambda: load_rows(path))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("separator", [";", "\t", ","])
def test_a_csv_is_read_as_spreadsheets_write_it(tmp_path: Path, separator: str, encoding: str) -> None:
    lines = [f"id{separator}goal", f'007{separator}"Wo; in, Köln?"', f'8{separator}"two\r\nlines"']
    (tmp_path / "a.csv").write_bytes("\r\n".join([*lines, ""]).encode(encoding))
    rows = [found.row for found in load_rows(tmp_path / "a.csv")]
    assert rows == [{"id": "007", "goal": "Wo; in, Köln?"}, {"id": "8", "goal": "two\r\nlines"}]


def test_a_row_of_a_csv_is_named_by_the_line_in_which_it_begins(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id,goal\n7,"two\nlines"\n\n8,one\n')
    assert [found.place for found in load_rows(tmp_path / "a.csv")] == [
        f"{tmp_path / 'a.csv'}, line 2",
        f"{tmp_path / 'a.csv'}, line 5",
    ]


def test_half_of_an_escaped_character_is_refused_with_its_place(tmp_path: Path) -> None:
    whole, half = r'{"goal": "\ud83d\ude00"}', r'{"goal": "cut \ud83d"}'
    (tmp_path / "a.jsonl").write_text(f"{whole}\n{half}\n")
    with pytest.raises(DataError, match=r"a.jsonl, line 2: expected whole characters, found U\+D83D"):
        load_rows(tmp_path / "a.jsonl")
    assert load_rows(tmp_path / "a.jsonl", limit=1)[0].row == {"goal": "\U0001f600"}


def test_a_csv_with_only_a_header_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("goal,sol1,sol2,label\n")
    assert "found an empty file" in refused(lambda: load_rows(path))


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_a_file_cut_in_the_middle_is_refused(tmp_path: Path, suffix: str) -> None:
    whole = tmp_path / f"whole{suffix}"
    if suffix == ".jsonl":
        write_lines(whole, *rows(20))
    else:
        pl.DataFrame(rows(20)).write_parquet(whole)
    cut = tmp_path / f"cut{suffix}"
    content = whole.read_bytes()
    cut.write_bytes(content[: len(content) * 2 // 3])
    message = refused(lambda: load_rows(cut))
    assert "cut off?" in message
    assert suffix != ".jsonl" or ", line 14:" in message


def test_a_file_cut_at_a_lines_end_that_lacks_the_last_newline_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows(3)))
    assert len(load_rows(path)) == 3


def test_bytes_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(json.dumps(rows(1)[0]).encode() + b'\n{"goal": "caf\xe9"}\n')
    assert "line 2: expected UTF-8, found byte 0xe9" in refused(lambda: load_rows(path))


def test_a_line_that_is_no_object_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("[1, 2]\n")
    assert "line 1: expected an object with named fields, found a list" in refused(lambda: load_rows(path))


def test_an_unknown_kind_of_file_is_refused(tmp_path: Path) -> None:
    assert "hub:name[/config]:split" in refused(lambda: load_rows(tmp_path / "a.xlsx"))


def test_a_misspelt_hub_source_is_refused() -> None:
    assert "expected hub:name[/config]:split" in refused(lambda: load_rows("hub:openai/gsm8k"))


def test_hub_data_is_asked_for_by_name_configuration_and_split(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked: list[Any] = []

    def load_dataset(*args: Any, **kwargs: Any) -> datasets.Dataset:
        asked.append((args, kwargs))
        return datasets.Dataset.from_list(rows(3))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    loaded = load_rows("hub:openai/gsm8k/main:test", limit=3)
    load_rows("hub:baber/piqa:train")
    assert asked == [
        (("openai/gsm8k", "main"), {"split": "test[:3]"}),
        (("baber/piqa", None), {"split": "train"}),
    ]
    assert loaded[2].place == "hub:openai/gsm8k/main:test, row 3"


def test_a_hub_that_does_not_answer_is_one_line_that_names_the_source(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import datasets

    def load_dataset(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("no route to host\nwith details")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    message = refused(lambda: load_rows("hub:baber/piqa:train"))
    assert "hub:baber/piqa:train: cannot be loaded from the hub: no route to host; give a local file" in message


def test_a_missing_column_is_named_with_file_and_line(tmp_path: Path) -> None:
    items = rows(2)
    del items[1]["sol2"]
    path = write_lines(tmp_path / "a.jsonl", *items)
    message = refused(lambda: load_examples(PIQA, path))
    assert f"{path}, line 2: task piqa needs the column 'sol2'" in message


def test_a_label_out_of_range_is_named_with_file_and_line(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", rows(1)[0], {**rows(2)[1], "label": 7})
    message = refused(lambda: load_examples(PIQA, path))
    assert f"{path}, line 2, field 'label': expected a label from 0 to 1, found 7" in message


def test_an_id_that_stands_twice_is_named_with_both_places(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", rows(1)[0], {**rows(2)[1], "id": "goal-0"})
    message = refused(lambda: load_examples(PIQA, path))
    assert "line 2" in message and "'goal-0' again" in message and "line 1" in message


def test_the_split_is_eighty_to_twenty_and_keeps_the_order() -> None:
    split = split_train_validation(examples(100), seed=0)
    assert (len(split.train), len(split.validation)) == (80, 20)
    order = {example.id: n for n, example in enumerate(examples(100))}
    for part in split.train, split.validation:
        assert [order[example.id] for example in part] == sorted(order[example.id] for example in part)


@given(count=st.integers(5, 60), seed=st.integers(), fraction=st.floats(0.05, 0.8))
def test_the_split_loses_nothing_and_doubles_nothing(count: int, seed: int, fraction: float) -> None:
    split = split_train_validation(examples(count), seed=seed, fraction=fraction)
    assert sorted(example.id for example in (*split.train, *split.validation)) == sorted(
        example.id for example in examples(count)
    )
    assert split.train and split.validation


def test_another_seed_holds_out_others() -> None:
    first, second = (split_train_validation(examples(100), seed=seed).validation for seed in (0, 1))
    assert first != second


def test_the_split_does_not_depend_on_row_order() -> None:
    forward = split_train_validation(examples(50), seed=3).validation
    backward = split_train_validation(examples(50)[::-1], seed=3).validation
    assert forward == backward[::-1]


def test_the_split_does_not_depend_on_pythons_hash_seed(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", *rows(30))
    code = (
        "import sys; from muscle.tasks import *; "
        "s = split_train_validation(load_examples(get_task('piqa'), sys.argv[1]), seed=5); "
        "print([e.id for e in s.validation])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code, str(path)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_equal_texts_stay_on_one_side() -> None:
    doubled = [PIQA.to_example({**row, "id": f"{row['id']}-{copy}"}, 0) for row in rows(20) for copy in range(3)]
    split = split_train_validation(doubled, seed=1)
    assert not {e.context for e in split.train} & {e.context for e in split.validation}


def test_one_text_alone_cannot_be_split() -> None:
    assert "found 1 in 3 examples" in refused(lambda: split_train_validation(list(examples(1)) * 3, seed=0))


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 2])
def test_a_fraction_outside_zero_to_one_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        split_train_validation(examples(10), fraction=fraction, seed=0)


def load(folder: Path, train: list[dict[str, Any]], test: list[dict[str, Any]], seed: int = 0) -> TaskData:
    return load_task_data(
        PIQA,
        train=write_lines(folder / "train.jsonl", *train),
        test=write_lines(folder / "test.jsonl", *test),
        seed=seed,
    )


def test_test_items_that_stand_in_the_training_data_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shouted = [{**row, "goal": row["goal"].upper() + " "} for row in rows(2)]
    with caplog.at_level(logging.WARNING):
        data = load(tmp_path, rows(20), [*shouted, *rows(3, word="other")])
    assert data.num_leaked == 2
    assert "2 of 5 test examples stand in the training data" in caplog.text


def test_the_same_goal_with_other_options_is_another_item(tmp_path: Path) -> None:
    other = [{**row, "sol1": f"third {n}"} for n, row in enumerate(rows(2))]
    assert load(tmp_path, rows(20), other).num_leaked == 0


def test_the_test_data_does_not_depend_on_the_seed(tmp_path: Path) -> None:
    first, second = (load(tmp_path, rows(20), rows(5, word="t"), seed=seed) for seed in (0, 1))
    assert first.test == second.test
    assert first.fingerprints["test"] == second.fingerprints["test"]
    assert first.fingerprints["validation"] != second.fingerprints["validation"]


def test_the_fingerprint_of_a_part_changes_with_any_of_its_content(tmp_path: Path) -> None:
    before = load(tmp_path, rows(20), rows(5, word="t")).fingerprints
    changed = rows(5, word="t")
    changed[3]["label"] = 0
    after = load(tmp_path, rows(20), changed).fingerprints
    assert before["train"] == after["train"] and before["test"] != after["test"]


@pytest.mark.parametrize("task", ["piqa", "hellaswag", "gsm8k", "samsum"])
def test_the_benchmark_files_load_whole(task: str) -> None:
    folder = SHARED / "data" / task
    if not folder.is_dir():
        pytest.skip(f"benchmark data is not here: {folder}")
    data = load_task_data(get_task(task), train=folder / "train.jsonl", test=folder / "test.jsonl")
    assert data.num_leaked == 0
    assert len(data.validation) / (len(data.train) + len(data.validation)) == pytest.approx(0.2, abs=0.001)
