"""What a pipeline reads: JUnit XML, GitHub's annotations, and Markdown for a pull request.

Each is a pure function of the report that the gate made, so a kept `report.json` can be written again in any of them.
Names and answers come from files that anyone may have written: they are escaped in each form's own way.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence

from muscle.errors import DataError
from muscle.flips.result.finding import Finding, GateSection
from muscle.flips.result.report import Report
from muscle.flips.wording import percent_in_full, percent_in_three_digits
from muscle.foreign_text import one_line, visible
from muscle.gate.judge import coverage_finding
from muscle.report.metric_names import RULES
from muscle.report.numbers import DASH, count, probability
from muscle.report.sentences.before import allowed_lines, before_lines
from muscle.report.sentences.flips import answers, flips_to_show, worst_flips
from muscle.report.sentences.noise import noise_lines
from muscle.report.text.escaping import escape
from muscle.report.text.markdown_parts import SIGNS, bullets, details, footer, markdown_table, recommendation

MARKER = "<!-- muscle gate -->"
"""First line of the Markdown: by it a pipeline finds the comment that it wrote before."""

MAX_ROWS = 30
MAX_REASONS = 15
MAX_FLIPS = 10
MAX_ANNOTATIONS = 10
"""GitHub shows ten errors and ten warnings of a step."""

_LEVELS = {"block": "error", "cannot_tell": "error", "warn": "warning", "inform": "notice"}


def gate_section(report: Report) -> GateSection:
    """Return what the gate wrote into a report.

    Raises:
        DataError: the report is not one of the gate.
    """
    if report.gate is None:
        raise DataError("report: expected the `gate` section that muscle gate writes, found none")
    return report.gate


def rule_text(finding: Finding) -> str:
    """Write a rule as people say it: the metric and its limit."""
    name = RULES[finding.metric].name
    if finding.limit is None:
        return name
    kind = " (point)" if finding.test == "point" else ""
    return f"{name} \N{LESS-THAN OR EQUAL TO} {percent_in_full(finding.limit)}{kind}"


def figures(finding: Finding) -> str:
    """Write what was seen, with its one-sided bounds; of harm, the p-value."""
    if finding.value is None:
        return DASH
    share = finding.unit == "share"
    text = percent_in_three_digits(finding.value) if share else f"{finding.value:.4g}"
    if finding.low is not None and finding.high is not None:
        return f"{text} ({percent_in_three_digits(finding.low)} to {percent_in_three_digits(finding.high)})"
    return text if finding.p is None else f"{text}, p = {probability(finding.p)}"


def to_junit(report: Report) -> str:
    """Write the gate as JUnit XML: a suite a task, a case a rule.

    A breach that blocks is a failure, what cannot be told an error; a warning passes with its text in `system-out`, and
    fails under `--strict`.

    Args:
        report: the gate's report.

    Returns:
        The whole document.

    Raises:
        DataError: the report is not one of the gate.
    """
    section = gate_section(report)
    strict = section.strict
    findings = [*section.findings, *_verdict_alone(report, section)]
    root = ET.Element("testsuites", {"name": "muscle gate", **_junit_totals(findings, strict)})
    for task in dict.fromkeys(finding.task or "all tasks" for finding in findings):
        own = [finding for finding in findings if (finding.task or "all tasks") == task]
        suite = ET.SubElement(root, "testsuite", {"name": visible(task), **_junit_totals(own, strict), "time": "0"})
        for finding in own:
            _junit_case(suite, finding, strict=strict)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _verdict_alone(report: Report, section: GateSection) -> list[Finding]:
    """Return a case for a gate that ends badly though no rule of its does: without one a test report would be green."""
    if not section.exit_code or any(_junit_outcome(finding, section.strict) for finding in section.findings):
        return []
    return [coverage_finding("; ".join(report.reasons) or report.headline)]


def _junit_totals(findings: Sequence[Finding], strict: bool) -> dict[str, str]:
    outcomes = [_junit_outcome(finding, strict) for finding in findings]
    return {
        "tests": str(len(findings)),
        "failures": str(outcomes.count("failure")),
        "errors": str(outcomes.count("error")),
        "skipped": "0",
    }


def _junit_outcome(finding: Finding, strict: bool) -> str | None:
    if finding.verdict == "block" or (strict and finding.verdict == "warn"):
        return "failure"
    return "error" if finding.verdict == "cannot_tell" else None


def _junit_case(suite: ET.Element, finding: Finding, *, strict: bool) -> None:
    name = rule_text(finding) + (f" [{finding.slice}]" if finding.slice else "")
    case = ET.SubElement(
        suite,
        "testcase",
        {"name": visible(name), "classname": visible(finding.task or "all tasks"), "time": "0"},
    )
    # XML has no form for control characters, not even an escaped one.
    reason = visible(finding.reason)
    outcome = _junit_outcome(finding, strict)
    if outcome is not None:
        ET.SubElement(case, outcome, {"message": reason, "type": finding.verdict})
    elif finding.verdict != "pass":
        ET.SubElement(case, "system-out").text = f"{finding.verdict}: {reason}"


def to_annotations(report: Report) -> str:
    """Write the gate as GitHub's workflow commands, a line each: errors, warnings, notices.

    Args:
        report: the gate's report.

    Returns:
        The lines, each with its end; empty where every rule holds.

    Raises:
        DataError: the report is not one of the gate.
    """
    section = gate_section(report)
    summary = "error" if section.exit_code else "notice"
    decision = "" if report.decision is None else f"{report.decision.sentence} "
    lines = [_annotation(summary, "muscle gate", f"{decision}{report.headline}")]
    for level in ("error", "warning", "notice"):
        own = [finding for finding in section.findings if _LEVELS.get(finding.verdict) == level]
        lines += [_annotation(level, finding.where, finding.reason) for finding in own[:MAX_ANNOTATIONS]]
        if len(own) > MAX_ANNOTATIONS:
            lines.append(_annotation(level, "muscle gate", f"and {len(own) - MAX_ANNOTATIONS} more"))
    return "\n".join(lines) + "\n"


def _annotation(level: str, title: str, message: str) -> str:
    """Write one workflow command; its own marks in a text are escaped as GitHub's toolkit does it."""
    data = one_line(message, 600).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    name = one_line(f"muscle: {title}", 120).replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
    return f"::{level} title={name}::{data}"


