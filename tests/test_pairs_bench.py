"""What the bench of benchmarks/pairs rests on: the rounding, who is drawn for what, the lines of its table."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

import muscle
from helpers.places import ROOT, SHARED
from muscle.config.alignment import AlignmentSettings
from muscle.config.methods import LABEL_TARGETS
from muscle.config.settings import BaseConfig
from muscle.errors import DataError
from muscle.models.bases import load_base
from muscle.route.likelihoods import Weights
from muscle.route.option_rules import OptionRule
from muscle.tasks import get_task, load_examples
from muscle.tasks.sources import load_rows
from tiny.bases import TASK_YAML, save_base, write_choice_rows


@pytest.fixture
def bench() -> Iterator[dict[str, ModuleType]]:
    """The bench's scripts, which stand in no package; their plain names are given back afterwards."""
    names = (
        "continued",
        "make",
        "intents",
        "items",
        "table",
        "bench",
        "scoring",
        "recorded",
        "steps",
        "rivals",
        "answers",
        "served",
        "kept",
        "kept_answers",
        "board",
    )
    before = {name: sys.modules.pop(name, None) for name in names}
    sys.path.insert(0, str(ROOT / "benchmarks" / "pairs"))
    try:
        yield {name: importlib.import_module(name) for name in names}
    finally:
        sys.path.remove(str(ROOT / "benchmarks" / "pairs"))
        for name, module in before.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module


def test_rounding_keeps_each_groups_largest_weight_and_takes_the_nearest_of_15_steps(
    bench: dict[str, ModuleType],
) -> None:
    weight = torch.tensor([[0.7, -0.24, 0.26, 0.0], [0.0, 0.0, -1.4, 0.31]])
    expected = torch.tensor([[0.7, -0.2, 0.3, 0.0], [0.0, 0.0, -1.4, 0.4]])
    assert torch.allclose(bench["make"].rounded(weight, group=2)[0, :2], torch.tensor([0.7, -0.2]))
    found = bench["make"].rounded(weight, group=4)
    assert torch.allclose(found, expected)
    assert bench["make"].rounded(weight.bfloat16(), group=4).dtype == torch.bfloat16
    many = bench["make"].rounded(torch.randn(8, 128, generator=torch.Generator().manual_seed(0)))
    assert all(len(group.unique()) <= 15 for group in many.reshape(-1, 64))


