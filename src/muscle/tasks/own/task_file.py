"""A task of the user's own, as a short YAML file (docs/tasks.md shows every key).

Templates are Jinja in a sandbox: a file that came from elsewhere cannot reach Python through them. A name that is no
column, and an empty field (null), is an error, never the text "None". The one way to run code is `function`, which the
user's own YAML names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, meta
from jinja2.sandbox import SandboxedEnvironment

from muscle.errors import ConfigError, DataError
from muscle.tasks.fields import found, read_column, read_id, read_texts
from muscle.tasks.own.labels import read_gold
from muscle.tasks.own.scorers import (
    built_in_extract,
    built_in_score,
    function_score,
    import_function,
    source_sha256,
)
from muscle.tasks.own.settings import CHOICE_SCORERS, GenerationSettings, TaskSettings
from muscle.tasks.task import Example, Generation, Row, ScoreFunction, Task
from muscle.yaml_files import UserYaml, read_yaml


def load_task(path: Path) -> Task:
    """Read a task's YAML.

    Raises:
        ConfigError: the file is missing or no YAML, a key is unknown or of the wrong type, a combination is impossible,
            a template is broken, or the scoring function cannot be imported.
    """
    written = read_yaml(path, missing="expected a task's YAML file, found nothing there")
    settings = written.validate(TaskSettings, name=path.stem)
    templates = _Templates(settings, written)
    scorer = settings.scorer
    definition: dict[str, object] = {"task": settings.name, "yaml": settings.model_dump()}
    score: ScoreFunction | None = None
    if scorer.name == "function":
        place = written.at("scorer", "function")
        function = import_function(scorer.function or "", path.resolve().parent, place)
        definition["function_sha256"] = source_sha256(function)
        score = function_score(function, scorer.correct)
    elif scorer.name not in CHOICE_SCORERS:
        score = built_in_score(scorer)
    correct = {"exact_match": "exact_match", "number_match": "number_match"}.get(scorer.name, scorer.correct)
    return Task(
        name=settings.name,
        kind="generation" if settings.generation else "choice",
        to_example=templates.example,
        to_question=templates.question,
        columns=templates.columns,
        definition=definition,
        choice_score="acc_norm" if scorer.name == "normalized_choice_likelihood" else "acc",
        generation=_generation(settings.generation),
        score=score,
        correct=correct,
        extract=built_in_extract(scorer),
    )


def _generation(settings: GenerationSettings | None) -> Generation | None:
    if settings is None:
        return None
    return Generation(
        until=tuple(settings.until),
        max_new_tokens=settings.max_new_tokens,
        no_repeat_ngram_size=settings.no_repeat_ngram_size,
    )


class _Templates:
    """The compiled templates of a task, and the examples they make of rows."""

    def __init__(self, settings: TaskSettings, written: UserYaml) -> None:
        self._settings = settings
        self._written = written
        self._environment = SandboxedEnvironment(
            undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False, finalize=_refuse_null
        )
        self._names: set[str] = set()
        self._prompt = self._compile("prompt", settings.prompt)
        self._target = None if settings.target is None else self._compile("target", settings.target)
        options = settings.choices if isinstance(settings.choices, list) else []
        self._choices = [self._compile("choices", text, index) for index, text in enumerate(options)]
        unused = set(settings.columns) - self._names
        if unused:
            raise ConfigError(
                f"{written.at('columns', min(unused))}: no template uses this name; they use {sorted(self._names)}"
            )
        self.columns = self._needed_columns()

    def _compile(self, key: str, text: str, *index: int) -> Template:
        try:
            self._names |= meta.find_undeclared_variables(self._environment.parse(text))
            return self._environment.from_string(text)
        except TemplateSyntaxError as error:
            raise ConfigError(
                f"{self._written.at(key, *index)}: not a Jinja template: {error.message} (line {error.lineno} of it)"
            ) from error

    def _needed_columns(self) -> tuple[str, ...]:
        settings = self._settings
        named = [settings.columns.get(name, name) for name in sorted(self._names)]
        listed = [settings.choices] if isinstance(settings.choices, str) else []
        others = [
            settings.id,
            settings.label and settings.label.column,
            settings.references,
            *settings.slices,
        ]
        return tuple(dict.fromkeys([*named, *listed, *(name for name in others if name)]))

    def example(self, row: Row, position: int) -> Example:
        """Build an example; raises DataError with the key or field that does not fit."""
        question, label = self.question(row, position), self._settings.label
        if self._target is not None:
            target = self._render("target", self._target, self._values(row))
            return replace(
                question,
                reference=(target, *self._references(row)),
                target=self._settings.delimiter + target,
            )
        assert label is not None, "a choice task has a label"
        return question.answered(read_gold(row, label.column, question.choices, label.kind))

    def question(self, row: Row, position: int) -> Example:
        """Build an example without its answer; raises DataError with the key or field that does not fit."""
        settings, values = self._settings, self._values(row)
        return Example(
            id=read_id(row, position, settings.id or "id") if settings.id else str(position),
            context=self._render("prompt", self._prompt, values),
            reference=(),
            target="",
            choices=() if self._target is not None else self._options(row, values),
            delimiter=settings.delimiter,
            slices={name: str(row[name]) for name in settings.slices if read_column(row, name) is not None},
        )

    def _values(self, row: Row) -> dict[str, object]:
        # A column may be named in the YAML for what Jinja cannot name, such as "Question Text".
        return {**row, **{name: row.get(column) for name, column in self._settings.columns.items()}}

    def _options(self, row: Row, values: Mapping[str, object]) -> tuple[str, ...]:
        if isinstance(self._settings.choices, str):
            return read_texts(row, self._settings.choices)
        return tuple(self._render(f"choices.{index}", template, values) for index, template in enumerate(self._choices))

    def _references(self, row: Row) -> tuple[str, ...]:
        name = self._settings.references
        if name is None:
            return ()
        value = row[name]
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
            raise DataError(f"field {name!r}: expected a text or a list of texts, found {found(value)}")
        return tuple(texts)

    def _render(self, key: str, template: Template, values: Mapping[str, object]) -> str:
        try:
            text = template.render(values)
        except _NullFieldError as error:
            empty = sorted(name for name in self._names if values.get(name) is None)
            raise DataError(f"{key}: expected a value in every field, found null in {empty}") from error
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, OverflowError) as error:
            raise DataError(f"{key}: the template cannot be filled in: {error}") from error
        if not text.strip():
            raise DataError(f"{key}: expected text, found an empty one")
        return text


class _NullFieldError(Exception):
    """A template would write the text "None"."""


def _refuse_null(value: object) -> object:
    if value is None:
        raise _NullFieldError
    return value
