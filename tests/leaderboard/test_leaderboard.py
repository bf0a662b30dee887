"""Rows measured against the old version and held against their controls: numbers and tests by hand, advice, forms."""

import csv
import io
import json
import math
from dataclasses import replace

import pytest
from boards import NUM, board_of, entry, hostile_board, scored_board
from rich.console import Console

from helpers.page_text import HOSTILE, Page
from muscle.errors import DataError
from muscle.leaderboard.build import spread
from muscle.leaderboard.entries import Entry, Published
from muscle.leaderboard.held_out import in_first_half
from muscle.leaderboard.page.html import render_leaderboard
from muscle.leaderboard.terminal import print_leaderboard
from muscle.leaderboard.write import read_leaderboard, write_leaderboard

PLAIN = {0: (40, 20), 1: (50, 20)}
BETTER = {0: (10, 20), 1: (12, 20)}
HALF = 0.5


def numbers(board, name):
    return board.row(name).tasks["trivia"]


def shown(board, width=100) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    print_leaderboard(board, console)
    return console.export_text()


def test_rates_are_over_all_items_and_changes_against_the_plain_update_of_the_seed(tmp_path):
    board = board_of(tmp_path, entry(tmp_path, "better", BETTER), plain=PLAIN)
    first, second = numbers(board, "better").by_seed
    assert (first.n, first.accuracy, first.negative_flip_rate) == (NUM, (300 - 10 + 20) / NUM, 10 / NUM)
    assert first.positive_flip_rate == 20 / NUM
    assert first.accuracy_change == pytest.approx(30 / NUM)
    assert second.negative_flip_rate_change_percent == pytest.approx(100 * (12 - 50) / 50)
    # One wrong answer alone is possible here, so that NFR_mc is NFR; what flipped has another answer than the old one.
    assert first.inconsistency_rate == first.negative_flip_rate
    assert first.same_answer_as_old == pytest.approx(1 - 30 / NUM)
    assert first.mean_gain is None
    rate = numbers(board, "better").over_seeds["negative_flip_rate"]
    assert (rate.mean, rate.sd, rate.n) == (pytest.approx(11 / NUM), pytest.approx(math.sqrt(2) / NUM), 2)


def test_the_plain_update_has_no_change_and_the_old_version_no_flips(tmp_path):
    board = board_of(tmp_path, plain=PLAIN)
    assert numbers(board, "plain").mean("negative_flip_rate_change_percent") == 0
    assert numbers(board, "old").mean("negative_flip_rate") is None
    assert numbers(board, "old").mean("accuracy") == 0.75


def test_p_values_are_those_of_the_exact_tests(tmp_path):
    board = board_of(tmp_path, entry(tmp_path, "better", BETTER, controls={"plain": "plain"}), plain=PLAIN)
    (found,) = numbers(board, "better").comparisons
    assert (found.negative_flips, found.their_negative_flips, found.seeds_fewer) == (22, 90, 2)
    # The flips are nested, so that all one-sided items are the plain update's: 30 and 38 of them.
    assert found.p_by_seed == {0: pytest.approx(2 * HALF**30), 1: pytest.approx(2 * HALF**38)}
    # Of the items 10 and 11 are lost in seed 0 by neither, by plain alone and so on: net 1 or 2 of 40 items, one way.
    assert found.p_over_items == pytest.approx(2 * HALF**40)
    assert found.p_over_seeds == pytest.approx(2 * HALF**2)
    assert found.accuracy_difference == pytest.approx((30 + 38) / (2 * NUM))
    assert found.beats


def test_fewer_flips_in_one_seed_and_more_in_another_beat_nothing(tmp_path):
    mixed = entry(tmp_path, "mixed", {0: (0, 0), 1: (51, 0)}, controls={"plain": "plain"})
    (found,) = numbers(board_of(tmp_path, mixed, plain=PLAIN), "mixed").comparisons
    assert found.p_over_items_holm < 0.05
    assert found.seeds_fewer == 1
    assert not found.beats


def test_p_values_are_adjusted_over_the_rows_that_are_held_against_the_same_control(tmp_path):
    plain = {0: (20, 0)}
    alike = [entry(tmp_path, f"m{lost}", {0: (lost, 0)}, controls={"plain": "plain"}) for lost in (14, 13, 0)]
    board = board_of(tmp_path, *alike, plain=plain)
    raw = [2 * HALF**6, 2 * HALF**7, 2 * HALF**20]
    adjusted = [max(2 * raw[1], raw[0]), 2 * raw[1], 3 * raw[2]]
    found = [numbers(board, each.name).comparisons[0] for each in alike]
    assert [each.p_over_items for each in found] == [pytest.approx(p) for p in raw]
    assert [each.p_over_items_holm for each in found] == [pytest.approx(p) for p in adjusted]


