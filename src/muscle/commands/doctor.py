"""`muscle doctor`: what is installed, what the machine has, what is missing and how to mend it."""

from __future__ import annotations

from typing import Annotated

import typer

from muscle.commands.ending import BAD_INPUT
from muscle.commands.options import JsonFile
from muscle.commands.shell import check_outputs, say, start, write_result


def doctor(
    command: Annotated[
        str | None, typer.Argument(metavar="COMMAND", help="Check only what this command needs.")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Show what is installed, what the machine has, what each command lacks, and how to install it.

    Exit code 0: COMMAND can run; without COMMAND, the light installation is complete. 3: a package is missing, or its
    version does not fit.
    """
    start(False)
    check_outputs(json_file)
    from muscle.doctor.diagnosis import diagnose
    from muscle.doctor.lines import lines

    found = diagnose(command)
    if not write_result(json_file, found):
        for line in lines(found):
            say(line)
    if found.uses[0].state != "ready":
        raise typer.Exit(BAD_INPUT)
