"""Advice with its price: keep the old version, align, retrain plainly, or serve both versions behind a gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from muscle.foreign_text import listing
from muscle.leaderboard.choose import plain_of
from muscle.leaderboard.entries import Role
from muscle.leaderboard.result import Advice, Row, RowNumbers, TaskBoard
from muscle.report.numbers import Form, format_number

CLOSE_COPY = 0.9
"""A student that gives the old model's answer on fewer items, when it is taught nothing else, cannot copy."""

_AS_GOOD = "It is not surely better than the plain update, but as good as the old version, which that one is not."

MUCH = 0.01
"""Accuracy, or a mean score, by which a row is more accurate than the advised one for it to be named beside it."""


@dataclass(frozen=True)
class _Task:
    """One task's rows.

    Attributes:
        name: of the task.
        binary: whether it has right and wrong.
        rows: all rows.
    """

    name: str
    binary: bool
    rows: Sequence[Row]

    def of_role(self, role: Role) -> list[Row]:
        return [row for row in self.rows if row.role == role and self.name in row.tasks]

    def numbers(self, row: Row) -> RowNumbers:
        return row.tasks[self.name]

    def level(self, row: Row) -> float:
        """Return a row's accuracy, or its mean score."""
        return self.numbers(row).mean("accuracy") or 0.0

    def flips(self, row: Row) -> float:
        return self.numbers(row).mean("negative_flip_rate") or 0.0

    def told_level(self, row: Row) -> str:
        form: Form = "rate" if self.binary else "score"
        return format_number(self.level(row), form)

    def told_flips(self, row: Row) -> str:
        return format_number(self.flips(row), "rate")


def advise(board: TaskBoard, rows: Sequence[Row]) -> Advice | None:
    """Say what to do about one task, at what price, and why; None where the old version or the plain update is missing.

    What counts are rows as good as the old version and the plain update that are better than the latter beyond chance:
    they break fewer answers, or break no more and have more right. Of these the one with the fewest flips, to align if
    it is a method, to retrain so if it is a control; one of them that has more right is named beside it. Where there is
    none, serve both, if that is as good and surely better; else retrain, or keep the old version where nothing that was
    trained is as good. Two models served are named beside another advice where they break fewer.
    """
    task = _Task(board.name, board.kind == "binary", rows)
    old, plain = task.of_role("old"), task.of_role("plain")
    chosen = next((row for row in rows if row.name == board.chosen), None)
    if not old or not plain:
        return None
    group_plain = (plain_of(rows, chosen) if chosen else None) or plain[0]
    kept = next((row for row in old if row.group == group_plain.group), old[0])
    found = _action(task, kept, group_plain, chosen)
    return Advice(found.action, found.row, [*found.sentences, *_served(task, found), *_caution(task)])


def _action(task: _Task, old: Row, plain: Row, chosen: Row | None) -> Advice:
    usable = [row for row in task.rows if task.name in row.tasks and row.eligible and not row.failed]
    level = max(task.level(old), task.level(plain))
    surely = [row for row in usable if task.level(row) >= level and _surely_better(task, row, plain)]
    if surely:
        taken = min(surely, key=lambda row: (task.flips(row), -task.level(row)))
        beside = [*_by_accuracy(task, taken), *_more_right(task, surely, taken), *_other_choice(task, chosen, taken)]
        return _train_as(task, old, plain, taken, beside)
    both = _best_served(task, at_least=level)
    if both is not None and _surely_better(task, both, plain):
        return Advice("serve_both", both.name, [_serve_both(task, old, plain, both)])
    if task.level(plain) >= task.level(old):
        return Advice("retrain", plain.name, [_retrain_plainly(task, old, plain, chosen)])
    as_good = [row for row in usable if task.level(row) >= task.level(old)]
    if as_good:
        taken = min(as_good, key=task.flips)
        return _train_as(task, old, plain, taken, [_AS_GOOD])
    best = max([plain, *usable], key=task.level)
    return Advice("freeze", old.name, [_freeze(task, old, best)])


def _train_as(task: _Task, old: Row, plain: Row, taken: Row, more: Sequence[str]) -> Advice:
    """Advise a row that was trained: to align if it is a method, to retrain so if it is a control."""
    if taken.role == "method":
        return Advice("align", taken.name, [*_align(task, old, plain, taken), *more])
    return Advice("retrain", taken.name, [_retrain_as(task, old, plain, taken), *more])


def _by_accuracy(task: _Task, taken: Row) -> list[str]:
    """Say where a row is better by its accuracy alone."""
    if _row_beats(task, taken, "plain"):
        return []
    return ["That it has more right answers than the plain update is more than chance; that it breaks fewer is not."]


def _more_right(task: _Task, surely: Sequence[Row], taken: Row) -> list[str]:
    """Name the most accurate of the rows that are surely better, where it has much more right than the advised one."""
    best = max(surely, key=lambda row: (task.level(row), -task.flips(row)))
    if task.level(best) - task.level(taken) < MUCH:
        return []
    return [f"{best.name} has more right ({task.told_level(best)}), and breaks {task.told_flips(best)}."]


def _other_choice(task: _Task, chosen: Row | None, taken: Row) -> list[str]:
    """Name the chosen row where it is not what is advised: it breaks fewer, and is less accurate than the old one."""
    if chosen is None or chosen is taken:
        return []
    return [
        f"{chosen.name} breaks fewer still ({task.told_flips(chosen)}), but with {task.told_level(chosen)} it is not "
        "as good as the old version."
    ]


