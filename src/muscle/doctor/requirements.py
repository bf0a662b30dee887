"""What this package asks for, out of its own metadata: the one list is pyproject.toml's.

A requirement is read in the form that our metadata has it (PEP 508: a name, ranges, conditions joined by `and`);
`packaging` knows more, but is not there in the light installation.
"""

from __future__ import annotations

import platform
import re
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version

PACKAGE = "muscle-llm"

_NAME = re.compile(r"([A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*\(?([^;)]*)\)?\s*(?:;(.*))?")
_CONDITION = re.compile(r"(\w+)\s*(==|!=|<=|>=|<|>)\s*['\"]([^'\"]*)['\"]")
_RANGE = re.compile(r"(==|!=|<=|>=|<|>)\s*([^,\s]+)")
_RELEASE = re.compile(r"v?(\d+(?:\.\d+)*)(.*)")
_FACTS = {
    "python_version": f"{sys.version_info.major}.{sys.version_info.minor}",
    "sys_platform": sys.platform,
    "platform_machine": platform.machine(),
}


@dataclass(frozen=True)
class Requirement:
    """A package that is asked for.

    Attributes:
        name: the package's.
        ranges: of its version, as pyproject.toml has them (`>=2.6`).
        extra: the extra that asks for it; None of the light installation.
    """

    name: str
    ranges: str
    extra: str | None


@dataclass(frozen=True)
class Installed:
    """A package that is asked for, and what is there of it.

    Attributes:
        name: the package's.
        ranges: of its version.
        version: what is installed; None where nothing is.
        fits: whether it is there and in its ranges.
    """

    name: str
    ranges: str
    version: str | None
    fits: bool


def requirements(lines: list[str] | None = None) -> list[Requirement]:
    """Return what is asked for on this machine, in the metadata's order.

    Args:
        lines: requirements as metadata has them; those of the installed package without.
    """
    found = []
    for line in (requires(PACKAGE) or []) if lines is None else lines:
        parts = _NAME.fullmatch(line.strip())
        if parts is None:
            continue
        conditions = _CONDITION.findall(parts[3] or "")
        extra = next((value for name, _, value in conditions if name == "extra"), None)
        if all(_holds(*condition) for condition in conditions if condition[0] != "extra"):
            found.append(Requirement(parts[1], parts[2].strip(), extra))
    return found


def _holds(name: str, sign: str, value: str) -> bool:
    """Whether a condition on the machine holds; one of a kind that is not known does."""
    fact = _FACTS.get(name)
    if fact is None:
        return True
    return _compared(fact, sign, value) if name == "python_version" else (fact == value) == (sign == "==")


def state(requirement: Requirement) -> Installed:
    """Look up what is installed of a package."""
    try:
        found = version(requirement.name)
    except PackageNotFoundError:
        return Installed(requirement.name, requirement.ranges, None, False)
    return Installed(requirement.name, requirement.ranges, found, in_ranges(found, requirement.ranges))


def in_ranges(found: str, ranges: str) -> bool:
    """Whether a version lies in ranges.

    >>> in_ranges("2.13.0+cpu", ">=2.6"), in_ranges("2.6.0rc1", ">=2.6"), in_ranges("1.9", ">=1.10,<2")
    (True, False, False)
    """
    return all(_compared(found, sign, bound) for sign, bound in _RANGE.findall(ranges))


def _compared(found: str, sign: str, bound: str) -> bool:
    one, other = _order(found), _order(bound)
    return {
        "==": one == other,
        "!=": one != other,
        "<=": one <= other,
        ">=": one >= other,
        "<": one < other,
        ">": one > other,
    }[sign]


def _order(text: str) -> tuple[tuple[int, ...], bool]:
    """Return what versions are ordered by: the release without trailing zeros, and that what comes before it is less.

    Which of two versions before a release comes first is not told; no range here asks.
    """
    parts = _RELEASE.match(text.strip())
    if parts is None:
        return (), False
    release = [int(number) for number in parts[1].split(".")]
    while release and not release[-1]:
        release.pop()
    return tuple(release), not re.match(r"[._-]?(a|b|c|rc|alpha|beta|pre|preview|dev)", parts[2])
