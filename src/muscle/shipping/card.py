"""The model card in an adapter's folder: what it is, how it was made, how to serve it, what it breaks.

Everything is read from the folder, so that a card can be written at any time. Names come from files that anyone may
have written: they stand escaped, in code blocks that they cannot close, or as YAML.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path

from pydantic import ValidationError
from ruamel.yaml import YAML

from muscle.config.alignment import AlignmentSettings
from muscle.errors import ModelError
from muscle.files import read_json, write_text
from muscle.flips.result.report import Report
from muscle.foreign_text import one_line, visible
from muscle.models.adapter_check import CONFIG, adapter_note
from muscle.models.adapters import MODEL_CARD
from muscle.report.text.escaping import escape
from muscle.report.text.markdown_parts import bullets, code_block, markdown_table
from muscle.report.text.rows import task_rows
from muscle.shipping.lines import Lines, Shipped, lines_of, read_shipped

_BEGIN, _END = "<!-- muscle: flips of the update -->", "<!-- muscle: end of the flips -->"
_FLIPS = re.compile(f"{re.escape(_BEGIN)}.*?{re.escape(_END)}", re.DOTALL)
_PURPOSES = {
    "align": "Compatibility adapter: the new model's gain, with the old model's right answers kept",
    "finetune": "Task adapter: next-token cross-entropy over context and answer",
}
_EQUATION = "Eq. 1 of MUSCLE (arXiv:2407.09435)"
"""Of the paper: each token's teacher by a mask."""


def write_card(folder: Path, *, merged: bool = False, adapter: Path | None = None, base: str | None = None) -> None:
    """Write the model card of an adapter; the flip table of a card that is there stays.

    Args:
        folder: a PEFT folder, or that of the merged model.
        merged: it holds the merged model.
        adapter: whose card it is; `folder` without.
        base: another name of the base.

    Raises:
        ModelError: there is no LoRA adapter.
        OutputError: the card cannot be written.
    """
    source = adapter or folder
    shipped, path = read_shipped(source, base=base), source / MODEL_CARD
    found = _FLIPS.search(path.read_text(encoding="utf-8", errors="replace")) if path.is_file() else None
    flips = found[0] if found else f"{_BEGIN}\n{_END}"
    lines = [Lines("Serve it with vLLM", "bash", 'vllm serve "$PWD"')] if merged else list(lines_of(shipped, None))
    note = adapter_note(source)
    parts = [
        _front_matter(shipped, merged=merged, compatible=note.get("stage") == "align"),
        f"# {escape(one_line(shipped.name, 80))}",
        f"{_PURPOSES.get(str(note.get('stage')), 'A LoRA adapter')}. The base: {escape(_base_name(shipped))}."
        + (" This is the adapter merged into it." if merged else ""),
        flips,
        "## How it was made\n\n" + bullets(_made(source, note)),
        "## How to serve it\n\n"
        + ("" if merged else "Typed in this folder:\n\n")
        + "\n\n".join(map(_in_markdown, lines)),
    ]
    write_text(folder / MODEL_CARD, "\n\n".join(parts) + "\n")


def add_flips(folder: Path, report: Report, task: str) -> None:
    """Put the flip table of an update's report into an adapter's card, in the place of an older one.

    A card that lost the marks around the table is somebody's own, and stays as it is.

    Args:
        folder: the adapter's, with a card.
        report: of the update.
        task: the adapter's.

    Raises:
        OutputError: the card cannot be written.
    """
    path = folder / MODEL_CARD
    text = path.read_text(encoding="utf-8", errors="replace")
    table = f"{_BEGIN}\n{flip_section(report, task)}\n{_END}"
    changed = _FLIPS.sub(lambda _: table, text, count=1)
    if changed != text:
        write_text(path, changed)


