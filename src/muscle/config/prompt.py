"""The section `prompt` of an update.yaml: how a task's examples are put to the models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, model_validator

from muscle.config.section import Section

_Count = Annotated[int, Field(ge=0)]


class PromptSettings(Section):
    """How examples are put to the models, in training and scoring alike.

    Attributes:
        chat_template: in the chat template of each base's own tokenizer, for bases that were tuned for chat.
        system: text of the template's system message.
        num_fewshot: solved examples before each question, drawn from the training data by the seed; or such a number
            for each task, 0 for those that are not named.
    """

    chat_template: bool = False
    system: str | None = None
    num_fewshot: _Count | Mapping[str, _Count] = 0

    @model_validator(mode="after")
    def _possible(self) -> PromptSettings:
        if self.system is not None and not self.chat_template:
            raise ValueError("system: expected it only with chat_template: true")
        return self

    def shots_of(self, task: str) -> int:
        """Return how many solved examples stand before a task's questions."""
        return self.num_fewshot.get(task, 0) if isinstance(self.num_fewshot, Mapping) else self.num_fewshot
