"""The commands as they are typed, in this process; what a process of its own must show has one."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from helpers.command_line import muscle
from muscle.config.template import UPDATE_YAML
from muscle.config.update_file import load_config
from tiny.bases import write_choice_rows
from tiny.update_inputs import TRAINING, write_update_inputs, write_update_yaml

COMMANDS = ("demo", "init", "update", "finetune", "align", "evaluate", "export", "compare", "report")


def process(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command as a process of its own."""
    command = [sys.executable, "-m", "muscle", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def refused(*arguments: object, cwd: Path | None = None) -> str:
    """Run a command that must fail as bad input: exit code 3, one line, no traceback."""
    done = muscle(*arguments, cwd=cwd)
    assert done.code == 3, done
    assert done.last.startswith("muscle: ")
    assert "Traceback" not in done.err
    return done.last


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("cli")
    write_update_inputs(root, train=40, test=30)
    write_update_yaml(root / "update.yaml", training={**TRAINING, "warmup_steps": 1, "precision": "auto"})
    return root


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command):
    done = muscle(command, "--help")
    assert done.code == 0
    assert done.out.startswith("Usage:")


def test_help_lists_every_command():
    listed = process("--help").stdout
    assert all(command in listed for command in COMMANDS)


def test_version_is_shown():
    assert process("--version").stdout.startswith("muscle 0.")


def test_an_unknown_option_is_bad_input():
    assert "No such option" in refused("update", "--nonsense", "x.yaml")


def test_init_writes_a_file_that_loads_and_never_replaces_one(tmp_path):
    assert muscle("init", cwd=tmp_path).code == 0
    assert "exists already; --force" in refused("init", cwd=tmp_path)
    assert load_config(tmp_path / "update.yaml").alignment.method == "paper"


def test_init_writes_every_setting_where_it_is_asked_to(tmp_path):
    assert muscle("init", "--full", "all.yaml", cwd=tmp_path).code == 0
    assert (tmp_path / "all.yaml").read_text() == UPDATE_YAML
    assert "--full: only read without --task" in refused("init", "--full", "--task", "rows.jsonl", cwd=tmp_path)


def test_the_single_steps_do_the_whole_way(inputs, tmp_path):
    settings = ("--config", inputs / "update.yaml", "--quiet")
    data = ("--task", inputs / "tools.yaml", "--train", inputs / "train.jsonl")
    for side in ("old", "new"):
        done = muscle("finetune", "--base", inputs / side, *data, "--out", tmp_path / side, *settings)
        assert done.code == 0, done.err
    models = {side: f"{inputs / side}+{tmp_path / side}" for side in ("old", "new")}
    done = muscle(
        "align",
        "--old",
        models["old"],
        "--new",
        models["new"],
        *data,
        "--out",
        tmp_path / "compat",
        *settings,
    )
    assert done.code == 0, done.err
    models["compat"] = f"{inputs / 'new'}+{tmp_path / 'compat'}"
    for side, model in models.items():
        out = tmp_path / "predictions" / side
        scoring = ("--task", inputs / "tools.yaml", "--data", inputs / "test.jsonl", "--out", out, "--quiet")
        done = muscle("evaluate", "--model", model, *scoring)
        assert done.code == 0, done.err
    runs = [tmp_path / "predictions" / side for side in ("old", "new")]
    outputs = (
        "--html",
        tmp_path / "r.html",
        "--markdown",
        tmp_path / "r.md",
        "--json",
        tmp_path / "report.json",
    )
    done = muscle("compare", *runs, "--candidate", tmp_path / "predictions" / "compat", *outputs)
    report = json.loads((tmp_path / "report.json").read_text())
    assert done.code == {"pass": 0, "warn": 0, "block": 1, "cannot_tell": 2}[report["verdict"]]
    assert report["tasks"]["tools"]["n"] == 30
    (tmp_path / "r.html").unlink()
    assert muscle("report", tmp_path / "report.json", "--html", tmp_path / "r.html", "--quiet").code == 0
    assert (tmp_path / "r.html").stat().st_size > 1000


