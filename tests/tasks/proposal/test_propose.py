"""Rows as people write them become the task that a person would have written, and the file says why."""

import json
import shlex
from pathlib import Path

import pytest

from helpers.command_line import muscle
from muscle import get_task
from muscle.errors import ConfigError, DataError
from muscle.tasks import load_examples
from muscle.tasks.proposal.propose import propose
from muscle.tasks.proposal.start import start_task
from muscle.tasks.sources import load_rows
from muscle.yaml_files import read_yaml

TEAMS = ("billing", "tech support", "sales")


def write(folder: Path, rows: list[dict[str, object]], name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def started(folder: Path, rows: list[dict[str, object]], **columns: str):
    """Propose, write, and read the rows back by what was written: the task, its examples, its keys, what was said."""
    path = write(folder, rows)
    out = folder / "rows.yaml"
    said = start_task(path, out, columns=columns, force=True)
    task = get_task(out)
    return task, load_examples(task, path), read_yaml(out).values, "\n".join(said)


def tickets(count: int = 60) -> list[dict[str, object]]:
    return [
        {
            "id": f"t{n}",
            "ticket": f"My order {n} did not arrive, and I want to talk to somebody.",
            "team": TEAMS[n % 3],
            "language": ("en", "de")[n % 2],
            "created": f"2026-01-01T{n}",
        }
        for n in range(count)
    ]


def test_a_few_labels_are_a_classification_whose_options_they_are(tmp_path):
    task, examples, keys, said = started(tmp_path, tickets())
    assert task.kind == "choice"
    assert sorted(examples[1].choices) == sorted(TEAMS)
    assert examples[1].reference == ("tech support",) and examples[1].target == " tech support"
    assert examples[1].context.endswith("talk to somebody.\nTeam:")
    assert (examples[1].id, dict(examples[1].slices)) == ("t1", {"language": "de"})
    assert keys["scorer"] == "choice_likelihood"
    assert "3 different in 60 rows: a few labels" in " ".join(said.split())
    assert "not used: created" in said


def test_labels_that_differ_in_capitals_alone_are_told(tmp_path):
    rows = [row | {"team": row["team"].title() if n % 2 else row["team"]} for n, row in enumerate(tickets())]
    said = " ".join(started(tmp_path, rows)[3].split())
    assert "differ in capitals alone and would be options of their own: " in said
    assert all(team in said for team in (*TEAMS, *(team.title() for team in TEAMS)))
    assert "capitals" not in started(tmp_path, tickets())[3]


def test_labels_that_are_numbers_keep_their_order_whatever_they_count_from(tmp_path):
    for first, kind in ((0, "index"), (1, "number")):
        rows = [{"text": f"it was fine {n}", "label": first + n % 4} for n in range(40)]
        _, examples, keys, said = started(tmp_path, rows)
        assert keys["label"] == {"column": "label", "kind": kind}
        assert [example.target.strip() for example in examples[:4]] == [str(first + n) for n in range(4)]
        assert "the labels are numbers" in said


def test_words_beside_the_numbers_are_the_labels(tmp_path):
    rows = [{"text": f"it was {n}", "label": n % 2, "label_text": ("bad", "good")[n % 2]} for n in range(40)]
    _, examples, _, _ = started(tmp_path, rows)
    assert examples[1].reference == ("good",)


def test_truth_values_are_written_as_words(tmp_path):
    rows = [{"text": f"it was {n}", "label": n % 2 == 0} for n in range(40)]
    _, examples, _, _ = started(tmp_path, rows)
    assert [example.reference for example in examples[:2]] == [("yes",), ("no",)]


@pytest.mark.parametrize(
    ("columns", "label", "kind"),
    [
        (lambda n: {"choices": [f"a{n}", f"b{n}", f"c{n}"], "answer": n % 3}, "answer", "index"),
        (lambda n: {"options": [f"a{n}", f"b{n}", f"c{n}"], "answer": 1 + n % 3}, "answer", "number"),
        (lambda n: {"A": f"a{n}", "B": f"b{n}", "C": f"c{n}", "answer": "ABC"[n % 3]}, "answer", "letter"),
        (lambda n: {"option_a": f"a{n}", "option_b": f"b{n}", "option_c": f"c{n}", "answer": "abc"[n % 3] + str(n)},
         "answer", "text"),
        (lambda n: {"ending0": f"a{n}", "ending1": f"b{n}", "ending2": f"c{n}", "label": str(n % 3)}, "label", "index"),
        (lambda n: {"choices": {"text": [f"a{n}", f"b{n}", f"c{n}"], "label": [*"ABC"]}, "answerKey": "ABC"[n % 3]},
         "answerKey", "letter"),
    ],
    ids=["list", "from 1", "columns", "text", "endings", "ARC"],
)  # fmt: skip
def test_options_of_an_item_are_found_in_every_form(tmp_path, columns, label, kind):
    rows = [{"question": f"What is {n}?", **columns(n)} for n in range(30)]
    task, examples, keys, _ = started(tmp_path, rows)
    assert task.kind == "choice" and keys["label"] == {"column": label, "kind": kind}
    for n, example in enumerate(examples):
        assert example.choices == (f"a{n}", f"b{n}", f"c{n}")
        assert example.reference == ("abc"[n % 3] + str(n),)
    assert examples[0].context == "Question: What is 0?\nAnswer:"


def test_the_right_answer_beside_distractors_is_one_of_the_options(tmp_path):
    rows = [
        {"question": f"q{n}?", "correct_answer": f"r{n}", "distractor1": f"a{n}", "distractor2": f"b{n}"}
        for n in range(9)
    ]
    _, examples, _, _ = started(tmp_path, rows)
    assert examples[4].choices == ("r4", "a4", "b4") and examples[4].reference == ("r4",)


def test_a_pair_of_sentences_is_no_pair_of_options(tmp_path):
    rows = [{"sentence1": f"A {n}", "sentence2": f"B {n}", "label": n % 2} for n in range(40)]
    _, examples, keys, _ = started(tmp_path, rows)
    assert keys["choices"] == ["0", "1"]
    assert examples[3].context == "Sentence1: A 3\nSentence2: B 3\nLabel:"


def test_labels_that_may_count_from_0_or_1_are_told_to_be_checked(tmp_path):
    rows = [{"question": f"q{n}", "choices": ["a", "b", "c", "d"], "answer": 1 + n % 2} for n in range(20)]
    _, _, keys, said = started(tmp_path, rows)
    assert keys["label"]["kind"] == "index"
    assert "check this: no row tells whether 'answer' counts from 0 or from 1" in " ".join(said.split())


def test_options_of_very_unlike_lengths_are_compared_by_character(tmp_path):
    rows = [{"question": f"q{n}", "choices": ["yes", "only where it rains a lot"], "answer": n % 2} for n in range(20)]
    assert started(tmp_path, rows)[2]["scorer"] == "normalized_choice_likelihood"


def test_worked_solutions_are_scored_by_their_last_number(tmp_path):
    worked = "She adds both of them, first this and then that."
    for end in ("\n#### {}", " In all that makes {}"):
        rows = [{"question": f"Ann has {n} and gets two?", "answer": worked + end.format(n + 2)} for n in range(30)]
        task, examples, keys, _ = started(tmp_path, rows)
        assert keys["scorer"] == "number_match"
        assert task.score("... so it is 5", examples[3].reference) == {"number_match": 1.0}
        assert task.score("... so it is 6", examples[3].reference) == {"number_match": 0.0}


def test_long_references_are_generated_and_scored_by_rouge(tmp_path):
    text = "Person {} greets the other one\nand both of them talk about their day for a while."
    rows = [{"dialogue": f"A: hi {n}\nB: hello", "summary": text.format(n)} for n in range(30)]
    task, examples, keys, _ = started(tmp_path, rows)
    assert keys["scorer"] == "rouge1" and task.correct is None
    assert task.generation.until == ("\n\n",) and task.generation.max_new_tokens == 32
    assert examples[0].context == "Dialogue: A: hi 0\nB: hello\nSummary:"


def test_short_answers_with_several_wordings_are_compared_as_texts(tmp_path):
    rows = [
        {"question": f"Which city is {n}?", "context": f"C{n}.", "answers": [f"Paris {n}", f"paris, {n}"]}
        for n in range(30)
    ]
    task, examples, _, _ = started(tmp_path, rows)
    assert examples[2].reference == ("Paris 2", "Paris 2", "paris, 2")
    assert task.score("PARIS, 2.", examples[2].reference) == {"exact_match": 1.0}


def test_an_instruction_may_come_with_an_input_or_without(tmp_path):
    rows = [{"instruction": f"Say {n}", "input": "" if n % 2 else "bonjour", "output": f"hello {n}"} for n in range(30)]
    _, examples, _, _ = started(tmp_path, rows)
    assert examples[0].context == "Instruction: Say 0\nInput: bonjour\nAnswer:"
    assert examples[1].context == "Instruction: Say 1\nAnswer:"


def test_a_whole_prompt_stays_as_it_is_and_a_completions_blanks_go(tmp_path):
    rows = [{"prompt": f"Sort this.\n\nText: {n}\nLabel:", "completion": f" word{n}"} for n in range(30)]
    _, examples, _, _ = started(tmp_path, rows)
    assert (examples[0].context, examples[0].target) == ("Sort this.\n\nText: 0\nLabel:", " word0")


@pytest.mark.parametrize(
    ("who", "what", "column"), [("role", "content", "messages"), ("from", "value", "conversations")]
)
def test_conversations_end_in_their_answer(tmp_path, who, what, column):
    def chat(n: int) -> list[dict[str, str]]:
        turns = (("system", "Be brief."), ("user", f"Name {n}"), ("assistant", f"n{n}"))
        return [{who: speaker, what: text} for speaker, text in turns]

    _, examples, _, said = started(tmp_path, [{column: chat(n)} for n in range(30)])
    assert (examples[3].context, examples[3].target) == ("Name 3", " n3")
    assert "prompt.chat_template: true" in said and 'prompt.system: "Be brief."' in said


def test_longer_conversations_are_asked_whole(tmp_path):
    turns = [("user", "Hi"), ("assistant", "Hello"), ("user", "Name a fruit")]
    rows = [
        {"messages": [{"role": r, "content": c} for r, c in (*turns, ("assistant", f"pear{n}"))]} for n in range(30)
    ]
    _, examples, _, _ = started(tmp_path, rows)
    assert examples[0].context == "user: Hi\nassistant: Hello\nuser: Name a fruit\nassistant:"


def test_columns_whose_names_cannot_stand_in_a_template_get_one(tmp_path):
    path = tmp_path / "stars.csv"
    path.write_text("Review Text,rating\n" + "".join(f'"it was, well, {n}",{1 + n % 5}\n' for n in range(50)))
    start_task(path, tmp_path / "stars.yaml", columns={}, force=False)
    task = get_task(tmp_path / "stars.yaml")
    example = load_examples(task, path)[1]
    assert (example.context, example.reference) == ("Review Text: it was, well, 1\nRating:", ("2",))


def test_where_no_name_tells_the_message_ends_in_a_command_that_does(tmp_path):
    rows = [{"foo": f"text {n} here", "bar": f"more text {n}", "kind of": TEAMS[n % 3]} for n in range(30)]
    path = write(tmp_path, rows)
    with pytest.raises(ConfigError) as refused:
        propose(path, load_rows(path))
    said = str(refused.value)
    assert "(columns: foo, bar, kind of)" in said
    assert said.endswith(f"muscle init --task {path} --column 'answer=kind of' --column input=foo")
    with pytest.raises(ConfigError) as refused:
        propose(path, load_rows(path), columns={"answer": "kind of"})
    assert str(refused.value).endswith("--column 'answer=kind of' --column input=foo")
    _, examples, _, _ = started(tmp_path, rows, answer="kind of", input="foo,bar")
    assert examples[1].context == "Foo: text 1 here\nBar: more text 1\nKind of:"


def test_a_column_that_is_not_there_is_refused(tmp_path):
    path = write(tmp_path, tickets())
    with pytest.raises(ConfigError, match=r"--column answer=teams: expected a column of id, ticket, .*found 'teams'"):
        propose(path, load_rows(path), columns={"answer": "teams"})
    with pytest.raises(ConfigError, match="--column label=team: expected input, answer, id, found 'label'"):
        propose(path, load_rows(path), columns={"label": "team"})


def test_rows_that_lack_an_answer_are_counted_with_the_first_of_them(tmp_path):
    rows = tickets()
    rows[7]["team"] = None
    path = write(tmp_path, rows)
    said = " ".join("\n".join(start_task(path, tmp_path / "a.yaml", columns={}, force=False)).split())
    assert "1 of 60 rows cannot be read so, which training refuses; the first:" in said and "line 8" in said


def test_an_existing_file_is_kept_and_an_empty_one_refused(tmp_path):
    path = write(tmp_path, tickets())
    (tmp_path / "a.yaml").write_text("mine\n")
    with pytest.raises(ConfigError, match=r"a.yaml: exists already; --force replaces it"):
        start_task(path, tmp_path / "a.yaml", columns={}, force=False)
    assert (tmp_path / "a.yaml").read_text() == "mine\n"
    with pytest.raises(DataError, match="found an empty file"):
        start_task(write(tmp_path, [], "b.jsonl"), tmp_path / "b.yaml", columns={}, force=False)


def test_hostile_labels_and_names_stay_texts(tmp_path):
    labels = ("{{ 7 * 7 }}", "# a: b", '"]')
    rows = [{"text": f"it was {n}", "label": labels[n % 3]} for n in range(30)]
    _, examples, _, _ = started(tmp_path, rows)
    assert sorted(examples[0].choices) == sorted(labels)
    assert [example.reference[0] for example in examples[:3]] == list(labels)


def test_the_command_writes_the_file_beside_the_user_and_the_message_s_command_runs(tmp_path):
    rows = [{"foo": f"text {n} here", "bar": f"more text {n}", "kind of": TEAMS[n % 3]} for n in range(30)]
    write(tmp_path, rows)
    refused = muscle("init", "--task", "rows.jsonl", cwd=tmp_path)
    assert refused.code == 3
    words = shlex.split(refused.last.partition("for example: muscle ")[2])
    done = muscle(*words, cwd=tmp_path)
    assert done.code == 0 and done.out.startswith("wrote rows.yaml\n")
    assert all(len(line) <= 80 for line in done.out.split("Next,")[0].splitlines())
    assert get_task(tmp_path / "rows.yaml").kind == "choice"
    assert muscle(*words, "--out", "other.yaml", cwd=tmp_path).out.startswith("wrote other.yaml\n")
    assert [get_task(tmp_path / f"{name}.yaml").name for name in ("rows", "other")] == ["rows", "other"]
    assert "--out b.yaml: expected one file to write, found a.yaml" in muscle("init", "a.yaml", "-o", "b.yaml").last
    assert "only read with --task" in muscle("init", "--column", "answer=a", cwd=tmp_path).last


def test_the_column_that_is_proposed_is_a_label_and_not_a_language_and_what_is_asked_a_text_and_not_a_number(tmp_path):
    rows = [
        {
            "No.": f"T-{n}",
            "Text (raw)": f"please help me {n}",
            "Queue / team": TEAMS[n % 3],
            "lang": "de" if n % 4 else "en",
        }
        for n in range(30)
    ]
    path = write(tmp_path, rows)
    both = r"--column 'answer=Queue / team' --column 'input=Text \(raw\)' --out tasks/mine.yaml$"
    with pytest.raises(ConfigError, match=f"which is the answer and which the input .*{both}"):
        propose(path, load_rows(path), out=Path("tasks/mine.yaml"))
    with pytest.raises(ConfigError, match=r"--column 'input=Text \(raw\)'$"):
        propose(path, load_rows(path), columns={"answer": "Queue / team"})
