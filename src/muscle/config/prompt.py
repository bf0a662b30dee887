"""The section `prompt` of an update.yaml: how a task's examples are put to the models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from muscle.config.section import Section

_Count = Annotated[int, Field(ge=0)]

TASK_PROMPT = re.compile(r"\{\{\s*prompt\s*\}\}")
"""What stands for the task's own prompt in a message."""


class MessageSettings(Section):
    """One message of the conversation that asks.

    Attributes:
        role: whose it is.
        content: its text; `{{ prompt }}` in the last one stands for the task's own prompt.
    """

    role: Literal["system", "user", "assistant"]
    content: str


class PromptSettings(Section):
    """How examples are put to the models, in training and scoring alike.

    Attributes:
        chat_template: in the chat template of each base's own tokenizer, for bases that were tuned for chat.
        system: text of the template's system message.
        messages: the whole conversation, in the system text's place: what stands before the question, and last the
            user's message with `{{ prompt }}` in it. They go into the chat template.
        num_fewshot: solved examples before each question, drawn from the training data by the seed; or such a number
            for each task, 0 for those that are not named.
    """

    chat_template: bool = False
    system: str | None = None
    messages: list[MessageSettings] | None = None
    num_fewshot: _Count | Mapping[str, _Count] = 0

    _later = ("messages",)

    @property
    def in_chat(self) -> bool:
        """Whether examples go into the chat template."""
        return self.chat_template or self.messages is not None

    @model_validator(mode="after")
    def _possible(self) -> PromptSettings:
        if self.system is not None and not self.chat_template:
            raise ValueError("system: expected it only with chat_template: true")
        if self.messages is None:
            return self
        if self.system is not None:
            raise ValueError("messages: expected no system beside it; make the system text its first message")
        asking = [number for number, each in enumerate(self.messages) if TASK_PROMPT.search(each.content)]
        if not self.messages or self.messages[-1].role != "user" or asking != [len(self.messages) - 1]:
            raise ValueError(
                "messages: expected the last to be the user's, with {{ prompt }} in it, and no other with it"
            )
        return self

    def shots_of(self, task: str) -> int:
        """Return how many solved examples stand before a task's questions."""
        return self.num_fewshot.get(task, 0) if isinstance(self.num_fewshot, Mapping) else self.num_fewshot
