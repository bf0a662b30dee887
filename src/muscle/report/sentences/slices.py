"""What is said of a task's slices: where flips concentrate, which go against the whole, what was not tested."""

from __future__ import annotations

from muscle.flips.slices.slice_numbers import TaskSlices
from muscle.foreign_text import first_few
from muscle.report.numbers import Form, count, estimate, format_number, probability, value_alone

MAX_CONCENTRATED = 5
MAX_NAMES = 5


def slice_sentences(sliced: TaskSlices, *, binary: bool = True, unit: str = "items") -> list[str]:
    """Say all that is said of a task's slices beside their table; `unit` is what their numbers count."""
    concentrated = concentration_lines(sliced, unit=unit)
    return [*concentrated, *simpson_lines(sliced, binary=binary), *small_lines(sliced, unit=unit)]


def concentration_lines(sliced: TaskSlices, *, unit: str = "items") -> list[str]:
    """Say where negative flips are more frequent than in the rest, beyond chance; the surest first."""
    return [
        f"{row.by} = {row.value}: {value_alone(row.negative_flip_rate, 'rate')} of {count(row.n)} {unit} broke, "
        f"{format_number(row.excess.rest, 'rate')} of the rest (p = {probability(row.excess.bh_p)}, corrected)"
        for row in [row for row in sliced.concentrated if row.significant][:MAX_CONCENTRATED]
    ]


def simpson_lines(sliced: TaskSlices, *, binary: bool = True) -> list[str]:
    """Name the cuts in which slices go against the whole, or cancel out in it."""
    form: Form = "points" if binary else "signed"
    lines = []
    for case in sliced.simpson:
        ways = {"worse": case.worse, "better": case.better}
        parts = [f"{way}: {first_few(values, MAX_NAMES)}" for way, values in ways.items() if values]
        said = (
            "the whole hides changes that cancel out"
            if case.kind == "cancels_out"
            else f"slices go against the whole ({case.overall.direction})"
        )
        overall = estimate(case.overall.accuracy_difference, form)
        lines.append(f"{case.by}: {said}; overall {overall}; {'; '.join(parts)}")
    return lines


def small_lines(sliced: TaskSlices, *, unit: str = "items") -> list[str]:
    """Say what was cut and not tested."""
    lines = []
    for cut in sliced.by:
        small = cut.small
        if cut.skipped:
            lines.append(f"{cut.by}: {cut.skipped}")
        elif small.slices:
            lines.append(
                f"{cut.by}: {count(small.slices)} slices with fewer than {sliced.min_items} items are not tested "
                f"({count(small.items)} {unit}, {count(small.negative_flips)} broke)"
            )
    return lines
