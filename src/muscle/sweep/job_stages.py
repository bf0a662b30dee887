"""The stages of a job: those of an update, as many of them as the job has."""

from __future__ import annotations

from muscle.pipeline.load_data import load_data
from muscle.pipeline.run_folder import content_of
from muscle.pipeline.stage import Stage
from muscle.pipeline.stages import UpdateStages
from muscle.sweep.jobs import Job
from muscle.sweep.served import served_stages
from muscle.tasks import TaskData

SCORED = {
    "tasks": ("old", "new", "base"),
    "again": ("old", "new"),
    "third": ("old",),
    "longer": ("control",),
    "variant": ("compat",),
    "served": ("old", "new"),
}
"""Which runs a job scores, by its kind: on the test items, or on those by which two models served are fitted."""


def update_stages(job: Job, *, outlines: bool = False) -> UpdateStages:
    """Return the update that a job is a part of; with `outlines` published sizes may stand for data on the hub."""
    update = UpdateStages(job.config, split_seed=job.seed, teachers=job.teachers)
    if outlines:
        update.data = load_data(job.config, split_seed=job.seed, outlines=True)
    return update


def trainings(job: Job, update: UpdateStages, data: TaskData) -> list[Stage]:
    """Return a job's trainings on one task, and what they need first."""
    if job.kind == "variant":
        return [*update.candidates.stages(data), update.align(data)]
    if job.kind == "served":
        return []
    if job.kind == "longer":
        return [train_longer(update, data)]
    return [update.finetune(side, data) for side in update.sides if side == "old" or job.kind != "third"]


def job_stages(job: Job, update: UpdateStages) -> list[Stage]:
    """Return a job's stages in their order: all training first, then the scoring."""
    if job.kind == "served":
        test = job.folder.with_name("tasks") / "predictions"
        return [stage for data in update.data.values() for stage in served_stages(update, data, test)]
    trained = [stage for data in update.data.values() for stage in trainings(job, update, data)]
    scored = [update.evaluate(run, data) for run in SCORED[job.kind] for data in update.data.values()]
    return [*trained, *scored]


def train_longer(update: UpdateStages, data: TaskData) -> Stage:
    """Train the plain update's adapter on with cross-entropy, for as many epochs as the job's alignment has."""
    name, settings = data.task.name, update.config.align_training()
    out, start_from = update.adapter("control", name), update.adapter("new", name)
    templates = update.templates("new")

    def inputs() -> dict[str, object]:
        return {
            "base": update.fingerprints["new"],
            "start_from": content_of(start_from),
            "task": dict(data.task.definition),
            "train": data.fingerprints["train"],
            "validation": data.fingerprints["validation"],
            "training": settings.identity(),
            **templates,
        }

    def work() -> None:
        update.fine_tune("new", data, settings, out, f"train on longer on {name}", start_from=start_from)

    return Stage(f"control {name}", inputs, (out,), work, data=data, epochs=settings.epochs)


def labelled_epochs(update: UpdateStages) -> int:
    """Return the epochs of labelled examples in which as many examples are seen as a variant sees at most."""
    return max([1, *(update.align(data).labelled_epochs for data in update.data.values())])
