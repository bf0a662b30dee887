"""An OpenAI-compatible server on this machine, which answers as a test says and keeps count of what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]
Answer = tuple[int, dict[str, str], Any]
"""Status, headers, and the body: an object as JSON, a text as it is."""


@dataclass
class Served:
    """A server that runs.

    Attributes:
        url: its address.
        asked: the bodies of all calls, in their order.
        keys: the `Authorization` header of each.
        paths: where each went.
    """

    url: str
    asked: list[Body] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    def questions(self) -> list[str]:
        """The last message of each call, or its text."""
        return [body["prompt"] if "prompt" in body else body["messages"][-1]["content"] for body in self.asked]


@contextmanager
def serve(answer: Callable[[Body, int], Answer]) -> Iterator[Served]:
    """Run a server while the block does.

    Args:
        answer: gives back what is answered to a call's body and its number, from 0.
    """
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                number = len(found.asked)
                found.asked.append(body)
                found.keys.append(self.headers.get("Authorization", ""))
                found.paths.append(self.path)
            status, headers, value = answer(body, number)
            data = (value if isinstance(value, str) else json.dumps(value)).encode()
            self.send_response(status)
            for name, text in {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found = Served(f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def chat(text: str, *, read: int = 10, written: int = 2, model: str = "old-model", **choice: Any) -> Answer:
    """Return a chat's completion."""
    return (
        200,
        {},
        {
            "model": model,
            "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop", **choice}],
            "usage": {"prompt_tokens": read, "completion_tokens": written},
        },
    )


def echo(
    prompt: str, logprob: Callable[[str], float], *, tops: Callable[[list[str]], list[str]] | None = None
) -> Answer:
    """Return a prompt's completion that echoes it, a token a word with the blank before it, and one token behind.

    Args:
        prompt: the text.
        logprob: of a token.
        tops: of the tokens, the likeliest at each place; none are given without.
    """
    words = prompt.split(" ")
    tokens = [words[0], *(f" {word}" for word in words[1:]), " more"]
    offsets = [sum(map(len, tokens[:place])) for place in range(len(tokens))]
    values = [None, *(logprob(token) for token in tokens[1:])]
    logprobs: dict[str, object] = {"tokens": tokens, "token_logprobs": values, "text_offset": offsets}
    if tops is not None:
        logprobs["top_logprobs"] = [None, *({each: -0.1} for each in tops(tokens)[1:])]
    return (
        200,
        {},
        {
            "model": "old-model",
            "choices": [{"text": "".join(tokens), "logprobs": logprobs, "finish_reason": "length"}],
            "usage": {"prompt_tokens": len(words), "completion_tokens": 1},
        },
    )


def failure(status: int, message: str = "no", **headers: str) -> Answer:
    """Return an error as such servers write it."""
    return status, {name.replace("_", "-"): text for name, text in headers.items()}, {"error": {"message": message}}
