"""Updates whose old and new base have other tokenizers, vocabularies and architectures, the whole way."""

import json
from pathlib import Path

import polars as pl
import pytest
import torch

from helpers.command_line import muscle
from muscle.config.settings import BaseConfig
from muscle.config.update_file import load_config
from muscle.errors import ModelError
from muscle.models.adapters import load_adapter
from muscle.models.bases import load_base
from muscle.models.tokenizers import share_tokenizer
from muscle.pipeline.at_hand import nothing_downloaded
from muscle.pipeline.dry_run import plan_update
from muscle.pipeline.update import update
from muscle.report.sentences.trained import adapter_words
from muscle.sweep.plan import make_plan
from muscle.sweep.variants import UpdateFile
from muscle.yaml_files import yaml_text
from tiny.bases import GENERATION_YAML, TASK_YAML, save_base, write_choice_rows
from tiny.tokenizer_kinds import save_base_with, trained_tokenizer
from tiny.update_inputs import TRAINING


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("pairs")
    (root / "tools.yaml").write_text(TASK_YAML)
    (root / "words.yaml").write_text(GENERATION_YAML)
    write_choice_rows(root / "train.jsonl", 24)
    write_choice_rows(root / "test.jsonl", 12, start=1000)
    save_base(root / "words", seed=1)
    save_base_with(root / "bytes", trained_tokenizer("byte-level"), architecture="gemma3", seed=2)
    save_base_with(root / "capped", trained_tokenizer("byte-fallback"), architecture="gemma2", seed=4)
    save_base_with(root / "pieces", trained_tokenizer("unigram", bos=True), architecture="mixtral", seed=3)
    return root


def written(root: Path, out: Path, *, task: str = "tools.yaml", old: str = "words", new: str = "bytes", **alignment):
    config = {
        "old": old,
        "new": new,
        "tasks": [{"task": task, "train": "train.jsonl", "test": "test.jsonl"}],
        "lora": {"r": 4, "alpha": 8},
        "training": TRAINING,
        "alignment": alignment,
        "evaluation": {"control": True, "bare_base": False},
        "output": str(out),
    }
    path = root / f"{out.name}.yaml"
    path.write_text(yaml_text(config))
    return path


@pytest.fixture(scope="module")
def finished(inputs):
    """An update from words to bytes, to Gemma 3's architecture."""
    return update(load_config(written(inputs, inputs / "run")))


# PEFT looks for the experts' layers, which are one tensor here and get no adapter.
@pytest.mark.filterwarnings("ignore:The following .*_pattern keys:RuntimeWarning")
def test_an_update_of_a_choice_task_takes_any_pair_of_bases(inputs, tmp_path, caplog):
    path = written(inputs, tmp_path / "experts", old="capped", new="pieces")
    with caplog.at_level("INFO"):
        result = update(load_config(path))
    said = [line for line in caplog.messages if "tokenizers differ" in line]
    assert said == [
        "the bases' tokenizers differ: the method is options (whole answer options; alignment.method: another)"
    ]
    method = result.report.training["tools"][2].method
    assert (method.unit, method.target, method.labels_first) == ("options", "mixture", True)
    assert update(load_config(path)).num_stages_run == 0


def test_all_runs_answer_the_same_questions(finished):
    runs = (pl.read_ndjson(finished.folder / "predictions" / run / "tools.jsonl") for run in ("old", "new", "compat"))
    asked = [run.select("input", "choices").rows() for run in runs]
    assert asked[0] == asked[1] == asked[2]


@pytest.mark.parametrize(("run", "base"), [("old", "words"), ("compat", "bytes")])
def test_each_model_is_scored_with_its_own_tokenizer(inputs, finished, run, base):
    row = json.loads((finished.folder / "predictions" / run / "tools.jsonl").read_text().splitlines()[0])
    loaded = load_base(BaseConfig(base=str(inputs / base)), precision="float32")
    model = load_adapter(loaded, finished.folder / "adapters" / run / "tools")
    expected = []
    for option in row["choices"]:
        ids = torch.tensor([loaded.tokenizer(f"{row['input']} {option}")["input_ids"]])
        start = len(loaded.tokenizer(row["input"])["input_ids"])
        log_p = model(input_ids=ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])
        expected.append(float(log_p[start - 1 :].sum()))
    assert row["logprobs"] == pytest.approx(expected, abs=1e-4)


