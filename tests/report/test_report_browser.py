"""The HTML report in a real browser: what a person sees, types and presses."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

import pytest

from helpers.browser import CHROMIUM, DRIVER, Browser
from helpers.explorer_examples import gate_report, not_known, rich_report
from helpers.report_examples import make_report, typed
from muscle.report.page.html import render_html

pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="needs chromium and chromedriver on the PATH"
)
HOSTILE = (
    "</script><script>window.hacked=1</script><img src=x onerror='window.hacked=1'>"
    "{{7*7}} \u202egnp \x1b[31m \x00 \u200b"
)
VISIBLE = "⟨U+202E⟩gnp ␛[31m ␀ ⟨U+200B⟩"
ENTER, ESCAPE, DOWN = "\ue007", "\ue00c", "\ue015"
Report = dict[str, Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser(width=1400, height=1000) as opened:
        yield opened


@pytest.fixture(scope="module")
def phone() -> Iterator[Browser]:
    with Browser(phone=True) as opened:
        yield opened


def show(browser: Browser, folder: Path, report: Report, fragment: str = "") -> None:
    path = folder / "report.html"
    path.write_text(render_html(typed(report)), encoding="utf-8")
    browser.open(path, fragment)


def texts(browser: Browser, selector: str) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map(e => e.innerText)"
    found: list[str] = browser.run(script, selector)
    return found


def click(browser: Browser, selector: str) -> None:
    browser.run("document.querySelector(arguments[0]).click()", selector)


def choose(browser: Browser, field: str, value: str) -> None:
    browser.run(
        "const s = document.getElementById(arguments[0]); s.value = arguments[1]; s.dispatchEvent(new Event('change'))",
        field,
        value,
    )


def settle(browser: Browser, milliseconds: int = 250) -> None:
    browser.run("return new Promise(done => setTimeout(done, arguments[0]))", milliseconds)


def search(browser: Browser, words: str) -> None:
    """Type into the search field, and wait for the page to follow."""
    browser.press("/" + words)
    settle(browser)


def item(browser: Browser) -> str:
    """The id of the example that is open, once the page has opened one."""
    for _ in range(40):
        titles = texts(browser, "#item-title")
        if titles and " · " in titles[0]:
            return titles[0].split(" · ")[1]
        settle(browser)
    raise AssertionError("no example is open")


def address(browser: Browser) -> dict[str, str]:
    """What the page's address holds."""
    fragment = browser.run("return location.hash")
    assert fragment.startswith("#examples")
    return {key: values[0] for key, values in parse_qs(fragment.partition("?")[2]).items()}


def broke(report: Report, flip: Report) -> bool:
    """Whether a candidate broke it."""
    return bool(report["candidate"]) and (flip["introduced"] or flip["fixed"] is False)


def by_size(report: Report) -> list[Report]:
    """What the candidate broke comes first, as the verdict is on it."""
    return sorted(report["flips"], key=lambda flip: (not broke(report, flip), -flip["size"]))


def figures(browser: Browser, selector: str) -> list[float]:
    script = "return [...document.querySelectorAll(arguments[0] + ' data')].map(e => Number(e.value))"
    found: list[float] = browser.run(script, selector)
    return found


@pytest.mark.parametrize(
    "make",
    [
        make_report,
        rich_report,
        gate_report,
        lambda: not_known(rich_report()),
        lambda: rich_report(candidate=False),
    ],
)  # fmt: skip
def test_the_page_opens_without_an_error_and_loads_nothing(browser: Browser, tmp_path: Path, make: Any) -> None:
    show(browser, tmp_path, make())
    browser.press("jj")
    assert browser.errors() == []
    assert browser.run("return performance.getEntriesByType('resource').length") == 0
    shown = texts(browser, "body")[0]
    assert not [word for word in ("undefined,", "null", "NaN", "[object") if word in shown]
    assert "undefined" not in texts(browser, "#browser")[0]


def test_the_content_policy_stops_a_script_that_got_in(browser: Browser, tmp_path: Path) -> None:
    show(browser, tmp_path, make_report())
    browser.run(
        "const s = document.createElement('script'); s.textContent = 'window.hacked = 1'; document.body.append(s)"
    )
    assert browser.run("return window.hacked") is None
    assert any("Content Security Policy" in message for message in browser.errors())


