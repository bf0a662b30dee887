"""Plans, confirmations and looks, as people read them in a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from muscle.flips.wording import percent_in_three_digits
from muscle.foreign_text import one_line
from muscle.plan.confirm import Confirmation
from muscle.plan.item_list import Why
from muscle.plan.planner import Plan
from muscle.plan.sequential import Decision
from muscle.plan.watch import Look
from muscle.report.numbers import count, estimate
from muscle.report.text.terminal_parts import unframed_table

_STRATA: dict[Why, str] = {
    "negative_flip": "negative flips",
    "positive_flip": "positive flips",
    "unflipped": "did not flip",
}

MAX_CONFIRMED = 10


def _right_aligned(*names: str) -> Table:
    table = unframed_table(right=2)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def print_plan(plan: Plan, console: Console) -> None:
    """Print what items and repeats cost and show."""
    wish, variance = plan.wish, plan.variance
    console.print(
        Text(
            f"{one_line(plan.task, 80)}: to find a change of {100 * wish.difference:.3g} points with power "
            f"{wish.power:.0%} at level {wish.alpha:g}",
            style="bold",
        )
    )
    console.print(
        Text(
            f"  variance of an item's difference {variance.total:.4f}: items {variance.items:.4f}, answers "
            f"{variance.answers:.4f} ({variance.source})"
        )
    )
    table = _right_aligned("repeats", "items", "answers of both", "cost", "")
    best = "as wished" if wish.repeats else "cheapest"
    for row in plan.table:
        mark = best if row == plan.best else ""
        table.add_row(str(row.repeats), count(row.items), count(row.answers), f"{row.cost:,.6g}", mark)
    console.print(table)
    for line in _plan_lines(plan):
        console.print(Text(f"  {line}"))


def _plan_lines(plan: Plan) -> Iterator[str]:
    given, items, wish, prove = plan.given, plan.items, plan.wish, plan.prove
    if given is not None:
        reached = f"for {100 * given.detectable:.2g} points" if given.detectable < 1 else "for no change at all"
        yield (
            f"{count(given.items)} items with {given.repeats} answer{'s' * (given.repeats != 1)} a side, which cost "
            f"{given.cost:,.6g}: power {given.power:.0%} for that change; power {wish.power:.0%} {reached}"
        )
    yield (
        f"a verdict on one of {count(items.n)} items takes at least {items.minimum_repeats} answers a side, where it "
        "flips fully and no other does; one answer can never tell"
    )
    told = ", ".join(
        f"{change.old:.0%} to {change.new:.0%}: {change.repeats or 'more than 200'}" for change in items.changes
    )
    yield f"answers a side for an item whose pass rate falls, where {wish.changed:.0%} of the items change: {told}"
    yield (
        f"{count(prove.items)} items without a negative flip prove that at most {percent_in_three_digits(prove.limit)} "
        "break"
    )


def print_confirmed(found: Confirmation, console: Console) -> None:
    """Print what fresh answers say of the flips of a first pass."""
    for name, task in found.tasks.items():
        console.print(
            Text(
                f"{one_line(name, 80)}: of all items {estimate(task.all_items.regressed, 'rate')} regressed, "
                f"{estimate(task.all_items.improved, 'rate')} improved",
                style="bold",
            )
        )
        table = _right_aligned(
            "first pass", "items", "asked again", "regressed", "improved", "equivalent", "cannot tell"
        )
        for why, words in _STRATA.items():
            row = task.strata[why]
            shares = (row.regressed, row.improved, row.equivalent, row.cannot_tell)
            table.add_row(words, count(row.of), count(row.answered), *(str(each.count) for each in shares))
        console.print(table)
        for flip in task.flips[:MAX_CONFIRMED]:
            rates = flip.pass_rate
            console.print(
                Text(
                    f"  {flip.verdict} {one_line(flip.id, 40)}: {rates.old:.0%} to {rates.new:.0%} right, "
                    f"p {flip.p_value:.2g} ({_STRATA[flip.why]} in the first pass)"
                )
            )
        if len(task.flips) > MAX_CONFIRMED:
            console.print(Text(f"  and {len(task.flips) - MAX_CONFIRMED} more", style="dim"))
    if found.missing.num:
        told = f"{found.missing.sentence()}: none of them makes an item improved or equivalent"
        console.print(Text(told, style="yellow"))
    if found.unanswered:
        console.print(Text(f"{count(found.unanswered)} chosen items have no fresh answers", style="yellow"))


_DECISIONS: dict[Decision, tuple[str, str]] = {
    "harm": ("bold red", "stop: more is lost than gained"),
    "accept": ("bold green", "stop: few enough negative flips"),
    "go_on": ("bold cyan", "go on: nothing is proven yet"),
}


def print_look(state: Look, console: Console) -> None:
    """Print what a sequential test says at this look."""
    for note in state.warnings:
        console.print(Text(one_line(f"note: {note}", 400), style="yellow"))
    style, words = _DECISIONS[state.decision]
    if state.decision == "go_on" and state.items + state.waiting >= state.total:
        words = "no items left, and nothing is proven: muscle compare says what they show"
    console.print(Text(words, style=style))
    console.print(
        Text(
            f"  after {count(state.items)} of {count(state.total)} items: {state.negative_flips} negative, "
            f"{state.positive_flips} positive flips; E-value for harm {state.e_harm:.3g} (stops at "
            f"{1 / state.alpha:.3g}), anytime p {_p_value(state.p_harm)}; two-sided p {_p_value(state.p_value)}"
        )
    )
    limit = "" if state.limit is None else f" (accepted at {percent_in_three_digits(state.limit)})"
    console.print(
        Text(
            f"  negative flip rate at most {percent_in_three_digits(state.negative_flip_rate_bound)} at any look{limit}"
        )
    )
    if state.missing:
        console.print(
            Text(
                f"  {count(state.missing)} of them without a verdict (error, unscored, doubled, not read): for the "
                "limit they count as broken"
            )
        )
    if state.waiting:
        console.print(
            Text(f"  {count(state.waiting)} answers wait for others that come before them in the seeded order")
        )


def _p_value(value: float) -> str:
    """Write a p-value; one too small for a number is not zero."""
    return f"{value:.2g}" if value > 0 else "below 1e-300"
