import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from helpers.json_lines import write_lines
from helpers.places import SHARED
from muscle import get_task
from muscle.errors import ConfigError, DataError
from muscle.tasks import BUILT_IN, Example
from muscle.tasks.built_in.gsm8k import score as gsm8k_score
from muscle.tasks.scoring import exact_match, last_number, number_match, rouge
from muscle.yaml_files import yaml_text, yaml_value

PIQA_ROW = {
    "goal": "Open a tight jar",
    "sol1": "Run hot water over the lid. ",
    "sol2": "Cool the lid.",
    "label": 0,
}
OFFICIAL_HELLASWAG_ROW = {
    "ind": 4,
    "activity_label": "Removing ice from car",
    "ctx_a": "A man writes over the snow [title] on a window. He wears a coat.",
    "ctx_b": "then, the Man",
    "ctx": "A man writes over the snow [title] on a window. He wears a coat. then, the Man",
    "endings": ["adds wax. [step] He goes.", "[substeps] rides a bike.", "drinks  tea.", "scrapes the ice."],
    "source_id": "activitynet~v_-1IBHYS3L-Y",
    "label": "3",
}
GSM8K_ROW = {
    "question": "Ann has 3 apples and buys 4. How many has she?",
    "answer": "She has 3+4=<<3+4=7>>7 apples.\n#### 7",
}
SAMSUM_ROW = {
    "id": "13",
    "dialogue": "Ann: Hi\r\nBob: Hello\r\nAnn: Tea?",
    "summary": "Ann offers Bob tea.\r\n",
}
ROWS = {"piqa": PIQA_ROW, "hellaswag": OFFICIAL_HELLASWAG_ROW, "gsm8k": GSM8K_ROW, "samsum": SAMSUM_ROW}


def example(task: str, **changes: Any) -> Example:
    return get_task(task).to_example({**ROWS[task], **changes}, 0)


def harness_requests(task: str, rows: list[dict[str, Any]], folder: Path) -> list[tuple[str, str]]:
    """What the harness's own task builds from the rows: (context, continuation) in order."""
    from lm_eval.tasks import TaskManager

    data = folder / "data.jsonl"
    write_lines(data, *rows)
    source = files("lm_eval") / "tasks" / task / f"{task}.yaml"
    settings = {
        "include": str(source),
        "task": f"{task}_local",
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {
            "data_files": {split: str(data) for split in ("train", "validation", "test")},
            "cache_dir": str(folder / "cache"),
        },
        "num_fewshot": 0,
    }
    (folder / "local.yaml").write_text(yaml_text(settings))
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    loaded = manager.load([f"{task}_local"])["tasks"][f"{task}_local"]
    loaded.build_all_requests()
    return [instance.args for instance in loaded.instances]


def shared_rows(task: str, count: int) -> list[dict[str, Any]]:
    path = SHARED / "data" / task / "test.jsonl"
    if not path.is_file():
        pytest.skip(f"benchmark data is not here: {path}")
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line, _ in zip(lines, range(count), strict=False)]


def test_piqa_asks_as_the_harness_does(tmp_path: Path) -> None:
    rows = [PIQA_ROW, *shared_rows("piqa", 40)]
    examples = [get_task("piqa").to_example(row, 0) for row in rows]
    ours = [(e.context, e.delimiter + choice) for e in examples for choice in e.choices]
    assert ours == harness_requests("piqa", rows, tmp_path)


def test_hellaswag_asks_as_the_harness_does_for_official_rows(tmp_path: Path) -> None:
    built = example("hellaswag")
    ours = [(built.context, built.delimiter + choice) for choice in built.choices]
    assert ours == harness_requests("hellaswag", [OFFICIAL_HELLASWAG_ROW], tmp_path)
    assert "Then, the man" in built.context and "[" not in "".join(built.choices)


