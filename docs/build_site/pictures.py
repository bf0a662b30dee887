"""The pictures of docs/metrics.md: twenty items by two versions, and which of them a metric counts.

Every number in them is the product's: `muscle.compare` measures the items that are drawn.

PYTHONPATH=src python docs/build_site/pictures.py      writes docs/images/metrics/*.svg
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import comb
from pathlib import Path

import muscle
from muscle.flips.measuring.side_numbers import SideNumbers

FOLDER = Path(__file__).parents[1] / "images" / "metrics"

REFERENCE = "ABCDABCDABCDABCDABCD"
OLD = "ABCDABCDABCDABCBDABA"
NEW = "ABCDABCDABCDCADDABCB"
AGAIN = "ABCDADCDABCDABCBDABA"
"""The answers to the items by two versions, and by the old one asked once more."""

SCORES_OLD = (0.62, 0.35, 0.48, 0.71, 0.55, 0.40, 0.66, 0.52, 0.30, 0.58)
SCORES_NEW = (0.70, 0.35, 0.60, 0.52, 0.75, 0.44, 0.60, 0.52, 0.50, 0.44)

_SIZE, _GAP, _LEFT, _TOP = 26, 6, 64, 44
_INK, _PAPER, _RIGHT, _WRONG, _CHOSEN = "#1f2430", "#ffffff", "#2f6db3", "#ffffff", "#f6c453"
_FONT = "font-family='system-ui, sans-serif'"


@dataclass(frozen=True)
class Item:
    """One item: what each version answered, and the right answer."""

    old: str
    new: str
    again: str
    reference: str

    @property
    def old_right(self) -> bool:
        """Whether the old version has it right."""
        return self.old == self.reference

    @property
    def new_right(self) -> bool:
        """Whether the new version has it right."""
        return self.new == self.reference


ITEMS = tuple(Item(*each) for each in zip(OLD, NEW, AGAIN, REFERENCE, strict=True))


def _broke(item: Item) -> bool:
    return item.old_right and not item.new_right


def _gained(item: Item) -> bool:
    return item.new_right and not item.old_right


def _any(item: Item) -> bool:
    return True


@dataclass(frozen=True)
class Picture:
    """Which items a metric counts.

    Attributes:
        name: the metric's field in `SideNumbers`, and the file's.
        short: what it is called.
        counted: the items of the numerator.
        among: those of the denominator.
    """

    name: str
    short: str
    counted: Callable[[Item], bool]
    among: Callable[[Item], bool] = _any


PICTURES = (
    Picture("accuracy_old", "accuracy before", lambda item: item.old_right),
    Picture("accuracy_new", "accuracy after", lambda item: item.new_right),
    Picture("negative_flip_rate", "NFR", _broke),
    Picture("positive_flip_rate", "PFR", _gained),
    Picture("inconsistency_rate", "NFR_mc", lambda item: not item.new_right and item.old != item.new),
    Picture("churn", "churn", lambda item: item.old != item.new),
    Picture("backward_trust_compatibility", "BTC", lambda item: item.new_right, lambda item: item.old_right),
    Picture("backward_error_compatibility", "BEC", lambda item: not item.old_right, lambda item: not item.new_right),
)
"""Shares of items: the counted ones over those that they are among."""


@cache
def measured() -> SideNumbers:
    """Return the product's numbers of the items that are drawn."""

    def rows(answers: str) -> list[dict[str, object]]:
        return [
            {"id": number, "output": answer, "reference": item.reference}
            for number, (answer, item) in enumerate(zip(answers, ITEMS, strict=True))
        ]

    found = muscle.compare(rows(OLD), rows(NEW), rerun=rows(AGAIN)).report.tasks["all"].old_vs_new
    assert found is not None
    return found


@cache
def measured_scores() -> SideNumbers:
    """Return the product's numbers of the scores that are drawn."""

    def rows(scores: Sequence[float]) -> list[dict[str, object]]:
        return [{"id": number, "score.rouge": score} for number, score in enumerate(scores)]

    found = muscle.compare(rows(SCORES_OLD), rows(SCORES_NEW)).report.tasks["all"].old_vs_new
    assert found is not None
    return found


BROKE, GAINED = 9, 2
"""The flips that McNemar's test is drawn for."""


@cache
def measured_split() -> SideNumbers:
    """Return the product's numbers of so many flips one way and the other."""
    flips = [(True, False)] * BROKE + [(False, True)] * GAINED + [(True, True)] * 9
    old, new = ([{"id": place, "correct": each[side]} for place, each in enumerate(flips)] for side in (0, 1))
    found = muscle.compare(old, new).report.tasks["all"].old_vs_new
    assert found is not None
    return found


