"""Calls to an OpenAI-compatible endpoint, through the `openai` client; retries and their waits are ours.

So each call that goes out is counted and paid for where limits are. The key comes from the environment, and is taken
out of every message: some servers write it into theirs.
"""

from __future__ import annotations

import logging
import os
import random
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from muscle.errors import ConfigError, EndpointError
from muscle.foreign_text import message_line

if TYPE_CHECKING:
    from openai import OpenAI

logger = logging.getLogger(__name__)

OPENAI = "openai"
"""In place of an address: OpenAI's own."""
_OPENAI_URL = "https://api.openai.com/v1"
"""Given to the client, which would else follow OPENAI_BASE_URL to an address that no record names."""

_RETRIED = (408, 409, 425, 429)
"""Beside 5xx: what may be otherwise a moment later."""
_NO_CREDIT = 402
"""Also taken for OpenAI's 429 of an account without credit: waiting does not help."""
_LONGEST_WAIT = 60.0
_LONGEST_ASKED_FOR = 600.0
_WRITTEN_BY_CLIENT = re.compile(r"^Error code: \d+( - |$)")
_KEYS = re.compile(r"\b(?:sk|key|Bearer)[-_ ][\w.*-]{6,}")


NO_JSON = "expected JSON, found none"
"""How the failure begins that an answer of another kind is."""


class Stopped(Exception):
    """A call that did not go out, since no more are to."""


class CallFailed(Exception):
    """A call that came to nothing, in words without the key.

    Attributes:
        status: HTTP's; None where no answer came.
        wait_seconds: that the server asks for before another try; None where it does not.
    """

    def __init__(self, message: str, *, status: int | None = None, wait_seconds: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.wait_seconds = wait_seconds

    @property
    def is_final(self) -> bool:
        """Whether the same call would fail again."""
        return self.status is not None and self.status < 500 and self.status not in _RETRIED


@dataclass(frozen=True)
class Endpoint:
    """Where a model answers.

    Attributes:
        url: its address up to the version, as `http://localhost:8000/v1`, or `openai`.
        key_name: the environment's variable that holds the key.
        timeout_seconds: that a call may take.
    """

    url: str
    key_name: str = "OPENAI_API_KEY"
    timeout_seconds: float = 120.0

    def __post_init__(self) -> None:
        """Refuse an address that is none, or that holds a secret, and a key in place of its variable's name.

        Raises:
            ConfigError: it is so.
        """
        if not re.fullmatch(r"[A-Za-z_]\w{0,63}", self.key_name, re.ASCII):
            # Not shown: it may be the key.
            raise ConfigError(
                "--key-env: expected the name of an environment variable, as OPENAI_API_KEY, found another text; the "
                "key itself is given in that variable, never in a command"
            )
        if self.url == OPENAI:
            return
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"--endpoint: expected an address such as http://localhost:8000/v1, or {OPENAI}")
        if parts.username or parts.password or parts.query:
            raise ConfigError(
                "--endpoint: expected an address without user, password or query, which records would hold; the key "
                f"is read from the environment ({self.key_name})"
            )

    @property
    def name(self) -> str:
        """The address as records have it."""
        return self.url if self.url == OPENAI else urlunsplit(urlsplit(self.url))

    def key(self) -> str:
        """Return the key; a server of one's own may need none.

        Raises:
            ConfigError: OpenAI's own needs one, and there is none; or it is none that can be sent.
        """
        found = os.environ.get(self.key_name, "").strip()
        if not re.fullmatch(r"[!-~]*", found):
            # The client's own message would hold it.
            raise ConfigError(
                f"--endpoint: the key in the environment variable {self.key_name} holds blanks, line breaks or letters "
                "that no header takes; expected the key alone"
            )
        if not found and self.url == OPENAI:
            raise ConfigError(f"--endpoint {OPENAI}: expected a key in the environment variable {self.key_name}")
        return found or "none"


