"""Where the prompt that a given adapter was trained with, and ours, differ.

Trainers such as TRL, Axolotl and LLaMA-Factory leave the tokenizer in the adapter's folder: its chat template, its
special tokens, its end token. The task's first example is written by that tokenizer and by the base's own, as training
and scoring here write it, and the two texts are held against each other, then their tokens. What an adapter's folder
doesn't say (the wording of a prompt without a template) cannot be told.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from muscle.errors import ConfigError, ModelError
from muscle.foreign_text import common_start, visible
from muscle.models.base_files import ADAPTER_NOTE, reason_of
from muscle.models.bases import quiet_libraries
from muscle.tasks.task import Example, Task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_AROUND = 24
"""Characters shown before the first that differs, and from it on."""
_STAND_IN = Example(id="", context="A question?", reference=("an answer",), target=" an answer")
"""Where the data is not on this machine."""
_TOKENIZER = "tokenizer_config.json"


def prompt_differences(
    folder: Path, task: Task, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase
) -> list[str]:
    """Say where the prompt of an adapter's folder and ours differ, and what to set; a line each.

    Args:
        folder: the adapter's, with the tokenizer that its trainer left there.
        task: with the prompt of this update.
        examples: of the task; the first is written.
        tokenizer: the base's own.

    Returns:
        Nothing where they agree, where muscle trained the adapter, or where the folder holds no tokenizer.
    """
    if (folder / ADAPTER_NOTE).is_file() or not (folder / _TOKENIZER).is_file():
        return []
    try:
        theirs = _left_tokenizer(folder)
    except ModelError as error:
        return [str(error)]
    example = next((each for each in examples if each.context and each.target), _STAND_IN)
    return [f"adapter {folder}: {line}" for line in _differences(task, example, tokenizer, theirs)]


def _left_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    try:
        with quiet_libraries():
            return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:
        raise ModelError(
            f"adapter {folder}: the tokenizer beside it cannot be read, so its prompt is not checked "
            f"({reason_of(error)})"
        ) from error


def _differences(
    task: Task, example: Example, ours: PreTrainedTokenizerBase, theirs: PreTrainedTokenizerBase
) -> Iterator[str]:
    mine = _text(task, example, ours)
    if theirs.chat_template and not task.prompt.chat_template:
        in_chat = replace(task, prompt=replace(task.prompt, chat_template=True, system=None, turns=()))
        try:
            yield from _first_difference(mine, _text(in_chat, example, theirs), "with prompt.chat_template: true")
        except ConfigError as error:
            yield f"its folder holds a chat template, which cannot be compared ({error})"
        yield from _other_ends(task, ours, theirs)
        return
    if task.prompt.chat_template and not theirs.chat_template:
        yield (
            "its tokenizer has no chat template, and prompt.chat_template asks in the base's own: leave the key out if "
            "it was trained without"
        )
    else:
        advice = "a copy of the base's folder with the adapter's chat template asks as it was trained"
        try:
            found = list(_first_difference(mine, _text(task, example, theirs), advice))
        except ConfigError as error:
            found = [f"its chat template cannot be compared ({error})"]
        yield from found or _other_tokens(mine, task, ours, theirs)
    yield from _other_ends(task, ours, theirs)


def _text(task: Task, example: Example, tokenizer: PreTrainedTokenizerBase) -> str:
    """Return an example's context and answer as a model reads them."""
    (written,) = task.prompt.render([example], tokenizer)
    return written.context + written.target


def _first_difference(ours: str, theirs: str, advice: str) -> Iterator[str]:
    if ours == theirs:
        return
    place = common_start(ours, theirs)
    yield (
        f"its prompt and ours differ from character {place + 1:,} on: its {_around(theirs, place)}, ours "
        f"{_around(ours, place)}; {advice}"
    )


def _around(text: str, place: int) -> str:
    """Show what stands before a place and from there on.

    >>> _around("Question: what?", 10)
    '"Question: ▸what?"'
    """
    start = max(0, place - _AROUND)
    before, behind = text[start:place], text[place : place + _AROUND]
    cut = ("…" if start else "") + before + "▸" + behind + ("…" if len(text) > place + _AROUND else "")
    return json.dumps(visible(cut, keep="\n\t"), ensure_ascii=False)


def _other_tokens(
    text: str, task: Task, ours: PreTrainedTokenizerBase, theirs: PreTrainedTokenizerBase
) -> Iterator[str]:
    """Tell where the same text becomes other tokens."""
    # As `muscle.training.data.examples.tokenize` does it.
    own = {"add_special_tokens": False} if task.prompt.chat_template else {}
    mine, other = (list(tokenizer(text, **own)["input_ids"]) for tokenizer in (ours, theirs))
    if mine == other:
        return
    place = common_start(mine, other)
    shown = [
        f"{ids[place]} ({tokenizer.convert_ids_to_tokens(ids[place])!r})" if place < len(ids) else "the end"
        for ids, tokenizer in ((other, theirs), (mine, ours))
    ]
    yield (
        f"the same text becomes other tokens, from token {place + 1:,} on: its {shown[0]}, ours {shown[1]}; it was "
        "trained with another tokenizer than the base's"
    )


def _other_ends(task: Task, ours: PreTrainedTokenizerBase, theirs: PreTrainedTokenizerBase) -> Iterator[str]:
    """Tell where generated answers would end otherwise than they were trained to."""
    if task.kind != "generation":
        return
    mine = task.prompt.form(ours).end if task.prompt.chat_template else str(ours.eos_token)
    if str(theirs.eos_token) not in (mine, mine.strip()) and not mine.endswith(str(theirs.eos_token)):
        yield (
            f"its answers end in {theirs.eos_token!r}, ours in {mine!r}: generated answers may not stop where it was "
            "trained to"
        )
