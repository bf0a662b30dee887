"""`muscle init --task FILE`: write the proposed YAML, read the file by it, and say what came of it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

from muscle.errors import ConfigError, DataError, MuscleError
from muscle.files import write_text
from muscle.foreign_text import clip, one_line, visible
from muscle.tasks.data import build_examples
from muscle.tasks.own.task_file import load_task
from muscle.tasks.proposal.propose import Proposal, propose
from muscle.tasks.sources import SourceRow, load_rows
from muscle.tasks.task import Example, Task

_WIDTH = 76
_MOST_LINES = 8
"""Of a prompt; its end is what tells."""


def start_task(source: Path, out: Path, *, columns: Mapping[str, str], force: bool) -> list[str]:
    """Write the YAML of a task for a file of rows and return what to say of it, a line each.

    Args:
        source: the rows.
        out: the YAML to write.
        columns: columns as the user names them.
        force: replace an existing file.

    Raises:
        ConfigError: `out` is there already, is no YAML, or no name tells what the columns are.
        DataError: the rows cannot be read, or none of them makes an example.
    """
    if out.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"{out}: expected a task's YAML to write, such as {source.stem}.yaml")
    if out.exists() and not force:
        raise ConfigError(f"{out}: exists already; --force replaces it")
    rows = load_rows(source)
    proposal = propose(source, rows, columns=columns, out=out)
    write_text(out, proposal.text)
    task = load_task(out)
    examples, refused = _read_by(task, rows)
    if not examples:
        raise DataError(f"{refused[0]}; {out} is written: mend the row or the file's keys")
    return [
        f"wrote {out}",
        *(line for reason in proposal.reasons for line in _wrapped(f"- {one_line(reason, 500)}")),
        *_refusals(refused, len(rows)),
        "",
        *_shown(examples[0]),
        "",
        *_next_steps(source, out, proposal),
    ]


def _read_by(task: Task, rows: list[SourceRow]) -> tuple[list[Example], list[str]]:
    """Return the examples of the rows that make one, and why the others don't."""
    examples: list[Example] = []
    refused: list[str] = []
    for row in rows:
        try:
            examples += build_examples(task, [row])
        except MuscleError as error:
            refused.append(str(error))
    return examples, refused


def _refusals(refused: list[str], num_rows: int) -> list[str]:
    if not refused:
        return []
    first = one_line(refused[0], 300)
    return _wrapped(
        f"{len(refused):,} of {num_rows:,} rows cannot be read so, which training refuses; the first: {first}"
    )


def _shown(example: Example) -> list[str]:
    """Show the first example as a model reads it."""
    lines = [clip(visible(line), _WIDTH) for line in example.context.splitlines()]
    cut = ["..."] if len(lines) > _MOST_LINES else []
    told = ["The first example, prompt and answer:", *(f"  {line}" for line in (*cut, *lines[-_MOST_LINES:]))]
    if example.choices:
        told.append(f"  options: {one_line(' | '.join(example.choices), _WIDTH)}")
    return [*told, f"  answer: {one_line(example.target, _WIDTH)}"]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _next_steps(source: Path, out: Path, proposal: Proposal) -> list[str]:
    lines = ["Next, in an update.yaml (`muscle init` writes one), with test data that is never trained on:"]
    lines += ["  tasks:", f"    - {{task: {out}, train: {source}, test: TEST_FILE}}"]
    return lines + [f"  and {hint}" for hint in proposal.hints]
