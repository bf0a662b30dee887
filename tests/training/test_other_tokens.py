"""Eq. 1 on tokens with an old model of another tokenizer, vocabulary and architecture: whole trainings."""

import json

import pytest
import torch
from safetensors.torch import load_file

from muscle.config.alignment import AlignmentSettings
from muscle.config.settings import BaseConfig, LoraSettings, TrainingSettings
from muscle.errors import ModelError
from muscle.models.bases import load_base
from muscle.tasks import get_task, load_examples, split_train_validation
from muscle.training.align import align
from muscle.training.finetune import finetune
from tiny.bases import GENERATION_YAML, TASK_YAML, save_base, write_choice_rows
from tiny.tokenizer_kinds import save_base_with, trained_tokenizer

SETTINGS = TrainingSettings(
    epochs=1, learning_rate=0.005, warmup_steps=1, batch_size=4, gradient_accumulation=1, precision="float32", seed=3
)
BASES = {
    "bytes": ("llama", "byte-level", False),
    "letters": ("llama", "no merges", False),
    "digits": ("qwen2", "digits", True),
    "blanks": ("gemma3", "byte-fallback", True),
    "unigram": ("llama", "unigram", False),
    "capped": ("gemma2", "byte-level", False),
    "experts": ("mixtral", "byte-fallback", False),
}
pytestmark = pytest.mark.filterwarnings("ignore:The following .*_pattern keys:RuntimeWarning")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Bases of many kinds, each with a task adapter; the task as one of options, and as one of written answers."""
    root = tmp_path_factory.mktemp("tokens")
    tasks = {}
    for name, text in (("tools", TASK_YAML), ("words", GENERATION_YAML)):
        (root / f"{name}.yaml").write_text(text)
        tasks[name] = get_task(str(root / f"{name}.yaml"))
    rows = write_choice_rows(root / "train.jsonl", 20)
    for number, (name, (architecture, kind, bos)) in enumerate(BASES.items()):
        made = trained_tokenizer("byte-level", ["-"]) if kind == "no merges" else trained_tokenizer(kind, bos=bos)
        save_base_with(root / name, made, architecture=architecture, seed=number)
    save_base(root / "again", seed=11)
    save_base(root / "one", seed=12)
    loaded = {}

    def side(name):
        if name not in loaded:
            base = load_base(BaseConfig(base=str(root / name)), precision="float32")
            split = split_train_validation(load_examples(tasks["tools"], str(rows)), fraction=0.2, seed=0)
            finetune(
                base,
                tasks["tools"],
                train_examples=split.train,
                validation_examples=split.validation,
                lora=LoraSettings(r=4, alpha=8),
                settings=SETTINGS,
                out=root / f"adapter-{name}",
            )
            loaded[name] = base
        return loaded[name], root / f"adapter-{name}"

    return side, tasks, rows


def aligned(world, out, old, new, *, task="tools", store=None, settings=SETTINGS, **choices):
    side, tasks, rows = world
    split = split_train_validation(load_examples(tasks[task], str(rows)), fraction=0.2, seed=0)
    align(
        *side(old),
        *side(new),
        tasks[task],
        train_examples=split.train,
        validation_examples=split.validation,
        alignment=AlignmentSettings(**choices),
        settings=settings,
        out=out,
        store=store,
    )
    return load_file(out / "adapter_model.safetensors"), json.loads((out / "training.json").read_text())


@pytest.mark.parametrize(
    ("old", "new"),
    [("blanks", "bytes"), ("bytes", "digits"), ("digits", "experts"), ("experts", "unigram"), ("unigram", "blanks")],
)
def test_eq_1_learns_from_an_old_model_of_any_kind(world, tmp_path, caplog, old, new):
    with caplog.at_level("INFO"):
        weights, told = aligned(world, tmp_path / "c", old, new, temperature=1.0)
    assert all(torch.isfinite(value).all() for value in weights.values())
    shares = told["old_tokens"]
    # An untrained model expects tokens that 117 pieces cannot write as often as any others.
    assert (0.2 if new == "unigram" else 0.5) < shares["aligned"] <= 1.0 and 0.5 < shares["placed"] <= 1.0
    line = next(message for message in caplog.messages if "tokenizers differ" in message)
    assert f"the old model teaches at {100 * shares['aligned']:.1f} % of the tokens" in line
    first = next(entry for entry in told["log"] if "loss" in entry)
    assert 0 < first["masked_share"] <= shares["aligned"] + 0.05
    assert first["kl_old"] > 0 and first["kl_new"] > -1e-6


def test_with_one_tokenizer_nothing_is_projected(world, tmp_path, monkeypatch):
    def refuse(*given, **named):
        raise AssertionError("nothing is to be aligned")

    plain, told = aligned(world, tmp_path / "a", "again", "one", store=tmp_path / "store")
    monkeypatch.setattr("muscle.training.align_tokens.cross_examples", refuse)
    again, _ = aligned(world, tmp_path / "b", "again", "one", store=tmp_path / "store")
    assert "old_tokens" not in told
    assert "projection" not in json.loads((tmp_path / "store" / "old" / "manifest.json").read_text())["identity"]
    assert plain.keys() == again.keys() and all(torch.equal(plain[name], again[name]) for name in plain)


@pytest.mark.parametrize(
    "choices", [{"temperature": 1.0}, {"temperature": 2.0}, {"target": "mixture", "old_share": 0.3}]
)
def test_one_tokenizer_taken_for_two_ends_in_the_same_adapter(world, tmp_path, monkeypatch, choices):
    plain, _ = aligned(world, tmp_path / "a", "again", "one", **choices)
    monkeypatch.setattr("muscle.training.align_tokens.same_vocabulary", lambda old, new: False)
    crossed, told = aligned(world, tmp_path / "b", "again", "one", **choices)
    assert told["old_tokens"]["aligned"] == 1.0
    start = load_file(world[0]("one")[1] / "adapter_model.safetensors")
    moved = max(float((plain[name] - start[name]).abs().max()) for name in plain)
    assert max(float((plain[name] - crossed[name]).abs().max()) for name in plain) < 1e-3 * moved


def test_a_student_with_capped_logits_learns_from_its_likeliest_tokens(world, tmp_path, caplog):
    with caplog.at_level("INFO"):
        weights, told = aligned(world, tmp_path / "c", "blanks", "capped", topk=32)
    assert (
        "engine projected: the tokenizers differ, and the model caps its logits: the topk engine is used" in caplog.text
    )
    assert json.loads((tmp_path / "c" / "muscle.json").read_text())["engine"] == "topk"
    assert told["old_tokens"]["aligned"] > 0.5 and all(torch.isfinite(value).all() for value in weights.values())


def test_an_old_model_with_capped_logits_teaches_as_any_other(world, tmp_path):
    _, told = aligned(world, tmp_path / "c", "capped", "digits", store=tmp_path / "store")
    manifest = json.loads((tmp_path / "store" / "old" / "manifest.json").read_text())
    assert (manifest["kind"], manifest["identity"]["projection"]) == ("projected", "chunks")
    assert told["old_tokens"]["placed"] > 0.5


@pytest.mark.parametrize("wanted", ["hidden", "mixed", "online"])
def test_other_engines_give_way_to_the_projected_one(world, tmp_path, caplog, wanted):
    with caplog.at_level("INFO"):
        aligned(world, tmp_path / "c", "blanks", "bytes", engine=wanted, mask="old_right")
    assert f"engine {wanted}: the tokenizers differ, so the projected engine is used" in caplog.text


def test_a_store_serves_the_next_mask_and_is_made_anew_for_another_projection(world, tmp_path):
    shared = {"store": tmp_path / "store"}
    first, _ = aligned(world, tmp_path / "a", "letters", "bytes", **shared)
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*.safetensors")}
    aligned(world, tmp_path / "b", "letters", "bytes", mask="old_right", **shared)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*.safetensors")} == stamps
    other, _ = aligned(world, tmp_path / "c", "letters", "bytes", projection="first", **shared)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    changed = {path.parent.name for path, stamp in stamps.items() if path.stat().st_mtime_ns != stamp}
    assert changed == {"old"}


def test_written_answers_end_with_each_tokenizer_s_own_end(world, tmp_path):
    _, told = aligned(world, tmp_path / "c", "blanks", "bytes", task="words")
    assert told["old_tokens"]["aligned"] > 0.5


def test_texts_beyond_the_limit_keep_their_ends(world, tmp_path):
    short = SETTINGS.model_copy(update={"max_length": 12})
    _, told = aligned(world, tmp_path / "c", "blanks", "bytes", settings=short)
    assert 0.5 < told["old_tokens"]["aligned"] < 1.0


def test_a_head_that_must_stay_in_its_model_is_refused_in_one_line(world, tmp_path, monkeypatch):
    monkeypatch.setattr("muscle.training.head.usable_head.reproduces_logits", lambda *given: False)
    with pytest.raises(ModelError, match=r"must be stored\. alignment\.method: options takes any pair"):
        aligned(world, tmp_path / "c", "blanks", "bytes")
    assert not (tmp_path / "c").exists()
