"""What leaves the command line: no runner command, no terminal escape, no endless line, wherever the text came from."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers.command_line import muscle, refused, rows, write
from muscle.commands.outgoing import Guarded, without_commands
from muscle.errors import OutputError
from muscle.foreign_text import message_line

BAD = "\x1b[2J\x1b]0;t\x07\r\n::stop-commands::x\u2028##[add-mask]y \u202e##vso[task.complete]z"
RUNNERS = re.compile(r"(?:^|[\r\n])\s*::|##(?:vso|teamcity)?\[", re.IGNORECASE)
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f\u2028\u202e]")


def guarded() -> tuple[Guarded, io.StringIO]:
    stream = io.StringIO()
    return Guarded(stream, "standard output"), stream


@pytest.mark.parametrize(
    "pieces",
    [
        ["::error::x"],
        ["  \t::error::x"],
        [":", ":error::x"],
        ["a\n", ":", ":b"],
        ["a\r::b"],
        ["\x1b[31m::b"],
        ["a ##[group]b"],
        ["#", "#", "[group]b"],
        ["a" * 100 + "##", "[group]b"],
        ["##VSO[task]x"],
        [" " * 100, "::b"],
    ],
)
def test_no_command_gets_through_in_whatever_pieces_it_is_written(pieces: list[str]) -> None:
    out, stream = guarded()
    for piece in pieces:
        out.write(piece)
    assert not RUNNERS.search(stream.getvalue().replace("\x1b[31m", ""))
    assert stream.getvalue().replace(" ", "") == "".join(pieces).replace(" ", "")


@pytest.mark.parametrize("text", ["a::b", "RUN::key=value\n", "# [x] ## y #[z]", "https://x", "a:\n:b"])
def test_other_text_goes_through_as_it_is(text: str) -> None:
    out, stream = guarded()
    for character in text:
        out.write(character)
    assert stream.getvalue() == text == without_commands(text)


def test_our_own_commands_go_through() -> None:
    out, stream = guarded()
    out.write_commands("::error title=x::y\n")
    assert stream.getvalue() == "::error title=x::y\n"


def test_a_message_keeps_its_beginning_and_its_end() -> None:
    line = message_line(f"file.csv: expected\n{'x' * 100_000}; do this")
    assert line.startswith("file.csv: expected x") and line.endswith("; do this") and len(line) < 2_100


class _Full(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


class _Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_failure_to_write_is_told_again_at_the_end() -> None:
    out = Guarded(_Full(), "standard output")
    for attempt in (lambda: out.write("x"), out.flush):
        with pytest.raises(OutputError, match="standard output: cannot be written: No space left"):
            attempt()


def test_a_reader_that_went_away_is_no_failure() -> None:
    out = Guarded(_Gone(), "standard output")
    assert out.write("x") == 1
    out.flush()
    assert out.write("more") == 4, "and goes on being none"


def hostile(num: int = 120, *, lost: int = 0) -> list[dict[str, Any]]:
    """Return items of which every text that a file can hold is hostile."""
    return [
        {
            **row,
            "id": f"{BAD}{row['id']}",
            "task": f"t{BAD}",
            "input": f"{BAD}{row['input']}",
            "output": f"{row['output']}{BAD}",
            "slices": {f"s{BAD}": row["slices"]["topic"] + BAD},
            "score": {f"acc{BAD}": float(row["correct"])},
        }
        for row in rows(num, lost=lost)
    ]


@pytest.mark.parametrize(
    "words",
    [
        ["compare", "--slice", f"s{BAD}"],
        ["compare"],
        ["gate"],
        ["history"],
        ["plan"],
        ["confirm", "--items", "ask.jsonl"],
        ["compare", "--json", "-"],
    ],
)
def test_nothing_from_a_file_acts_in_a_terminal_or_a_runner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    old, new = write(tmp_path / "old.jsonl", hostile()), write(tmp_path / "new.jsonl", hostile(lost=30))
    done = muscle(words[0], old, new, *words[1:])
    assert done.code in (0, 1, 2), done
    for text in (done.out, done.err):
        assert not RUNNERS.search(text) and not CONTROLS.search(text)
    assert "stop-commands" in done.out or words[0] in ("plan", "confirm")


def test_json_on_standard_output_is_whole_where_a_runner_command_stands_in_it(tmp_path: Path) -> None:
    old, new = write(tmp_path / "old.jsonl", hostile()), write(tmp_path / "new.jsonl", hostile(lost=30))
    muscle("compare", old, new, "--json", tmp_path / "kept.json")
    printed = json.loads(muscle("compare", old, new, "--json", "-").out)
    kept = json.loads((tmp_path / "kept.json").read_text())
    assert {**printed, "created": None} == {**kept, "created": None}


def test_annotations_are_commands_of_ours_alone(tmp_path: Path) -> None:
    old, new = write(tmp_path / "old.jsonl", hostile()), write(tmp_path / "new.jsonl", hostile(lost=30))
    done = muscle("gate", old, new, "--annotations", "--quiet")
    assert done.code == 1
    for line in done.out.strip().split("\n"):
        assert re.match(r"::(error|warning|notice) title=muscle%3A [^:]*::", line) and not CONTROLS.search(line)


MARKUP = "![p](http://e.example/p.png) @octocat <img src=x> #12 [a](javascript:x) `c` | </details> www.e.example"


def marked(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put Markdown into every text of the items."""
    return [
        {
            **line,
            "id": f"{MARKUP} {line['id']}",
            "task": MARKUP,
            "input": f"{MARKUP} {line['input']}",
            "output": f"{line['output']} {MARKUP}",
            "slices": {MARKUP: f"{MARKUP}{line['slices']['topic']}"},
        }
        for line in lines
    ]


