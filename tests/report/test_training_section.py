"""The report says what was trained: on the page with its curves, in Markdown and the terminal in a line."""

import json
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from helpers.page_text import Page
from helpers.report_examples import make_report, typed
from muscle import Report
from muscle.flips.trained import Curve, Method, Outcome, TrainedAdapter
from muscle.report.page.html import render_html
from muscle.report.page.training.cards import training_cards
from muscle.report.text.markdown import render_markdown
from muscle.report.text.terminal import print_report

OUTCOME = Outcome(1920, 0, 480, 24, 16, 14, 480, True, 2e-3, 0)
EQ_1 = TrainedAdapter(
    "compat",
    "align",
    "LORA",
    16,
    32.0,
    Method("tokens", "mask", temperature=1.0, mask="student_wrong", ce_weight=0.25, start="new", engine="projected"),
    OUTCOME,
    [
        Curve("validation_loss", [float(n) for n in range(1, 17)], [0.0012345 + 1 / n for n in range(1, 17)]),
        Curve("loss", [0.5, 1.0, 16.0], [0.9, 0.5, 0.1]),
        Curve("masked_share", [0.5, 1.0, 16.0], [0.31, 0.2, 0.125]),
        Curve("validation_masked_share", [1.0, 2.0], [0.2, 0.125]),
    ],
)
GIVEN = TrainedAdapter("old", None, "LORA", 8, None)


def with_training(*adapters, **shape):
    return replace(typed(make_report(**shape)), training={"house": list(adapters)})


def terminal(report):
    console = Console(file=StringIO(), width=160)
    print_report(report, console)
    return console.file.getvalue()


def test_the_candidates_training_is_said_in_terminal_and_markdown():
    report = with_training(GIVEN, EQ_1)
    for text in (" ".join(terminal(report).split()), render_markdown(report).replace("\\", "")):
        assert "Eq. 1 on tokens, mask student_wrong, T = 1, lambda = 0.75, from the new adapter" in text
        assert "LORA r = 16, alpha = 32; 1,920 labelled; epoch 14 of 16 kept (at most 24), converged" in text
        assert "tokens that lean on the old model 31.0% to 12.5%" in text
    assert "old adapter: given; LORA r = 8" in render_markdown(report).replace("\\", "")


def test_the_page_draws_the_curves_and_gives_every_figure():
    report = with_training(GIVEN, EQ_1)
    page = Page(render_html(report))
    paths = {attributes.get("data-path"): text for attributes, text in page.figures}
    assert paths["#/training/house/1/outcome/best_epoch"] == "14"
    assert paths["#/training/house/1/outcome/num_steps"] == "480"
    lines = [attributes["points"] for tag, attributes in page.elements if tag == "polyline"]
    # A small one in the table, then loss and masked share, each of batches and of validation data.
    assert [len(points.split()) for points in lines] == [16, 3, 16, 3, 2]
    first, *_, last = lines[3].split()
    # 0.31 and 0.125 on an axis from 0 to 0.4; epochs 0.5 and 16 on one from 0 to 20: of a square of 1000.
    assert (first, last) == ("25.00,225.00", "800.00,687.50")


def test_a_mask_over_whole_options_is_told_of_items():
    method = Method("options", "mask", temperature=1.0, mask="student_wrong", ce_weight=0.25, start="new")
    report = with_training(replace(EQ_1, method=method))
    text = render_markdown(report).replace("\\", "")
    assert "Eq. 1 on options, mask student_wrong, T = 1, lambda = 0.75, from the new adapter" in text
    assert "items that lean on the old model 31.0% to 12.5%" in text
    page = render_html(report)
    assert "Items that lean on the old model" in page
    assert "share of the items (Fig. 3 of the paper)" in page
    assert "Tokens that lean" in render_html(with_training(EQ_1))


def test_a_method_at_option_level_shows_its_agreement_and_calibration():
    method = Method(
        "options", "mixture", temperature=1.0, ce_weight=0.0, old_share=0.5, kl="forward", labels_first=True,
        calibration={"old": 1.25, "new": 0.5},
    )  # fmt: skip
    curves = [Curve("validation_loss", [1.0], [0.1]), Curve("agreement", [1.0, 2.0], [0.9, 0.95])]
    outcome = replace(OUTCOME, num_unlabelled=5000, converged=False)
    report = with_training(replace(EQ_1, method=method, outcome=outcome, curves=curves))
    text = render_markdown(report).replace("\\", "")
    assert "options, target mixture, old share 0.5, T = 1, lambda = 1, forward KL, labels first" in text
    assert "teachers' temperatures old 1.25, new 0.5" in text
    assert "1,920 labelled and 5,000 unlabelled; epoch 14 of 16 kept (at most 24), the validation loss was" in text
    assert "agreement with the target 95.0% in the kept epoch" in text
    assert "Agreement with the target" in render_html(report)


