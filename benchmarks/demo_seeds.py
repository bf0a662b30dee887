"""The demo on several seeds, each method with its controls: what `docs/demo.md` reports.

    python benchmarks/demo_seeds.py                            five seeds
    python benchmarks/demo_seeds.py --seeds 0 1 2 --unlabelled 5000
    python benchmarks/demo_seeds.py --gap --seeds 0
    python benchmarks/demo_seeds.py --temperature 2 --seeds 0

Each seed is a `muscle demo` as it is: Eq. 1, the option-level method, labels alone, longer training, the floor, the
bare base. Then both methods with a twin in the old model's place: the new recipe trained again, with another seed.
What a method gains with the twin too is not the old model's. `--unlabelled N` adds the option-level method, and its
twin, with so many further questions of the world that nobody has answered.

Results, with the validation losses of every adapter, go to `benchmarks/results/demo_seeds[_gap][_temperature_T].json`
after every seed; a kept seed is not run again. The table is printed as Markdown.
"""

import argparse
import json
import platform
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

from muscle import compare, load_config, update
from muscle.config.update_file import UpdateConfig
from muscle.demo.run import TASK_NAME, run_demo
from muscle.demo.world import draw_unlabelled
from muscle.files import write_json
from muscle.pipeline.stages import UpdateStages
from muscle.provenance import versions
from muscle.typed_json import to_json

SEEDS = (0, 1, 2, 3, 4)
RESULTS = Path(__file__).resolve().parent / "results"
METRICS = ("accuracy_new", "negative_flip_rate", "positive_flip_rate")
NAMES = {
    "new": "plain update",
    "compat": "Eq. 1",
    "option-level": "option level",
    "control": "longer training (no old model)",
    "labels-alone": "labels alone at option level (no old model)",
    "floor": "old recipe again (floor)",
    "base": "bare new base",
    "twin": "Eq. 1, a twin in the old one's place",
    "twin-option-level": "option level, a twin in the old one's place",
    "unlabelled": "option level, unlabelled inputs too",
    "twin-unlabelled": "the same, a twin in the old one's place",
}
HELD_AGAINST = ("new", "floor", "control", "labels-alone")


def measure(runs: dict[str, Path]) -> dict[str, Any]:
    """Hold every run against the old model, and against what costs less: candidate less that."""
    found: dict[str, Any] = {}
    for name, path in runs.items():
        if name == "old":
            continue
        told: dict[str, Any] = {}
        for other in HELD_AGAINST:
            if name == other:
                continue
            task = compare(runs["old"], runs[other], candidate=path).report.tasks[TASK_NAME]
            assert task.old_vs_candidate is not None and task.candidate_effect is not None, "there is a candidate"
            told |= {metric: to_json(getattr(task.old_vs_candidate, metric)) for metric in METRICS}
            told["num_items"], told["accuracy_old"] = task.n, to_json(task.old_vs_candidate.accuracy_old)
            effect = task.candidate_effect
            kept = ("negative_flip_rate_change_percent", "accuracy_change", "negative_flips_mcnemar_exact_p")
            told[f"against {NAMES[other]}"] = {each: to_json(getattr(effect, each)) for each in kept}
        found[NAMES[name]] = told
    return found


def training(folder: Path) -> dict[str, Any]:
    """Return how every adapter trained, without its log of steps."""
    kept = ("best_epoch", "num_epochs", "validation_losses", "converged", "validation")
    found = {path.parts[-3]: json.loads(path.read_text()) for path in folder.glob("adapters/*/*/training.json")}
    return {name: {key: told[key] for key in kept if key in told} for name, told in sorted(found.items())}


def configured(folder: Path, out: str, old: dict[str, object], **more: object) -> UpdateConfig:
    """Return the demo's update with its new adapter, another old model and no controls of its own."""
    evaluation = {"batch_size": 256, "bare_base": False, "control": False}
    overrides = {
        "output": out,
        "old": old,
        "new": {"base": "bases/new", "adapters": {TASK_NAME: f"adapters/new/{TASK_NAME}"}},
        "evaluation": evaluation,
        **more,
    }
    return load_config(folder / "update.yaml", overrides=overrides)


def train_twin(folder: Path) -> Path:
    """Train the new recipe again with another seed; return the adapter's folder."""
    stages = UpdateStages(configured(folder, "twin-adapter", {"base": "bases/new"}))
    for data in stages.data.values():
        work = stages.train_floor(data).work
        assert work is not None, "a floor is always trained"
        work()
    stages.bases.free()
    return stages.adapter("floor", TASK_NAME)


