"""The command that a command tells its user to type next, so that it runs as it stands.

It is the one that was typed, with what the user said: a second list of options would leave some out. Words are quoted
for a shell.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence

from typer import Context


def next_command(
    context: Context,
    *,
    more: Mapping[str, object] | None = None,
    without: Collection[str] = (),
    arguments: Sequence[object] = (),
) -> str:
    """Write the command that was typed, changed.

    Args:
        context: typer's, of the command that runs.
        more: further options by their written name (`--seed`); each stands in the place of one that was typed.
        without: written names of options that are left out.
        arguments: further arguments, behind those that were typed.
    """
    added = dict(more or {})
    options: list[str] = []
    words: list[str] = []
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        value = context.params.get(parameter.name or "")
        if source is None or source.name != "COMMANDLINE" or value is None:
            continue
        name = max(parameter.opts, key=len)
        if parameter.param_type_name == "argument":
            words += _words_of(value)
        elif name not in without and name not in added:
            options += _as_typed(name, value)
    for name, value in added.items():
        options += _as_typed(name, value)
    words += [str(argument) for argument in arguments]
    return command(*context.command_path.split(), arguments=words, options=options)


def command(*names: str, arguments: Sequence[object], options: Sequence[str] = ()) -> str:
    """Write a command for a shell.

    >>> command("muscle", "update", arguments=["my update.yaml"], options=["--dry-run"])
    "muscle update 'my update.yaml' --dry-run"
    >>> command("muscle", "update", arguments=["-x"])
    'muscle update -- -x'
    """
    words = [str(argument) for argument in arguments]
    # An argument that looks like an option can only stand behind `--`.
    last = [*options, "--", *words] if any(word.startswith("-") for word in words) else [*words, *options]
    return shlex.join([*names, *last])


def _words_of(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list | tuple) else [str(value)]


def _as_typed(name: str, value: object) -> list[str]:
    """Write an option as it is typed; a value that begins with a hyphen stands behind `=`."""
    if value is True:
        return [name]
    words: list[str] = []
    for text in _words_of(value):
        words += [f"{name}={text}"] if text.startswith("-") else [name, text]
    return words
