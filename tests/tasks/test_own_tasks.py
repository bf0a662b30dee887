import json
from pathlib import Path
from typing import Any

import pytest

from helpers.places import EXAMPLES
from muscle import get_task
from muscle.errors import ConfigError, DataError
from muscle.tasks import Task, load_examples
from muscle.yaml_files import yaml_text

CHOICE: dict[str, Any] = {
    "prompt": "Question: {{ question }}\nAnswer:",
    "choices": "options",
    "label": "answer",
    "scorer": "choice_likelihood",
}
GENERATION: dict[str, Any] = {
    "prompt": "Q: {{ question }}\nA:",
    "target": "{{ answer }}",
    "generation": {"until": "\n", "max_new_tokens": 8},
    "scorer": "exact_match",
}
CHOICE_ROW = {"question": "Which is red?", "options": ["grass", "blood", "snow"], "answer": 1}


def write_task(folder: Path, settings: dict[str, Any], name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(yaml_text(settings))
    return path


def build(folder: Path, base: dict[str, Any], **changes: Any) -> Task:
    return get_task(write_task(folder, {k: v for k, v in {**base, **changes}.items() if v is not ...}))


def refused(folder: Path, base: dict[str, Any], **changes: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        build(folder, base, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def scores(task: Task, output: str, *references: str) -> dict[str, float]:
    assert task.score is not None
    return dict(task.score(output, references))


def test_a_choice_task_from_yaml_builds_the_same_example_as_by_hand(tmp_path: Path) -> None:
    task = build(tmp_path, CHOICE, slices=["topic"])
    built = task.to_example({**CHOICE_ROW, "topic": "colour"}, 4)
    assert task.kind == "choice" and task.choice_score == "acc" and task.name == "mine"
    assert built.context == "Question: Which is red?\nAnswer:"
    assert built.choices == ("grass", "blood", "snow")
    assert (built.id, built.gold, built.target, built.reference) == ("4", 1, " blood", ("blood",))
    assert built.slices == {"topic": "colour"}


def test_choices_can_be_templates(tmp_path: Path) -> None:
    task = build(tmp_path, CHOICE, choices=["{{ a }}", "not {{ a }}"])
    assert task.to_example({"question": "?", "a": "red", "answer": 0}, 0).choices == ("red", "not red")
    assert set(task.columns) == {"question", "a", "answer"}


@pytest.mark.parametrize("label", [1, "1", "B", "b", "blood"])
def test_a_label_is_an_index_a_letter_or_the_right_text(tmp_path: Path, label: Any) -> None:
    assert build(tmp_path, CHOICE).to_example({**CHOICE_ROW, "answer": label}, 0).gold == 1


@pytest.mark.parametrize("label", [3, -1, "D", "sky", None, 1.0, True, ""])
def test_a_label_that_fits_no_option_is_refused(tmp_path: Path, label: Any) -> None:
    with pytest.raises(DataError, match="field 'answer': expected an index from 0"):
        build(tmp_path, CHOICE).to_example({**CHOICE_ROW, "answer": label}, 0)


def test_a_label_in_other_capitals_is_refused_with_the_option_that_it_may_be(tmp_path: Path) -> None:
    task = build(tmp_path, CHOICE)
    with pytest.raises(DataError, match=r"\(grass, blood, snow\), found 'Blood ': that is 'blood' in other capitals"):
        task.to_example({**CHOICE_ROW, "answer": "Blood "}, 0)


def test_a_label_with_two_meanings_is_refused_until_its_kind_is_said(tmp_path: Path) -> None:
    row = {"question": "?", "options": ["1", "0"], "answer": "1"}
    with pytest.raises(DataError, match=r"index \(option 1\) and as text \(option 0\)"):
        build(tmp_path, CHOICE).to_example(row, 0)
    as_text = build(tmp_path, CHOICE, label={"column": "answer", "kind": "text"})
    as_index = build(tmp_path, CHOICE, label={"column": "answer", "kind": "index"})
    assert (as_text.to_example(row, 0).gold, as_index.to_example(row, 0).gold) == (0, 1)


def test_columns_with_awkward_names_get_a_template_name(tmp_path: Path) -> None:
    task = build(tmp_path, GENERATION, columns={"question": "Question Text"})
    assert task.to_example({"Question Text": "Why?", "answer": "So."}, 0).context == "Q: Why?\nA:"
    assert "Question Text" in task.columns


def test_an_id_column_names_the_items(tmp_path: Path) -> None:
    task = build(tmp_path, GENERATION, id="key")
    assert task.to_example({"key": 12, "question": "?", "answer": "!"}, 0).id == "12"


def test_further_references_are_accepted_too(tmp_path: Path) -> None:
    task = build(tmp_path, GENERATION, references="also")
    built = task.to_example({"question": "?", "answer": "USA", "also": ["United States"]}, 0)
    assert built.reference == ("USA", "United States") and built.target == " USA"


def test_a_null_field_never_becomes_the_text_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"prompt: expected a value in every field, found null in \['question'\]"):
        build(tmp_path, GENERATION).to_example({"question": None, "answer": "!"}, 0)


def test_an_empty_prompt_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="target: expected text, found an empty one"):
        build(tmp_path, GENERATION).to_example({"question": "?", "answer": " "}, 0)


def test_a_missing_column_is_refused_with_file_and_line(tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text(json.dumps({"question": "?"}) + "\n")
    with pytest.raises(DataError, match=r"data\.jsonl, line 1: task mine needs the column 'answer'"):
        load_examples(build(tmp_path, GENERATION), data)


@pytest.mark.parametrize(
    "template",
    ["{{ question.__class__.__mro__ }}", "{{ ''.__class__ }}", "{{ question.missing }}", "{{ 1 / 0 }}"],
)
def test_templates_cannot_reach_python_and_their_failures_are_data_errors(tmp_path: Path, template: str) -> None:
    with pytest.raises(DataError, match="prompt: the template cannot be filled in"):
        build(tmp_path, GENERATION, prompt=template).to_example({"question": "?", "answer": "!"}, 0)


def test_exact_match_compares_what_the_regular_expression_finds(tmp_path: Path) -> None:
    scorer = {"name": "exact_match", "regex": "answer is (\\w+)", "select": "last", "ignore_case": True}
    task = build(tmp_path, GENERATION, scorer=scorer)
    assert task.correct == "exact_match"
    assert scores(task, "The answer is no. The ANSWER is Yes!", "yes") == {"exact_match": 1.0}
    assert scores(task, "yes", "yes") == {"exact_match": 0.0}


def test_exact_match_without_options_only_ignores_white_space_around(tmp_path: Path) -> None:
    task = build(tmp_path, GENERATION)
    assert scores(task, " Paris\n", "Paris") == {"exact_match": 1.0}
    assert scores(task, "paris", "Paris") == {"exact_match": 0.0}


def test_own_tasks_with_an_extraction_tell_what_they_compare(tmp_path: Path) -> None:
    numbers = build(tmp_path, GENERATION, scorer="number_match").extract
    assert numbers is not None and numbers("so $1,200.0") == numbers("it is 1200") == "1200"
    words = build(tmp_path, GENERATION, scorer={"name": "exact_match", "regex": "is (\\w+)"}).extract
    assert words is not None and words("It is red, I think.") == "red" and words("Red.") == "[invalid]"
    assert build(tmp_path, GENERATION).extract is None


def test_number_match_compares_values(tmp_path: Path) -> None:
    task = build(tmp_path, GENERATION, scorer="number_match")
    assert task.correct == "number_match"
    assert scores(task, "so $1,200.0", "= 1200") == {"number_match": 1.0}


@pytest.mark.parametrize("name", ["rouge1", "rouge2", "rougeL"])
def test_the_chosen_rouge_is_the_main_score_and_nothing_is_correct(tmp_path: Path, name: str) -> None:
    task = build(tmp_path, GENERATION, scorer={"name": name, "stem": False})
    assert task.correct is None
    assert next(iter(scores(task, "the cat", "the cat sat"))) == name


def test_normalized_likelihood_decides_by_acc_norm(tmp_path: Path) -> None:
    assert build(tmp_path, CHOICE, scorer="normalized_choice_likelihood").choice_score == "acc_norm"


def write_module(folder: Path, name: str, text: str) -> None:
    (folder / f"{name}.py").write_text(text)


def test_a_function_beside_the_yaml_scores(tmp_path: Path) -> None:
    write_module(
        tmp_path,
        "length_scores",
        "def score(output, references):\n    return {'short': len(output) < 5, 'n': len(output)}\n",
    )
    task = build(tmp_path, GENERATION, scorer={"function": "length_scores:score", "correct": "short"})
    assert scores(task, "abc", "x") == {"short": 1.0, "n": 3.0}
    assert task.correct == "short"
    assert task.definition["function_sha256"]


def test_a_function_may_return_a_bare_number(tmp_path: Path) -> None:
    write_module(tmp_path, "bare_scores", "def score(output, references):\n    return 0.5\n")
    assert scores(build(tmp_path, GENERATION, scorer={"function": "bare_scores:score"}), "abc", "x") == {"score": 0.5}


def test_a_function_whose_deciding_score_is_not_zero_or_one_fails(tmp_path: Path) -> None:
    write_module(tmp_path, "half_scores", "def score(output, references):\n    return {'ok': 0.5}\n")
    task = build(tmp_path, GENERATION, scorer={"function": "half_scores:score", "correct": "ok"})
    with pytest.raises(ValueError, match=r"expected 0 or 1, found 0\.5"):
        scores(task, "abc", "x")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("no_such_module:score", "'no_such_module' cannot be imported"),
        ("json:no_such_name", "expected a callable 'no_such_name' in 'json'"),
        ("json", "expected 'module:callable', found 'json'"),
    ],
)
def test_a_function_that_is_not_there_is_refused(tmp_path: Path, function: str, message: str) -> None:
    assert message in refused(tmp_path, GENERATION, scorer={"function": function})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"promt": "x"}, "promt: unknown key; did you mean 'prompt'"),
        ({"prompt": ...}, "prompt: missing"),
        ({"prompt": 3}, "prompt: expected a valid string, found 3"),
        ({"scorer": ...}, "scorer: missing"),
        ({"scorer": "bleu"}, "scorer.name: expected 'choice_likelihood'"),
        (
            {"scorer": {"name": "exact_match", "regexp": "x"}},
            "scorer.regexp: unknown key; did you mean 'regex'",
        ),
        ({"scorer": {"name": "exact_match", "regex": "("}}, "regex: not a regular expression"),
        ({"scorer": {"name": "rouge1", "regex": "x"}}, "regex: only for exact_match, found with rouge1"),
        ({"scorer": {"name": "exact_match", "select": "last"}}, "select: only together with regex"),
        ({"scorer": {"name": "exact_match", "correct": "x"}}, "correct: only for function"),
        ({"scorer": "choice_likelihood"}, "choices: missing; scorer choice_likelihood needs it"),
        ({"choices": "options"}, "choices: cannot be used with scorer exact_match"),
        ({"generation": ...}, "generation: missing; scorer exact_match needs it"),
        ({"generation": {"until": "\n", "max_new_tokens": 0}}, "generation.max_new_tokens"),
        ({"generation": {"until": "\n", "max_new_tokens": "8"}}, "found '8'"),
        ({"generation": {"until": [""]}}, "generation.until.0"),
        ({"generation": {"until": "\n", "temperature": 1.0}}, "generation.temperature: unknown key"),
        ({"columns": {"unused": "X"}}, "columns.unused: no template uses this name"),
        ({"prompt": "{{ question "}, "prompt: not a Jinja template"),
        ({"name": "a/b"}, "name: expected"),
        ({"slices": "topic"}, "slices: expected a valid list, found 'topic'"),
    ],
)
def test_what_is_wrong_in_the_yaml_is_refused_with_its_key(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    found = refused(tmp_path, GENERATION, **changes)
    assert found.startswith(str(tmp_path / "mine.yaml"))
    assert message in found


def test_a_missing_yaml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a task's YAML file, found nothing there"):
        get_task(tmp_path / "mine.yaml")


def test_broken_yaml_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("prompt: x\nchoices: [a\n")
    with pytest.raises(ConfigError, match="line 3: not valid YAML"):
        get_task(path)


def test_any_change_of_the_yaml_changes_the_definition(tmp_path: Path) -> None:
    first = build(tmp_path, GENERATION).definition
    second = build(tmp_path, GENERATION, delimiter="\n").definition
    assert first != second
    json.dumps(first)


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("multiple-choice", {"question": "?", "options": ["a", "b"], "answer": "B", "topic": "t"}),
        ("number-answer", {"question": "?", "solution": "so it is 42"}),
        ("summary", {"id": 1, "ticket": "It broke.", "summary": "Broken."}),
        ("label-by-regex", {"Review Text": "Good.", "sentiment": "positive"}),
    ],
)
def test_the_example_files_work_on_the_rows_that_they_describe(name: str, row: dict[str, Any]) -> None:
    task = get_task(EXAMPLES / "tasks" / f"{name}.yaml")
    built = task.to_example(row, 0)
    assert task.name == name
    if task.score is not None:
        assert next(iter(task.score(built.target, built.reference).values())) == 1.0
