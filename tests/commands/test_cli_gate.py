"""`muscle gate` and `muscle baseline` as a pipeline uses them."""

from __future__ import annotations

import json
import re
import shlex
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from helpers.command_line import muscle, refused, rows, write
from helpers.places import ROOT
from muscle.gate import DEFAULT_POLICY, load_policy
from muscle.yaml_files import yaml_value

ACTION = ROOT / "examples" / "github-action"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return write(tmp_path / "old.jsonl", rows(2000))


def new(tmp_path: Path, *, lost: int = 0, gained: int = 0, num: int = 2000) -> Path:
    return write(tmp_path / "new.jsonl", rows(num, lost=lost, gained=gained))


@pytest.mark.parametrize(
    ("lost", "gained", "code", "word", "strict"),
    [
        (0, 0, 0, "Ship the update: ", 0),
        (60, 60, 0, "Look before you ship the update: ", 2),
        (90, 10, 1, "Don't ship the update: ", 1),
    ],
)
def test_the_exit_code_is_the_verdicts_and_strict_stops_warnings(
    tmp_path: Path, old: Path, lost: int, gained: int, code: int, word: str, strict: int
) -> None:
    path = new(tmp_path, lost=lost, gained=gained)
    done = muscle("gate", old, path)
    assert done.code == code
    assert done.out.startswith(word)
    assert muscle("gate", old, path, "--strict", "--quiet").code == strict


def test_too_few_items_end_in_cannot_tell(tmp_path: Path) -> None:
    few, again = (write(tmp_path / f"{name}.jsonl", rows(60)) for name in ("few", "again"))
    assert muscle("gate", few, again, "--quiet").code == 2


def test_the_terminal_shows_every_rule_with_what_was_seen(tmp_path: Path, old: Path) -> None:
    text = muscle("gate", old, new(tmp_path, lost=90, gained=10)).out
    lines = text.splitlines()
    assert any(re.match(r"broken +trivia harm +block +2,000 4%, p = ", line) for line in lines)
    assert any(re.match(r"broken +trivia accuracy drop ≤ 1% +block +2,000 4% \(", line) for line in lines)
    assert any(re.match(r"broken +trivia negative flip rate ≤ 1% +warn ", line) for line in lines)
    assert "…" not in "\n".join(line for line in lines if line.startswith(("broken", "holds", "undecided")))
    assert len(lines) <= 40


def test_the_markdown_has_the_rules_as_a_table_below_the_mark(tmp_path: Path, old: Path) -> None:
    muscle("gate", old, new(tmp_path, lost=90, gained=10), "--markdown", tmp_path / "g.md", "--quiet")
    text = (tmp_path / "g.md").read_text()
    assert text.startswith("<!-- muscle gate -->\n")
    assert "|  | task | rule | tier | items | seen (one-sided bounds) |" in text
    assert "| harm | block | 2,000 |" in text


def test_what_a_pipeline_reads_is_written(tmp_path: Path, old: Path) -> None:
    path = new(tmp_path, lost=90, gained=10)
    done = muscle(
        "gate",
        old,
        path,
        "--junit",
        tmp_path / "g.xml",
        "--json",
        tmp_path / "g.json",
        "--annotations",
        "--quiet",
    )
    suites = ET.parse(tmp_path / "g.xml").getroot()
    report = json.loads((tmp_path / "g.json").read_text())
    assert suites.get("tests") == str(len(report["gate"]["findings"]))
    assert int(suites.get("failures", "0")) == sum(f["verdict"] == "block" for f in report["gate"]["findings"]) > 0
    lines = done.out.splitlines()
    assert lines[0].startswith("::error title=muscle%3A muscle gate::Don't ship the update: it breaks 90")
    assert all(line.startswith("::") for line in lines)


def test_json_on_standard_output_stays_pure_beside_annotations(tmp_path: Path, old: Path) -> None:
    done = muscle("gate", old, new(tmp_path, lost=90), "--json", "-", "--annotations")
    assert json.loads(done.out)["gate"]["verdict"] == "block"
    assert done.err.startswith("::error")


def test_a_policy_decides_by_task_and_slice(tmp_path: Path, old: Path) -> None:
    path = new(tmp_path, lost=40, gained=40)
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\nslices:\n  - {slice: topic, value: law, negative_flip_rate: 0.005}\n")
    assert muscle("gate", old, path, "--quiet").code == 0
    done = muscle("gate", old, path, "--policy", policy, "--annotations", "--quiet")
    assert done.code == 1
    assert "title=muscle%3A trivia%2C topic = law::negative flip rate" in done.out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version: 1\ndefault: {harms: block}\n", "harms"),
        ("version: 1\ndefault: {negative_flip_rate: 5}\n", "negative_flip_rate"),
        ("version: 1\nalpha: 0.05\nalpha: 0.01\n", "line 3"),
        ("version: [1\n", "policy.yaml"),
    ],
)
def test_a_bad_policy_is_refused_with_file_line_and_key(tmp_path: Path, old: Path, text: str, message: str) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(text)
    line = refused("gate", old, old, "--policy", policy)
    assert str(policy) in line
    assert message in line


