"""How a model behind an endpoint is asked an item: the bodies of its calls, and what stands for them in a record.

Three ways. `chat`: the task's prompt is a user's message, and the answer is what comes back. `completion`: the same as
plain text, for models without a chat template. `options`: the log-likelihood of every option as a text behind the
prompt, by completions that echo their prompt, as lm-evaluation-harness asks such endpoints.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from muscle.errors import ConfigError
from muscle.provenance import fingerprint
from muscle.tasks.task import Example, Task

Way = Literal["chat", "completion", "options"]

MAX_STOPS = 4
"""Stop texts that an endpoint takes; an answer is cut at all of them here."""

TOKENS_BEYOND_AN_OPTION = 8
"""Of an answer that is to be one of the options, beside the most that the longest can have."""

_TOKENS_A_MESSAGE = 32
"""More than any chat template writes around a message."""

_LIMITS = ("max_tokens", "max_completion_tokens")
"""Keys of a call that say how long an answer may be."""

Body = dict[str, object]


@dataclass(frozen=True)
class Asking:
    """How a model is asked.

    Attributes:
        model: its name at the endpoint.
        way: of asking.
        repeats: answers an item.
        temperature: of the answers; 0 is greedy.
        max_tokens: of an answer; the task's own limit without.
        top_logprobs: log-probabilities of so many tokens are asked for at every place of an answer; 0 asks for none.
        params: further keys of the calls' bodies; None takes a key away.
    """

    model: str
    way: Way = "chat"
    repeats: int = 1
    temperature: float = 0.0
    max_tokens: int | None = None
    top_logprobs: int = 0
    params: Mapping[str, object] = field(default_factory=dict)

    def check(self, task: Task) -> None:
        """Refuse what cannot be asked.

        Raises:
            ConfigError: options of a task that has none, or the same likelihoods several times.
        """
        if self.way != "options":
            return
        if task.kind != "choice":
            raise ConfigError(
                f"--ask options: expected a task with options, found {task.name}; take chat or completion"
            )
        if self.repeats > 1 or self.temperature:
            raise ConfigError("--ask options: the likelihoods of options are the same every time; leave out repeats")

    def identity(self, task: Task) -> str:
        """Return what stands for the way of asking: answers of one record all share it."""
        sent = [self.model, self.way, self.temperature, self.max_tokens, self.top_logprobs, dict(self.params)]
        return fingerprint([sent, self.template(task)])

    def template(self, task: Task) -> str:
        """Return what stands for all that makes a prompt of an item: 16 hex digits."""
        return fingerprint([dict(task.definition), task.prompt.identity(), self.way == "chat"])

    def prompt_of(self, task: Task, example: Example) -> object:
        """Return what is sent: a conversation, or a text."""
        return task.prompt.messages(example) if self.way == "chat" else task.prompt.behind_shots(example).context

    def leaves_options_open(self, task: Task, examples: Sequence[Example]) -> bool:
        """Whether answers shall name an option and no prompt does: only a model that was trained on them knows them."""
        if self.way == "options" or task.kind != "choice":
            return False
        prompts = (json.dumps(self.prompt_of(task, each), ensure_ascii=False).casefold() for each in examples)
        options = (
            [json.dumps(text, ensure_ascii=False)[1:-1].casefold() for text in each.choices] for each in examples
        )
        return not any(all(text in prompt for text in of) for prompt, of in zip(prompts, options, strict=True))

    def bodies(self, task: Task, example: Example) -> list[Body]:
        """Return the bodies of an item's calls: one, or one an option."""
        prompt = self.prompt_of(task, example)
        if self.way == "options":
            texts = [f"{prompt}{example.delimiter}{choice}" for choice in example.choices]
            # One token is written and passed over: not every server takes 0.
            echoed = {"echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0.0}
            return [self._with_params({"model": self.model, "prompt": text, **echoed}) for text in texts]
        body: Body = {"model": self.model, "temperature": self.temperature, "max_tokens": self.limit(task, example)}
        until = [] if task.generation is None else [text for text in task.generation.until if text][:MAX_STOPS]
        if until:
            body["stop"] = until
        if self.way == "chat":
            asked = {"logprobs": True, "top_logprobs": self.top_logprobs} if self.top_logprobs else {}
            return [self._with_params({**body, "messages": prompt, **asked})]
        asked = {"logprobs": self.top_logprobs} if self.top_logprobs else {}
        return [self._with_params({**body, "prompt": prompt, **asked})]

    def limit(self, task: Task, example: Example) -> int:
        """Return the most tokens of an answer."""
        if self.max_tokens is not None:
            return self.max_tokens
        if task.generation is not None:
            return task.generation.max_new_tokens
        return TOKENS_BEYOND_AN_OPTION + max(len(choice.encode()) for choice in example.choices)

    @property
    def is_bounded(self) -> bool:
        """Whether the calls say how long an answer may be."""
        return self.way == "options" or bool(self._written_at_most(1))

    def _written_at_most(self, limit: int) -> int:
        """Return the most tokens that a call may write, where its own limit is `limit`; 0 where it has none."""
        sent = {"max_tokens": limit, **self.params}
        given = [sent.get(name) for name in _LIMITS]
        answers = self.params.get("n")
        times = answers if isinstance(answers, int) else 1
        return times * max((each for each in given if isinstance(each, int)), default=0)

    def most_tokens(self, task: Task, example: Example) -> tuple[int, int]:
        """Return more tokens than an item's calls can read and write: no token is shorter than a byte.

        Calls that are not bounded are taken to write as many as the task's own limit says.
        """
        if self.way == "options":
            read = [len(str(body["prompt"]).encode()) + 1 for body in self.bodies(task, example)]
            return sum(read), len(read)
        prompt = self.prompt_of(task, example)
        texts = (
            [prompt] if isinstance(prompt, str) else [message["content"] for message in task.prompt.messages(example)]
        )
        limit = self.limit(task, example)
        return sum(len(text.encode()) + _TOKENS_A_MESSAGE for text in texts), self._written_at_most(limit) or limit

    def _with_params(self, body: Body) -> Body:
        return {key: value for key, value in {**body, **self.params}.items() if value is not None}

    @property
    def path(self) -> str:
        """Where the calls go, below the endpoint's address."""
        return "/chat/completions" if self.way == "chat" else "/completions"


def prompt_hash(prompt: object) -> str:
    """Return 64 hex digits of SHA-256 that stand for what was sent, a text or a conversation."""
    text = prompt if isinstance(prompt, str) else json.dumps(prompt, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
