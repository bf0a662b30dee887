"""A sweep the whole way on the tiny pair: variants, seeds, controls, parts, processes, failures."""

import json
import math
import shutil
from dataclasses import replace

import pytest

from helpers.command_line import muscle
from muscle.errors import ConfigError
from muscle.leaderboard.result import Leaderboard
from muscle.pipeline.load_data import load_data
from muscle.pipeline.run_folder import content_of
from muscle.sweep.sweep import Part, sweep
from tiny.update_inputs import write_sweep_inputs

VARY = {"alignment.mask": ["student_wrong", "old_right"]}
MASKS = [f"mask={mask}" for mask in VARY["alignment.mask"]]
TWINS = [f"{name}, twin as old" for name in MASKS]
SHARED = [
    "old",
    "plain update",
    "bare new base",
    "floor: old recipe again",
    "twin: new recipe again",
    "longer: cross-entropy",
]
SERVED = [
    "served: mean",
    "served: kappa 1",
    "served: kappa by limit",
    "served: old for 25%",
]
STAGES_OF_SEED = (2 + 3) + (2 + 2) + (1 + 1) + (2 + 1) + 4 * (1 + 1)
"""Trained and scored: task adapters; both again; longer; both served; two variants, each with its twin control."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("sweep")
    return write_sweep_inputs(root, sweep={"vary": VARY, "seeds": [0, 1]}, train=40, test=24)


@pytest.fixture(scope="module")
def finished(inputs, tmp_path_factory):
    out = tmp_path_factory.mktemp("sweeps") / "whole"
    return out, sweep(inputs / "update.yaml", out=out)


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished sweep, whose paths are its own."""
    shutil.copytree(finished[0], tmp_path / "whole")
    return tmp_path / "whole"


def rows_of(leaderboard: Leaderboard) -> dict:
    return {row.name: row for row in leaderboard.rows}


def test_controls_come_first_and_every_row_has_its_numbers_for_every_seed(finished):
    _, result = finished
    names = [row.name for row in result.leaderboard.rows]
    assert names == [*SHARED, *SERVED, TWINS[0], MASKS[0], TWINS[1], MASKS[1]]
    assert result.num_stages_run == 2 * STAGES_OF_SEED
    for row in result.leaderboard.rows:
        numbers = row.tasks["tools"]
        assert [each.seed for each in numbers.by_seed] == [0, 1], row.name
        assert all(each.n == 24 for each in numbers.by_seed)
        assert numbers.over_seeds["accuracy"].n == 2
    assert rows_of(result.leaderboard)["bare new base"].seconds is None
    assert rows_of(result.leaderboard)[MASKS[0]].seconds.n == 2


def test_every_method_is_held_against_its_controls(finished):
    _, result = finished
    comparisons = rows_of(result.leaderboard)[MASKS[0]].tasks["tools"].comparisons
    against = {each.control: each.against for each in comparisons}
    assert against == {
        "plain": "plain update",
        "floor": "floor: old recipe again",
        "twin": "twin: new recipe again",
        "longer": "longer: cross-entropy",
        "twin_as_old": TWINS[0],
    }
    assert result.leaderboard.tasks[0].advice is not None


def test_both_models_served_keep_what_either_had_and_are_no_training(finished):
    _, result = finished
    rows = rows_of(result.leaderboard)
    mean = rows[SERVED[0]]
    assert (mean.role, mean.models_served, mean.seconds) == ("served", 2, None)
    (written,) = finished[0].glob("groups/*/seed-0/served/predictions/mean/tools.jsonl")
    served = [json.loads(line) for line in written.read_text().splitlines()]
    tasks = written.parents[3] / "tasks/predictions"
    both = [
        [json.loads(line) for line in (tasks / side / "tools.jsonl").read_text().splitlines()]
        for side in ("old", "new")
    ]
    for ours, old, new in zip(served, *both, strict=True):
        assert ours["id"] == old["id"] == new["id"]
        assert ours["choice"] == ours["logprobs"].index(max(ours["logprobs"]))
        assert ours["output"] == ours["choices"][ours["choice"]]
        # Of two options, one that both models answered is never left.
        assert old["choice"] != new["choice"] or ours["choice"] == old["choice"]
        assert ours["correct"] == (ours["output"] in ours["reference"])
        assert ours["score"]["acc"] == ours["correct"]
        gold = ours["logprobs"][ours["choices"].index(ours["reference"][0])]
        assert ours["score"]["gold_probability"] == pytest.approx(math.exp(gold))
    assert set(served[0]["score"]) == {"acc", "gold_probability", "gold_logprob"}


def test_adapters_are_those_that_a_single_update_trains(inputs, finished, tmp_path):
    from muscle import load_config, update

    out, _ = finished
    overrides = {"output": str(tmp_path / "run"), "alignment.mask": "old_right", "training.seed": 1}
    update(load_config(inputs / "update.yaml", overrides=overrides))
    (tasks,) = out.glob("groups/*/seed-1/tasks")
    (variant,) = out.glob("variants/mask=old_right/*/seed-1")
    for run, folder in (("old", tasks), ("new", tasks), ("compat", variant)):
        ours, theirs = (each / "adapters" / run / "tools" for each in (folder, tmp_path / "run"))
        assert content_of(ours) == content_of(theirs), run


