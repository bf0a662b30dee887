"""What a pipeline reads: JUnit XML, GitHub's annotations, and Markdown for a pull request.

Each is a pure function of the report that the gate made, so a kept `report.json` can be written again in any of them.
Names and answers come from files that anyone may have written: they are escaped in each form's own way.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import Any

from muscle.errors import DataError
from muscle.flips.wording import percent_in_full, percent_in_three_digits
from muscle.gate.judge import NAMES
from muscle.outgoing import visible
from muscle.report import rows
from muscle.report.numbers import count, format_number
from muscle.report.rows import one_line
from muscle.report.sentences.before import before_lines
from muscle.report.sentences.noise import noise_lines
from muscle.report.text.escaping import escape

MARKER = "<!-- muscle gate -->"
"""First line of the Markdown: by it a pipeline finds the comment that it wrote before."""

MAX_ROWS = 30
MAX_REASONS = 15
MAX_FLIPS = 10
MAX_ANNOTATIONS = 10
"""GitHub shows ten errors and ten warnings of a step."""

Report = Mapping[str, Any]
Entry = Mapping[str, Any]

_LEVELS = {"block": "error", "cannot_tell": "error", "warn": "warning", "inform": "notice"}
_SIGNS = {
    "pass": rows.VERDICTS["pass"][0],
    "warn": rows.VERDICTS["warn"][0],
    "block": rows.VERDICTS["block"][0],
    "cannot_tell": rows.VERDICTS["cannot_tell"][0],
    "inform": "\N{INFORMATION SOURCE}\N{VARIATION SELECTOR-16}",
}


def gate_section(report: Report) -> Entry:
    """Return what the gate wrote into a report.

    Raises:
        DataError: the report is not one of the gate.
    """
    section = report.get("gate")
    if not isinstance(section, Mapping):
        raise DataError("report: expected the `gate` section that muscle gate writes, found none")
    return section


def where_text(entry: Entry) -> str:
    """Write the task and the slice of a finding."""
    return ", ".join(part for part in (entry["task"], entry["slice"]) if part) or "all tasks"


def rule_text(entry: Entry) -> str:
    """Write a rule as people say it: the metric and its limit."""
    name = NAMES[entry["metric"]]
    if entry["limit"] is None:
        return name
    kind = " (point)" if entry["test"] == "point" else ""
    return f"{name} \N{LESS-THAN OR EQUAL TO} {percent_in_full(entry['limit'])}{kind}"


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
    findings = section["findings"]
    root = ET.Element("testsuites", {"name": "muscle gate", **_totals(findings, section["strict"])})
    for task in dict.fromkeys(entry["task"] or "all tasks" for entry in findings):
        own = [entry for entry in findings if (entry["task"] or "all tasks") == task]
        suite = ET.SubElement(
            root, "testsuite", {"name": visible(task), **_totals(own, section["strict"]), "time": "0"}
        )
        for entry in own:
            _case(suite, entry, strict=section["strict"])
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _totals(findings: Sequence[Entry], strict: bool) -> dict[str, str]:
    outcomes = [_junit_outcome(entry, strict) for entry in findings]
    return {
        "tests": str(len(findings)),
        "failures": str(outcomes.count("failure")),
        "errors": str(outcomes.count("error")),
        "skipped": "0",
    }


def _junit_outcome(entry: Entry, strict: bool) -> str | None:
    if entry["verdict"] == "block" or (strict and entry["verdict"] == "warn"):
        return "failure"
    return "error" if entry["verdict"] == "cannot_tell" else None


def _case(suite: ET.Element, entry: Entry, *, strict: bool) -> None:
    name = rule_text(entry) + (f" [{entry['slice']}]" if entry["slice"] else "")
    case = ET.SubElement(
        suite,
        "testcase",
        {"name": visible(name), "classname": visible(entry["task"] or "all tasks"), "time": "0"},
    )
    reason = visible(entry["reason"])
    outcome = _junit_outcome(entry, strict)
    if outcome is not None:
        ET.SubElement(case, outcome, {"message": reason, "type": entry["verdict"]})
    elif entry["verdict"] != "pass":
        ET.SubElement(case, "system-out").text = f"{entry['verdict']}: {reason}"


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
    told = [entry for entry in section["findings"] if entry["verdict"] in _LEVELS]
    lines = []
    for level in ("error", "warning", "notice"):
        own = [entry for entry in told if _LEVELS[entry["verdict"]] == level]
        lines += [_annotation(level, where_text(e), e["reason"]) for e in own[:MAX_ANNOTATIONS]]
        if len(own) > MAX_ANNOTATIONS:
            lines.append(_annotation(level, "muscle gate", f"and {len(own) - MAX_ANNOTATIONS} more"))
    summary = "error" if section["exit_code"] else "notice"
    lines.insert(0, _annotation(summary, "muscle gate", report["headline"]))
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
    findings = section["findings"]
    before = [f"- {escape(one_line(line, 400))}" for line in before_lines(report, limit=MAX_REASONS)]
    parts = [
        MARKER,
        "\n".join(before),
        f"### {_SIGNS[report['verdict']]} {escape(one_line(report['headline'], 600))}",
    ]
    parts += [_rule_table(findings), _reasons(findings)]
    parts.append("\n".join(f"- {escape(line)}" for line in noise_lines(report, max_tasks=MAX_REASONS)))
    parts += [_flips(report), _footer(report, section)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *lines))


def figures(entry: Entry) -> str:
    """Write what was seen, with its one-sided bounds; of harm, the p-value."""
    if entry["value"] is None:
        return rows.ABSENT
    text = (
        f"{entry['value']:.4g}" if entry.get("unit") == "score" else percent_in_three_digits(entry["value"])
    )
    if entry["low"] is not None and entry["high"] is not None:
        return f"{text} ({percent_in_three_digits(entry['low'])} to {percent_in_three_digits(entry['high'])})"
    return text if entry["p"] is None else f"{text}, p = {format_number(entry['p'], 'probability')}"


def _rule_table(findings: Sequence[Entry]) -> str:
    lines = [
        [
            f"{_SIGNS[entry['verdict']]} {entry['outcome']}",
            escape(one_line(where_text(entry), 100)),
            escape(rule_text(entry)),
            entry["tier"],
            count(entry["n"]),
            figures(entry),
        ]
        for entry in findings[:MAX_ROWS]
    ]
    if not lines:
        return ""
    table = _table(["", "task", "rule", "tier", "items", "seen (one-sided bounds)"], lines)
    hidden = len(findings) - MAX_ROWS
    return table + (f"\n\nand {hidden} more rules, none worse than these" if hidden > 0 else "")


def _reasons(findings: Sequence[Entry]) -> str:
    told = [entry for entry in findings if entry["verdict"] != "pass"]
    lines = [
        f"- {_SIGNS[entry['verdict']]} {escape(one_line(where_text(entry), 100))}: {escape(one_line(entry['reason'], 400))}"
        for entry in told[:MAX_REASONS]
    ]
    hidden = len(told) - MAX_REASONS
    return "\n".join([*lines, *([f"- and {hidden} more"] if hidden > 0 else [])])


def _flips(report: Report) -> str:
    """Write the worst flips as a table, folded away."""
    shown = rows.flips_to_show(report, MAX_FLIPS)
    if not shown:
        return ""
    last = "candidate" if report["candidate"] is not None else "new"
    lines = [
        [
            escape(one_line(flip["task"], 40)),
            escape(one_line(flip["id"], 40)),
            escape(one_line(flip["input"] or "", 160)),
            escape(one_line(rows.answer(flip, "old"), 80)),
            escape(one_line(rows.answer(flip, last), 80)),
        ]
        for flip in shown
    ]
    table = _table(["task", "id", "input", "old", last], lines)
    return f"<details>\n<summary>What broke: {rows.worst_flips(report)}</summary>\n\n{table}\n\n</details>"


def _footer(report: Report, section: Entry) -> str:
    policy = escape(one_line(section["policy"]["name"], 60))
    strict = ", strict" if section["strict"] else ""
    others = escape(rows.not_compared(report))
    others += " " if others else ""
    return f"{rows.join_line(report)}. {others}Policy {policy}{strict}. Written by muscle {escape(report['muscle_version'])}."
