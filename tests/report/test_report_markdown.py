from __future__ import annotations

import re
from typing import Any

import pytest
from markdown_it import MarkdownIt

from helpers.report_examples import make_report, typed
from muscle.report.text.markdown import escape, render_markdown

HOSTILE = [
    "</details></summary><script>alert(1)</script>",
    "```\n# heading\n```` `x` ~~~",
    "| a | b |\n|---|---|\n",
    "![x](http://evil.example/x.png) [link](javascript:alert(1))",
    "@octocat #123 GH-7 https://evil.example www.evil.example owner/repo#5",
    "*bold* _em_ ~~gone~~ <img src=x onerror=alert(1)> &lt;b&gt; $x$",
    "\x1b[31mred\x1b[0m \u202eright-to-left\u202c \x00",
    "# heading\n> quote\n- item\n1. one",
]
ALLOWED = {
    "h3",
    "ul",
    "ol",
    "li",
    "p",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "strong",
    "pre",
    "code",
    "details",
    "summary",
}


def to_html(markdown: str) -> str:
    return MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough").render(markdown)


def tags(html: str) -> set[str]:
    return {name.lower() for name in re.findall(r"<\s*/?\s*([a-zA-Z][a-zA-Z0-9]*)", html)}


def hostile_report(text: str) -> dict[str, Any]:
    report = make_report(tasks=("house", "samsum"))
    report["new"] = report["candidate"] = report["headline"] = text
    report["reasons"] = report["warnings"] = [text]
    report["muscle_version"] = text
    report["tasks"][text] = report["tasks"].pop("house")
    report["others"][0]["name"] = text
    for flip in report["flips"]:
        flip |= {"task": text, "id": text, "input": text, "reference": [text], "choices": [text, text]}
        for side in ("old", "new", "candidate"):
            flip[side] |= {"output": text, "choice": None}
    return report


@pytest.mark.parametrize("text", HOSTILE)
def test_text_from_data_cannot_break_out(text: str) -> None:
    html = to_html(render_markdown(typed(hostile_report(text))))
    assert tags(html) <= ALLOWED
    assert html.count("<details>") == html.count("</details>") == 2
    assert html.count("<table>") == to_html(render_markdown(typed(hostile_report("plain")))).count("<table>")
    assert "href" not in html and "src=" not in re.sub(r"&lt;.*?&gt;", "", html)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", render_markdown(typed(hostile_report(text))))


def test_mentions_references_and_links_stand_apart_outside_code() -> None:
    outside = re.sub(r"```.*?```", "", render_markdown(typed(hostile_report(HOSTILE[4]))), flags=re.DOTALL)
    assert not re.search(r"@octocat|#123|://evil|www\\?\.evil|GH\\?-7", outside)


@pytest.mark.parametrize("text", ["a", "*x*", "a|b\\", "`", "1. x", "a_b_c", "<b>&amp;", "x^2~y~", "- a"])
def test_escaped_text_reads_as_it_was(text: str) -> None:
    import html

    inner = re.sub(r"^<p>|</p>\n$", "", to_html(escape(text))).replace("<!-- -->", "")
    assert html.unescape(inner) == text


def test_the_verdict_stands_first_and_every_side_has_its_row() -> None:
    report = make_report()
    markdown = render_markdown(typed(report))
    assert markdown.startswith("### ✅ ")
    for name in ("tiny-v2 + house", "tiny-v2 + compatibility", "bare base v2", "longer training"):
        assert f"| {escape(name)} |" in markdown
    metrics = report["tasks"]["house"]["old_vs_new"]
    assert f"{100 * metrics['negative_flip_rate']['value']:.1f}%" in markdown
    assert "<summary>What the candidate broke" in markdown and "old: [" in markdown


@pytest.mark.parametrize(("verdict", "sign"), [("warn", "⚠️"), ("block", "⛔"), ("cannot_tell", "❔")])
def test_every_verdict_has_its_sign(verdict: str, sign: str) -> None:
    assert render_markdown(typed(make_report(verdict=verdict))).startswith(f"### {sign} ")


def test_a_report_without_flips_or_candidate_says_what_there_is() -> None:
    markdown = render_markdown(typed(make_report(candidate=False, others=False, flips=False)))
    assert "What broke" not in markdown and "candidate" not in markdown.replace("candidate minus", "")


def test_the_comment_fits_into_github_whatever_the_data() -> None:
    report = make_report(tasks=("house", "samsum", "hellaswag"))
    for flip in report["flips"]:
        flip["input"] = "long `text` " * 20_000
    report["tasks"] = {f"task {i}": report["tasks"]["house"] for i in range(300)}
    markdown = render_markdown(typed(report))
    assert len(markdown) < 65_536 and "260 more tasks" in markdown
    assert tags(to_html(markdown)) <= ALLOWED


def test_undefined_metrics_say_so() -> None:
    report = make_report()
    report["tasks"]["house"]["old_vs_new"]["negative_flip_rate"] = {
        "value": None,
        "low": None,
        "high": None,
        "why": "x",
    }
    assert "undefined" in render_markdown(typed(report))