def share_picture(picture: Picture) -> str:
    """Draw a metric that is a share of items."""
    counted = [item for item in ITEMS if picture.among(item) and picture.counted(item)]
    among = [item for item in ITEMS if picture.among(item)]
    value = measured().metric(picture.name).value
    assert value is not None and abs(value - len(counted) / len(among)) < 1e-12, picture.name
    words = f"{picture.short} = {len(counted)} / {len(among)} = {value:.1%}".replace("%", " %")
    return _items_picture(words, {"old": OLD, "new": NEW}, picture.counted, picture.among)


def floor_picture() -> str:
    """Draw the noise floor: what the old version breaks against itself, and what goes beyond it."""
    numbers = measured()
    floor, excess = numbers.metric("noise_floor").value, numbers.metric("excess_negative_flip_rate").value
    assert floor is not None and excess is not None
    flips = [item for item in ITEMS if item.old_right and item.again != item.reference]
    assert abs(floor - len(flips) / len(ITEMS)) < 1e-12
    words = f"floor = {len(flips)} / {len(ITEMS)} = {floor:.1%}, excess = NFR - floor = {excess:.1%}".replace("%", " %")
    rows = {"old": OLD, "old again": AGAIN, "new": NEW}
    return _items_picture(words, rows, lambda item: item.old_right and item.again != item.reference, _any)


def _items_picture(
    words: str, rows: dict[str, str], counted: Callable[[Item], bool], among: Callable[[Item], bool]
) -> str:
    left = _LEFT + (20 if "old again" in rows else 0)
    width = left + len(ITEMS) * (_SIZE + _GAP) + 10
    height = _TOP + len(rows) * (_SIZE + _GAP) + 12
    parts = [_text(10, 26, words, size=17, weight=600)]
    for place, item in enumerate(ITEMS):
        x = left + place * (_SIZE + _GAP)
        if counted(item) and among(item):
            box = f"width='{_SIZE + _GAP}' height='{len(rows) * (_SIZE + _GAP)}' rx='5'"
            parts.append(f"<rect x='{x - _GAP / 2:g}' y='{_TOP - _GAP / 2:g}' {box} fill='{_CHOSEN}'/>")
        for row, answers in enumerate(rows.values()):
            y = _TOP + row * (_SIZE + _GAP)
            parts.append(_answer(x, y, answers[place], right=answers[place] == item.reference, faint=not among(item)))
    for row, name in enumerate(rows):
        parts.append(_text(10, _TOP + row * (_SIZE + _GAP) + 18, name, size=14))
    return _svg(width, height, words, parts)


def _answer(x: int, y: int, letter: str, *, right: bool, faint: bool) -> str:
    fill, ink = (_RIGHT, "#ffffff") if right else (_WRONG, _INK)
    dashes = "" if right else " stroke-dasharray='3 2'"
    square = f"width='{_SIZE}' height='{_SIZE}' rx='4' fill='{fill}' stroke='{_INK}'{dashes}"
    text = _text(x + _SIZE / 2, y + 18, letter, size=14, fill=ink, anchor="middle")
    return f"<g opacity='{0.2 if faint else 1:g}'><rect x='{x}' y='{y}' {square}/>{text}</g>"


def relative_picture() -> str:
    """Draw the relative NFR: what is seen beside what chance would give."""
    numbers = measured()
    relative, seen = numbers.relative_negative_flip_rate.value, numbers.negative_flip_rate.value
    before, after = numbers.accuracy_old.value, numbers.accuracy_new.value
    assert None not in (relative, seen, before, after)
    chance = before * (1 - after)  # type: ignore[operator]
    words = f"relative NFR = {seen:.1%} / ({before:.0%} x {1 - after:.0%}) = {relative:.2f}".replace("%", " %")  # type: ignore[operator]
    bars = [("seen", seen, _CHOSEN), ("by chance", chance, "#c9cfda")]
    return _bars_picture(words, [(name, value, f"{value:.1%}".replace("%", " %"), fill) for name, value, fill in bars])


def _bars_picture(words: str, bars: Sequence[tuple[str, float | None, str, str]]) -> str:
    longest = max(value or 0 for _, value, _, _ in bars)
    parts = [_text(10, 26, words, size=17, weight=600)]
    for row, (name, value, told, fill) in enumerate(bars):
        y, length = _TOP + row * 34, 420 * (value or 0) / longest
        parts.append(_text(10, y + 18, name, size=14))
        parts.append(f"<rect x='96' y='{y}' width='{length:.1f}' height='26' rx='4' fill='{fill}' stroke='{_INK}'/>")
        parts.append(_text(96 + length + 8, y + 18, told, size=14))
    return _svg(640, _TOP + len(bars) * 34 + 10, words, parts)


