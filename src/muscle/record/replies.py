"""What came back from an endpoint, as an answer: the text, the option that it names, and likelihoods of options.

An endpoint that gives the likeliest tokens at each place of an answer says something of options that were not
answered: at the place where another option parts from the answer, that option's beginning has a probability. It is
shared evenly among options with that beginning; options that are not seen share what is left, at most the least
probability seen for each. So they are estimates, good where options differ early; `--ask options` gives them exactly.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from muscle.foreign_text import listing
from muscle.record.endpoint import CallFailed
from muscle.record.pace import Usage

_AROUND = " \t\r\n\"'`*."
_LEAST = 1e-12
"""Probability of an option, so that its logarithm is a number."""

_MOST_LOGPROB = 1e-3
"""Of a token, in nats: 0 and what rounding adds. Above it stand probabilities, or other numbers."""


@dataclass(frozen=True)
class Token:
    """A token of an answer.

    Attributes:
        text: as it was written.
        logprob: of it, in nats.
        others: the likeliest tokens at its place with their log-probabilities.
    """

    text: str
    logprob: float
    others: Mapping[str, float]


@dataclass(frozen=True)
class Reply:
    """What an endpoint gave back to a call.

    Attributes:
        text: the answer.
        finish_reason: why it ends, in the endpoint's word.
        model: as the endpoint names it.
        usage: tokens; None where it does not say.
        tokens: of the answer with log-probabilities; empty where none came.
    """

    text: str
    finish_reason: str | None
    model: str | None
    usage: Usage | None
    tokens: tuple[Token, ...]


def read_reply(found: Mapping[str, object]) -> Reply:
    """Read the answer to a call for a chat's or a text's completion.

    Raises:
        CallFailed: it has another form.
    """
    choice = _first_choice(found)
    message = choice.get("message")
    text = _text_in(message) if isinstance(message, Mapping) else choice.get("text")
    reason = choice.get("finish_reason")
    model = found.get("model")
    return Reply(
        text if isinstance(text, str) else "",
        reason if isinstance(reason, str) else None,
        model if isinstance(model, str) else None,
        usage_of(found),
        tuple(_tokens_in(choice.get("logprobs"))),
    )


def _text_in(message: Mapping[str, object]) -> str:
    """Return a message's text: as one, in parts, or a refusal, an answer that stands in a key of its own."""
    content = message.get("content")
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, Mapping)]
        content = "".join(part for part in parts if isinstance(part, str))
    refusal = message.get("refusal")
    return next((each for each in (content, refusal) if isinstance(each, str) and each.strip()), "")


def usage_of(found: Mapping[str, object]) -> Usage | None:
    """Return the tokens of a call, where the endpoint says them."""
    usage = found.get("usage")
    if not isinstance(usage, Mapping):
        return None
    return Usage.told(usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0)


def option_likelihood(found: Mapping[str, object], text: str, start: int) -> float:
    """Return the log-likelihood of the end of a prompt that was echoed, in nats.

    Args:
        found: what came back.
        text: the prompt, context and option.
        start: where the option begins in it, the blank before it included.

    Raises:
        CallFailed: the prompt's tokens did not come back, or one of the option has no number.
    """
    logprobs = _first_choice(found).get("logprobs")
    listed = [logprobs.get(name) for name in ("tokens", "token_logprobs")] if isinstance(logprobs, Mapping) else []
    tokens, values = listed if len(listed) == 2 else (None, None)
    if not isinstance(tokens, list) or not isinstance(values, list) or len(tokens) != len(values) or not tokens:
        raise CallFailed("no log-probabilities of the prompt came back (echo with logprobs)", status=400)
    assert isinstance(logprobs, Mapping), "it has tokens"
    starts = _starts(tokens, logprobs.get("text_offset"))
    ends = [*starts[1:], len(text) + 1]
    # One token behind the prompt was written to please the server.
    of_option = [value for at, end, value in zip(starts, ends, values, strict=True) if end > start and at < len(text)]
    if starts[-1] < start or not of_option or not all(map(_is_logprob, of_option)):
        raise CallFailed("the prompt's own tokens did not come back with a log-probability each (echo)", status=400)
    return float(sum(of_option))


def likeliest_places(found: Mapping[str, object]) -> tuple[int, int]:
    """Count at how many places of an echoed prompt the likeliest token is its own, and at how many the next one.

    A model expects about every third token of a text at its place, and hardly ever the one behind it. A server that
    gives each token the likelihoods of the place after, as llama-cpp-python's does (0.3.36;
    https://github.com/abetlen/llama-cpp-python/issues/1983), is known by that. Nothing is counted where no likeliest
    tokens came, or a token stands twice in a row.
    """
    logprobs = _first_choice(found).get("logprobs")
    given = logprobs if isinstance(logprobs, Mapping) else {}
    tokens, tops = _list_if_one(given.get("tokens")), _list_if_one(given.get("top_logprobs"))
    own = ahead = 0
    for token, following, top in zip(tokens, tokens[1:], tops, strict=False):
        listed = _with_numbers(top) if isinstance(top, Mapping) else {}
        likeliest = max(listed, key=lambda each: listed[each], default=None)
        if likeliest is not None and token != following:
            own, ahead = own + (likeliest == token), ahead + (likeliest == following)
    return own, ahead


