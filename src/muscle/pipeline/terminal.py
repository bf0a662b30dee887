"""A dry run in a terminal: the stages, what training takes, and the memory of each stage."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from muscle.pipeline.dry_run import Plan
from muscle.pipeline.memory.plan_memory import MemoryPlan
from muscle.pipeline.resources import UTILISATION
from muscle.report.text.terminal_parts import print_lines


def print_plan(plan: Plan, console: Console) -> None:
    """Print what is not here and the stages, then what they would take."""
    _print_stages(plan, console)
    _print_resources(plan, console)
    if plan.memory is not None:
        _print_memory(plan.memory, console)


def _print_stages(plan: Plan, console: Console) -> None:
    table = Table("stage", "state", title="What would be done")
    for title in ("examples", "tokens, at most", "teachers'"):
        table.add_column(title, justify="right", no_wrap=True)
    for stage in plan.stages:
        tokens = _count_or_unknown(stage.num_tokens) if stage.state == "to run" else ""
        asked = "" if stage.teacher_tokens == 0 else _count_or_unknown(stage.teacher_tokens)
        published = " (published)" if stage.is_published else ""
        table.add_row(Text(stage.name), stage.state, f"{stage.num_examples:,}{published}", tokens, asked)
    table.add_row("compare and report", "", "", "", "")
    console.print(table)
    print_lines(plan.notes, console, limit=400, style="yellow")
    counts = [number for stage in plan.stages for number in (stage.num_tokens, stage.teacher_tokens)]
    if None not in counts:
        total = sum(number or 0 for number in counts)
        console.print(f"{total:,} tokens at most in the stages to run")


def _count_or_unknown(number: int | None) -> str:
    return "unknown" if number is None else f"{number:,}"


def _print_resources(plan: Plan, console: Console) -> None:
    if plan.resources is None:
        return
    sizes, found = plan.resources
    table = Table("training the compatibility adapter, per GPU", title="What it would take (estimated)")
    table.add_column("", justify="right")
    for name, value in (
        (f"weights of a base, {sizes.parameters / 1e9:.2f} B", found.weights),
        ("LoRA: weights, gradients, AdamW", found.adapter),
        ("activations of the longest batch", found.activations),
        ("logits of a chunk", found.chunk),
        ("memory in all", found.total),
        *([("teacher stores, on disk", found.store)] if plan.knows_tokens else []),
    ):
        table.add_row(name, f"{value / 1e9:.2f} GB")
    hours = found.seconds / 3600
    if plan.knows_tokens:
        table.add_row(
            f"time on an A100 at {UTILISATION:.0%} of its peak",
            f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.1f} min",
        )
    console.print(table)
    console.print("While the stores are built the old base is in memory too. The formulas: docs/scale.md")


def _print_memory(plan: MemoryPlan, console: Console) -> None:
    """Print the stages' memory, the largest first, and what to change where the named card is too small."""
    if not plan.stages:
        return
    title = "Memory of a GPU by stage (estimated), in GB"
    table = Table("stage", title=title)
    for column in ("bases", "LoRA", "batch", "logits", "in all"):
        table.add_column(column, justify="right", no_wrap=True)
    if plan.card is not None:
        table.add_column("fits", no_wrap=True)
    for stage in plan.stages:
        parts = (stage.weights, stage.adapter, stage.activations, stage.logits, stage.total)
        fits = {None: (), True: ("yes",), False: ("no",)}[plan.fits(stage)]
        table.add_row(Text(stage.name), *(f"{part / 1e9:.2f}" for part in parts), *fits)
    console.print(table)
    print_lines((*_advice_lines(plan), *plan.assumes), console, limit=400, style="")


def _advice_lines(plan: MemoryPlan) -> list[str]:
    """Return the largest stage, whether all fit, and the changes to make, a line each."""
    largest, card = plan.stages[0], plan.card
    needs = f"The largest: {largest.name}, {largest.total / 1e9:.1f} GB"
    if card is None:
        held = (
            f"the smallest known card that holds it: {plan.smallest.name}"
            if plan.smallest
            else "no known card holds it"
        )
        return [f"{needs}; {held} (--gpu NAME or 24GB asks for one)."]
    room = f"{card.name} has {card.usable / 1e9:.1f} GB for it ({card.bytes / 1e9:.1f} GB less what is left free)"
    if largest.total <= card.usable:
        return [f"{needs}; {room}. Every stage fits."]
    lines = [f"{needs}; {room}. It does not fit."]
    if plan.changes is None:
        lines.append(
            f"No batch size, checkpointing, 4-bit form or length makes it fit; of the {largest.total / 1e9:.1f} GB "
            f"{largest.weights / 1e9:.1f} are the bases' weights. Take a smaller base or a larger card."
        )
    else:
        words = " ".join(f"--set {key}={_yaml(value)}" for key, value in plan.changes.items())
        lines.append(f"It fits with: {words}")
    if plan.smallest:
        lines.append(f"As it stands it fits: {plan.smallest.name}.")
    return lines


def _yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