def test_dry_run_lists_the_stages_with_their_tokens_and_runs_nothing(inputs, tmp_path):
    out = tmp_path / "run"
    done = muscle("update", inputs / "update.yaml", "--set", f"output={out}", "--dry-run", "--json")
    assert done.code == 0, done.err
    plan = json.loads(done.out)
    stages = {stage["name"]: stage for stage in plan["stages"]}
    assert list(stages)[:3] == ["finetune old/tools", "finetune new/tools", "align tools"]
    # 40 rows of "for TOOL w w Use the TOOL": seven tokens each, one epoch, and eight of them before it
    assert stages["align tools"]["num_tokens"] == (40 + 8) * 7
    # 30 items, two options each
    assert stages["evaluate compat/tools"]["num_tokens"] == 30 * 2 * 7
    found = plan["resources"]
    assert found["parameters"] == sum(
        value.numel() for value in load_file(inputs / "new" / "model.safetensors").values()
    )
    parts = ("weights_bytes", "adapter_bytes", "activations_bytes", "chunk_bytes")
    assert found["total_bytes"] == sum(found[part] for part in parts)
    assert found["num_processes"] == 1
    assert found["store_bytes"] > 0 < found["seconds"]
    assert not out.exists()


def bad_rows(folder: Path, change: str) -> Path:
    path = folder / "bad.jsonl"
    rows = [json.loads(line) for line in write_choice_rows(path, 10).read_text().splitlines()]
    if change == "missing column":
        del rows[4]["goal"]
    if change == "label out of range":
        rows[4]["label"] = 2
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_text({"empty": "", "cut": text[: len(text) // 2 - 7]}.get(change, text))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing column", "line 5: task tools needs the column 'goal'"),
        ("label out of range", "label"),
        ("empty", "found an empty file"),
        ("cut", "line "),
    ],
)
def test_bad_training_data_is_one_line_and_exit_code_3(inputs, tmp_path, change, message):
    path = bad_rows(tmp_path, change)
    last = refused(
        "update",
        inputs / "update.yaml",
        "--set",
        f"tasks=[{{task: {inputs / 'tools.yaml'}, train: {path}, test: {inputs / 'test.jsonl'}}}]",
        "--set",
        f"output={tmp_path / 'run'}",
    )
    assert "bad.jsonl" in last
    assert message in last


def test_an_unknown_task_is_one_line_and_exit_code_3(inputs, tmp_path):
    last = refused(
        "finetune", "--base", inputs / "old", "--task", "piqua", "--train", "x.jsonl", "--out", tmp_path / "a"
    )
    assert "did you mean 'piqa'" in last


def test_a_base_that_is_not_there_is_one_line_and_exit_code_3(inputs, tmp_path):
    last = refused("update", inputs / "update.yaml", "--set", "new=./nowhere", "--set", f"output={tmp_path / 'run'}")
    assert "nowhere: there is no such folder" in last


def test_an_unwritable_output_folder_is_one_line_and_exit_code_3(inputs, tmp_path):
    (tmp_path / "file").write_text("")
    last = refused("update", inputs / "update.yaml", "--set", f"output={tmp_path / 'file' / 'run'}")
    assert "cannot be written" in last


def test_a_missing_run_is_one_line_and_exit_code_3(tmp_path):
    assert "nowhere" in refused("compare", tmp_path / "nowhere", tmp_path / "nowhere2")


def test_ctrl_c_ends_cleanly(inputs, tmp_path):
    out = tmp_path / "run"
    command = [
        sys.executable,
        "-m",
        "muscle.cli",
        "update",
        str(inputs / "update.yaml"),
        "--set",
        f"output={out}",
    ]
    command += ["--set", "training.epochs=500"]
    # A test run in the background ignores SIGINT, and its children would inherit that.
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heed)
    deadline = time.monotonic() + 120
    while not list(out.glob("adapters/old/.*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGINT)
    try:
        _, errors = child.communicate(timeout=60)
    finally:
        child.kill()
    assert child.returncode == 130
    assert "Traceback" not in errors
    assert "interrupted" in errors.strip().splitlines()[-1]


def test_without_the_training_packages_a_command_that_needs_them_says_what_to_install(tmp_path):
    light = "import sys; sys.modules['torch'] = None; from muscle.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", light, "demo", "--out", str(tmp_path / "demo")], capture_output=True, text=True
    )
    assert done.returncode == 3
    assert done.stderr == "muscle: this needs the package torch; install it with: pip install 'muscle-llm[train]'\n"
