"""The `muscle` command: its commands put together, and how they end.

Everything heavy is imported inside the commands, so that help is instant. The exit codes: `muscle.commands.ending`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from muscle import distributed
from muscle.commands import compare, doctor, gate, init, plan, runs
from muscle.commands.answers import record, route
from muscle.commands.ending import end
from muscle.commands.help.grouped import GroupedCommand, GroupedCommands
from muscle.commands.help.texts import help_of
from muscle.commands.shell import say
from muscle.commands.training import steps, updates

_CODES = (
    "Exit codes: 0 pass, or done; 1 block, and nothing else; 2 cannot tell; 3 bad input or configuration; "
    "4 a fault of muscle; 130 interrupted.\n\n\b\n"
    "First:    muscle compare --example\n"
    "Examples: muscle COMMAND --help\n"
    "More:     docs/, README.md"
)

COMPLETE = "_MUSCLE_COMPLETE"
"""What a shell sets that asks for completion."""

app = typer.Typer(
    name="muscle",
    help="See, stop and fix the negative flips of an LLM update: answers that were right and go wrong.",
    epilog=_CODES,
    cls=GroupedCommands,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

for _command in (
    compare.compare,
    gate.gate,
    runs.history,
    compare.closeness,
    plan.plan,
    plan.confirm,
    plan.watch,
    updates.demo,
    init.init,
    updates.update,
    updates.sweep,
    steps.finetune,
    steps.align,
    steps.evaluate,
    steps.export,
    record.record,
    compare.report,
    runs.convert,
    runs.collect,
    doctor.doctor,
):
    _text = help_of(_command.__name__)
    app.command(cls=GroupedCommand, rich_help_panel=_text.group, epilog=_text.epilog)(_command)
for _name, _commands in (("baseline", gate.baselines_app), ("route", route.app)):
    _text = help_of(_name)
    app.add_typer(_commands, name=_name, cls=GroupedCommands, rich_help_panel=_text.group, epilog=_text.epilog)


def run() -> int:
    """Run the command that was typed, and return its exit code.

    Raises:
        BaseException: anything; `muscle.commands.ending` makes a line and a code of it.
    """
    if not distributed.is_main():  # of several processes one speaks; errors are told by each
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  until the process ends
    try:
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False, prog_name="muscle")
    except typer.Exit as stop:
        code = stop.exit_code
    except SystemExit as stop:
        if COMPLETE not in os.environ:  # nothing but a shell's completion may end so
            raise
        code = stop.code
    return code if isinstance(code, int) else 0


def main() -> None:
    """Run the command line; every failure ends in one line and a documented exit code."""
    end(run)


def _version(show: bool) -> None:
    if show:
        from importlib.metadata import version

        say(f"muscle {version('muscle-llm')}")
        raise typer.Exit


@app.callback()
def _global(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


if __name__ == "__main__":
    main()
