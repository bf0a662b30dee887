"""The demo's world and its pre-trained bases."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from muscle.demo.pretrain import Recipe, build_tokenizer, is_finished, pretrain, pretrain_pair
from muscle.demo.run import run_demo
from muscle.demo.world import (
    ATTRIBUTES,
    SUBJECTS,
    TASTE_SD,
    Item,
    draw_items,
    draw_text,
    draw_unlabelled,
    words,
    world,
)


def test_tables_name_every_tool_and_purpose_once() -> None:
    w = world()
    assert (len(set(w.purposes)), len(set(w.tools)), len(set(SUBJECTS))) == (24, 32, 30)
    assert w.has.shape == (32, len(ATTRIBUTES))
    assert w.wants.shape == (24, len(ATTRIBUTES))
    assert w.has.min() == 0
    assert w.has.max() == np.abs(w.wants).max() == 3


@pytest.mark.parametrize(
    ("purpose", "good", "bad"),
    [
        ("carry the soup", "bowl", "fork"),
        ("cut the bread", "knife", "pillow"),
        ("reach the shelf", "ladder", "bowl"),
        ("warm the baby", "blanket", "axe"),
        ("seal the letter", "glue", "hammer"),
        ("boil the water", "kettle", "rope"),
    ],
)
def test_a_tool_that_a_person_would_take_fits_better(purpose: str, good: str, bad: str) -> None:
    w = world()
    row = w.fit[w.purposes.index(purpose)]
    assert row[w.tools.index(good)] > row[w.tools.index(bad)] + 1


def test_fit_is_the_product_of_the_tables_scaled_for_each_purpose() -> None:
    w = world()
    product = w.wants @ w.has.T
    expected = (product - product.mean(1, keepdims=True)) / product.std(1, keepdims=True)
    np.testing.assert_allclose(w.fit, expected, atol=1e-12)


def test_taste_is_one_number_a_tool_and_house_adds_it_to_the_fit() -> None:
    w = world()
    assert w.taste.mean() == pytest.approx(0)
    assert w.taste.std() == pytest.approx(TASTE_SD)
    np.testing.assert_allclose(w.house - w.fit, np.tile(w.taste, (24, 1)))


def test_no_two_items_ask_about_the_same_purpose_and_pair() -> None:
    train, test = draw_items()
    cells = Counter((item.purpose, frozenset((item.sol1, item.sol2))) for item in train + test)
    assert max(cells.values()) == 1
    assert len(test) >= 2000
    assert len({item.id for item in train + test}) == len(train) + len(test)


def test_the_right_tool_is_the_one_with_more_fit_and_taste_together() -> None:
    w = world()
    for item in draw_items(200, 200)[1]:
        row = w.house[w.purposes.index(item.purpose)]
        values = [row[w.tools.index(tool)] for tool in (item.sol1, item.sol2)]
        assert values[item.label] > values[1 - item.label]
        assert item.goal.startswith(f"To {item.purpose}, the ")


def test_the_taste_slice_tells_where_fit_alone_would_answer_wrongly() -> None:
    w = world()
    train, _ = draw_items(300, 1)
    for item in train:
        row = w.fit[w.purposes.index(item.purpose)]
        values = [row[w.tools.index(tool)] for tool in (item.sol1, item.sol2)]
        assert (item.taste == "agrees") == (values[item.label] > values[1 - item.label])


def test_labels_are_balanced_and_taste_overrules_a_quarter_or_so() -> None:
    _, test = draw_items()
    assert sum(item.label for item in test) / len(test) == pytest.approx(0.5, abs=0.03)
    assert 0.15 < sum(item.taste == "overrules" for item in test) / len(test) < 0.35


def test_the_items_are_the_same_every_time_and_their_number_is_limited() -> None:
    assert draw_items(10, 10) == draw_items(10, 10)
    with pytest.raises(ValueError, match="at most 11904"):
        draw_items(10_000, 10_000)


def test_text_is_fixed_by_its_seed() -> None:
    assert draw_text(50, seed=1) == draw_text(50, seed=1) != draw_text(50, seed=2)


def test_text_uses_tools_by_their_fit_and_not_by_the_house_taste() -> None:
    w = world()
    used = Counter(
        sentence.rsplit(maxsplit=1)[1].rstrip(".")
        for sentence in draw_text(20_000, seed=3)
        if sentence.startswith("To carry the soup, the ")
    )
    weights = np.exp(3 * w.fit[w.purposes.index("carry the soup")])
    for tool, share in zip(w.tools, weights / weights.sum(), strict=True):
        assert used[tool] / used.total() == pytest.approx(share, abs=0.07)


def test_text_only_says_of_a_tool_what_the_table_says() -> None:
    w = world()
    told = [s.rstrip(".").split() for s in draw_text(3000, seed=0) if " is " in s]
    assert told
    for _, tool, _, attribute in told:
        assert w.has[w.tools.index(tool), ATTRIBUTES.index(attribute)] > 0


def test_the_tokenizer_knows_every_word_and_gives_the_text_back() -> None:
    tokenizer = build_tokenizer()
    assert len(tokenizer) == len(words()) + 4
    for text in draw_text(300, seed=5):
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids) == text


def test_the_tokens_of_context_and_choice_are_the_tokens_of_the_whole() -> None:
    tokenizer = build_tokenizer()
    for item in draw_items(50, 50)[0]:
        context = tokenizer(item.goal)["input_ids"]
        for choice in (item.sol1, item.sol2):
            whole = tokenizer(f"{item.goal} {choice}")["input_ids"]
            assert whole == context + tokenizer(f" {choice}")["input_ids"]
            assert len(whole) == len(context) + 1


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bases") / "base"
    pretrain(folder, Recipe(num_sentences=6000, seed=1))
    return folder


def _load(folder: Path) -> tuple[torch.nn.Module, object]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return (
        AutoModelForCausalLM.from_pretrained(folder, local_files_only=True),
        AutoTokenizer.from_pretrained(folder, local_files_only=True),
    )


def test_a_base_loads_as_a_plain_hugging_face_folder(base: Path) -> None:
    model, tokenizer = _load(base)
    assert (base / "model.safetensors").is_file()
    assert model.config.vocab_size == len(tokenizer)  # type: ignore[arg-type]
    for name in ("pad", "bos", "eos"):
        assert getattr(model.config, f"{name}_token_id") == getattr(tokenizer, f"{name}_token_id") is not None
    item = draw_items(1, 1)[0][0]
    assert tokenizer(item.goal)["input_ids"] == build_tokenizer()(item.goal)["input_ids"]  # type: ignore[operator]


def test_a_base_has_learnt_which_tools_fit(base: Path) -> None:
    model, tokenizer = _load(base)
    _, test = draw_items(1, 1000)
    agreeing = [item for item in test if item.taste == "agrees"]
    assert _accuracy(model, tokenizer, agreeing) > 0.65


def _accuracy(model: torch.nn.Module, tokenizer: object, items: list[Item]) -> float:
    context = torch.tensor([tokenizer(item.goal)["input_ids"] for item in items])  # type: ignore[operator]
    options = torch.tensor([[tokenizer(tool)["input_ids"][0] for tool in (item.sol1, item.sol2)] for item in items])
    with torch.no_grad():
        logits = model(input_ids=context).logits[:, -1]
    choice = logits.gather(1, options).argmax(1)
    return float((choice == torch.tensor([item.label for item in items])).float().mean())


def test_the_same_recipe_gives_the_same_weights_and_another_seed_others(base: Path, tmp_path: Path) -> None:
    recipe = Recipe(num_sentences=512, seed=4)
    pretrain(tmp_path / "a", recipe)
    torch.manual_seed(99)  # the caller's random state has no part in it
    pretrain(tmp_path / "b", recipe)
    pretrain(tmp_path / "c", Recipe(num_sentences=512, seed=5))
    first, again, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert first == again != other


def test_pretraining_leaves_the_callers_random_state_alone(tmp_path: Path) -> None:
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    pretrain(tmp_path / "base", Recipe(num_sentences=64, seed=0))
    assert torch.equal(before, torch.random.get_rng_state())


def test_progress_is_told_after_every_step(tmp_path: Path) -> None:
    recipe = Recipe(num_sentences=300, seed=0)
    steps: list[int] = []
    pretrain(tmp_path / "base", recipe, on_step=lambda step, loss: steps.append(step))
    assert steps == list(range(1, recipe.num_steps + 1))


def test_a_finished_base_is_kept_and_another_recipe_replaces_it(tmp_path: Path) -> None:
    recipe = Recipe(num_sentences=64, seed=0)
    assert not is_finished(tmp_path / "base", recipe)
    pretrain(tmp_path / "base", recipe)
    assert is_finished(tmp_path / "base", recipe)
    assert not is_finished(tmp_path / "base", Recipe(num_sentences=65, seed=0))


def test_the_pair_differs_in_amount_of_text_seed_and_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, number in (("OLD_SENTENCES", 128), ("NEW_SENTENCES", 192), ("GAP_SENTENCES", 64)):
        monkeypatch.setattr(f"muscle.demo.pretrain.{name}", number)
    pair = pretrain_pair(tmp_path, seed=3)
    assert (pair.old, pair.new) == (tmp_path / "old", tmp_path / "new")
    assert is_finished(pair.old, Recipe(128, seed=6))
    assert is_finished(pair.new, Recipe(192, seed=7))
    kept = (pair.new / "model.safetensors").stat().st_mtime_ns
    pretrain_pair(tmp_path, seed=3, gap=True)
    assert is_finished(pair.old, Recipe(64, seed=6))
    assert (pair.new / "model.safetensors").stat().st_mtime_ns == kept


def test_attributes_of_the_slice_are_what_the_right_tool_is_known_for() -> None:
    known = {
        "knife": "sharp",
        "rope": "long",
        "bowl": "hollow",
        "glue": "sticky",
        "pillow": "soft",
        "tray": "flat",
    }
    for item in itertools.chain(*draw_items()):
        right = (item.sol1, item.sol2)[item.label]
        assert item.attribute == known.get(right, item.attribute)


def test_unlabelled_questions_ask_nothing_that_training_or_test_has() -> None:
    def asked(goal: str, *tools: str) -> tuple[str, frozenset[str]]:
        return goal.split(", the ")[0], frozenset(tools)

    known = {asked(item.goal, item.sol1, item.sol2) for item in itertools.chain(*draw_items())}
    more = draw_unlabelled(2000)
    found = {asked(row["goal"], row["sol1"], row["sol2"]) for row in more}
    assert len(found) == 2000
    assert not found & known
    assert draw_unlabelled(2000) == more


def test_an_unlabelled_question_has_the_columns_of_an_item_and_no_answer() -> None:
    row = draw_unlabelled(1)[0]
    assert set(row) == {field.name for field in fields(Item)} - {"label"}
    assert (row["attribute"], row["taste"]) == ("unknown", "unknown")


def test_the_demo_asks_for_every_control_and_shows_both_methods(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("muscle.demo.pretrain.pretrain_pair", lambda *args, **kwargs: None)
    monkeypatch.setattr("muscle.pipeline.update.update", lambda config: config)
    config = run_demo(tmp_path)
    assert (config.evaluation.bare_base, config.evaluation.control, config.evaluation.floor) == (True, True, True)
    beside = config.evaluation.beside
    assert (config.alignment.unit, beside["option-level"].unit) == ("tokens", "options")
    assert (beside["labels-alone"].target, beside["labels-alone"].labels_first) == ("labels", False)
