"""How a task's examples are put to a model: as they stand, behind solved examples, or in the base's chat template.

One function, `Prompt.render`, makes the text that training, teachers and scoring read: it returns examples whose
context, options and target are what the model sees, so that all of them cut the same text in the same way. Records and
fingerprints of data keep the task's own texts: two bases with different templates are asked the same items.

A chat template writes every special token itself, a BOS too. Its text is therefore tokenised without the tokenizer's
own (`Example.has_special_tokens`), exactly as the tokenizer's `apply_chat_template` does it. What the template writes
before an answer and behind it is read off a conversation with a stand-in for the answer: the answer's beginning belongs
to the prompt, the end token is learnt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from muscle.config.prompt import TASK_PROMPT, PromptSettings
from muscle.errors import ConfigError, DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from muscle.tasks.task import Example

BETWEEN_SHOTS = "\n\n"
"""What stands between solved examples, as in lm-evaluation-harness."""

_QUESTION, _ANSWER = "muscle's question", "muscle's answer"
Message = dict[str, str]


@dataclass(frozen=True)
class ChatForm:
    """What a tokenizer's chat template writes around an answer.

    Attributes:
        opening: behind the prompt and before the answer, as far as it is more than blanks: the prompt's.
        delimiter: blanks before the answer.
        end: behind the answer, up to the end token; empty where the template has none.
        end_token_id: the token that ends an answer; None where the end is no single special token.
    """

    opening: str
    delimiter: str
    end: str
    end_token_id: int | None


@dataclass(frozen=True)
class Prompt:
    """How the examples of a task are put to a model.

    Attributes:
        chat_template: in the chat template of the base's own tokenizer.
        system: text of the template's system message; None for no such message.
        turns: roles and texts of the conversation instead, the last with `{{ prompt }}` for the example's context.
        num_fewshot: solved examples before the question; turns of the conversation in a chat template.
        shots: what they are taken from, in order: one more than `num_fewshot`, so that an example that is among them
            itself still has as many.
    """

    chat_template: bool = False
    system: str | None = None
    num_fewshot: int = 0
    shots: tuple[Example, ...] = ()
    turns: tuple[tuple[str, str], ...] = ()

    def identity(self) -> dict[str, object]:
        """Return what a fingerprint covers: settings, and the solved examples' texts."""
        return {
            "chat_template": self.chat_template,
            "system": self.system,
            "num_fewshot": self.num_fewshot,
            "shots": [[shot.context, shot.target] for shot in self.shots],
            **({"turns": [list(turn) for turn in self.turns]} if self.turns else {}),
        }

    def render(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> tuple[Example, ...]:
        """Return examples whose texts are what a model reads.

        Args:
            examples: of the task, with or without answers.
            tokenizer: of the model.

        Raises:
            ConfigError: the tokenizer has no chat template, or one that refuses such a conversation or whose prompt is
                not how its conversation begins.
        """
        if not self.chat_template:
            return tuple(self.behind_shots(example) for example in examples)
        form = self.form(tokenizer)
        return tuple(self._in_chat(example, tokenizer, form) for example in examples)

    def form(self, tokenizer: PreTrainedTokenizerBase) -> ChatForm:
        """Return what a tokenizer's chat template writes around an answer; raises as `render`."""
        asked = [*self._opening_messages(), self._question(_QUESTION)]
        prompt = _applied(tokenizer, asked, generate=True)
        whole = _applied(tokenizer, [*asked, _assistant(_ANSWER)], generate=False)
        before, found, behind = whole.removeprefix(prompt).partition(_ANSWER)
        if not whole.startswith(prompt) or not found:
            raise ConfigError(
                f"prompt.chat_template: {_called(tokenizer)}: expected a template whose prompt is how the conversation "
                "with the answer begins, found another; give the prompt in the task's YAML instead"
            )
        end, end_token_id = _end(behind, tokenizer)
        is_blank = not before.strip()
        return ChatForm("" if is_blank else before, before if is_blank else "", end, end_token_id)

    def _shots_for(self, example: Example) -> list[Example]:
        return [shot for shot in self.shots if shot.text_key != example.text_key][: self.num_fewshot]

    def messages(self, example: Example) -> list[Message]:
        """Return the conversation that asks for an example's answer: what opens it, solved examples, question."""
        messages = self._opening_messages()
        for shot in self._shots_for(example):
            messages += [self._question(shot.context), _assistant(shot.target.strip())]
        return [*messages, self._question(example.context)]

    def behind_shots(self, example: Example) -> Example:
        """Return an example with its solved examples before its context, as plain text."""
        solved = [shot.context + shot.target for shot in self._shots_for(example)]
        return replace(example, context=BETWEEN_SHOTS.join([*solved, example.context])) if solved else example

    def _in_chat(self, example: Example, tokenizer: PreTrainedTokenizerBase, form: ChatForm) -> Example:
        prompt = _applied(tokenizer, self.messages(example), generate=True) + form.opening
        # Tokenizers put a space into the token of the word behind it: the model learns it as the answer's.
        context = prompt.rstrip(" \t")
        delimiter = prompt[len(context) :] + form.delimiter
        # Templates strip an answer's blanks, or are written for answers without.
        target = f"{delimiter}{example.target.strip()}{form.end}" if example.target else ""
        return replace(
            example,
            context=context,
            target=target,
            choices=tuple(choice.strip() for choice in example.choices),
            delimiter=delimiter,
            has_special_tokens=True,
        )

    def _opening_messages(self) -> list[Message]:
        if self.turns:
            return [{"role": role, "content": text} for role, text in self.turns[:-1]]
        return [] if self.system is None else [{"role": "system", "content": self.system}]

    def _question(self, context: str) -> Message:
        """Return the user's message that asks: the context, or the last turn with the context in it."""
        text = TASK_PROMPT.sub(lambda _: context, self.turns[-1][1]) if self.turns else context
        return {"role": "user", "content": text}


PLAIN = Prompt()
"""Examples as they stand."""


def make_prompt(settings: PromptSettings, task: str, train: Sequence[Example], *, seed: int) -> Prompt:
    """Return how a task's examples are put to models, with its solved examples.

    They are drawn by the seed and each text alone, not by row order, so that all models of an update see the same.

    Args:
        settings: of the section `prompt`.
        task: the task's name.
        train: what is trained on; neither validation nor test data.
        seed: another seed draws others.

    Raises:
        DataError: there are too few different texts.
    """
    count = settings.shots_of(task)
    texts = {example.text_key: example for example in reversed(train)} if count else {}
    if count and len(texts) <= count:
        raise DataError(
            f"task {task}: prompt.num_fewshot: {count} solved examples need {count + 1} different texts in the "
            f"training data, found {len(texts)}"
        )
    order = sorted(texts, key=lambda text: hashlib.sha256(f"{seed}\x1fshot\x1f{text}".encode()).digest())
    shots = tuple(texts[text] for text in order[: count + 1]) if count else ()
    turns = tuple((each.role, each.content) for each in settings.messages or ())
    return Prompt(settings.in_chat, settings.system, count, shots, turns)


def _assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}


def _applied(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], *, generate: bool) -> str:
    if not getattr(tokenizer, "chat_template", None):
        raise ConfigError(
            f"prompt.chat_template: {_called(tokenizer)}: expected a tokenizer with a chat template, found none; leave "
            "the key out for a base that was not tuned for chat"
        )
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generate)
    except Exception as error:  # a template is the base's own code in Jinja: it raises what it likes
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"prompt: the chat template of {_called(tokenizer)} refuses the conversation ({reason}); expected one that "
            "takes a system text, or no prompt.system"
        ) from error
    return str(text)


def _end(behind: str, tokenizer: PreTrainedTokenizerBase) -> tuple[str, int | None]:
    """Return what follows an answer up to its end token, and that token; all but the blanks where there is none."""
    added = {str(token): number for number, token in tokenizer.added_tokens_decoder.items()}
    found = [(place, -len(token), token) for token in added if token and (place := behind.find(token)) >= 0]
    if not found:
        return behind.rstrip(), None
    place, _, token = min(found)
    return behind[: place + len(token)], added[token]


def _called(tokenizer: PreTrainedTokenizerBase) -> str:
    return str(getattr(tokenizer, "name_or_path", "")) or "the tokenizer"