def test_values_before_training_are_told_as_such_and_the_kept_epoch_s_are_its_own():
    curves = [
        Curve("validation_loss", [0.0, 1.0, 2.0], [0.41, 0.32, 0.37]),
        Curve("agreement", [0.0, 1.0, 2.0], [0.92, 0.9, 0.89]),
    ]
    told = replace(EQ_1, outcome=replace(OUTCOME, best_epoch=1, num_epochs=2), curves=curves)
    report = with_training(told)
    text = render_markdown(report).replace("\\", "")
    assert "agreement with the target 90.0% in the kept epoch, 92.0% before training" in text
    (card,) = training_cards(report)
    assert "0.32" in str(card.table.rows[-1].cells[1])


@pytest.mark.parametrize(
    ("method", "unit"),
    [
        (Method("options", "mixture", temperature=1.0), "nats"),
        (Method("options", "focal", temperature=100.0), "nats"),
        (Method("options", "focal"), "distance of logits"),
        (Method("options", "inhibition"), "distance of logits"),
    ],
)
def test_a_loss_is_drawn_in_its_own_unit(method, unit):
    flat = [Curve("loss", [0.5, 1.0, 2.0], [0.9, 0.5, 0.1]), Curve("validation_loss", [1.0, 2.0], [0.3, 0.29])]
    (card,) = training_cards(with_training(replace(EQ_1, method=method, curves=flat)))
    assert [plot.title.partition(":")[0] for plot in card.plots] == ["Loss", "Validation loss"]
    assert {plot.y_name for plot in card.plots} == {unit}


def test_nothing_is_said_where_runs_alone_were_compared():
    report = typed(make_report())
    assert "training" not in report.to_json()
    assert 'id="training"' not in render_html(report)
    assert "What was trained" not in render_markdown(report)


def test_the_training_is_read_back_whole():
    report = with_training(GIVEN, EQ_1)
    assert Report.from_json(json.loads(json.dumps(report.to_json()))) == report


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", "](javascript:x) **a** `b`", "\u202etxt\u001b[31m"])
def test_hostile_names_are_text_and_nothing_else(hostile):
    method = replace(EQ_1.method, mask=hostile)
    report = with_training(replace(GIVEN, kind=hostile), replace(EQ_1, run=hostile, method=method))
    page = render_html(report)
    assert "<script>alert" not in page and "\u001b" not in page and "\u202e" not in page
    markdown = render_markdown(report)
    assert "<script>" not in markdown and "](javascript" not in markdown and "\u001b" not in markdown
    assert "\u001b" not in terminal(with_training(replace(EQ_1, method=method)))


def test_a_curve_that_does_not_move_is_drawn_too():
    flat = [Curve("validation_loss", [1.0], [0.0]), Curve("loss", [1.0, 2.0], [0.0, 0.0])]
    assert "polyline" in render_html(with_training(replace(EQ_1, curves=flat)))


def test_losses_that_hardly_differ_are_written_apart_and_have_an_axis_of_their_own():
    falling = [3.50441, 3.50422, 3.50417]
    curves = [
        Curve("validation_loss", [1.0, 2.0, 3.0], falling),
        Curve("loss", [0.1, 3.0], [9.5, 3.4]),
    ]
    page = render_html(with_training(replace(EQ_1, outcome=replace(OUTCOME, best_epoch=3), curves=curves)))
    shown = Page(page)
    assert any(text == "3.50417" for _, text in shown.figures)
    for epoch, value in zip((1, 2, 3), falling, strict=True):
        assert f"validation, epoch {epoch}: {value}<" in page
    assert "Validation loss: compatibility adapter" in page
    # On the plot of its own, which comes last, the curve fills most of the height; beside the batches' it is a line.
    heights = [
        [float(pair.split(",")[1]) for pair in attributes["points"].split()]
        for tag, attributes in shown.elements
        if tag == "polyline"
    ]
    beside, alone = heights[2], heights[3]
    assert max(beside) - min(beside) < 1 and max(alone) - min(alone) > 500


def test_a_validation_loss_that_can_be_seen_beside_the_batches_is_not_drawn_twice():
    assert "Validation loss: compatibility adapter" not in render_html(with_training(EQ_1))