@pytest.mark.parametrize("command", ["compare", "gate", "history"])
def test_no_text_of_a_file_is_markup_in_a_comment(tmp_path: Path, command: str) -> None:
    old, new = (
        write(tmp_path / "old.jsonl", marked(rows())),
        write(tmp_path / "new.jsonl", marked(rows(lost=60))),
    )
    (tmp_path / "policy.yaml").write_text(json.dumps({"name": MARKUP, "slices": [{"slice": MARKUP, "harm": "warn"}]}))
    more = ["--policy", tmp_path / "policy.yaml"] if command == "gate" else []
    named = [f"{old}::name={MARKUP}", f"{new}::name={MARKUP}"]
    done = muscle(command, *named, *more, "--markdown", tmp_path / "x.md", "--quiet")
    assert done.code in (0, 1), done
    text = (tmp_path / "x.md").read_text()
    assert "octocat" in text
    outside = re.sub(r"(?ms)^(`{3,})text$.*?^\1$", "", text)
    assert not re.search(r"@octocat|!\[|<img|[^\\]\]\(|http://\w|(?<!\\)#12|www\.e|(?<!\\)`c", outside)
    assert outside.count("</details>") == outside.count("<details>")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("column.csv", f'"idx{BAD}",what\n1,2\n'),
        ("id.jsonl", json.dumps({"id": BAD, "correct": "maybe" + BAD}) + "\n"),
        ("score.jsonl", json.dumps({"id": "a", "correct": True, "score": {BAD: "x"}}) + "\n"),
        ("long.jsonl", json.dumps({"id": "a" * 100_000, "correct": "x" * 100_000}) + "\n"),
    ],
)
def test_an_error_is_one_line_of_bounded_length_in_which_nothing_acts(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    line = refused("compare", path, path)
    assert not RUNNERS.search(line) and not CONTROLS.search(line) and len(line) < 2_200


def test_a_file_name_and_a_policy_key_cannot_act_in_an_error(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text('"\\e]0;t\\a\\n::error::k": 1\n')
    run = write(tmp_path / "run.jsonl", rows())
    for line in (
        refused("compare", f"{tmp_path}/x\x1b[2J\n::error::y", run),
        refused("gate", run, run, "--policy", tmp_path / "policy.yaml"),
    ):
        assert not RUNNERS.search(line) and not CONTROLS.search(line)


def test_a_name_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    assert "UTF-8" in refused("compare", tmp_path / "a\udcff.jsonl", tmp_path / "b.jsonl")


def in_a_shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = f'muscle() {{ {sys.executable} -m muscle "$@"; }}\n{command}'
    return subprocess.run(
        ["bash", "-c", words], capture_output=True, text=True, check=False, cwd=folder, env={**os.environ}
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("where", ["> /dev/full", "--json - > /dev/full", "-q --html /dev/full", "-q --json /dev/full"])
def test_a_full_disk_is_one_line_and_exit_code_3(tmp_path: Path, where: str) -> None:
    old, new = (write(tmp_path / f"{name}.jsonl", rows()) for name in ("old", "new"))
    done = in_a_shell(f"muscle compare {old} {new} {where}", tmp_path)
    assert done.returncode == 3 and done.stderr.count("\n") == 1 and "No space left on device" in done.stderr


@pytest.mark.parametrize(
    "how", ["| head -c 1 >/dev/null; exit ${PIPESTATUS[0]}", ">&-", "| cat >/dev/null; exit ${PIPESTATUS[0]}"]
)
def test_a_blocked_update_stays_blocked_whoever_reads_the_output(tmp_path: Path, how: str) -> None:
    old, new = write(tmp_path / "old.jsonl", rows()), write(tmp_path / "new.jsonl", rows(lost=60))
    done = in_a_shell(f"muscle gate {old} {new} --json - {how}", tmp_path)
    assert done.returncode == 1 and done.stderr == ""


def test_an_encoding_that_lacks_characters_is_no_failure(tmp_path: Path) -> None:
    run = write(tmp_path / "run.jsonl", [{**row, "input": f"é{row['input']}"} for row in rows(lost=0)])
    done = in_a_shell(
        f"export PYTHONIOENCODING=latin-1; muscle compare {run} {run} >/dev/null || exit 9; "
        f"muscle compare {run} {run} --json -",
        tmp_path,
    )
    assert done.returncode in (0, 2) and json.loads(done.stdout)["format"] == "muscle-report/1"
