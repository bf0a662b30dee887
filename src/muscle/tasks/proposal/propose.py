"""From a file of rows to the YAML of a task, with what speaks for each choice."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from muscle.errors import ConfigError
from muscle.foreign_text import listing
from muscle.predictions.plain.known_names import IDS, plain_name
from muscle.predictions.records import all_names
from muscle.tasks.proposal.answers import AnswerForm, answer_form
from muscle.tasks.proposal.columns import Columns, Options, find_columns, reference
from muscle.tasks.sources import SourceRow
from muscle.tasks.task import Row

FIELDS = ("input", "answer", "id")
"""What the user may name a column for."""
_PLAIN_ANSWERS = (
    *("target", "expected", "expected_output", "reference", "completion", "response", "output", "answers", "gold"),
    *("ground_truth", "correct_answer", "expected_answer", "label_text", "label_name", "ideal", "references"),
)
_WHOLE_PROMPTS = ("prompt", "instruction", "input")
_LONGER = 1.5
"""Options whose longest is so many times the shortest, in the middle, are compared by their length."""


@dataclass(frozen=True)
class Proposal:
    """A task's YAML and why it is so.

    Attributes:
        name: the task's.
        text: the YAML.
        reasons: what was seen and taken, a sentence each.
        hints: keys of an update.yaml that suit these rows.
    """

    name: str
    text: str
    reasons: tuple[str, ...]
    hints: tuple[str, ...] = ()


@dataclass
class _Yaml:
    """Lines of the file, as they come together."""

    task: str
    lines: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)

    def speak_of(self, column: str) -> str:
        """Return a column's name in templates; one that cannot stand there is listed."""
        name = reference(column)
        if name != column:
            self.names[name] = column
        return name

    def add(self, key: str, value: object, remark: str = "") -> None:
        """Add a key; JSON is YAML."""
        line = f"{key}: {value if isinstance(value, _Bare) else json.dumps(value, ensure_ascii=False)}"
        self.lines.append(f"{line:<32}  # {remark}" if remark else line)


class _Bare(str):
    """A word or a mapping that is written without quotes."""


def propose(
    path: Path, rows: Sequence[SourceRow], *, columns: Mapping[str, str] | None = None, out: Path | None = None
) -> Proposal:
    """Propose a task for a file of rows.

    Args:
        path: the file.
        rows: its rows.
        columns: columns as the user names them: `input`, `answer`, `id`.
        out: the task's file, which names it; that of the rows where there is none yet.

    Raises:
        ConfigError: a column that is named is not there, or no name tells what is asked or which is the answer; the
            message ends in a command that does.
    """
    read = [source.row for source in rows]
    given = dict(columns or {})
    _check_named(read, given)
    found = find_columns(read, given)
    _refuse_what_cannot_be_told(path, read, found, given, out)
    written = _Yaml(_named_after(out or path))
    reasons = [f"asked: {listing(found.inputs)}"] if found.inputs else []
    if found.chat:
        return _of_chats(path, read, found.chat, written)
    prompt, head = _prompt(read, found, written)
    written.add("prompt", prompt)
    if found.options:
        reasons += _from_options(read, found.options, written)
    else:
        assert found.answer is not None, "refused above"
        reasons += _from_answers(read, found.answer, head, written)
    if found.slices:
        written.add("slices", list(found.slices), "columns of few values: they group the items in reports")
    if found.unused:
        reasons.append(f"not used: {listing(found.unused)}")
    return _finished(path, found.id, written, reasons, len(rows), ())


def _check_named(rows: Sequence[Row], given: Mapping[str, str]) -> None:
    names = all_names(rows)
    for ours, theirs in given.items():
        if ours not in FIELDS:
            raise ConfigError(f"--column {ours}={theirs}: expected {', '.join(FIELDS)}, found {ours!r}")
        for name in theirs.split(",") if ours == "input" else [theirs]:
            if name.strip() not in names:
                raise ConfigError(f"--column {ours}={theirs}: expected a column of {listing(names)}, found {name!r}")