def to_markdown(report: Report) -> str:
    """Write the gate as Markdown for a comment on a pull request: verdict, rules, reasons, the worst flips.

    Args:
        report: the gate's report.

    Returns:
        Well under GitHub's 65,536 characters. The first line is `MARKER`.

    Raises:
        DataError: the report is not one of the gate.
    """
    section = gate_section(report)
    policy = escape(one_line(section.policy.get("name", "unnamed"), 60))
    parts = [
        MARKER,
        bullets(escape(one_line(line, 400)) for line in allowed_lines(report)),
        recommendation(report),
        bullets(escape(one_line(line.text, 400)) for line in before_lines(report, limit=MAX_REASONS)),
        escape(one_line(report.headline, 600)) if report.decision is not None else "",
        _rules_in_markdown(section.findings),
        _reasons(section.findings),
        bullets(escape(line) for line in noise_lines(report, max_tasks=MAX_REASONS)),
        _flip_table(report),
        footer(report, f"Policy {policy}{', strict' if section.strict else ''}."),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _rules_in_markdown(findings: Sequence[Finding]) -> str:
    lines = [
        [
            f"{SIGNS[finding.verdict]} {finding.outcome}",
            escape(one_line(finding.where, 100)),
            escape(rule_text(finding)),
            finding.tier,
            count(finding.n),
            figures(finding),
        ]
        for finding in findings[:MAX_ROWS]
    ]
    if not lines:
        return ""
    head = ["", "task", "rule", "tier", "items", "seen (one-sided bounds)"]
    hidden = len(findings) - MAX_ROWS
    more = f"\n\nand {hidden} more rules, none worse than these" if hidden > 0 else ""
    return markdown_table(head, lines, figures_from=None) + more


def _reasons(findings: Sequence[Finding]) -> str:
    told = [finding for finding in findings if finding.verdict != "pass"]
    lines = [
        f"{SIGNS[each.verdict]} {escape(one_line(each.where, 100))}: {escape(one_line(each.reason, 400))}"
        for each in told[:MAX_REASONS]
    ]
    hidden = len(told) - MAX_REASONS
    return bullets([*lines, f"and {hidden} more"] if hidden > 0 else lines)


def _flip_table(report: Report) -> str:
    """Write the worst flips as a table, folded away."""
    last = "new" if report.candidate is None else "candidate"
    lines = []
    for flip in flips_to_show(report, MAX_FLIPS):
        told = answers(flip, candidate=last == "candidate")
        cells = [(flip.task, 40), (flip.id, 40), (flip.input or "", 160), (told["old"], 80), (told[last], 80)]
        lines.append([escape(one_line(text, limit)) for text, limit in cells])
    if not lines:
        return ""
    table = markdown_table(["task", "id", "input", "old", last], lines, figures_from=None)
    return details(worst_flips(report, len(lines)), table)
