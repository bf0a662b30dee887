"""The report of a comparison: the one result that the verdict, the gate, the tables and the pages read.

`report.json` is this object written by `muscle.typed_json`; `docs/report.schema.json` is its JSON Schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from muscle.flips.explaining.cause_report import TaskCauses
from muscle.flips.explaining.closeness import TaskCloseness
from muscle.flips.explaining.judges import JudgeCorrections
from muscle.flips.explaining.what_changed import ChangedFeature
from muscle.flips.measuring.candidate_effect import CandidateEffect
from muscle.flips.measuring.counting import Counts
from muscle.flips.measuring.measure_task import DifferenceHistogram
from muscle.flips.measuring.over_tasks import PooledNumbers
from muscle.flips.measuring.side_numbers import SideNumbers
from muscle.flips.measuring.standing import Standing
from muscle.flips.noise.real_or_noise import NoiseSource
from muscle.flips.noise.repeats import VarianceSplit
from muscle.flips.options import On, Test
from muscle.flips.pairing.comparability import Difference
from muscle.flips.pairing.flip_sign import Kind
from muscle.flips.pairing.join import JoinReport
from muscle.flips.pairing.missing import Missing
from muscle.flips.pairing.pair import Side, WithOld
from muscle.flips.result.deciding.decision import Decision
from muscle.flips.result.finding import GateSection, Word
from muscle.flips.result.flip import Flip
from muscle.flips.slices.slice_numbers import TaskSlices
from muscle.flips.trained import TrainedAdapter
from muscle.foreign_text import one_line
from muscle.predictions.run import Unread
from muscle.typed_json import OPTIONAL_KEY, from_json, json_object, json_schema

FORMAT = "muscle-report/1"
SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True)
class RepeatsPerItem:
    """How many answers an item has in each version, as the median; 1 where it was asked once."""

    old: int | None
    new: int | None
    candidate: int | None


@dataclass(frozen=True)
class TaskResult:
    """What a comparison says of one task.

    Attributes:
        n: items (answers, where they were asked several times) scored by old and new.
        kind: "binary" where correctness is known, else "continuous".
        score: the score that gains and regressions are measured in; None where there is none.
        scores_not_compared: names of further scores that the runs have.
        unscored: paired items without a verdict on a side.
        repeats: answers an item.
        variance: how the variance splits into items and answers, by side; None without repeats.
        old_vs_new: the numbers of the plain update.
        old_vs_candidate: those of the candidate; None without one.
        new_vs_candidate: those of the candidate against the plain update; None without one.
        quadrants: the items by what became of them, by side.
        candidate_effect: what the candidate changes against the plain update; None without one.
        against_plain: how the candidate stands against the plain update; None without one.
        floor_effect: what the judged version changes against the old recipe trained again; None where that is not
            known.
        against_floor: how it stands against that.
        difference_histogram: how a score's difference is distributed; None of right and wrong.
        slices: by side.
        causes: why answers flipped; None where nothing can be told.
        what_changed: what sets the answers that broke apart, the surest first.
        closeness: how close the likelihoods are; None without likelihoods.
        judge: differences corrected for a judge's errors, by side; None where nothing is known of a judge.
    """

    n: int
    kind: Kind
    score: str | None
    scores_not_compared: Sequence[str]
    unscored: int
    repeats: RepeatsPerItem
    variance: Mapping[Side, VarianceSplit] | None
    old_vs_new: SideNumbers | None
    old_vs_candidate: SideNumbers | None
    new_vs_candidate: SideNumbers | None
    quadrants: Mapping[WithOld, Counts]
    candidate_effect: CandidateEffect | None
    difference_histogram: DifferenceHistogram | None
    slices: Mapping[WithOld, TaskSlices | None]
    causes: TaskCauses | None
    what_changed: Sequence[ChangedFeature]
    closeness: TaskCloseness | None
    judge: Mapping[WithOld, JudgeCorrections] | None
    against_plain: Standing | None = field(default=None, metadata=OPTIONAL_KEY)
    floor_effect: CandidateEffect | None = field(default=None, metadata=OPTIONAL_KEY)
    against_floor: Standing | None = field(default=None, metadata=OPTIONAL_KEY)

    def numbers(self, side: Side) -> SideNumbers | None:
        """Return the numbers of one side; None where the task has no such side."""
        return {
            "old_vs_new": self.old_vs_new,
            "old_vs_candidate": self.old_vs_candidate,
            "new_vs_candidate": self.new_vs_candidate,
        }[side]


FLOOR_NAME = "old retrained"
"""What the old recipe trained again is called among the further runs."""


@dataclass(frozen=True)
class OtherRun:
    """A further run, held against the old version.

    Attributes:
        name: what the user calls it.
        tasks: its numbers, by task.
    """

    name: str
    tasks: Mapping[str, SideNumbers]


@dataclass(frozen=True)
class FlipCounts:
    """How many flips of each kind there are, listed or not."""

    negative_flip: int
    positive_flip: int
    other_wrong: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.negative_flip + self.positive_flip + self.other_wrong


@dataclass(frozen=True)
class NoiseSummary:
    """What is known of the old version's own noise.

    Attributes:
        source: where the floor comes from.
        sentence: floor and excess in words.
    """

    source: NoiseSource
    sentence: str


@dataclass(frozen=True)
class Settings:
    """By which options the runs were compared: see `muscle.CompareOptions`."""

    on: On
    max_unpaired: float
    allow_changed: bool
    epsilon: float
    cluster: str | None
    lower_is_better: Sequence[str]
    tolerance: float
    max_flips: int
    seed: int
    epsilon_item: float
    item_test: Test
    item_family: str | None
    slices: Sequence[str] | None


@dataclass(frozen=True, repr=False)
class Report:
    """What a comparison found.

    Attributes:
        format: of the file.
        muscle_version: that made it.
        created: when, in UTC.
        old: the old version's name.
        new: the plain update's.
        candidate: the candidate's; None without one.
        sources: each run's metadata, by role.
        verdict: on the candidate where there is one, else on the plain update.
        headline: the verdict in a sentence, with what broke and what was gained.
        reasons: a sentence a task, the worst first.
        warnings: what a reader must know before trusting the numbers.
        join: how old and new fitted together.
        missing: what was not judged, by side.
        unread: what could not be read, by role or name of the run.
        tasks: the tasks, by name.
        pooled: the numbers over all tasks of right and wrong, by side; None where there are fewer than two.
        others: further runs.
        flips: the flips that are listed: by kind, the largest first.
        flips_total: how many there are.
        flips_shown: how many are listed.
        settings: the options.
        noise: what is known of the old version's own noise.
        comparability: what differs between the runs beside the model, by pair of roles.
        gate: what a gate said; no key without one.
        title: what the page is called beside the verdict; no key without one.
        training: how the adapters were trained, by task; no key where runs alone were compared.
        decision: what to do with the judged version, for whoever decides; no key in reports of before.
        readings: how the runs' files were read, where nothing in it makes the numbers doubtful; no key in reports of
            before, where they stand among the warnings.
    """

    format: str
    muscle_version: str
    created: str
    old: str
    new: str
    candidate: str | None
    sources: Mapping[str, Mapping[str, object]]
    verdict: Word
    headline: str
    reasons: Sequence[str]
    warnings: Sequence[str]
    join: JoinReport
    missing: Mapping[Side, Missing]
    unread: Mapping[str, Sequence[Unread]]
    tasks: Mapping[str, TaskResult]
    pooled: Mapping[Side, PooledNumbers | None]
    others: Sequence[OtherRun]
    flips: Sequence[Flip]
    flips_total: FlipCounts
    flips_shown: int
    settings: Settings
    noise: NoiseSummary
    comparability: Mapping[str, Sequence[Difference]]
    gate: GateSection | None = field(default=None, metadata=OPTIONAL_KEY)
    title: str | None = field(default=None, metadata=OPTIONAL_KEY)
    training: Mapping[str, Sequence[TrainedAdapter]] | None = field(default=None, metadata=OPTIONAL_KEY)
    decision: Decision | None = field(default=None, metadata=OPTIONAL_KEY)
    readings: Sequence[str] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<Report: {one_line(self.sentence, 240)}>"

    @property
    def sentence(self) -> str:
        """What to do; the verdict's sentence in a report that keeps no recommendation."""
        return self.headline if self.decision is None else self.decision.sentence

    @property
    def judged_side(self) -> WithOld:
        """The two versions that the verdict is on."""
        return "old_vs_new" if self.candidate is None else "old_vs_candidate"

    def judged(self) -> Iterator[tuple[str, SideNumbers]]:
        """Yield the tasks' numbers of the side that the verdict is on, where they have it."""
        for name, task in self.tasks.items():
            numbers = task.numbers(self.judged_side)
            if numbers is not None:
                yield name, numbers

    def to_json(self) -> dict[str, object]:
        """Return the report as a JSON object."""
        return json_object(self)

    @classmethod
    def from_json(cls, value: object, *, where: str = "report") -> Report:
        """Read what `to_json` gave.

        Args:
            value: the JSON object.
            where: its file, for messages.

        Raises:
            DataError: a key is missing or holds something else.
        """
        return from_json(cls, value, where=where)

    @classmethod
    def json_schema(cls) -> dict[str, object]:
        """Return the JSON Schema of report.json."""
        return {"title": "Report of muscle", "$schema": SCHEMA_DIALECT, **json_schema(cls)}
