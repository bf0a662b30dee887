"""Reading a record: how its answers were asked for, and what was answered to each item."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from muscle.errors import DataError
from muscle.foreign_text import listing, one_line
from muscle.predictions.read import read_run
from muscle.predictions.records import CALL
from muscle.provenance import file_hashes, fingerprint
from muscle.record.replies import option_of
from muscle.tasks.recorded import Record, RecordedAnswer, text_key

LEAST_LOGPROB = -1e30
"""Of an option, in nats; what is below is an infinity to a training, in float32."""

_MARK = f'"{CALL}"'.encode()


def calls_of(path: Path) -> list[Mapping[str, object]]:
    """Return how the answers of a record were asked for; nothing of another program's file.

    Args:
        path: a file that has been read as predictions, or a folder with such files.
    """
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path] if path.suffix == ".jsonl" else []
    return [call for file in files for call in _calls(file)]


def _calls(file: Path) -> Iterator[Mapping[str, object]]:
    with file.open("rb") as lines:
        for line in lines:
            if _MARK in line:
                row = json.loads(line)
                call = row.get(CALL) if isinstance(row, dict) else None
                if isinstance(call, dict):
                    yield call


def read_record(files: Sequence[str], task: str) -> Record:
    """Read a record as an update reads it.

    Args:
        files: of predictions, in any format that is read.
        task: the task's name; a file of one task of another name is taken to be this one's.

    Raises:
        DataError: a file cannot be read, or holds several tasks of which none is this one, or a
            log-probability that is none.
    """
    by_hash: defaultdict[str, list[RecordedAnswer]] = defaultdict(list)
    by_text: defaultdict[str, dict[str, None]] = defaultdict(dict)
    models: Counter[str] = Counter()
    dates: list[str] = []
    for file in files:
        frame = _of_task(file, task)
        for row in frame.iter_rows(named=True):
            answer = _read_answer(row, file)
            if answer is not None and row["input"] is not None:
                by_hash[row["input_hash"]].append(answer)
                by_text[text_key(row["input"])][row["input_hash"]] = None
        for call in calls_of(Path(file)):
            dates += [str(call["asked"])] if "asked" in call else []
            models.update([one_line(call["model"], 80)] if "model" in call and not call.get("failed") else [])
    answers = {key: tuple(found) for key, found in by_hash.items()}
    names = [name for name, _ in models.most_common()]
    facts = {"models": names, "first": min(dates, default=None), "last": max(dates, default=None)}
    alone = {text: answers[next(iter(hashes))] for text, hashes in by_text.items() if len(hashes) == 1}
    called = listing(names, 2) if names else ", ".join(Path(file).stem for file in files)
    return Record(called, record_digest(files), answers, alone, facts)


def record_digest(files: Sequence[str]) -> str:
    """Return what stands for a record's content.

    Raises:
        DataError: a file is not there.
    """
    for file in files:
        if not Path(file).exists():
            raise DataError(f"old.record: {file}: expected a file of predictions, found nothing there")
    return fingerprint([sorted(file_hashes(Path(file)).values()) for file in files])


def _of_task(file: str, task: str) -> pl.DataFrame:
    """Return a task's answers in a file, each once: several readings of an answer are no several answers."""
    run = read_run(Path(file))
    frame = run.frame
    if task in run.tasks:
        frame = frame.filter(pl.col("task") == task)
    elif len(run.tasks) > 1:
        raise DataError(f"old.record: {file}: expected answers to {task}, found {listing(run.tasks)}")
    return frame.unique(["id", "input_hash", "input", "repeat"], keep="first", maintain_order=True)


def _read_answer(row: Mapping[str, object], file: str) -> RecordedAnswer | None:
    """Return a row's answer; None where it failed or is blank.

    Raises:
        DataError: a log-probability is beyond what a training can count with.
    """
    text, choices, choice, logprobs = (row[name] for name in ("output", "choices", "choice", "logprobs"))
    if row["error"] is not None:
        return None
    option = None
    if isinstance(choices, list) and choices:
        place = choice if isinstance(choice, int) else option_of(str(text or ""), choices)
        option = None if place is None else choices[place]
    elif text is not None:
        option = str(text).strip() or None  # a file without options: the answer may be one
    whole = isinstance(logprobs, list) and all(each is not None and math.isfinite(each) for each in logprobs)
    options = tuple(choices) if isinstance(choices, list) else ()
    known = tuple(logprobs) if whole and isinstance(logprobs, list) and len(logprobs) == len(options) > 0 else None
    if known is not None and min(known) < LEAST_LOGPROB:
        raise DataError(
            f"old.record: {file}: item {one_line(row['id'], 60)}: expected log-probabilities in nats, found "
            f"{min(known):g}"
        )
    if not str(text or "").strip() and option is None and known is None:
        return None
    reason = row["finish_reason"]
    return RecordedAnswer(str(text or option or ""), option, known, None if reason is None else str(reason), options)
