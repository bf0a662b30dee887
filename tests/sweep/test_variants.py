"""How a sweep's section becomes variants, seeds and jobs."""

import pytest

from muscle.config.alignment import AlignmentSettings
from muscle.errors import ConfigError
from muscle.sweep.dry_run import plan_sweep
from muscle.sweep.jobs import teachers_key
from muscle.sweep.plan import FLOOR, make_plan
from muscle.sweep.presets import PROBE, ready_variants
from muscle.sweep.sweep import Part, chosen_jobs
from muscle.sweep.variants import OWN, UpdateFile, Variant, expand, vary
from muscle.yaml_files import yaml_text
from tiny.bases import TASK_YAML, save_base, write_choice_rows


def written(tmp_path, **sections):
    config = {"old": "a/old", "new": "a/new", "tasks": [{"task": "piqa"}], **sections}
    (tmp_path / "update.yaml").write_text(yaml_text(config))
    return UpdateFile(tmp_path / "update.yaml")


def expanded(file):
    return expand(file, file.config().sweep)


def test_all_combinations_of_what_varies_are_variants(tmp_path):
    sweep = {"vary": {"alignment.mask": ["old_right", "old_always"], "training.epochs": [1, 2]}}
    variants, seeds = expanded(written(tmp_path, sweep=sweep))
    assert [variant.name for variant in variants] == [
        "mask=old_right, epochs=1",
        "mask=old_right, epochs=2",
        "mask=old_always, epochs=1",
        "mask=old_always, epochs=2",
    ]
    assert variants[2].overrides == {"alignment.mask": "old_always", "training.epochs": 1}
    assert seeds == [0]


def test_keys_that_end_alike_are_written_whole(tmp_path):
    sweep = {"vary": {"training.epochs": [1], "alignment.training.epochs": [2]}}
    (variant,), _ = expanded(written(tmp_path, sweep=sweep))
    assert variant.name == "training.epochs=1, alignment.training.epochs=2"


def test_a_varied_training_seed_is_a_seed_and_no_variant(tmp_path):
    variants, seeds = expanded(written(tmp_path, sweep={"vary": {"training.seed": [3, 4]}}))
    assert [variant.name for variant in variants] == [OWN]
    assert seeds == [3, 4]
    with pytest.raises(ConfigError, match=r"training\.seed: expected whole numbers, each once, found \[1, 1\]"):
        expanded(written(tmp_path, sweep={"seeds": [1], "vary": {"training.seed": [1]}}))


def test_the_update_itself_is_the_only_variant_where_nothing_is_asked_for(tmp_path):
    assert expanded(written(tmp_path))[0] == [Variant(OWN)]
    assert expanded(written(tmp_path, sweep={"presets": ["controls"]}))[0] == []


def test_two_variants_of_one_name_are_refused(tmp_path):
    sweep = {"vary": {"alignment.mask": ["old_right"]}, "variants": {"mask=old_right": {"training.epochs": 2}}}
    with pytest.raises(ConfigError, match="two variants are called 'mask=old_right'"):
        expanded(written(tmp_path, sweep=sweep))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"training.seed": 5}, r"variant 'mine': training\.seed: expected it in sweep\.seeds"),
        ({"training": {"seed": 5}}, r"variant 'mine': training\.seed: expected it in sweep\.seeds"),
        ({"output": "else"}, "variant 'mine': output: makes no other training"),
        ({"evaluation.floor": True}, r"variant 'mine': evaluation\.floor: makes no other"),
        ({"report": {"title": "x"}}, r"variant 'mine': report\.title: makes no other"),
    ],
    ids=str,
)
def test_a_variant_by_what_a_sweep_does_not_read_is_refused(tmp_path, overrides, message):
    with pytest.raises(ConfigError, match=message):
        expanded(written(tmp_path, sweep={"variants": {"mine": overrides}}))
    within = {"alignment": {"training": {"seed": 5}}}
    assert len(expanded(written(tmp_path, sweep={"variants": {"mine": within}}))[0]) == 1


def test_what_is_wrong_in_a_variant_names_the_variant(tmp_path):
    file = written(tmp_path, sweep={"variants": {"fine": {}, "mine": {"alignment.maskk": "old_right"}}})
    with pytest.raises(ConfigError, match=r"variant 'mine': .*alignment\.maskk: unknown key; did you mean 'mask'"):
        make_plan(file)


