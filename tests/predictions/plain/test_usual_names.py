"""Tables as pandas and scripts write them: what decides, from which column, what is not used, and when it is asked."""

from __future__ import annotations

import csv
import io
import json
import shlex
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from helpers.json_lines import write_lines
from muscle import read_run
from muscle.errors import DataError, UnclearColumns
from muscle.predictions.plain import known_names
from muscle.predictions.records import COLUMNS

ROWS = [
    {"question": "Where, then?", "expected": "Köln", "prediction": "Köln"},
    {"question": "Who\nis it?", "expected": "Ada", "prediction": "Bob"},
]
RIGHT = [("Where, then?", True), ("Who\nis it?", False)]


def as_csv(rows: list[dict[str, Any]], separator: str = ",") -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), delimiter=separator)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def judged(path: Path) -> list[Any]:
    return read_run(path).frame.select("input", "correct").rows()


@pytest.mark.parametrize(
    ("name", "separator", "encoding"),
    [
        ("a.csv", ",", "utf-8"),
        ("a.csv", ";", "cp1252"),
        ("a.csv", ",", "latin-1"),
        ("a.csv", "\t", "utf-16"),
        ("a.csv", ";", "utf-16"),
        ("a.tsv", "\t", "utf-8-sig"),
        ("a.csv", "|", "utf-8"),
    ],
)
def test_a_table_is_read_in_any_usual_encoding_and_separator(
    tmp_path: Path, name: str, separator: str, encoding: str
) -> None:
    (tmp_path / name).write_bytes(as_csv(ROWS, separator).encode(encoding))
    assert judged(tmp_path / name) == RIGHT
    assert read_run(tmp_path / name).frame["output"][0] == "Köln"