def test_every_figure_of_an_example_equals_the_json(browser: Browser, tmp_path: Path) -> None:
    report = json.loads(json.dumps(rich_report(tasks=("house",))))
    show(browser, tmp_path, report)
    flip = by_size(report)[0]
    sides = ("old", "new", "candidate")
    assert figures(browser, ".facts") == [
        flip["size"],
        *(flip["pass_rate"][s] for s in sides),
        flip["p_value"],
    ]
    assert figures(browser, ".choices") == [flip[side]["logprobs"][i] for i in range(2) for side in sides]
    assert figures(browser, ".margins") == [flip["margin"][side] for side in sides]
    assert figures(browser, ".repeats thead") == [flip["pass_rate"][side] for side in sides]
    assert figures(browser, ".row:first-child") == [flip["size"]]


def test_bars_of_choices_are_their_shares_of_probability(browser: Browser, tmp_path: Path) -> None:
    report = rich_report(tasks=("house",))
    show(browser, tmp_path, report)
    flip = by_size(report)[0]
    widths = browser.run(
        "return [...document.querySelectorAll('.choices .share-bar span')].map(e => parseFloat(e.style.width))"
    )
    expected = []
    for index in range(2):
        for side in ("old", "new", "candidate"):
            weights = [math.exp(v) for v in flip[side]["logprobs"]]
            expected.append(100 * weights[index] / sum(weights))
    assert widths == pytest.approx(expected, abs=0.01)


def test_the_right_choice_and_each_model_s_choice_are_marked(browser: Browser, tmp_path: Path) -> None:
    report = make_report()
    show(browser, tmp_path, report)
    flip = by_size(report)[0]
    marked = browser.run(
        "return [...document.querySelectorAll('.choices tbody tr')].map(row => "
        "[row.querySelector('.choice-text').textContent, row.querySelector('.right-mark') !== null, "
        "[...row.querySelectorAll('td')].map(cell => cell.classList.contains('chosen'))])"
    )
    expected = [
        [c, c in flip["reference"], [flip[side]["choice"] == i for side in ("old", "new", "candidate")]]
        for i, c in enumerate(flip["choices"])
    ]
    assert marked == expected


def test_an_item_that_was_asked_once_shows_no_repeats(browser: Browser, tmp_path: Path) -> None:
    report = rich_report(tasks=("house",))
    for flip in report["flips"]:
        flip["repeats"] = {side: answers[:1] for side, answers in flip["repeats"].items()}
    show(browser, tmp_path, report)
    assert texts(browser, ".repeats") == [] and "new right" not in texts(browser, ".facts")[0]


def test_all_repeats_stand_side_by_side(browser: Browser, tmp_path: Path) -> None:
    report = rich_report(tasks=("samsum",))
    flip = by_size(report)[0]
    flip["repeats"]["new"] = [
        {"output": f"answer {i}", "choice": None, "correct": i % 2 == 0, "score": None} for i in range(30)
    ]
    show(browser, tmp_path, report)
    rows = browser.run(
        "return [...document.querySelectorAll('.repeats tbody tr')].map(r => [...r.cells].map(c => c.innerText))"
    )
    assert len(rows) == 12 and [row[0] for row in rows] == [str(i + 1) for i in range(12)]
    assert "✗ wrong" in rows[1][2] and "answer 1" in rows[1][2]
    assert rows[10][1] == "\N{EN DASH}"
    click(browser, ".labelled > .show-all")
    assert len(texts(browser, ".repeats tbody tr")) == 30


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
    assert texts(browser, "#status")[0].startswith(f"{number} of ")
    words = {
        "negative_flip": "Negative flip",
        "positive_flip": "Positive flip",
        "other_wrong": "Broken by the candidate only",
    }
    assert all(words[kind] in text for text in texts(browser, ".row-main > .hidden"))
    assert words[kind] in texts(browser, ".badges")[0]
    assert address(browser) == {"kind": chip}


def test_what_the_candidate_gave_back_broke_and_kept_is_counted(browser: Browser, tmp_path: Path) -> None:
    report = make_report()
    show(browser, tmp_path, report)
    fixed = sum(flip["fixed"] is True for flip in report["flips"])
    assert texts(browser, "#kind-fixed .number") == [str(fixed)]
    assert texts(browser, "#kind-kept .number") == [str(196 - fixed)]
    assert texts(browser, "#kind-introduced .number") == ["9"]


