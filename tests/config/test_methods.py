"""Methods as words of a configuration: what a preset fills, what fits together, and what older runs see of it."""

from pathlib import Path

import pytest

from muscle.config.alignment import AlignmentSettings
from muscle.config.update_file import load_config, load_stage_settings
from muscle.errors import ConfigError


def test_the_default_is_the_papers_method_and_older_fingerprints_stay():
    plain = AlignmentSettings()
    assert (plain.method, plain.unit, plain.target) == ("paper", "tokens", "mask")
    assert AlignmentSettings(method="paper") == plain
    older = {"temperature": 2.0, "mask": "student_wrong", "ce_weight": 0.0, "training": {}}
    assert plain.identity() == older
    assert AlignmentSettings(start="old").identity() == {**older, "start": "old"}


def test_the_preset_options_fills_what_is_left_out_and_nothing_else():
    filled = AlignmentSettings(method="options")
    assert (filled.unit, filled.target, filled.old_share) == ("options", "mixture", 0.5)
    assert (filled.temperature, filled.labels_first, filled.start) == (1.0, True, "new")
    own = AlignmentSettings(method="options", target="stack", kappa=3.0, temperature=2.0, labels_first=False)
    assert (own.target, own.kappa, own.temperature, own.labels_first) == ("stack", 3.0, 2.0, False)
    assert not AlignmentSettings(method="options", target="labels").labels_first


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("churn", {"target": "mixture", "old_share": 1.0, "ce_weight": 0.5, "temperature": 1.0, "labels_first": False}),
        ("pct", {"target": "focal", "temperature": 100.0, "ce_weight": 0.1}),
        ("ldi", {"target": "inhibition", "old_share": 1.0, "ce_weight": 0.5}),
        ("mpt", {"target": "focal", "temperature": 5.0, "old_share": 0.5}),
        ("relabel", {"target": "old_answers", "keep_labels": False}),
        ("twins", {"target": "twins"}),
        ("bcwi", {"unit": "weights", "target": "interpolation", "old_share": 0.5}),
    ],
)
def test_the_presets_of_published_methods_have_their_numbers(method, expected):
    found = AlignmentSettings(method=method)
    assert {key: getattr(found, key) for key in expected} == expected
    assert found.unit == expected.get("unit", "options")


def test_focal_distillation_and_inhibition_begin_with_the_numbers_of_the_official_code():
    focal = AlignmentSettings(method="pct").focal
    assert (focal.alpha, focal.beta, focal.distance, focal.sources) == (1.0, 5.0, "kl", "old")
    single = AlignmentSettings(method="ldi").inhibition
    assert (single.xi, single.p, single.right_option) == (0.5, 2.0, True)
    ensemble = AlignmentSettings(method="elodi", teachers=["a", "b"])
    assert (ensemble.old_share, ensemble.ce_weight) == (0.0, 0.2)
    assert (ensemble.inhibition.xi, ensemble.inhibition.p, ensemble.inhibition.right_option) == (0.0, 2.0, False)


def test_a_number_of_ones_own_leaves_the_presets_others():
    found = AlignmentSettings(method="mpt", focal={"distance": "logits"}).focal
    assert (found.distance, found.sources) == ("logits", "both")
    assert AlignmentSettings(method="elodi", teachers=["a"], inhibition={"xi": 0.2}).inhibition.right_option is False


def test_numbers_of_other_methods_are_in_no_fingerprint():
    keys = AlignmentSettings(method="options").identity().keys()
    assert not keys & {"focal", "inhibition", "twins", "sharpness", "keep_labels", "margin_of", "teachers"}
    changed = AlignmentSettings(method="pct", focal={"beta": 2.0}).identity()
    assert changed["focal"] == {"alpha": 1.0, "beta": 2.0, "distance": "kl", "sources": "old"}


def test_the_papers_mask_is_a_target_of_whole_options_too():
    found = AlignmentSettings(method="options", target="mask", mask="old_right", ce_weight=0.3, kl="reverse")
    assert (found.unit, found.target, found.temperature, found.labels_first) == ("options", "mask", 1.0, True)
    assert found.teacher_sides == ("old", "new")
    assert found.reads("mask")
    assert not found.reads("engine")
    assert not found.reads("unlabelled")