def test_a_method_has_a_use_of_the_old_model_only_where_it_beats_every_control_without_it(tmp_path):
    twins = {"strong": {0: (11, 20)}, "weak": {0: (35, 20)}}
    rows = [entry(tmp_path, name, flips, role="control") for name, flips in twins.items()]
    methods = [
        entry(
            tmp_path, f"against {name}", {0: (10, 20)}, controls={"plain": "plain", "twin_as_old": name}, uses_old=True
        )
        for name in twins
    ]
    unknown = entry(tmp_path, "no twin", {0: (10, 20)}, controls={"plain": "plain"}, uses_old=True)
    board = board_of(tmp_path, *rows, *methods, unknown, plain={0: (40, 20)})
    assert numbers(board, "against strong").uses_old_model is False
    assert numbers(board, "against weak").uses_old_model is True
    assert numbers(board, "no twin").uses_old_model is None
    assert numbers(board, "plain").uses_old_model is None


def test_a_row_that_lacks_a_seed_is_named_and_never_chosen(tmp_path):
    partial = entry(tmp_path, "partial", {0: (0, 20)}, failed={1: "out of memory"}, controls={"plain": "plain"})
    board = board_of(tmp_path, partial, entry(tmp_path, "better", BETTER), plain=PLAIN)
    assert board.tasks[0].chosen == "better"
    assert "Not complete: partial." in board.notes
    assert "partial: seed 1: out of memory" in shown(board)
    assert numbers(board, "partial").comparisons[0].seeds == [0]


def test_the_chosen_row_has_the_fewest_flips_among_those_as_accurate_as_the_plain_update(tmp_path):
    fewest = entry(tmp_path, "fewest", {0: (0, 0), 1: (0, 0)})
    less_accurate = entry(tmp_path, "less accurate", {0: (5, 0), 1: (5, 0)})
    plain = {0: (5, 10), 1: (5, 10)}
    taken = entry(tmp_path, "taken", {0: (4, 9), 1: (4, 9)})
    other = entry(tmp_path, "other", {0: (4, 10), 1: (5, 10)})
    probe = entry(tmp_path, "probe", {0: (1, 50), 1: (1, 50)}, role="probe")
    board = board_of(tmp_path, fewest, less_accurate, taken, other, probe, plain=plain)
    assert board.tasks[0].chosen == "taken"
    assert board_of(tmp_path, less_accurate, plain=plain).tasks[0].chosen is None


def test_the_choice_is_made_once_more_on_half_of_the_items_and_measured_on_the_others(tmp_path):
    board = board_of(tmp_path, entry(tmp_path, "better", BETTER), plain=PLAIN)
    half = board.tasks[0].held_out
    assert half.row == "better" and half.chosen_on + half.n == NUM
    # The first lost items are the old version's first right ones: count those that are in the other half.
    right = [number for number in range(NUM) if number % 4]
    expected = {
        name: sum(not in_first_half(f"q{number}") for lost in flips for number in right[:lost]) / (2 * half.n)
        for name, flips in {"better": (10, 12), "plain": (40, 50)}.items()
    }
    assert half.negative_flip_rate == pytest.approx(expected["better"])
    assert half.plain_negative_flip_rate == pytest.approx(expected["plain"])
    assert f"Chosen on {half.chosen_on} of them alone, better breaks" in " ".join(shown(board).split())


ADVICE = {
    "align": ({0: (40, 60)}, {0: (10, 40)}, "Align with m: it breaks 2.5% of the answers in place of 10.0%"),
    "retrain": ({0: (40, 60)}, {0: (39, 60)}, "Retrain plainly: 80.0% after 75.0%"),
    "freeze": ({0: (40, 0)}, {0: (10, 0)}, "Keep the old version: of what was trained nothing is as good"),
}


@pytest.mark.parametrize("action", ADVICE)
def test_advice_says_what_to_do_with_its_price(tmp_path, action):
    plain, method, sentence = ADVICE[action]
    row = entry(tmp_path, "m", method, controls={"plain": "plain"}, seconds={0: 120.0})
    advice = board_of(tmp_path, row, plain=plain).tasks[0].advice
    assert advice.action == action
    assert advice.sentences[0].startswith(sentence)
    assert "The price:" in advice.sentences[0]
    assert "One seed was trained" in advice.sentences[-1]