def test_a_comma_in_a_quoted_header_does_not_separate(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id;"why, or not, at all, now";correct\n1;x;yes\n')
    assert read_run(tmp_path / "a.csv").frame["correct"].to_list() == [True]


def test_the_row_numbers_that_pandas_writes_are_not_used(tmp_path: Path) -> None:
    rows = [{"": n, **row} for n, row in enumerate(ROWS)]
    (tmp_path / "a.csv").write_text(as_csv(rows))
    run = read_run(tmp_path / "a.csv")
    assert run.metadata["decided"] == (
        "'prediction' compared with 'expected' decides what is right; input from 'question'; not used: Unnamed: 0"
    )
    assert (run.metadata["notes"], run.metadata["readings"]) == ([], [run.metadata["decided"]])


def test_a_row_after_a_text_of_several_lines_is_named_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes('question;passed\n"ä\n\nb";yes\nc;perhaps\n'.encode("cp1252"))
    with pytest.raises(DataError, match=r"a\.csv, line 5, field 'correct' \(column 'passed'\).*found 'perhaps'"):
        read_run(tmp_path / "a.csv", columns={"correct": "passed"})


@pytest.mark.parametrize(
    ("question", "answer", "expected"),
    [
        ("prompt", "completion", "target"),
        ("text", "predicted_label", "label"),
        ("Question", "Model Answer", "Ground Truth"),
        ("question", "answer", "expected"),
        ("question", "prediction", "answer"),
        ("query", "response", "gold"),
        ("input", "output", "reference"),
        ("userInput", "actualOutput", "expectedOutput"),
        ("text", "y_pred", "y_true"),
        ("prompt", "prediction", "actual"),
        ("prompt", "actual", "expected"),
        ("messages", "result", "solution"),
        ("q", "a", "truth"),
    ],
)
def test_the_usual_names_are_known_in_every_kind_of_file(
    tmp_path: Path, question: str, answer: str, expected: str
) -> None:
    rows = [{question: r["question"], answer: r["prediction"], expected: r["expected"]} for r in ROWS]
    (tmp_path / "a.csv").write_text(as_csv(rows))
    (tmp_path / "a.json").write_text(json.dumps(rows))
    pl.DataFrame(rows).write_parquet(tmp_path / "a.parquet")
    files = [write_lines(tmp_path / "a.jsonl", *rows), *(tmp_path / f"a.{kind}" for kind in ("csv", "json", "parquet"))]
    assert [judged(file) for file in files] == [RIGHT] * 4
    assert read_run(pl.DataFrame(rows)).frame["correct"].to_list() == [True, False]


def test_fields_of_the_format_come_before_usual_names(tmp_path: Path) -> None:
    row = {"id": 1, "input": "a", "question": "b", "output": "x", "prediction": "y", "reference": "x", "target": "y"}
    run = read_run(write_lines(tmp_path / "a.jsonl", row))
    assert run.frame.select("id", "input", "output", "correct").row(0) == ("1", "a", "x", True)
    assert run.metadata["decided"].endswith("; not used: question, prediction, target")


def test_what_the_user_names_comes_before_usual_names(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", {"question": "a", "prediction": "x", "raw": "y", "expected": "y"})
    assert read_run(path).frame["correct"].to_list() == [False]
    assert read_run(path, columns={"output": "raw"}).frame["correct"].to_list() == [True]


@pytest.mark.parametrize("word", ["yes", "Pass", "T", "True", True, 1, 1.0, "1", "✅"])
def test_a_column_of_verdicts_decides_in_whichever_words(tmp_path: Path, word: object) -> None:
    rows = [{"question": "a", "passed": word}, {"question": "b", "passed": None}]
    run = read_run(write_lines(tmp_path / "a.jsonl", *rows))
    assert run.frame["correct"].to_list() == [True, None]
    assert run.metadata["decided"] == "column 'passed' decides what is right; input from 'question'"
    (tmp_path / "a.csv").write_text(as_csv(rows))
    assert read_run(tmp_path / "a.csv").frame["correct"].to_list() == [True, None]


@pytest.mark.parametrize("name", ["Correct?", "isCorrect", "Grade", "status", "RESULT"])
def test_a_column_of_verdicts_is_known_however_it_is_written(tmp_path: Path, name: str) -> None:
    path = write_lines(tmp_path / "a.jsonl", {"task_id": "T/1", name: "PASS"}, {"task_id": "T/2", name: "FAIL"})
    assert read_run(path).frame.select("id", "correct").rows() == [("T/1", True), ("T/2", False)]


def test_a_weak_name_is_taken_only_where_there_is_no_strong_one(tmp_path: Path) -> None:
    row = {"question": "a", "expected": "x", "result": "y", "answer": "x"}
    assert read_run(write_lines(tmp_path / "a.jsonl", row)).frame["output"].to_list() == ["x"]


def test_an_answer_beside_its_verdict_is_the_model_s(tmp_path: Path) -> None:
    run = read_run(write_lines(tmp_path / "a.jsonl", {"question": "a", "answer": "x", "is_correct": "yes"}))
    assert run.frame.select("output", "correct").row(0) == ("x", True)


def test_the_name_of_a_task_is_no_id(tmp_path: Path) -> None:
    rows = [row | {"task_id": "geography"} for row in ROWS]
    run = read_run(write_lines(tmp_path / "a.jsonl", *rows))
    assert run.frame["id"].n_unique() == 2 and run.metadata["decided"].endswith("not used: task_id")


def test_a_chat_that_ends_in_the_answer_is_what_was_asked_and_the_answer(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "Köln"}]
    asked = json.dumps(chat[:1], ensure_ascii=False)
    rows = [
        {"messages": chat, "expected": "Köln"},
        {"messages": [{"role": "user", "content": "Who?"}], "expected": "Ada"},
    ]
    for name, text in (("a.jsonl", "\n".join(map(json.dumps, rows))), ("a.json", json.dumps(rows))):
        (tmp_path / name).write_text(text)
        frame = read_run(tmp_path / name).frame
        assert frame["input"].to_list() == [asked, json.dumps(rows[1]["messages"])]
        assert frame["output"].to_list() == ["Köln", None] and frame["correct"].to_list() == [True, None]
    assert read_run(rows).frame.drop("task").equals(frame.drop("task"))


def test_an_answer_of_its_own_or_an_input_comes_before_a_chat_that_ends_in_one(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "Köln"}]
    path = write_lines(tmp_path / "a.jsonl", {"id": 1, "messages": chat, "response": "Bonn", "expected": "Bonn"})
    assert read_run(path).frame.select("input", "output", "correct").rows() == [(None, "Bonn", True)]
    for name in ("question", "input"):
        path = write_lines(tmp_path / "b.jsonl", {name: "W?", "messages": chat, "expected": "Köln"})
        assert read_run(path).frame.select("input", "output", "correct").rows() == [("W?", "Köln", True)]
    path = write_lines(tmp_path / "c.jsonl", {"log": chat, "passed": "no"})
    columns = {"input": "log.@asked", "output": "log.@answer"}
    assert read_run(path, columns=columns).frame.select("output", "correct").rows() == [("Köln", False)]


