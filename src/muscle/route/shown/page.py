"""What a rule is worth as one offline HTML file: the verdict, the ways to answer, and the curve of flips and accuracy.

Nothing is loaded from outside and nothing runs; names from files are escaped, and what cannot be seen is spelled out.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from muscle.files import write_text
from muscle.foreign_text import visible
from muscle.report.entries import Role
from muscle.report.numbers import count, format_number
from muscle.report.page import plots
from muscle.report.page.html import ASSETS
from muscle.report.page.plots import Point
from muscle.route.kappa import kappa_words
from muscle.route.shown.terminal import HEAD, point_rows, thinned, way_rows
from muscle.route.worth import CurvePoint, RouteReport

_ROOM = 1.05
_ROWS = 10
_ASKED = "The old model asked where the new one is least sure"
_LOOK = (
    "main { padding: 24px 0 } h2 { margin: 28px 0 8px } p { margin: 8px 0 } .verdict { font-weight: 650 } "
    "figure { padding: 12px 8px 28px 48px } .y-name { margin-top: 20px } "
    "@media (max-width: 620px) { .figures th, .figures td { padding-left: 10px; font-size: 13px } "
    ".figures thead th { font-size: 12px } }"
)
_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{{ policy }}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="color-scheme" content="light dark">
<title>Route {{ report.old|visible }} and {{ report.new|visible }}, MUSCLE</title>
<style>{{ style }}</style>
</head>
<body>
<main><div class="wide">
<h1>Route: <bdi>{{ report.old|visible }}</bdi> and <bdi>{{ report.new|visible }}</bdi></h1>
<p class="verdict">{{ report.headline|visible }}</p>
{% if report.missing %}<p>Missing: {{ report.missing|visible }}</p>{% endif %}
{% for note in report.notes %}<p>{{ note|visible }}</p>{% endfor %}
{% if report.bound %}<p>Fitted on {{ num_fitted }} items; all below is of {{ num_apart }} others.</p>{% endif %}
{% if saved %}<p>It saves {{ saved }} of the new model's flips.</p>{% endif %}
{% macro table(title, rows) %}
<h2>{{ title }}</h2>
<div class="scroll" tabindex="0" role="region" aria-label="{{ title }}">
<table class="figures">
<thead><tr>{% for name in head %}<th scope="col">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in rows %}
<tr><th scope="row">{{ row[0]|visible }}</th>{% for cell in row[1:] %}<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}
</tbody>
</table>
</div>
{% endmacro %}
{% if report.by_kappa %}<p>kappa is how many gained answers a lost one weighs: at 1 the answer that is likelier right is
given, at infinity every old answer is kept.</p>{% endif %}
{% if ways %}{{ table("On items that the rule was not fitted on", ways) }}{% endif %}
{% for title, picture, rows in curves %}
{{ table(title, rows) }}
<p class="y-name">accuracy against the new model alone, in points</p>
<figure>{{ picture }}</figure>
<p class="x-name">negative flips, share of the items</p>
<p>The bound holds for the rule (filled) alone; one that is picked from the curve needs new items.</p>
{% endfor %}
</div></main>
<footer class="wide">Made by MUSCLE {{ report.muscle_version|visible }} on {{ report.created|visible }}.</footer>
</body>
</html>
"""


def render_route(report: RouteReport) -> str:
    """Return the page; the same report gives the same text."""
    style = Markup((ASSETS / "report.css").read_text(encoding="utf-8") + _LOOK)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["visible"] = visible
    curves = (("Other kappas", report.by_kappa, False), (_ASKED, report.by_asked, True))
    shown = [
        (title, _curve(report, points, title), point_rows(thinned(points, _ROWS), by_asked=by_asked))
        for title, points, by_asked in curves
        if points
    ]
    return environment.from_string(_PAGE).render(
        report=report,
        style=style,
        policy=f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
        head=[name.replace("/", "/\u200b") for name in HEAD],  # may be broken there
        num_fitted=count(report.num_fitted),
        num_apart=count(report.bound.counts.num) if report.bound else "",
        saved="" if report.flips_saved is None else format_number(report.flips_saved, "rate"),
        ways=way_rows(report) if report.bound else [],
        curves=shown,
    )


def write_page(report: RouteReport, path: Path) -> None:
    """Write the page.

    Raises:
        OutputError: it cannot be written.
    """
    write_text(path, render_route(report))


def _curve(report: RouteReport, curve: Sequence[CurvePoint], title: str) -> Markup:
    """Draw a curve with the models alone and the rule."""
    points = []
    for p in curve:
        text = f"kappa {kappa_words(p.kappa)}, old asked {p.asked_share:.1%}"
        points.append(Point(p.flips / 1000, p.gain, "other", "", text, title))
    for way in report.ways:
        if way.gain is not None and way.negative_flip_rate is not None:
            role: Role = "candidate" if way.name == "rule" else "plain"
            points.append(Point(way.negative_flip_rate, way.gain, role, way.name, way.words))
    x_axis = plots.make_axis([_ROOM * point.x for point in points], percent=True)
    y_axis = plots.make_axis([_ROOM * point.y for point in points], percent=True, signed=True)
    return plots.scatter(points, x_axis, y_axis, title=title)
