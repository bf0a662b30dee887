"""`muscle demo`: write bases, data and an update.yaml into the run folder, then run that update like any other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from muscle.config.update_file import load_config
from muscle.demo.world import draw_items
from muscle.errors import ConfigError
from muscle.files import write_text
from muscle.yaml_files import yaml_text

if TYPE_CHECKING:
    from muscle.pipeline.update import UpdateResult

TASK_NAME = "tools"
TASK_YAML = f"""\
# The demo's task: which of two tools does this house use? The form is PIQA's: two options, scored by likelihood.
name: {TASK_NAME}
id: id
prompt: "{{{{ goal }}}}"
choices: ["{{{{ sol1 }}}}", "{{{{ sol2 }}}}"]
label: label
scorer: choice_likelihood
slices: [purpose, attribute, taste]
"""

TINY_LORA: Mapping[str, object] = {"r": 16, "alpha": 32}
TINY_TRAINING: Mapping[str, object] = {
    "early_stopping_patience": 2,
    "learning_rate": 2e-3,
    "warmup_steps": 20,
    "batch_size": 64,
    "gradient_accumulation": 1,
    "max_length": 32,
    "precision": "float32",
}
"""How adapters on the tiny bases are trained, but for epochs and seed."""


def run_demo(
    out: Path,
    *,
    seed: int = 0,
    gap: bool = False,
    base: Literal["tiny", "smollm2"] = "tiny",
    data: Path | None = None,
    overrides: Mapping[str, object] | None = None,
) -> UpdateResult:
    """Prepare the embedded example in `out` and run its update.

    Args:
        out: the run folder; `out/update.yaml` shows what is run and works with `muscle update` too.
        seed: of the tiny bases' text and start, the split and the adapters.
        gap: the tiny old base learns from much less text.
        base: `tiny` pre-trains two small bases on the world's text; `smollm2` takes SmolLM2-135M with and
            without six of its layers, on PIQA.
        data: for `smollm2`: a folder with PIQA's `train.jsonl` and `test.jsonl`; without it they come from the hub.
        overrides: dotted keys of the configuration that differ from the demo's.

    Returns:
        The update's result.

    Raises:
        ConfigError: an option doesn't fit the others.
        MuscleError: see `muscle.pipeline.update.update`.
    """
    from muscle.pipeline.update import update

    if base == "smollm2":
        if gap or seed:
            raise ConfigError("--gap and --seed belong to --base tiny")
        settings = _prepare_smollm2(out, data)
    elif base == "tiny":
        if data:
            raise ConfigError("--data belongs to --base smollm2")
        settings = _prepare_tiny(out, seed=seed, gap=gap)
    else:
        raise ConfigError(f"--base {base}: expected tiny or smollm2")
    path = out / "update.yaml"
    write_text(path, "# Written by `muscle demo`.\n" + yaml_text(settings))
    return update(load_config(path, overrides=overrides))


def _prepare_tiny(out: Path, *, seed: int, gap: bool) -> dict[str, object]:
    from muscle.demo.pretrain import pretrain_pair

    pretrain_pair(out / "bases", seed=seed, gap=gap)
    train, test = draw_items()
    for name, items in (("train", train), ("test", test)):
        rows = (json.dumps(asdict(item), ensure_ascii=False) for item in items)
        write_text(out / "data" / f"{name}.jsonl", "\n".join(rows) + "\n")
    write_text(out / "data" / f"{TASK_NAME}.yaml", TASK_YAML)
    return {
        "old": {"base": "bases/old"},
        "new": {"base": "bases/new"},
        "output": ".",
        "tasks": [{"task": f"data/{TASK_NAME}.yaml", "train": "data/train.jsonl", "test": "data/test.jsonl"}],
        "lora": TINY_LORA,
        "training": {**TINY_TRAINING, "epochs": 12, "seed": seed},
        # The paper's T = 2 spreads the teachers' probability over words that cannot follow, and with 133
        # words the student learns those in place of the tools (docs/demo.md).
        "alignment": {"temperature": 1.0, "training": {"epochs": 24}},
        "evaluation": {
            "batch_size": 256,
            "bare_base": True,
            "control": True,
            "floor": True,
            "beside": {
                "option-level": {"method": "options", "training": {"epochs": 24}},
                "labels-alone": {"method": "options", "target": "labels", "training": {"epochs": 24}},
            },
        },
        "report": {"title": "Demo: which tool does this house use?"},
    }


def _prepare_smollm2(out: Path, data: Path | None) -> dict[str, object]:
    from muscle.demo.smollm2 import prepare_bases

    prepare_bases(out / "bases")
    train, test = "hub:baber/piqa:train", "hub:baber/piqa:validation"
    if data:
        train, test = str((data / "train.jsonl").resolve()), str((data / "test.jsonl").resolve())
    return {
        "old": {"base": "bases/old"},
        "new": {"base": "bases/new"},
        "output": ".",
        "tasks": [{"task": "piqa", "train": train, "test": test, "train_limit": 1250}],
        "lora": {"r": 32, "alpha": 64},
        "training": {
            "epochs": 6,
            "early_stopping_patience": 1,
            "learning_rate": 2e-4,
            "warmup_steps": 25,
            "batch_size": 8,
            "gradient_accumulation": 1,
            "max_length": 256,
        },
        "evaluation": {"batch_size": 16, "bare_base": True, "control": True},
        "report": {"title": "SmolLM2-135M on PIQA: 24 of 30 layers, then all"},
    }