def test_advice_is_to_retrain_as_a_control_that_does_as_well_as_any_method(tmp_path):
    control = entry(tmp_path, "longer", {0: (5, 40)}, role="control", eligible=True, controls={"plain": "plain"})
    method = entry(tmp_path, "m", {0: (10, 40)}, controls={"plain": "plain", "longer": "longer"}, uses_old=True)
    advice = board_of(tmp_path, control, method, plain={0: (40, 60)}).tasks[0].advice
    assert (advice.action, advice.row) == ("retrain", "longer")


def test_advice_is_for_a_row_as_good_as_the_old_version_though_another_breaks_fewer(tmp_path):
    cautious = entry(tmp_path, "cautious", {0: (5, 3)}, controls={"plain": "plain"})
    balanced = entry(tmp_path, "balanced", {0: (10, 30)}, controls={"plain": "plain"})
    task = board_of(tmp_path, cautious, balanced, plain={0: (40, 20)}).tasks[0]
    assert (task.chosen, task.advice.action, task.advice.row) == ("cautious", "align", "balanced")
    assert (
        "cautious breaks fewer still (1.2%), but with 74.5% it is not as good as the old version."
        in task.advice.sentences
    )


def test_advice_counts_what_is_gained_where_there_was_little_to_break(tmp_path):
    control = entry(tmp_path, "longer", {0: (0, 100)}, role="control", eligible=True, controls={"plain": "plain"})
    task = board_of(tmp_path, control, plain={0: (3, 0)}).tasks[0]
    held = numbers(board_of(tmp_path, control, plain={0: (3, 0)}), "longer").against("plain")
    assert held.p_over_items == pytest.approx(2 * HALF**3) and not held.beats
    assert held.gains and held.accuracy_p_over_items_holm == pytest.approx(2 * HALF**103)
    assert (task.advice.action, task.advice.row) == ("retrain", "longer")
    assert "That it has more right answers than the plain update is more than chance" in task.advice.sentences[1]


def test_accuracy_is_corrected_over_the_rows_and_asked_of_every_seed(tmp_path):
    rows = [
        entry(tmp_path, name, {0: (0, first), 1: (0, second)}, controls={"plain": "plain"})
        for name, first, second in (("more", 6, 6), ("once", 20, 0))
    ]
    board = board_of(tmp_path, *rows, plain={0: (0, 0), 1: (0, 0)})
    more, once = (numbers(board, name).against("plain") for name in ("more", "once"))
    assert more.accuracy_p_over_items_holm == pytest.approx(2 * HALF**6)
    assert once.accuracy_p_over_items_holm == pytest.approx(2 * 2 * HALF**20)
    assert (more.gains, once.gains) == (True, False)


def test_a_row_that_has_more_right_and_breaks_more_is_not_surely_better(tmp_path):
    method = entry(tmp_path, "m", {0: (10, 90)}, controls={"plain": "plain"})
    advice = board_of(tmp_path, method, plain={0: (3, 5)}).tasks[0].advice
    assert advice.sentences[0].startswith("Retrain plainly: 75.5% after 75.0%, and no row as accurate is surely better")
    assert "m has more right (95.0%), but breaks 2.5%. The price: 0.8% of" in advice.sentences[0]
    advice = board_of(tmp_path, method, plain={0: (3, 0)}).tasks[0].advice
    assert advice.action == "align" and "as good as the old version, which that one is not" in advice.sentences[1]


def test_a_row_with_much_more_right_is_named_beside_the_advised_one(tmp_path):
    fewest = entry(tmp_path, "fewest", {0: (2, 30)}, controls={"plain": "plain"})
    right = entry(tmp_path, "right", {0: (4, 90)}, controls={"plain": "plain"})
    advice = board_of(tmp_path, fewest, right, plain={0: (40, 60)}).tasks[0].advice
    assert advice.row == "fewest"
    assert "right has more right (96.5%), and breaks 1.0%." in advice.sentences


def test_advice_says_first_that_the_student_cannot_copy(tmp_path):
    probe = entry(tmp_path, "probe", {0: (40, 40)}, role="probe")
    advice = board_of(tmp_path, probe, plain={0: (40, 60)}).tasks[0].advice
    assert "it gives its answer on 80.0% of the items" in " ".join(advice.sentences)
    close = entry(tmp_path, "close", {0: (10, 10)}, role="probe")
    assert "copies badly" not in " ".join(board_of(tmp_path, close, plain={0: (40, 60)}).tasks[0].advice.sentences)


