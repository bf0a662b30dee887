import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pad_sequence

from muscle.errors import DataError
from muscle.training.options.teachers import (
    HIGHEST,
    LOWEST,
    calibrated_temperature,
    teaching_temperature,
    typical_margin,
)

VALUES = torch.tensor([[3.0, 0.0, -1.0], [1.0, 2.0, -torch.inf], [-5.0, -9.0, -4.0]])


def cross_entropy(values, gold, temperature):
    terms = [-(each / temperature).double().log_softmax(-1)[right] for each, right in zip(values, gold, strict=True)]
    return float(sum(terms) / len(terms))


@pytest.mark.parametrize(("right", "total"), [(3, 4), (9, 10), (51, 100)])
def test_a_teacher_that_is_always_as_sure_is_made_as_sure_as_it_is_right(right, total):
    gold = [0] * right + [1] * (total - right)
    found = calibrated_temperature(torch.tensor([[0.6, 0.0]] * total), torch.tensor(gold))
    assert found == pytest.approx(0.6 / math.log(right / (total - right)), rel=1e-4)


def test_a_calibrated_teacher_stays_as_it_is_and_a_sharpened_one_comes_back():
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(4000, 5, generator=generator)
    gold = torch.multinomial(logits.softmax(-1), 1, generator=generator).flatten()
    assert calibrated_temperature(logits, gold) == pytest.approx(1, abs=0.05)
    sharpened = calibrated_temperature(3 * logits, gold)
    assert sharpened == pytest.approx(3 * calibrated_temperature(logits, gold), rel=1e-4)


@settings(max_examples=50, deadline=None)
@given(
    items=st.lists(st.lists(st.floats(-30, 0, width=32), min_size=2, max_size=5), min_size=1, max_size=6),
    data=st.data(),
)
def test_no_other_temperature_is_better(items, data):
    values = [torch.tensor(item) for item in items]
    gold = [data.draw(st.integers(0, len(item) - 1)) for item in items]
    found = calibrated_temperature(pad_sequence(values, batch_first=True, padding_value=-torch.inf), torch.tensor(gold))
    assert LOWEST <= found <= HIGHEST
    best = cross_entropy(values, gold, found)
    for other in (LOWEST, 0.3, 1.0, 2.0, HIGHEST):
        assert best <= cross_entropy(values, gold, other) + 1e-5


def test_a_teacher_that_is_right_on_every_item_gets_the_lowest():
    assert calibrated_temperature(torch.tensor([[1.0, 0.0]] * 3), torch.tensor([0, 0, 0])) == pytest.approx(
        LOWEST, rel=1e-3
    )


@pytest.mark.parametrize(
    ("values", "gold", "message"),
    [
        (VALUES[:0], [], "at least one labelled item"),
        (VALUES, [0], "3 items with 1 labels"),
        (VALUES, [0, 2, 0], "item 1: expected likelihoods and option 2"),
        (VALUES, [0, 1, 4], "item 2: expected likelihoods and option 4"),
        (VALUES, [-1, 1, 0], "item 0: expected likelihoods and option -1"),
        (torch.tensor([[0.0, math.nan]]), [0], "item 0: expected likelihoods"),
    ],
)
def test_what_tells_nothing_is_refused(values, gold, message):
    with pytest.raises(DataError, match=message):
        calibrated_temperature(values, torch.tensor(gold, dtype=torch.long))


def test_a_teacher_whose_scores_tell_nothing_still_says_which_option_it_takes():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(400, 2, generator=generator)
    gold = torch.randint(0, 2, (400,), generator=generator)
    assert calibrated_temperature(scores, gold) > 5
    found = teaching_temperature(scores, gold)
    assert found == pytest.approx(typical_margin(scores)) == pytest.approx(math.sqrt(2), rel=0.1)
    assert typical_margin(scores / found) == pytest.approx(1)


def test_a_teacher_whose_scores_tell_how_often_it_is_right_teaches_calibrated():
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(400, 5, generator=generator)
    gold = torch.multinomial(logits.softmax(-1), 1, generator=generator).flatten()
    assert teaching_temperature(3 * logits, gold) == calibrated_temperature(3 * logits, gold)


def test_items_of_one_option_have_no_margin():
    assert typical_margin(torch.tensor([[1.0, -torch.inf], [3.0, 1.0]])) == 2
    assert typical_margin(torch.tensor([[1.0, -torch.inf]])) == typical_margin(torch.tensor([[1.0]])) == math.inf
    assert teaching_temperature(torch.tensor([[1.0, 1.0]] * 2), torch.tensor([0, 1])) == LOWEST
