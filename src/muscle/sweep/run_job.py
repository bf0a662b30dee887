"""Runs one job of a sweep: the stages that are not done yet, in the job's own folder."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from muscle.errors import MuscleError
from muscle.foreign_text import message_line
from muscle.locks import held
from muscle.pipeline.run_folder import RunFolder
from muscle.sweep.job_stages import job_stages, update_stages
from muscle.sweep.jobs import Job

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        job: its name.
        num_run: stages that ran; 0 where all were done before.
        failure: why it ended early; None where it did not.
    """

    job: str
    num_run: int
    failure: str | None = None


def run_job(job: Job) -> Outcome:
    """Run a job; what goes wrong in it is told, not raised, so that others go on.

    A job that another process is at is waited for.
    """
    logger.info("%s", job.name)
    try:
        with held(job.folder):
            return Outcome(job.name, _run_stages(job))
    except MuscleError as error:
        failure = message_line(error)
    except Exception as error:
        # A fault of one method must not end the others; whoever looks for its place finds it in the log.
        logger.debug("%s", job.name, exc_info=True)
        failure = message_line(f"{type(error).__name__}: {error}")
    logger.error("%s failed: %s", job.name, failure)
    return Outcome(job.name, 0, failure)


def _run_stages(job: Job) -> int:
    update = update_stages(job)
    run = RunFolder(update.folder)
    with run.locked():
        try:
            for stage in job_stages(job, update):
                if stage.work is not None:
                    run.stage(stage.name, stage.inputs(), stage.outputs, stage.work)
        finally:
            update.bases.free()
    return run.num_run
