"""`muscle sweep`: train the variants and controls of an update that are not done yet, and hold them against each other.

Everything stands in one folder: `groups/` has the task adapters and controls, `variants/` an update folder for each
variant and seed, `leaderboard.*` what came of it.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from muscle import distributed
from muscle.errors import ConfigError
from muscle.files import check_can_write
from muscle.foreign_text import listing
from muscle.leaderboard.build import build_leaderboard
from muscle.leaderboard.result import Leaderboard
from muscle.leaderboard.write import write_leaderboard
from muscle.models.devices import SLOW
from muscle.pipeline.load_data import load_data
from muscle.pipeline.update_parts import recipe_notes
from muscle.progress import told_once
from muscle.sweep.job_stages import update_stages
from muscle.sweep.jobs import Job, with_needs
from muscle.sweep.plan import Plan, make_plan
from muscle.sweep.results import SweepResults
from muscle.sweep.run import run_jobs
from muscle.sweep.run_job import Outcome
from muscle.sweep.variants import UpdateFile
from muscle.training.reporting import check_reporters

OF_EVERY_JOB = ("muscle.tasks.data", "muscle.pipeline.loaded_bases", SLOW)
"""Loggers that tell the same of data and bases whenever a job reads them."""


@dataclass(frozen=True)
class Part:
    """A share of a sweep's jobs, for one of several machines.

    Attributes:
        number: which, from 1.
        of: how many shares there are.
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Part:
        """Read `I/N`.

        Raises:
            ConfigError: it is of another form.
        """
        first, _, second = text.partition("/")
        if not (first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second)):
            raise ConfigError(f"--part {text}: expected I/N with I from 1 to N, such as 2/4")
        return cls(int(first), int(second))


@dataclass(frozen=True)
class SweepResult:
    """What a sweep left behind.

    Attributes:
        folder: the sweep's.
        leaderboard: of all that is there.
        outcomes: how the jobs ended that ran this time.
    """

    folder: Path
    leaderboard: Leaderboard
    outcomes: Mapping[str, Outcome]

    @property
    def num_stages_run(self) -> int:
        """Stages that ran this time; 0 when everything was done before."""
        return sum(each.num_run for each in self.outcomes.values())

    @property
    def failed(self) -> list[Outcome]:
        """Jobs that failed this time."""
        return [each for each in self.outcomes.values() if each.failure is not None]


def refuse_launcher() -> None:
    """Refuse several processes of one command: the jobs of a sweep are trained in one process each.

    Raises:
        ConfigError: a launcher started them.
    """
    number = distributed.num_processes()
    if number > 1:
        raise ConfigError(
            f"muscle sweep: expected one process, found {number} of a launcher (torchrun, accelerate launch); start it "
            "without one: --jobs and --part spread it over processes and machines"
        )


@told_once(*OF_EVERY_JOB)
def sweep(
    path: Path,
    *,
    overrides: Mapping[str, object] | None = None,
    out: Path | None = None,
    controls: bool = True,
    only: Collection[str] = (),
    part: Part | None = None,
    processes: int = 1,
) -> SweepResult:
    """Train what is not done yet of a sweep and hold it all against each other.

    Args:
        path: the update's YAML; its `sweep` section says what is varied.
        overrides: dotted keys that differ from the file, for all variants.
        out: the sweep's folder; `sweep` in the update's run folder without.
        controls: whether the controls are trained.
        only: names of rows; others are not trained this time.
        part: this machine's share of the jobs; what they need of another share is waited for, or trained here.
        processes: jobs at a time.

    Returns:
        The leaderboard of all that is there, and how this time's jobs ended.

    Raises:
        MuscleError: an input is wrong, or the folder cannot be written to; what is done so far is kept, and the next
            call goes on there.
    """
    refuse_launcher()
    plan = make_plan(UpdateFile(path, overrides or {}), folder=out, controls=controls)
    check_can_write(plan.folder, folder=True)
    chosen = chosen_jobs(plan, only=only, part=part)
    _find_bases(chosen)
    outcomes = run_jobs(chosen, processes=processes)
    results = SweepResults(plan, outcomes)
    if results.is_whole:
        _clear_teachers(plan)
    config = plan.config
    # By now the data is here, or its jobs ran elsewhere.
    known = load_data(config, split_seed=plan.seeds[0], outlines=True).values()
    again: list[str] = []
    if plan.controls:
        again = [*recipe_notes(config.old.adapters, "old", "floor"), *recipe_notes(config.new.adapters, "new", "twin")]
    leaderboard = build_leaderboard(
        results.groups(),
        results.entries(),
        old=config.old.name,
        new=config.new.name,
        title=config.report.title,
        notes=[*(data.leak for data in known if data.leak), *again],
    )
    write_leaderboard(leaderboard, plan.folder)
    return SweepResult(plan.folder, leaderboard, outcomes)


def chosen_jobs(plan: Plan, *, only: Collection[str] = (), part: Part | None = None) -> list[Job]:
    """Return the jobs to run, with all that they need.

    Args:
        plan: the sweep.
        only: names of rows; all without.
        part: the share; a job belongs to one share, what it needs may belong to several. What a row is measured against
            is needed too, and comes last but for what it is needed for: other shares may be at it.

    Raises:
        ConfigError: there is no row of such a name.
    """
    names = [row.name for row in plan.rows]
    for name in only:
        if name not in names:
            raise ConfigError(f"--only {name}: expected one of {listing(names, 40)}")
    wanted = {job.name for row in plan.rows if not only or row.name in only for job in row.jobs.values()}
    jobs = [job for job in plan.jobs if job.name in wanted]
    if part is not None:
        jobs = jobs[part.number - 1 :: part.of]
    needed = with_needs([*jobs, *_measured_against(plan, jobs)], plan.by_name)
    own = {job.name for job in jobs}
    return sorted(
        (job for job in plan.jobs if job.name in needed), key=lambda job: job.name not in own or bool(job.needs)
    )


def _measured_against(plan: Plan, jobs: Sequence[Job]) -> list[Job]:
    """Return the jobs that score the old version and the plain update of some jobs' groups and seeds.

    Of no jobs at all, those of the first group: the leaderboard of what the other shares make is not empty.
    """
    names, seeds = {job.name for job in jobs}, {job.seed for job in jobs}
    groups = {row.group for row in plan.rows if any(job.name in names for job in row.jobs.values())}
    groups, seeds = groups or {plan.rows[0].group}, seeds or {plan.seeds[0]}
    return [
        job
        for row in plan.rows
        if row.role == "old" and row.group in groups
        for seed, job in row.jobs.items()
        if seed in seeds
    ]


def _find_bases(jobs: Sequence[Job]) -> None:
    """Find a base or a tracker that is not there before hours of training are spent."""
    seen: set[str] = set()
    for job in jobs:
        check_reporters(job.config.align_training().report_to)
        bases = {job.config.old.base, job.config.new.base}
        if not bases <= seen:
            _ = update_stages(job).fingerprints
            seen |= bases


def _clear_teachers(plan: Plan) -> None:
    """Throw the teachers' stores away, which no training reads any more."""
    for folder in {each for job in plan.jobs for each in job.teachers or ()}:
        shutil.rmtree(folder, ignore_errors=True)
