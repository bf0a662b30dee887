"""`muscle record`: ask a model that still lives, and keep its answers; or tell what a record is good for."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import typer

from muscle.commands.groups import Reading, spread
from muscle.commands.options import Precision, Quiet, Settings, TrainOption
from muscle.commands.shell import assignments, check_outputs, start, write_result
from muscle.errors import ConfigError

if TYPE_CHECKING:
    from muscle.record.asking import Asking
    from muscle.record.log import RecordLog
    from muscle.record.pace import Limits
    from muscle.record.recording import Recorded
    from muscle.tasks.task import Example, Task

_PROMPTS_READ = 20
"""Prompts that are looked at for whether they name the options."""


@dataclass(frozen=True)
class What:
    """What is asked."""

    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The model's name at the endpoint; without --endpoint, BASE or BASE+ADAPTER."
        ),
    ] = None
    task: Annotated[str | None, typer.Option("--task", "-t", help="A task's name, or the path of its YAML.")] = None
    data: Annotated[
        list[str] | None, typer.Option("--data", metavar="FILE", help="Items with right answers. Repeatable.")
    ] = None
    unlabelled: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Items without right answers; labels are not read. Repeatable."),
    ] = None
    out: Annotated[Path, typer.Option("--out", "-o", help="The record, .jsonl; what is in it is not asked again.")] = (
        Path("record.jsonl")
    )
    limit: Annotated[int | None, typer.Option(min=1, help="Use only this many rows of each file.")] = None
    repeats: Annotated[int, typer.Option(min=1, help="Answers per item; several give the noise floor.")] = 1
    temperature: Annotated[float, typer.Option(min=0, max=10, help="Sampling temperature; 0 is greedy.")] = 0.0


@dataclass(frozen=True)
class AtEndpoint:
    """How an endpoint is asked."""

    PANEL: ClassVar[str] = "A model at an endpoint"

    endpoint: Annotated[
        str | None,
        typer.Option(metavar="URL", help="An OpenAI-compatible server, e.g. http://localhost:8000/v1, or openai."),
    ] = None
    ask: Annotated[
        Literal["chat", "completion", "options"],
        typer.Option(help="Send a chat message or a plain text, or ask for each option's likelihood (echo)."),
    ] = "chat"
    top_logprobs: Annotated[
        int,
        typer.Option(
            min=0, max=20, help="Also ask for this many likeliest tokens, to estimate the options' likelihoods."
        ),
    ] = 0
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Maximum tokens of an answer; default: the task's limit.")
    ] = None
    system: Annotated[str | None, typer.Option(metavar="TEXT", help="System message of a chat.")] = None
    param: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Add a key to each call; null removes it. Repeatable."),
    ] = None
    key_env: Annotated[str, typer.Option(metavar="NAME", help="The environment variable with the API key.")] = (
        "OPENAI_API_KEY"
    )

    def asking(self, what: What) -> Asking:
        """Return how the model is asked."""
        from muscle.record.asking import Asking

        return Asking(
            model=what.model or "",
            way=self.ask,
            repeats=what.repeats,
            temperature=what.temperature,
            max_tokens=self.max_tokens,
            top_logprobs=self.top_logprobs,
            params=assignments(self.param or [], option="--param", example="reasoning_effort=low"),
        )


@dataclass(frozen=True)
class Limiting:
    """What a recording may do."""

    PANEL: ClassVar[str] = "Rate, cost and failures"

    parallel: Annotated[int, typer.Option(min=1, max=256, help="Items to ask at the same time.")] = 4
    rate: Annotated[float | None, typer.Option(min=0.001, help="Maximum calls per minute.")] = None
    max_calls: Annotated[int | None, typer.Option(min=1, help="Maximum calls of this command.")] = None
    max_cost: Annotated[float | None, typer.Option(min=0, help="Maximum cost of the whole record; needs a price.")] = (
        None
    )
    price_in: Annotated[float, typer.Option(min=0, max=1e12, help="Price of a million input tokens.")] = 0.0
    price_out: Annotated[float, typer.Option(min=0, max=1e12, help="Price of a million output tokens.")] = 0.0
    retries: Annotated[int, typer.Option(min=0, max=20, help="How often to retry a failed call.")] = 6
    timeout: Annotated[float, typer.Option(min=1, max=86_400, help="Seconds that a call may take.")] = 120.0

    def limits(self) -> Limits:
        """Return what the recording may do.

        Raises:
            ConfigError: a cost without a price.
        """
        from muscle.record.pace import Limits, Price

        if self.max_cost is not None and not (self.price_in or self.price_out):
            raise ConfigError("--max-cost: expected --price-in and --price-out, the prices of a million tokens")
        return Limits(self.max_calls, self.max_cost, self.rate, Price(self.price_in, self.price_out))


@dataclass(frozen=True)
class Here:
    """How a model on this machine is asked."""

    PANEL: ClassVar[str] = "A model on this machine"

    batch_size: Annotated[int, typer.Option(min=1, help="Options or prompts per forward pass.")] = 16
    precision: Annotated[Precision, typer.Option(help="Precision of the weights.")] = "auto"
    seed: Annotated[int, typer.Option(min=0, help="Seed of sampled answers.")] = 0


@spread
def record(
    check: Annotated[
        str | None,
        typer.Option("--check", metavar="RECORD", help="Show what a record is good for, without asking the model."),
    ] = None,
    *,
    what: What,
    at: AtEndpoint,
    limiting: Limiting,
    here: Here,
    how: Reading,
    train: TrainOption = None,
    config: Settings = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="e.g. prompt.num_fewshot=4")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write what the record is good for as JSON; - prints it.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Ask a model and keep its answers, for compare, route, and an update when the model is gone.

    Each answer is on disk before the next call, and the same command resumes. Files of any format that muscle compare
    reads can be records too: --check shows what they are good for.
    """
    start(quiet)
    if check is not None:
        check_outputs(json_file)
        _show_check(check, how, json_file, quiet=quiet)
        return
    missing = [name for name, value in (("--model", what.model), ("--task", what.task)) if not value]
    if missing:
        raise ConfigError(f"record: expected {' and '.join(missing)} (or --check RECORD)")
    if what.out.suffix != ".jsonl":
        raise ConfigError(f"--out {what.out}: expected a .jsonl file")
    check_outputs(what.out, json_file)
    from muscle.config.update_file import load_stage_settings
    from muscle.record.items import load_items
    from muscle.tasks import get_task
    from muscle.tasks.prompted import with_shots

    task = with_shots(get_task(what.task or ""), load_stage_settings(config, overrides=assignments(set_ or [])), train)
    if at.system is not None:
        task = task.prompted(replace(task.prompt, system=at.system))
    items = load_items(task, what.data or [], what.unlabelled or [], limit=what.limit)
    if at.endpoint is None:
        found = _of_local_model(what, here, task, items)
    else:
        found = _of_endpoint(what, at, limiting, task, items)
    if not quiet and str(json_file) != "-":
        from rich.console import Console

        from muscle.record.shown import print_recorded

        print_recorded(found, what.out, Console())
    if found.num_before + found.num_new:
        _show_check(str(what.out), how, json_file, quiet=quiet)


