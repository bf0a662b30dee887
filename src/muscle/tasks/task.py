"""What a task is: how a row of data becomes an example, and how an answer is scored.

Training and evaluation both read `Example`s, so that the text an adapter learns is the text it is scored on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from muscle.config.methods import TextsName, UnitName
from muscle.errors import ConfigError
from muscle.tasks.prompt import PLAIN, Prompt

Row = Mapping[str, object]
"""One row of a data set: column name to value."""

ScoreFunction = Callable[[str, tuple[str, ...]], Mapping[str, float]]
"""Generated text and accepted references in, named scores out; the first named score is the task's main one."""


@dataclass(frozen=True)
class Example:
    """One item of a task, ready to be trained on or asked.

    Attributes:
        id: unique within the task and split.
        context: the prompt, without the delimiter that precedes the answer.
        reference: the accepted answers; for a choice task the text of the right choice.
        target: what training appends to the context, the delimiter included (usually a space).
        choices: the options' texts without the delimiter; of a generation task its candidate answers where there are
            some (`muscle.tasks.candidates`).
        gold: index of the right choice, of candidates the number of the right answer; None where it is not known.
        delimiter: what stands between context and answer.
        slices: named groups that the item belongs to.
        answers: of candidates, for each choice the number of the answer that it gives: what is right, or reads the
            same, is one answer in several wordings. Empty where each choice is its own.
        has_special_tokens: the texts hold every special token themselves, as a chat template's do: the tokenizer adds
            none, and blanks at the context's end are the context's.
    """

    id: str
    context: str
    reference: tuple[str, ...]
    target: str
    choices: tuple[str, ...] = ()
    gold: int | None = None
    delimiter: str = " "
    slices: Mapping[str, str] = field(default_factory=dict)
    answers: tuple[int, ...] = ()
    has_special_tokens: bool = False

    @property
    def num_answers(self) -> int:
        """How many different answers its choices give."""
        return len(set(self.answers)) or len(self.choices)

    @property
    def text_key(self) -> str:
        """What the example asks, in lower case and with single spaces, its options included.

        The options belong to it: PIQA asks about one-word goals several times, each time with other solutions.
        Candidate answers, which nobody is shown, don't.
        """
        options = () if self.answers else self.choices
        return " ".join("\x1f".join((self.context, *options)).lower().split())

    @property
    def asked_key(self) -> str:
        """As `text_key`, whatever the order of the options: what was asked before is known in another order too."""
        return replace(self, choices=tuple(sorted(self.choices, key=str.lower))).text_key

    def answered(self, gold: int) -> Example:
        """Return the example of a choice task with its right choice."""
        right = self.choices[gold]
        return replace(self, gold=gold, reference=(right,), target=f"{self.delimiter}{right}")


def with_each_choice(examples: Iterable[Example]) -> tuple[Example, ...]:
    """Return for each choice of each example, an option or a candidate answer, one with that as its answer."""
    return tuple(
        replace(example.answered(number), id=f"{example.id}/{number}")
        for example in examples
        for number in range(len(example.choices))
    )


@dataclass(frozen=True)
class Generation:
    """How an answer is generated; greedily, unless it is to be sampled (`muscle.evaluation.sampling`).

    Attributes:
        until: the answer ends before the first of these strings.
        max_new_tokens: upper limit of the answer's length, in tokens.
        no_repeat_ngram_size: no n-gram of this many tokens occurs twice; 0 switches it off.
    """

    until: tuple[str, ...]
    max_new_tokens: int = 256
    no_repeat_ngram_size: int = 0


@dataclass(frozen=True)
class HubData:
    """Where a task's data stands on the Hugging Face hub; each is a source for `muscle.tasks.sources.load_rows`.

    Attributes:
        train: as `hub:name[/config]:split`.
        test: the split with public labels, in the same form.
        num_train: rows of it as they are published, for plans without the data.
        num_test: the same of the test split.
    """

    train: str
    test: str
    num_train: int
    num_test: int


@dataclass(frozen=True)
class Task:
    """A task: data rows in, examples and scores out.

    Attributes:
        name: as it stands in records and reports.
        kind: "choice" scores every option by its log-likelihood, "generation" scores generated text.
        to_example: builds an example from a row and its position (from 0) in its file.
        to_question: the same from a row without its answer: no gold, reference or target.
        choice_score: for a choice task, which score decides `correct`: "acc" takes the option with the highest
            log-likelihood, "acc_norm" divides it by the option's length in characters first.
        generation: how text is generated; None for a choice task.
        score: for a generation task, the scoring function.
        correct: for a generation task, the score (0 or 1) that decides `correct`; None where the score is
            continuous (ROUGE) and only the smooth metrics apply.
        columns: the columns that a row must have.
        definition: what the fingerprint covers: everything above as plain data.
        extract: for a generation task, reads out of the text the answer that is scored; None where it is the
            whole text.
        filter: how the answer was read out of the text, as it stands in records ("none" where there is one way).
        hub: where the task's own data stands; None where the user brings it.
        prompt: how examples are put to a model; `prompted` sets it.
    """

    name: str
    kind: Literal["choice", "generation"]
    to_example: Callable[[Row, int], Example]
    columns: tuple[str, ...]
    definition: Mapping[str, object]
    to_question: Callable[[Row, int], Example] | None = None
    choice_score: Literal["acc", "acc_norm"] = "acc"
    generation: Generation | None = None
    score: ScoreFunction | None = None
    correct: str | None = None
    extract: Callable[[str], str] | None = None
    filter: str = "none"
    hub: HubData | None = None
    prompt: Prompt = PLAIN

    def prompted(self, prompt: Prompt) -> Task:
        """Return the task with its examples put to models in another way, which its definition then names."""
        definition = {**self.definition, "prompt": prompt.identity()} if prompt != PLAIN else self.definition
        return replace(self, prompt=prompt, definition=definition)

    def source(self, part: Literal["train", "test"], given: str | None = None) -> str:
        """Return where training or test data comes from: what the user gave, or else the task's own place on the hub.

        Raises:
            ConfigError: nothing was given, and the task has no data of its own.
        """
        if given is not None:
            return given
        if self.hub is None:
            raise ConfigError(
                f"task {self.name}: {part}: missing; expected a file or hub:name[/config]:split (only the "
                "built-in tasks have data of their own)"
            )
        return self.hub.train if part == "train" else self.hub.test


def check_unit(task: Task, unit: UnitName, texts: TextsName = "reference") -> None:
    """Refuse a unit of training that a task doesn't have.

    Args:
        task: the task.
        unit: what the loss counts.
        texts: whose tokens it counts.

    Raises:
        ConfigError: options of a task whose answers are generated, or candidate answers of a choice task.
    """
    if texts == "every_option" and task.kind != "choice":
        raise ConfigError(
            f"alignment.texts: every_option needs a choice task, found {task.name}, whose answers are generated; "
            "expected reference or every_answer"
        )
    if texts == "every_answer" and task.kind != "generation":
        raise ConfigError(
            f"alignment.texts: every_answer needs a task whose answers are generated, found {task.name}, which has "
            "options; expected reference or every_option"
        )
    if unit == "options" and task.kind != "choice":
        raise ConfigError(
            f"alignment.unit: options needs a choice task, found {task.name}, whose answers are generated; expected "
            "tokens or answers"
        )
    if unit == "answers" and task.kind != "generation":
        raise ConfigError(
            f"alignment.unit: answers needs a task whose answers are generated, found {task.name}, which has options; "
            "expected tokens or options"
        )