def test_a_preset_is_what_it_fills_in():
    spelled = AlignmentSettings(unit="options", target="mixture", temperature=1.0, labels_first=True)
    assert spelled.identity() == AlignmentSettings(method="options").identity()


def test_the_preset_answers_is_the_same_over_candidates():
    filled = AlignmentSettings(method="answers")
    assert (filled.unit, filled.target, filled.temperature, filled.labels_first) == ("answers", "mixture", 1.0, True)
    assert filled.num_candidates == 1 + 2 * 3
    assert (AlignmentSettings(method="options").num_candidates, filled.answers.counts_rest) == (0, True)
    by_tokens = AlignmentSettings(method="answers", answers={"models": ["new"], "samples": 0, "normalise": "tokens"})
    assert (by_tokens.num_candidates, by_tokens.answers.counts_rest) == (2, False)


def test_only_other_candidates_than_the_default_stand_in_the_fingerprint():
    options, answers = (AlignmentSettings(method=name).identity() for name in ("options", "answers"))
    assert answers == {**options, "unit": "answers"}
    more = AlignmentSettings(method="answers", answers={"samples": 5}).identity()
    assert more.keys() - answers.keys() == {"answers"}


def test_the_place_of_unlabelled_inputs_is_in_no_fingerprint():
    # Their content is, in the stage's inputs.
    with_file = AlignmentSettings(method="options", unlabelled="/somewhere/traffic.jsonl")
    assert with_file.identity() == AlignmentSettings(method="options").identity()