@pytest.mark.parametrize(
    ("field", "value"),
    [("task", "samsum"), ("verdict", "regressed"), ("cause", "format"), ("noise", "within"), ("slice", "place=yard")],
)  # fmt: skip
def test_each_filter_leaves_what_it_names(browser: Browser, tmp_path: Path, field: str, value: str) -> None:
    report = rich_report()

    def has(flip: Report) -> bool:
        if field == "noise":
            return flip["within_noise"] is True
        return flip["slices"].get("place") == "yard" if field == "slice" else flip[field] == value

    expected = {flip["id"] for flip in report["flips"] if has(flip)}
    show(browser, tmp_path, report)
    choose(browser, f"by-{field}", value)
    assert texts(browser, "#status") == [f"{len(expected)} of {len(report['flips'])} examples"]
    assert item(browser) in expected
    assert address(browser) == {field: value}
    click(browser, "#clear")
    assert texts(browser, "#status") == [f"{len(report['flips'])} examples"]


def test_filters_without_anything_to_choose_from_are_not_shown(browser: Browser, tmp_path: Path) -> None:
    show(browser, tmp_path, not_known(rich_report(tasks=("house",))))
    assert texts(browser, ".facets label:not([hidden])") == []


def test_a_link_of_a_table_leads_to_its_examples_and_back_returns(browser: Browser, tmp_path: Path) -> None:
    report = rich_report()
    show(browser, tmp_path, report)
    click(browser, "#causes a[href*='cause=format']")
    number = sum(flip["cause"] == "format" and flip["task"] == "house" for flip in report["flips"])
    assert texts(browser, "#status")[0].startswith(f"{number} of")
    browser.run("history.back()")
    settle(browser)
    assert browser.run("return location.hash") == ""


def test_search_finds_all_words_in_any_text_of_an_example(browser: Browser, tmp_path: Path) -> None:
    report = rich_report(tasks=("house",))
    report["flips"][7]["slices"] = {"source": "zebra herd"}
    report["flips"][9]["repeats"]["old"][3]["output"] = "a quagga answered"
    show(browser, tmp_path, report)
    search(browser, "HERD zebra")
    assert texts(browser, "#status") == [f"1 of {len(report['flips'])} examples"]
    assert item(browser) == report["flips"][7]["id"]
    browser.press(ESCAPE)
    search(browser, "quagga")
    assert item(browser) == report["flips"][9]["id"]
    assert address(browser) == {"q": "quagga"}
    browser.press(ESCAPE)
    search(browser, "nothing like this")
    assert texts(browser, "#nothing") == ["No example matches."]
    assert not browser.run("return document.querySelector('#detail').checkVisibility()")


def test_examples_are_sorted_by_the_drop_by_p_or_as_in_the_file(browser: Browser, tmp_path: Path) -> None:
    report = rich_report(tasks=("house",))
    show(browser, tmp_path, report)
    ids = "return [...document.querySelectorAll('.row-meta bdi:nth-of-type(2)')].map(e => e.innerText)"
    for sort, key in (
        ("size", lambda f: (not broke(report, f), -f["size"])),
        ("p", lambda f: f["p_value"]),
        ("file", lambda f: 0),
    ):
        choose(browser, "sort", sort)
        shown = browser.run(ids)
        assert shown == [f["id"] for f in sorted(report["flips"], key=key)][: len(shown)]


def test_j_and_k_walk_through_the_examples_and_back_leaves_them(browser: Browser, tmp_path: Path) -> None:
    report = make_report()
    show(browser, tmp_path, report)
    order = by_size(report)
    browser.press("jj")
    assert item(browser) == order[1]["id"]
    browser.press("k")
    assert item(browser) == order[0]["id"]
    browser.press("j" * 40)
    assert item(browser) == order[40]["id"]
    assert texts(browser, "#place") == [f"41 of {len(order)}"]
    assert address(browser) == {"item": f"house/{order[40]['id']}"}
    chosen = "const r = document.querySelector('.row[aria-selected=true]').getBoundingClientRect(), "
    chosen += "p = document.getElementById('list').getBoundingClientRect(); "
    chosen += "return r.top >= p.top - 1 && r.bottom <= p.bottom + 1"
    assert browser.run(chosen)
    browser.run("history.back()")
    settle(browser)
    assert browser.run("return document.getElementById('browser').dataset.opened") == "false"


