"""The gate for pipelines: a policy, a verdict, an exit code, and what a pipeline shows of them.

from muscle.gate import gate, to_markdown
result = gate("old.jsonl", "new.jsonl", "policy.yaml")
"""

from muscle.flips.result.finding import Finding
from muscle.gate.baseline import list_baselines, load_baseline, save_baseline
from muscle.gate.output import MARKER, to_annotations, to_junit, to_markdown
from muscle.gate.policy import DEFAULT_POLICY, Policy, load_policy
from muscle.gate.run import GateResult, findings_of, gate

__all__ = [
    "DEFAULT_POLICY",
    "MARKER",
    "Finding",
    "GateResult",
    "Policy",
    "findings_of",
    "gate",
    "list_baselines",
    "load_baseline",
    "load_policy",
    "save_baseline",
    "to_annotations",
    "to_junit",
    "to_markdown",
]
