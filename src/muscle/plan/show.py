"""Plans, confirmations and looks, as people read them in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from muscle.flips.statistics.intervals import Estimate
from muscle.flips.wording import percent_in_three_digits
from muscle.report.numbers import count, estimate
from muscle.shortening import one_line

_STRATA = {"negative_flip": "negative flips", "positive_flip": "positive flips", "unflipped": "did not flip"}
MAX_CONFIRMED = 10


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def print_plan(plan: Mapping[str, Any], console: Console) -> None:
    """Print what items and repeats cost and show."""
    wish, variance = plan["wish"], plan["variance"]
    console.print(
        Text(
            f"{one_line(plan['task'], 80)}: to find a change of {100 * wish['difference']:.3g} points with power "
            f"{wish['power']:.0%} at level {wish['alpha']:g}",
            style="bold",
        )
    )
    console.print(
        Text(
            f"  variance of an item's difference {variance['total']:.4f}: items {variance['items']:.4f}, answers "
            f"{variance['answers']:.4f} ({variance['source']})"
        )
    )
    table = _table("repeats", "items", "answers of both", "cost", "")
    for row in plan["table"]:
        mark = "cheapest" if row is plan["best"] or row["repeats"] == plan["best"]["repeats"] else ""
        if mark and wish["repeats"]:
            mark = "as wished"
        table.add_row(
            str(row["repeats"]), count(row["items"]), count(row["answers"]), f"{row['cost']:,.6g}", mark
        )
    console.print(table)
    for line in _plan_lines(plan):
        console.print(Text(f"  {line}"))


def _plan_lines(plan: Mapping[str, Any]) -> Iterator[str]:
    given, items, wish = plan["given"], plan["items"], plan["wish"]
    if given:
        yield (
            f"{count(given['items'])} items with {given['repeats']} answers a side: power {given['power']:.0%} for that change; "
            f"power {wish['power']:.0%} for {100 * given['detectable']:.2g} points"
        )
    yield (
        f"a verdict on one of {count(items['n'])} items takes at least {items['minimum_repeats']} answers a side, where it flips "
        "fully and no other does; one answer can never tell"
    )
    told = ", ".join(
        f"{change['old']:.0%} to {change['new']:.0%}: {change['repeats'] or 'more than 200'}"
        for change in items["changes"]
    )
    yield f"answers a side for an item whose pass rate falls, where {wish['changed']:.0%} of the items change: {told}"
    prove = plan["prove"]
    yield f"{count(prove['items'])} items without a negative flip prove that at most {percent_in_three_digits(prove['limit'])} break"


def print_confirmed(found: Mapping[str, Any], console: Console) -> None:
    """Print what fresh answers say of the flips of a first pass."""
    for name, task in found["tasks"].items():
        shares = {word: Estimate(**share) for word, share in task["all_items"].items()}
        console.print(
            Text(
                f"{one_line(name, 80)}: of all items {estimate(shares['regressed'], 'rate')} regressed, "
                f"{estimate(shares['improved'], 'rate')} improved",
                style="bold",
            )
        )
        table = _table(
            "first pass", "items", "asked again", "regressed", "improved", "equivalent", "cannot tell"
        )
        for why, words in _STRATA.items():
            row = task["strata"][why]
            cells = [
                f"{row[word]['count']}" for word in ("regressed", "improved", "equivalent", "cannot_tell")
            ]
            table.add_row(words, count(row["of"]), count(row["answered"]), *cells)
        console.print(table)
        for flip in task["flips"][:MAX_CONFIRMED]:
            rates = flip["pass_rate"]
            console.print(
                Text(
                    f"  {flip['verdict']} {one_line(flip['id'], 40)}: {rates['old']:.0%} to {rates['new']:.0%} right, "
                    f"p {flip['p_value']:.2g} ({_STRATA[flip['why']]} in the first pass)"
                )
            )
        if len(task["flips"]) > MAX_CONFIRMED:
            console.print(Text(f"  and {len(task['flips']) - MAX_CONFIRMED} more", style="dim"))
    if found["unanswered"]:
        console.print(
            Text(f"{count(found['unanswered'])} chosen items have no fresh answers", style="yellow")
        )


_DECISIONS = {
    "harm": ("bold red", "stop: more is lost than gained"),
    "accept": ("bold green", "stop: few enough negative flips"),
    "go_on": ("bold cyan", "go on: nothing is proven yet"),
}


def print_look(state: Mapping[str, Any], console: Console) -> None:
    """Print what a sequential test says at this look."""
    for note in state["warnings"]:
        console.print(Text(one_line(f"note: {note}", 400), style="yellow"))
    style, words = _DECISIONS[state["decision"]]
    console.print(Text(words, style=style))
    console.print(
        Text(
            f"  after {count(state['items'])} of {count(state['total'])} items: {state['negative_flips']} negative, "
            f"{state['positive_flips']} positive flips; E-value for harm {state['e_harm']:.3g} (stops at {1 / state['alpha']:.3g}), "
            f"anytime p {_p_value(state['p_harm'])}; two-sided p {_p_value(state['p_value'])}"
        )
    )
    limit = "" if state["limit"] is None else f" (accepted at {percent_in_three_digits(state['limit'])})"
    console.print(
        Text(
            f"  negative flip rate at most {percent_in_three_digits(state['negative_flip_rate_bound'])} at any look{limit}"
        )
    )
    if state["missing"]:
        told = f"  {count(state['missing'])} of them without a verdict (error, unscored, not read): for the limit they count as broken"
        console.print(Text(told))
    if state["waiting"]:
        console.print(
            Text(
                f"  {count(state['waiting'])} answers wait for others that come before them in the seeded order"
            )
        )


def _p_value(value: float) -> str:
    """Write a p-value; one too small for a number is not zero."""
    return f"{value:.2g}" if value > 0 else "below 1e-300"
