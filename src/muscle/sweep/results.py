"""From a sweep's folders to what its leaderboard is made from: only what was made of the present settings counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from muscle.errors import MuscleError
from muscle.leaderboard.entries import Entry, Group
from muscle.pipeline.run_folder import RunFolder
from muscle.pipeline.stage import Stage
from muscle.sweep.job_stages import job_stages, update_stages
from muscle.sweep.jobs import Job
from muscle.sweep.plan import Plan, PlannedRow
from muscle.sweep.run_job import Outcome

NOT_RUN = "not run yet"


@dataclass(frozen=True)
class JobState:
    """What is there of a job.

    Attributes:
        done: whether every stage is.
        num_stages: how many it has; 0 where it was never begun.
        num_to_run: how many of them are to run.
        seconds: what its trainings took, by the run that they made.
    """

    done: bool = False
    num_stages: int = 0
    num_to_run: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SweepResults:
    """What is there of a sweep.

    Attributes:
        plan: the sweep.
        outcomes: how the jobs ended that this process ran, by name.
    """

    plan: Plan
    outcomes: Mapping[str, Outcome]

    @cached_property
    def states(self) -> dict[str, JobState]:
        """What is there of each job."""
        return {job.name: job_state(job) for job in self.plan.jobs}

    @property
    def is_whole(self) -> bool:
        """Whether every job is done."""
        return all(state.done for state in self.states.values())

    def groups(self) -> list[Group]:
        """Return the groups: of each what old and new are, where both are scored."""
        found: dict[str, dict[str, dict[int, Path]]] = {}
        for row in self.plan.rows:
            if row.role in ("old", "plain"):
                found.setdefault(row.group, {})[row.role] = self._runs(row)
        return [Group(name, sides["old"], sides["plain"]) for name, sides in found.items()]

    def entries(self) -> list[Entry]:
        """Return the rows of the leaderboard."""
        return [
            Entry(
                name=row.name,
                role=row.role,
                what=row.what,
                group=row.group,
                runs=self._runs(row),
                controls=row.controls,
                uses_old=row.uses_old,
                eligible=row.eligible,
                settings=row.settings,
                seconds=self._seconds(row),
                failed={seed: self._why_not(job) for seed, job in row.jobs.items() if not self._done(job)},
                models_served=row.models_served,
                published=row.published,
            )
            for row in self.plan.rows
        ]

    def _done(self, job: Job) -> bool:
        return self.states[job.name].done

    def _runs(self, row: PlannedRow) -> dict[int, Path]:
        return {seed: job.folder / "predictions" / row.run for seed, job in row.jobs.items() if self._done(job)}

    def _seconds(self, row: PlannedRow) -> dict[int, float]:
        found = {seed: self.states[job.name].seconds.get(row.run) for seed, job in row.jobs.items()}
        return {seed: seconds for seed, seconds in found.items() if seconds is not None}

    def _why_not(self, job: Job) -> str:
        outcome = self.outcomes.get(job.name)
        return (outcome.failure if outcome else None) or NOT_RUN


def job_state(job: Job) -> JobState:
    """Say what is there of a job, without running anything; nothing where what it needs is not there."""
    if not (job.folder / "manifest.json").is_file():
        return JobState()
    try:
        update = update_stages(job)
        run = RunFolder(update.folder)
        stages = [stage for stage in job_stages(job, update) if stage.work is not None]
    except MuscleError:
        return JobState()
    to_run = [stage for stage in stages if not _is_done(run, stage)]
    seconds: dict[str, float] = {}
    for stage in stages:
        if stage.epochs is not None and stage not in to_run:
            made = stage.outputs[0].parent.name  # adapters/RUN/TASK
            seconds[made] = seconds.get(made, 0.0) + run.seconds(stage.name)
    return JobState(not to_run, len(stages), len(to_run), seconds)


def _is_done(run: RunFolder, stage: Stage) -> bool:
    try:
        return run.is_done(stage.name, stage.inputs())
    except MuscleError:  # what its inputs are made of is not there
        return False
