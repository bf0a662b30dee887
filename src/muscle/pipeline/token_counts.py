"""The tokens that stages read, counted with the bases' own tokenizers: as texts, and at option level as trees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from muscle.models.option_tree import OptionTree, encode_options, option_tree
from muscle.pipeline.loaded_bases import Side
from muscle.pipeline.resources import TreeSizes
from muscle.pipeline.stage import Stage
from muscle.tasks import Example, Task, TaskData
from muscle.tasks.task import with_each_choice
from muscle.training.options.data import OptionData

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def count_tokens(
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    examples: tuple[Example, ...],
    *,
    scoring: bool = False,
) -> int:
    """Count the tokens of examples.

    For training these are context and answer; for scoring every option with its context, or the context and the longest
    answer that may be generated.
    """
    extra = len(examples) * task.generation.max_new_tokens if scoring and task.generation else 0
    return sum(token_counts(tokenizer, task, examples, scoring=scoring)) + extra


def token_counts(
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    examples: tuple[Example, ...],
    *,
    scoring: bool = False,
) -> list[int]:
    """Return the tokens of each text that a model reads of examples; see `count_tokens`."""
    if not examples:
        return []
    own = {"add_special_tokens": False} if task.prompt.chat_template else {}
    examples = task.prompt.render(examples, tokenizer)
    if not scoring:
        texts = [example.context + example.target for example in examples]
    elif task.kind == "choice":
        texts = [example.context + example.delimiter + choice for example in examples for choice in example.choices]
    else:
        texts = [example.context for example in examples]
    return [len(ids) for ids in tokenizer(texts, **own)["input_ids"]]


def learnt_tokens(stage: Stage, data: TaskData, tokenizer: PreTrainedTokenizerBase, max_length: int) -> int:
    """Return the tokens that a training reads at most, at option level the nodes of the trees.

    In all its epochs, and of the validation data before the first.
    """
    labelled = _read_tokens(stage, data, (*data.train, *data.validation), tokenizer, max_length)
    further = _read_tokens(stage, data, stage.unlabelled, tokenizer, max_length)
    before = _read_tokens(stage, data, data.validation, tokenizer, max_length)
    epochs = stage.epochs or 0
    trainings = bool(stage.epochs_before) + bool(epochs)
    return (stage.epochs_before + epochs) * labelled + epochs * further + trainings * before


def teacher_tokens(
    stage: Stage, data: TaskData, tokenizers: Mapping[Side, PreTrainedTokenizerBase | None], max_length: int
) -> int | None:
    """Return the tokens that a training's teachers read before it; None where a tokenizer is not here."""
    found = 0
    for side in teaching_sides(stage, tokenizers):
        tokenizer = tokenizers[side]
        if tokenizer is None:
            return None
        examples = (*data.train, *data.validation)
        for part in (examples, stage.unlabelled):
            found += _read_tokens(stage, data, part, tokenizer, max_length)
    return found


def teaching_sides(stage: Stage, tokenizers: Mapping[Side, PreTrainedTokenizerBase | None]) -> tuple[Side, ...]:
    """Return whose models are run before a training.

    Where the old one alone teaches tokens of another tokenizer, the new one does where they cannot be aligned.
    """
    old, new = tokenizers.get("old"), tokenizers.get("new")
    on_tokens = bool(stage.teachers) and not stage.on_options
    crossed = on_tokens and old is not None and new is not None and old.get_vocab() != new.get_vocab()
    return ("old", "new") if crossed else stage.teachers


def tree_sizes(
    stages: Sequence[tuple[Stage, TaskData]],
    tokenizers: Mapping[Side, PreTrainedTokenizerBase | None],
    max_length: int,
) -> TreeSizes | None:
    """Return the sizes of the trees that trainings at option level read; None where a tokenizer is not here.

    Args:
        stages: at least one.
        tokenizers: of the bases.
        max_length: tokens of an example.
    """
    new = tokenizers["new"]
    asked = [teacher_tokens(stage, data, tokenizers, max_length) for stage, data in stages]
    if new is None or None in asked:
        return None
    trees = [
        tree
        for stage, data in stages
        for tree in option_trees(stage, data, (*data.train, *data.validation, *stage.unlabelled), new, max_length)
    ]
    return TreeSizes(
        nodes=max(len(tree.input_ids) for tree in trees),
        predicting=max(len({edge.node for edge in tree.edges}) for tree in trees),
        options=sum(len(tree.paths) for tree in trees),
        trained=sum(learnt_tokens(stage, data, new, max_length) for stage, data in stages),
        asked=sum(each or 0 for each in asked),
        num_teachers=len(stages[0][0].teachers),
    )


def _read_tokens(
    stage: Stage, data: TaskData, examples: tuple[Example, ...], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> int:
    """Return the tokens that a pass over examples reads, in the unit of a training."""
    if not examples:
        return 0
    if stage.answers:
        # As long as the reference, each, of an unlabelled one as the mean of those. As options, what they share is
        # read once.
        labelled = (*data.train, *data.validation)
        read = count_tokens(tokenizer, data.task, tuple(replace(each, target="") for each in labelled))
        whole = count_tokens(tokenizer, data.task, labelled)
        passes = stage.answers * whole if stage.every_text else read + stage.answers * (whole - read)
        return len(examples) * passes // len(labelled)
    if not stage.on_options:
        return count_tokens(tokenizer, data.task, read_texts(stage, examples))
    return sum(len(tree.input_ids) for tree in option_trees(stage, data, examples, tokenizer, max_length))


def read_texts(stage: Stage, examples: tuple[Example, ...]) -> tuple[Example, ...]:
    """Return examples as a training on tokens reads them, a text an example."""
    return with_each_choice(examples) if stage.every_text and not stage.answers else examples


def option_trees(
    stage: Stage, data: TaskData, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> list[OptionTree]:
    """Return examples as a training at option level reads them.

    Raises:
        DataError: an option has no token of its own, or so many that it leaves its question no room.
    """
    whole = OptionData(data.task, data.train, data.validation, stage.unlabelled)
    return [
        option_tree(*encode_options(example, tokenizer, max_length), distinguishing=whole.distinguishing)
        for example in whole.rendered(examples, tokenizer)[0]
    ]