def _refuse_what_cannot_be_told(
    path: Path, rows: Sequence[Row], found: Columns, given: Mapping[str, str], out: Path | None
) -> None:
    names = all_names(rows)
    knows_answer = bool(found.answer or found.options or found.chat)
    if knows_answer and (found.inputs or found.chat):
        return
    free = [name for name in names if plain_name(name) not in IDS and name not in (*given.values(), *found.inputs)]
    free = [name for name in free if name != found.answer] or names
    missing = {} if knows_answer else {"answer": _likely_answer(rows, free)}
    if not found.inputs:
        missing["input"] = _wordiest(rows, [name for name in free if name not in missing.values()] or free)
    said = [word for ours, theirs in {**given, **missing}.items() for word in ("--column", f"{ours}={theirs}")]
    if out is not None and out != Path(f"{path.stem}.yaml"):
        said += ["--out", str(out)]
    raise ConfigError(
        f"{path}: no column's name tells which is the {' and which the '.join(missing)} (columns: {listing(names)}); "
        f"say it, for example: {shlex.join(['muscle', 'init', '--task', str(path), *said])}"
    )


def _likely_answer(rows: Sequence[Row], names: Sequence[str]) -> str:
    """Return the column with the most values among those whose values come back; the last one if none do."""
    values = {name: {str(row.get(name)) for row in rows} for name in names}
    labels = [name for name in names if 1 < len(values[name]) <= len(rows) / 2]
    return max(labels, key=lambda name: len(values[name]), default=names[-1])


def _wordiest(rows: Sequence[Row], names: Sequence[str]) -> str:
    """Return the column with the longest texts."""
    return max(names, key=lambda name: sum(len(str(row.get(name) or "")) for row in rows))


def _prompt(rows: Sequence[Row], found: Columns, written: _Yaml) -> tuple[str, str]:
    """Return the prompt's template, and what it begins with."""
    names = [written.speak_of(name) for name in found.inputs]
    alone = len(names) == 1 and plain_name(found.inputs[0]) in _WHOLE_PROMPTS
    if alone and any(len(str(row.get(found.inputs[0]))) > 200 or "\n" in str(row.get(found.inputs[0])) for row in rows):
        return f"{{{{ {names[0]} }}}}", _title(found.inputs[0])  # a whole prompt already
    parts = []
    for column, name in zip(found.inputs, names, strict=True):
        part = f"{_title(column)}: {{{{ {name} }}}}\n"
        lacks = any(row.get(column) in (None, "") for row in rows)
        parts.append(f"{{% if {name} %}}{part}{{% endif %}}" if lacks else part)
    answer = found.answer or ""
    last = "Answer" if not answer or plain_name(answer) in _PLAIN_ANSWERS else _title(answer)
    return f"{''.join(parts)}{last}:", f"{_title(found.inputs[0])}:"


def _title(column: str) -> str:
    words = re.sub(r"[_\-.]+", " ", column).strip()
    return _literal(words[:1].upper() + words[1:])


def _literal(text: str) -> str:
    """Return a template that writes a text, whatever stands in it."""
    return f"{{{{ {json.dumps(text, ensure_ascii=False)} }}}}" if re.search(r"\{[{%#]", text) else text


