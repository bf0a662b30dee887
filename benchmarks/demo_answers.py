"""The method over candidate answers in the demo's world, where answers are written: what `docs/update.md` reports.

    python benchmarks/demo_answers.py                    seed 0
    python benchmarks/demo_answers.py --seeds 0 1 2

The question names two purposes and a person; the answer is the tool that this person uses for each, as two words. It is
right where both are. A person's tool is the best by fit, the house's taste and a taste of that person's own. 3,000
training and 1,500 test items, 3,000 questions without an answer. The bases are those of `muscle demo`. One `muscle
update` a seed trains Eq. 1, both methods with candidate answers (`answers` and `every_answer`, with the questions),
labels alone over the same candidates, and the floor; a second one puts a twin (the new recipe again, with another seed)
in the old model's place.

Results go to `benchmarks/results/demo_answers.json` after every seed; a kept seed is not run again. The table is
printed as Markdown.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from muscle import compare, load_config, update
from muscle.demo.pretrain import pretrain_pair
from muscle.demo.run import TINY_LORA, TINY_TRAINING
from muscle.demo.world import SUBJECTS, WORLD_SEED, world
from muscle.files import read_json, write_json, write_text
from muscle.pipeline.stages import UpdateStages
from muscle.provenance import versions
from muscle.yaml_files import yaml_text

RESULTS = Path(__file__).resolve().parent / "results" / "demo_answers.json"
COUNTS = {"train": 3000, "test": 1500, "more": 3000}
PERSON_SD = 0.3
"""Standard deviation of a person's own preference per tool, in units of fit."""
TASK = "tools"
YAML = f"""\
name: {TASK}
id: id
prompt: "{{{{ goal }}}}"
target: "{{{{ answer }}}}"
generation: {{until: ["."], max_new_tokens: 4}}
scorer: exact_match
"""
NAMES = {
    "new": "plain update",
    "eq1": "Eq. 1",
    "compat": "over candidate answers: mixture, share .5, unlabelled questions",
    "twin": "the same, a twin in the old one's place",
    "tokens": "over the tokens of every candidate answer: mixture, share .5, unlabelled questions",
    "tokens-twin": "the same over tokens, a twin in the old one's place",
    "labels-alone": "labels alone over candidate answers (no old model)",
    "floor": "old recipe again (floor)",
    "base": "bare new base",
}
LONGER = {"epochs": 10}
BY_TOKENS = {"method": "every_answer", "unlabelled": "data/more.jsonl", "training": LONGER}
METRICS = ("accuracy_new", "negative_flip_rate", "positive_flip_rate")


def draw() -> dict[str, list[dict[str, str]]]:
    """Return the rows of each part: no two ask the same; the same every time."""
    w, rng = world(), np.random.default_rng([WORLD_SEED, 7])
    own = PERSON_SD * rng.standard_normal((len(SUBJECTS), len(w.tools)))
    best = (w.house[None] + own[:, None]).argmax(-1)
    questions = [
        (one, other, person)
        for one in range(len(w.purposes))
        for other in range(len(w.purposes))
        for person in range(len(SUBJECTS))
        if one != other
    ]
    drawn = iter(rng.permutation(len(questions)).tolist())
    parts = {}
    for part, count in COUNTS.items():
        rows = []
        for number in range(count):
            one, other, person = questions[next(drawn)]
            goal = f"To {w.purposes[one]}, To {w.purposes[other]}, the {SUBJECTS[person]} uses the"
            answer = " ".join(w.tools[best[person, purpose]] for purpose in (one, other))
            rows.append({"id": f"{part}-{number}", "goal": goal, **({"answer": answer} if part != "more" else {})})
        parts[part] = rows
    return parts


