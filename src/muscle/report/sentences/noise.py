"""What terminal and Markdown say of real and noise: the floor, what is beyond it, and the verdicts item by item."""

from __future__ import annotations

from collections.abc import Iterator

from muscle.flips.measuring.side_numbers import ItemShares, SideNumbers
from muscle.flips.result.report import Report
from muscle.report.entries import shown_tasks, updates
from muscle.report.numbers import count, estimate, format_number, value_alone


def noise_lines(report: Report, *, max_tasks: int) -> list[str]:
    """Return the sentence on the noise floor, then a line a task on what repeats or a second run show.

    Args:
        report: of a comparison or of the gate.
        max_tasks: of more tasks, those with the highest negative flip rate are told.
    """
    lines = [f"Noise: {report.noise.sentence}"] if report.noise.sentence else []
    for name in shown_tasks(report, max_tasks):
        for side, version in updates(report):
            numbers = report.tasks[name].numbers(side)
            if numbers is not None:
                lines += [f"{name}, {version}: {line}" for line in _real_or_noise(numbers)]
    return lines


def _real_or_noise(numbers: SideNumbers) -> Iterator[str]:
    if numbers.items is not None:
        yield _item_verdicts(numbers.items)
    floor = numbers.noise_floor
    if floor is not None and floor.value is not None:
        yield (
            f"negative flips {value_alone(numbers.negative_flip_rate, 'rate')}, of them noise floor "
            f"{estimate(floor, 'rate')}, beyond noise {estimate(numbers.excess_negative_flip_rate, 'rate')}"
        )
    if numbers.flips_within_noise is not None and numbers.flips_within_noise.negative_flip.of:
        within = numbers.flips_within_noise.negative_flip
        yield (
            f"{count(within.count)} of {count(within.of)} negative flips sit within the differences of likelihood "
            "from run to run"
        )


def _item_verdicts(items: ItemShares) -> str:
    shares = (
        f"{estimate(items.regressed, 'rate')} regressed, {estimate(items.improved, 'rate')} improved, "
        f"{estimate(items.equivalent, 'rate')} equivalent, {estimate(items.cannot_tell, 'rate')} cannot tell"
    )
    most = items.null95.value
    null = "" if most is None else f"; without any change at most {format_number(most, 'rate')} would be called changed"
    return f"of {count(items.n)} items {shares}{null}"