@pytest.mark.parametrize("preset", ["methods", "rivals"])
def test_a_preset_of_whole_answers_wants_tasks_of_one_kind(tmp_path, preset):
    both = [{"task": "piqa"}, {"task": "gsm8k"}]
    with pytest.raises(ConfigError, match=rf"sweep\.presets: {preset} learns whole options, .* an update of its own"):
        expanded(written(tmp_path, tasks=both, sweep={"presets": [preset]}))
    assert len(expanded(written(tmp_path, tasks=both, sweep={"presets": ["table7"]}))[0]) == 6


@pytest.mark.parametrize(
    ("key", "value", "taken"),
    [
        # A preset's rows that read it take it; the probe sets it itself, labels alone have no use of it.
        ("alignment.old_share", 0.7, {"options, mixture": 0.7, "options, reliability": 0.7, PROBE: 1.0, "paper": 0.5}),
        ("alignment.lora.r", 16, dict.fromkeys(("paper", "options, labels", "options, mixture", PROBE), 16)),
        ("alignment.training.epochs", 3, {"paper": 3, "options, mixture": 3}),
        ("alignment.labels_first", False, {"options, mixture": False, "options, stack": False}),
    ],
)
def test_a_key_for_all_variants_goes_into_the_sections_of_a_preset(tmp_path, key, value, taken):
    path = written(tmp_path, alignment={"method": "options"}, sweep={"presets": ["methods"]}).path
    file = UpdateFile(path, {key: value})
    configs = {variant.name: file.config(variant.overrides).alignment for variant in expanded(file)[0]}
    found = {name: configs[name] for name in taken}
    for part in key.split(".")[1:]:
        found = {name: each[part] if isinstance(each, dict) else getattr(each, part) for name, each in found.items()}
    assert found == taken


def test_a_key_for_all_variants_goes_into_a_variants_own_section_unless_that_sets_it(tmp_path):
    variants = {"mine": {"alignment": {"method": "options", "training": {"epochs": 6}}}, "plain": {"alignment": {}}}
    path = written(tmp_path, alignment={"method": "options"}, sweep={"variants": variants}).path
    file = UpdateFile(path, {"alignment.training.epochs": 2, "alignment.training.learning_rate": 0.1})
    trainings = {each.name: file.config(each.overrides).align_training() for each in expanded(file)[0]}
    assert [(each.epochs, each.learning_rate) for each in trainings.values()] == [(6, 0.1), (2, 0.1)]


@pytest.mark.parametrize(
    ("sweep", "key", "value"),
    [
        ({"presets": ["table7"]}, "alignment.old_share", 0.7),
        ({"presets": ["table7"]}, "alignment.ce_weight", 0.3),
        ({"vary": {"alignment.old_share": [0.2, 0.4]}}, "alignment.old_share", 0.7),
    ],
)
def test_a_key_for_all_variants_that_none_takes_is_refused(tmp_path, sweep, key, value):
    path = written(tmp_path, alignment={"method": "options"}, sweep=sweep).path
    with pytest.raises(ConfigError, match=rf"{key}: every variant sets it itself, or has no use of it"):
        expanded(UpdateFile(path, {key: value}))


def planned(tmp_path, **sections):
    config = {"old": "old", "new": "new", "output": "run", **sections}
    (tmp_path / "tools.yaml").write_text(TASK_YAML)
    for name, count in (("train", 20), ("test", 8)):
        write_choice_rows(tmp_path / f"{name}.jsonl", count, start=count)
    for seed, name in enumerate(("old", "new"), start=1):
        save_base(tmp_path / name, seed=seed)
    config["tasks"] = [{"task": "tools.yaml", "train": "train.jsonl", "test": "test.jsonl"}]
    (tmp_path / "update.yaml").write_text(yaml_text(config))
    return make_plan(UpdateFile(tmp_path / "update.yaml"))