def option_of(text: str, choices: Sequence[str]) -> int | None:
    r"""Return the option that an answer names: it alone, or its first line, blanks, quotes, case and a dot left out.

    >>> option_of(' "Billing".\nbecause', ["sales", "billing"]), option_of("billing or sales", ["sales", "billing"])
    (1, None)
    """
    options = [_bare(choice) for choice in choices]
    for part in (text, next(iter(text.strip().splitlines()), "")):
        if options.count(_bare(part)) == 1:
            return options.index(_bare(part))
    return None


def option_logprobs(tokens: Sequence[Token], choices: Sequence[str]) -> tuple[list[float], int] | None:
    """Estimate the options' log-probabilities from the likeliest tokens at each place of an answer.

    Args:
        tokens: of the answer.
        choices: the options.

    Returns:
        (options,) log-probabilities, and how many options were seen; None where none was.
    """
    options = [choice.strip().casefold() for choice in choices]
    mass = [0.0] * len(options)
    least, written, so_far = 1.0, "", 0.0
    for token in tokens:
        for other, logprob in token.others.items():
            if other != token.text:
                _spread_over(mass, options, written + other, math.exp(so_far + logprob))
            least = min(least, math.exp(so_far + logprob))
        written, so_far = written + token.text, so_far + token.logprob
        if not _beginning_with(options, written):
            break
    answered = option_of(written, choices)
    if answered is not None:
        mass[answered] += math.exp(so_far)
    seen = sum(each > 0 for each in mass)
    if not seen:
        return None
    if seen < len(mass):
        left = min(max(1.0 - sum(mass), 0.0) / (len(mass) - seen), least)
        mass = [each or left for each in mass]
    return [math.log(max(each, _LEAST)) for each in mass], seen


def _spread_over(mass: list[float], options: Sequence[str], text: str, probability: float) -> None:
    places = _beginning_with(options, text)
    for place in places:
        mass[place] += probability / len(places)


def _beginning_with(options: Sequence[str], text: str) -> list[int]:
    """Return the options that a text begins, or names and goes on behind."""
    begun = text.lstrip(_AROUND).casefold()
    if not begun:
        return []
    whole = begun.rstrip(_AROUND)
    return [place for place, option in enumerate(options) if option.startswith(begun) or option == whole]


def _bare(text: str) -> str:
    return re.sub(r"\s+", " ", text.strip(_AROUND)).casefold()


def _first_choice(found: Mapping[str, object]) -> Mapping[str, object]:
    choices = found.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], Mapping):
        return choices[0]
    what = "an empty list" if choices == [] else f"the keys {listing(sorted(found))}"
    raise CallFailed(f"expected choices in the answer, found {what}", status=400)


def _tokens_in(logprobs: object) -> list[Token]:
    """Read the tokens of an answer: of a chat (`content`), or of a text (`tokens`, `token_logprobs`).

    Some servers write null, NaN or -Infinity where a token has no log-probability, or a probability in its place. Of
    an answer with such a token nothing is known; beside it, it is left out.
    """
    if not isinstance(logprobs, Mapping):
        return []
    content = logprobs.get("content")
    found: list[tuple[object, object, dict[str, float]]]
    if isinstance(content, list):
        listed = [each if isinstance(each, Mapping) else {} for each in content]
        found = [(each.get("token"), each.get("logprob"), _top_tokens(each.get("top_logprobs"))) for each in listed]
    else:
        tokens, values, given = (
            _list_if_one(logprobs.get(name)) for name in ("tokens", "token_logprobs", "top_logprobs")
        )
        tops = [_with_numbers(each) if isinstance(each, Mapping) else {} for each in given or [{}] * len(tokens)]
        found = list(zip(tokens, values, tops, strict=False))
    read = [
        Token(text, float(value), top) for text, value, top in found if isinstance(text, str) and _is_logprob(value)
    ]
    return read if len(read) == len(found) else []


def _top_tokens(found: object) -> dict[str, float]:
    listed = [each for each in _list_if_one(found) if isinstance(each, Mapping)]
    return _with_numbers({each.get("token"): each.get("logprob") for each in listed})


def _list_if_one(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _with_numbers(found: Mapping[object, object]) -> dict[str, float]:
    return {text: float(value) for text, value in found.items() if isinstance(text, str) and _is_logprob(value)}


def _is_logprob(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and -math.inf < value <= _MOST_LOGPROB


def _starts(tokens: Sequence[str], offsets: object) -> list[int]:
    """Return where each token begins in the text: as the server says, else by the tokens' lengths."""
    if isinstance(offsets, list) and len(offsets) == len(tokens) and all(isinstance(each, int) for each in offsets):
        return offsets
    starts, at = [], 0
    for token in tokens:
        starts.append(at)
        at += len(token)
    return starts
