"""What a sweep would do: its jobs, which of them are done, and what each needs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from muscle.files import check_can_write
from muscle.models.devices import slow_precision
from muscle.pipeline.at_hand import missing_bases, nothing_downloaded
from muscle.pipeline.stages import UpdateStages
from muscle.progress import told_once
from muscle.sweep.job_stages import SCORED, trainings, update_stages
from muscle.sweep.jobs import Job
from muscle.sweep.plan import Plan, make_plan
from muscle.sweep.results import job_state
from muscle.sweep.sweep import OF_EVERY_JOB, Part, chosen_jobs, refuse_launcher
from muscle.sweep.variants import UpdateFile
from muscle.typed_json import json_object

State = Literal["done", "begun", "to run"]


@dataclass(frozen=True)
class PlannedJob:
    """A job.

    Attributes:
        name: its folder in the sweep's.
        seed: of its group.
        state: whether it is done, or was begun.
        rows: what the leaderboard makes of it.
        needs: jobs that run before it.
        num_trainings: adapters that it trains.
        num_scored: runs that it scores.
        examples: read by its trainings in all epochs, at most.
    """

    name: str
    seed: int
    state: State
    rows: tuple[str, ...]
    needs: tuple[str, ...]
    num_trainings: int
    num_scored: int
    examples: int


@dataclass(frozen=True)
class PlannedSweep:
    """A sweep.

    Attributes:
        folder: where it would stand.
        jobs: in the order in which they would run.
        notes: what is not on this machine, a line each.
    """

    folder: str
    jobs: tuple[PlannedJob, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return it as a JSON object."""
        return json_object(self)


@told_once(*OF_EVERY_JOB)
def plan_sweep(
    path: Path,
    overrides: Mapping[str, object],
    *,
    out: Path | None = None,
    controls: bool = True,
    only: Collection[str] = (),
    part: Part | None = None,
) -> PlannedSweep:
    """Say what a sweep would do, without downloading anything; see `muscle.sweep.sweep.sweep` for the arguments.

    Raises:
        MuscleError: an input is missing or wrong, or the folder cannot be written to.
    """
    refuse_launcher()
    with nothing_downloaded():
        plan = make_plan(UpdateFile(path, overrides), folder=out, controls=controls, outlines=True)
        chosen = chosen_jobs(plan, only=only, part=part)
        updates = {job.name: update_stages(job, outlines=True) for job in chosen}
        found = [_planned_job(plan, job, updates[job.name]) for job in chosen]
        notes = list(_not_here(list(updates.values())))
    to_run = [updates[job.name].config.training.precision for job in found if job.state != "done"]
    if to_run:
        check_can_write(plan.folder, folder=True)
        notes += filter(None, map(slow_precision, dict.fromkeys(to_run)))
    return PlannedSweep(str(plan.folder), tuple(found), tuple(notes))


def _planned_job(plan: Plan, job: Job, update: UpdateStages) -> PlannedJob:
    state = job_state(job)
    stages = [stage for data in update.data.values() for stage in trainings(job, update, data) if stage.work]
    return PlannedJob(
        name=job.name,
        seed=job.seed,
        state="done" if state.done else "begun" if state.num_stages > state.num_to_run else "to run",
        rows=tuple(row.name for row in plan.rows if any(each.name == job.name for each in row.jobs.values())),
        needs=job.needs,
        num_trainings=len(stages),
        num_scored=len(SCORED[job.kind]) * len(update.data),
        examples=sum(stage.num_read for stage in stages),
    )


def _not_here(updates: Sequence[UpdateStages]) -> Iterator[str]:
    """Say what of data and bases is not on this machine.

    Raises:
        ModelError: a base that is no hub name is not there or cannot be read.
    """
    bases = {
        (each.base, each.revision): each for update in updates for each in map(update.bases.settings, update.sides)
    }
    outlines = dict.fromkeys(data.task.name for update in updates for data in update.data.values() if data.is_outline)
    if outlines:
        yield f"not on this machine: the data of {', '.join(outlines)}; published sizes stand for it"
    if missing := missing_bases(list(bases.values())):
        yield f"not on this machine: {', '.join(missing)}; `muscle sweep` downloads them"


def print_plan(plan: PlannedSweep) -> None:
    """Print the plan as a table."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("seed", "rows", "state", title="What would be done")
    for title in ("trained", "scored", "examples, at most"):
        table.add_column(title, justify="right")
    for job in plan.jobs:
        examples = f"{job.examples:,}" if job.state != "done" else ""
        cells = (str(job.seed), "\n".join(job.rows), job.state, str(job.num_trainings), str(job.num_scored), examples)
        table.add_row(*map(Text, cells))
    console = Console()
    console.print(table)
    to_run = [job for job in plan.jobs if job.state != "done"]
    for line in (*plan.notes, f"{len(to_run)} of {len(plan.jobs)} jobs to run in {plan.folder}"):
        console.print(Text(line))