def _from_options(rows: Sequence[Row], options: Options, written: _Yaml) -> list[str]:
    templates = options.templates
    if isinstance(templates, str):
        written.add("choices", templates, "the column with the list of options")
    else:
        written.add("choices", list(templates), "a template an option")
    written.add("label", _Bare(json.dumps({"column": options.label, "kind": options.kind}, ensure_ascii=False)))
    lengths = _option_lengths(rows, options)
    uneven = bool(lengths) and sorted(lengths)[len(lengths) // 2] > _LONGER
    scorer, other = ("normalized_choice_likelihood", "choice_likelihood: not")
    if not uneven:
        scorer, other = ("choice_likelihood", "normalized_choice_likelihood:")
    written.add("scorer", _Bare(scorer), f"{other} divided by an option's length in characters")
    kinds = {
        "index": "counts from 0",
        "number": "counts from 1",
        "letter": "is a letter",
        "text": "is an option's text",
    }
    reasons = [f"each row has its own options, and {options.label!r} says which is right (it {kinds[options.kind]})"]
    if uneven:
        reasons.append("the options of an item differ much in length, so that likelihoods are divided by it")
    return [*reasons, *([f"check this: {options.doubt}"] if options.doubt else [])]


def _option_lengths(rows: Sequence[Row], options: Options) -> list[float]:
    """Return of each row the longest option's length, as a multiple of the shortest."""
    ratios = []
    for row in rows:
        if isinstance(options.templates, str):
            value = row.get(options.templates)
            texts = [str(each) for each in value] if isinstance(value, Sequence) else []
        else:
            names = {reference(name): name for name in row}
            texts = [
                str(row.get(names.get(found[0], ""))) for t in options.templates if (found := re.findall(r"\w+", t))
            ]
        sizes = [len(text) for text in texts if text]
        ratios += [max(sizes) / min(sizes)] if sizes else []
    return ratios


def _from_answers(rows: Sequence[Row], answer: str, head: str, written: _Yaml) -> list[str]:
    name = reference(answer)
    values = [row.get(answer) for row in rows]
    there = [value for value in values if value not in (None, "", [])]
    lists = [value for value in there if isinstance(value, list)]
    template = f"{{{{ {name} }}}}"
    if lists:
        template = f"{{{{ {name}[0] }}}}"
        texts = [str(value[0]) for value in lists]
    elif all(isinstance(value, bool) for value in there):
        template, texts = f"{{{{ 'yes' if {name} else 'no' }}}}", ["yes" if value else "no" for value in there]
    else:
        texts = [str(value) for value in there]
    if any(text != text.strip() for text in texts):
        template = template.replace(" }}", " | trim }}")
    form = answer_form(texts or [""], head=head)
    kind = _label_kind(form.labels, there)
    if form.kind == "labels" and kind and not lists:
        return _few_labels(answer, form, kind, written)
    written.speak_of(answer)
    _generated(template, form, written)
    if lists:
        written.add("references", answer, "all texts of the list are accepted")
    return [f"answer: {answer!r}; {form.reason}, so {_in_words(form)}"]


def _label_kind(labels: Sequence[str], values: Sequence[object]) -> str | None:
    """Return how such values name one of the labels in their sorted order; None where they don't."""
    if all(isinstance(value, str) for value in values):
        return "text"
    if any(not isinstance(value, int) or isinstance(value, bool) for value in values):
        return None
    numbers = sorted(int(label) for label in labels)
    return {0: "index", 1: "number"}.get(numbers[0]) if numbers == list(range(numbers[0], numbers[-1] + 1)) else None


def _few_labels(answer: str, form: AnswerForm, kind: str, written: _Yaml) -> list[str]:
    labels = list(form.labels) if kind == "text" else sorted(form.labels, key=int)
    order = "the labels, the most frequent first" if kind == "text" else "in the order of their numbers"
    written.add("choices", [_literal(label) for label in labels], order)
    written.add("label", _Bare(json.dumps({"column": answer, "kind": kind}, ensure_ascii=False)))
    written.add("scorer", _Bare("choice_likelihood"), "the label that the model finds likeliest is its answer")
    reasons = [f"answer: {answer!r}; {form.reason}, so a classification: the labels are the options of every item"]
    spellings: dict[str, list[str]] = {}
    for label in form.labels:
        spellings.setdefault(label.strip().lower(), []).append(label)
    twice = [label for group in spellings.values() for label in group if len(group) > 1]
    if twice:
        told = f"differ in capitals alone and would be options of their own: {listing(sorted(twice, key=str.lower))}"
        reasons.append(f"look at the data first: some labels {told}; write them alike, then propose again")
    if kind != "text":
        reasons.append("the labels are numbers: words in their place (in `choices`, in this order) tell a model more")
    return reasons


def _generated(template: str, form: AnswerForm, written: _Yaml) -> None:
    written.add("target", template, "what is learnt, and the reference")
    limits = f"{{until: {json.dumps(list(form.until))}, max_new_tokens: {form.max_new_tokens}}}"
    written.add("generation", _Bare(limits))
    match form.kind:
        case "worked number" | "number":
            written.add("scorer", _Bare("number_match"), "the last number of the answer is the reference's")
        case "long text":
            written.add("scorer", _Bare("rouge1"), "or rouge2, rougeL, or a function of your own (docs/tasks.md)")
        case _:
            written.add("scorer", _Bare("{name: exact_match, ignore_case: true, ignore_punctuation: true}"))


def _in_words(form: AnswerForm) -> str:
    return {
        "worked number": "the solution is generated and its last number counts",
        "number": "it is generated and compared as a number",
        "long text": "it is generated and compared by ROUGE-1, a score and no yes or no",
        "short text": "it is generated and compared as a text, case and punctuation aside",
        "labels": "it is generated and compared as a text",
    }[form.kind]


def _of_chats(path: Path, rows: Sequence[Row], column: str, written: _Yaml) -> Proposal:
    """Propose a task for rows that are conversations: the last message is the answer, those before it are asked."""
    chats = [chat for row in rows if isinstance(chat := row.get(column), list) and chat]
    key, who = ("content", "role") if "content" in chats[0][-1] else ("value", "from")
    name = written.speak_of(column)
    systems = {str(chat[0].get(key)) for chat in chats if chat[0].get(who) == "system"}
    turns = max(sum(message.get(who) != "system" for message in chat) for chat in chats)
    if turns > 2:
        one = f"{{{{ m['{who}'] }}}}: {{{{ m['{key}'] }}}}\n"
        asked = f"{{% for m in {name}[:-1] if m['{who}'] != 'system' %}}{one}{{% endfor %}}"
        written.add("prompt", f"{asked}{_literal(str(chats[0][-1].get(who, 'assistant')))}:")
    else:
        written.add("prompt", f"{{{{ {name}[-2]['{key}'] }}}}")
    form = answer_form([str(chat[-1].get(key, "")) for chat in chats], head="user:")
    _generated(f"{{{{ {name}[-1]['{key}'] | trim }}}}", form, written)
    reasons = [
        f"each row is a conversation in {column!r}: its last message is the answer",
        f"{form.reason}, so {_in_words(form)}",
    ]
    if form.kind == "labels":
        reasons.append(
            "with the label in a column of its own it would be a classification, which this product does best"
        )
    hints = ["prompt.chat_template: true, for bases that were tuned for chat"]
    if len(systems) == 1:
        hints.append(f"prompt.system: {json.dumps(systems.pop(), ensure_ascii=False)}")
    elif systems:
        reasons.append("check this: the system messages differ from row to row and are not read")
    return _finished(path, None, written, reasons, len(rows), tuple(hints))


def _named_after(file: Path) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", file.stem).strip("-._") or "task"


def _finished(
    path: Path, id_: str | None, written: _Yaml, reasons: Sequence[str], num_rows: int, hints: tuple[str, ...]
) -> Proposal:
    head = [f"# Proposed by `muscle init --task {path.name}` from its {num_rows:,} rows; every key: docs/tasks.md"]
    head += [f"# - {' '.join(reason.split())}" for reason in reasons]
    head.append(f"name: {json.dumps(written.task)}")
    if id_ is not None:
        head.append(f"id: {json.dumps(id_, ensure_ascii=False)}")
    if written.names:
        head.append(f"columns: {json.dumps(written.names, ensure_ascii=False)}")
    return Proposal(written.task, "\n".join([*head, *written.lines]) + "\n", tuple(reasons), hints)
