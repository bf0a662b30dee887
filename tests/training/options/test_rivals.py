"""Published methods the whole way on the tiny pair, and the laws that hold for what they train."""

import json
from dataclasses import replace

import pytest
import torch

from muscle.config.alignment import AlignmentSettings
from muscle.errors import ModelError
from muscle.models.adapters import load_adapter
from muscle.training.options.data import OptionData
from muscle.training.options.distances import symmetric
from muscle.training.options.twins import Halves, bootstrapped
from muscle.training.start import Start
from tiny.pair import LORA, SETTINGS, aligned, fine_tuned, tiny_base, tiny_pair, weights

IDS = torch.tensor([[3, 4, 5, 6, 7]])


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    pair = tiny_pair(tmp_path_factory.mktemp("rivals"))
    fine_tuned(pair, pair.bases["new"], pair.root / "adapter-twin", seed=7)
    return pair


@pytest.mark.parametrize(
    "method",
    [
        {"method": "churn"},
        {"method": "pct"},
        {"method": "pct", "focal": {"distance": "logits"}, "ce_weight": 0.7},
        {"method": "ldi"},
        {"method": "elodi", "teachers": ["twin"]},
        {"method": "elodi", "teachers": ["twin"], "old_share": 0.3, "inhibition": {"top": 1}},
        {"method": "options", "labels_first": False, "teachers": ["twin"], "old_share": 0.0},
        {"method": "mpt"},
        {"method": "mpt", "focal": {"distance": "logits"}, "teachers": ["twin"], "labels_first": True},
        {"method": "relabel"},
        {"method": "relabel", "keep_labels": True, "start": "fresh"},
        {"method": "options", "target": "reliability", "sharpness": 4.0},
    ],
    ids=lambda method: "-".join(map(str, method.values())).replace(" ", ""),
)
def test_every_method_trains_on_labelled_and_unlabelled_items_and_says_what_it_did(world, tmp_path, method):
    teachers = [str(world[0] / f"adapter-{name}") for name in method.get("teachers", ())]
    result, written = aligned(world, tmp_path / "c", further=world[4], **{**method, "teachers": teachers or None})
    elsewhere = ("teachers", "labels_first", "focal", "inhibition")
    said = {key: value for key, value in method.items() if key not in elsewhere}
    assert {**written, **said} == written
    for key in ("focal", "inhibition"):
        assert method.get(key, {}).items() <= written.get(key, {}).items()
    assert written.get("num_teachers", 0) == len(teachers)
    assert len(written["temperatures"].get("teachers", [])) == len(teachers)
    assert result.num_epochs == 2
    assert written["num_unlabelled"] == 40
    assert all(0 <= share <= 1 for share in written["validation"]["agreement"])
    load_adapter(world[3]["new"], tmp_path / "c")
    start = weights(world[0] / "adapter-new")
    assert any(not torch.equal(value, start[name]) for name, value in weights(tmp_path / "c").items())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c"]


def test_the_margin_of_both_teachers_is_kept_on_labelled_items(world, tmp_path):
    numbers = {"unit": "options", "target": "margin", "temperature": 1.0, "margin_of": "higher"}
    result, written = aligned(world, tmp_path / "c", **numbers)
    assert written["margin_of"] == "higher"
    assert set(written["temperatures"]) == {"old", "new"}
    assert result.log[0]["hinge"] >= 0


@pytest.mark.parametrize("method", ["pct", "ldi"])
def test_where_the_old_model_is_the_student_nothing_is_learnt(world, tmp_path, method):
    root, _, _, bases, _ = world
    own = (bases["new"], root / "adapter-new")
    numbers = {"pct": {"temperature": 1.0}, "ldi": {"inhibition": {"xi": 0.0}}}[method]
    settings = SETTINGS.model_copy(update={"epochs": 1, "learning_rate": 1e-9})
    numbers = {"settings": settings, "old": own, "ce_weight": 0.0, **numbers}
    result, written = aligned(world, tmp_path / "c", method=method, **numbers)
    # But for the teacher's calibration, which is the only thing that it does not say itself.
    calibrated = abs(1 - written["temperatures"]["old"])
    assert (result.log[0]["loss"] < 1e-6) == (calibrated < 1e-3)
    assert written["validation"]["agreement"] == [1.0]


