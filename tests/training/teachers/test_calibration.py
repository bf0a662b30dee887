import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from muscle.errors import DataError
from muscle.tasks import Example
from muscle.training.teachers.calibration import (
    HIGHEST,
    LOWEST,
    calibrate,
    calibrated_temperature,
    kept_calibration,
)
from muscle.training.teachers.rows import OptionRows
from muscle.training.teachers.write_store import build_store

VALUES = [torch.tensor([3.0, 0.0, -1.0]), torch.tensor([1.0, 2.0]), torch.tensor([-5.0, -9.0, -7.0, -4.0])]
GOLD = [0, 0, 3]


def cross_entropy(values, gold, temperature):
    terms = [-(each / temperature).double().log_softmax(-1)[right] for each, right in zip(values, gold, strict=True)]
    return float(sum(terms) / len(terms))


def store(path, values):
    def make(indices):
        chosen = [values[index] for index in indices]
        counts = torch.ones(sum(map(len, chosen)), dtype=torch.long)
        return OptionRows(torch.cat(chosen), counts)

    return build_store(
        path,
        make,
        kind="options",
        identity={},
        num_tokens=[len(each) for each in values],
        width=0,
        dtype=torch.float32,
    )


def examples(gold):
    choices = ("a", "b", "c", "d")
    return [
        Example(id=str(number), context="x", reference=("a",), target=" a", choices=choices, gold=right)
        for number, right in enumerate(gold)
    ]


@pytest.mark.parametrize(("right", "total"), [(3, 4), (9, 10), (51, 100)])
def test_a_teacher_that_is_always_as_sure_is_made_as_sure_as_it_is_right(right, total):
    gold = [0] * right + [1] * (total - right)
    found = calibrated_temperature([torch.tensor([0.6, 0.0])] * total, gold)
    assert found == pytest.approx(0.6 / math.log(right / (total - right)), rel=1e-4)


def test_a_calibrated_teacher_stays_as_it_is_and_a_sharpened_one_comes_back():
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(4000, 5, generator=generator)
    gold = torch.multinomial(logits.softmax(-1), 1, generator=generator).flatten().tolist()
    assert calibrated_temperature(list(logits), gold) == pytest.approx(1, abs=0.05)
    sharpened = calibrated_temperature(list(3 * logits), gold)
    assert sharpened == pytest.approx(3 * calibrated_temperature(list(logits), gold), rel=1e-4)


@settings(max_examples=50, deadline=None)
@given(
    items=st.lists(st.lists(st.floats(-30, 0, width=32), min_size=2, max_size=5), min_size=1, max_size=6),
    data=st.data(),
)
def test_no_other_temperature_is_better(items, data):
    values = [torch.tensor(item) for item in items]
    gold = [data.draw(st.integers(0, len(item) - 1)) for item in items]
    found = calibrated_temperature(values, gold)
    assert LOWEST <= found <= HIGHEST
    best = cross_entropy(values, gold, found)
    for other in (LOWEST, 0.3, 1.0, 2.0, HIGHEST):
        assert best <= cross_entropy(values, gold, other) + 1e-5


def test_a_teacher_that_is_right_on_every_item_gets_the_lowest():
    assert calibrated_temperature([torch.tensor([1.0, 0.0])] * 3, [0, 0, 0]) == pytest.approx(LOWEST, rel=1e-3)


@pytest.mark.parametrize(
    ("values", "gold", "message"),
    [
        ([], [], "at least one labelled item"),
        (VALUES, [0], "3 items with 1 labels"),
        (VALUES, [0, 2, 0], "item 1: expected finite likelihoods and option 2"),
        ([torch.tensor([0.0, -torch.inf])], [0], "item 0: expected finite"),
    ],
)
def test_what_tells_nothing_is_refused(values, gold, message):
    with pytest.raises(DataError, match=message):
        calibrated_temperature(values, gold)


def test_the_temperature_is_kept_beside_the_store(tmp_path):
    opened = store(tmp_path / "s", VALUES)
    assert kept_calibration(opened) is None
    found = calibrate(opened, examples(GOLD))
    assert found.temperature == calibrated_temperature(VALUES, GOLD)
    assert found.cross_entropy == pytest.approx(cross_entropy(VALUES, GOLD, found.temperature))
    assert found.cross_entropy_before == pytest.approx(cross_entropy(VALUES, GOLD, 1.0))
    assert kept_calibration(store(tmp_path / "s", VALUES)) == found


def test_items_without_a_label_are_left_out(tmp_path):
    opened = store(tmp_path / "s", VALUES)
    half = [dataclasses.replace(examples(GOLD)[0], gold=None), *examples(GOLD)[1:]]
    found = calibrate(opened, half)
    assert found.num_items == 2 and found.temperature == calibrated_temperature(VALUES[1:], GOLD[1:])
    with pytest.raises(DataError, match="at least one labelled item"):
        calibrate(opened, [dataclasses.replace(each, gold=None) for each in half])


def test_the_store_of_other_examples_is_refused(tmp_path):
    with pytest.raises(DataError, match="expected likelihoods of the options of 2 examples, found options of 3"):
        calibrate(store(tmp_path / "s", VALUES), examples(GOLD[:2]))


def test_a_damaged_calibration_is_refused(tmp_path):
    opened = store(tmp_path / "s", VALUES)
    (tmp_path / "s" / "calibration.json").write_text('{"temperature": 2.0}')
    with pytest.raises(DataError, match="damaged"):
        kept_calibration(opened)