def flip_section(report: Report, task: str) -> str:
    """Write what a report says of one task: what broke and what was gained, a row for each version."""
    rows = [
        [
            escape(one_line(row.version, 60)),
            row.items,
            row.level,
            f"{row.lost} {row.lost_interval}".strip(),
            f"{row.gained} {row.gained_interval}".strip(),
        ]
        for row in task_rows(report, max_tasks=len(report.tasks))
        if row.task == task
    ]
    head = ["against the old version", "items", "accuracy or score", "broke", "gained"]
    note = "Broke: right before, wrong now (negative flips). In brackets: 95 % intervals."
    headline = escape(one_line(report.headline, 600))
    return f"## What it breaks\n\n{headline}\n\n{markdown_table(head, rows)}\n\n{note}"


def _base_name(shipped: Shipped) -> str:
    revision = f" ({shipped.base.revision})" if shipped.base.revision else ""
    return one_line(f"{shipped.base.name}{revision}", 200)


def _front_matter(shipped: Shipped, *, merged: bool, compatible: bool) -> str:
    """Write the card's metadata. A base that is no hub name is left out: the hub refuses cards that name one."""
    found: dict[str, object] = {}
    if shipped.base.on_hub:
        found |= {"base_model": shipped.base.name, "base_model_relation": "finetune" if merged else "adapter"}
    tags = ["muscle", *(["compatibility"] if compatible else []), *([] if merged else ["lora"])]
    found |= {"library_name": "transformers" if merged else "peft", "pipeline_tag": "text-generation", "tags": tags}
    text = StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.dump(found, text)
    return f"---\n{text.getvalue().strip()}\n---"


def _in_markdown(lines: Lines) -> str:
    block = code_block(visible(lines.text, keep="\n"), language=lines.language)
    return "\n\n".join(part for part in (f"**{lines.title}**", block, escape(lines.remark)) if part)


def _made(folder: Path, note: Mapping[str, object]) -> Iterator[str]:
    """Say how an adapter was made, a line a fact; what the folder does not say is left out."""
    config = read_json(folder / CONFIG, error=ModelError)
    if not note.get("stage"):
        yield "Not made by muscle: how is not known."
    told = _object(read_json(folder / "training.json", error=ModelError)) if _has_training(folder) else {}
    settings, alignment = _object(note.get("settings")), _object(note.get("alignment"))
    facts = {
        "Task": note.get("task"),
        "Method": _method(alignment),
        "LoRA": f"r = {config.get('r')}, alpha = {config.get('lora_alpha')}",
        "Old base": note.get("old_base"),
        "Examples": told.get("num_examples"),
        "Of them unlabelled": told.get("num_unlabelled"),
        "Validation examples": told.get("num_validation"),
        "Epoch kept": f"{note['best_epoch']} of {told.get('num_epochs')}" if note.get("best_epoch") else None,
        "Converged": _converged(told),
        "Learning rate": settings.get("learning_rate"),
        "Seed": settings.get("seed"),
        "Base's fingerprint": note.get("base_fingerprint"),
        "Versions": ", ".join(f"{name} {value}" for name, value in _object(note.get("versions")).items()),
    }
    for name, value in facts.items():
        if value is not None and value != "":
            yield f"{name}: {escape(one_line(value, 300))}"


def _converged(told: Mapping[str, object]) -> str | None:
    if "converged" not in told:
        return None
    if told.get("improved") is False:
        return "no, the validation loss was no lower than before training"
    return "yes" if told["converged"] is True else "no, the loss was still falling"


def _has_training(folder: Path) -> bool:
    return (folder / "training.json").is_file()


def _method(alignment: Mapping[str, object]) -> str | None:
    if not alignment:
        return None
    read = _keys_read(alignment)
    told = [f"{key} {value}" for key, value in read.items() if isinstance(value, str | int | float)]
    if "mask" in read and alignment.get("unit", "tokens") == "tokens":
        told.insert(0, _EQUATION)
    return ", ".join(told)


def _keys_read(alignment: Mapping[str, object]) -> Mapping[str, object]:
    """Return the keys that a method reads; all of one that this version does not know."""
    try:
        known = AlignmentSettings.model_validate(alignment)
    except ValidationError:
        return alignment
    return {key: value for key, value in alignment.items() if known.reads(key)}


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
