"""Run promptfoo with a script as provider: two versions, the tests in another order the second time, JSON and JSONL.

npm install promptfoo@0.121.20            # in WORK
python make_promptfoo.py WORK
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

OUT = Path(__file__).resolve().parent / "promptfoo"
PROVIDER = """\
// Version 2 counts one too many in every third shop, has learnt the fifth, and is down for one.
module.exports = class {
  constructor(options) { this.version = options.config.version; }
  id() { return 'counter-' + this.version; }
  async callApi(prompt, context) {
    const { shop, boxes, each } = context.vars;
    if (this.version === 2 && shop === 11) return { error: 'service unavailable' };
    const wrong = this.version === 1 ? shop % 5 === 0 : shop % 3 === 0;
    return { output: `${boxes * each + (wrong ? 1 : 0)} cups` };
  }
};
"""


def config(version: int) -> dict[str, object]:
    """Return the configuration of one version; the second has its tests shuffled."""
    tests = [
        {
            "vars": {"shop": shop, "boxes": shop % 4 + 2, "each": shop % 3 + 3},
            "assert": [{"type": "equals", "value": f"{(shop % 4 + 2) * (shop % 3 + 3)} cups"}],
            "metadata": {"side": "left" if shop % 2 else "right"},
        }
        for shop in range(14)
    ]
    if version == 2:
        random.Random(0).shuffle(tests)
    return {
        "prompts": ["Shop {{shop}} has {{boxes}} boxes with {{each}} cups each. How many cups?"],
        "providers": [
            {"id": "file://provider.js", "label": f"counter-{version}", "config": {"version": version}}
        ],
        "tests": tests,
    }


def main() -> None:
    """Write the configurations, run them, keep what came out."""
    work = Path(sys.argv[1]).resolve()
    (work / "provider.js").write_text(PROVIDER)
    OUT.mkdir(exist_ok=True)
    environment = os.environ | {
        "PROMPTFOO_CONFIG_DIR": str(work / "home"),
        "PROMPTFOO_DISABLE_TELEMETRY": "1",
        "PROMPTFOO_DISABLE_UPDATE": "1",
        "PROMPTFOO_FAILED_TEST_EXIT_CODE": "0",
    }
    for version, name in ((1, "old"), (2, "new")):
        file = work / f"{name}.json"
        file.write_text(json.dumps(config(version)))
        outputs = [OUT / f"{name}.json", OUT / f"{name}.jsonl"]
        command = ["npx", "promptfoo", "eval", "--no-cache", "--no-table", "-c", str(file)]
        for output in outputs:
            output.unlink(missing_ok=True)
            command += ["-o", str(output)]
        subprocess.run(command, cwd=work, env=environment, check=False)
        for output in outputs:
            text = output.read_text().replace(str(work), "/work")
            output.write_text(text)


if __name__ == "__main__":
    main()
