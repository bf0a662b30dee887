"""A real update on two cores: SmolLM2-135M (24 of 30 layers, then all) on PIQA and SAMSum.

    python benchmarks/smollm2/run.py piqa
    python benchmarks/smollm2/run.py samsum

Reads the data in ../shared/data; the configuration is `benchmarks/smollm2/TASK.yaml`, the run folder
`runs/smollm2/TASK`. Report and JSON are kept under `benchmarks/results/` without the examples' texts, whose licences
may forbid to pass them on, beside every adapter's losses (`training.json`). A run that was stopped goes on when the
command is given again. Where to get the data: docs/data.md.
"""

import logging
import platform
import shutil
import sys
from pathlib import Path

from muscle import load_config, update
from muscle.demo.smollm2 import prepare_bases
from muscle.files import write_json
from muscle.provenance import versions
from muscle.report import write_reports
from muscle.report.without_texts import without_texts

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results"


def main(task: str) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    prepare_bases(HERE.parents[1] / "runs" / "smollm2")
    result = update(load_config(HERE / f"{task}.yaml"))
    kept = RESULTS / f"smollm2-{task}"
    kept.mkdir(parents=True, exist_ok=True)
    write_reports(without_texts(result.report), kept)
    for trained in result.folder.glob("adapters/*/*/training.json"):
        target = kept / "training" / f"{trained.parts[-3]}.json"
        target.parent.mkdir(exist_ok=True)
        shutil.copy(trained, target)
    shutil.copy(HERE / f"{task}.yaml", kept / "update.yaml")
    machine = {"processor": platform.processor() or platform.machine(), "system": platform.platform()}
    write_json(kept / "machine.json", {"versions": versions(), **machine})
    print(f"kept in {kept}")


if __name__ == "__main__":
    main(sys.argv[1])