def test_a_base_that_reads_on_expects_its_text_more_and_is_whole_rows_of_it(
    bench: dict[str, ModuleType], tmp_path: Path
) -> None:
    where = BaseConfig(base=str(save_base(tmp_path / "base", seed=0)))
    base, texts = load_base(where, precision="float32", device="cpu"), ["Use the bowl for soup", "Use the fork"] * 40
    rows = bench["continued"].blocks(iter(texts), base, length=16)
    ends = [token for text in texts for token in (*base.tokenizer(text)["input_ids"], base.tokenizer.eos_token_id)]
    assert rows.shape == (len(ends) // 16, 16) and rows.flatten().tolist() == ends[: rows.numel()]
    before = base.model(input_ids=rows, labels=rows).loss
    loss = bench["continued"].read_on(base, rows, folder=tmp_path / "steps", learning_rate=1e-2, batch_size=2)
    after = base.model(input_ids=rows, labels=rows).loss
    assert after < loss < before and not any(weight.requires_grad for weight in base.model.parameters())
    with pytest.raises(DataError, match="expected 1000000 tokens at least"):
        bench["continued"].blocks(iter(texts), base, length=1_000_000)


def rows(labels: int, texts: int) -> list[dict[str, str]]:
    return [
        {"id": f"{label}-{text}", "text": f"text {text} of {label}", "label": f"label {label}"}
        for label in range(labels)
        for text in range(texts)
    ]


def test_no_text_is_drawn_twice_and_another_seed_keeps_the_extra_tests(bench: dict[str, ModuleType]) -> None:
    given, labels = rows(5, 40), [f"label {number}" for number in range(5)]
    parts = {seed: bench["intents"].split(given, labels, num_extra=6, seed=seed) for seed in (0, 1)}
    for found in parts.values():
        ids = [row["id"] for part in found.values() for row in part]
        assert len(ids) == len(set(ids)) == len(given)
        assert {name: len(part) for name, part in found.items()} == {
            "train": 50,
            "validation": 20,
            "extra": 30,
            "unlabelled": 100,
        }
        assert all(set(row) == {"id", "text"} for row in found["unlabelled"])
    assert parts[0]["extra"] == parts[1]["extra"]
    assert parts[0]["train"] != parts[1]["train"]
    assert parts[0] == bench["intents"].split(given[::-1], labels, num_extra=6, seed=0)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the data of ../shared/data is not here")
def test_items_with_options_of_their_own_are_drawn_once_and_tested_on_the_same_for_every_seed(
    bench: dict[str, ModuleType], tmp_path: Path
) -> None:
    for seed in (0, 1):
        bench["items"].prepare_items("hellaswag", data=SHARED / "data", seed=seed, out=tmp_path / str(seed))
    parts = {
        (seed, path.stem): [row.row for row in load_rows(str(path))]
        for seed in (0, 1)
        for path in (tmp_path / str(seed)).iterdir()
    }
    assert [len(parts[0, name]) for name in ("train", "validation", "unlabelled", "test")] == [250, 100, 500, 1000]
    ids = [row["id"] for (seed, _), part in parts.items() if seed == 0 for row in part]
    assert len(ids) == len(set(ids))
    assert parts[0, "test"] == parts[1, "test"] and parts[0, "train"] != parts[1, "train"]
    assert all("label" not in row and len(row["endings"]) == 4 for row in parts[0, "unlabelled"])


def test_a_line_of_the_table_says_what_is_undefined(bench: dict[str, ModuleType]) -> None:
    interval = {"value": 0.25, "low": 0.2, "high": 0.3}
    numbers = {
        "accuracy": {"value": 0.875, "low": 0.8, "high": 0.9},
        "negative_flip_rate": interval,
        "positive_flip_rate": interval,
        "inconsistency_rate": interval,
    }
    effect = {"negative_flips_percent": -40.4, "negative_flips_p": 0.0123}
    found = {"words": "labels", "training": {"seconds": 61.2, "cpu_seconds": 50.0}, "answers": {}}
    assert bench["table"].row(found, "whole") is None
    found["answers"] = {"whole": {**numbers, "against_plain": effect}}
    assert (
        bench["table"].row(found, "whole")
        == "| labels | 87.5 | 25.00 | \N{MINUS SIGN}40 % (p = .012) | 25.00 | 25.00 | 50 |"
    )
    assert bench["table"].change_of({**effect, "negative_flips_percent": None}).startswith("undefined")
    assert bench["table"].change_of({**effect, "negative_flips_p": 1e-9}).endswith("(p < .001)")


def test_two_models_served_keep_their_names_and_what_was_fitted_is_kept(bench: dict[str, ModuleType]) -> None:
    names = [each.name for each in bench["served"].SERVED]
    kept = {"served_mean_new", "served_share7_new", "served_stack1_labels", "served_stack2_labels"}
    assert kept <= set(names) and len(set(names)) == len(names) == 16
    rule = OptionRule(1.5, 0.5, weights=Weights(0.4, 0.6), log_kappa=math.inf, ask_below=0.7)
    assert bench["served"].served_facts(rule, 0.25) == {
        "old_temperature": 1.5,
        "new_temperature": 0.5,
        "share": None,
        "weights": {"a": 0.4, "b": 0.6},
        "ask_below": 0.7,
        "kappa": "infinite",
        "asked_share": 0.25,
        "cost_per_1000": 1250.0,
    }


def test_every_rival_is_a_method_that_can_be_asked_for_by_a_name_of_its_own(bench: dict[str, ModuleType]) -> None:
    rivals = bench["rivals"].RIVALS
    names = [step.name for step in bench["rivals"].ALL]
    assert len(set(names)) == len(names)
    for step in rivals:
        assert step.start in (None, *names)
        assert set(step.further) <= set(names)
        if step.kind == "align":
            further = {"teachers": list(step.further)} if step.further else {}
            found = AlignmentSettings.model_validate({**step.alignment, **further})
            assert not (step.unlabelled and found.target in LABEL_TARGETS)
    methods = {step.alignment.get("method") for step in rivals}
    assert {"churn", "pct", "ldi", "elodi", "mpt", "relabel", "twins", "bcwi"} <= methods


def test_the_papers_table_7_is_its_method_and_five_other_masks_from_the_same_start(
    bench: dict[str, ModuleType],
) -> None:
    eq1 = next(step for step in bench["steps"].STEPS if step.name == "eq1")
    rows = bench["rivals"].TABLE7
    assert [(step.start, step.training, step.teacher) for step in rows] == [(eq1.start, eq1.training, eq1.teacher)] * 5
    found = [AlignmentSettings.model_validate(step.alignment) for step in rows]
    assert [(each.mask, each.ce_weight) for each in found] == [
        ("old_right", 0),
        ("old_always", 0),
        ("student_wrong", 0.5),
        ("token_likelihood", 0.5),
        ("sequence_likelihood", 0.5),
    ]
    assert {(each.unit, each.temperature) for each in found} == {("tokens", 2.0)}


def test_the_new_teacher_stands_in_one_place_whoever_stands_in_the_old_ones(
    bench: dict[str, ModuleType], tmp_path: Path
) -> None:
    known = {step.name: step for step in bench["rivals"].ALL}
    placed = {}
    for name in ("lr6", "twin6", "third6", "stack6-twin"):
        alignment = AlignmentSettings.model_validate(known[name].alignment)
        placed[name] = bench["steps"].stores_of(tmp_path, known[name].teacher[1], alignment)
    assert {(kept.new, kept.labels) for kept in placed.values()} == {(tmp_path / "old", tmp_path / "labels")}
    assert [kept.old.name for kept in placed.values()] == ["old", "twin", "third", "twin"]
    # Candidate answers are those that the other one gave too.
    answers = AlignmentSettings.model_validate({"method": "answers", "labels_first": False})
    assert bench["steps"].stores_of(tmp_path, "twin", answers).new == tmp_path / "twin"
    # What was made of a part of the texts is not that of all.
    assert bench["steps"].stores_of(tmp_path, "old", answers, 500).old == tmp_path / "500 unlabelled" / "old"


def test_a_control_is_found_for_each_target_by_what_stands_in_the_old_ones_place(
    bench: dict[str, ModuleType],
) -> None:
    known = bench["rivals"].ALL
    stack = next(step for step in known if step.name == "stack6")
    controls = bench["board"].entry_of(stack, known, {}, {}).controls
    assert controls["twin_as_old"] == "stack6-twin" and controls["third_as_old"] == "stack6-third"
    assert AlignmentSettings.model_validate(stack.alignment).kappa == 2.0


def test_a_record_lists_the_likeliest_tokens_at_each_place_of_an_answer(
    bench: dict[str, ModuleType], tmp_path: Path
) -> None:
    base = load_base(BaseConfig(base=str(save_base(tmp_path / "base", seed=0))), precision="float32", device="cpu")
    rows = [(base.tokenizer("Use the bowl")["input_ids"], [5, 6, 7]), (base.tokenizer("Use")["input_ids"], [8])]
    for (context, answer), tokens in zip(
        rows, bench["recorded"].listed_tokens(base.model, base.tokenizer, rows), strict=True
    ):
        alone = base.model(torch.tensor([[*context, *answer]])).logits[0].log_softmax(-1)
        assert [each.text for each in tokens] == [base.tokenizer.decode([token]) for token in answer]
        for place, (token, told) in enumerate(zip(answer, tokens, strict=True), start=len(context) - 1):
            assert told.logprob == pytest.approx(float(alone[place, token]), abs=1e-5)
            assert max(told.others.values()) == pytest.approx(float(alone[place].max()), abs=1e-5)
            assert len(told.others) <= bench["recorded"].LISTED


def test_aligning_from_a_record_differs_from_the_models_own_method_by_the_teacher_alone(
    bench: dict[str, ModuleType],
) -> None:
    steps = {step.name: step for step in (*bench["steps"].STEPS, *bench["steps"].RECORDED)}
    kinds = {step.record for step in bench["steps"].RECORDED}
    assert kinds == {"one", "five", "top20"}
    for kind in kinds:
        own, model = steps[f"record-{kind}"], steps["lr6"]
        same = ("kind", "side", "start", "training", "alignment", "unlabelled")
        assert [getattr(own, name) for name in same] == [getattr(model, name) for name in same]


def test_kept_answers_stand_in_for_records_that_are_gone(
    bench: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, answers = bench["kept_answers"], bench["answers"]
    monkeypatch.setattr(kept, "ANSWERS", tmp_path / "kept")
    (tmp_path / "tools.yaml").write_text(TASK_YAML)
    task = get_task(str(tmp_path / "tools.yaml"))
    examples = load_examples(task, write_choice_rows(tmp_path / "test.jsonl", 12))
    gold = [example.gold for example in examples]

    def run_in(folder: str) -> SimpleNamespace:
        known = SimpleNamespace(name="sibling-tools-0", task_name="tools", task=task, generates=False)
        known.folder, known.examples = tmp_path / folder, lambda part: examples
        return known

    first, second = run_in("first"), run_in("second")
    for name, choices in {"old": [0, 1] * 6, "lr6": [0] * 12}.items():
        scores = [[float(choice == 0), float(choice == 1)] for choice in choices]
        answers.write_answers(task, examples, scores, answers.records(first, name, "whole"), name=name, facts={})
    kept.keep_answers(first)
    kept.restore_answers(second, "whole")
    lost = sum(right == 1 and choice == 1 for right, choice in zip(gold, [0, 1] * 6, strict=True))
    for run in (first, second):
        found = muscle.compare(answers.records(run, "old", "whole"), answers.records(run, "lr6", "whole"))
        assert found.report.tasks["tools"].quadrants["old_vs_new"].negative_flips == lost > 0
    kept.answers_file(second, "whole").write_text("id,right,old\nelse,0,0\n")
    with pytest.raises(DataError, match="expected the test texts"):
        kept.restore_answers(run_in("third"), "whole")