def written(folder: Path, alignment: str, tasks: str = "[{task: piqa}]") -> Path:
    path = folder / "update.yaml"
    path.write_text(f"old: org/old\nnew: org/new\ntasks: {tasks}\nalignment:\n{alignment}")
    return path


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["unit: options", "target: interpolation"],
            "line 6: alignment: target: expected labels, margin, twins, mask, mixture, reliability, stack, lifted, fo",
        ),
        (["target: stack"], "line 5: alignment: target: expected mask or mixture with unit tokens, found stack"),
        (
            ["texts: every_option"],
            "line 5: alignment: texts: every_option reads wrong answers too, and no label; expected target mi",
        ),
        (
            ["texts: every_option", "mask: old_always", "ce_weight: 0.2"],
            "line 5: alignment: texts: every_option reads wrong answers too",
        ),
        (["method: options", "texts: every_option"], "line 6: alignment: texts: expected it only with unit tokens"),
        (["mask: old_always", "unlabelled: a.jsonl"], "line 6: alignment: unlabelled: expected it only with a target"),
        (["method: options", "mask: old_right"], "line 6: alignment: mask: expected it only with target mask, found"),
        (["method: options", "engine: online"], "line 6: alignment: engine: expected it only with unit tokens, found"),
        (
            ["old_share: 0.3"],
            "line 5: alignment: old_share: expected it only with target mixture, reliability, lifted, inhibition, int",
        ),
        (["method: options", "old_share: 1.5"], "line 6: alignment.old_share: expected less than or equal to 1"),
        (["method: options", "kappa: 2.0"], "line 6: alignment: kappa: expected it only with target stack, found 2.0"),
        (["method: options", "target: stack", "kappa: 0.0"], "line 7: alignment.kappa: expected greater than 0, found"),
        (["unlabelled: more.jsonl"], "found more.jsonl and no method; method: options reads it"),
        (["kl: reverse"], "line 5: alignment: kl: expected it only with unit options or answers and target mask, mixt"),
        (
            ["method: options", "target: margin", "ce_weight: 0.1"],
            "line 7: alignment: ce_weight: expected it only with",
        ),
        (["labels_first: true"], "line 5: alignment: labels_first: expected it only with unit options or"),
        (
            ["method: options", "target: labels", "unlabelled: a.jsonl"],
            "line 7: alignment: unlabelled: expected it only",
        ),
        (
            ["method: options", "target: mask", "unlabelled: a.jsonl"],
            "line 7: alignment: unlabelled: expected it only with a target with teachers: mixture, reliability, stack",
        ),
        (
            ["method: options", "unlabelled_epochs: 2"],
            "line 6: alignment: unlabelled_epochs: expected it only with unl",
        ),
        (["method: option"], "line 5: alignment.method: expected 'paper', 'options', 'answers', 'every_option', "),
        (
            ["method: options", "answers: {samples: 4}"],
            "line 6: alignment: answers: expected it only with unit answers, or texts",
        ),
        (
            ["method: answers", "answers: {models: []}"],
            "line 6: alignment.answers: models: expected old, new or both, found []",
        ),
        (
            ["method: answers", "answers: {models: [old, old]}"],
            "line 6: alignment.answers: models: expected old, new or both, found ['old', 'old']",
        ),
        (["method: answers", "answers: {samples: -1}"], "line 6: alignment.answers.samples: expected greater than or"),
        (["method: answers", "answers: {temperature: 0.0}"], "line 6: alignment.answers.temperature: expected greater"),
        (["method: answers", "answers: {normalise: words}"], "line 6: alignment.answers.normalise: expected 'none' or"),
        (["method: options", "lora: {r: 0}"], "line 6: alignment.lora.r: expected greater than or equal to 1, found 0"),
        (["method: options", "lora: {alpha: 4}"], "alignment.lora.alpha: unknown key"),
        (["method: pct", "focal: {alpha: -1.0}"], "line 6: alignment.focal.alpha: expected greater than or equal to 0"),
        (["method: pct", "focal: {gamma: 2.0}"], "line 6: alignment.focal.gamma: unknown key"),
        (["method: pct", "kl: reverse"], "line 6: alignment: kl: expected it only with unit options or answers an"),
        (["method: pct", "old_share: 0.3"], "line 6: alignment: old_share: expected it only with"),
        (["method: options", "focal: {beta: 1.0}"], "line 6: alignment: focal: expected it only with target focal"),
        (["method: options", "sharpness: 4.0"], "line 6: alignment: sharpness: expected it only with target reliabi"),
        (["method: ldi", "teachers: [a]"], "line 6: alignment: teachers: expected it only with unit options or"),
        (["teachers: [a]"], "line 5: alignment: teachers: expected it only with unit options or answers an"),
        (["method: elodi"], "alignment: teachers: expected adapters on the new base, whose mean logits hold the stud"),
        (["method: ldi", "inhibition: {p: 0.5}"], "line 6: alignment.inhibition.p: expected greater than or equal to"),
        (["method: options", "margin_of: higher"], "line 6: alignment: margin_of: expected it only with target margin"),
        (["method: relabel", "kl: reverse"], "line 6: alignment: kl: expected it only with unit options or answers"),
        (["method: options", "keep_labels: true"], "line 6: alignment: keep_labels: expected it only with target old_"),
        (["method: options", "target: labels", "temperature: 3.0"], "line 7: alignment: temperature: expected it only"),
        (
            ["engine: online", "topk: 16"],
            "line 6: alignment: topk: expected it only with unit tokens and engine topk, or projected, found 16",
        ),
        (["engine: hidden", "topk: 16"], "line 6: alignment: topk: expected it only with unit tokens and engine topk"),
        (
            ["engine: online", "store_precision: bf16"],
            "line 6: alignment: store_precision: expected it only with unit tokens and an engine with stores, not onl",
        ),
        (["method: ldi", "temperature: 3.0"], "line 6: alignment: temperature: expected it only with target mask, mix"),
        (["method: pct", "focal: {distance: logits}", "temperature: 3.0"], "or focal with distance kl, found 3.0"),
        (
            ["method: options", "unlabelled: {piqa: null}"],
            "line 6: alignment.unlabelled.piqa: expected a valid string, found None",
        ),
        (["method: twins", "ce_weight: 0.5"], "line 6: alignment: ce_weight: expected it only with target mask or"),
        (["method: twins", "unlabelled: a.jsonl"], "line 6: alignment: unlabelled: expected it only with a target"),
        (["method: twins", "lora: {r: 8}"], "line 6: alignment: lora: expected it only with a unit that trains, and"),
        (["method: twins", "labels_first: true"], "line 6: alignment: labels_first: expected it only with unit opt"),
        (["method: twins", "training: {gradient_checkpointing: true}"], "alignment.target: twins shows one half of"),
        (["method: bcwi", "start: old"], "line 6: alignment: start: expected it only with a unit that trains: tokens"),
        (["method: bcwi", "target: mixture"], "line 6: alignment: target: expected interpolation with unit weights"),
        (
            ["method: options", "unit: tokens"],
            "line 6: alignment: unit: expected options or answers with method options",
        ),
        (["method: paper", "unit: options"], "line 6: alignment: unit: expected tokens with method paper, found optio"),
        (["method: pct", "unit: weights"], "line 6: alignment: unit: expected options or answers with method pct, fou"),
        (["selection: loss"], "line 5: alignment.selection: expected 'own' or 'cross_entropy', found 'loss'"),
    ],
    ids=lambda value: value[-1].replace(" ", "") if isinstance(value, list) else "",
)
def test_what_makes_no_sense_is_refused_with_line_key_expectation_and_finding(tmp_path, lines, message):
    with pytest.raises(ConfigError) as caught:
        load_config(written(tmp_path, "".join(f"  {line}\n" for line in lines)))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("method", ["pct", "ldi", "relabel", "twins", "bcwi"])
