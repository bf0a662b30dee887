"""The dry run's counts and estimates at option level, against what a training really reads and keeps."""

import json

import pytest

from muscle.config.settings import BaseConfig, LoraSettings, TrainingSettings
from muscle.models.adapters import new_adapter
from muscle.models.bases import load_base
from muscle.models.option_scores import option_log_likelihoods
from muscle.models.option_tree import option_tree
from muscle.pipeline.dry_run import plan_update
from muscle.pipeline.resources import ModelSizes, TreeSizes, estimate
from muscle.pipeline.stages import UpdateStages
from muscle.pipeline.update import update
from tiny import update_inputs
from tiny.bases import save_base
from tiny.kept_bytes import kept_bytes

TRAINING = {**update_inputs.TRAINING, "epochs": 2, "warmup_steps": 1}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return update_inputs.write_update_inputs(tmp_path_factory.mktemp("dry"), train=20, test=6, more=10)


def configured(root, out, **alignment):
    return update_inputs.configured(root, out, training=TRAINING, control=False, **alignment)


@pytest.mark.parametrize(
    "alignment",
    [
        {"method": "options", "unlabelled": "more.jsonl", "unlabelled_epochs": 3},
        {"method": "options", "target": "labels"},
        {"unit": "options", "target": "margin"},
        {"method": "options", "target": "mask"},
    ],
    ids=lambda each: each.get("target", "mixture"),
)
def test_the_tokens_of_trees_are_those_that_training_and_teachers_read(inputs, tmp_path, monkeypatch, alignment):
    read = {"trained": 0, "asked": 0}

    def count(name):
        def counting(model, trees, **kwargs):
            read[name] += sum(len(tree.input_ids) for tree in trees)
            return option_log_likelihoods(model, trees, **kwargs)

        return counting

    monkeypatch.setattr("muscle.training.options.trainer.option_log_likelihoods", count("trained"))
    monkeypatch.setattr("muscle.models.option_batches.option_log_likelihoods", count("asked"))
    config = configured(inputs, tmp_path / alignment.get("target", "mixture"), **alignment)
    planned = {stage.name: stage for stage in plan_update(config).stages}["align tools"]
    # The trainings alone: what scores the test items reads trees too.
    stages = UpdateStages(config)
    for stage in stages.all():
        if stage.epochs is not None and stage.work is not None:
            stage.work()
    stages.bases.free()
    assert planned.num_tokens == read["trained"] > 0
    assert planned.teacher_tokens == read["asked"]
    assert (planned.teacher_tokens > 0) == (config.alignment.target != "labels")


@pytest.mark.parametrize(("batch", "context", "options"), [(4, 12, 6), (2, 30, 9)])
def test_the_memory_of_a_step_at_option_level_is_what_autograd_keeps(tmp_path, batch, context, options):
    base = load_base(
        BaseConfig(base=str(save_base(tmp_path / "base", seed=0, hidden_size=64))), precision="float32", device="cpu"
    )
    model = new_adapter(base, LoraSettings(r=8, alpha=16)).train()
    # Options of four tokens that part at the first: each has three nodes of its own.
    trees = [
        option_tree(list(range(3, 3 + context)), [[3 + n, 4 + n, 5 + n, 6 + n] for n in range(options)])
        for _ in range(batch)
    ]
    nodes, predicting = context + 3 * options, 1 + 3 * options
    assert len(trees[0].input_ids) == nodes and len({edge.node for edge in trees[0].edges}) == predicting
    measured = kept_bytes(model, lambda: option_log_likelihoods(model, trees, pad_token_id=0))
    found = estimate(
        ModelSizes.of(base.model.config),
        TrainingSettings(batch_size=batch, precision="float32"),
        rank=8,
        tokens_per_epoch=0,
        sequence_tokens=0,
        trees=TreeSizes(nodes, predicting, options * batch, trained=0, asked=0, num_teachers=2),
    )
    # The logits' chunk counts what is there at the peak, of which autograd keeps a part.
    assert found.activations <= 1.1 * measured
    assert found.activations + found.chunk >= 0.95 * measured
    assert found.store == 2 * 4 * options * batch


def test_the_estimate_of_a_run_counts_trees_and_teachers(inputs, tmp_path):
    config = configured(inputs, tmp_path / "run", method="options")
    sizes, found = plan_update(config).resources
    planned = {stage.name: stage for stage in plan_update(config).stages}["align tools"]
    work = 4 * sizes.parameters * planned.num_tokens + 2 * sizes.parameters * planned.teacher_tokens
    assert found.seconds == pytest.approx(work / (312e12 * 0.4))
    # 20 items of two options, two teachers, four bytes each.
    assert found.store == 20 * 2 * 2 * 4


def test_the_teachers_of_eq_1_read_every_example_once(inputs, tmp_path):
    plan = plan_update(configured(inputs, tmp_path / "run"))
    planned = {stage.name: stage for stage in plan.stages}
    # 20 rows of seven tokens, two epochs, and four of them before the first; two teachers.
    assert planned["align tools"].num_tokens == (20 * 2 + 4) * 7
    assert planned["align tools"].teacher_tokens == 20 * 7 * 2
    assert planned["finetune old/tools"].teacher_tokens == 0
    told = json.loads(json.dumps(plan.to_json()))["stages"]
    assert [(stage["name"], stage["num_tokens"]) for stage in told] == [(s.name, s.num_tokens) for s in plan.stages]


@pytest.mark.parametrize("alignment", [{}, {"method": "options"}], ids=["tokens", "options"])
def test_a_control_learns_from_labels_alone(inputs, tmp_path, alignment):
    plan = plan_update(update_inputs.configured(inputs, tmp_path / "run", **alignment))
    planned = {stage.name: stage for stage in plan.stages}
    assert planned["align tools"].teacher_tokens > 0
    assert planned["control tools"].num_tokens > 0 and planned["control tools"].teacher_tokens == 0


def test_what_is_done_has_no_tokens(inputs, tmp_path):
    config = configured(inputs, tmp_path / "run", method="options")
    update(config)
    assert {(stage.state, stage.num_tokens, stage.teacher_tokens) for stage in plan_update(config).stages} == {
        ("done", 0, 0)
    }
