"""A run: the predictions of one version of a model, as a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypedDict

from muscle.errors import DataError
from muscle.foreign_text import listing, one_line

if TYPE_CHECKING:
    import polars as pl

SCORE_PREFIX = "score."
SLICE_PREFIX = "slice."

METADATA_FILE = "run.json"
"""Where a folder of records keeps what is known of its run."""

UNREAD = "unread"
"""Its key there for what the run's source held beside the records."""

DEFAULT_TASK = "default_task"
"""Its key there, and the metadata's, for the task's name where the rows named none and it was taken from the file."""

UNNAMED_TASK = "all"
"""The task's name where neither the rows nor a file name one."""


@dataclass(frozen=True)
class Unread:
    """Something that the user named and that is not among a run's predictions.

    A reader refuses what it cannot make sense of; what it passes over, it counts here. Nothing is left out in
    silence: reports and gates name it, and it makes a verdict more careful, never better.

    Attributes:
        what: what was left out and why, as "3 samples that are null".
        where: the file, with line or member where there is one.
        num_items: predictions that are lost by it; None where that cannot be known.
    """

    what: str
    where: str
    num_items: int | None = None

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class RunFacts(TypedDict, total=False):
    """What a reader tells of how a run was made, in words that all formats share; what is not known is left out.

    Attributes:
        source: the path that was read.
        format: the format's name.
        model: `name`, and what decides how it answers (`dtype`, `args`, ...).
        versions: packages to versions.
        settings: of the whole run.
        created: when it ran, as the format writes it.
        harness: the program that ran it.
        description: the run in its author's words.
        higher_is_better: scores to whether more is better.
        results: the format's own aggregates, by task; comparisons do not use them.
        tasks: what is known of each task: version, shots, prompt, data, generation, metric, judge.
        files: what was read.
        notes: sentences that should make a reader of a comparison look twice: its report has them as warnings.
        readings: sentences on how it was read, in which nothing makes its figures doubtful.
        decided: of a plain table, what decides, from which column, and which columns are not used.
        compares: of a plain table whose verdicts are not given, the field that is compared with the reference; of a
            folder, by task.
        judged_by: of a plain table, the metric that its column of verdicts is called by.
        default_task: the task's name where the rows named none and it was taken from the file.
    """

    source: str
    format: str
    model: Mapping[str, object]
    versions: Mapping[str, object]
    settings: Mapping[str, object]
    created: object
    harness: object
    description: object
    higher_is_better: Mapping[str, bool]
    results: Mapping[str, Mapping[str, object]]
    tasks: Mapping[str, Mapping[str, object]]
    files: list[str]
    notes: list[str]
    readings: list[str]
    decided: str
    compares: str | Mapping[str, str]
    judged_by: str
    default_task: str


def unread_to_json(unread: Iterable[Unread]) -> list[dict[str, object]]:
    """Return what was left out as JSON can hold it."""
    return [asdict(entry) for entry in unread]


def unread_from_json(value: object, where: str) -> tuple[Unread, ...]:
    """Return what `unread_to_json` wrote.

    Raises:
        DataError: the value is something else.
    """
    found = []
    for entry in value if isinstance(value, list) else [value] if value is not None else []:
        fields = entry if isinstance(entry, dict) else {}
        what, place, num_items = (fields.get(name) for name in ("what", "where", "num_items"))
        is_number = num_items is None or (isinstance(num_items, int) and num_items >= 0)
        if not (isinstance(what, str) and isinstance(place, str) and is_number):
            raise DataError(
                f"{where}, field 'unread': expected a list of what, where and num_items, found another form"
            )
        found.append(Unread(what, place, num_items))
    return tuple(found)


@dataclass(frozen=True, repr=False)
class Run:
    """The predictions of one version of a model.

    Attributes:
        name: what reports call this version.
        frame: one row a prediction, with every column of `muscle.predictions.records.COLUMNS`, then
            `score.<name>` (float) and `slice.<name>` (text) columns.
        metadata: what is known of how the run was made: `RunFacts`, and whatever else a folder's `run.json` holds.
            Comparability is judged by it.
        unread: what the source held that is not in the frame.
    """

    name: str
    frame: pl.DataFrame
    metadata: Mapping[str, Any] = field(default_factory=dict)
    unread: tuple[Unread, ...] = ()

    def __repr__(self) -> str:
        return f"<Run {one_line(self.name, 60)}: {self.frame.height:,} predictions, tasks {listing(self.tasks, 3)}>"

    @property
    def tasks(self) -> list[str]:
        """The names of the tasks, in the order in which they first appear."""
        return self.frame.lazy().select("task").unique(maintain_order=True).collect().to_series().to_list()

    def score_names(self, task: str | None = None) -> list[str]:
        """The names of the scores that a task has, its main score first.

        Args:
            task: one task's name; None for the scores of the whole run.
        """
        names = [column for column in self.frame.columns if column.startswith(SCORE_PREFIX)]
        rows = self.frame if task is None else self.frame.filter(self.frame["task"] == task)
        return [name.removeprefix(SCORE_PREFIX) for name in names if rows[name].null_count() < rows.height]


class DataFrameLike(Protocol):
    """A table of another library, such as pandas or pyarrow: what has the data frame interchange protocol."""

    def __dataframe__(self, nan_as_null: bool = ..., allow_copy: bool = ...) -> object:
        """Return the interchange object."""


Source: TypeAlias = "str | PathLike[str] | Run | pl.DataFrame | DataFrameLike | Sequence[Mapping[str, object]]"
"""What predictions are read from: a path, a table, a list of dicts or a run."""