def test_cross_entropy_and_the_old_teacher_alone_train_on_tokens_too(world, tmp_path):
    settings = SETTINGS.model_copy(update={"epochs": 1, "learning_rate": 1e-12})
    result, _ = aligned(world, tmp_path / "c", settings=settings, mask="old_always", ce_weight=0.3, temperature=1.0)
    line = result.log[0]
    assert line["masked_share"] == 1.0
    assert line["loss"] == pytest.approx(0.7 * line["kl_old"] + 0.3 * line["cross_entropy"], rel=1e-5)


# Twins


def test_each_twin_has_a_bootstrap_of_its_own(world):
    _, task, split, _, further = world
    drawn = bootstrapped(OptionData(task, split.train, split.validation), seed=3)
    count = len(split.train)
    first, second = ([example.id for example in part] for part in (drawn.train[:count], drawn.train[count:]))
    assert len(drawn.train) == 2 * count
    assert first != second
    # A bootstrap holds about 1 - 1/e of the items.
    assert all(0.45 < len(set(ids)) / count < 0.8 for ids in (first, second))
    assert drawn.validation == split.validation
    again = bootstrapped(OptionData(task, split.train, split.validation), seed=3)
    assert [example.id for example in again.train] == first + second
    assert not further[0].reference


def test_a_half_alone_is_the_adapter_that_it_began_as(world):
    root, _, _, bases, _ = world
    adapters = {name: root / f"adapter-{name}" for name in ("old", "new")}
    model = Start(bases["new"], adapters, AlignmentSettings(method="twins"), LORA, 0).twins()
    expected = load_adapter(bases["new"], root / "adapter-new", trainable=True)(input_ids=IDS).logits
    halves = Halves(model)
    with torch.no_grad():
        for value in (value for name, value in model.named_parameters() if "lora_B" in name):
            value[:, 4:] += 0.05
    with halves.only(0):
        torch.testing.assert_close(model(input_ids=IDS).logits, expected, rtol=0, atol=1e-5)
    with halves.only(1):
        changed = model(input_ids=IDS).logits
        assert (changed - expected).abs().max() > 1e-3
        changed.square().sum().backward()
    for name, value in model.named_parameters():
        if "lora_B" in name:
            assert (value.grad[:, :4] == 0).all()
            assert (value.grad[:, 4:] != 0).any()
    halves.remove()


@pytest.mark.parametrize("agreement", [0.0, 3.0])
def test_twins_learn_their_own_draws_and_agree_on_both(world, tmp_path, agreement, monkeypatch):
    read = []

    def kept(first, second):
        read.append((first.detach(), second.detach()))
        return symmetric(first, second)

    monkeypatch.setattr("muscle.training.options.twins.symmetric", kept)
    result, written = aligned(world, tmp_path / "c", method="twins", twins={"agreement": agreement}, start="fresh")
    lines = [line for line in result.log if "twins_apart" in line]
    assert len(lines) == len(read) == result.num_steps
    for line, (first, second) in zip(lines, read, strict=True):
        assert line["twins_apart"] == pytest.approx(symmetric(first, second).mean().item(), rel=1e-4, abs=1e-9)
        assert line["loss"] == pytest.approx(line["cross_entropy"] + agreement / 2 * line["twins_apart"], rel=1e-4)
    assert lines[-1]["twins_apart"] > 0
    assert written["twins"] == {"agreement": agreement}
    count = len(world[2].train)
    assert (written["num_labelled"], written["items_seen"], written["control_epochs"]) == (count, 4 * count, 4)
    assert all(value.shape[0] == 8 for name, value in weights(tmp_path / "c").items() if "lora_A" in name)