def _best_served(task: _Task, *, at_least: float) -> Row | None:
    """Return the row of two models served with the fewest flips among those at such a level; None without one."""
    found = [row for row in task.of_role("served") if not row.failed and task.level(row) >= at_least]
    return min(found, key=task.flips, default=None)


def _serve_both(task: _Task, old: Row, plain: Row, both: Row) -> str:
    return (
        f"Serve both versions, as in {both.name} (muscle.route): {task.told_flips(both)} of the answers break in place "
        f"of {task.told_flips(plain)}, at {task.told_level(both)} (plain update {task.told_level(plain)}, old "
        f"{task.told_level(old)}); no single model is as good and surely better. The price: "
        f"{both.models_served} models served."
    )


def _freeze(task: _Task, old: Row, best: Row) -> str:
    return (
        f"Keep the old version: of what was trained nothing is as good ({best.name}: {task.told_level(best)} against "
        f"{task.told_level(old)}), and it would break {task.told_flips(best)} of the answers. The price: what the new "
        "base could give with more data or training."
    )


def _retrain_as(task: _Task, old: Row, plain: Row, taken: Row) -> str:
    return (
        f"Retrain as in {taken.name} ({taken.what}): {task.told_level(taken)} after {task.told_level(old)}, where the "
        f"plain update has {task.told_level(plain)} and breaks {task.told_flips(plain)}; no method with the old model "
        f"does better here. The price: {task.told_flips(taken)} of the answers break."
    )


def _retrain_plainly(task: _Task, old: Row, plain: Row, chosen: Row | None) -> str:
    closest = ""
    if chosen and task.flips(chosen) < task.flips(plain):
        closest = f"; {chosen.name} breaks {task.told_flips(chosen)}, which may be chance"
    elif chosen and task.level(chosen) > task.level(plain):
        closest = f"; {chosen.name} has more right ({task.told_level(chosen)}), but breaks {task.told_flips(chosen)}"
    return (
        f"Retrain plainly: {task.told_level(plain)} after {task.told_level(old)}, and no row as accurate is surely "
        f"better{closest}. The price: {task.told_flips(plain)} of the answers break."
    )


def _align(task: _Task, old: Row, plain: Row, chosen: Row) -> list[str]:
    cut = task.numbers(chosen).mean("negative_flip_rate_change_percent")
    less = f" ({format_number(cut, 'percent')})" if cut is not None else ""
    seconds = f", {_time(chosen.seconds.mean)} of training" if chosen.seconds else ""
    found = [
        f"Align with {chosen.name}: it breaks {task.told_flips(chosen)} of the answers in place of "
        f"{task.told_flips(plain)}{less} at {task.told_level(chosen)} (plain update {task.told_level(plain)}, old "
        f"{task.told_level(old)}). The price: one adapter in place of another{seconds}, one model served as before."
    ]
    return found + _why(task, chosen)


def _why(task: _Task, chosen: Row) -> list[str]:
    """Say whether the old model has a part in it, and how it stands to re-running the old recipe."""
    numbers, found = task.numbers(chosen), []
    if numbers.uses_old_model:
        found.append("The old model has a part in it: it beats every control without the old model.")
    elif numbers.uses_old_model is False:
        equal = [f"'{each.against}'" for each in numbers.comparisons if not each.beats and each.control not in _OTHERS]
        found.append(f"That it is the old model which helps is not shown: it does not beat {listing(equal)}.")
    floor = numbers.against("floor")
    if floor is not None:
        words = "breaks fewer" if floor.beats else "does not surely break fewer"
        theirs = next((task.told_flips(row) for row in task.rows if row.name == floor.against), "")
        found.append(f"It {words} answers than the old recipe does when it is merely run again ({theirs}).")
    return found


_OTHERS = ("floor", "twin", "third")
"""Controls that say nothing of whether the old model is used."""


def _surely_better(task: _Task, row: Row, plain: Row) -> bool:
    """Tell whether a row breaks fewer answers than the plain update beyond chance, or no more and has more right.

    An update that had little to break is judged by what it gains.
    """
    has_more = any(each.gains for each in task.numbers(row).comparisons if each.control == "plain")
    return _row_beats(task, row, "plain") or (has_more and task.flips(row) <= task.flips(plain))


def _row_beats(task: _Task, row: Row, control: str) -> bool:
    return any(each.beats for each in task.numbers(row).comparisons if each.control == control)


def _served(task: _Task, advice: Advice) -> list[str]:
    """Name two models served where they break fewer answers than what is advised, at no lower level."""
    advised = next((row for row in task.rows if row.name == advice.row), None)
    if advised is None or advice.action not in ("align", "retrain"):
        return []
    best = _best_served(task, at_least=task.level(advised))
    if best is None or task.flips(best) >= task.flips(advised):
        return []
    return [
        f"Two models go further: {best.name} breaks {task.told_flips(best)} at {task.told_level(best)}, for "
        f"{best.models_served} models served (muscle.route)."
    ]


def _caution(task: _Task) -> list[str]:
    """Say what to do first where the student cannot copy, or where one seed is all there is."""
    found = []
    for probe in task.of_role("probe"):
        same = task.numbers(probe).mean("same_answer_as_old")
        if same is not None and same < CLOSE_COPY:
            found.append(
                f"The student copies badly: taught by the old model alone it gives its answer on "
                f"{format_number(same, 'rate')} of the items. Before another target try more unlabelled inputs, then "
                "more epochs, then a larger rank."
            )
    if all(len(task.numbers(row).by_seed) < 2 for row in task.of_role("plain")):
        found.append("One seed was trained: what another seed would give is not known (--seeds 0,1,2).")
    return found


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