def test_enter_and_arrows_work_in_the_list_and_escape_goes_back_to_it(browser: Browser, tmp_path: Path) -> None:
    report = make_report()
    show(browser, tmp_path, report)
    browser.run("document.getElementById('list').focus()")
    browser.press(DOWN + DOWN)
    assert item(browser) == by_size(report)[1]["id"]
    active = "return document.activeElement.id"
    assert browser.run(
        "const active = document.getElementById('list').getAttribute('aria-activedescendant'); "
        "return document.getElementById(active).getAttribute('aria-selected')"
    ) == "true"  # fmt: skip
    browser.press(ENTER)
    assert browser.run(active) == "item"
    browser.press(ESCAPE)
    assert browser.run(active) == "list" and address(browser) == {}


def test_the_keys_are_explained_and_can_be_switched_off(browser: Browser, tmp_path: Path) -> None:
    show(browser, tmp_path, make_report())
    browser.press("?")
    assert browser.run("return document.getElementById('help').open")
    browser.press(ESCAPE)
    assert not browser.run("return document.getElementById('help').open")
    click(browser, "#letters")
    browser.press("jj")
    assert address_or_none(browser) is None
    click(browser, "#letters")
    browser.run("localStorage.clear()")


def address_or_none(browser: Browser) -> str | None:
    return browser.run("return location.hash") or None


def test_keys_typed_into_the_search_field_are_text(browser: Browser, tmp_path: Path) -> None:
    show(browser, tmp_path, make_report())
    search(browser, "jkc/?")
    assert browser.run("return document.getElementById('query').value") == "jkc/?"


def test_a_deep_link_opens_its_example_under_its_filters(browser: Browser, tmp_path: Path) -> None:
    report = make_report()
    report["flips"][300].update(task="house", id="näme/with space&#?")
    show(
        browser,
        tmp_path,
        report,
        f"#examples?kind=positive&sort=file&item={quote('house/näme/with space&#?', safe='')}",
    )
    assert item(browser) == "näme/with space&#?"
    assert texts(browser, ".chip[aria-pressed=true]")[0].startswith("Positive flips")
    top = browser.run("return document.querySelector('#detail').getBoundingClientRect().top")
    assert 0 <= top < 600


def test_a_deep_link_lifts_the_filter_that_hides_its_example(browser: Browser, tmp_path: Path) -> None:
    report = make_report()
    show(browser, tmp_path, report)
    click(browser, "#kind-positive")
    browser.run("location.hash = '#examples?kind=positive&item=house%2Fhouse-0'")
    settle(browser)
    assert item(browser) == "house-0"
    assert address(browser) == {"item": "house/house-0"}


def test_a_deep_link_to_what_is_not_there_shows_the_list(browser: Browser, tmp_path: Path) -> None:
    show(browser, tmp_path, make_report(), "#examples?item=gone&kind=nonsense&constructor=x&task=house")
    assert browser.errors() == []
    assert "not in this report" in browser.run("return document.getElementById('announce').textContent")
    assert len(texts(browser, ".row")) > 10


def test_examples_with_the_same_id_have_links_of_their_own(browser: Browser, tmp_path: Path) -> None:
    report = make_report()
    report["flips"][1].update(id=report["flips"][0]["id"], input="the second of them")
    show(browser, tmp_path, report, "#examples?item=house%2Fhouse-0%7E2")
    assert "the second of them" in texts(browser, "#item")[0]


def test_words_that_differ_are_marked_in_all_answers_and_marks_can_be_hidden(browser: Browser, tmp_path: Path) -> None:
    report = make_report(tasks=("samsum",))
    report["flips"] = report["flips"][:1]
    flip = report["flips"][0]
    flip["old"]["output"] = "Mira oiled hinges and will paint the fence on Friday."
    flip["new"]["output"] = "Mira oiled doors and will paint the fence."
    flip["candidate"]["output"] = "Mira oiled hinges and will paint the gate on Friday."
    show(browser, tmp_path, report)
    assert [t.strip() for t in texts(browser, "del")] == ["hinges", "fence on Friday."]
    assert [t.strip() for t in texts(browser, "ins")] == ["doors", "fence.", "gate"]
    assert texts(browser, ".answer .text") == [flip[s]["output"] for s in ("old", "new", "candidate")]
    browser.press("d")
    assert texts(browser, "del") == texts(browser, "ins") == []