def _of_endpoint(what: What, at: AtEndpoint, limiting: Limiting, task: Task, items: tuple[Example, ...]) -> Recorded:
    from muscle.record.endpoint import Caller, Endpoint
    from muscle.record.pace import Meter
    from muscle.record.recording import EndpointRecorder, open_work

    asking, limits = at.asking(what), limiting.limits()
    asking.check(task)
    if limits.max_cost is not None and not asking.is_bounded:
        raise ConfigError(
            "--max-cost: expected a limit of an answer's tokens, found none; add --param max_completion_tokens=N"
        )
    endpoint = Endpoint(at.endpoint or "", at.key_env, limiting.timeout)
    caller = Caller(endpoint, retries=limiting.retries)
    log = _opened(what.out, asking.identity(task))
    meter = Meter(limits, log.spent, wait=caller.wait)
    recorder = EndpointRecorder(task, asking, endpoint, caller, meter, log, limiting.parallel)
    work = open_work(log, items, what.repeats)
    if work and asking.leaves_options_open(task, items[:_PROMPTS_READ]):
        logging.getLogger(__name__).warning(
            "task %s: the prompt does not name the options, so only a model that was trained on them can answer with "
            "one; else write them into the task's prompt (docs/record.md), or take --ask options",
            task.name,
        )
    return recorder.record(work)


def _of_local_model(what: What, here: Here, task: Task, items: tuple[Example, ...]) -> Recorded:
    from muscle.evaluation.sampling import Sampling
    from muscle.models.adapters import split_model
    from muscle.models.bases import load_base
    from muscle.models.devices import warn_if_slow
    from muscle.record.local import LocalModel, record_local

    if what.repeats > 1 and what.temperature == 0:
        raise ConfigError(f"--repeats {what.repeats}: greedy answers are all the same; add --temperature, e.g. 0.7")
    base, adapter = split_model(what.model or "")
    sampling = Sampling(repeats=what.repeats, temperature=what.temperature, seed=here.seed)
    warn_if_slow(here.precision)
    model = LocalModel(what.model or "", load_base(base, precision=here.precision), adapter, here.batch_size, sampling)
    return record_local(model, task, items, _opened(what.out, model.identity(task)))


def _opened(out: Path, asked_with: str) -> RecordLog:
    from muscle.record.log import RecordLog

    log = RecordLog(out, asked_with)
    dropped = log.drop_failed()
    if dropped:
        logging.getLogger(__name__).info("%s: %d answers that failed are asked for again", out, dropped)
    return log


def _show_check(source: str, how: Reading, json_file: Path | None, *, quiet: bool) -> None:
    from muscle.commands.sources import reading
    from muscle.record.check import check_record
    from muscle.record.read import calls_of

    with reading([source], how, then="checking") as runs:
        found = check_record(runs[0], calls_of(Path(source)))
    if write_result(json_file, found) or quiet:
        return
    from rich.console import Console

    from muscle.record.shown import print_check

    print_check(found, Console())
