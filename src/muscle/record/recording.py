"""Recording: what is not answered yet is asked, and each answer is written before its thread asks on.

Items are gone through once for each repeat, so that a recording that ends early has every item rather than a few of
them often. A killed one loses what was in flight, at most one item a thread; what stands in the file is not asked
again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice

from muscle.errors import EndpointError
from muscle.evaluation.answers import choice_answer
from muscle.evaluation.rows import Answer
from muscle.foreign_text import one_line
from muscle.predictions.records import CALL, input_hash
from muscle.progress import progress_bar
from muscle.record.asking import Asking, Body, prompt_hash
from muscle.record.endpoint import Caller, CallFailed, Endpoint, Stopped, refused
from muscle.record.items import as_recorded
from muscle.record.log import ASKED_FOR, RecordLog, Row, has_failed
from muscle.record.pace import LimitReached, Meter, Reserved, Usage
from muscle.record.replies import likeliest_places, option_likelihood, read_reply, usage_of
from muscle.record.rows import answer_of, now, row_of
from muscle.tasks.task import Example, Task

logger = logging.getLogger(__name__)

MOST_FAILURES = 10
"""Items in a row that an endpoint may fail at before it is taken to be down."""

FIRST_ITEMS = 3
"""Items that are asked alone until one is answered, where the endpoint refuses calls for what may be in them."""

SHIFTED_FROM = 4
"""Places of echoed prompts at which the likeliest token was the next one, from which on that is no chance."""

_OF_AN_ITEM = (400, 403, 413, 422)
"""How endpoints refuse a call for what is in it: a prompt too long, a filter's word, or a key that they do not know."""


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
    """Return what a record does not have yet.

    Raises:
        DataError: an item's id stands for another text in the record.
    """
    done = log.done
    known = [(each, input_hash(each.context, each.choices)) for each in as_recorded(examples, log.rows, log.path)]
    return [Asked(each, repeat) for repeat in range(repeats) for each, text in known if (text, repeat) not in done]


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
    _num_refused: int = 0
    _own: int = 0
    _ahead: int = 0
    _told: bool = False
    _told_of_another: bool = False
    _answers_as: str | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Take from the record under which name the model has answered, if it has."""
        self._answers_as = next((_model_of(row) for row in self.log.rows if not has_failed(row)), None)

    def record(self, work: Sequence[Asked]) -> Recorded:
        """Ask what is open, until all is answered or a limit is reached.

        Args:
            work: what is to be asked.

        Raises:
            EndpointError: the endpoint takes none of the calls, or fails at many items in a row; what was answered is
                kept.
            OutputError: the record cannot be written.
        """
        before, stopped = len(self.log.rows), None
        with self.log.open(), progress_bar(f"asking {self.asking.model}", len(work)) as show:
            try:
                # The first alone: an endpoint that takes none of the calls is found out by one of them, or by three
                # where the item may be why.
                alone = 0
                while alone < len(work) and self._answers_as is None and self._num_refused == alone:
                    self._one(work[alone])
                    alone += 1
                self._rest(work[alone:], lambda: show(len(self.log.rows) - before, self._remark()))
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
            try:
                while flying:
                    landed, flying = wait(flying, return_when=FIRST_COMPLETED)
                    for future in landed:
                        ended = ended or future.exception()
                    show()
                    if ended is None:
                        flying |= _submitted(pool, self._one, islice(left, len(landed)))
            except BaseException:
                self.caller.stop()  # interrupted: what waits for another try does not go out
                raise
            if ended is not None:
                raise ended

    def _one(self, asked: Asked) -> None:
        """Ask one item and write its answer."""
        most = Usage(*self.asking.most_tokens(self.task, asked.example))
        bodies = self.asking.bodies(self.task, asked.example)
        paid: list[Usage] = []
        reserved = self.meter.reserve(most, len(bodies))
        ended: Exception | None = None
        try:
            answer, more = self._answer(asked.example, bodies, most, reserved, paid)
        except CallFailed as failure:
            answer, more, ended = (
                Answer(error=f"call failed: {failure}"),
                {"failed": True},
                self._count_failure(failure, heard=bool(paid)),
            )
        except (LimitReached, Stopped) as early:
            answer, more, ended = Answer(error=f"call failed: {early or 'stopped'}"), {"failed": True}, early
        else:
            self._note_answer(more["model"])
        finally:
            total = sum(paid, Usage())
            self.meter.settle(reserved, total)
        # What ends the recording is no answer; what was paid for it is kept all the same.
        if ended is None or total != Usage():
            self.log.append([self._row(asked, answer, more, total)])
        if ended is not None:
            raise ended from None

    def _answer(
        self, example: Example, bodies: Sequence[Body], most: Usage, reserved: Reserved, paid: list[Usage]
    ) -> tuple[Answer, dict[str, object]]:
        """Make an item's calls; return the answer and what more is known of it, and add what they cost to `paid`."""
        path, begin = self.asking.path, partial(self.meter.begin_call, reserved)
        if self.asking.way != "options":
            found = self.caller.call(path, bodies[0], begin)
            paid.append(usage_of(found) or most)
            reply = read_reply(found)
            answer, more = answer_of(self.task, example, reply)
            if self.asking.top_logprobs and reply.text.strip() and not reply.tokens and not self._told:
                self._told = True
                logger.warning("%s: gives no log-probabilities; --top-logprobs is passed over", self.endpoint.name)
            return answer, {"model": reply.model or self.asking.model, **more}
        logprobs: list[float] = []
        model: object = None
        start = len(str(self.asking.prompt_of(self.task, example)))
        for body in bodies:
            found = self.caller.call(path, body, begin)
            text = str(body["prompt"])
            paid.append(usage_of(found) or Usage(len(text.encode()), 1))
            if not logprobs:
                self._refuse_shifted(found)
            logprobs.append(option_likelihood(found, text, start))
            model = model or found.get("model")
        named: dict[str, object] = {"model": model if isinstance(model, str) else self.asking.model}
        return choice_answer(self.task, example, logprobs), named

    def _refuse_shifted(self, found: Mapping[str, object]) -> None:
        """Refuse an endpoint whose likelihoods of an echoed prompt belong to the places after.

        Raises:
            EndpointError: they do, as far as one can see.
        """
        own, ahead = likeliest_places(found)
        with self._lock:
            self._own, self._ahead = self._own + own, self._ahead + ahead
            own, ahead = self._own, self._ahead
        if ahead >= SHIFTED_FROM and ahead > 3 * own:
            kept = f"; {self.log.path} holds such answers: delete it" if self.log.rows else ""
            raise EndpointError(
                f"{self.endpoint.name}: the log-probabilities of an echoed prompt are those of the token after (the "
                f"likeliest token was the prompt's next one {ahead} times, its own {own} times), as llama-cpp-python "
                f"gives them: no option's likelihood can be told; take --ask chat or completion{kept}"
            )

    def _row(self, asked: Asked, answer: Answer, more: dict[str, object], paid: Usage) -> Row:
        name = self.asking.model
        call = {
            "asked_with": self.asking.identity(self.task),
            "way": self.asking.way,
            "model": name,
            "endpoint": self.endpoint.name,
            "asked": now(),
            "prompt_sha256": prompt_hash(self.asking.prompt_of(self.task, asked.example)),
            "template": self.asking.template(self.task),
            "temperature": self.asking.temperature,
            "tokens_read": paid.read,
            "tokens_written": paid.written,
            **more,
        }
        if call["model"] != name:
            call[ASKED_FOR] = name
        return row_of(self.task, asked.example, replace(answer, repeat=asked.repeat), call)

    def _note_answer(self, model: object) -> None:
        """Note that an answer came, and tell where it is another model's than those before."""
        with self._lock:
            self._in_a_row = 0
            first = self._answers_as = self._answers_as or str(model)
            is_another = first != str(model) and not self._told_of_another
            self._told_of_another |= is_another
        if is_another:
            told = (self.endpoint.name, one_line(first, 80), one_line(model, 80))
            logger.warning("%s: %s answered before, now %s does: the record holds answers of two models", *told)

    def _count_failure(self, failure: CallFailed, *, heard: bool) -> EndpointError | None:
        """Count an item that came to nothing; return what ends the recording where others would too.

        Args:
            failure: of its last call.
            heard: whether a call of it was answered before.
        """
        with self._lock:
            if failure.is_final and failure.status not in _OF_AN_ITEM:
                return refused(failure, self.endpoint)
            self._failed.append(str(failure))
            if failure.is_final:
                self._num_refused += 1
                is_down = self._answers_as is None and self._num_refused >= FIRST_ITEMS
                return refused(failure, self.endpoint) if is_down else None
            if self._answers_as is None and not (heard or self._num_refused):  # the first, asked alone
                return refused(failure, self.endpoint)
            self._in_a_row += 1
            if self._in_a_row < MOST_FAILURES:
                return None
            return EndpointError(
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


def _model_of(row: Row) -> str:
    call = row.get(CALL)
    return str(call.get("model")) if isinstance(call, dict) else ""