@pytest.mark.parametrize("word", ["NaN", "null", "None", "n/a", " "])
def test_a_word_for_no_verdict_is_none(tmp_path: Path, word: str) -> None:
    rows = [{"id": 1, "correct": "no"}, {"id": 2, "correct": word}]
    assert read_run(write_lines(tmp_path / "a.jsonl", *rows)).frame["correct"].to_list() == [False, None]


def test_a_column_with_other_words_is_no_column_of_verdicts(tmp_path: Path) -> None:
    rows = [row | {"verdict": "rather good"} for row in ROWS]
    run = read_run(write_lines(tmp_path / "a.jsonl", *rows))
    assert run.frame["correct"].to_list() == [True, False] and run.metadata["decided"].endswith("not used: verdict")


@pytest.mark.parametrize("name", ["verdict", "is_correct", "status", "grade"])
@pytest.mark.parametrize("words", [("yes", "no", "partial"), ("PASS", "fail", "mostly"), ("right", "Wrong", "half")])
def test_a_word_that_is_no_verdict_is_named_where_nothing_else_decides(
    tmp_path: Path, name: str, words: tuple[str, str, str]
) -> None:
    rows = [{"id": place, "answer": str(place), name: words[place % 3]} for place in range(9)]
    with pytest.raises(DataError) as caught:
        read_run(write_lines(tmp_path / "a.jsonl", *rows))
    told = f"line 3, field 'correct' (column '{name}'): expected true or false, found '{words[2]}'; yes, pass, right, 1"
    assert told in str(caught.value)
    assert "n/a that nobody judged; degrees between are numbers, with --column score=NAME" in str(caught.value)
    judged = [row | {"expected": "3"} for row in rows]
    decided = read_run(write_lines(tmp_path / "b.jsonl", *judged)).metadata["decided"]
    assert decided.startswith("'answer' compared with 'expected' decides what is right")


@pytest.mark.parametrize("words", [("A", "B", "tie"), ("C", "I", "P")])
def test_words_under_a_strong_name_for_verdicts_are_refused_though_none_of_them_is_one(
    tmp_path: Path, words: tuple[str, str, str]
) -> None:
    rows = [{"id": place, "answer": str(place), "verdict": words[place % 3]} for place in range(9)]
    with pytest.raises(DataError, match=rf"\(column 'verdict'\): expected true or false, found '{words[0]}'"):
        read_run(write_lines(tmp_path / "a.jsonl", *rows))


def test_a_column_of_nearly_verdicts_by_another_name_is_proposed_as_them(tmp_path: Path) -> None:
    rows = [{"id": n, "answer": str(n), "our_judge": ("yes", "no", "partial")[n % 3]} for n in range(9)]
    with pytest.raises(UnclearColumns) as caught:
        read_run(write_lines(tmp_path / "a.jsonl", *rows))
    assert caught.value.flags == "--column correct=our_judge"


def test_a_call_that_succeeded_is_not_an_answer_that_is_right(tmp_path: Path) -> None:
    rows = [row | {"success": True} for row in ROWS]
    assert judged(write_lines(tmp_path / "a.jsonl", *rows)) == RIGHT
    assert read_run(write_lines(tmp_path / "b.jsonl", {"id": 1, "success": True})).frame["correct"].to_list() == [True]


def test_a_number_beside_an_answer_and_its_reference_does_not_decide(tmp_path: Path) -> None:
    rows = [row | {"score": score} for row, score in zip(ROWS, (0.9, 0.2), strict=True)]
    run = read_run(write_lines(tmp_path / "a.jsonl", *rows))
    assert run.frame["correct"].to_list() == [True, False]
    assert run.metadata["decided"].endswith("; not used: score")
    named = read_run(tmp_path / "a.jsonl", columns={"score": "score"})
    assert named.frame.select("correct", "score.score").rows() == [(None, 0.9), (None, 0.2)]
    assert named.metadata["decided"].startswith("score 'score' decides what is better; outputs are not compared")


