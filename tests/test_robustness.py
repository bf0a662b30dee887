"""A share of two large runs: what is missing never makes a verdict better; hostile files end in our own errors.

The whole of them: benchmarks/robustness.py (5,000 pairs of runs) and benchmarks/fuzz.py (50,000 files).
"""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from robust.formats import FORMATS
from robust.targets import TARGETS, WITH_TORCH
from robust.verdicts import CONVERTED, KINDS, case_of, judged, judged_after_convert, run_case
from robust.watched import MAX_MEGABYTES, MAX_SECONDS, watch

CASES_A_FORMAT = 5
NUM_HOSTILE = {"read": 120, "convert": 20}


@pytest.mark.parametrize("format", FORMATS)
def test_the_gate_says_of_a_whole_pair_of_runs_what_it_should(format: str) -> None:
    assert {kind: judged(format, kind) for kind in KINDS} == {kind: kind for kind in KINDS}


@pytest.mark.parametrize("format", FORMATS)
def test_convert_changes_no_verdict(format: str, tmp_path: Path) -> None:
    place = list(FORMATS).index(format)
    for to in ("eee", CONVERTED[place % 3]):
        assert judged_after_convert(format, "block", tmp_path / to, to=to) == "block"


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_dropped_or_blanked_never_makes_a_verdict_better(format: str, tmp_path: Path) -> None:
    first = list(FORMATS).index(format)
    for number in range(CASES_A_FORMAT):
        case = case_of(first + number * len(FORMATS), small=True)
        assert case.format == format
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an archive with a member's name twice
            outcome = run_case(case, tmp_path / str(number), through_convert=number % 3 == 0)
        assert outcome.fault is None, outcome


def test_hostile_files_end_in_the_projects_own_errors_in_little_time_and_memory() -> None:
    names = [name for name in TARGETS if name not in WITH_TORCH]
    cases = [(name, number) for name in names for number in range(NUM_HOSTILE.get(name, 12))]
    outcomes = list(watch(cases))
    faults = [each for each in outcomes if each["end"] not in ("read", "refused")]
    assert faults == []
    assert len(outcomes) == len(cases)
    assert max(each["seconds"] for each in outcomes) < MAX_SECONDS
    assert max(each["megabytes"] for each in outcomes) < MAX_MEGABYTES
    assert any(each["end"] == "read" for each in outcomes)