def scores_picture(name: str, short: str, sign: int) -> str:
    """Draw the mean gain or regression: differences of a score, item by item."""
    value = measured_scores().metric(name).value
    differences = [new - old for old, new in zip(SCORES_OLD, SCORES_NEW, strict=True)]
    chosen = [abs(each) for each in differences if each * sign > 0]
    assert value is not None and abs(value - sum(chosen) / len(chosen)) < 1e-12
    words = f"{short} = ({' + '.join(f'{each:.2f}' for each in chosen)}) / {len(chosen)} = {value:.3f}"
    zero, scale = 128, 380
    parts = [_text(10, 26, words, size=17, weight=600)]
    for place, each in enumerate(differences):
        x, height = _LEFT + place * 56, abs(each) * scale
        y = zero - height if each > 0 else zero
        fill = _CHOSEN if each * sign > 0 else "#c9cfda"
        if height:
            box = f"width='36' height='{height:.1f}' rx='3' fill='{fill}' stroke='{_INK}'"
            parts.append(f"<rect x='{x}' y='{y:.1f}' {box}/>")
        told = f"{each:+.2f}" if abs(each) > 1e-9 else "0"
        parts.append(_text(x + 18, (y - 5) if each >= 0 else y + height + 15, told, size=12, anchor="middle"))
    parts.append(f"<line x1='{_LEFT - 12}' x2='640' y1='{zero}' y2='{zero}' stroke='{_INK}'/>")
    parts.append(_text(10, zero + 5, "D", size=14))
    return _svg(650, 230, words, parts)


def mcnemar_picture() -> str:
    """Draw McNemar's exact test: how likely a split of the flips at least as uneven is by coin."""
    total, p = BROKE + GAINED, measured_split().mcnemar_exact_p
    assert p is not None
    chances = [comb(total, count) / 2**total for count in range(total + 1)]
    extreme = [chance <= chances[BROKE] + 1e-12 for chance in chances]
    assert abs(p - sum(chance for chance, far in zip(chances, extreme, strict=True) if far)) < 1e-9
    words = f"{BROKE} broke, {GAINED} gained: exact McNemar p = {p:.3f}"
    parts = [_text(10, 26, words, size=17, weight=600)]
    for count, (chance, far) in enumerate(zip(chances, extreme, strict=True)):
        x, height = 20 + count * 52, chance * 480
        fill = _CHOSEN if far else "#c9cfda"
        box = f"width='40' height='{height:.1f}' rx='3' fill='{fill}' stroke='{_INK}'"
        parts.append(f"<rect x='{x}' y='{180 - height:.1f}' {box}/>")
        parts.append(_text(x + 20, 200, str(count), size=13, anchor="middle"))
        parts.append(_text(x + 20, 174 - height, f"{chance:.1%}".replace("%", " %"), size=12, anchor="middle"))
    told = (
        f"how many of {total} flips break if a coin decides each; filled: as uneven as {BROKE} to {GAINED}, or more so"
    )
    parts.append(_text(10, 224, told, size=13))
    return _svg(660, 236, words, parts)


def _text(
    x: float, y: float, words: str, *, size: int, weight: int = 400, fill: str = _INK, anchor: str = "start"
) -> str:
    style = f"font-size='{size}' font-weight='{weight}' fill='{fill}' text-anchor='{anchor}' {_FONT}"
    return f"<text x='{x:g}' y='{y:g}' {style}>{words}</text>"


def _svg(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    """Put a picture together; its own paper makes it readable on dark pages too."""
    head = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' role='img'>"
    paper = f"<rect width='{width}' height='{height}' rx='8' fill='{_PAPER}'/>"
    return "\n".join([head, f"<title>{title}</title>", paper, *parts, "</svg>"]) + "\n"


def drawn() -> dict[str, str]:
    """Return every picture by its file's name."""
    return {
        **{f"{picture.name}.svg": share_picture(picture) for picture in PICTURES},
        "relative_negative_flip_rate.svg": relative_picture(),
        "mean_gain.svg": scores_picture("mean_gain", "mean gain m_g", 1),
        "mean_regression.svg": scores_picture("mean_regression", "mean regression m_r", -1),
        "noise_floor.svg": floor_picture(),
        "mcnemar.svg": mcnemar_picture(),
    }


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in drawn().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