def test_a_dry_run_counts_each_base_s_own_tokens(inputs, tmp_path):
    plan = plan_update(load_config(written(inputs, tmp_path / "run")))
    tokens = {stage.name: stage.num_tokens for stage in plan.stages}
    assert tokens["finetune new/tools"] > tokens["finetune old/tools"]  # bytes against words
    assert tokens["evaluate new/tools"] > tokens["evaluate old/tools"]
    assert next(stage for stage in plan.stages if stage.name == "align tools").teacher_tokens > 0


def test_the_method_stays_where_one_is_written_or_the_tokenizers_are_one(inputs, tmp_path):
    for alignment in ({"method": "paper"}, {"mask": "old_right"}, {"unit": "tokens"}):
        config = UpdateFile(written(inputs, tmp_path / "run", **alignment)).config()
        assert config.alignment.unit == "tokens"
    assert UpdateFile(written(inputs, tmp_path / "run", new="words")).config().alignment.method == "paper"
    assert UpdateFile(written(inputs, tmp_path / "run", task="words.yaml")).config().alignment.unit == "tokens"


def test_a_sweep_takes_the_method_that_fits_too(inputs, tmp_path):
    plan = make_plan(UpdateFile(written(inputs, tmp_path / "run")))
    assert plan.config.alignment.method == "options"
    assert {job.config.alignment.unit for job in plan.jobs if job.kind == "variant"} == {"options"}


def test_the_single_step_takes_the_method_that_fits(inputs, finished, tmp_path):
    adapters = {side: finished.folder / "adapters" / side / "tools" for side in ("old", "new")}
    sides = [f"--{side}={inputs / base}+{adapters[side]}" for side, base in (("old", "words"), ("new", "bytes"))]
    sets = [f"--set=training.{key}={value}" for key, value in TRAINING.items()]
    done = muscle(
        "align",
        *sides,
        f"--task={inputs / 'tools.yaml'}",
        f"--train={inputs / 'train.jsonl'}",
        *sets,
        f"--out={tmp_path / 'c'}",
    )
    assert done.code == 0, done.err
    assert "the bases' tokenizers differ: the method is options" in done.err
    note = json.loads((tmp_path / "c" / "muscle.json").read_text())
    assert (note["alignment"]["unit"], note["alignment"]["target"]) == ("options", "mixture")


def test_bases_are_held_against_each_other_by_their_files(inputs, tmp_path):
    words, pieces = (BaseConfig(base=str(inputs / name)) for name in ("words", "pieces"))
    save_base(tmp_path / "again", seed=7)
    save_base(tmp_path / "more", seed=7, extra_words=1)
    assert share_tokenizer(words, BaseConfig(base=str(tmp_path / "again"))) is True
    assert share_tokenizer(words, BaseConfig(base=str(tmp_path / "more"))) is False
    assert share_tokenizer(words, pieces) is False
    with nothing_downloaded():
        assert share_tokenizer(words, BaseConfig(base="someone/not-here")) is None
    with pytest.raises(ModelError, match="no such folder"):
        share_tokenizer(words, BaseConfig(base="./not-here"))


@pytest.mark.parametrize("new", ["bytes", "capped"])
def test_eq_1_on_tokens_takes_such_a_pair_and_the_report_says_what_was_aligned(inputs, tmp_path, new):
    path = written(inputs, tmp_path / "tokens", task="words.yaml", new=new)
    result = update(load_config(path))
    method = result.report.training["tools"][2].method
    assert (method.unit, method.target, method.projection) == ("tokens", "mask", "chunks")
    assert 0.3 < method.aligned < 1.0 and 0.5 < method.placed <= 1.0
    said = f"the old model's tokens aligned at {100 * method.aligned:.1f}% of the new ones"
    assert said in adapter_words(result.report.training["tools"][2])
    assert said in (result.folder / "report.md").read_text().replace("\\", "")
    assert update(load_config(path)).num_stages_run == 0


def test_a_tokenizer_that_cannot_be_aligned_is_refused_before_training(inputs, tmp_path, monkeypatch):
    monkeypatch.setattr("muscle.training.crossing.spelling._kind_of", refuse_kind)
    with pytest.raises(ModelError, match="expected a byte-level"):
        update(load_config(written(inputs, tmp_path / "odd", new="pieces", method="paper")))
    assert not list((tmp_path / "odd").glob("adapters/*"))


def refuse_kind(tokenizer):
    raise ModelError("tokenizer: expected a byte-level one, found another")