def prepare(folder: Path, seed: int) -> None:
    """Write bases, data and the update's YAML."""
    pretrain_pair(folder / "bases", seed=seed)
    for part, rows in draw().items():
        write_text(folder / "data" / f"{part}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    write_text(folder / "data" / f"{TASK}.yaml", YAML)
    settings = {
        "old": {"base": "bases/old"},
        "new": {"base": "bases/new"},
        "output": "run",
        "tasks": [{"task": f"data/{TASK}.yaml", "train": "data/train.jsonl", "test": "data/test.jsonl"}],
        "lora": TINY_LORA,
        "training": {**TINY_TRAINING, "epochs": 16, "seed": seed},
        "alignment": {"method": "answers", "unlabelled": "data/more.jsonl", "training": LONGER},
        "evaluation": {
            "batch_size": 256,
            "control": False,  # labels alone stand beside
            "floor": True,
            "beside": {
                "eq1": {"temperature": 1.0, "training": LONGER},
                "tokens": BY_TOKENS,
                "labels-alone": {"method": "answers", "target": "labels", "training": LONGER},
            },
        },
    }
    write_text(folder / "update.yaml", yaml_text(settings))


def run_twin(folder: Path) -> Path:
    """Train the methods with a twin in the old model's place; return the predictions, a folder each."""
    new = {"base": "bases/new", "adapters": {TASK: f"run/adapters/new/{TASK}"}}
    plain = {"batch_size": 256, "bare_base": False, "control": False, "beside": {"tokens": BY_TOKENS}}
    shared: Mapping[str, object] = {"new": new, "evaluation": plain}
    again = UpdateStages(
        load_config(folder / "update.yaml", overrides={**shared, "output": "again", "old": {"base": "bases/new"}})
    )
    for data in again.data.values():
        work = again.train_floor(data).work
        assert work is not None, "a floor is always trained"
        work()
    twin = {"base": "bases/new", "adapters": {TASK: str(again.adapter("floor", TASK))}}
    again.bases.free()
    config = load_config(folder / "update.yaml", overrides={**shared, "output": "twin", "old": twin})
    return update(config).folder / "predictions"


def measured(old: Path, new: Path, candidate: Path | None) -> dict[str, Any]:
    """Hold a run, or the plain update, against the old model, and its flips against the plain update's."""
    task = compare(old, new, candidate=candidate).report.tasks[TASK]
    side = task.old_vs_new if candidate is None else task.old_vs_candidate
    assert side is not None, "both have answered"
    told: dict[str, Any] = {metric: getattr(side, metric).value for metric in METRICS}
    told["accuracy_old"], told["num_items"] = side.accuracy_old.value, task.n
    if candidate is not None:
        effect = task.candidate_effect
        assert effect is not None, "there is a candidate"
        told["negative_flips_percent"] = effect.negative_flip_rate_change_percent.value
        told["negative_flips_p"] = effect.negative_flips_mcnemar_exact_p
    return told


def run(seed: int, root: Path | None, *, no_twin: bool) -> dict[str, Any]:
    """Run a seed and return what is kept of it; in a folder of its own within `root`, a killed one goes on."""
    start, cpu = time.monotonic(), time.process_time()
    with tempfile.TemporaryDirectory() as name:
        folder = root / f"seed-{seed}" if root else Path(name)
        prepare(folder, seed)
        result = update(load_config(folder / "update.yaml"))
        runs = {path.name: path for path in (result.folder / "predictions").iterdir()}
        if not no_twin:
            twins = run_twin(folder)
            runs |= {"twin": twins / "compat", "tokens-twin": twins / "tokens"}
        written = {path.parts[-3]: read_json(path) for path in (folder / "run").glob("adapters/*/*/training.json")}
        kept = ("best_epoch", "num_epochs", "validation_losses", "converged", "validation", "temperatures")
        more = ("mean_candidates", "mean_candidates_probability", "validation_accuracy", "labels_first")
        return {
            "runs": {
                words: measured(runs["old"], runs["new"], None if name == "new" else runs[name])
                for name, words in NAMES.items()
                if name in runs
            },
            "training": {
                name: {key: told[key] for key in (*kept, *more) if key in told} for name, told in written.items()
            },
            "seconds": round(time.monotonic() - start, 1),
            "cpu_seconds": round(time.process_time() - cpu, 1),
        }


def table(seeds: Mapping[str, Any]) -> str:
    """Return the means over seeds, in per cent, as Markdown."""
    lines = [
        f"| {len(seeds)} seed(s) | accuracy | NFR | against plain | PFR |",
        "|---|---:|---:|---:|---:|",
    ]
    old = np.mean([next(iter(each["runs"].values()))["accuracy_old"] for each in seeds.values()])
    lines.append(f"| old | {100 * old:.1f} | | | |")
    for words in NAMES.values():
        told = [each["runs"][words] for each in seeds.values() if words in each["runs"]]
        if not told:
            continue
        accuracy, negative, positive = (100 * np.mean([each[metric] for each in told]) for metric in METRICS)
        changes = [each["negative_flips_percent"] for each in told if each.get("negative_flips_percent") is not None]
        change = f"{np.mean(changes):+.0f} %" if changes else ""
        lines.append(f"| {words} | {accuracy:.1f} | {negative:.2f} | {change} | {positive:.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--no-twin", action="store_true", help="leave the twin out")
    parser.add_argument("--folder", type=Path, help="keep what is made there; a temporary one by default")
    given = parser.parse_args()
    seeds: dict[str, Any] = read_json(RESULTS)["seeds"] if RESULTS.is_file() else {}
    for seed in given.seeds:
        if str(seed) in seeds:
            continue
        seeds[str(seed)] = run(seed, given.folder, no_twin=given.no_twin)
        machine = {"versions": versions(), "processor": platform.processor(), "system": platform.platform()}
        command = "python benchmarks/demo_answers.py --seeds " + " ".join(seeds)
        write_json(RESULTS, {"command": command, "counts": COUNTS, "machine": machine, "seeds": seeds})
    print(table(seeds))


if __name__ == "__main__":
    main()
