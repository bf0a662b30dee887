"""What the pages tell people to type can be typed: commands have their options, blocks of Python and YAML are right."""

from __future__ import annotations

import ast
import re
import shlex
import textwrap

import pytest
import typer

from helpers.places import ROOT
from muscle.cli import app
from muscle.config.update_file import load_config

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "examples").glob("*/README.md"))]
_FENCED = re.compile(r"(?ms)^( *)```(\w*)\n(.*?)^ *```")
_TYPED = re.compile(r"(?m)^(?:\$ | {4,}(?:- )?| *- )(muscle [a-z](?:[^\n\\]|\\\n|\\.)*)$")


def commands() -> list[tuple[str, str]]:
    """Return every command line of the pages that begins with `muscle`, with its page."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        found += [(page.relative_to(ROOT).as_posix(), line) for line in _TYPED.findall(text)]
    return found


def words_of(line: str) -> list[str]:
    """Return a command line's words up to what a shell or a reader adds: a comment, a wide gap, an ellipsis."""
    line = re.split(r"\s+# | {4,}|\s>\s", line.replace("\\\n", " ").strip())[0]
    return [word for word in shlex.split(line) if word not in ("...", "…")]


@pytest.mark.parametrize(("page", "line"), commands())
def test_a_command_of_the_pages_has_the_options_that_it_is_typed_with(page: str, line: str) -> None:
    command: typer.core.TyperCommand = typer.main.get_command(app)
    words = words_of(line)[1:]
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"{page}: {line}"
        command, words = command.commands[words[0]], words[1:]
    known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)} | {
        "--help",
        "-h",
        "--version",
    }
    assert [word for word in words if word.startswith("--") and word.partition("=")[0] not in known] == [], page


def blocks(language: str) -> list[tuple[str, str]]:
    """Return the fenced blocks of a language, with their pages."""
    found = []
    for page in PAGES:
        for _, of, body in _FENCED.findall(page.read_text(encoding="utf-8")):
            if of == language:
                found.append((page.relative_to(ROOT).as_posix(), textwrap.dedent(body)))
    return found


@pytest.mark.parametrize(("page", "body"), [(page, body) for page, body in blocks("python") if ">>>" not in body])
def test_a_python_block_compiles(page: str, body: str) -> None:
    assert ast.parse(body, page).body


@pytest.mark.parametrize(("page", "body"), [each for each in blocks("yaml") if each[1].startswith("# update.yaml")])
def test_an_update_yaml_of_the_pages_is_one(page: str, body: str, tmp_path: object) -> None:
    path = tmp_path / "update.yaml"  # type: ignore[operator]
    path.write_text(body)
    (tmp_path / "tickets.yaml").write_text((ROOT / "examples/llama-8b-classifier/tickets.yaml").read_text())  # type: ignore[operator]
    assert load_config(path).new.base