def test_the_floor_shares_the_split_and_not_the_weights(finished):
    out, _ = finished
    found = {}
    for kind in ("tasks", "again"):
        (manifest,) = out.glob(f"groups/*/seed-0/{kind}/manifest.json")
        found[kind] = json.loads(manifest.read_text())["stages"]["finetune old/tools"]["inputs"]
    assert found["tasks"]["train"] == found["again"]["train"]
    assert found["again"]["training"]["seed"] == 1000
    adapters = {kind: content_of(next(out.glob(f"groups/*/seed-0/{kind}/adapters/old/tools"))) for kind in found}
    assert adapters["tasks"] != adapters["again"]


def test_a_second_run_does_nothing_and_says_the_same(inputs, finished):
    out, result = finished
    again = sweep(inputs / "update.yaml", out=out)
    assert again.num_stages_run == 0
    assert again.leaderboard.rows == result.leaderboard.rows


def test_test_items_that_were_learnt_from_are_told_before_the_numbers(inputs, copied, monkeypatch):
    def leaking(config, **options):
        return {name: replace(data, num_leaked=3) for name, data in load_data(config, **options).items()}

    monkeypatch.setattr("muscle.sweep.sweep.load_data", leaking)
    sweep(inputs / "update.yaml", out=copied)
    board = json.loads((copied / "leaderboard.json").read_text())
    assert "test examples stand in the training data too; its scores are too good" in board["notes"][0]
    assert "stand in the training data too" in (copied / "leaderboard.html").read_text()


def test_controls_of_given_adapters_may_be_another_recipe_which_is_told_before_the_numbers(inputs, copied):
    (tasks,) = copied.glob("groups/*/seed-0/tasks")
    given = {
        side: {"base": str(inputs / side), "adapters": {"tools": str(tasks / "adapters" / side / "tools")}}
        for side in ("old", "new")
    }
    overrides = {**given, "sweep.seeds": [0]}
    for controls in (True, False):
        board = sweep(inputs / "update.yaml", overrides=overrides, out=copied, controls=controls, only=["old"])
        told = [note for note in board.leaderboard.notes if "adapter is given; the" in note]
        assert [note.split(" is trained")[0] for note in told] == [
            "task tools: the old adapter is given; the floor",
            "task tools: the new adapter is given; the twin",
        ][: 2 * controls]


def test_a_further_variant_trains_nothing_but_itself_and_its_twin(inputs, copied):
    vary = {"alignment.mask": [*VARY["alignment.mask"], "old_always"]}
    result = sweep(inputs / "update.yaml", overrides={"sweep.vary": vary, "sweep.seeds": [0]}, out=copied)
    ran = {name: outcome.num_run for name, outcome in result.outcomes.items() if outcome.num_run}
    # The copy's adapters have other paths, and the same content: only new jobs run.
    assert {name.split("/")[1] for name in ran} == {"mask=old_always", "mask=old_always+twin-as-old"}


def test_a_lost_adapter_is_trained_again_and_nothing_else(inputs, copied):
    (adapter,) = copied.glob("variants/mask=old_right/*/seed-0/adapters/compat/tools/adapter_model.safetensors")
    adapter.unlink()
    result = sweep(inputs / "update.yaml", out=copied)
    assert [name for name, outcome in result.outcomes.items() if outcome.num_run] == [
        next(name for name in result.outcomes if name.startswith("variants/mask=old_right/") and name.endswith("-0"))
    ]


def test_parts_together_do_what_one_run_does(inputs, finished, tmp_path):
    options = {"overrides": {"sweep.seeds": [0]}, "out": tmp_path / "parts"}
    first, second = (sweep(inputs / "update.yaml", part=Part(number, 2), **options) for number in (1, 2))
    assert 0 < first.num_stages_run < STAGES_OF_SEED
    assert first.num_stages_run + second.num_stages_run == STAGES_OF_SEED
    unfinished = [row for row in first.leaderboard.rows if row.failed]
    assert unfinished and all(why == "not run yet" for row in unfinished for why in row.failed.values())
    whole = rows_of(finished[1].leaderboard)
    for row in second.leaderboard.rows:
        assert row.tasks["tools"].by_seed == whole[row.name].tasks["tools"].by_seed[:1], row.name


def test_several_processes_do_what_one_does(inputs, finished, tmp_path):
    result = sweep(
        inputs / "update.yaml",
        overrides={"sweep.seeds": [1], "sweep.vary": {"alignment.mask": ["old_right"]}},
        controls=False,
        out=tmp_path / "jobs",
        processes=2,
    )
    assert not result.failed
    whole = rows_of(finished[1].leaderboard)
    for row in result.leaderboard.rows:
        assert row.tasks["tools"].by_seed == whole[row.name].tasks["tools"].by_seed[1:], row.name


