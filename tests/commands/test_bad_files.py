"""Bad files on the command line: one clear line with file, line and field, exit code 3, bounded memory."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.command_line import Row, muscle, refused, rows, write

DEEP = 100_000
LONG = 50_000_000
NUM = 40


def text(lines: list[Row]) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


def changed(place: int, **fields: object) -> list[Row]:
    """Return rows of which one has other fields; None takes a field away."""
    lines = rows(NUM)
    lines[place] = {k: v for k, v in (lines[place] | fields).items() if v is not None}
    return lines


def choices(place: int, **fields: int) -> str:
    lines = [{"id": f"q{n}", "choices": ["a", "b"], "choice": 0, "reference": 1} for n in range(NUM)]
    lines[place] |= fields
    return text(lines)


BAD: dict[str, tuple[Callable[[], str | bytes], str]] = {
    "cut in the middle": (
        lambda: text(rows(NUM))[:3100],
        "{path}, line 21: the file is cut off in the middle of this line",
    ),
    "empty": (lambda: "", "{path}: expected one JSON object a line, found an empty file"),
    "only blank lines": (lambda: "\n\n \n", "{path}: expected one JSON object a line, found an empty file"),
    "no identity": (
        lambda: text(changed(4, id=None, input=None)),
        "{path}, line 5, field 'id': expected an 'id' or an 'input'",
    ),
    "missing column": (
        lambda: text(
            [{k: v for k, v in row.items() if k not in ("correct", "output", "reference")} for row in rows(NUM)]
        ),
        "{path}, line 1, field 'correct': expected one of 'correct', 'score'",
    ),
    "a field of another form": (
        lambda: text(changed(6, correct="maybe")),
        "{path}, line 7, field 'correct': expected true or false",
    ),
    "no JSON": (
        lambda: text(rows(3)) + "id,correct\n" + text(rows(2)),
        "{path}, line 4, column 1: expected one JSON",
    ),
    "a list of numbers": (lambda: "1\n2\n3\n", "{path}, line 1: expected a JSON object"),
    "gzip in gzip": (
        lambda: gzip.compress(gzip.compress(text(rows(NUM)).encode())),
        "{path}: expected one JSON object a line, found gzip",
    ),
    "nested line": (
        lambda: text(rows(NUM)) + "[" * DEEP + "]" * DEEP + "\n",
        "{path}, line 41: expected a flat JSON object, found one nested too deeply",
    ),
    "nested field": (
        lambda: '{"id": "a", "correct": true, "slices": ' + '{"a": ' * DEEP + "1" + "}" * DEEP + "}\n" + text(rows(3)),
        "{path}, line 1: expected a flat JSON object, found one nested too deeply",
    ),
    "long line": (
        lambda: text(changed(1, output="x" * LONG)),
        "{path}, line 2: expected lines of at most 32 MiB, found one of 47.7 MiB",
    ),
    "long line without an end": (
        lambda: text(rows(NUM)) + "x" * LONG,
        "{path}, line 41: expected lines of at most 32 MiB, found one of 47.7 MiB",
    ),
    "NaN score": (
        lambda: text(changed(3, score=float("nan"))),
        "{path}, line 4, field 'score': expected a finite number, or null where there is none, found 'NaN'",
    ),
    "infinite score": (
        lambda: text(changed(3, score={"f1": float("inf")})),
        "{path}, line 4, field 'score.f1': expected a finite number",
    ),
    "label out of range": (
        lambda: choices(6, reference=7),
        "{path}, line 7, field 'reference': expected the index of one of the choices, found 7",
    ),
    "choice out of range": (
        lambda: choices(6, choice=5),
        "{path}, line 7, field 'choice': expected an index below the number of choices, found 5",
    ),
    "no item in common": (
        lambda: text([row | {"id": f"z{row['id']}", "input": f"Other {row['input']}"} for row in rows(NUM)]),
        "good and bad share no item: expected the same inputs or ids",
    ),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("good") / "good.jsonl", rows(NUM))


def put(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_one_line_that_names_file_line_and_field(tmp_path: Path, good: Path, kind: str) -> None:
    make, message = BAD[kind]
    path = put(tmp_path / "bad.jsonl", make())
    line = refused("compare", good, path)
    assert message.format(path=path) in line
    assert len(line) < 700


@pytest.mark.parametrize("command", ["gate", "history"])
def test_the_other_commands_say_the_same(tmp_path: Path, good: Path, command: str) -> None:
    path = put(tmp_path / "bad.jsonl", BAD["NaN score"][0]())
    assert refused(command, good, path) == refused("compare", good, path)
    assert refused("convert", path, "--out", tmp_path / "out.jsonl") == refused("compare", good, path)
    assert refused("baseline", "save", path, "--name", "x", "--folder", tmp_path) == refused("compare", good, path)
    assert [file.name for file in tmp_path.iterdir()] == ["bad.jsonl"]


def test_an_item_that_is_doubled_with_one_answer_is_counted(tmp_path: Path, good: Path) -> None:
    path = write(tmp_path / "bad.jsonl", [*rows(NUM), *rows(NUM)[:5]])
    assert "40 predictions paired; 5 doubled" in " ".join(muscle("compare", good, path).out.split())


def test_items_that_are_doubled_with_different_answers_are_refused(tmp_path: Path, good: Path) -> None:
    twice = [row | {"correct": not row["correct"], "output": "other"} for row in rows(NUM)[:10]]
    path = write(tmp_path / "bad.jsonl", [*rows(NUM), *twice])
    line = refused("compare", good, path)
    assert "20 doubled with different answers" in line
    assert f"({path}): id 'q0' of task 'trivia' stands in records 1 and 41 with different answers" in line


def test_ids_that_are_doubled_where_no_text_tells_items_apart_are_refused(tmp_path: Path) -> None:
    bare = [{k: row[k] for k in ("id", "task", "correct")} for row in rows(NUM)]
    one = write(tmp_path / "one.jsonl", bare)
    two = write(tmp_path / "two.jsonl", [*bare, bare[7] | {"correct": not bare[7]["correct"]}])
    line = refused("compare", one, two)
    assert f"({two}): id 'q7' of task 'trivia' stands in records 8 and 41 with different answers" in line


def test_a_zip_member_that_points_out_of_the_archive_is_refused(tmp_path: Path, good: Path) -> None:
    path = tmp_path / "log.eval"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("header.json", "{}")
        archive.writestr("../x", "{}")
    line = refused("compare", good, path)
    assert f"{path}, member '../x': expected a name inside the archive" in line
    assert not (tmp_path.parent / "x").exists()


def test_a_json_document_that_is_nested_too_deeply_is_refused(tmp_path: Path, good: Path) -> None:
    path = put(tmp_path / "bad.json", "[" * DEEP + "]" * DEEP)
    assert f"{path}: expected a JSON list of flat objects, found one nested too deeply" in refused(
        "compare", good, path
    )


def test_a_table_without_the_column_says_which_it_has(tmp_path: Path, good: Path) -> None:
    path = put(tmp_path / "bad.csv", "id,fine\nq1,true\n")
    assert f"{path}, line 2, field 'correct'" in refused("compare", good, path)
    line = refused("compare", path, path, "--column", "correct=right")
    assert f"{path}: expected the column 'right', found id, fine" in line


@pytest.mark.parametrize("kind", ["nowhere", "folder", "format"])
def test_a_run_that_is_not_there_is_said_so(tmp_path: Path, good: Path, kind: str) -> None:
    if kind == "nowhere":
        assert "expected a file or folder of predictions, found nothing there" in refused(
            "compare", good, tmp_path / "x"
        )
    elif kind == "folder":
        assert "expected TASK.jsonl or TASK.parquet files, found nothing" in refused("compare", good, tmp_path)
    else:
        line = refused("compare", good, good, "--format", "nonsense")
        assert "format 'nonsense' is not known; expected one of records, lm_eval" in line


def test_a_damaged_parquet_file_is_said_so(tmp_path: Path, good: Path) -> None:
    path = put(tmp_path / "bad.parquet", b"PAR1 and then nothing of the kind")
    assert f"{path}: expected a whole .parquet file, found a damaged one" in refused("compare", good, path)


def peak(*arguments: object) -> tuple[int, int, str]:
    """Run a command in a process of its own; return exit code, most memory in KiB, and standard error."""
    code = (
        "import atexit, resource; from muscle.cli import main\n"
        "atexit.register(lambda: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))\n"
        "main()"
    )
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, int(done.stdout.split()[-1]), done.stderr


@pytest.fixture(scope="module")
def ordinary(good: Path) -> int:
    return peak("compare", good, good, "--quiet")[1]


@pytest.mark.parametrize("kind", ["long line", "nested line"])
def test_a_bad_file_costs_no_memory(tmp_path: Path, good: Path, ordinary: int, kind: str) -> None:
    path = put(tmp_path / "bad.jsonl", BAD[kind][0]())
    code, used, errors = peak("compare", good, path, "--quiet")
    assert code == 3
    assert "Traceback" not in errors
    assert used - ordinary < 128 * 1024
