"""Recording: what is not answered yet is asked, and each answer is written before its thread asks on.

Items are gone through once for each repeat, so that a recording that ends early has every item rather than a few of
them often. A killed one loses what was in flight, at most one item a thread; what stands in the file is not asked
again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice

from muscle.errors import EndpointError
from muscle.evaluation.answers import choice_answer
from muscle.evaluation.rows import Answer
from muscle.predictions.records import CALL
from muscle.progress import progress_bar
from muscle.record.asking import Asking, Body, prompt_hash
from muscle.record.endpoint import Caller, CallFailed, Endpoint, refused
from muscle.record.log import RecordLog, Row
from muscle.record.pace import LimitReached, Meter, Reserved, Usage
from muscle.record.replies import option_likelihood, read_reply, usage_of
from muscle.record.rows import answer_of, now, row_of
from muscle.tasks.task import Example, Task

logger = logging.getLogger(__name__)

MOST_FAILURES = 10
"""Items in a row that an endpoint may fail at before it is taken to be down."""


@dataclass(frozen=True)
class Asked:
    """An item that is to be answered once."""

    example: Example
    repeat: int


@dataclass(frozen=True)
class Recorded:
    """How a recording went.

    Attributes:
        num_before: answers that were there.
        num_new: answers that came.
        num_failed: items among them whose calls came to nothing.
        num_open: answers that are still to be asked for.
        num_calls: calls that went out.
        calls_a_minute: how fast; None where fewer than two did.
        usage: tokens of the whole record.
        cost: of the whole record.
        stopped: the limit that ended it; None where all was asked.
    """

    num_before: int
    num_new: int
    num_failed: int
    num_open: int
    num_calls: int
    calls_a_minute: float | None
    usage: Usage
    cost: float
    stopped: str | None = None


def open_work(log: RecordLog, examples: Sequence[Example], repeats: int) -> list[Asked]:
    """Return what a record does not have yet."""
    done = log.done
    return [
        Asked(example, repeat) for repeat in range(repeats) for example in examples if (example.id, repeat) not in done
    ]


def spent_before(log: RecordLog) -> Usage:
    """Return the tokens that a record's answers have cost."""
    total = Usage()
    for row in log.rows:
        found = _call_usage(row)
        total += found or Usage()
    return total


