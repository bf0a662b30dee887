"""Runs the jobs of a sweep: one after the other, or several at a time in processes of their own."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from muscle.progress import set_quiet, show_log
from muscle.sweep.jobs import Job
from muscle.sweep.run_job import Outcome, run_job

STOPPED = "its process was stopped; run the same command again"


def run_jobs(jobs: Sequence[Job], *, processes: int = 1) -> dict[str, Outcome]:
    """Run jobs, each behind those that it needs.

    Args:
        jobs: in an order in which they can run.
        processes: jobs at a time; each of several has a process of its own, and a GPU of its own where there are some.

    Returns:
        How each ended. One whose need failed did not run and failed too.

    Raises:
        KeyboardInterrupt: whatever ran is stopped; what was finished is kept.
    """
    if processes == 1:
        outcomes: dict[str, Outcome] = {}
        for job in jobs:
            outcomes[job.name] = _not_run(job, outcomes) or run_job(job)
        return outcomes
    return _Pool(list(jobs), processes).run()


def _not_run(job: Job, outcomes: Mapping[str, Outcome]) -> Outcome | None:
    """Return the outcome of a job that cannot run, as what it needs failed; None where it can."""
    for name in job.needs:
        needed = outcomes.get(name)
        if needed is not None and needed.failure is not None:
            return Outcome(job.name, 0, f"needs {name}, which failed: {needed.failure}")
    return None


@dataclass
class _Pool:
    """Runs jobs in processes, a fresh one each: what a job leaves in memory goes with it.

    Attributes:
        waiting: jobs that have not begun.
        processes: jobs at a time.
        running: the processes, by what tells of their end.
        outcomes: how those that ended did.
    """

    waiting: list[Job]
    processes: int
    running: dict[Connection, tuple[Job, SpawnProcess, int]] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def run(self) -> dict[str, Outcome]:
        """Run all of them."""
        try:
            while self.waiting or self.running:
                self._begin()
                for told in wait(list(self.running)):
                    assert isinstance(told, Connection)
                    self._end(told)
        finally:
            for _, process, _ in self.running.values():
                process.terminate()
            for _, process, _ in self.running.values():
                process.join()
        return self.outcomes

    def _begin(self) -> None:
        """Begin as many jobs as there is room for."""
        unfinished = {job.name for job in (*self.waiting, *(job for job, _, _ in self.running.values()))}
        for job in list(self.waiting):
            failed = _not_run(job, self.outcomes)
            if failed is not None:
                self.outcomes[job.name] = failed
            elif len(self.running) == self.processes or any(name in unfinished for name in job.needs):
                continue
            else:
                self._start(job)
            self.waiting.remove(job)
            unfinished.discard(job.name) if failed is not None else None

    def _start(self, job: Job) -> None:
        context = get_context("spawn")
        told, tell = context.Pipe(duplex=False)
        slot = next(number for number in range(self.processes) if number not in self._slots())
        level = logging.getLogger("muscle").getEffectiveLevel()
        process = context.Process(target=_in_process, args=(job, tell, level, _gpu(slot)), name=job.name)
        process.start()
        tell.close()
        self.running[told] = (job, process, slot)

    def _slots(self) -> set[int]:
        return {slot for _, _, slot in self.running.values()}

    def _end(self, told: Connection) -> None:
        job, process, _ = self.running.pop(told)
        try:
            outcome = told.recv()
        except EOFError:
            outcome = Outcome(job.name, 0, STOPPED)
        told.close()
        process.join()
        self.outcomes[job.name] = outcome


def _gpu(slot: int) -> str | None:
    """Return which of several GPUs a job sees: they are dealt out in turn; None where there are fewer than two."""
    import torch

    count = torch.cuda.device_count()
    if count < 2:
        return None
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = visible.split(",") if visible else [str(number) for number in range(count)]
    return names[slot % len(names)]


def _in_process(job: Job, tell: Connection, level: int, gpu: str | None) -> None:
    """Run a job in a process of its own: a line of log where the one process has bars, and Ctrl-C is the parent's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    set_quiet(True)
    show_log(level)
    tell.send(run_job(job))
    tell.close()
