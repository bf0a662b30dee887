"""Two versions measured: their items counted, told from noise and put into numbers, task by task, each once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from muscle.flips.measuring.candidate_effect import CandidateEffect
from muscle.flips.measuring.counting import Counts, counts_of
from muscle.flips.measuring.measure_task import adjusted_for_tasks, measure
from muscle.flips.measuring.metrics import Quadrants
from muscle.flips.measuring.side_numbers import SideNumbers
from muscle.flips.measuring.tally import Tally, no_quadrants, tally
from muscle.flips.noise.real_or_noise import Reality, real_or_noise
from muscle.flips.options import CompareOptions
from muscle.flips.pairing.pair import Pair, Side
from muscle.flips.result.deciding.beside import JudgedTask


@dataclass(frozen=True)
class MeasuredPair:
    """Two versions and all that is measured of them, each number when it is first asked for.

    Attributes:
        pair: the two runs, paired.
        options: how they are compared.
        rerun: the old run paired with a second run of the old version; None without one.
        side: which two versions; candidate against plain update has no floor but that of repeats.
    """

    pair: Pair
    options: CompareOptions
    rerun: Pair | None = None
    side: Side = "old_vs_new"

    @cached_property
    def tallies(self) -> Mapping[str, Tally | None]:
        """Each task's items summed up; None of a task without items."""
        return {name: tally(items) for name, items in self.pair.tasks.items()}

    @cached_property
    def realities(self) -> Mapping[str, Reality]:
        """What repeats and a second run of the old version say of each task."""
        return {
            name: real_or_noise(self.pair, name, self.options, rerun=self.rerun, side=self.side)
            for name in self.pair.tasks
        }

    @cached_property
    def numbers(self) -> Mapping[str, SideNumbers]:
        """Each task's numbers, p-values adjusted over the tasks."""
        return adjusted_for_tasks(
            {
                name: self.realities[name].added_to(measure(items, self.quadrants(name), seed=self.options.seed))
                for name, items in self.pair.tasks.items()
            }
        )

    @cached_property
    def worst(self) -> MeasuredPair:
        """The same with the missing answers among the items, at their worst (`muscle.flips.pairing.missing`)."""
        return replace(self, pair=self.pair.worst)

    def quadrants(self, task: str) -> Quadrants:
        """Return a task's items by what became of them."""
        found = self.tallies[task]
        return no_quadrants(self.pair.tasks[task]) if found is None else found.quadrants

    def binary_quadrants(self) -> list[Quadrants]:
        """Return the same of every task of right and wrong."""
        return [self.quadrants(name) for name, items in self.pair.tasks.items() if items.kind == "binary"]

    def counts(self, task: str) -> Counts:
        """Return a task's items by what became of them, in the report's form."""
        return counts_of(self.pair.tasks[task].kind, self.quadrants(task))

    def judged(
        self, effects: Mapping[str, CandidateEffect | None], floors: Mapping[str, CandidateEffect]
    ) -> dict[str, JudgedTask]:
        """Return what a verdict is made from.

        Args:
            effects: what a candidate changes against the plain update, by task; empty where none is judged.
            floors: what these versions change against the old recipe trained again, by task.
        """
        return {
            name: JudgedTask(items.kind, self.numbers[name], self.counts(name), effects.get(name), floors.get(name))
            for name, items in self.pair.tasks.items()
        }

    @cached_property
    def lost_in_reading(self) -> list[str]:
        """What could not be read of the runs, in words, unless the join shows all of it to be missing."""
        told = [str(each) for each in self.pair.lost_in_reading]
        return told + [f"of the second run: {each}" for each in (self.rerun.lost_in_reading if self.rerun else ())]

    @cached_property
    def missing(self) -> str:
        """What is missing of the runs, in words; empty where nothing is."""
        told = [self.pair.missing.sentence()] if self.pair.missing.num else []
        if self.rerun is not None and self.rerun.missing.num:
            told.append(f"of the second run {self.rerun.missing.sentence()}")
        return ", ".join(told)
