"""What a recording did and what a record is good for, in a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from muscle.foreign_text import listing
from muscle.record.check import MAX_OPTIONS, RecordCheck, TaskRecord
from muscle.record.recording import Recorded
from muscle.report.numbers import count, estimate
from muscle.report.text.terminal_parts import print_lines, unframed_table

_MAX = 400


def print_recorded(found: Recorded, out: Path, console: Console) -> None:
    """Print how a recording went."""
    lines = [f"{out.name}: {count(found.num_new)} answers recorded, {count(found.num_before)} were there"]
    if found.num_calls:
        tokens = f"{count(found.usage.read)} tokens read, {count(found.usage.written)} written in all"
        cost = f", cost {found.cost:.4g}" if found.cost else ""
        rate = f", {found.calls_a_minute:.3g} a minute" if found.calls_a_minute else ""
        lines.append(f"{count(found.num_calls)} calls{rate}; {tokens}{cost}")
    if found.num_failed:
        lines.append(f"{count(found.num_failed)} failed; the same command asks them again")
    if found.stopped:
        lines.append(f"stopped by {found.stopped}; {count(found.num_open)} answers are open: the same command goes on")
    print_lines(lines, console, limit=_MAX)


def print_check(check: RecordCheck, console: Console) -> None:
    """Print what a record is good for."""
    about = [listing([f"{name} ({count(number)})" for name, number in check.models.items()], 4)] if check.models else []
    about += [f"asked {check.first} to {check.last}"] if check.first else []
    about += [f"by {listing(check.ways, 4)}"] if check.ways else []
    if about:
        print_lines(["; ".join(about)], console, limit=_MAX)
    doubts = [f"not read: {each}" for each in check.unread[:5]]
    if len(check.models) > 1 and check.ways:
        doubts.insert(0, "answers of several models: has the name been given to another one while it was asked?")
    print_lines(doubts, console, limit=_MAX, style="yellow")
    for task in check.tasks:
        print_lines([f"\n{task.task}"], console, limit=80, style="bold")
        table = unframed_table(left=2, right=2)
        table.show_header = False
        for name, figure in _figures_of(task):
            table.add_row(name, figure)
        console.print(table)
        if task.options:
            named = [f"{option} ({count(number)})" for option, number in task.options.items()]
            print_lines([f"{count(len(named))} options answered: {listing(named, MAX_OPTIONS)}"], console, limit=_MAX)
        print_lines(list(uses(task)), console, limit=_MAX, indent="  ")


def uses(task: TaskRecord) -> Iterator[str]:
    """Say what a task's record can be used for, and what it would take where it cannot."""
    if not task.answered:
        yield "nothing: no answer came"
        return
    if task.judged:
        yield "compare, gate: yes"
    elif task.scores:
        yield f"compare, gate: by a score ({listing(task.scores, 4)})"
    else:
        yield "compare, gate: no answer is judged; record items with their right answers (--data)"
    if task.likelihoods:
        share = "" if task.likelihoods == task.answered else f", of {count(task.likelihoods)} inputs"
        yield f"align: from log-probabilities of the options{share}"
    elif task.repeated:
        yield f"align: from the answers of {count(task.repeated)} inputs that were asked several times"
    elif task.learnt_from:
        share = "" if task.learnt_from == task.answered else f", of {count(task.learnt_from)} inputs"
        yield f"align: from one answer an input{share}; --ask options or --top-logprobs 20 gives more"
    else:
        yield "align: no; no answer names an option: see whether the prompt names them, or take --ask options"
    is_whole = task.likelihoods == task.answered
    yield "route: " + ("stack or gate" if is_whole else "gate; a stack takes log-probabilities of every input")
    if task.floor.value is None and task.differ.value is None:
        same = "likelihoods are the same every time; that of the old recipe takes another training of it"
        yield f"noise floor: unknown: {same if is_whole else task.differ.why}"


def _figures_of(task: TaskRecord) -> Iterator[tuple[str, str]]:
    yield "inputs", count(task.inputs)
    times = ", ".join(f"{count(number)} x {each}" for each, number in task.repeats.items() if each)
    yield "answers that came (inputs x times)", times or "none"
    yield "failed or empty", f"{count(task.failed)} ({count(task.empty)} empty)"
    if task.options or task.no_option:
        yield "answers that name no option", count(task.no_option)
    yield "inputs with options' log-probabilities", count(task.likelihoods)
    yield "right, of judged answers", "" if task.accuracy is None else f"{task.accuracy:.1%} of {count(task.judged)}"
    if task.floor.value is not None:
        yield "noise floor: it breaks of itself", estimate(task.floor, "rate")
    if task.differ.value is not None:
        yield "two answers to one input differ", estimate(task.differ, "rate")