def test_a_number_beside_answers_that_are_never_their_reference_is_asked_about(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", ROWS[1] | {"score": 0.4}, ROWS[1] | {"question": "c", "score": 0.5})
    with pytest.raises(UnclearColumns, match="field 'score': found numbers beside outputs of which none") as caught:
        read_run(path)
    assert caught.value.flags == "--column score=score"


def test_answers_that_are_wrong_by_capitals_alone_are_told(tmp_path: Path) -> None:
    rows = [{"question": 1, "expected": "Köln", "response": " Köln"}, {"question": 2, "expected": "Köln"}]
    rows[1]["response"] = "KÖLN"
    told = read_run(write_lines(tmp_path / "a.jsonl", *rows, rows[0] | {"question": 3, "response": "Bonn"})).metadata
    assert "1 of 2 wrong answers are their reference but for capitals" in told["decided"]
    assert told["notes"] == [told["decided"]]
    rows[1]["response"] = "Bonn"
    assert "capitals" not in read_run(write_lines(tmp_path / "b.jsonl", *rows)).metadata["decided"]


@pytest.mark.parametrize("answer", ["NaN", "nan", "NULL", ""])
def test_an_answer_that_a_csv_writer_left_out_is_missing_and_not_wrong(tmp_path: Path, answer: str) -> None:
    rows = [ROWS[0], {"question": "b", "expected": "Ada", "prediction": answer}]
    rows.append({"question": "c", "expected": "null", "prediction": "null"})
    (tmp_path / "a.csv").write_text(as_csv(rows))
    frame = read_run(tmp_path / "a.csv").frame
    assert frame.select("correct", "error").rows() == [(True, None), (None, "no answer"), (True, None)]


NESTED = {"id": 1, "response": {"choices": [{"message": {"content": "Köln"}}]}, "expected": "Köln"}

ASKED = [
    ({"question": "a", "one": "Köln", "two": "Bonn"}, {"output": "one", "reference": "two"}),
    ({"id": 1, "confidence": 0.5}, {"score": "confidence"}),
    ({"id": 1, "was fine": "yes"}, {"correct": "was fine"}),
    ({"question": "a", "prediction": "x", "response": "y", "expected": "y"}, {"output": "prediction"}),
    (NESTED, {"output": "response.choices.0.message.content", "reference": "expected"}),
    ({"ticket key": "a", "passed": True}, {"id": "ticket key"}),
    ({"Frage": "a", "Richtig": "WAHR"}, {"input": "Frage", "correct": "Richtig"}),
    (
        {"inputs.question": "a", "outputs.answer": "b", "expected": "c"},
        {"input": "inputs.question", "output": "outputs.answer", "reference": "expected"},
    ),
    (
        {"id": 1, "inputs": {"question": "a"}, "outputs": {"answer": "b"}, "expected": "c"},
        {"output": "outputs.answer", "reference": "expected"},
    ),
]


@pytest.mark.parametrize(("row", "proposed"), ASKED)
def test_where_nothing_tells_what_decides_the_options_that_are_proposed_work(
    tmp_path: Path, row: dict[str, Any], proposed: dict[str, str]
) -> None:
    path = write_lines(tmp_path / "a.jsonl", row)
    with pytest.raises(UnclearColumns) as caught:
        read_run(path)
    assert all(f"{ours}={theirs}" in caught.value.flags for ours, theirs in proposed.items())
    assert all(name in str(caught.value) for name in row)
    run = read_run(path, columns=proposed)
    assert run.frame["correct"].null_count() == 0 or run.score_names() == ["score"]


@pytest.mark.parametrize(("one", "other"), [("category_true", "category_pred"), ("category_pred", "category_true")])
def test_of_two_columns_that_say_the_same_the_one_that_is_called_so_is_the_answer(
    tmp_path: Path, one: str, other: str
) -> None:
    rows = [{"message": "a", one: "Köln", other: "köln"}, {"message": "b", one: "Bonn", other: "BONN"}]
    with pytest.raises(UnclearColumns) as caught:
        read_run(write_lines(tmp_path / "a.jsonl", *rows))
    assert caught.value.flags == "--column output=category_pred --column reference=category_true"


@pytest.mark.parametrize("ours", ["output", "slice.topic", "id"])
def test_a_column_that_is_named_and_stands_in_no_row_is_refused(tmp_path: Path, ours: str) -> None:
    (tmp_path / "a.json").write_text(json.dumps(ROWS))
    (tmp_path / "a.csv").write_text(as_csv(ROWS))
    for path in (write_lines(tmp_path / "a.jsonl", *ROWS), tmp_path / "a.json", tmp_path / "a.csv"):
        with pytest.raises(DataError, match=r"a\.\w+: expected the column 'typo', found .*question"):
            read_run(path, columns={ours: "typo"})
    empty = write_lines(tmp_path / "b.jsonl", *(row | {"verdict": None} for row in ROWS))
    assert read_run(empty, columns={"correct": "verdict"}).frame["correct"].null_count() == len(ROWS)


def test_the_column_that_often_says_what_was_expected_is_proposed_as_the_answer(tmp_path: Path) -> None:
    rows = [{"id": n, "Gold Label": word, "Model's": word.lower()} for n, word in enumerate(("Köln", "Bonn"))]
    with pytest.raises(UnclearColumns) as caught:
        read_run(write_lines(tmp_path / "a.jsonl", *rows))
    assert shlex.split(caught.value.flags) == ["--column", "output=Model's", "--column", "reference=Gold Label"]


def test_a_number_beside_two_unknown_columns_that_often_say_the_same_is_asked_about(tmp_path: Path) -> None:
    rows = [{"id": n, "Soll": word, "Ist": word, "score": 0.5 + n / 10} for n, word in enumerate(["Köln", "Bonn"])]
    path = write_lines(tmp_path / "a.jsonl", *rows)
    with pytest.raises(UnclearColumns, match="field 'score': found numbers beside Ist, Soll") as caught:
        read_run(path)
    assert caught.value.flags == "--column output=Ist --column reference=Soll"
    assert read_run(path, columns={"score": "score"}).score_names() == ["score"]
    alone = write_lines(
        tmp_path / "b.jsonl", *({"id": n, "topic": "x", "level": "y", "score": n / 3} for n in range(3))
    )
    assert read_run(alone).score_names() == ["score"]


def test_answers_of_which_none_is_its_reference_are_told(tmp_path: Path) -> None:
    rows = [{"question": n, "expected": str(n), "response": f"It is {n}."} for n in range(10)]
    path = write_lines(tmp_path / "a.jsonl", *rows)
    doubtful = read_run(path).metadata
    assert "none of 10 answers is the same text as its reference" in doubtful["decided"]
    assert (doubtful["notes"], doubtful["readings"]) == ([doubtful["decided"]], [])
    rows[3]["response"] = "3"
    calm = read_run(write_lines(tmp_path / "b.jsonl", *rows)).metadata
    assert "none of" not in calm["decided"] and (calm["notes"], calm["readings"]) == ([], [calm["decided"]])


@pytest.mark.parametrize(("right", "wrong"), [(2, 1), ("2", "0"), ("C", "B"), ("(c)", "A."), ("Ems", "Elbe")])
@pytest.mark.parametrize("reference", [2, "C", "Ems"])
def test_an_option_is_known_by_its_text_letter_or_number(
    tmp_path: Path, right: object, wrong: object, reference: object
) -> None:
    if reference != 2 and str(right) == "2":
        return  # numbers count from 0 or 1, as the reference does: then it must be one
    options = {"choices": ["Oder", "Elbe", "Ems"], "label": reference}
    rows = [{"id": 1, "prediction": right, **options}, {"id": 2, "prediction": wrong, **options}]
    run = read_run(write_lines(tmp_path / "a.jsonl", *rows))
    assert run.frame.select("correct", "reference").rows() == [(True, ["Ems"]), (False, ["Ems"])]
    assert run.metadata["decided"].startswith("'prediction' compared with 'label'")


@pytest.mark.parametrize(("options", "reference", "answer"), [("ABC", "B", "b"), (["3", "4", "5"], 1, "1")])
def test_options_that_are_letters_or_numbers_themselves_are_compared_as_texts(
    tmp_path: Path, options: object, reference: object, answer: str
) -> None:
    row = {"id": 1, "choices": list(options), "reference": reference, "output": answer}  # type: ignore[call-overload]
    assert read_run(write_lines(tmp_path / "a.jsonl", row)).frame.select("correct", "choice").row(0) == (False, None)


def test_the_page_on_one_s_own_file_names_every_field_and_every_usual_name() -> None:
    page = (Path(__file__).parents[3] / "docs" / "your-own-file.md").read_text()
    usual = [name for value in vars(known_names).values() if isinstance(value, tuple) for name in value]
    assert len(usual) > 100
    assert [name for name in (*COLUMNS, "score", "slices", *usual) if f"`{name}`" not in page] == []