def test_both_are_served_where_no_single_model_breaks_surely_fewer(tmp_path):
    served = entry(tmp_path, "both", {0: (2, 70)}, role="served", models_served=2, controls={"plain": "plain"})
    worse = entry(tmp_path, "worse", {0: (39, 60)}, controls={"plain": "plain"})
    advice = board_of(tmp_path, served, worse, plain={0: (40, 60)}).tasks[0].advice
    assert (advice.action, advice.row) == ("serve_both", "both")
    assert "0.5% of the answers break in place of 10.0%" in advice.sentences[0]
    assert "The price: 2 models served." in advice.sentences[0]


def test_two_models_served_are_named_beside_a_method_that_breaks_more(tmp_path):
    served = entry(tmp_path, "both", {0: (2, 70)}, role="served", models_served=2, controls={"plain": "plain"})
    method = entry(tmp_path, "m", {0: (10, 60)}, controls={"plain": "plain"})
    advice = board_of(tmp_path, served, method, plain={0: (40, 60)}).tasks[0].advice
    assert (advice.action, advice.row) == ("align", "m")
    assert "Two models go further: both breaks 0.5% at 92.0%" in " ".join(advice.sentences)


def test_every_form_says_the_same(tmp_path):
    paper = Published(-3.97, -34.25, 0.54, 4.51)
    method = entry(tmp_path, "better", BETTER, controls={"plain": "plain"}, seconds={0: 3.0, 1: 5.0}, published=paper)
    board = board_of(tmp_path, method, plain=PLAIN, title="Tiny")
    write_leaderboard(board, tmp_path / "out")
    assert read_leaderboard(tmp_path / "out") == board
    table = {row["row"]: row for row in csv.DictReader(io.StringIO((tmp_path / "out/leaderboard.csv").read_text()))}
    assert float(table["better"]["negative_flip_rate"]) == pytest.approx(100 * 11 / NUM)
    assert float(table["better"]["training_seconds"]) == 4
    assert (table["better"]["chosen"], table["plain"]["chosen"], table["old"]["negative_flip_rate"]) == ("yes", "", "")
    latex = (tmp_path / "out/leaderboard.tex").read_text()
    assert "2.8 ± 0.4" in latex and "$-$34.25" in latex and r"\toprule" in latex
    assert "Align with better" in (tmp_path / "out/leaderboard.md").read_text()
    assert "better beats: plain" in shown(board)
    assert "→ better" in shown(board, width=140)


def test_every_figure_of_the_page_is_the_one_in_the_json(tmp_path):
    controls = {"plain": "plain", "twin_as_old": "twin"}
    twin = entry(tmp_path, "twin", {0: (30, 20), 1: (30, 20)}, role="control")
    paper = Published(-3.97, -34.25, 0.54, 4.51)
    method = entry(tmp_path, "better", BETTER, controls=controls, uses_old=True, seconds={0: 3.0}, published=paper)
    board = board_of(tmp_path, twin, method, plain=PLAIN)
    write_leaderboard(board, tmp_path / "out")
    page = Page((tmp_path / "out/leaderboard.html").read_text())
    written = json.loads((tmp_path / "out/leaderboard.json").read_text())
    placed = [(attributes, text) for attributes, text in page.figures if attributes.get("data-path")]
    assert len(placed) > 40
    for attributes, _ in placed:
        value = written
        for part in attributes["data-path"].removeprefix("#/").split("/"):
            value = value[int(part)] if isinstance(value, list) else value[part]
        assert float(attributes["value"]) == value
    assert "Align with better" in page.text
    assert "Right of the dashed line" in page.text
    assert page.scripts == []
    assert not [tag for tag, attributes in page.elements if attributes.get("src") or tag in ("link", "img", "iframe")]


def test_several_tasks_have_a_line_of_advice_each_that_leads_to_the_task(tmp_path):
    board = board_of(tmp_path, entry(tmp_path, "better", BETTER, controls={"plain": "plain"}), plain=PLAIN)
    page = render_leaderboard(replace(board, tasks=[*board.tasks, *board.tasks]))
    assert '<h1 id="headline">What to do, task by task</h1>' in page
    for number in (1, 2):
        assert f'<p class="tests"><a href="#task-{number}"><bdi>trivia</bdi></a>: <bdi>Align with better' in page
    assert '<h1 id="headline" class="long"><bdi>Align with better' in render_leaderboard(board)