@dataclass
class EndpointRecorder:
    """Asks a model behind an endpoint.

    Attributes:
        task: what is asked.
        asking: how.
        endpoint: where.
        caller: makes the calls.
        meter: holds limits and rate.
        log: the record.
        parallel: items in flight at a time.
    """

    task: Task
    asking: Asking
    endpoint: Endpoint
    caller: Caller
    meter: Meter
    log: RecordLog
    parallel: int = 4
    _failed: list[str] = field(default_factory=list)
    _in_a_row: int = 0
    _told: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def record(self, work: Sequence[Asked]) -> Recorded:
        """Ask what is open, until all is answered or a limit is reached.

        Args:
            work: what is to be asked.

        Raises:
            EndpointError: the endpoint refuses the first call, or fails at many items in a row; what was answered is
                kept.
            OutputError: the record cannot be written.
        """
        before, stopped = len(self.log.rows), None
        with self.log.open(), progress_bar(f"asking {self.asking.model}", len(work)) as show:
            try:
                # The first alone: an endpoint that takes none of the calls is found out by one of them.
                for asked in work[:1]:
                    self._one(asked, is_first=not before)
                self._rest(work[1:], lambda: show(len(self.log.rows) - before, self._remark()))
            except LimitReached as reached:
                stopped = str(reached)
        new = len(self.log.rows) - before
        return Recorded(
            before,
            new,
            len(self._failed),
            len(work) - new,
            self.meter.num_calls,
            self.meter.calls_a_minute,
            self.meter.usage,
            self.meter.cost,
            stopped,
        )

    def _rest(self, work: Sequence[Asked], show: Callable[[], None]) -> None:
        """Keep as many items in flight as may be; no more than these are begun when something ends it."""
        left = iter(work)
        with ThreadPoolExecutor(self.parallel) as pool:
            flying = {pool.submit(self._one, asked) for asked in islice(left, self.parallel)}
            ended: BaseException | None = None
            while flying:
                landed, flying = wait(flying, return_when=FIRST_COMPLETED)
                for future in landed:
                    ended = ended or future.exception()
                show()
                if ended is None:
                    flying |= _submitted(pool, self._one, islice(left, len(landed)))
            if ended is not None:
                raise ended

    def _one(self, asked: Asked, *, is_first: bool = False) -> None:
        """Ask one item and write its answer."""
        most = Usage(*self.asking.most_tokens(self.task, asked.example))
        bodies, paid = self.asking.bodies(self.task, asked.example), Usage()
        reserved = self.meter.reserve(most, len(bodies))
        try:
            answer, more, paid = self._answer(asked.example, bodies, most, reserved)
        except CallFailed as failure:
            if is_first and failure.is_final:
                raise refused(failure, self.endpoint) from None
            self._count_failure(failure)
            answer, more = Answer(error=f"call failed: {failure}"), {"failed": True}
        else:
            self._in_a_row = 0
        finally:
            self.meter.settle(reserved, paid)
        self.log.append([self._row(asked, answer, more, paid)])

    def _answer(
        self, example: Example, bodies: Sequence[Body], most: Usage, reserved: Reserved
    ) -> tuple[Answer, dict[str, object], Usage]:
        """Make an item's calls; return the answer, what more is known of it, and what it cost."""
        path, begin = self.asking.path, partial(self.meter.begin_call, reserved)
        if self.asking.way != "options":
            found = self.caller.call(path, bodies[0], begin)
            reply = read_reply(found)
            answer, more = answer_of(self.task, example, reply)
            if self.asking.top_logprobs and not reply.tokens and not self._told:
                self._told = True
                logger.warning("%s: gives no log-probabilities; --top-logprobs is passed over", self.endpoint.name)
            return answer, {"model": reply.model or self.asking.model, **more}, reply.usage or most
        paid, logprobs, model = Usage(), [], None
        start = len(str(self.asking.prompt_of(self.task, example)))
        for body in bodies:
            found = self.caller.call(path, body, begin)
            text = str(body["prompt"])
            logprobs.append(option_likelihood(found, text, start))
            paid += usage_of(found) or Usage(len(text.encode()), 1)
            model = model or found.get("model")
        more = {"model": model if isinstance(model, str) else self.asking.model}
        return choice_answer(self.task, example, logprobs), more, paid

    def _row(self, asked: Asked, answer: Answer, more: dict[str, object], paid: Usage) -> Row:
        call = {
            "asked_with": self.asking.identity(self.task),
            "way": self.asking.way,
            "model": self.asking.model,
            "endpoint": self.endpoint.name,
            "asked": now(),
            "prompt_sha256": prompt_hash(self.asking.prompt_of(self.task, asked.example)),
            "template": self.asking.template(self.task),
            "temperature": self.asking.temperature,
            "tokens_read": paid.read,
            "tokens_written": paid.written,
            **more,
        }
        return row_of(self.task, asked.example, replace(answer, repeat=asked.repeat), call)

    def _count_failure(self, failure: CallFailed) -> None:
        with self._lock:
            self._failed.append(str(failure))
            self._in_a_row += 1
            if self._in_a_row >= MOST_FAILURES:
                raise EndpointError(
                    f"{self.endpoint.name}: {self._in_a_row} items in a row failed, the last with: {failure}; what was "
                    "answered is kept, the same command goes on from there"
                )

    def _remark(self) -> str:
        parts, rate = [f"{self.meter.num_calls} calls"], self.meter.calls_a_minute
        if rate is not None:
            parts.append(f"{rate:.3g} a minute")
        if self.meter.limits.price.read or self.meter.limits.price.written:
            parts.append(f"cost {self.meter.cost:.4g}")
        if self._failed:
            parts.append(f"{len(self._failed)} failed")
        return ", ".join(parts)


def _submitted(pool: ThreadPoolExecutor, work: Callable[[Asked], None], chosen: Iterator[Asked]) -> set[Future[None]]:
    return {pool.submit(work, asked) for asked in chosen}


def _call_usage(row: Row) -> Usage | None:
    call = row.get(CALL)
    if not isinstance(call, dict):
        return None
    read, written = (call.get(name) for name in ("tokens_read", "tokens_written"))
    return Usage(read, written) if isinstance(read, int) and isinstance(written, int) else None