def test_the_temperature_of_a_preset_that_has_no_use_of_it_is_no_error(method):
    numbers = {"focal": {"distance": "logits"}} if method == "pct" else {}
    assert not AlignmentSettings(method=method, **numbers).reads("temperature")
    assert not AlignmentSettings(method=method, temperature=1.0, **numbers).reads("temperature")


def test_of_a_value_with_several_forms_only_what_is_wrong_inside_it_is_told(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load_config(written(tmp_path, "  method: options\n  teachers: {piqa: [5]}\n"))
    assert str(caught.value).endswith("line 6: alignment.teachers.piqa.0: expected a valid string, found 5")


def test_an_unknown_key_is_not_said_to_mean_itself(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load_config(written(tmp_path, "  lora: {r: 8, alpha: 4}\n"))
    assert "alignment.lora.alpha: unknown key" in str(caught.value)
    assert "did you mean 'alpha'" not in str(caught.value)


def test_unlabelled_inputs_are_found_beside_the_yaml(tmp_path):
    path = written(tmp_path, "  method: options\n  unlabelled: traffic.jsonl\n")
    assert load_config(path).alignment.unlabelled_of("piqa") == str(tmp_path / "traffic.jsonl")
    assert load_stage_settings(path).alignment.unlabelled == str(tmp_path / "traffic.jsonl")
    hub = written(tmp_path, "  method: options\n  unlabelled: hub:org/data:train\n")
    assert load_config(hub).alignment.unlabelled == "hub:org/data:train"


def test_tokens_of_every_option_take_unlabelled_inputs(tmp_path):
    lines = "  method: every_option\n  unlabelled: a.jsonl\n  unlabelled_epochs: 3\n"
    found = load_config(written(tmp_path, lines)).alignment
    assert (found.every_text, found.unlabelled_of("piqa")) == (True, str(tmp_path / "a.jsonl"))
    assert found.passes(2, unlabelled=True) == 3
    assert (found.mask, found.temperature) == ("old_always", 1.0)
    assert found.names_a_method  # a pair of tokenizers chooses no other one
    assert "texts" not in AlignmentSettings(mask="old_always").identity()
    assert found.identity()["texts"] == "every_option"
    assert found.teacher_sides == ("old",)


def test_tokens_of_every_answer_learn_a_mixture_of_candidates(tmp_path):
    lines = "  method: every_answer\n  unlabelled: a.jsonl\n  answers: {samples: 1}\n"
    found = load_config(written(tmp_path, lines)).alignment
    assert (found.unit, found.target, found.leaning) == ("tokens", "mixture", ("old_always", 0.5))
    assert (found.every_text, found.learns_candidates, found.num_candidates) == (True, True, 5)
    assert (found.least_candidates, found.answers_in_use) == (1, None)
    assert found.teacher_sides == ("old", "new")
    # One vector a token serves every student; with a share of all, the new model need not run.
    assert AlignmentSettings(method="every_answer", old_share=1.0).teacher_sides == ("old",)
    assert AlignmentSettings(target="mixture").fixed_target
    assert not AlignmentSettings().fixed_target


def test_several_tasks_have_a_file_each(tmp_path):
    two = "[{task: piqa}, {task: hellaswag}]"
    path = written(tmp_path, "  method: options\n  unlabelled: {piqa: p.csv}\n", two)
    alignment = load_config(path).alignment
    assert alignment.unlabelled_of("piqa") == str(tmp_path / "p.csv")
    assert alignment.unlabelled_of("hellaswag") is None
    with pytest.raises(ConfigError, match=r"line 6: alignment\.unlabelled: expected a file for each task, as \{TASK"):
        load_config(written(tmp_path, "  method: options\n  unlabelled: p.csv\n", two))


def beside(folder: Path, lines: str) -> Path:
    path = written(folder, "  method: paper\n")
    path.write_text(path.read_text() + f"evaluation:\n  beside:\n{lines}")
    return path


def test_methods_beside_have_settings_of_their_own(tmp_path):
    config = load_config(beside(tmp_path, "    options: {method: options, training: {epochs: 3}}\n    kl-2: {}\n"))
    methods = config.evaluation.beside
    assert (methods["options"].unit, methods["kl-2"]) == ("options", AlignmentSettings())
    assert config.align_training(methods["options"]).epochs == 3
    assert config.align_training().epochs == config.align_training(methods["kl-2"]).epochs == 10
    assert "beside" not in config.evaluation.scoring()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("    control: {}\n", r"line 7: evaluation.beside: 'control': expected a name of letters"),
        ("    a/b: {}\n", r"line 7: evaluation.beside: 'a/b': expected a name of letters"),
        ("    a: {method: papers}\n", r"line 8: evaluation.beside.a.method: "),
        ("    a: {training: {epoch: 3}}\n", r"evaluation.beside.a.training.epoch: unknown"),
        ("    a: {method: options, unlabelled: x.jsonl}\n", r"evaluation.beside.a.unlabelled: expected the files of"),
    ],
)
def test_a_method_beside_that_cannot_be_is_refused(tmp_path, lines, message):
    with pytest.raises(ConfigError, match=message):
        load_config(beside(tmp_path, lines))


