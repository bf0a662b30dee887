"""Every Eval Ever, the community's shared schema (0.3.0): an aggregate `UUID.json` with its `UUID_samples.jsonl`.

A sample that feeds several metrics stands there once for each; such rows are one record here, with a score
for each. The same metric of the same sample again is a repeat. What `muscle convert --to eee` kept of a record
in a row's metadata (the option picked, log-likelihoods, repeat, slices), and of the run in the aggregate's, comes back.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from muscle.errors import DataError
from muscle.foreign_text import listing
from muscle.predictions.readers.every_eval_ever.facts import Aggregate
from muscle.predictions.readers.every_eval_ever.samples import Samples
from muscle.predictions.readers.shared.facts import merged_facts
from muscle.predictions.readers.shared.fields import count_at, identity_at, objects_at
from muscle.predictions.readers.shared.first_record import first_byte, first_line, first_member, is_whole
from muscle.predictions.readers.shared.json_members import line_objects
from muscle.predictions.records import concat_records
from muscle.predictions.run import DEFAULT_TASK, Run, Unread

SAMPLES_SUFFIX = "_samples.jsonl"

_HEAD_BYTES = 65_536
# A folder of a whole datastore holds thousands; these tell its format.
_LOOKED_AT = 20


def recognises(path: Path, head: bytes) -> bool:
    """Tell whether this is an aggregate, its samples, or a folder with samples below it."""
    if path.is_dir():
        found = islice(path.rglob(f"*{SAMPLES_SUFFIX}"), _LOOKED_AT)
        return any(_has_ids(file, _first_bytes(file)) for file in found)
    if first_byte(head) != b"{" or not _has_ids(path, head):
        return False
    return path.name.endswith(SAMPLES_SUFFIX) or b'"sample_id"' in head or _is_aggregate(path)


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as handle:
        return handle.read(_HEAD_BYTES)


def _has_ids(path: Path, head: bytes) -> bool:
    """Tell whether a file's first object has the fields that all of the schema have."""
    names = ("schema_version", "evaluation_id")
    if all(f'"{name}"'.encode() in head for name in names):
        return True
    return not is_whole(path, head) and (all(name in first_line(path) for name in names) or _is_aggregate(path))


def _is_aggregate(path: Path) -> bool:
    if b'"evaluation_results"' in _first_bytes(path):
        return True
    return "metric_config" in first_member(path, [("evaluation_results", 0)])


def read(path: Path) -> Run:
    """Read a run.

    Args:
        path: the aggregate file, its samples, or a folder with such pairs below it: of one model, of different tasks.

    Returns:
        One record a sample and repeat. A score has its metric's name in the aggregate. `correct` is
        `is_correct` of the task's main metric, null where its values are not 0 and 1 and where a sample has
        no row for it.

    Raises:
        DataError: the samples are missing or damaged, or a folder holds several models or a task twice: file,
            line, field.
    """
    if not path.is_dir():
        return _read_pair(path)
    files = sorted(path.rglob(f"*{SAMPLES_SUFFIX}"))
    if not files:
        raise DataError(f"{path}: expected UUID{SAMPLES_SUFFIX} below it, found none")
    runs = [_read_pair(file) for file in files]
    tasks = [task for run in runs for task in run.tasks]
    models = sorted({run.name for run in runs})
    if len(models) > 1 or len(set(tasks)) < len(tasks):
        what = f"the models {listing(models)}" if len(models) > 1 else "a task twice"
        raise DataError(f"{path}: expected one run of one model, found {what}; name one file")
    unread = [loss for run in runs for loss in run.unread] + _aggregates_alone(path)
    return Run(
        runs[0].name,
        concat_records([run.frame for run in runs]),
        merged_facts(runs, runs[0].metadata),
        tuple(unread),
    )


def _aggregates_alone(folder: Path) -> list[Unread]:
    """Name the aggregates below a folder whose samples are not there."""
    alone = (f for f in sorted(folder.rglob("*.json")) if not f.with_name(f.stem + SAMPLES_SUFFIX).is_file())
    return [
        Unread("an aggregate without its samples", str(file)) for file in alone if recognises(file, _first_bytes(file))
    ]


def _read_pair(path: Path) -> Run:
    aggregate_file, samples_file = _aggregate_and_samples(path)
    aggregate = Aggregate(aggregate_file)
    samples = Samples(aggregate)
    for row, where in line_objects(samples_file):
        samples.add(row, where)
    name = aggregate.model or samples.model or path.stem
    frame = samples.frame(samples_file)
    facts = aggregate.facts(name, samples_file)
    tasks = dict(facts["tasks"])
    for evaluation, metric in samples.main_metrics.items():
        tasks[evaluation] = {**tasks.get(evaluation, {}), "metric": metric}
    own = aggregate.own()
    unread = aggregate.unread(samples_file, samples.rows)
    unread = unread or aggregate.other_means(samples_file, samples.main_metrics, samples.means(frame))
    unread += _kept_unread(own, str(aggregate_file))
    kept = {key: value for key, value in own.items() if key in facts or key == DEFAULT_TASK}
    return Run(name, frame, {**facts, "tasks": tasks, **kept}, unread)


def _kept_unread(own: dict[str, object], where: str) -> tuple[Unread, ...]:
    """Return what `muscle convert` wrote of what it could not read itself."""
    return tuple(
        Unread(
            identity_at(loss, "what", where),
            identity_at(loss, "where", where),
            count_at(loss, "num_items", where),
        )
        for loss in objects_at(own, "unread", where)
    )


def _aggregate_and_samples(path: Path) -> tuple[Path, Path]:
    """Return aggregate file and samples file."""
    if path.name.endswith(SAMPLES_SUFFIX):
        return path.with_name(path.name.removesuffix(SAMPLES_SUFFIX) + ".json"), path
    if path.suffix == ".jsonl":
        return path.with_suffix(".json"), path
    samples = path.with_name(path.stem + SAMPLES_SUFFIX)
    if not samples.is_file():
        raise DataError(
            f"{path}: expected its samples in {samples.name}, found none; aggregates alone cannot be compared"
        )
    return path, samples
