"""Why answers flipped, in a few lines for terminal and Markdown; nothing where there is nothing to say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from muscle.flips.wording import percent
from muscle.report.numbers import count
from muscle.report.rows import Report, judged_side, shown_tasks

MAX_CHANGES = 3


def why_lines(report: Report, *, max_tasks: int) -> list[str]:
    """Return lines on causes, what changed, closeness and corrected judges, task by task."""
    lines = []
    for name in shown_tasks(report, max_tasks):
        task = report["tasks"][name]
        told = [
            *_causes(task, judged_side(report)),
            *_changed(task, report),
            *_closeness(task, judged_side(report)),
            *_judge(task, judged_side(report)),
        ]
        lines += [line if len(report["tasks"]) == 1 else f"{name}: {line}" for line in told]
    return lines


def _causes(task: Mapping[str, Any], side: str) -> list[str]:
    causes = task.get("causes") or {}
    lost = (causes.get(side) or {}).get("negative_flip") or {}
    if not lost or (set(lost) == {"knowledge"} and not causes.get("sentence")):
        return []
    ordered = sorted(lost.items(), key=lambda entry: (-entry[1], entry[0]))
    named = ", ".join(f"{count(number)} {cause.replace('_', ' ')}" for cause, number in ordered)
    sentence = f"{causes['sentence']}; " if causes.get("sentence") else ""
    return [f"why: {sentence}what broke by cause: {named}{_loose(causes, side)}"]


def _loose(causes: Mapping[str, Any], side: str) -> str:
    """Say what a loose scorer sees; empty where it sees what the strict one does."""
    gaps = causes.get("strict_loose") or {}
    old, new = gaps.get("old"), gaps.get(side.removeprefix("old_vs_"))
    if not old or not new or not (old["gap"] or new["gap"]):
        return ""
    shown = [percent(each[key]) for key in ("strict", "loose") for each in (old, new)]
    return f"; strict {shown[0]} → {shown[1]}, loose {shown[2]} → {shown[3]}"


def _changed(task: Mapping[str, Any], report: Report) -> list[str]:
    rows = task.get("what_changed") or []
    if not rows:
        return []
    told = [
        f"{_quoted(row)} {row['flipped']:.2f} (others {row['others']:.2f})"
        if row["kind"] == "length"
        else f"{_quoted(row)} {row['flipped']:.0%} (others {row['others']:.0%})"
        for row in rows[:MAX_CHANGES]
    ]
    # The rows are of the plain update, also where a candidate is judged.
    who = f" in {report['new']}" if report["candidate"] else ""
    return [f"answers that broke{who}, against the others: {'; '.join(told)}"]


def _quoted(row: Mapping[str, Any]) -> str:
    return f'new words "{row["what"]}"' if row["kind"] == "ngram" else str(row["what"])


def _closeness(task: Mapping[str, Any], side: str) -> list[str]:
    close = task.get("closeness")
    if not close:
        return []
    new, own = close.get(side) or close["old_vs_new"], close.get("old_vs_rerun")
    beside = (
        f"against itself {own['kl']['mean']:.2g} and {percent(own['same_top']['value'])}"
        if own
        else str(close["why"])
    )
    line = (
        f"likelihoods: mean KL {new['kl']['mean']:.2g}, same top choice {percent(new['same_top']['value'])} "
        f"({beside})"
    )
    # Without a self-vs-self run the tails say nothing sure.
    return [f"{line}; {close['sentence']}" if own and close.get("sentence") else line]


def _judge(task: Mapping[str, Any], side: str) -> list[str]:
    lines = []
    for key, words in (("labels", "by people's labels"), ("errors", "by the judge's known errors")):
        found = ((task.get("judge") or {}).get(side) or {}).get(key)
        if found is None and side != "old_vs_new":
            found = ((task.get("judge") or {}).get("old_vs_new") or {}).get(key)
        if found and found["difference"]["value"] is not None:
            d = found["difference"]
            of = f" of {count(found['labelled'])} items" if key == "labels" else ""
            lines.append(
                f"difference by the judge {found['difference_judge']:+.3f}, corrected {words}{of} "
                f"{d['value']:+.3f} ({d['low']:+.3f} to {d['high']:+.3f}); {found['note']}"
            )
    return lines