def test_hellaswag_asks_as_the_harness_does_for_rows_whose_context_is_joined_already(tmp_path: Path) -> None:
    rows = shared_rows("hellaswag", 40)
    examples = [get_task("hellaswag").to_example(row, 0) for row in rows]
    ours = [(e.context, e.delimiter + choice) for e in examples for choice in e.choices]
    official = [{**row, "ctx_a": row["ctx"], "ctx_b": ""} for row in rows]
    assert ours == harness_requests("hellaswag", official, tmp_path)


def test_gsm8k_asks_and_stops_as_the_harness_does(tmp_path: Path) -> None:
    rows = [GSM8K_ROW, *shared_rows("gsm8k", 40)]
    theirs = harness_requests("gsm8k", rows, tmp_path)
    task = get_task("gsm8k")
    assert [task.to_example(row, 0).context for row in rows] == [context for context, _ in theirs]
    assert task.generation is not None
    assert all(list(task.generation.until) == settings["until"] for _, settings in theirs)


@pytest.mark.parametrize(
    "output",
    [
        " 3+4=7\n#### 7",
        "#### 7.",
        "#### $7",
        "#### 1,007",
        "It is 7",
        "It is 7.",
        "It is $7 or -8",
        "no number",
        "",
        "#### 7\n\nQuestion: #### 8",
        "####7",
        "#### -7",
    ],
)
@pytest.mark.parametrize("number", ["7", "1,007", "-8"])
def test_gsm8k_scores_as_the_harness_does(output: str, number: str) -> None:
    from lm_eval.api.metrics import exact_match_hf_evaluate
    from lm_eval.filters.extraction import RegexFilter

    settings = yaml_value((files("lm_eval") / "tasks" / "gsm8k" / "gsm8k.yaml").read_text())
    metric = {key: value for key, value in settings["metric_list"][0].items() if key.startswith(("ignore", "regexes"))}
    answer = f"Worked out.\n#### {number}"
    theirs = []
    for entry in settings["filter_list"]:
        options = {key: value for key, value in entry["filter"][0].items() if key != "function"}
        extracted = next(iter(RegexFilter(**options).apply([[output]], [{}])))[0]
        theirs.append(exact_match_hf_evaluate(predictions=[extracted], references=[answer], **metric)["exact_match"])
    assert list(gsm8k_score(output, example("gsm8k", answer=answer).reference).values()) == theirs


def test_of_a_gsm8k_answer_the_number_is_compared() -> None:
    read = get_task("gsm8k").extract
    assert read is not None
    assert read(" 3 + 4 = 7\n#### 7") == read(" 4 and 3\n#### 7 ") == "7"
    assert read("It is 7.") == "[invalid]"


def test_the_gsm8k_target_is_the_worked_solution_and_the_reference_its_number() -> None:
    built = example("gsm8k")
    assert built.target == " " + GSM8K_ROW["answer"]
    assert built.reference == ("7",)


def test_samsum_line_ends_are_line_feeds_in_prompt_and_target() -> None:
    built = example("samsum")
    assert built.context == "Dialogue: Ann: Hi\nBob: Hello\nAnn: Tea?\nSummary:"
    assert built.target == " Ann offers Bob tea."


def test_samsum_generates_as_the_paper_does() -> None:
    generation = get_task("samsum").generation
    assert generation is not None
    assert generation.until == ("Dialogue:", "Summary:", "</s>", "\n\n")
    assert generation.no_repeat_ngram_size == 2


@pytest.mark.parametrize("task", ["piqa", "hellaswag"])
def test_the_target_of_a_choice_task_is_delimiter_and_right_option(task: str) -> None:
    built = example(task)
    assert built.gold is not None
    assert built.target == built.delimiter + built.choices[built.gold]
    assert built.reference == (built.choices[built.gold],)