def test_a_kept_baseline_stands_in_place_of_the_old_run(tmp_path: Path, old: Path) -> None:
    folder = tmp_path / "kept"
    saved = muscle("baseline", "save", old, "--name", "main", "--folder", folder)
    assert saved.code == 0 and f"{folder / 'main.parquet'}: 2,000 answers, of trivia\n" in saved.out
    assert muscle("baseline", "list", "--folder", folder).out == "main\n"
    path = new(tmp_path, lost=90, gained=10)
    direct = json.loads(muscle("gate", old, path, "--json", "-").out)
    done = muscle("gate", path, "--baseline", "main", "--baselines", folder, "--json", "-")
    found = json.loads(done.out)
    assert done.code == 1
    assert found["old"] == "main"
    assert found["tasks"]["trivia"]["old_vs_new"] == direct["tasks"]["trivia"]["old_vs_new"]


def test_a_baseline_that_is_not_there_or_was_changed_is_refused(tmp_path: Path, old: Path) -> None:
    folder = tmp_path / "kept"
    words = ("gate", old, "--baseline", "main", "--baselines", folder)
    assert "expected the baseline 'main', found none" in refused(*words)
    muscle("baseline", "save", old, "--name", "main", "--folder", folder, "--quiet")
    (folder / "main.parquet").write_bytes((folder / "main.parquet").read_bytes() + b"x")
    assert "save the baseline again" in refused(*words)
    assert "expected a name of letters" in refused("baseline", "save", old, "--name", "../x", "--folder", folder)


def test_the_number_of_runs_has_to_fit(old: Path) -> None:
    assert "expected OLD and NEW, found 1 run" in refused("gate", old)
    assert "expected NEW alone beside --baseline, found 2 runs" in refused("gate", old, old, "--baseline", "main")


def test_a_second_run_of_the_old_version_gives_the_noise_to_look_beyond(tmp_path: Path, old: Path) -> None:
    again = write(tmp_path / "again.jsonl", rows(2000, lost=60, gained=60))
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\ndefault: {excess_negative_flip_rate: 0.02}\n")
    words = ("gate", old, new(tmp_path, lost=60, gained=60), "--policy", policy, "--quiet")
    assert muscle(*words, "--rerun", again).code == 0
    assert muscle(*words).code == 2
    assert muscle(*words, "--noise", again).code == 0


def gate_step() -> list[str]:
    workflow: dict[str, Any] = yaml_value((ACTION / "muscle-gate.yml").read_text())
    (step,) = [step for step in workflow["jobs"]["gate"]["steps"] if step.get("name") == "Gate"]
    return shlex.split(step["run"])


def test_the_github_action_runs_as_it_stands(tmp_path: Path, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "results" / "new" / "trivia.jsonl", rows(2000, lost=90, gained=10))
    (tmp_path / ".github").mkdir()
    (tmp_path / ".github" / "muscle-policy.yaml").write_bytes((ACTION / "muscle-policy.yaml").read_bytes())
    told = re.search(r"`(muscle baseline save .*?)`", (ACTION / "README.md").read_text())
    assert told is not None
    write(tmp_path / "results" / "main" / "trivia.jsonl", rows(2000))
    assert muscle(*shlex.split(told[1])[1:]).code == 0
    program, *words = gate_step()
    assert program == "muscle"
    done = muscle(*words)
    assert done.code == 1
    assert "::error title=" in done.out
    for name in ("gate.md", "gate.xml", "gate.json"):
        assert (tmp_path / name).stat().st_size > 500


def test_the_default_policy_is_the_one_that_the_examples_and_the_documentation_show(tmp_path: Path) -> None:
    kept = load_policy(ROOT / "examples" / "policies" / "default.yaml")
    written = re.search(r"```yaml\n(.*?)```", (ROOT / "docs" / "gate.md").read_text(), re.DOTALL)
    assert written is not None
    (tmp_path / "docs.yaml").write_text(written[1])
    shown = load_policy(tmp_path / "docs.yaml")
    for policy in (kept, shown):
        assert policy.model_dump(exclude={"name"}) == DEFAULT_POLICY.model_dump(exclude={"name"})