def test_further_teachers_are_found_beside_the_yaml(tmp_path):
    path = written(tmp_path, "  method: elodi\n  teachers: [seeds/1, seeds/2]\n")
    expected = [str(tmp_path / "seeds" / number) for number in "12"]
    assert load_config(path).alignment.teachers_of("piqa") == expected
    assert load_stage_settings(path).alignment.teachers == expected


def test_several_tasks_have_teachers_of_their_own(tmp_path):
    two = "[{task: piqa}, {task: hellaswag}]"
    path = written(tmp_path, "  method: elodi\n  teachers: {piqa: [p]}\n", two)
    assert load_config(path).alignment.teachers_of("piqa") == [str(tmp_path / "p")]
    assert load_config(path).alignment.teachers_of("hellaswag") == []
    with pytest.raises(ConfigError, match=r"line 6: alignment\.teachers: expected a list for each task, as \{TASK"):
        load_config(written(tmp_path, "  method: elodi\n  teachers: [p]\n", two))


def test_twins_and_sums_have_twice_the_rank_and_a_sum_reads_its_items_never():
    ranks = [AlignmentSettings(method=method).rank(4) for method in ("paper", "twins", "bcwi")]
    assert ranks == [4, 8, 8]
    assert AlignmentSettings(method="pct", lora={"r": 6}).rank(4) == 6
    assert AlignmentSettings(method="bcwi", training={"epochs": 2}).passes(3, unlabelled=False) == 0
    assert AlignmentSettings(method="twins").passes(3, unlabelled=False) == 12
    assert AlignmentSettings(method="options", unlabelled="a", unlabelled_epochs=2).passes(3, unlabelled=True) == 2


def test_nothing_is_trained_on_where_nothing_is_trained(tmp_path):
    path = written(tmp_path, "  method: bcwi\nevaluation: {control: true}\n")
    assert not load_config(path).trains_control
    assert load_config(written(tmp_path, "  method: options\nevaluation: {control: true}\n")).trains_control