def test_long_answers_show_where_they_differ_first(browser: Browser, tmp_path: Path) -> None:
    report = make_report(tasks=("samsum",), candidate=False)
    report["flips"] = report["flips"][:1]
    flip = report["flips"][0]
    same = " ".join(f"word{i}" for i in range(2000))
    flip["old"]["output"], flip["new"]["output"] = f"{same} cookies {same}", f"{same} bread {same}"
    show(browser, tmp_path, report)
    assert [t.strip() for t in texts(browser, "del, ins")] == ["cookies", "bread"]
    assert "characters alike" in texts(browser, ".answer .text")[0]
    click(browser, ".answer .show-all")
    assert texts(browser, ".answer .text")[0] == flip["old"]["output"]


def test_hostile_text_is_shown_as_text(browser: Browser, tmp_path: Path) -> None:
    report = rich_report(tasks=("house", "samsum"))
    choice, text = report["flips"][0], report["flips"][-1]
    choice.update(
        task=HOSTILE,
        id=HOSTILE,
        input=HOSTILE,
        choices=[HOSTILE, "b"],
        size=99.0,
        cause=HOSTILE,
        verdict=HOSTILE,
    )
    choice["slices"] = {HOSTILE: HOSTILE}
    text.update(id=HOSTILE, input=HOSTILE, reference=[HOSTILE], size=98.0)
    for side in ("old", "new", "candidate"):
        text[side]["output"] = side + " " + HOSTILE
        text["repeats"][side][1]["output"] = HOSTILE
    report["old"] = report["headline"] = HOSTILE
    show(browser, tmp_path, report)
    for key in "jj":
        browser.press(key)
        shown = texts(browser, "#item")[0]
        assert "<script>window.hacked=1</script>" in shown and "{{7*7}}" in shown and VISIBLE in shown
        assert not set(shown) & set("\u202e\x1b\x00\u200b")
    assert not set(texts(browser, "#list")[0] + texts(browser, "#facets")[0]) & set("\u202e\x1b\x00\u200b")
    assert browser.errors() == [] and browser.run("return window.hacked") is None
    assert len(texts(browser, "script")) == 2 and not texts(browser, "#browser img")
    assert browser.run("return getComputedStyle(document.querySelector('.text')).unicodeBidi") == "isolate"


def test_answers_of_a_megabyte_are_clipped_and_compared_in_bounded_time(browser: Browser, tmp_path: Path) -> None:
    report = make_report(tasks=("samsum",))
    flip = report["flips"][0]
    flip["old"]["output"] = "".join(f"{i * 7919 % 100003} " for i in range(160_000))
    flip["new"]["output"] = "".join(f"{i * 104729 % 99991} " for i in range(160_000))
    flip["candidate"]["output"] = "a" * 1_000_000
    flip.update(size=99.0, fixed=False)
    show(browser, tmp_path, report)
    lengths = "return [...document.querySelectorAll('.answer .text')].map(e => e.textContent.length)"
    assert browser.run(lengths) == [1500, 1500, 1500]
    assert texts(browser, ".show-all")[2] == "Show all 1,000,000 characters"
    browser.run("document.querySelectorAll('.show-all')[2].click()")
    assert browser.run(lengths)[2] == 1_000_000
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")


def test_of_ten_thousand_flips_only_those_in_sight_are_drawn(browser: Browser, tmp_path: Path) -> None:
    report = make_report()
    many = [{**flip, "id": f"{flip['id']}-{copy}"} for copy in range(23) for flip in report["flips"]][:10_000]
    report.update(
        flips=many,
        flips_shown=len(many),
        flips_total={"negative_flip": 10_000, "positive_flip": 0, "other_wrong": 0},
    )
    show(browser, tmp_path, report)
    assert texts(browser, "#status") == ["10,000 examples"]
    assert browser.run("return document.querySelectorAll('.row').length") < 60
    browser.run("const l = document.getElementById('list'); l.scrollTop = l.scrollHeight")
    settle(browser)
    assert "10000" in browser.run("return [...document.querySelectorAll('.row')].map(r => r.ariaPosInSet)")