class Caller:
    """Makes calls, and tries again where that may help.

    Args:
        endpoint: where to.
        retries: further tries of a call.
        wait: waits for so many seconds; without, until `stop` at most.

    Raises:
        ConfigError: the client is not installed, or a key is missing or none.
    """

    def __init__(self, endpoint: Endpoint, *, retries: int = 6, wait: Callable[[float], object] | None = None) -> None:
        try:
            import openai
        except ImportError as error:
            raise ConfigError(
                f"asking an endpoint needs the package {error.name}; install it with: pip install 'muscle-llm[record]'"
            ) from error
        self._key = endpoint.key()
        self._name, self._told = endpoint.name, False
        self._stopped = threading.Event()
        self._retries, self.wait = retries, wait or self._stopped.wait
        self._client: OpenAI = openai.OpenAI(
            api_key=self._key,
            base_url=_OPENAI_URL if endpoint.url == OPENAI else endpoint.url,
            max_retries=0,
            timeout=endpoint.timeout_seconds,
        )

    def call(self, path: str, body: dict[str, object], before: Callable[[], None] = lambda: None) -> dict[str, object]:
        """Make a call and return what came back.

        Args:
            path: below the endpoint's address.
            body: of the call.
            before: called before each try; what it raises ends the call.

        Raises:
            CallFailed: no answer after all tries, or one that another try would not change.
            Stopped: it has not gone out, since no more are to.
        """
        for number in range(self._retries + 1):
            before()
            if self._stopped.is_set():
                raise Stopped
            try:
                return self._once(path, body)
            except CallFailed as failure:
                if failure.is_final or number == self._retries:
                    raise
                if not self._told:
                    self._told = True
                    logger.warning("%s: %s; it is tried again (--retries %d)", self._name, failure, self._retries)
                self.wait(_seconds_before(number, failure.wait_seconds))
        raise AssertionError("the last try returns or raises")

    def stop(self) -> None:
        """Let no further call go out, and end all waits; calls that are under way come back."""
        self._stopped.set()

    def _once(self, path: str, body: dict[str, object]) -> dict[str, object]:
        import openai

        try:
            found = self._client.post(path, cast_to=object, body=body)
        except openai.APIStatusError as error:
            wait = error.response.headers.get("retry-after", "")
            seconds = float(wait) if re.fullmatch(r"\d+(\.\d+)?", wait) else None
            said = _WRITTEN_BY_CLIENT.sub("", error.message) or _phrase(error.status_code)
            raise CallFailed(
                f"HTTP {error.status_code}: {self._clean(said)}",
                status=_NO_CREDIT if error.code == "insufficient_quota" else error.status_code,
                wait_seconds=seconds,
            ) from None
        except openai.APIConnectionError as error:
            reason = error.__cause__ or error
            raise CallFailed(f"{type(error).__name__}: {self._clean(str(reason))}") from None
        except ValueError as error:
            raise CallFailed(f"{NO_JSON}: {self._clean(str(error))}") from None
        except openai.OpenAIError as error:
            raise CallFailed(f"{type(error).__name__}: {self._clean(str(error))}") from None
        if isinstance(found, str):  # a page of a server on the way, which may be gone a moment later
            raise CallFailed(f"{NO_JSON}: {self._clean(found[:80])!r}")
        if not isinstance(found, dict):
            raise CallFailed(f"expected a JSON object, found {self._clean(str(found)[:80])!r}", status=400)
        told = found.get("error")
        if told and not found.get("choices"):
            raise self._told_in_an_answer(told)
        return {name: self._without_key(value) for name, value in found.items()}

    def _without_key(self, value: object) -> object:
        """Return an answer without the key, which servers that show what they were sent write into it."""
        if isinstance(value, str):
            return self._hidden(value)
        if isinstance(value, dict):
            return {name: self._without_key(each) for name, each in value.items()}
        return [self._without_key(each) for each in value] if isinstance(value, list) else value

    def _told_in_an_answer(self, error: object) -> CallFailed:
        """Return the failure for an error that came as an answer, as gateways write those of the servers behind."""
        fields = error if isinstance(error, dict) else {}
        message = fields.get("message") or error
        told = [str(fields.get(name)) for name in ("code", "type")]
        status = 429 if any("rate_limit" in each for each in told) else 400
        if re.fullmatch("[45][0-9]{2}", told[0]):
            status = int(told[0])
        return CallFailed(f"an error as an answer ({status}): {self._clean(str(message))}", status=status)

    def _clean(self, text: str) -> str:
        return message_line(_KEYS.sub("[key]", self._hidden(text)), 300)

    def _hidden(self, text: str) -> str:
        return text.replace(self._key, "[key]") if len(self._key) > 4 else text


def refused(failure: CallFailed, endpoint: Endpoint) -> EndpointError:
    """Return the error for an endpoint that takes none of the calls, with what to try."""
    text = str(failure)
    hints = {
        _NO_CREDIT: "see the account's credit and limits; the same command goes on from there",
        401: f"give a key in the environment variable {endpoint.key_name}",
        404: "see whether the address ends as the server wants it (often /v1), and the model's name",
    }
    hint = hints.get(failure.status or 0, "")
    if failure.status in (400, 422):
        named = next((name for name in ("echo", "top_logprobs", "logprobs") if name in text), None)
        hint = {
            "echo": "this endpoint does not echo prompts; take --ask chat",
            "logprobs": "leave out --top-logprobs",
            "top_logprobs": "give a smaller --top-logprobs, or none",
        }.get(named or "", "--param KEY=VALUE sets a key of the call, KEY=null takes one away")
    if failure.status is None:
        hint = hints[404] if text.startswith(NO_JSON) else "is the server running?"
    return EndpointError(f"{endpoint.name}: {text}" + (f"; {hint}" if hint else ""))


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else "no message"


def _seconds_before(number: int, asked_for: float | None) -> float:
    """Return how long to wait before another try: what the server asks for, else twice as long each time."""
    if asked_for is not None:
        return min(asked_for, _LONGEST_ASKED_FOR)
    return min(_LONGEST_WAIT, 2.0**number) * (0.5 + random.random() / 2)
