"""Does the demo's whole training end the same whatever engine it takes? What its adapter chooses, on seed 0.

    python benchmarks/demo_engines.py

Runs `muscle demo`, then `muscle update muscle-demo/update.yaml --set alignment.engine=...` for each engine. Results go
to `benchmarks/results/demo_engines.json`.
"""

import argparse
import json
import platform
import tempfile
from pathlib import Path
from typing import Any

from muscle import load_config, update
from muscle.demo.run import run_demo
from muscle.files import write_json
from muscle.provenance import versions

RESULT = Path(__file__).resolve().parent / "results" / "demo_engines.json"
ENGINES = ("online", "projected", "hidden")


def choices(folder: Path) -> list[int]:
    lines = (folder / "predictions" / "compat" / "tools.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["choice"] for line in lines]


def train(folder: Path, engine: str) -> dict[str, Any]:
    """Train and score the compatibility adapter by one engine; what does not depend on it stays as it is."""
    result = update(load_config(folder / "update.yaml", overrides={"alignment.engine": engine}))
    measured = result.report.tasks["tools"].old_vs_candidate
    assert measured is not None, "the update has a candidate"
    trained = json.loads((folder / "adapters" / "compat" / "tools" / "training.json").read_text())
    return {
        "accuracy": measured.accuracy_new.value,
        "num_epochs": trained["num_epochs"],
        "validation_losses": trained["validation_losses"],
        "choices": choices(folder),
    }


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter).parse_args()
    with tempfile.TemporaryDirectory() as name:
        run_demo(Path(name))
        found = {engine: train(Path(name), engine) for engine in ENGINES}
    online = found["online"]["choices"]
    for engine in found.values():
        same = sum(one == other for one, other in zip(online, engine.pop("choices"), strict=True))
        engine |= {"num_items": len(online), "same_choice_as_online": same}
        print({key: value for key, value in engine.items() if key != "validation_losses"})
    machine = {"processor": platform.processor() or platform.machine(), "system": platform.system()}
    write_json(
        RESULT,
        {
            "command": "python benchmarks/demo_engines.py",
            "machine": machine,
            "versions": versions(),
            "engines": found,
        },
    )


if __name__ == "__main__":
    main()