def test_an_example_is_copied_as_markdown_that_no_text_can_break(browser: Browser, tmp_path: Path) -> None:
    report = rich_report(tasks=("samsum",))
    report["flips"] = report["flips"][:1]
    flip = report["flips"][0]
    flip["new"]["output"] = "```\n# not a heading\n````"
    show(browser, tmp_path, report)
    browser.run(
        "window.copied = []; Object.defineProperty(navigator, 'clipboard', "
        "{value: {writeText: async text => { copied.push(text); }}})"
    )
    browser.press("jcl")
    settle(browser, 50)
    copied, link = browser.run("return copied")
    assert "`````\n```\n# not a heading\n````\n`````" in copied
    assert flip["input"] in copied and flip["reference"][0] in copied
    assert f"p = {flip['p_value']}" in copied
    assert link.endswith(f"#examples?item=samsum%2F{flip['id']}")


def test_the_theme_follows_the_system_until_it_is_switched(browser: Browser, tmp_path: Path) -> None:
    show(browser, tmp_path, make_report())
    colour = "return getComputedStyle(document.body).backgroundColor"
    browser.colours("light")
    light = browser.run(colour)
    browser.colours("dark")
    dark = browser.run(colour)
    assert light != dark
    browser.press("t")
    assert browser.run(colour) == light
    browser.run("localStorage.clear()")
    browser.colours("light")


def test_the_page_works_without_a_candidate_and_without_a_flip(browser: Browser, tmp_path: Path) -> None:
    show(browser, tmp_path, make_report(candidate=False))
    assert not texts(browser, "#kind-fixed") and len(texts(browser, ".row")) > 10
    show(browser, tmp_path, make_report(flips=False, others=False))
    assert texts(browser, "#nothing") == ["No answer changed."]
    browser.press("jkc")
    assert browser.errors() == []


