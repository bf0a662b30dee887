"""What mkdocs does beside the pages as they are: reference pages from the source, and links out of docs/.

The pages of commands, of Python names and of update.yaml are made when the site is built, from typer's help, the
docstrings and the template that `muscle init --full` writes: there is no second copy that could differ. A link out of
docs/ (`../benchmarks/results/x.json`) leads on GitHub to the file itself, and in the site to a copy of it under
`files/`.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import muscle
import muscle.gate
from muscle.cli import app
from muscle.config.template import UPDATE_YAML

ROOT = Path(__file__).parents[2]
COPIES = "files"
_LINK = re.compile(r"(?<=\]\()(?!\w+:|#|/)([^)\s#]+)")
_SHOWN = 100
"""Columns of the commands' help."""


def commands_page() -> str:
    """Write every command's help, as the command line shows it."""
    parts = [
        "# Commands",
        "Every command's own help, as `muscle COMMAND --help` shows it. Exit codes: [exit codes](../exit-codes.md).",
    ]
    root = typer.main.get_command(app)
    context = root.make_context("muscle", [], resilient_parsing=True, terminal_width=_SHOWN, max_content_width=_SHOWN)
    parts += ["## muscle", _code_block(root.get_help(context))]
    for name, command in root.commands.items():
        parts += _command_parts(command, name, context, level=2)
    return "\n\n".join(parts) + "\n"


def _command_parts(command: typer.core.TyperCommand, name: str, parent: typer.Context, level: int) -> list[str]:
    context = command.make_context(name, [], parent=parent, resilient_parsing=True)
    parts = [f"{'#' * level} {context.command_path}", _code_block(command.get_help(context))]
    for inner, below in getattr(command, "commands", {}).items():
        parts += _command_parts(below, inner, context, level + 1)
    return parts


def _code_block(text: str, language: str = "text") -> str:
    return f"```{language}\n{text.rstrip()}\n```"


def python_page() -> str:
    """Write the public names for mkdocstrings, which reads their docstrings."""
    parts = [
        "# Python names",
        "From the docstrings of the source. What each is for, with examples that run: [From Python](../api.md).",
    ]
    for package in (muscle, muscle.gate):
        parts.append(f"## {package.__name__}")
        parts += [f"::: {package.__name__}.{name}" for name in sorted(package.__all__, key=str.lower)]
    return "\n\n".join(parts) + "\n"


def update_page() -> str:
    """Write the commented update.yaml that `muscle init --full` writes."""
    return (
        "# update.yaml\n\nWhat `muscle init --full` writes: every key with its default. What a stage does with it: "
        f"[One update from end to end](../update.md).\n\n{_code_block(UPDATE_YAML, 'yaml')}\n"
    )


GENERATED = {
    "reference/commands.md": commands_page,
    "reference/python.md": python_page,
    "reference/update-yaml.md": update_page,
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, and copies of what the pages link to outside of docs/."""
    for name, written in GENERATED.items():
        files.append(File.generated(config, name, content=written()))
    waiting = [file for file in files if file.is_documentation_page() and file.src_uri not in GENERATED]
    while waiting:
        file = waiting.pop()
        for target in _targets(file.content_string, home_of(file.src_uri)):
            name = place_of(target)
            if name.startswith(f"{COPIES}/") and name not in files.src_uris:
                copy = File.generated(config, name, abs_src_path=str(ROOT / target))
                files.append(copy)
                waiting += [copy] if copy.is_documentation_page() else []
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links out of docs/ lead to the copies."""
    source = page.file.src_uri
    if source in GENERATED:
        return markdown
    home = home_of(source)

    def changed(found: re.Match[str]) -> str:
        target = _resolved(found[1], home)
        if target is None:
            return found[1]
        return posixpath.relpath(place_of(target), posixpath.dirname(source) or ".")

    return _LINK.sub(changed, markdown)


def home_of(name: str) -> str:
    """Return the folder of the repository that a page's links start from."""
    repository = name.removeprefix(f"{COPIES}/") if name.startswith(f"{COPIES}/") else f"docs/{name}"
    return posixpath.dirname(repository)


def place_of(target: str) -> str:
    """Return where a file of the repository stands in the site."""
    return target.removeprefix("docs/") if target.startswith("docs/") else f"{COPIES}/{target}"


def _targets(markdown: str, home: str) -> list[str]:
    found = (_resolved(link, home) for link in _LINK.findall(markdown))
    return [target for target in found if target is not None]


def _resolved(link: str, home: str) -> str | None:
    """Return the file of the repository that a link leads to, a folder's README for the folder; None without one."""
    target = posixpath.normpath(posixpath.join(home, link))
    path = ROOT / target
    if path.is_dir() and (path / "README.md").is_file():
        return f"{target}/README.md"
    return target if path.is_file() and not target.startswith("..") else None
