"""Runs one job of a sweep: the stages that are not done yet, in the job's own folder."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from muscle.errors import MuscleError, OutputError
from muscle.foreign_text import message_line
from muscle.pipeline.run_folder import RunFolder
from muscle.sweep.job_stages import job_stages, update_stages
from muscle.sweep.jobs import Job

logger = logging.getLogger(__name__)

_READY = "ready"
"""Stands in the folder of stores that are whole."""

_SECONDS_BETWEEN_LOOKS = 2.0


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
        with _held(job.folder.with_name(f".{job.folder.name}.lock"), job.name):
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
    with run.locked(), ExitStack() as held:
        try:
            for stage in job_stages(job, update):
                if stage.work is None:
                    continue
                inputs = stage.inputs()
                if stage.name.startswith("align ") and job.teachers and not run.is_done(stage.name, inputs):
                    held.enter_context(_made_once(job.teachers))
                run.stage(stage.name, inputs, stage.outputs, stage.work)
                # Others may read the teachers' stores from here on.
                held.close()
        finally:
            update.bases.free()
    return run.num_run


@contextmanager
def _made_once(teachers: Path) -> Iterator[None]:
    """Let one training at a time make the stores of its teachers; once they are whole all read them."""
    ready = teachers / _READY
    if ready.is_file():
        yield
        return
    with _held(teachers.with_name(f".{teachers.name}.lock"), f"the teachers in {teachers}"):
        yield
        if teachers.is_dir():
            ready.touch()


@contextmanager
def _held(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file, once no other process does; the system lets go of it when a process dies."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, blocking=False)
        said = False
        while True:
            try:
                lock.acquire()
                break
            except Timeout:
                if not said:
                    logger.info("waiting for another process that is at %s", what)
                said = True
                time.sleep(_SECONDS_BETWEEN_LOOKS)
    except OSError as error:
        raise OutputError(f"{path.parent}: cannot be written: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()