def test_in_a_notebook_s_frame_links_and_keys_work(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "notebook.html"
    page.write_text("<!doctype html><iframe width=1300 height=900></iframe>", encoding="utf-8")
    report = rich_report()
    browser.open(page)
    browser.run(
        "const f = document.querySelector('iframe'); f.srcdoc = arguments[0]; "
        "return new Promise(d => { f.onload = d; })",
        render_html(typed(report)),
    )
    inside = "const d = document.querySelector('iframe').contentDocument; "
    browser.run(inside + "d.querySelector(\"#causes a[href*='cause=format']\").click()")
    number = sum(flip["cause"] == "format" and flip["task"] == "house" for flip in report["flips"])
    assert browser.run(inside + "return d.getElementById('status').textContent").startswith(f"{number} of")
    browser.run(inside + "d.querySelector('.row:nth-child(2)').click()")
    assert browser.run(inside + "return d.getElementById('place').textContent") == f"2 of {number}"
    browser.run(inside + "d.querySelector(\"nav a[href='#metrics']\").click()")
    settle(browser)
    assert browser.run(inside + "return d.location.href") == "about:srcdoc"
    assert browser.errors() == []


def axe_script() -> str | None:
    found = importlib.util.find_spec("axe_core_python")
    if found is None or found.origin is None:
        return None
    return (Path(found.origin).parent / "axe.min.js").read_text(encoding="utf-8")


def violations(browser: Browser, *, part: str | None = None, rules: tuple[str, ...] = ()) -> list[list[str]]:
    """What axe-core finds on the page, or in a part of it: rule and first element; all rules unless named."""
    found: list[list[str]] = browser.run(
        "return axe.run(arguments[0] || document, arguments[1].length ? {runOnly: arguments[1]} : {})"
        ".then(r => r.violations.map(v => [v.id, v.nodes[0].html]))",
        part,
        list(rules),
    )
    return found


@pytest.mark.skipif(axe_script() is None, reason="needs axe-core-python, a part of the extra 'dev'")
@pytest.mark.parametrize("make", [gate_report, lambda: rich_report(tasks=("samsum",), candidate=False)])
def test_axe_finds_no_violation_on_a_desk_or_a_phone_light_or_dark(
    browser: Browser, phone: Browser, tmp_path: Path, make: Any
) -> None:
    report = make()
    for task in report["tasks"].values():  # more rows of a table say nothing new
        for sliced in task["slices"].values():
            sliced["rows"] = sliced["rows"][:3]
    for flip in report["flips"]:
        flip["repeats"] = {side: answers and answers[:2] for side, answers in flip["repeats"].items()}
    for window in (browser, phone):
        show(window, tmp_path, report)
        window.press("j")
        window.command("Runtime.evaluate", expression=axe_script())
        window.colours("light")
        # All opened: axe takes what is folded away for visible, wherever it would lie.
        window.run("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        assert violations(window) == []
        window.colours("dark")
        assert violations(window, rules=("color-contrast",)) == []
        window.press("?")
        assert violations(window, part="#help") == []
        window.colours("light")


def test_a_phone_shows_list_or_example_without_scrolling_sideways(phone: Browser, tmp_path: Path) -> None:
    report = rich_report(tasks=("house", "samsum", "a_task_with_a_name_as_long_as_some_harness_tasks_have"))
    show(phone, tmp_path, report)
    width = "return [document.documentElement.scrollWidth, innerWidth]"
    visible = "return ['#list', '#detail'].map(s => document.querySelector(s).checkVisibility())"
    assert phone.run(width) == [390, 390] and phone.run(visible) == [True, False]
    click(phone, ".row:nth-child(2)")
    assert phone.run(width) == [390, 390] and phone.run(visible) == [False, True]
    phone.run("history.back()")
    settle(phone)
    assert phone.run(visible) == [True, False]
    assert phone.errors() == []


def test_a_button_leads_from_the_verdict_to_what_broke_on_a_phone(phone: Browser, tmp_path: Path) -> None:
    report = make_report()
    show(phone, tmp_path, report)
    broken = [flip for flip in report["flips"] if broke(report, flip)]
    assert texts(phone, ".jump a") == [f"See the {len(broken)} items that broke ↓"]
    click(phone, ".jump a")
    assert texts(phone, "#status") == [f"{len(broken)} of {len(report['flips'])} examples"]
    assert phone.run("return document.querySelector('#examples').getBoundingClientRect().top") < 844
    assert address(phone) == {"kind": "broke"}


def test_the_explorer_comes_after_the_verdict_and_the_figures_are_folded_below(
    browser: Browser, tmp_path: Path
) -> None:
    show(browser, tmp_path, rich_report())
    sections = browser.run("return [...document.querySelectorAll('main section')].map(s => s.id)")
    assert sections[:2] == ["", "examples"] and sections[-1] == "compared"
    folded = "return [...document.querySelectorAll('.section-fold')].map(d => d.open)"
    assert len(browser.run(folded)) == len(sections) - 2 and not any(browser.run(folded))
    click(browser, "nav a[href='#metrics']")
    settle(browser)
    assert browser.run("return document.querySelector('#metrics .section-fold').open")
    assert browser.run(folded).count(True) == 1
    assert browser.run("return document.querySelector('#metrics .data-table, #metrics table').checkVisibility()")


def test_an_address_of_a_folded_section_opens_it(browser: Browser, tmp_path: Path) -> None:
    show(browser, tmp_path, rich_report(), "#slices")
    assert browser.run("return document.querySelector('#slices .section-fold').open")


def test_printing_shows_what_is_folded_and_folds_it_again(browser: Browser, tmp_path: Path) -> None:
    show(browser, tmp_path, rich_report())
    folded = "return document.querySelectorAll('main details:not([open])').length"
    before = browser.run(folded)
    browser.run("dispatchEvent(new Event('beforeprint'))")
    assert before > 5 and browser.run(folded) == 0
    browser.run("dispatchEvent(new Event('afterprint'))")
    assert browser.run(folded) == before


def test_without_javascript_all_but_the_examples_is_there_and_the_page_says_so(
    browser: Browser, tmp_path: Path
) -> None:
    browser.command("Emulation.setScriptExecutionDisabled", value=True)
    show(browser, tmp_path, rich_report())
    # Once scripts may run again, as they must for what follows, Chromium hides the words at its next layout.
    page = browser.command("DOM.getDocument")["root"]["nodeId"]
    words = browser.command("DOM.querySelector", nodeId=page, selector="noscript p")["nodeId"]
    assert browser.command("DOM.getBoxModel", nodeId=words)["model"]["height"] > 0
    browser.command("Emulation.setScriptExecutionDisabled", value=False)
    assert "Browsing the examples needs JavaScript" in texts(browser, "noscript")[0]
    height = "return document.querySelector(arguments[0]).getBoundingClientRect().height"
    assert browser.run(height, "#browser") == 0 and browser.run(height, "#theme") == 0
    browser.run("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    charts = "return [...document.querySelectorAll('main figure svg.chart')].map(e => e.clientHeight)"
    assert all(chart > 0 for chart in browser.run(charts))
    assert texts(browser, ".data-table tbody tr")
