"""Help in groups, as plain text: commands under what they are for, the basic options first, nothing cut.

A group is named by typer's `rich_help_panel`; the text is laid out here, since rich's panels take a second import and
cost a third of the time of `muscle --help`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from typer._click.core import Context, Parameter
    from typer._click.formatting import HelpFormatter

BASICS = "Options"
MORE = "More"


def _write_groups(formatter: HelpFormatter, rows: Iterable[tuple[str, tuple[str, str]]], *, first: str = "") -> None:
    """Write rows under the name of their group, a group where its first row stands, the first one ahead."""
    groups: dict[str, list[tuple[str, str]]] = {first: []} if first else {}
    for name, row in rows:
        groups.setdefault(name, []).append(row)
    for name, found in groups.items():
        if found:
            with formatter.section(name):
                formatter.write_dl(found)


def _group_of(parameter: Parameter) -> str:
    if parameter.param_type_name == "argument":
        return "Arguments"
    return getattr(parameter, "rich_help_panel", None) or BASICS


def _write_options(command: TyperCommand | TyperGroup, context: Context, formatter: HelpFormatter) -> None:
    found = [
        (_group_of(each), record) for each in command.get_params(context) if (record := each.get_help_record(context))
    ]
    arguments = [each for each in found if each[0] == "Arguments"]
    _write_groups(formatter, arguments)
    _write_groups(formatter, [each for each in found if each[0] != "Arguments"], first=BASICS)


class GroupedCommand(TyperCommand):
    """A command whose options stand in groups."""

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write arguments, then the basic options, then each further group."""
        _write_options(self, ctx, formatter)


class GroupedCommands(TyperGroup):
    """Commands in groups; their short helps wrap where they are long."""

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the commands by what they are for, then the options."""
        self.format_commands(ctx, formatter)
        _write_options(self, ctx, formatter)

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write each group of commands."""
        found = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        _write_groups(
            formatter,
            (
                (each.rich_help_panel or "Commands", (name, each.get_short_help_str(limit=200)))
                for name, each in found
                if each is not None and not each.hidden and isinstance(each, TyperCommand | TyperGroup)
            ),
        )
