"""The report's headline figures: what the plain update broke, what the candidate broke, what was gained, the level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from muscle.flips.pairing.flip_sign import Kind
from muscle.flips.pairing.pair import WithOld
from muscle.flips.result.headline import balance
from muscle.flips.result.report import Report, TaskResult
from muscle.foreign_text import visible
from muscle.report.entries import unit_of
from muscle.report.numbers import Form, count, format_number
from muscle.report.page.data_elements import ABSENT, figure, integer, number, pointer
from muscle.report.page.table import Row, Table, examples_link
from muscle.report.sentences.flips import flips_to_show
from muscle.report.sentences.ways import level_title, way_rows

Tasks = Mapping[str, TaskResult]


@dataclass(frozen=True)
class Tile:
    """A headline figure: what it is, the figure, and what stands below it."""

    name: str
    big: Markup
    lines: tuple[Markup, ...]
    tone: str = ""


@dataclass(frozen=True)
class TileGroup:
    """The headline figures of the tasks of one kind."""

    name: str
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class Words:
    """How the headline speaks of tasks of one kind, and the quadrants' keys that it counts."""

    kind: Kind
    scored: str
    lost: str
    gained: str
    broke: str
    loss: str
    mended: str
    gain: str


_BINARY_WORDS = Words(
    "binary",
    "scored right or wrong",
    "negative_flips",
    "positive_flips",
    "broke",
    "right before, wrong now",
    "Newly right",
    "wrong before, right now",
)
_CONTINUOUS_WORDS = Words(
    "continuous",
    "with a continuous score",
    "worse",
    "better",
    "made worse",
    "score below the old model's",
    "Better than before",
    "score above the old model's",
)


def headline_tiles(report: Report) -> list[TileGroup]:
    """Return the figures on top, one group for right-or-wrong tasks and one for continuous ones.

    Rates of the two kinds are not pooled: any change of a continuous score counts as a flip, so they are far larger.
    """
    groups = []
    for words in (_BINARY_WORDS, _CONTINUOUS_WORDS):
        tasks = {name: task for name, task in report.tasks.items() if task.kind == words.kind}
        if balance(tasks, "old_vs_new").total:
            groups.append(TileGroup(f"{_tasks_name(tasks)} {words.scored}", _tiles(tasks, words)))
    return groups


def _tasks_name(tasks: Tasks) -> str:
    return f"{visible(next(iter(tasks)))}," if len(tasks) == 1 else f"{len(tasks)} tasks"


def _tiles(tasks: Tasks, words: Words) -> tuple[Tile, ...]:
    plain = balance(tasks, "old_vs_new")
    broken = _share_sentence(tasks, "old_vs_new", words.lost, plain.lost, words.loss)
    has_candidate = all(task.old_vs_candidate is not None for task in tasks.values())
    tiles = [Tile(f"The {'plain ' if has_candidate else ''}update {words.broke}", *broken, tone="loss")]
    if has_candidate:
        after = balance(tasks, "old_vs_candidate")
        shared = {name: task for name, task in tasks.items() if task.old_vs_new is not None}
        lost = balance(shared, "old_vs_candidate").lost
        against_plain = _against_plain_update(shared, plain.lost, lost)
        against_plain += "" if len(shared) == len(tasks) else " on the tasks of both"
        still = _share_sentence(tasks, "old_vs_candidate", words.lost, after.lost, against_plain)
        tiles.append(Tile(f"The candidate {words.broke}", *still, tone="loss"))
        big, _ = _share_sentence(tasks, "old_vs_new", words.gained, plain.gained, "")
        before = Markup("plain update {}").format(big)
        mended = _share_sentence(tasks, "old_vs_candidate", words.gained, after.gained, before)
    else:
        mended = _share_sentence(tasks, "old_vs_new", words.gained, plain.gained, words.gain)
    tiles.append(Tile(words.mended, *mended, tone="gain"))
    level = _level(tasks, words)
    return (*tiles, level) if level else tuple(tiles)


