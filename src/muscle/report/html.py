"""The HTML report: one self-contained file, made from report.json's dict by a pure function.

Nothing is loaded from outside: styles and the script are inlined and named by hash in a content security policy that
forbids everything else, so even text that slipped through as markup could not act. All that the page says is in the markup,
charts included; JavaScript only browses the flipped examples, which it puts on the page as text, never as markup.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from muscle.report import figures, headline, tables
from muscle.report.numbers import visible

TEMPLATES = Path(__file__).parent / "templates"
SCRIPTS = ("text.js", "card.js", "report.js")
VERDICTS = {"pass": "Pass", "warn": "Warning", "block": "Blocked", "cannot_tell": "Cannot tell"}

# In a script element only these can end it or open a comment; the two separators were not allowed in strings before ES2019;
# a lone surrogate has no UTF-8 form.
_UNSAFE = re.compile("[<>&\u2028\u2029\ud800-\udfff]")


def render_html(report: Mapping[str, Any]) -> str:
    """Return the whole page for a comparison.

    Args:
        report: what `Comparison.to_json()` gives and report.json holds.

    Returns:
        The HTML text. The same dict gives the same text.

    Raises:
        KeyError: an entry that every report has is missing.
    """
    style = Markup((TEMPLATES / "report.css").read_text(encoding="utf-8"))
    script = Markup("\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in SCRIPTS))
    policy = (
        f"default-src 'none'; style-src '{_source_hash(style)}'; script-src '{_source_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            policy=policy,
            style=style,
            script=script,
            title=report.get("title"),
            verdict=VERDICTS[report["verdict"]],
            sentence=report["headline"].removeprefix(f"{VERDICTS[report['verdict']]}: "),
            names=_names(report),
            continuous=any(task["kind"] == "continuous" for task in report["tasks"].values()),
            tile_groups=headline.headline_tiles(report),
            fate=figures.fate_of_negative_flips(report),
            quadrants=figures.quadrant_cards(report),
            before_after=figures.before_and_after(report),
            gap=figures.flips_against_gap(report),
            gain_regression=figures.gain_against_regression(report),
            histograms=figures.difference_histograms(report),
            task_tables=[tables.task_table(report, task) for task in report["tasks"]],
            join=tables.join_lines(report),
            sources=tables.source_rows(report),
            flips_note=tables.flips_note(report),
            has_logprobs=any(
                (flip[side] or {}).get("logprobs") for flip in report["flips"] for side in ("old", "new")
            ),
            data=Markup(embed_json({"names": _names(report), "flips": report["flips"]})),
        )
    )


def embed_json(value: Any) -> str:
    r"""Return JSON that is safe inside a `<script type="application/json">` element, whatever its strings hold.

    >>> embed_json({"a": "</script><!--"})
    '{"a":"\\u003c/script\\u003e\\u003c!--"}'
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _names(report: Mapping[str, Any]) -> dict[str, str | None]:
    return {side: report.get(side) for side in ("old", "new", "candidate")}


def _source_hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["visible"] = visible
    return environment