def test_each_draw_teaches_its_own_twin(world, tmp_path, monkeypatch):
    # With one twin's draws alone in the batches and no agreement, the other twin stays as it began.
    def of_the_first(data, seed):
        drawn = bootstrapped(data, seed)
        half = drawn.train[: len(drawn.train) // 2]
        return replace(drawn, train=[*half, half[0]])

    monkeypatch.setattr("muscle.training.options.align.bootstrapped", of_the_first)
    monkeypatch.setattr("muscle.training.options.twins.of_first_twin", lambda index, count: index >= 0)
    settings = SETTINGS.model_copy(update={"epochs": 1})
    aligned(world, tmp_path / "c", settings=settings, method="twins", twins={"agreement": 0.0})
    start = weights(world[0] / "adapter-new")
    found = weights(tmp_path / "c")
    for name, value in found.items():
        second = value[4:] if "lora_A" in name else value[:, 4:]
        assert torch.equal(second, start[name])
    assert any(not torch.equal(value[:, :4], start[name]) for name, value in found.items() if "lora_B" in name)


def test_agreement_brings_twins_together(world, tmp_path):
    apart = []
    settings = SETTINGS.model_copy(update={"epochs": 6, "learning_rate": 1e-2})
    for agreement in (0.0, 30.0):
        result, _ = aligned(
            world, tmp_path / f"c{agreement}", settings=settings, method="twins", twins={"agreement": agreement}
        )
        apart.append([line["twins_apart"] for line in result.log if "twins_apart" in line][-1])
    assert apart[1] < apart[0] / 2


def test_what_is_served_and_validated_is_the_mean_of_the_twins_weights(world, tmp_path):
    result, written = aligned(world, tmp_path / "c", method="twins")
    served = load_adapter(world[3]["new"], tmp_path / "c")
    lines = [line for line in result.log if "eval_loss" in line]
    assert all("eval_twins_apart" not in line for line in lines)
    assert written["validation"]["cross_entropy"] == pytest.approx(result.validation_losses, rel=1e-5)
    held = weights(tmp_path / "c")
    config = json.loads((tmp_path / "c" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (8, 8.0)
    for name, down in held.items():
        if "lora_A" in name:
            up = held[name.replace("lora_A", "lora_B")]
            # s = 8 / 4 is each twin's own scale.
            mean = 0.5 * 2.0 * (up[:, :4] @ down[:4] + up[:, 4:] @ down[4:])
            torch.testing.assert_close(config["lora_alpha"] / config["r"] * up @ down, mean)
    assert served(input_ids=IDS).logits.shape[1] == 5


# Weights


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_interpolation_writes_an_adapter_without_training(world, tmp_path, share):
    root, _, _, bases, _ = world
    result, written = aligned(world, tmp_path / "c", method="bcwi", old_share=share)
    assert (result.num_epochs, result.num_steps, result.validation_losses) == (0, 0, [])
    assert (written["method"], written["unit"], written["old_share"]) == ("bcwi", "weights", share)
    load_adapter(bases["new"], tmp_path / "c")
    expected = {0.0: "adapter-new", 1.0: "adapter-old"}.get(share)
    if expected:
        kept = weights(root / expected)
        assert all(torch.equal(value, kept[name]) for name, value in weights(tmp_path / "c").items())


def test_an_old_adapter_of_another_shape_cannot_be_interpolated(world, tmp_path):
    wide = tiny_base(tmp_path, "wide", seed=3, hidden_size=48)
    side = fine_tuned(world, wide, tmp_path / "adapter", count=8, epochs=1, warmup_steps=0)
    with pytest.raises(ModelError, match="made for another base or with other settings"):
        aligned(world, tmp_path / "c", old=side, method="bcwi")