def test_options_keep_their_white_space() -> None:
    assert example("piqa").choices[0].endswith(". ")


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        ("piqa", {"label": 2}, "field 'label': expected a label from 0 to 1, found 2"),
        ("piqa", {"label": -1}, "found -1"),
        ("piqa", {"label": "yes"}, "found 'yes'"),
        ("piqa", {"label": True}, "found True"),
        ("piqa", {"label": 0.0}, "found 0.0"),
        ("piqa", {"label": None}, "found None"),
        ("piqa", {"goal": " "}, "field 'goal': expected text, found an empty one"),
        ("piqa", {"sol2": None}, "field 'sol2': expected text, found None"),
        ("hellaswag", {"label": ""}, "take its validation split"),
        ("hellaswag", {"endings": ["one"]}, "at least two options, found 1"),
        ("hellaswag", {"endings": "one"}, "expected a list of texts"),
        ("hellaswag", {"endings": ["a", "", "c", "d"]}, "option 1"),
        ("hellaswag", {"endings": ["a", "[step]", "c", "d"]}, "beside the marks"),
        ("hellaswag", {"ctx_b": 3}, "field 'ctx_b'"),
        ("gsm8k", {"answer": "It is 7."}, "'#### number'"),
        ("samsum", {"dialogue": ""}, "field 'dialogue'"),
    ],
)
def test_a_wrong_field_is_named_with_what_was_expected_and_found(
    task: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError) as caught:
        example(task, **changes)
    assert message in str(caught.value)


def test_a_hellaswag_row_without_any_context_is_refused() -> None:
    row = {key: value for key, value in OFFICIAL_HELLASWAG_ROW.items() if not key.startswith("ctx")}
    with pytest.raises(DataError, match="'ctx'"):
        get_task("hellaswag").to_example(row, 0)


def test_digits_as_text_are_a_label() -> None:
    assert example("piqa", label="1").gold == 1


def test_an_unknown_task_is_refused_with_the_names_and_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        get_task("hellaswagg")
    assert "hellaswag, piqa, gsm8k, samsum" in str(caught.value)
    assert "did you mean 'hellaswag'" in str(caught.value)


def test_every_definition_is_plain_data_and_differs() -> None:
    assert len({json.dumps(task.definition, sort_keys=True) for task in BUILT_IN.values()}) == 4


def test_rouge_takes_the_best_reference_and_stems() -> None:
    scores = rouge("the cats sat", ["a dog", "the cat sat"])
    assert scores["rouge1"] == 1.0 and scores["rouge2"] == 1.0
    assert rouge("the cats sat", ["the cat sat"], stem=False)["rouge1"] == pytest.approx(2 / 3)


def test_rouge_of_an_empty_answer_is_zero() -> None:
    assert rouge("", ["the cat sat"]) == {"rouge1": 0.0, "rouge2": 0.0, "rougeL": 0.0}


def test_exact_match_accepts_any_reference() -> None:
    assert exact_match("Paris", ["paris", "Lutetia"], ignore_case=True) == 1.0
    assert exact_match("Paris!", ["paris"], ignore_case=True) == 0.0
    assert exact_match("Paris!", ["Paris"], ignore_punctuation=True) == 1.0


@pytest.mark.parametrize(
    ("text", "value"),
    [("10-4", "4"), ("it is -4", "-4"), ("$1,234.50.", "1234.50"), (".5", "0.5"), ("v2", "2"), ("3, 4", "4")],
)
def test_the_last_number_is_read_with_its_value(text: str, value: str) -> None:
    assert float(last_number(text) or "nan") == float(value)


def test_a_text_without_number_matches_no_number() -> None:
    assert number_match("none", ["none"]) == 0.0


def test_a_built_in_task_knows_its_data_and_another_one_must_be_given_some(tmp_path):
    assert get_task("piqa").source("test") == "hub:baber/piqa:validation"
    assert get_task("piqa").source("test", "mine.jsonl") == "mine.jsonl"
    (tmp_path / "mine.yaml").write_text(
        'prompt: "{{ q }}"\nchoices: options\nlabel: label\nscorer: choice_likelihood\n'
    )
    with pytest.raises(ConfigError, match="task mine: train: missing; expected a file"):
        get_task(tmp_path / "mine.yaml").source("train")
