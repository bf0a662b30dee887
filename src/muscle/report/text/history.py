"""A chain of versions as people read it: terminal and Markdown, pure functions of the history."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from muscle.flips.history import KIND_WORDS
from muscle.flips.result.history_report import HistoryReport, HistoryStep, TaskHistory, UnfollowedTask
from muscle.foreign_text import one_line
from muscle.report.numbers import Form, count, estimate, format_number, probability, value_alone
from muscle.report.sentences.before import BeforeLine, first_before, warning_lines
from muscle.report.text.escaping import escape
from muscle.report.text.markdown_parts import bullets, details, markdown_table
from muscle.report.text.terminal_parts import WIDE, indented_table, print_before, print_hidden, print_lines

MAX_TASKS = 20
MAX_PATTERNS = 8
MAX_ITEMS = 10
MAX_PRINTED_ITEMS = 3
MAX_BEFORE = 6

_STEP_HEAD = ("step", "difference", "broke", "gained", "p (Holm)")


def history_markdown(report: HistoryReport) -> str:
    """Write a history as Markdown: a section a task with its steps, patterns and restless items."""
    shown, hidden = _shown_histories(report)
    parts = [
        bullets(escape(one_line(line.text, 400)) for line in _before_history(report)),
        f"### {escape(one_line(' → '.join(report.runs), 300))}",
    ]
    for name, task in shown:
        steps = [[escape(one_line(cells[0], 120)), *cells[1:]] for cells in _step_cells(task)]
        parts += [
            escape(one_line(_sentence(name, task), 400)),
            escape(_level_chain(report.runs, task)),
            markdown_table(_STEP_HEAD, steps),
            escape(_kind_counts(task)),
            bullets(f"`{line}`" for line in _commonest_patterns(task)),
            _restless_items(task),
        ]
    parts += [f"{hidden} more tasks, in which less broke, are in the JSON." if hidden else ""]
    parts += [
        "R right, W wrong in a version; of a score, + better, - worse, = equal at a step. In brackets: 95 % intervals."
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def print_history(report: HistoryReport, console: Console) -> None:
    """Print a history: a sentence, the steps and the commonest ways of each task.

    Args:
        report: of `muscle.flips.history.history`.
        console: where to print.
    """
    print_before(_before_history(report), console)
    shown, hidden = _shown_histories(report)
    for name, task in shown:
        print_lines([_sentence(name, task)], console, limit=400, style="bold")
        print_lines([_level_chain(report.runs, task)], console, limit=400, indent="  ", style="dim")
        steps = _step_cells(task, intervals=console.width >= WIDE)
        console.print(indented_table(_STEP_HEAD, steps, max_characters=80))
        if kinds := _kind_counts(task):
            console.print(Text(f"  {kinds}"))
        for line in _commonest_patterns(task):
            console.print(Text(f"  {line}", style="dim"))
        for item in task.items[:MAX_PRINTED_ITEMS]:
            text = Text(f"  {item.pattern} ", style="bold")
            text.append(f"{one_line(item.id, 24)}  {one_line(item.input or '', 60)}", style="not bold")
            console.print(text, no_wrap=True, overflow="ellipsis")
    print_hidden(hidden, "tasks, in which less broke", console)


def _before_history(report: HistoryReport) -> list[BeforeLine]:
    """Say what differs between neighbours beside the model, before the first number."""
    lines = []
    for step, found in enumerate(report.comparability):
        way = f"{report.runs[step]} to {report.runs[step + 1]}"
        for each in found:
            allowed = " (allowed)" if each.severity == "refuse" else ""
            lines.append(f"{way} differs beside the model: {each.what}: {each.message}{allowed}")
    if report.tasks_left_out:
        lines.append(f"not all versions have: {', '.join(report.tasks_left_out)}")
    for name, task in report.tasks.items():
        if isinstance(task, UnfollowedTask):
            lines.append(f"task {name} is not followed: {task.why}")
    return first_before([*lines, *warning_lines(report)], report.readings, limit=MAX_BEFORE, place="the JSON")


def _shown_histories(report: HistoryReport) -> tuple[list[tuple[str, TaskHistory]], int]:
    """Return the tasks that have items, of too many the most broken ones, and how many are not shown."""
    present = [(name, task) for name, task in report.tasks.items() if isinstance(task, TaskHistory)]
    if len(present) > MAX_TASKS:
        present.sort(key=lambda entry: -entry[1].broke_somewhere / entry[1].n)
    return present[:MAX_TASKS], max(0, len(present) - MAX_TASKS)


def _sentence(name: str, task: TaskHistory) -> str:
    """Say a task's story in a sentence: never the net alone."""
    ends = task.first_to_last
    lost = sum(step.negative_flips for step in task.steps)
    words = ("gained", "broken") if task.kind == "binary" else ("better", "worse")
    net = f"+{count(ends.positive_flips)} {words[0]} / -{count(ends.negative_flips)} {words[1]}"
    story = (
        f"{name}: {ends.old} to {ends.new}: {net} of {count(task.n)} {task.unit}; "
        f"along the steps {count(lost)} {words[1]}"
    )
    broke = f"{count(task.broke_somewhere)} {task.unit}"
    if task.kinds is None:
        return f"{story}, {broke} got worse at some step."
    return f"{story}, {broke} broke at some step, {count(task.kinds['recovered'])} of them came back for good."


def _step_cells(task: TaskHistory, *, intervals: bool = True) -> list[list[str]]:
    """Write the steps and the whole way, a row each; with 95 % intervals where there is room for them."""
    written = estimate if intervals else value_alone
    form: Form = "points" if task.kind == "binary" else "signed"

    def cells(step: HistoryStep) -> list[str]:
        return [
            f"{step.old} \N{RIGHTWARDS ARROW} {step.new}",
            written(step.accuracy_difference, form),
            f"{count(step.negative_flips)}: {written(step.negative_flip_rate, 'rate')}",
            f"{count(step.positive_flips)}: {written(step.positive_flip_rate, 'rate')}",
            probability(step.p if step.holm_p is None else step.holm_p),
        ]

    return [cells(step) for step in (*task.steps, *([task.first_to_last] if len(task.steps) > 1 else []))]


def _level_chain(runs: Sequence[str], task: TaskHistory) -> str:
    form: Form = "rate" if task.kind == "binary" else "score"
    levels = (f"{run} {format_number(level, form)}" for run, level in zip(runs, task.levels, strict=True))
    return " \N{RIGHTWARDS ARROW} ".join(levels)


def _commonest_patterns(task: TaskHistory) -> list[str]:
    lines = [
        f"{each.pattern}  {count(each.count)} ({format_number(each.share, 'rate')})"
        for each in task.patterns[:MAX_PATTERNS]
    ]
    hidden = task.num_patterns - len(lines)
    return lines + ([f"and {count(hidden)} more patterns"] if hidden > 0 else [])


def _kind_counts(task: TaskHistory) -> str:
    kinds = task.kinds or {}
    return "; ".join(f"{KIND_WORDS[kind]}: {count(number)}" for kind, number in kinds.items() if number)


def _restless_items(task: TaskHistory) -> str:
    lines = [
        [f"`{item.pattern}`", escape(one_line(item.id, 60)), escape(one_line(item.input or "", 160))]
        for item in task.items[:MAX_ITEMS]
    ]
    if not lines:
        return ""
    return details("The most restless items", markdown_table(("way", "id", "input"), lines))
