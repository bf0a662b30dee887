"""Does a whole training end the same whatever engine it takes? One real model, ten epochs, every engine.

    python benchmarks/smollm2/run.py piqa        # the bases and both task adapters
    python benchmarks/whole_run.py --run runs/smollm2/piqa --train TRAIN.jsonl --test TEST.jsonl [--precision float32]

Each engine trains a compatibility adapter by `muscle align` on the same data and seed, and `muscle evaluate` scores it.
Compared with `online`: how far the adapters lie apart, as a share of how far training moved them from the task adapter
that they start from, and how many items get the same prediction. bf16 rounds every product, so that two trainings that
differ in nothing but the order of rounding part as well: `projected, packed` (the same engine, with a batch's examples
in one row), compared with `projected`, shows by how much.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
WAYS: dict[str, tuple[str, ...]] = {
    "online": ("alignment.engine=online",),
    "projected": ("alignment.engine=projected",),
    "hidden": ("alignment.engine=hidden",),
    "projected, packed": ("alignment.engine=projected", "training.packing=on"),
}
PARTNERS = {"projected, packed": "projected"}
"""With what a way is compared, where it isn't `online`."""


def muscle(*arguments: str) -> None:
    """Run a command of muscle's."""
    subprocess.run([sys.executable, "-m", "muscle", *arguments, "--quiet"], check=True)


def run(options: argparse.Namespace, name: str, settings: tuple[str, ...]) -> None:
    """Train and score one way; what is there already is kept."""
    out: Path = options.work / name.replace(", ", "-")
    models = {side: f"{options.bases / side}+{options.run / 'adapters' / side / 'piqa'}" for side in ("old", "new")}
    if not (out / "adapter").exists():
        start = time.perf_counter()
        sets = [part for setting in settings for part in ("--set", setting)]
        sides = ("--old", models["old"], "--new", models["new"])
        data = ("--train", str(options.train), "--limit", str(options.train_limit))
        where = ("--config", str(options.work / "settings.yaml"), "--out", str(out / "adapter"))
        muscle("align", *sides, "--task", "piqa", *data, *where, *sets)
        (out / "seconds").write_text(str(time.perf_counter() - start))
    if not (out / "scored").exists():
        model = f"{options.bases / 'new'}+{out / 'adapter'}"
        data = ("--data", str(options.test), "--limit", str(options.test_limit))
        precision = ("--precision", options.precision)
        muscle("evaluate", "--model", model, "--task", "piqa", *data, *precision, "--out", str(out / "scored"))


def weights(folder: Path) -> dict[str, Any]:
    """Return an adapter's weights in float64."""
    from safetensors.torch import load_file

    return {name: value.double() for name, value in load_file(folder / "adapter_model.safetensors").items()}


def distance(first: dict[str, Any], second: dict[str, Any]) -> float:
    """Norm of the difference of two adapters."""
    return float(sum(((first[name] - second[name]) ** 2).sum() for name in first) ** 0.5)


def compare(options: argparse.Namespace, name: str) -> dict[str, Any]:
    """Compare one way with its partner."""
    partner = PARTNERS.get(name, "online")
    ours, theirs = (options.work / way.replace(", ", "-") for way in (name, partner))
    start = weights(options.run / "adapters" / "new" / "piqa")
    rows = [
        [json.loads(line) for line in (folder / "scored" / "piqa.jsonl").read_text().splitlines()]
        for folder in (ours, theirs)
    ]
    trained = json.loads((ours / "adapter" / "training.json").read_text())
    same = sum(a["choice"] == b["choice"] for a, b in zip(*rows, strict=True))
    return {
        "way": name,
        "against": partner,
        "seconds": float((ours / "seconds").read_text()),
        "best_epoch": trained["best_epoch"],
        "validation_losses": trained["validation_losses"],
        "moved": distance(weights(theirs / "adapter"), start),
        "apart": distance(weights(ours / "adapter"), weights(theirs / "adapter")),
        "items": len(rows[0]),
        "same_predictions": same / len(rows[0]),
        "accuracy": sum(row["correct"] for row in rows[0]) / len(rows[0]),
    }


def main() -> None:
    """Run all, compare, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="run folder of `muscle update` with adapters of PIQA")
    parser.add_argument("--bases", type=Path, default=Path("runs/smollm2"), help="folder of `old` and `new`")
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--train-limit", type=int, default=200)
    parser.add_argument("--test-limit", type=int, default=600)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--precision", choices=("bf16", "float32"), default="bf16")
    parser.add_argument("--work", type=Path, default=Path("runs/whole_run"))
    options = parser.parse_args()
    options.work /= options.precision
    options.work.mkdir(parents=True, exist_ok=True)
    training = {
        "epochs": options.epochs,
        "learning_rate": 1e-4,
        "warmup_steps": 20,
        "precision": options.precision,
    }
    training |= {"batch_size": 8, "gradient_accumulation": 1, "max_length": 256}
    (options.work / "settings.yaml").write_text(json.dumps({"training": training}))  # JSON is YAML
    for name in options.ways:
        run(options, name, WAYS[name])
        print(name, "done", flush=True)
    found = [compare(options, name) for name in options.ways]
    kept = {"settings": training, "train_limit": options.train_limit, "ways": found}
    (HERE / "results" / f"whole_run_{options.precision}.json").write_text(json.dumps(kept, indent=1) + "\n")
    print(
        "| way | against | apart, of the way moved | same predictions | accuracy | best epoch | seconds |\n"
        "|---|---|---:|---:|---:|---:|---:|"
    )
    for row in found:
        print(
            f"| {row['way']} | {row['against']} | {row['apart'] / row['moved']:.2%} "
            f"| {row['same_predictions']:.1%} | {row['accuracy']:.1%} "
            f"| {row['best_epoch']} | {row['seconds']:.0f} |"
        )


if __name__ == "__main__":
    main()
