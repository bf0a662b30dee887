"""Help in groups: what a person reads who types `--help`, and what a shell completes."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from helpers.command_line import muscle
from muscle import CompareOptions
from muscle.cli import app
from muscle.commands.help.grouped import MORE
from muscle.commands.help.texts import TEXTS

COMMANDS = get_command(app).commands
GROUPS = {name: each.commands for name, each in COMMANDS.items() if hasattr(each, "commands")}
SUBCOMMANDS = {f"{group} {name}": each for group, found in GROUPS.items() for name, each in found.items()}


def test_commands_stand_in_groups_and_their_helps_are_not_cut():
    text = muscle("--help").out
    groups = ["See what an update breaks:", "Plan an evaluation, and be sure:", "Train an adapter that keeps"]
    places = [text.index(group) for group in groups]
    assert places == sorted(places) and places[0] < text.index("  compare ") < places[1] < text.index("  plan ")
    assert "..." not in text.split("\n", 1)[1] and "Commands:" not in text
    assert all(len(line) <= 100 for line in text.splitlines())


def test_the_basic_options_come_first_and_no_option_is_lost():
    text = muscle("compare", "--help").out
    heads = ["Arguments:", "Options:", "What is written:", "How files are read:", "How items are paired:"]
    places = [text.index(head) for head in [*heads, "How it is judged:"]]
    assert places == sorted(places)
    assert text.index("--candidate") < text.index("--html") < text.index("--format") < text.index("--tolerance")
    named = [option for each in COMMANDS["compare"].params for option in each.opts if option.startswith("--")]
    assert len(named) > 20 and all(f"{option} " in text or f"{option}\n" in text for option in named)


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_every_example_is_of_its_command_and_takes_options_that_there_are(name):
    text = muscle(*name.split(), "--help").out
    assert "  Examples:\n" in text
    for _, lines in TEXTS[name].examples:
        for line in lines.replace("\\\n", "").splitlines():
            words = shlex.split(line)
            assert words[0] == "muscle"
            command = GROUPS[words[1]][words[2]] if words[1] in GROUPS else COMMANDS[words[1]]
            known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
            given = {word.partition("=")[0] for word in words if word.startswith("-")}
            assert given <= known, line
    for line in text[text.index("Examples:") :].splitlines():
        assert len(line) <= 80


def test_every_page_that_a_help_names_is_there():
    root = Path(__file__).resolve().parents[3]
    pages = [page for text in TEXTS.values() for page in text.page.split(", ") if page]
    assert len(pages) > 15 and all((root / page).is_file() for page in pages)


def test_every_command_is_in_a_group():
    assert [name for name, each in COMMANDS.items() if not each.rich_help_panel or each.rich_help_panel == MORE] == []


def test_every_command_and_subcommand_has_examples_and_its_options_in_groups():
    assert {*COMMANDS, *SUBCOMMANDS} == {*TEXTS}
    assert "What calls cost:" in muscle("route", "fit", "--help").out
    assert {type(each) for each in SUBCOMMANDS.values()} == {type(COMMANDS["compare"])}


def completed(words, position):
    environment = {**os.environ, "_MUSCLE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(position)}
    done = subprocess.run(
        [sys.executable, "-m", "muscle"], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_completes_commands_and_options():
    assert completed("muscle co", 1) == ["compare", "confirm", "convert", "collect"]
    assert completed("muscle compare --tol", 2) == ["--tolerance"]


def test_the_tolerance_on_the_command_line_is_the_one_of_the_library():
    (tolerance,) = [each for each in COMMANDS["compare"].params if "--tolerance" in each.opts]
    assert tolerance.default == CompareOptions().tolerance
    (limit,) = [each for each in COMMANDS["gate"].params if "--tolerance" in each.opts]
    assert limit.default is None and f"{CompareOptions().tolerance} as in muscle compare" in limit.help