def test_whatever_is_trained_its_leaderboard_has_what_it_is_measured_against(tmp_path):
    plan = planned(tmp_path, sweep={"vary": {"alignment.mask": ["old_right"], "lora.r": [4, 8]}, "seeds": [0, 1]})
    floor = chosen_jobs(plan, only=[f"{FLOOR} (lora.r=4)"])
    assert {job.kind for job in floor} == {"again", "tasks"}
    for chosen in (
        floor,
        *(chosen_jobs(plan, part=Part(number, 30)) for number in range(1, 31)),
    ):
        groups = {(job.name.split("/")[1], job.seed) for job in chosen if job.kind != "variant"}
        scored = {(job.name.split("/")[1], job.seed) for job in chosen if job.kind == "tasks"}
        assert groups and groups == scored
        names = [job.name for job in chosen]
        assert all(names.index(need) < names.index(job.name) for job in chosen for need in job.needs)


def test_a_dry_run_downloads_nothing_and_says_what_is_not_here(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    caplog.set_level("INFO")
    sweep = {"presets": ["table7"], "third": "org/third", "seeds": [0]}
    path = written(tmp_path, old="org/old", new="org/new", sweep=sweep, training={"epochs": 2}).path
    plan = plan_sweep(path, {}, out=tmp_path / "none")
    assert plan.notes == (
        "not on this machine: the data of piqa; published sizes stand for it",
        "not on this machine: org/old, org/new, org/third; `muscle sweep` downloads them",
    )
    longer = next(job for job in plan.jobs if job.name.endswith("/longer"))
    assert longer.examples == 2 * (16_113 - round(0.2 * 16_113))
    assert not (tmp_path / "cache").exists() and not (tmp_path / "none").exists()


def test_a_groups_values_are_written_as_its_variants_are(tmp_path):
    plan = planned(tmp_path, sweep={"vary": {"prompt": [{"num_fewshot": 1}, {"num_fewshot": 0}]}})
    assert 'plain update (prompt={"num_fewshot": 1})' in [row.name for row in plan.rows]


def test_a_row_says_in_words_what_of_its_method_is_not_as_usual(tmp_path):
    variants = {
        "usual": {"alignment.labels_first": False},
        "other": {"alignment": {"method": "options", "kl": "reverse", "start": "fresh", "lora": {"r": 16}}},
        "tokens": {"alignment": {"start": "old", "lora": {"r": 8}}},
    }
    plan = planned(tmp_path, alignment={"method": "options"}, sweep={"variants": variants, "controls": False})
    assert {row.name: row.what for row in plan.rows if row.role == "method"} == {
        "usual": "options, mixture, old share 0.5",
        "other": "options, mixture, old share 0.5, reverse KL, labels first, from a fresh adapter, rank 16",
        "tokens": "Eq. 1, mask student_wrong, T 2, from the old adapter, rank 8",
    }


@pytest.mark.parametrize(
    "name", ["../../etc", "a/b", "<script>", "x" * 300, "..", "CON\0", "\N{RIGHT-TO-LEFT OVERRIDE}a"]
)
def test_a_folder_is_named_safely_whatever_the_variant_is_called(name):
    folder = Variant(name).folder_name
    assert "/" not in folder and folder.strip(".") and len(folder) <= 60
    assert folder.isascii()
    assert folder != Variant(f"{name} ").folder_name


def test_values_with_commas_in_brackets_or_quotes_stay_whole():
    assert vary('k=["a", 1],"b,c",null,true') == ("k", [["a", 1], "b,c", None, True])
    for wrong in ("k", "=1", "k=", "k=[1"):
        with pytest.raises(ConfigError, match="expected KEY=VALUE,VALUE"):
            vary(wrong)


def test_table_7_has_the_papers_rows_with_its_numbers():
    ready = ready_variants("table7", AlignmentSettings(temperature=1.5, training={"epochs": 3}))
    settings = [AlignmentSettings.model_validate(each.alignment) for each in ready]
    assert [(each.mask, each.ce_weight) for each in settings] == [
        ("student_wrong", 0.0),
        ("old_right", 0.0),
        ("old_always", 0.0),
        ("student_wrong", 0.5),
        ("token_likelihood", 0.5),
        ("sequence_likelihood", 0.5),
    ]
    assert all(each.temperature == 1.5 and each.training == {"epochs": 3} for each in settings)
    assert [each.published.negative_flip_rate_change_percent for each in ready] == [
        -34.25,
        -19.76,
        -25.80,
        -26.75,
        -18.29,
        -16.91,
    ]


def test_the_preset_of_methods_is_valid_whatever_the_update_has():
    for given in (
        AlignmentSettings(),
        AlignmentSettings.model_validate({"method": "options", "unlabelled": "more.jsonl", "unlabelled_epochs": 2}),
        AlignmentSettings(engine="mixed", mask="old_right", ce_weight=0.2),
        AlignmentSettings(selection="cross_entropy", temperature=3.0),
    ):
        found = {
            each.name: AlignmentSettings.model_validate(each.alignment) for each in ready_variants("methods", given)
        }
        assert found["paper"].temperature == given.temperature or given.unit != "tokens"
        targets = {each.target for each in found.values()}
        assert targets == {"mask", "labels", "mixture", "reliability", "lifted", "margin", "stack"}
        assert found[PROBE].old_share == 1.0
        assert found["options, mixture"].unlabelled == given.unlabelled
        assert found["options, margin"].unlabelled is None
        assert found["tokens of every option"].unlabelled == given.unlabelled
        assert found["tokens of every option"].temperature == 1.0
        masked = found["options, mask"]
        assert (masked.unit, masked.target, masked.mask, masked.unlabelled) == (
            "options",
            "mask",
            "student_wrong",
            None,
        )


def test_the_preset_of_methods_learns_tokens_of_every_answer_where_answers_are_generated():
    given = AlignmentSettings.model_validate(
        {"method": "answers", "unlabelled": "more.jsonl", "answers": {"samples": 5}, "selection": "cross_entropy"}
    )
    found = {each.name: each.alignment for each in ready_variants("methods", given, "answers")}
    every = AlignmentSettings.model_validate(found["tokens of every answer"])
    assert (every.texts, every.target, every.selection) == ("every_answer", "mixture", "own")
    assert (every.answers.samples, every.unlabelled, every.temperature) == (5, "more.jsonl", 1.0)
    assert "tokens of every option" not in found


@pytest.mark.parametrize("unit", ["options", "answers"])
def test_the_preset_of_rivals_is_valid_whatever_the_update_has(unit):
    for given in (
        AlignmentSettings(training={"epochs": 2}),
        AlignmentSettings(method="options", unlabelled="more.jsonl", selection="cross_entropy"),
        AlignmentSettings(method="options", teachers=["a", "b"]),
    ):
        found = {
            each.name: AlignmentSettings.model_validate(each.alignment)
            for each in ready_variants("rivals", given, unit)
        }
        targets = {each.target for each in found.values()}
        assert targets == {"mixture", "focal", "inhibition", "old_answers", "twins", "interpolation"}
        assert {each.unit for each in found.values()} == {unit, "weights"}
        assert all(each.training == given.training for each in found.values())
        assert found["PCT, KL"].unlabelled == given.unlabelled
        assert found["twins"].unlabelled is None
        assert ("ELODI" in found) == bool(given.teachers)
        assert found["old adapter copied"].old_share == 1.0


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/", "-1/2"])
def test_a_part_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="expected I/N"):
        Part.parse(text)


def test_a_section_with_an_unknown_key_or_preset_is_refused_with_its_line(tmp_path):
    with pytest.raises(ConfigError, match=r"line \d+: sweep\.seedz: unknown key; did you mean"):
        written(tmp_path, sweep={"seedz": [1]}).config()
    with pytest.raises(ConfigError, match=r"sweep\.presets\.0: expected 'table7'"):
        written(tmp_path, sweep={"presets": ["all"]}).config()
    with pytest.raises(ConfigError, match=r"sweep\.vary\.alignment\.mask"):
        written(tmp_path, sweep={"vary": {"alignment.mask": []}}).config()


def test_variants_share_their_teachers_stores_unless_their_teachers_differ(tmp_path):
    def key(**alignment):
        return teachers_key(
            written(tmp_path, alignment={"method": "options", "labels_first": False, **alignment}).config()
        )

    assert key() == key(old_share=0.7) == key(target="reliability", sharpness=4.0)
    assert key(teachers=["a"]) == key(teachers=["a"], old_share=0.7)
    assert len({key(), key(teachers=["a"]), key(teachers=["b"])}) == 3
