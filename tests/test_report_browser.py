"""The HTML report in a real browser: what a person sees, types and presses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from browser import CHROMIUM, DRIVER, Browser
from muscle.report.html import render_html
from report_examples import make_report

pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="needs chromium and chromedriver on the PATH"
)
HOSTILE = "</script><script>window.hacked=1</script><img src=x onerror='window.hacked=1'>{{7*7}} \u202egnp \x1b[31m \x00 \u200b"
VISIBLE = "⟨U+202E⟩gnp ␛[31m ␀ ⟨U+200B⟩"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as opened:
        yield opened


def show(browser: Browser, folder: Path, report: dict[str, Any], fragment: str = "") -> None:
    path = folder / "report.html"
    path.write_text(render_html(report), encoding="utf-8")
    browser.open(path, fragment)


def texts(browser: Browser, selector: str) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map(e => e.innerText)"
    found: list[str] = browser.run(script, selector)
    return found


def click(browser: Browser, selector: str) -> None:
    browser.run("document.querySelector(arguments[0]).click()", selector)


def search(browser: Browser, words: str) -> None:
    """Type into the search field, and wait for the page to follow."""
    browser.press("/")
    browser.press(words)
    browser.run(
        "const end = performance.now() + 300; return new Promise(done => setTimeout(done, end - performance.now()))"
    )


@pytest.mark.parametrize("tasks", [("house",), ("house", "hellaswag", "samsum")])
def test_the_page_opens_without_an_error_and_loads_nothing(
    browser: Browser, tmp_path: Path, tasks: tuple[str, ...]
) -> None:
    show(browser, tmp_path, make_report(tasks=tasks))
    assert browser.errors() == []
    assert browser.run("return performance.getEntriesByType('resource').length") == 0
    assert len(texts(browser, ".flip")) == 20


def test_the_content_policy_stops_a_script_that_got_in(browser: Browser, tmp_path: Path) -> None:
    show(browser, tmp_path, make_report())
    browser.run(
        "const s = document.createElement('script'); s.textContent = 'window.hacked = 1'; document.body.append(s)"
    )
    assert browser.run("return window.hacked") is None
    assert any("Content Security Policy" in message for message in browser.errors())


def test_figures_in_the_cards_equal_the_json(browser: Browser, tmp_path: Path) -> None:
    report = make_report()
    show(browser, tmp_path, report)
    flip = max(report["flips"], key=lambda f: f["size"])
    script = "return [...document.querySelector('.flip').querySelectorAll('data')].map(e => Number(e.value))"
    shown = browser.run(script)
    expected = [flip["size"]]
    for index in range(2):
        expected += [flip[side]["logprobs"][index] for side in ("old", "new", "candidate")]
    assert shown == expected


def test_the_right_choice_and_each_model_s_choice_are_marked(browser: Browser, tmp_path: Path) -> None:
    report = make_report()
    show(browser, tmp_path, report)
    flip = max(report["flips"], key=lambda f: f["size"])
    marked = browser.run(
        "return [...document.querySelectorAll('.flip:first-child .choices tbody tr')].map(row => "
        "[row.querySelector('.choice-text').textContent, row.querySelector('.right-mark') !== null, "
        "[...row.querySelectorAll('td')].map(cell => cell.classList.contains('chosen'))])"
    )
    sides = ("old", "new", "candidate")
    expected = [
        [choice, choice in flip["reference"], [flip[side]["choice"] == index for side in sides]]
        for index, choice in enumerate(flip["choices"])
    ]
    assert marked == expected


@pytest.mark.parametrize(
    ("chip", "kind"),
    [("negative", "negative_flip"), ("positive", "positive_flip"), ("introduced", "other_wrong")],
)
def test_a_kind_s_chip_shows_that_kind_alone(browser: Browser, tmp_path: Path, chip: str, kind: str) -> None:
    report = make_report()
    show(browser, tmp_path, report)
    click(browser, f"#kind-{chip}")
    number = sum(flip["kind"] == kind for flip in report["flips"])
    assert texts(browser, f"#kind-{chip} .number") == [str(number)]
    assert texts(browser, "#status")[0].endswith(f"of {number}")
    heads = {
        "negative_flip": "Negative flip",
        "positive_flip": "Positive flip",
        "other_wrong": "Broken by the candidate only",
    }
    assert all(heads[kind] in text for text in texts(browser, ".flip header"))


def test_what_the_candidate_gave_back_broke_and_kept_can_be_filtered(
    browser: Browser, tmp_path: Path
) -> None:
    report = make_report()
    show(browser, tmp_path, report)
    fixed = sum(flip["fixed"] is True for flip in report["flips"])
    assert texts(browser, "#kind-fixed .number") == [str(fixed)]
    assert texts(browser, "#kind-kept .number") == [str(196 - fixed)]
    assert texts(browser, "#kind-introduced .number") == ["9"]
    click(browser, "#kind-fixed")
    assert all("given back" in text for text in texts(browser, ".flip header"))


def test_the_task_filter_shows_one_task(browser: Browser, tmp_path: Path) -> None:
    show(browser, tmp_path, make_report(tasks=("house", "samsum")))
    browser.run(
        "const t = document.getElementById('task'); t.value = 'samsum'; t.dispatchEvent(new Event('change'))"
    )
    assert texts(browser, "#status")[0].endswith("of 40")
    assert all("samsum" in text for text in texts(browser, ".flip .name"))


def test_search_finds_all_words_in_any_text_of_an_example(browser: Browser, tmp_path: Path) -> None:
    report = make_report()
    report["flips"][7]["slices"] = {"source": "zebra herd"}
    show(browser, tmp_path, report)
    search(browser, "HERD zebra")
    assert texts(browser, "#status") == ["1\N{EN DASH}1 of 1"]
    assert report["flips"][7]["id"] in texts(browser, ".flip .name")[0]
    search(browser, "nothing like this")
    assert texts(browser, "#cards") == ["No example matches."]


def test_examples_are_sorted_by_the_size_of_the_drop_unless_file_order_is_asked_for(
    browser: Browser, tmp_path: Path
) -> None:
    report = make_report()
    show(browser, tmp_path, report)
    script = "return [...document.querySelectorAll('.flip .size data')].map(e => Number(e.value))"
    assert browser.run(script) == sorted((f["size"] for f in report["flips"]), reverse=True)[:20]
    browser.run(
        "const s = document.getElementById('sort'); s.value = 'file'; s.dispatchEvent(new Event('change'))"
    )
    assert browser.run(script) == [f["size"] for f in report["flips"][:20]]


def test_j_and_k_walk_through_the_examples_across_pages(browser: Browser, tmp_path: Path) -> None:
    report = make_report()
    show(browser, tmp_path, report)
    order = sorted(report["flips"], key=lambda f: -f["size"])
    browser.press("jj")
    assert order[1]["id"] in texts(browser, ".flip.current .name")[0]
    browser.press("k")
    assert order[0]["id"] in texts(browser, ".flip.current .name")[0]
    browser.press("j" * 20)
    assert order[20]["id"] in texts(browser, ".flip.current .name")[0]
    assert texts(browser, "#page") == ["Page 2 of 23"]
    assert browser.run("return decodeURIComponent(location.hash)") == f"#flip-house-{order[20]['id']}"


def test_keys_typed_into_the_search_field_are_text(browser: Browser, tmp_path: Path) -> None:
    show(browser, tmp_path, make_report())
    search(browser, "jkc/")
    assert browser.run("return document.getElementById('query').value") == "jkc/"


def test_a_deep_link_opens_its_example_on_its_page(browser: Browser, tmp_path: Path) -> None:
    report = make_report()
    report["flips"][300].update(task="house", id="näme/with space&#?")
    fragment = f"#flip-house-{quote('näme/with space&#?', safe='')}"
    show(browser, tmp_path, report, fragment)
    assert "näme/with space&#?" in texts(browser, ".flip.current .name")[0]
    top = browser.run("return document.querySelector('.flip.current').getBoundingClientRect().top")
    assert 0 <= top < 900


def test_a_deep_link_lifts_the_filter_that_hides_its_example(browser: Browser, tmp_path: Path) -> None:
    report = make_report()
    show(browser, tmp_path, report)
    click(browser, "#kind-positive")
    browser.run("location.hash = '#flip-house-house-0'")
    browser.run("return new Promise(done => setTimeout(done, 200))")
    assert texts(browser, ".flip.current .name") == ["house · house-0"]


def test_examples_with_the_same_id_have_links_of_their_own(browser: Browser, tmp_path: Path) -> None:
    report = make_report()
    report["flips"][1]["id"] = report["flips"][0]["id"]
    show(browser, tmp_path, report, "#flip-house-house-0~2")
    assert len(texts(browser, ".flip.current")) == 1
    assert browser.run("return document.querySelector('.flip.current').id") == "flip-house-house-0~2"


def test_words_that_differ_are_marked_in_both_answers(browser: Browser, tmp_path: Path) -> None:
    report = make_report(tasks=("samsum",), candidate=False)
    report["flips"] = report["flips"][:1]
    report["flips"][0]["old"]["output"] = "Amanda baked cookies and will bring Jerry some tomorrow."
    report["flips"][0]["new"]["output"] = "Amanda baked bread and will bring Jerry some."
    show(browser, tmp_path, report)
    assert [t.strip() for t in texts(browser, "del")] == ["cookies", "some tomorrow."]
    assert [t.strip() for t in texts(browser, "ins")] == ["bread", "some."]
    answers = texts(browser, ".answer .text")
    assert answers == [report["flips"][0]["old"]["output"], report["flips"][0]["new"]["output"]]


def test_hostile_text_is_shown_as_text(browser: Browser, tmp_path: Path) -> None:
    report = make_report(tasks=("house", "samsum"))
    choice, text = report["flips"][0], report["flips"][-1]
    choice.update(
        task=HOSTILE, id=HOSTILE, input=HOSTILE, choices=[HOSTILE, "b"], size=99.0, slices={HOSTILE: HOSTILE}
    )
    text.update(id=HOSTILE, input=HOSTILE, reference=[HOSTILE], size=98.0)
    for side in ("old", "new", "candidate"):
        text[side]["output"] = side + " " + HOSTILE
    report["old"] = report["headline"] = HOSTILE
    show(browser, tmp_path, report)
    assert browser.errors() == []
    assert browser.run("return window.hacked") is None
    first, second = texts(browser, ".flip")[:2]
    for card in (first, second):
        assert "<script>window.hacked=1</script>" in card and "{{7*7}}" in card
        assert VISIBLE in card
        assert not set(card) & set("\u202e\x1b\x00\u200b")
    assert len(texts(browser, "script")) == 2 and not texts(browser, ".flip img")
    assert (
        browser.run("return getComputedStyle(document.querySelector('.flip .text')).unicodeBidi") == "isolate"
    )


def test_an_answer_of_a_megabyte_is_clipped_until_asked_for(browser: Browser, tmp_path: Path) -> None:
    report = make_report(tasks=("samsum",))
    report["flips"][0]["new"]["output"] = "a" * 1_000_000
    report["flips"][0]["size"] = 99.0
    show(browser, tmp_path, report)
    length = "return document.querySelectorAll('.flip:first-child .answer .text')[1].textContent.length"
    assert browser.run(length) == 1500
    assert texts(browser, ".show-all") == ["… show all 1,000,000 characters"]
    click(browser, ".show-all")
    assert browser.run(length) == 1_000_000
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")


def test_of_ten_thousand_flips_only_a_page_is_drawn(browser: Browser, tmp_path: Path) -> None:
    report = make_report()
    many = [{**flip, "id": f"{flip['id']}-{copy}"} for copy in range(23) for flip in report["flips"]][:10_000]
    report.update(flips=many, flips_shown=len(many), flips_total={"negative_flip": 10_000})
    show(browser, tmp_path, report)
    assert texts(browser, "#status") == ["1\N{EN DASH}20 of 10,000"]
    assert browser.run("return document.querySelectorAll('article.flip').length") == 20


def test_an_example_is_copied_as_markdown_that_no_text_can_break(browser: Browser, tmp_path: Path) -> None:
    report = make_report(tasks=("samsum",))
    report["flips"] = report["flips"][:1]
    report["flips"][0]["new"]["output"] = "```\n# not a heading\n````"
    show(browser, tmp_path, report)
    browser.run(
        "window.copied = []; Object.defineProperty(navigator, 'clipboard', "
        "{value: {writeText: async text => { copied.push(text); }}})"
    )
    browser.press("jc")
    (copied,) = browser.run("return copied")
    assert "`````\n```\n# not a heading\n````\n`````" in copied
    assert report["flips"][0]["input"] in copied and report["flips"][0]["reference"][0] in copied


def test_the_theme_follows_the_system_until_it_is_switched(browser: Browser, tmp_path: Path) -> None:
    show(browser, tmp_path, make_report())
    colour = "return getComputedStyle(document.body).backgroundColor"
    browser.colours("light")
    light = browser.run(colour)
    browser.colours("dark")
    dark = browser.run(colour)
    assert light != dark
    click(browser, "#theme")
    assert browser.run(colour) == light
    browser.run("localStorage.clear()")
    browser.colours("light")


def test_the_page_works_without_a_candidate_and_without_a_flip(browser: Browser, tmp_path: Path) -> None:
    show(browser, tmp_path, make_report(candidate=False))
    assert not texts(browser, "#kind-fixed") and len(texts(browser, ".flip")) == 20
    show(browser, tmp_path, make_report(flips=False, others=False))
    assert texts(browser, "#cards") == ["No answer changed."]
    assert browser.errors() == []


def test_a_phone_shows_the_page_without_scrolling_sideways(tmp_path: Path) -> None:
    report = make_report(
        tasks=("house", "hellaswag", "samsum", "a_task_with_a_name_as_long_as_some_harness_tasks_have")
    )
    with Browser(phone=True) as phone:
        show(phone, tmp_path, report)
        assert phone.run("return [document.documentElement.scrollWidth, innerWidth]") == [390, 390]
        assert phone.errors() == []


def test_without_javascript_all_but_the_examples_is_there_and_the_page_says_so(tmp_path: Path) -> None:
    with Browser() as plain:
        plain.command("Emulation.setScriptExecutionDisabled", value=True)
        show(plain, tmp_path, make_report())
        plain.command("Emulation.setScriptExecutionDisabled", value=False)
        assert "Browsing the examples needs JavaScript" in texts(plain, "noscript")[0]
        height = "return document.querySelector(arguments[0]).getBoundingClientRect().height"
        assert plain.run(height, "#browser") == 0 and plain.run(height, "#theme") == 0
        assert plain.run(height, "noscript p") > 0
        assert all(
            chart > 0
            for chart in plain.run(
                "return [...document.querySelectorAll('main figure svg.chart')].map(e => e.clientHeight)"
            )
        )
        assert texts(plain, ".metrics-table tbody tr")
