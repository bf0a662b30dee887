"""Several processes of one command, as `accelerate launch` or `torchrun` starts them: who writes, who follows.

One process, the main one, writes files and decides what is done already; the others hear of it. Torch is only imported
where there is more than one process, so that commands which need none stay light.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from types import ModuleType
from typing import TypeVar

from muscle.errors import MuscleError

Value = TypeVar("Value")


def num_processes() -> int:
    """Return the number of processes of this command, as the launcher tells it."""
    launched = "RANK" in os.environ and "MASTER_ADDR" in os.environ
    return int(os.environ.get("WORLD_SIZE", "1")) if launched else 1


def rank() -> int:
    """Return this process's number, from 0."""
    return int(os.environ["RANK"]) if num_processes() > 1 else 0


def is_main() -> bool:
    """Tell whether this is the process that writes."""
    return rank() == 0


def sharded_by_deepspeed() -> bool:
    """Tell whether the launcher asks for DeepSpeed."""
    return os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true"


def sharded() -> bool:
    """Tell whether the launcher asks for a model in shards, whose weights all processes gather together."""
    by_fsdp = os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
    return num_processes() > 1 and (by_fsdp or sharded_by_deepspeed())


def from_main(work: Callable[[], Value]) -> Value:
    """Let the main process do `work` and give its result to all.

    Raises:
        MuscleError: the one that the main process raised, in every process, so that none waits for the others in vain.
    """
    if num_processes() == 1:
        return work()
    # What is sent: the result, or the error that there is in its place.
    told: list[tuple[list[Value], MuscleError | None]] = [([], None)]
    if is_main():
        try:
            told[0] = [work()], None
        except MuscleError as error:
            told[0] = [], error
    _group().broadcast_object_list(told, src=0)
    results, failure = told[0]
    if failure is not None:
        raise failure
    return results[0]


def gather(value: Value) -> list[Value]:
    """Return every process's value, in the order of their numbers."""
    if num_processes() == 1:
        return [value]
    values = [value] * num_processes()
    _group().all_gather_object(values, value)
    return values


def wait() -> None:
    """Wait until every process is here."""
    if num_processes() > 1:
        gather(None)


def leave() -> None:
    """Close the connection between the processes at the end of a command."""
    if num_processes() > 1:
        import torch.distributed

        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def _group() -> ModuleType:
    """Return `torch.distributed`, set up as the trainer would do it."""
    import torch
    from accelerate import PartialState

    if sharded_by_deepspeed() and not torch.cuda.is_available():
        # Of a process that asks for the CPU accelerate makes plain data-parallel.
        PartialState(backend="gloo")
    else:
        PartialState(cpu=not torch.cuda.is_available())
    return torch.distributed
