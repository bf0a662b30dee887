"""The keys of a task's YAML, validated: unknown keys, wrong types and impossible combinations are refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from muscle.tasks.own.labels import LabelKind
from muscle.tasks.scoring import ROUGE_NAMES

CHOICE_SCORERS = ("choice_likelihood", "normalized_choice_likelihood")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class LabelSettings(_Section):
    """Which column names the right choice, and how.

    Attributes:
        column: its name.
        kind: `index` (from 0), `number` (from 1), `letter` (A, B, ...), `text` (of the right choice), or `auto`, which
            takes whichever of index, letter and text fits and refuses a row where two fit.
    """

    column: str
    kind: LabelKind = "auto"


class GenerationSettings(_Section):
    """How the answer is generated; greedy.

    Attributes:
        until: the answer ends before the first of these texts.
        max_new_tokens: upper limit of its length.
        no_repeat_ngram_size: no n-gram of this many tokens twice; 0 is off.
    """

    until: Annotated[
        list[Annotated[str, Field(min_length=1)]], BeforeValidator(lambda v: [v] if isinstance(v, str) else v)
    ]
    max_new_tokens: Annotated[int, Field(ge=1)] = 256
    no_repeat_ngram_size: Annotated[int, Field(ge=0)] = 0


class ScorerSettings(_Section):
    """How an answer is scored.

    Attributes:
        name: which scorer.
        regex: for `exact_match`: what of the generated text is compared; its first group, or the whole match.
        select: for `regex`: the first or the last match.
        ignore_case: for `exact_match`.
        ignore_punctuation: for `exact_match`.
        stem: for ROUGE: compare word stems.
        function: for `function`: `module:callable`, called with the generated text and the tuple of references; returns
            a number or a mapping of names to numbers, the main score first.
        correct: for `function`: the score (0 or 1) that decides whether an answer is right; none where it is
            continuous.
    """

    name: Literal[
        "choice_likelihood",
        "normalized_choice_likelihood",
        "exact_match",
        "number_match",
        "rouge1",
        "rouge2",
        "rougeL",
        "function",
    ]
    regex: str | None = None
    select: Literal["first", "last"] = "first"
    ignore_case: bool = False
    ignore_punctuation: bool = False
    stem: bool = True
    function: str | None = None
    correct: str | None = None

    @model_validator(mode="after")
    def _possible(self) -> ScorerSettings:
        owners = {
            "regex": ("exact_match",),
            "select": ("exact_match",),
            "ignore_case": ("exact_match",),
            "ignore_punctuation": ("exact_match",),
            "stem": ROUGE_NAMES,
            "function": ("function",),
            "correct": ("function",),
        }
        for key in sorted(self.model_fields_set - {"name"}):
            if self.name not in owners[key]:
                raise ValueError(f"{key}: only for {' or '.join(owners[key])}, found with {self.name}")
        if "select" in self.model_fields_set and self.regex is None:
            raise ValueError("select: only together with regex")
        if self.name == "function" and not re.fullmatch(r"[\w.]+:\w+", self.function or ""):
            raise ValueError(f"function: expected 'module:callable', found {self.function!r}")
        if self.regex is not None:
            try:
                re.compile(self.regex)
            except (re.error, RecursionError, OverflowError) as error:
                raise ValueError(f"regex: not a regular expression: {error}") from error
        return self


def _short_scorer(value: object) -> object:
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, Mapping) and "function" in value and "name" not in value:
        return {"name": "function", **value}
    return value


class TaskSettings(_Section):
    """A task's YAML.

    Attributes:
        name: as it stands in records and reports; the file's name without its ending where it is left out.
        id: column with the item's id; its position where there is none.
        columns: template name to column, where a column's name cannot stand in a template ("Question Text").
        prompt: Jinja template of the text before the answer.
        delimiter: between prompt and answer.
        choices: a template an option, or the name of a column that holds the list of options.
        label: which option is right.
        target: Jinja template of the right answer, for generation.
        references: the name of a column with further accepted answers (a text or a list of texts).
        generation: how the answer is generated.
        scorer: how the answer is scored.
        slices: columns whose values group the items in reports.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    id: str | None = None
    columns: Mapping[str, str] = Field(default_factory=dict)
    prompt: Annotated[str, Field(min_length=1)]
    delimiter: str = " "
    choices: Annotated[list[str], Field(min_length=2)] | str | None = None
    label: Annotated[LabelSettings, BeforeValidator(lambda v: {"column": v} if isinstance(v, str) else v)] | None = None
    target: str | None = None
    references: str | None = None
    generation: GenerationSettings | None = None
    scorer: Annotated[ScorerSettings, BeforeValidator(_short_scorer)]
    slices: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _possible(self) -> TaskSettings:
        is_choice = self.scorer.name in CHOICE_SCORERS
        needed = ("choices", "label") if is_choice else ("target", "generation")
        refused = ("target", "generation", "references") if is_choice else ("choices", "label")
        kind = f"scorer {self.scorer.name}"
        for key in needed:
            if getattr(self, key) is None:
                raise ValueError(f"{key}: missing; {kind} needs it")
        for key in refused:
            if getattr(self, key) is not None:
                raise ValueError(f"{key}: cannot be used with {kind}, which needs {' and '.join(needed)}")
        return self
