"""`muscle plan`, `muscle confirm` and `muscle watch`: before, after and while a version is evaluated."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from muscle.commands.follow_up import next_command
from muscle.commands.groups import Comparing, Reading, spread
from muscle.commands.options import Allow, EpsilonItem, ItemTest, On, Quiet
from muscle.commands.shell import check_outputs, say, start, write_result
from muscle.commands.sources import parse_source, read_growing, reading, tell_unread
from muscle.errors import ConfigError, UnfinishedError

if TYPE_CHECKING:
    import polars as pl

    from muscle.flips.options import CompareOptions
    from muscle.plan.confirm import Confirmation
    from muscle.plan.sequential import Decision
    from muscle.plan.watch import Look
    from muscle.plan.wish import Wish
    from muscle.predictions.run import Run

logger = logging.getLogger(__name__)

WATCH_CODES: dict[Decision, int] = {"accept": 0, "harm": 1, "go_on": 2}

_Json = Annotated[Path | None, typer.Option("--json", help="Write it as JSON; - prints it.")]


@dataclass(frozen=True)
class Planning:
    """What a plan is for: a field for each of `muscle.plan.wish.Wish`, of the same name and default."""

    PANEL: ClassVar[str] = "Goals and assumptions"

    difference: Annotated[float, typer.Option(help="Change of accuracy to find, in [0, 1].")] = 0.02
    power: Annotated[float, typer.Option(help="Probability of finding it.")] = 0.8
    alpha: Annotated[float, typer.Option(help="Two-sided level of the test.")] = 0.05
    items: Annotated[int | None, typer.Option(min=2, help="How many items there are.")] = None
    repeats: Annotated[int | None, typer.Option(min=1, help="Answers per item and side.")] = None
    budget: Annotated[float | None, typer.Option(min=0, help="Maximum cost.")] = None
    item_cost: Annotated[float, typer.Option(min=0, help="Cost of one more item, without its answers.")] = 0.0
    answer_cost: Annotated[float, typer.Option(min=0, help="Cost of one more answer on each side.")] = 1.0
    limit: Annotated[float, typer.Option(help="Upper limit of the negative flip rate to prove.")] = 0.01
    disagreement: Annotated[float, typer.Option(help="Without a pilot: share of the items that flip either way.")] = (
        0.10
    )
    noise_share: Annotated[
        float, typer.Option(help="Without repeats in a pilot: share of the flips that are noise.")
    ] = 0.5
    changed: Annotated[float, typer.Option(help="Share of the items that really change.")] = 0.05

    def wish(self) -> Wish:
        """Return them as the planner takes them."""
        from muscle.plan.wish import Wish

        return Wish(**vars(self))


@spread
def plan(
    pilot: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN", help="A pilot run, of the old version alone or of old and new."),
    ] = None,
    *,
    planning: Planning,
    how: Reading,
    comparing: Comparing,
    json_file: _Json = None,
    quiet: Quiet = False,
) -> None:
    """Compute how many items and repeats an evaluation needs.

    Works without data, from a pilot run of the old version (best with repeats), or from pilots of both versions. Runs
    are given as for muscle compare; RUN::key=value sets an option for one run alone.
    """
    start(quiet)
    check_outputs(json_file)
    from muscle.plan.planner import assumptions_of, make_plan

    runs = pilot or []
    if len(runs) > 2:
        raise ConfigError(f"plan: expected at most an old and a new pilot run, found {len(runs)}")
    wish = planning.wish()
    with reading(runs, how, then="planning") as read:
        tell_unread(read)
        first, second = (read[place] if len(read) > place else None for place in (0, 1))
        plans = [make_plan(each, wish) for each in assumptions_of(first, second, wish, options=comparing.options())]
    if write_result(json_file, {each.task: each for each in plans}) or quiet:
        return
    from rich.console import Console

    from muscle.plan.terminal import print_plan

    for each in plans:
        print_plan(each, Console())


@dataclass(frozen=True)
class Asking:
    """Which items are asked again, and how often."""

    PANEL: ClassVar[str] = "Which items are asked again"

    share: Annotated[float, typer.Option(min=0, max=1, help="Share of the unflipped items to ask again too.")] = 0.1
    repeats: Annotated[
        int | None,
        typer.Option(min=2, help="Fresh answers per item and side; default: as many as verdicts need."),
    ] = None
    seed: Annotated[int, typer.Option(min=0, help="Seed for choosing the unflipped items.")] = 0


@spread
def confirm(
    old: Annotated[str, typer.Argument(metavar="OLD", help="The old version's first run.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The new version's.")],
    items: Annotated[
        Path,
        typer.Option(
            "--items", "-o", help="The list of items, .jsonl or .csv: written first, read with the fresh answers."
        ),
    ] = Path("confirm.jsonl"),
    fresh_old: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="The old version's fresh answers to the items of the list."),
    ] = None,
    fresh_new: Annotated[str | None, typer.Option(metavar="RUN", help="The new version's.")] = None,
    *,
    asking: Asking,
    epsilon_item: EpsilonItem = 0.2,
    item_test: ItemTest = "fisher",
    context: typer.Context,
    how: Reading,
    comparing: Comparing,
    json_file: _Json = None,
    quiet: Quiet = False,
) -> None:
    """Find out by fresh answers which flips are real.

    First writes which items to ask again: those that flipped and a random share of the others. With --fresh-old and
    --fresh-new it judges the fresh answers alone. Runs are given as for muscle compare; RUN::key=value sets an option
    for one run alone.
    """
    start(quiet)
    check_outputs(json_file, items if fresh_old is None else None)
    if (fresh_old is None) != (fresh_new is None):
        raise ConfigError("confirm: expected --fresh-old and --fresh-new together, found one of them")
    options = replace(comparing.options(), epsilon_item=epsilon_item, item_test=item_test)
    if fresh_old is None or fresh_new is None:
        if json_file is not None:
            raise ConfigError(
                f"--json {json_file}: holds what fresh answers say, expected --fresh-old and --fresh-new with it; the "
                "list of what to ask is a file of its own (--items)"
            )
        from muscle.plan.item_list import write_items

        chosen = _choose_items(old, new, how, asking, options)
        write_items(items, chosen)
        if not quiet:
            say(_what_to_ask(items, chosen, context))
        return
    for fresh, first in ((fresh_old, old), (fresh_new, new)):
        if _is_same(fresh, first):
            raise ConfigError(f"confirm: expected fresh answers, found the first pass again ({fresh})")
    found = _judge_fresh(items, (old, new), (fresh_old, fresh_new), how, options)
    if write_result(json_file, found) or quiet:
        return
    from rich.console import Console

    from muscle.plan.terminal import print_confirmed

    print_confirmed(found, Console())


def _choose_items(old: str, new: str, how: Reading, asking: Asking, options: CompareOptions) -> pl.DataFrame:
    """Return the items of a first pass to ask again."""
    from muscle.flips.pairing.comparability import check_comparable
    from muscle.flips.pairing.one_file_twice import refuse_one_file
    from muscle.plan.item_list import choose

    with reading([old, new], how, then="choosing") as runs:
        tell_unread(runs)
        refuse_one_file({"old": runs[0], "new": runs[1]})
        check_comparable(runs[0], runs[1], allow=options.allow)
        return choose(runs[0], runs[1], share=asking.share, repeats=asking.repeats, seed=asking.seed, options=options)


def _judge_fresh(
    items: Path, first: tuple[str, str], fresh: tuple[str, str], how: Reading, options: CompareOptions
) -> Confirmation:
    """Return what fresh answers to the items of a list say, which was written for a first pass."""
    from muscle.flips.pairing.comparability import check_comparable
    from muscle.plan.confirm import confirm as judge_fresh
    from muscle.plan.item_list import check_list_of, read_items

    listed = read_items(items)
    with reading([*first, *fresh], how, then="judging") as runs:
        tell_unread(runs)
        check_list_of(items, listed, runs[0], runs[1], options)
        check_comparable(runs[2], runs[3], allow=options.allow)
        return judge_fresh(listed, runs[2], runs[3], options=options)


def _what_to_ask(path: Path, chosen: pl.DataFrame, context: typer.Context) -> str:
    """Say how many items the list holds, and what to do with it."""
    flipped = int((chosen["why"] != "unflipped").sum())
    old, new = (path.with_name(f"{path.stem}-{side}.jsonl") for side in ("old", "new"))
    fresh = {"--items": path, "--fresh-old": old, "--fresh-new": new}
    return (
        f"{path}: {chosen.height} items ({flipped} that flipped, {chosen.height - flipped} that did not); ask each "
        f"{chosen['repeats'][0]} times on both sides, keep the answers as {old} and {new}, then:\n"
        + next_command(context, more=fresh)
    )


def _is_same(first: str, second: str) -> bool:
    """Whether two words name one run; what reports call it makes no difference."""
    sources = [parse_source(word) for word in (first, second)]
    told = [
        (
            each.path.resolve(),
            each.columns,
            {key: value for key, value in each.options.items() if key != "name"},
        )
        for each in sources
    ]
    return told[0] == told[1]


@spread
def watch(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="OLD [NEW]", help="The old version's run and the new version's, which may still grow."),
    ],
    order: Annotated[
        Path | None,
        typer.Option(help="Write the old run's items in the random order to ask them in, .jsonl or .csv."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Seed of that order. Without it the file's own order is used, which must be random."),
    ] = None,
    limit: Annotated[float, typer.Option(help="Accept once the negative flip rate is proven to be below.")] = 0.05,
    alpha: Annotated[float, typer.Option(help="Chance of a false alarm over all looks.")] = 0.05,
    follow: Annotated[bool, typer.Option("--follow", help="Look again until something is proven.")] = False,
    every: Annotated[float, typer.Option(min=0.1, max=86_400, help="Seconds between looks.")] = 10.0,
    on: On = "auto",
    allow: Allow = None,
    *,
    context: typer.Context,
    how: Reading,
    json_file: _Json = None,
    quiet: Quiet = False,
) -> None:
    """Test results while they come in, and say when you may stop.

    Runs are given as for muscle compare; RUN::key=value sets an option for one run alone.

    Exit code 0: accepted; 1: harm; 2: go on; 3: bad input.
    """
    start(quiet)
    check_outputs(order, json_file)
    if order is not None:
        told = _order_written(runs, order, how, seed=seed or 0, context=context)
        if not quiet:
            say(told)
        return
    if len(runs) != 2:
        raise ConfigError(f"watch: expected OLD and NEW, found {len(runs)} run{'s' * (len(runs) != 1)}")
    from muscle.flips.options import CompareOptions
    from muscle.plan.sequential import SequentialTest
    from muscle.plan.watch import look

    SequentialTest(alpha=alpha, limit=limit)  # refuses impossible ones before anything waits for answers
    options = CompareOptions(on=on, allow=allow or ())

    def take(old: Run, new: Run) -> Look:
        tell_unread([old, new])
        return look(old, new, seed=seed, alpha=alpha, limit=limit, options=options)

    for found, is_last in _looks(runs[0], runs[1], how, take, follow=follow, every=every):
        # Of several looks one is JSON: the last.
        if is_last or str(json_file) != "-":
            _show_look(found, json_file, quiet=quiet)
        if is_last:
            raise typer.Exit(WATCH_CODES[found.decision])


def _looks(
    old: str, new: str, how: Reading, take: Callable[[Run, Run], Look], *, follow: bool, every: float
) -> Iterator[tuple[Look, bool]]:
    """Yield looks at a run that may still grow, and of each whether it is the last.

    Args:
        old: the old version's run, as it was named.
        new: the run that may still grow.
        how: how it is read.
        take: makes a look.
        follow: whether to look again until something is proven.
        every: seconds between looks.

    Raises:
        UnfinishedError: nothing of the run is there, at the only look.
    """
    with reading([old], how, then="testing") as read:
        whole = read[0]
    while True:
        try:
            with reading([new], how, then="testing", read=read_growing) as read:
                found = take(whole, read[0])
        except UnfinishedError as error:
            if not follow:
                raise
            logger.warning("%s; looking again", error)
        else:
            is_last = not follow or found.decision != "go_on" or found.items + found.waiting >= found.total
            yield found, is_last
            if is_last:
                return
        time.sleep(every)


def _order_written(runs: Sequence[str], path: Path, how: Reading, *, seed: int, context: typer.Context) -> str:
    """Write a run's items in random order, and say how many they are and what to do with them."""
    if len(runs) != 1:
        raise ConfigError(f"watch: expected the old run alone beside --order, found {len(runs)} runs")
    from muscle.plan.watch import write_order

    with reading(runs, how, then="ordering") as read:
        tell_unread(read)
        number = write_order(read[0], path, seed=seed)
    then = next_command(
        context,
        more={"--seed": seed},
        without=["--order"],
        arguments=[path.with_name(f"{path.stem}-new.jsonl")],
    )
    return f"{path}: {number} items in random order; ask them in it, keep the answers, and watch:\n{then}"


def _show_look(found: Look, json_file: Path | None, *, quiet: bool) -> None:
    if write_result(json_file, found) or quiet:
        return
    from rich.console import Console

    from muscle.plan.terminal import print_look

    print_look(found, Console())
