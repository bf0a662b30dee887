"""An update of tiny models by one process or by several, for the tests that hold the one against the other."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from helpers.command_line import muscle
from muscle.yaml_files import yaml_text
from tiny.bases import TASK_YAML, save_base, write_choice_rows

# 22 rows: 17 to train on and 5 to validate on, which no batch of 4 divides evenly.
ROWS = 22


def write_inputs(root):
    (root / "tools.yaml").write_text(TASK_YAML)
    write_choice_rows(root / "train.jsonl", ROWS)
    write_choice_rows(root / "test.jsonl", 7, start=100)
    for name, seed in (("old", 1), ("new", 2)):
        save_base(root / name, seed=seed)
    return root


def write_config(root, out, *, accumulation, **alignment):
    settings = {
        "old": "old",
        "new": "new",
        "tasks": [{"task": "tools.yaml", "train": "train.jsonl", "test": "test.jsonl"}],
        "output": str(out),
        "lora": {"r": 4, "alpha": 8.0},
        "training": {
            "epochs": 2,
            "learning_rate": 5e-3,
            "warmup_steps": 1,
            "batch_size": 2,
            "gradient_accumulation": accumulation,
            "precision": "float32",
        },
        "alignment": alignment,
        "evaluation": {"bare_base": False},
    }
    path = root / f"{Path(out).name}.yaml"
    path.write_text(yaml_text(settings))
    return path


def update_alone(config):
    """Run an update by one process on the CPU: this one, where it has no GPU that it would take."""
    if torch.cuda.is_available():
        done = launch(1, "update", config)
        assert done.returncode == 0, done.stderr[-3000:]
    else:
        done = muscle("update", config)
        assert done.code == 0, done.err[-3000:]


def launch(processes, *words, program=("-m", "muscle"), **environment):
    launcher = [sys.executable, "-W", "ignore"]
    if processes > 1:
        # accelerate launch starts several CPU processes by MPI alone; torchrun needs nothing.
        launcher += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return subprocess.run(
        [*launcher, *map(str, program), *map(str, words)],
        capture_output=True,
        text=True,
        timeout=300,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "PYTHONWARNINGS": "ignore",
            **environment,
        },
    )


def assert_same_training(one, two, side):
    """The loss curve of the adapters `side` of two run folders agrees to 1e-4, their weights to 1e-3 of the largest."""
    folders = [Path(run) / "adapters" / side / "tools" for run in (one, two)]
    logs = [json.loads((folder / "training.json").read_text()) for folder in folders]
    curves = [[line["loss"] for line in log["log"] if "loss" in line] for log in logs]
    assert len(curves[0]) >= 2 * 2
    assert curves[1] == pytest.approx(curves[0], rel=1e-4)
    assert logs[1]["validation_losses"] == pytest.approx(logs[0]["validation_losses"], rel=1e-4)
    first, second = (load_file(folder / "adapter_model.safetensors") for folder in folders)
    size = max(value.abs().max().item() for value in first.values())
    assert max((first[key] - second[key]).abs().max().item() for key in first) < 1e-3 * size
