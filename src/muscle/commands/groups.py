"""Options that go together: a dataclass whose fields are options is one parameter of every command that takes them.

Typer knows only flat parameters. `spread` stands between: typer sees a group's fields in the group's place, the command
gets the group. So what several commands share is listed once, with its defaults, and cannot drift apart.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, get_args, get_type_hints

from typer.models import OptionInfo

from muscle.commands.options import (
    Allow,
    Cluster,
    Columns,
    Epsilon,
    FilterName,
    Format,
    LowerIsBetter,
    MaxUnpaired,
    MetricName,
    On,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from muscle.flips.options import CompareOptions

_KEYWORD = inspect.Parameter.KEYWORD_ONLY


@dataclass(frozen=True)
class Reading:
    """How all runs of a command are read, where `::key=value` says nothing else of one.

    Attributes:
        format: of the files; None finds it by content.
        columns: OURS=THEIRS words: our field names and the files'.
        metric: the metric that decides.
        filter: the filter to keep.
    """

    PANEL: ClassVar[str] = "How files are read"

    format: Format = None
    columns: Columns = None
    metric: MetricName = None
    filter: FilterName = None


@dataclass(frozen=True)
class Comparing:
    """How the items of two runs are found, paired and held against each other; see `muscle.CompareOptions`."""

    PANEL: ClassVar[str] = "How items are paired"

    on: On = "auto"
    max_unpaired: MaxUnpaired = 0.05
    allow: Allow = None
    cluster: Cluster = None
    epsilon: Epsilon = 0.0
    lower_is_better: LowerIsBetter = None

    def options(self) -> CompareOptions:
        """Return them as `muscle.compare` takes them."""
        from muscle.flips.options import CompareOptions

        return CompareOptions(
            on=self.on,
            max_unpaired=self.max_unpaired,
            allow=self.allow or (),
            cluster=self.cluster,
            epsilon=self.epsilon,
            lower_is_better=self.lower_is_better or (),
        )


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take groups of options: to typer, a group's fields stand in the group's place.

    Args:
        command: a function; its parameters that are dataclasses are groups.
    """
    signature = inspect.signature(command, eval_str=True)
    groups: dict[str, type[DataclassInstance]] = {
        name: parameter.annotation
        for name, parameter in signature.parameters.items()
        if isinstance(parameter.annotation, type) and is_dataclass(parameter.annotation)
    }

    @functools.wraps(command)
    def run(**given: object) -> None:
        made = {
            name: group(**{field.name: given.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        command(**given, **made)

    flat: list[inspect.Parameter] = []
    for name, parameter in signature.parameters.items():
        flat += _options_of(groups[name]) if name in groups else [parameter.replace(kind=_KEYWORD)]
    run.__signature__ = signature.replace(parameters=flat)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in flat}
    return run


@functools.cache  # the commands of one group are many, and `--help` waits for all of them
def _options_of(group: type[DataclassInstance]) -> list[inspect.Parameter]:
    """Return a group's fields as parameters, in the help under the group's `PANEL` where it has one."""
    hints = get_type_hints(group, include_extras=True)
    panel = getattr(group, "PANEL", None)
    return [
        inspect.Parameter(
            field.name,
            _KEYWORD,
            default=field.default,
            annotation=hints[field.name] if panel is None else in_panel(hints[field.name], panel),
        )
        for field in fields(group)
    ]


def in_panel(annotation: object, panel: str) -> object:
    """Return an option's annotation with its place in the help, unless it has one."""
    kind, *notes = get_args(annotation)
    placed = []
    for note in notes:
        is_free = isinstance(note, OptionInfo) and note.rich_help_panel is None
        placed.append(copy.copy(note) if is_free else note)
        if is_free:
            placed[-1].rich_help_panel = panel
    return Annotated[(kind, *placed)]