def run_twins(folder: Path, unlabelled: int) -> dict[str, Path]:
    """Train the methods with a twin in the old model's place, and on unlabelled inputs; return the predictions."""
    olds: dict[str, dict[str, object]] = {
        "": {"base": "bases/old", "adapters": {TASK_NAME: f"adapters/old/{TASK_NAME}"}},
        "twin-": {"base": "bases/new", "adapters": {TASK_NAME: str(train_twin(folder))}},
    }
    options = {"method": "options", "training": {"epochs": 24}}
    found = {}
    result = update(configured(folder, "twin", olds["twin-"], **{"evaluation.beside": {"option-level": options}}))
    for name, run in (("twin", "compat"), ("twin-option-level", "option-level")):
        found[name] = result.folder / "predictions" / run
    if unlabelled:
        rows = draw_unlabelled(unlabelled)
        path = folder / "data" / "more.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        alignment = {**options, "unlabelled": "data/more.jsonl"}
        for name, old in olds.items():
            result = update(configured(folder, f"{name}unlabelled", old, alignment=alignment))
            found[f"{name}unlabelled"] = result.folder / "predictions" / "compat"
    return found


def run(folder: Path, seed: int, *, gap: bool, unlabelled: int, overrides: dict[str, Any]) -> dict[str, Any]:
    """Run the demo with its controls and its twins and return what is kept of it; what a folder has done stays."""
    result = run_demo(folder, seed=seed, gap=gap, overrides=overrides)
    runs = {path.name: path for path in (folder / "predictions").iterdir()} | run_twins(folder, unlabelled)
    ordered = {each: runs[each] for each in ("old", *NAMES) if each in runs}
    trained = {part.name: training(part) for part in (*folder.glob("*unlabelled"), folder / "twin")}
    return {
        "verdict": result.report.verdict,
        "headline": result.report.headline,
        "runs": measure(ordered),
        "training": {"demo": training(folder), **trained},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--gap", action="store_true")
    parser.add_argument("--temperature", type=float)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--unlabelled", type=int, default=0, help="further questions without labels")
    parser.add_argument("--folder", type=Path, help="where the runs stay, so that a stopped one goes on")
    asked = parser.parse_args()
    name = "demo_seeds" + ("_gap" if asked.gap else "")
    overrides = {}
    if asked.temperature is not None:
        name += f"_temperature_{asked.temperature:g}"
        overrides["alignment.temperature"] = asked.temperature
    path = RESULTS / f"{name}.json"
    # Where the runs stay is not part of what was run.
    given = [each for each in sys.argv[1:] if each not in ("--folder", str(asked.folder))]
    command = shlex.join(["python", "benchmarks/demo_seeds.py", *given])
    machine = {"processor": platform.processor() or platform.machine(), "system": platform.system()}
    kept = json.loads(path.read_text()) if path.exists() else {}
    seeds = kept["seeds"] if kept.get("command") == command else {}
    for seed in asked.seeds:
        if str(seed) in seeds:
            continue
        with tempfile.TemporaryDirectory() as temporary:
            folder = (asked.folder or Path(temporary)) / f"{name}-{seed}"
            found = run(folder, seed, gap=asked.gap, unlabelled=asked.unlabelled, overrides=overrides)
        seeds[str(seed)] = found
        print(seed, "done", flush=True)
        write_json(path, {"command": command, "machine": machine, "versions": versions(), "seeds": seeds})
    print(table(seeds))


def table(seeds: dict[str, dict[str, Any]]) -> str:
    """Return one row a seed and run, in percent."""
    lines = ["| seed | run | accuracy | negative flips | against plain | p | gained |", "|---:|---|" + "---:|" * 5]
    for seed, found in seeds.items():
        old = next(iter(found["runs"].values()))["accuracy_old"]["value"]
        lines.append(f"| {seed} | old | {old:.1%} | | | | |")
        for name, told in found["runs"].items():
            nfr, effect = told["negative_flip_rate"], told.get(f"against {NAMES['new']}")
            change = effect and effect["negative_flip_rate_change_percent"]["value"]
            against = (
                "| | |" if change is None else f"| {change:+.0f} % | {effect['negative_flips_mcnemar_exact_p']:.1g} |"
            )
            lines.append(
                f"| {seed} | {name} | {told['accuracy_new']['value']:.1%} "
                f"| {nfr['value']:.1%} ({nfr['low']:.1%} to {nfr['high']:.1%}) {against}"
                f" {told['positive_flip_rate']['value']:.1%} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
