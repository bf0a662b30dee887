"""What is hurt: small valid files of every kind that muscle reads."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from helpers.places import DATA, EXAMPLES
from robust.answers import pair
from robust.files import Bundle, File
from robust.formats import FORMATS

HARNESS_FILES = DATA / "readers"
"""Runs that harnesses themselves wrote."""


@lru_cache(maxsize=1)
def written_runs() -> dict[str, tuple[Bundle, Bundle]]:
    """Return an old and a new run of every format, as our writers make them."""
    old, new = pair("cannot_tell", items=14, tasks=2, errors=0.1)
    return {name: (write(old), write(new)) for name, write in FORMATS.items()}


def _file(path: Path) -> File:
    data = path.read_bytes()
    try:
        if path.suffix == ".jsonl":
            return File("jsonl", [json.loads(line) for line in data.splitlines()])
        if path.suffix == ".json":
            return File("json", json.loads(data))
    except ValueError:
        pass  # one JSON list in a .jsonl, as lm-evaluation-harness 0.4.2 wrote
    return File("bytes", data)


@lru_cache(maxsize=1)
def harness_runs() -> dict[str, Bundle]:
    """Return the runs that harnesses wrote: folders of several files, and single files."""
    found = {}
    roots = [
        HARNESS_FILES / "lm_eval/0.4.13/toy__model-1",
        HARNESS_FILES / "lm_eval/0.4.5/toy__model-1",
        HARNESS_FILES / "lm_eval/0.4.2",
        HARNESS_FILES / "every_eval_ever",
        HARNESS_FILES / "helm",
        HARNESS_FILES / "lighteval",
        *sorted((HARNESS_FILES / "inspect").iterdir()),
        *sorted((HARNESS_FILES / "promptfoo").iterdir()),
    ]
    for root in roots:
        paths = [path for path in sorted(root.rglob("*")) if path.is_file()] if root.is_dir() else [root]
        base = root if root.is_dir() else root.parent
        files = {str(path.relative_to(base)): _file(path) for path in paths}
        name = str(root.relative_to(HARNESS_FILES))
        found[name] = Bundle("" if root.is_dir() else root.name, files)
    return found


POLICY = """\
version: 1
name: shop
alpha: 0.05
min_items: 10
max_missing: 0.2
default:
  harm: block
  accuracy_drop: {limit: 0.2, test: interval, tier: block}
  negative_flip_rate: {limit: 0.05, tier: warn}
scores:
  harm: {tier: warn}
tasks:
  task0: {negative_flip_rate: 0.01, min_items: 5}
  "task*": {inconsistency_rate: null}
slices:
  - {slice: topic, value: rivers, negative_flip_rate: {limit: 0.02, test: point}}
  - {slice: length:words, min_items: 5, harm: inform}
  - {slice: 'numbers=/\\d{2,}/', value: matches, task: task1, harm: block}
"""
CAUSES = """\
rules:
  - name: markdown
    pattern: '```|^#+ '
    field: output
    ignore_case: true
  - {name: refusal, pattern: "cannot (help|answer)"}
  - {name: digits, pattern: '\\d{4,}', field: input}
"""
UPDATE = """\
old: {base: models/old, adapters: {piqa: adapters/old/piqa}}
new: {base: models/new, revision: main}
tasks:
  - {task: piqa, train: train.jsonl, test: test.jsonl, train_limit: 10}
output: runs/update
lora: {r: 8, alpha: 16.0, dropout: 0.0, target_modules: all-linear}
training: {epochs: 2, learning_rate: 1.0e-4, batch_size: 4, precision: auto, early_stopping_patience: null}
alignment: {temperature: 2.0, mask: student_wrong, engine: projected, topk: 64, training: {epochs: 1}}
evaluation: {backend: hf, vllm: {}, batch_size: 16}
report: {title: an update, max_flips: 10}
"""
TASK = """\
name: tools
id: id
prompt: "{{ goal }} Use the"
choices: ["{{ a }}", "{{ b }}"]
label: label
slices: [kind]
scorer: choice_likelihood
"""
CLOSENESS = """\
====== Perplexity statistics ======
Mean PPL(Q)                   :   8.500000 ±   0.100000
Mean PPL(base)                :   8.400000 ±   0.100000
Cor(ln(PPL(Q)), ln(PPL(base))):  99.50%
Mean ln(PPL(Q)/PPL(base))     :   0.011000 ±   0.001000

====== KL divergence statistics ======
Mean    KLD:   0.022222 ±   0.001111
Maximum KLD:   3.300000
99.0%   KLD:   0.220000
Median  KLD:   0.011000

====== Token probability statistics ======
Mean    Δp: -0.220 ± 0.011 %
Maximum Δp: 55.000%
 1.0%   Δp: -12.000%
RMS Δp    :  3.300 ± 0.055 %
Same top p: 94.444 ± 0.222 %
"""


def yaml_texts() -> dict[str, list[str]]:
    """Return valid YAML by what it is for."""
    tasks = [path.read_text() for path in sorted((EXAMPLES / "tasks").glob("*.yaml"))]
    policies = [path.read_text() for path in sorted((EXAMPLES / "policies").glob("*.yaml"))]
    return {"policy": [POLICY, *policies], "causes": [CAUSES], "update": [UPDATE], "task": [TASK, *tasks]}


def plain(value: Any) -> Any:
    """Return a value of JSON's own."""
    return json.loads(json.dumps(value))