def _share_sentence(
    tasks: Tasks, side: WithOld, field: str, items: int, last: str
) -> tuple[Markup, tuple[Markup, ...]]:
    """Return a share of all items and the lines below it; each figure the file's own where there is one task."""
    total = balance(tasks, side).total
    # The sum of several tasks has no place in report.json that its figure could name.
    path, of = None, None
    big = figure(items / total, format_number(items / total, "rate")) if total else ABSENT
    if len(tasks) == 1:
        name, task = next(iter(tasks.items()))
        path, of = pointer("tasks", name, "quadrants", side, field), pointer("tasks", name, side, "n")
        metric = "negative_flip_rate" if field in ("negative_flips", "worse") else "positive_flip_rate"
        numbers = task.numbers(side)
        assert numbers is not None, "a tile is of tasks that have the side"
        big = number(numbers.metric(metric), pointer("tasks", name, side, metric), "rate")
    unit = unit_of(*tasks.values())
    count_line = Markup("{} of {} {}").format(integer(items, path), integer(total, of), unit)
    return big, (count_line, Markup("{}").format(last)) if last else (count_line,)


def _against_plain_update(tasks: Tasks, before: int, after: int) -> Markup:
    """Say by how much the candidate has fewer flips, from the file where there is one task."""
    name, task = next(iter(tasks.items()))
    percent_change = task.candidate_effect and task.candidate_effect.negative_flip_rate_change_percent
    if len(tasks) == 1 and percent_change and percent_change.value is not None:
        path = pointer("tasks", name, "candidate_effect", "negative_flip_rate_change_percent")
        return Markup("{} against the plain update").format(number(percent_change, path, "percent"))
    if not before:
        return Markup("there was none to give back")
    percent = 100 * (after - before) / before
    return Markup("{} against the plain update").format(figure(percent, format_number(percent, "percent")))


def _level(tasks: Tasks, words: Words) -> Tile | None:
    """Return accuracy pooled over items, or the mean score where there is one continuous task."""
    if len(tasks) > 1 and words.kind == "continuous":
        return None
    found: tuple[tuple[str, WithOld, str], ...] = (
        ("old", "old_vs_new", "accuracy_old"),
        ("new", "old_vs_new", "accuracy_new"),
        ("candidate", "old_vs_candidate", "accuracy_new"),
    )
    form: Form = "rate" if words.kind == "binary" else "score"
    levels = []
    for role, side, metric in found:
        present = [numbers for task in tasks.values() if (numbers := task.numbers(side)) is not None]
        weighed = [(v, each.n) for each in present if (v := each.metric(metric).value) is not None]
        # A mean over the tasks that happen to be defined would be of other items than the figures beside it.
        if len(weighed) < len(tasks):
            continue
        name, path, value = next(iter(tasks)), None, weighed[0][0]
        if len(tasks) == 1:
            path = pointer("tasks", name, side, metric, "value")
        else:
            value = sum(v * n for v, n in weighed) / sum(n for _, n in weighed)
        levels.append((role, figure(value, format_number(value, form), path)))
    if not levels:
        return None
    earlier = tuple(Markup("{} {}").format(role, value) for role, value in levels[:-1])
    title = "Accuracy" if words.kind == "binary" else f"Mean {visible(next(iter(tasks.values())).score)}"
    return Tile(f"{title}, {levels[-1][0]}", levels[-1][1], earlier)


def ways_table(report: Report) -> Table | None:
    """Return every way out with what it breaks and mends of 100 requests; None where nothing is advised."""
    rows = []
    for row in way_rows(report):
        cells = (*(_with_interval(text) for text in (row.breaks, row.mends, row.level)), Markup("{}").format(row.costs))
        rows.append(Row(row.name, "", cells))
    head = ("Breaks", "Mends", level_title(report).capitalize(), "What it takes")
    return Table("Of 100 requests", head, tuple(rows)) if rows else None


def _with_interval(text: str) -> Markup:
    """Return a figure's text with its interval, where it has one, in small letters below."""
    value, bracket, interval = text.partition(" (")
    return Markup('{} <span class="interval">({}</span>' if bracket else "{}").format(value, interval)


def link_to_broken(report: Report) -> tuple[str | None, str]:
    """Return the address of the examples that the judged version broke, and its words; None where none is listed.

    Args:
        report: with the flips that the page holds.
    """
    broken = flips_to_show(report, len(report.flips))
    if not broken:
        return None, ""
    kind = "negative" if report.candidate is None else "broke"
    # Of a list that is a sample, or cut, the page cannot say how many there are.
    whole = report.flips_shown == report.flips_total.total == len(report.flips)
    items = "the one item that broke" if len(broken) == 1 else f"the {count(len(broken))} items that broke"
    return examples_link(listed=True, kind=kind), f"See {items if whole else 'what broke'}"
