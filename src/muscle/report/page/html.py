"""The HTML report: one self-contained file, made from a report by a pure function.

Nothing is loaded from outside: styles and the script are inlined and named by hash in a content security policy that
forbids everything else, so even text that slipped through as markup could not act. All that the page says is in the
markup, charts included; JavaScript only browses the flipped examples, which it puts on the page as text, never as
markup.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from muscle.flips.result.finding import VERDICT_WORDS
from muscle.flips.result.flip import Flip
from muscle.flips.result.report import Report
from muscle.foreign_text import visible
from muscle.report.entries import unit_of
from muscle.report.page import causes, figures, headline, noise, overview, rules, slices, tables, trade_offs
from muscle.report.page.training.cards import training_cards
from muscle.report.sentences.over_tasks import not_compared, pooled_lines
from muscle.report.sentences.resolution import resolution_lines
from muscle.typed_json import json_object

TEMPLATES = Path(__file__).parent / "templates"
ASSETS = Path(__file__).parent / "assets"
STYLES = ("report.css", "examples.css", "sections.css")
"""In this order, as what is said later of the same element counts."""

SCRIPTS = (
    "text.js", "diff.js", "words.js", "filters.js", "list.js", "choices.js", "detail.js", "copy.js", "page.js",
)  # fmt: skip
"""In the order in which they need each other; one script on the page."""

MAX_FLIPS = 10_000
MAX_CHARACTERS = 32_000_000
"""Flips that a page holds, and their size as JSON: with more it would open slowly. report.json has all of the list."""

MAX_RESOLUTIONS = 24
"""Tasks of which the page tells the smallest change that their items show."""

# In a script element only these can end it or open a comment; the two separators were not allowed in strings before
# ES2019; a lone surrogate has no UTF-8 form.
_UNSAFE = re.compile("[<>&\u2028\u2029\ud800-\udfff]")


def render_html(report: Report, *, max_flips: int = MAX_FLIPS) -> str:
    """Return the whole page for a comparison or a gate.

    Args:
        report: what `compare` or a gate found. What it does not have (repeats, causes, slices, a gate's rules) is left
            out of the page.
        max_flips: flips that the page holds, the first of the report's list: negative flips first, the largest first.
            With very long answers it holds fewer, and says so (`MAX_CHARACTERS`).

    Returns:
        The HTML text. The same report gives the same text.
    """
    style = _style()
    script = _script()
    policy = (
        f"default-src 'none'; style-src '{_source_hash(style)}'; script-src '{_source_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    # Links to examples and the note on them follow what found room, so this comes before all sections.
    embedded = _embed_flips(report.flips[:max_flips])
    held = replace(report, flips=report.flips[: len(embedded)])
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            policy=policy,
            style=style,
            script=script,
            data=Markup(f'{{"names":{embed_json(_names_of_versions(report))},"flips":[{",".join(embedded)}]}}'),
            flips_note=tables.flips_note(report, held=len(embedded)),
            **_verdict_parts(report, held),
            **_sections(report, held),
        )
    )


def static_page(template: str, *folders: Path, **parts: object) -> str:
    """Return a page of another template that needs no script, in the report's style.

    Args:
        template: its name; it is given `style` and `policy` too.
        folders: where it is, if not beside the report's.
        parts: what it shows.
    """
    style = _style()
    policy = f"default-src 'none'; style-src '{_source_hash(style)}'; base-uri 'none'; form-action 'none'"
    return str(_environment(*folders).get_template(template).render(style=style, policy=policy, **parts))


def _verdict_parts(report: Report, held: Report) -> dict[str, object]:
    """Return what the verdict's section shows; `held` has the flips alone that the page holds."""
    word, decision = VERDICT_WORDS[report.verdict], report.decision
    line = report.headline.removeprefix(f"{word}: ")
    link, words = headline.link_to_broken(held)
    return {
        "report": report,
        "title": report.title,
        "verdict": word,
        "decision": decision,
        "sentence": line if decision is None else decision.sentence,
        "told": report.headline if decision is not None else "",
        "ways": headline.ways_table(report),
        "broken_link": link,
        "broken_words": words,
        "names": _names_of_versions(report),
        "noise_sentence": noise.sentence(report),
        "differences": rules.differences(report),
        "tile_groups": headline.headline_tiles(report),
        "fate": figures.fate_of_negative_flips(report),
        "join": tables.join_lines(report),
        "not_compared": not_compared(report),
    }


def _sections(report: Report, held: Report) -> dict[str, object]:
    """Return what the sections below the verdict show.

    Args:
        report: the report.
        held: the same with the flips alone that the page holds: links lead to examples that are there.
    """
    cards = causes.cause_cards(held)
    return {
        "continuous": any(task.kind == "continuous" for task in report.tasks.values()),
        "gate": rules.gate(report),
        "quadrants": figures.quadrant_cards(report),
        "noise_cards": noise.noise_cards(report),
        "before_after": figures.before_and_after(report),
        "gap": trade_offs.flips_against_gap(report),
        "gain_regression": trade_offs.gain_against_regression(report),
        "histograms": trade_offs.difference_histograms(report),
        "overview": overview.overview_rows(held),
        "overview_head": (unit_of(*report.tasks.values()).capitalize(), *overview.HEAD),
        "overview_shown": overview.SHOWN_TASKS,
        "pooled": pooled_lines(report),
        "resolution": resolution_lines(report, max_tasks=MAX_RESOLUTIONS),
        "task_tables": [tables.task_table(report, task) for task in report.tasks],
        "slice_cards": slices.slice_cards(held),
        "cause_cards": cards,
        "cause_heading": causes.heading(cards),
        "training_cards": training_cards(report),
        "sources": tables.source_rows(report),
    }


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _style() -> Markup:
    """Return the style sheet that all pages have."""
    return Markup("".join(_asset(name) for name in STYLES))


def _script() -> Markup:
    """Return the page's one script: the files in a function, so that they share names with nothing else."""
    files = "\n".join(map(_asset, SCRIPTS))
    return Markup(f"(() => {{\n{files}\n}})();")


def embed_json(value: object) -> str:
    r"""Return JSON that is safe inside a `<script type="application/json">` element, whatever its strings hold.

    >>> embed_json({"a": "</script><!--"})
    '{"a":"\\u003c/script\\u003e\\u003c!--"}'
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _embed_flips(flips: Sequence[Flip]) -> list[str]:
    """Return flips as JSON, as many of the first ones as there is room for, but at least one."""
    written: list[str] = []
    room = MAX_CHARACTERS
    for flip in flips:
        text = embed_json(json_object(flip))
        room -= len(text)
        if room < 0 and written:
            break
        written.append(text)
    return written


def _names_of_versions(report: Report) -> dict[str, str | None]:
    return {"old": report.old, "new": report.new, "candidate": report.candidate}


def _source_hash(text: str) -> str:
    """Return the hash by which a content security policy allows an inline style or script."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


@cache
def _environment(*folders: Path) -> Environment:
    """Return what makes pages of templates: the report's own, and those in further folders."""
    environment = Environment(
        loader=FileSystemLoader([*folders, TEMPLATES]),
        autoescape=True,
        # A name that is misspelt in a template must fail, not leave a gap.
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["visible"] = visible
    return environment
