"""How long it takes from the built wheel in an empty environment to a flip on the screen.

python benchmarks/first_flip.py      writes benchmarks/results/first_flip.json

The wheel's dependencies come from wherever pip gets them, so that the time holds the network too; the processor time,
that of pip, of Python and of the comparison, does not.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "first_flip.json"
FLIP = "What broke"


def run(*words: object) -> tuple[subprocess.CompletedProcess[str], dict[str, float]]:
    """Run a command, and return what it printed, its seconds, and those of its processors."""
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done, {"seconds": round(time.monotonic() - start, 1), "processor_seconds": round(used, 1)}


def main() -> None:
    """Build, install, compare; write the times."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        built, _ = run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
        (wheel,) = folder.glob("*.whl")
        assert built.returncode == 0, built.stderr
        bin_folder = folder / "empty" / "bin"
        made, environment = run(sys.executable, "-m", "venv", folder / "empty")
        installed, install = run(bin_folder / "python", "-m", "pip", "install", "--quiet", wheel)
        assert made.returncode == installed.returncode == 0, installed.stderr
        shown, compare = run(bin_folder / "muscle", "compare", "--example")
        assert FLIP in shown.stdout, shown.stdout + shown.stderr
        listed, _ = run(bin_folder / "python", "-m", "pip", "list", "--format", "json")
    steps = {"environment": environment, "install": install, "compare": compare}
    packages = [each["name"] for each in json.loads(listed.stdout)]
    assert "torch" not in packages
    result = {
        **{key: round(sum(step[key] for step in steps.values()), 1) for key in environment},
        "steps": steps,
        "packages": len(packages),
        "cores": os.cpu_count(),
        "load_at_the_end": round(os.getloadavg()[0], 1),
        "python": sys.version.split()[0],
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