def test_a_variant_that_fails_is_named_and_does_not_stop_the_others(inputs, copied):
    arguments = ("--out", copied, "--vary", "alignment.lora=null,{r: 2}", "--seeds", 0, "--no-controls")
    done = muscle("sweep", inputs / "update.yaml", "--json", *arguments)
    assert done.code == 3
    rows = {row["name"]: row for row in json.loads(done.out)["rows"]}
    assert list(rows) == ["old", "plain update", "lora=null", 'lora={"r": 2}']
    assert rows["lora=null"]["failed"] == {}
    assert "rank" in rows['lora={"r": 2}']["failed"]["0"]


def test_an_unrelated_third_base_stands_in_the_olds_place(inputs, copied):
    result = sweep(inputs / "update.yaml", overrides={"sweep.third": "third", "sweep.seeds": [0]}, out=copied)
    rows = rows_of(result.leaderboard)
    assert rows[f"{MASKS[1]}, third as old"].tasks["tools"].by_seed
    against = {each.control: each.against for each in rows[MASKS[1]].tasks["tools"].comparisons}
    assert against["third_as_old"] == f"{MASKS[1]}, third as old"


def test_methods_on_options_have_a_control_without_a_teacher(inputs, copied):
    variants = {
        "mixture": {"alignment.method": "options"},
        "labels": {"alignment": {"method": "options", "target": "labels"}},
    }
    overrides = {"sweep.vary": {}, "sweep.variants": variants, "sweep.seeds": [0]}
    result = sweep(inputs / "update.yaml", overrides=overrides, out=copied)
    rows = rows_of(result.leaderboard)
    assert rows["mixture"].tasks["tools"].against("no_teacher").against == "no teacher: labels alone"
    # Labels first and then the mixture: one epoch each, so that the control trains for two.
    written = next(copied.glob("variants/no-teacher-options/*/seed-0/adapters/compat/tools/training.json"))
    assert json.loads(written.read_text())["num_epochs"] == 2
    assert "labels, twin as old" not in rows


def test_only_one_row_is_trained_where_it_is_named(inputs, tmp_path):
    result = sweep(
        inputs / "update.yaml", overrides={"sweep.seeds": [0]}, out=tmp_path / "only", only=["mask=old_right"]
    )
    kinds = sorted(name.split("/")[0] + name.rpartition("/")[2] for name in result.outcomes)
    assert kinds == ["groupstasks", "variantsseed-0"]
    with pytest.raises(ConfigError, match="--only nothing: expected one of"):
        sweep(inputs / "update.yaml", out=tmp_path / "only", only=["nothing"])


def test_a_variant_cannot_be_called_like_a_control(inputs, tmp_path):
    overrides = {"sweep.variants": {"plain update": {"alignment.mask": "old_right"}}}
    with pytest.raises(ConfigError, match="a variant is called 'plain update', as another row is"):
        sweep(inputs / "update.yaml", overrides=overrides, out=tmp_path)


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_a_launcher_is_refused_in_one_line_before_anything_is_written(inputs, tmp_path, options, monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost"}.items():
        monkeypatch.setenv(name, value)
    done = muscle("sweep", inputs / "update.yaml", "--set", f"output={tmp_path / 'run'}", *options)
    assert done.code == 3 and done.out == "" and not (tmp_path / "run").exists()
    assert done.err.splitlines() == [
        "muscle: muscle sweep: expected one process, found 2 of a launcher (torchrun, accelerate launch); start it "
        "without one: --jobs and --part spread it over processes and machines"
    ]


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_a_folder_that_takes_no_file_is_refused_before_a_job_runs(inputs, tmp_path, options):
    (tmp_path / "taken").write_text("mine")
    done = muscle("sweep", inputs / "update.yaml", "--set", f"output={tmp_path / 'taken'}", *options)
    assert done.code == 3 and f"{tmp_path / 'taken' / 'sweep'}: cannot be written: Not a directory" in done.err


def test_the_dry_run_lists_the_jobs_and_what_is_done(inputs, finished, tmp_path):
    for out, state in ((finished[0], "done"), (tmp_path / "none", "to run")):
        done = muscle("sweep", inputs / "update.yaml", "--dry-run", "--json", "--out", out)
        assert done.code == 0, done.err
        jobs = json.loads(done.out)["jobs"]
        assert len(jobs) == 2 * (4 + 4)
        assert {job["state"] for job in jobs} == {state}
    assert not (tmp_path / "none").exists()
    assert json.loads(done.out)["notes"] == []
    (tasks,) = [job for job in jobs if job["name"].endswith("seed-0/tasks")]
    assert (tasks["num_trainings"], tasks["num_scored"], tasks["examples"]) == (2, 3, 2 * 32)
    (served,) = [job for job in jobs if job["name"].endswith("seed-0/served")]
    assert (served["num_trainings"], served["num_scored"]) == (0, 2), "both models answer the validation items"