def test_the_page_tells_the_test_of_accuracy_too(tmp_path):
    board = board_of(tmp_path, entry(tmp_path, "more", {0: (0, 100)}, controls={"plain": "plain"}), plain={0: (3, 0)})
    page = Page(render_leaderboard(board))
    told = {attributes["data-path"].rpartition("/")[2]: text for attributes, text in page.figures}
    assert told["accuracy_difference"] == "+25.8"
    assert told["accuracy_p_over_items_holm"] == "2.0e-31"


def test_a_task_with_a_score_has_mean_gain_and_regression(tmp_path):
    board = scored_board(tmp_path, plain={0.4: 6, 0.7: 4}, method={0.45: 2, 0.6: 8})
    plain, method = (board.row(name).tasks["sums"].by_seed[0] for name in ("plain", "m"))
    assert (plain.negative_flip_rate, plain.positive_flip_rate) == (0.6, 0.4)
    assert (plain.mean_gain, plain.mean_regression) == (pytest.approx(0.2), pytest.approx(0.1))
    assert (method.mean_gain, method.mean_regression) == (pytest.approx(0.1), pytest.approx(0.05))
    assert method.accuracy == pytest.approx((2 * 0.45 + 8 * 0.6) / 10)
    assert method.accuracy_change == pytest.approx((2 * 0.05 + 4 * 0.2 - 4 * 0.1) / 10)
    (found,) = board.row("m").tasks["sums"].comparisons
    assert (found.negative_flips, found.their_negative_flips) == (2, 6)
    assert found.p_over_items == pytest.approx(2 * HALF**4)
    assert found.accuracy_p_over_items is None
    assert board.tasks[0].kind == "continuous"
    text = shown(board, width=140)
    assert "m_g" in text and "NFR_mc" not in text
    write_leaderboard(board, tmp_path / "out")
    assert "mean score" in Page((tmp_path / "out/leaderboard.html").read_text()).text


def test_hostile_names_are_shown_and_never_act(tmp_path):
    board = hostile_board(tmp_path, HOSTILE)
    write_leaderboard(board, tmp_path / "out")
    text = (tmp_path / "out/leaderboard.html").read_text()
    page = Page(text)
    assert page.scripts == [] and "<img" not in text
    assert not [attributes for _, attributes in page.elements if any(name.startswith("on") for name in attributes)]
    assert "\u202e" not in text and "\x1b" not in text and "\x00" not in text
    assert "{{7*7}}" in page.text and "49" not in page.text.partition("{{7*7}}")[2][:3]
    for form in ("md", "tex", "csv"):
        written = (tmp_path / f"out/leaderboard.{form}").read_text()
        assert "\n<img" not in written and "\n</script>" not in written, form
    assert "<img" not in (tmp_path / "out/leaderboard.md").read_text()
    console = shown(board)
    assert "\x1b" not in console and "\u202e" not in console
    assert read_leaderboard(tmp_path / "out") == board


def test_a_formula_in_a_name_is_text_in_a_spreadsheet(tmp_path):
    write_leaderboard(hostile_board(tmp_path, "=HYPERLINK(1)"), tmp_path / "out")
    cells = [cell for row in csv.reader(io.StringIO((tmp_path / "out/leaderboard.csv").read_text())) for cell in row]
    assert "'=HYPERLINK(1)" in cells and "=HYPERLINK(1)" not in cells


def test_nothing_scored_yet_is_said_in_a_line(tmp_path):
    from muscle.leaderboard.build import build_leaderboard
    from muscle.leaderboard.entries import Group

    nothing = Entry("old", "old", "in use", "g", {})
    with pytest.raises(DataError, match="run it first"):
        build_leaderboard([Group("g", {}, {})], [nothing], old="v1", new="v2")


def test_a_damaged_leaderboard_is_refused(tmp_path):
    board = board_of(tmp_path, plain={0: (4, 4)})
    write_leaderboard(board, tmp_path / "out")
    path = tmp_path / "out/leaderboard.json"
    whole = json.loads(path.read_text())
    path.write_text(json.dumps({**whole, "format": "muscle-report/1"}))
    with pytest.raises(DataError, match="expected a leaderboard of muscle"):
        read_leaderboard(tmp_path / "out")
    path.write_text(json.dumps({**whole, "rows": [{"name": 3}]}))
    with pytest.raises(DataError, match="rows"):
        read_leaderboard(path)


def test_a_mean_over_no_seeds_is_none_and_over_one_has_no_spread():
    assert spread([]) is None
    assert spread([2.0]).sd is None
