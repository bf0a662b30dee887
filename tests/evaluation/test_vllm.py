"""Scoring with vLLM. Where vLLM is not installed, a stand-in takes its place: see `vllm_stand_in`."""

import gc
import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest
import torch
import vllm_stand_in
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from helpers.command_line import muscle, refused
from muscle import get_task, load_config, update
from muscle.config.settings import BaseConfig, EvaluationSettings
from muscle.errors import ConfigError, DataError, ModelError
from muscle.evaluation import vllm_base
from muscle.evaluation.harness import evaluate
from muscle.evaluation.sampling import Sampling
from muscle.evaluation.vllm_base import VllmBase, check_one_process, check_vllm, lora_rank
from muscle.flips.pairing.metadata_changes import settings_changes
from muscle.models.adapters import load_adapter
from muscle.models.bases import load_base
from muscle.tasks import Example, Generation, load_examples
from muscle.yaml_files import yaml_text
from tiny.bases import TASK_YAML, save_base, write_choice_rows
from tiny.update_inputs import TRAINING

REAL = find_spec("vllm") is not None
ARGUMENTS = {"enforce_eager": True}
stand_in_only = pytest.mark.skipif(REAL, reason="looks into the stand-in")

FREE = replace(
    get_task("samsum"),
    name="free",
    score=lambda output, _: {"filled": float(bool(output.strip()))},
    correct="filled",
    generation=Generation(until=("w7", "w11"), max_new_tokens=12),
)
PROMPTS = [
    Example(id=str(n), context=text, reference=("x",), target=" x")
    for n, text in enumerate(("Use the", "Use the fork", "for dark w1 w2 w3 Use the rope", "w9", "w3 w4"))
]


@pytest.fixture(scope="module", autouse=True)
def vllm(tmp_path_factory):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # many tiny steps: threads cost more than they give
    with pytest.MonkeyPatch.context() as patch:
        if not REAL:
            vllm_stand_in.install(patch, tmp_path_factory.mktemp("vllm"))
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A base that vLLM's kernels take (heads of 32), and two adapters that change what it says."""
    root = tmp_path_factory.mktemp("world")
    save_base(root / "base", seed=1, hidden_size=128)
    for number, name in enumerate(("one", "two")):
        torch.manual_seed(number)
        config = LoraConfig(r=4, lora_alpha=16, target_modules="all-linear", init_lora_weights=False)
        get_peft_model(LlamaForCausalLM.from_pretrained(root / "base"), config).save_pretrained(root / name)
    (root / "tools.yaml").write_text(TASK_YAML)
    write_choice_rows(root / "test.jsonl", 40)
    return root


@pytest.fixture(scope="module")
def loaded(world):
    return load_base(BaseConfig(base=str(world / "base")), precision="float32", device="cpu")


@pytest.fixture(scope="module")
def engine(world):
    started = start(world, world / "one", world / "two")
    yield started
    started.close()


def start(world, *adapters, **arguments):
    return VllmBase(
        BaseConfig(base=str(world / "base")),
        adapters,
        precision="float32",
        arguments={**ARGUMENTS, **arguments},
    )


def both(loaded, engine, adapter, task, examples, **options):
    """Score with transformers and with vLLM."""
    model = load_adapter(loaded, adapter) if adapter else loaded.model
    settings = {"name": "tiny", "progress": False, **options}
    expected = evaluate(model, loaded.tokenizer, task, examples, batch_size=8, **settings)
    return expected, engine.evaluate(adapter, task, examples, **settings)


def assert_same_records(found: pl.DataFrame, expected: pl.DataFrame) -> None:
    assert found.columns == expected.columns
    close = [name for name in found.columns if name == "logprobs" or name.startswith("score.")]
    assert found.drop(close).equals(expected.drop(close))
    for name in close:
        ours, theirs = (frame[name].explode().drop_nulls().to_list() for frame in (found, expected))
        assert ours == pytest.approx(theirs, abs=1e-4), name


@pytest.fixture(scope="module")
def tools(world):
    task = get_task(str(world / "tools.yaml"))
    return task, load_examples(task, task.source("test", str(world / "test.jsonl")))


@pytest.mark.parametrize("adapter", ["one", "two", None])
def test_options_have_the_likelihoods_and_records_that_transformers_gives(world, loaded, engine, tools, adapter):
    expected, found = both(loaded, engine, adapter and world / adapter, *tools)
    assert_same_records(found.frame, expected.frame)
    assert found.frame["correct"].n_unique() == 2


def test_adapters_differ_from_each_other_and_from_the_bare_base(world, engine, tools):
    likelihoods = {
        str(engine.evaluate(adapter, *tools, name="tiny").frame["logprobs"].to_list())
        for adapter in (world / "one", world / "two", None)
    }
    assert len(likelihoods) == 3


@pytest.mark.parametrize("adapter", ["one", None])
def test_greedy_answers_and_why_they_end_are_those_of_transformers(world, loaded, engine, adapter):
    expected, found = both(loaded, engine, adapter and world / adapter, FREE, PROMPTS)
    assert_same_records(found.frame, expected.frame)
    assert found.metadata["tasks"]["free"]["num_cut_off"] == expected.metadata["tasks"]["free"]["num_cut_off"]


def test_some_answers_stop_and_some_are_cut_off(world, engine):
    tasks = [replace(FREE, generation=Generation(until=until, max_new_tokens=6)) for until in (("w", "o"), ())]
    stopped, cut = (engine.evaluate(world / "one", task, PROMPTS, name="tiny").frame["finish_reason"] for task in tasks)
    assert "stop" in stopped.to_list()
    assert "length" in cut.to_list()


def test_sampled_answers_follow_from_the_seed_alone(world, engine):
    def answers(seed, prompts=PROMPTS):
        sampling = Sampling(repeats=6, temperature=2.0, seed=seed)
        frame = engine.evaluate(world / "one", FREE, prompts, name="tiny", sampling=sampling).frame
        assert frame.select("id", "repeat").rows() == [(e.id, k) for e in prompts for k in range(6)]
        return frame["output"].to_list()

    first, other, again = answers(1), answers(2), answers(1)
    assert first == again
    assert first != other
    # No answer of one seed comes again as another repeat of the next.
    assert len(set(first[:6])) > 1 and set(first) != set(other)


def test_an_option_that_has_no_room_or_no_token_is_that_items_error(world, loaded, engine, tools):
    task, examples = tools
    examples = list(examples[:4])
    examples[1] = replace(examples[1], choices=("rope", "w1 " * 63 + "w1"))
    expected, found = both(loaded, engine, world / "one", task, examples)
    assert found.frame["error"].to_list()[1] == "option 1: the option has 64 tokens, the model takes 62"
    assert found.metadata["tasks"]["tools"]["num_errors"] == 1
    keep = pl.col("id") != examples[1].id
    assert_same_records(found.frame.filter(keep), expected.frame.filter(keep))


def test_the_longest_option_that_vllm_takes_is_scored(world, loaded, engine, tools):
    task, examples = tools
    longest = replace(examples[0], choices=("rope", "w1 " * 61 + "w1"))
    _, found = both(loaded, engine, world / "one", task, [longest])
    assert found.frame["error"].to_list() == [None]
    assert found.metadata["tasks"]["tools"]["num_truncated"] == 1


def test_cut_contexts_are_counted_and_cut_at_their_beginning(world, loaded, engine, tools):
    task, examples = tools
    long = [replace(example, context="w5 " * 80 + example.context) for example in examples[:3]]
    expected, found = both(loaded, engine, world / "one", task, long)
    for run in (expected, found):
        assert run.metadata["tasks"]["tools"]["num_truncated"] == 6
    prompts = [replace(example, context="w5 " * 60 + example.context) for example in PROMPTS]
    expected, found = both(loaded, engine, world / "one", FREE, prompts)
    assert found.metadata["tasks"]["free"]["num_truncated"] == len(prompts)
    assert_same_records(found.frame, expected.frame)


def test_metadata_says_what_computed_and_comparing_the_two_backends_says_so(world, loaded, engine, tools):
    expected, found = both(loaded, engine, world / "one", *tools)
    assert found.metadata["versions"]["vllm"]
    assert found.metadata["model"]["adapters"] == ["one"]
    assert found.metadata["model"]["architecture"] == expected.metadata["model"]["architecture"]
    messages = [change.message for change in settings_changes(expected.metadata, found.metadata)]
    assert "task tools: backend hf against vllm" in messages


def test_no_example_and_sampled_likelihoods_are_refused(engine, tools):
    with pytest.raises(DataError, match="at least one example"):
        engine.evaluate(None, tools[0], [], name="tiny")
    with pytest.raises(ConfigError, match="the same every time"):
        engine.evaluate(None, *tools, name="tiny", sampling=Sampling(repeats=2, temperature=1.0))


@stand_in_only
def test_an_answer_that_the_engine_gave_up_is_that_items_error(world, engine, monkeypatch):
    generate = vllm_stand_in.LLM.generate

    def aborting(self, *arguments, **options):
        outputs = generate(self, *arguments, **options)
        outputs[0].outputs[0].finish_reason = "abort"
        return outputs

    monkeypatch.setattr(vllm_stand_in.LLM, "generate", aborting)
    run = engine.evaluate(world / "one", FREE, PROMPTS, name="tiny")
    assert sorted(map(str, run.frame["error"].to_list())) == ["None"] * 4 + ["the answer was not finished: abort"]
    assert run.frame["correct"].null_count() == run.metadata["tasks"]["free"]["num_errors"] == 1


@stand_in_only
def test_an_engine_that_stops_ends_the_run_with_one_line(world, engine, tools, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("EngineCore encountered an issue.\nSee above")

    monkeypatch.setattr(vllm_stand_in.LLM, "generate", broken)
    with pytest.raises(ModelError) as error:
        engine.evaluate(world / "one", *tools, name="tiny")
    assert str(error.value).startswith("vLLM stopped (RuntimeError: EngineCore encountered an issue.)")
    assert "\n" not in str(error.value)


@stand_in_only
def test_progress_is_told_in_portions(world, engine, tools, monkeypatch):
    shown = []
    monkeypatch.setattr("muscle.evaluation.lm.ProgressHook.add_partial", lambda *_: shown.append(1))
    engine.evaluate(world / "one", *tools, name="tiny")
    assert len(shown) == 80


@pytest.fixture
def inputs(world, tmp_path):
    """An update of which the bases' and the adapters' sizes suit vLLM."""
    write_choice_rows(tmp_path / "train.jsonl", 40, start=100)
    save_base(tmp_path / "new", seed=2, hidden_size=128)
    config = {
        "old": str(world / "base"),
        "new": "new",
        "tasks": [{"task": str(world / "tools.yaml"), "train": "train.jsonl", "test": str(world / "test.jsonl")}],
        "output": "run",
        "lora": {"r": 4, "alpha": 8},
        "training": TRAINING,
        "evaluation": {"control": False},
    }
    (tmp_path / "update.yaml").write_text(yaml_text(config))
    return tmp_path


def num_models() -> int:
    """How many models hold memory, the stand-in's own included."""
    gc.collect()
    models = [each for each in gc.get_objects() if type(each) is LlamaForCausalLM]
    return sum(model.device.type != "meta" for model in models)


def read(folder: Path) -> dict[str, list[dict]]:
    return {
        path.parent.name: [json.loads(line) for line in path.read_text().splitlines()]
        for path in sorted(folder.glob("predictions/*/tools.jsonl"))
    }


@stand_in_only
def test_an_update_scores_with_one_engine_a_base_and_only_scores_again_when_the_backend_changes(inputs):
    others = num_models()
    alive = []

    class Watched(vllm_stand_in.LLM):
        def __init__(self, *arguments, **options):
            alive.append(num_models() - others)
            super().__init__(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        vllm_stand_in.engines.clear()
        patch.setattr("lm_eval.models.vllm_causallms.LLM", Watched)
        first = update(load_config(inputs / "update.yaml"))
        expected = read(inputs / "run")
        assert first.num_stages_run == 8 and vllm_stand_in.engines == []
        vllm = {"evaluation.backend": "vllm", "evaluation.vllm": ARGUMENTS}
        vllm_stand_in.calls.clear()
        second = update(load_config(inputs / "update.yaml", overrides=vllm))
        found = read(inputs / "run")
        again = update(load_config(inputs / "update.yaml", overrides=vllm))
    assert second.num_stages_run in (4, 5)  # four runs; the report where a last digit moved
    assert again.num_stages_run == 0
    assert alive == [0, 0]  # no base is in memory when an engine starts
    assert [engine() for engine in vllm_stand_in.engines] == [None, None]
    numbers = [request and request.lora_int_id for _, request in vllm_stand_in.calls]
    assert numbers == [1, 1, 2, None]  # old; new, compat and the bare base on one engine
    assert found.keys() == expected.keys() == {"old", "new", "compat", "base"}
    for run, rows in expected.items():
        for ours, theirs in zip(found[run], rows, strict=True):
            for name in ("logprobs", "score"):
                assert ours.pop(name) == pytest.approx(theirs.pop(name), abs=1e-4)
            assert ours == theirs
    assert second.report.headline == first.report.headline


@stand_in_only
def test_the_command_scores_with_vllm_and_frees_the_engine(world, tmp_path):
    vllm_stand_in.engines.clear()
    done = muscle(
        *("evaluate", "--model", f"{world / 'base'}+{world / 'one'}", "--task", world / "tools.yaml"),
        *("--data", world / "test.jsonl", "--out", tmp_path, "--backend", "vllm", "--precision", "float32"),
        *("--vllm", "max_model_len=32", "--vllm", "gpu_memory_utilization=0.5"),
    )
    assert done.code == 0, done.err
    facts = json.loads((tmp_path / "run.json").read_text())
    assert facts["tasks"]["tools"]["max_length"] == 32 and facts["tasks"]["tools"]["backend"] == "vllm"
    assert facts["adapter"].endswith("one") and facts["versions"]["vllm"] == vllm_stand_in.VERSION
    assert [engine() for engine in vllm_stand_in.engines] == [None]


# What is refused


def command(world, out, *further, adapter="one", task="tools.yaml"):
    return (
        *("evaluate", "--model", f"{world / 'base'}+{world / adapter}", "--task", world / task),
        *("--data", world / "test.jsonl", "--out", out, *further),
    )


def test_a_missing_vllm_is_told_with_what_to_install(world, tmp_path, monkeypatch):
    monkeypatch.setattr(vllm_base, "find_spec", lambda name: None)
    line = refused(*command(world, tmp_path, "--backend", "vllm"))
    assert "needs the package vllm; install it with: pip install 'muscle-llm[vllm]'" in line


def test_an_update_without_vllm_is_refused_before_training_but_not_when_it_has_nothing_to_do(inputs, monkeypatch):
    monkeypatch.setattr(vllm_base, "find_spec", lambda name: None)
    line = refused("update", inputs / "update.yaml", "--set", "evaluation.backend=vllm")
    assert "needs the package vllm" in line
    assert not (inputs / "run" / "adapters").exists()


def test_arguments_for_vllm_without_it_are_refused(world, tmp_path):
    line = refused(*command(world, tmp_path, "--vllm", "max_model_len=32"))
    assert "--vllm max_model_len: only read with --backend vllm" in line
    line = refused(*command(world, tmp_path, "--backend", "vllm", "--vllm", "32"))
    assert "--vllm 32: expected KEY=VALUE, such as max_model_len=4096" in line


@pytest.mark.parametrize("key", ["pretrained", "lora_local_path", "batch_size"])
def test_arguments_that_follow_from_base_adapter_and_task_are_refused(key):
    with pytest.raises(ValueError, match=f"{key} follows from base, adapter and task; leave it out"):
        EvaluationSettings(backend="vllm", vllm={key: "x"})


@stand_in_only
def test_an_argument_that_vllm_does_not_know_is_told_in_one_line(world):
    with pytest.raises(ModelError, match=r"vLLM does not load it \(TypeError: .*tensor_paralel_size") as error:
        start(world, tensor_paralel_size=2)
    assert "\n" not in str(error.value)


def test_gguf_files_and_repeated_ngrams_are_refused():
    with pytest.raises(ModelError, match=r"base tiny\.gguf: vLLM puts no adapter on a GGUF file"):
        check_vllm([BaseConfig(base="tiny.gguf")], [])
    with pytest.raises(ConfigError, match="task samsum: generates with no_repeat_ngram_size"):
        check_vllm([], [get_task("piqa"), get_task("samsum")])
    check_vllm([BaseConfig(base="org/base")], [get_task("piqa"), get_task("gsm8k")])


def test_a_base_in_four_bits_is_refused(inputs):
    with pytest.raises(ConfigError, match=r"evaluation\.backend: vllm would score adapters on other weights"):
        load_config(
            inputs / "update.yaml",
            overrides={"evaluation.backend": "vllm", "training.quantization": "4bit"},
        )


def test_one_of_several_processes_does_not_start_vllm(monkeypatch):
    check_one_process()
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="scores in one process, found 2; run the same command without"):
        check_one_process()


def written_adapter(folder, source, **changes):
    """A copy of an adapter with another configuration."""
    folder.mkdir()
    config = json.loads((source / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | changes))
    save_file(load_file(source / "adapter_model.safetensors"), folder / "adapter_model.safetensors")
    return folder


def test_the_rank_is_the_smallest_that_vllm_has(world, tmp_path):
    for rank, expected in ((4, 8), (16, 16), (17, 32), (128, 128), (257, 320)):
        adapter = written_adapter(tmp_path / str(rank), world / "one", r=rank)
        assert lora_rank([world / "one", adapter], None) == expected
    assert lora_rank([world / "one"], 64) == 64


def test_a_rank_that_does_not_fit_is_refused(world, tmp_path):
    with pytest.raises(ConfigError, match=r"max_lora_rank: 16, but adapter .*big has rank 32; leave the key out"):
        lora_rank([world / "one", written_adapter(tmp_path / "big", world / "one", r=32)], 16)
    with pytest.raises(ModelError, match="huge: rank 1024, vLLM takes at most 512"):
        lora_rank([written_adapter(tmp_path / "huge", world / "one", r=1024)], None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"use_dora": True}, "use_dora is True, which vLLM does not serve"),
        ({"alpha_pattern": {"q_proj": 3}}, "alpha_pattern is {'q_proj': 3}"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save is"),
        ({"bias": "all"}, "bias is 'all'"),
        ({"peft_type": "IA3"}, "expected a LoRA adapter, found IA3"),
        ({"r": None}, "no configuration of a LoRA adapter"),
    ],
)
def test_what_vllm_would_leave_out_of_an_adapter_is_refused(world, tmp_path, changes, message):
    adapter = written_adapter(tmp_path / "odd", world / "one", **changes)
    with pytest.raises(ModelError) as error:
        lora_rank([adapter], None)
    assert message in str(error.value)


def test_an_adapter_that_is_not_whole_is_refused(world, tmp_path):
    adapter = written_adapter(tmp_path / "half", world / "one")
    weights = load_file(adapter / "adapter_model.safetensors")
    save_file({key: weights[key] for key in weights if "layers.1" not in key}, adapter / "adapter_model.safetensors")
    with pytest.raises(ModelError, match=r"half: adapter_model\.safetensors lacks \d+ of the \d+ tensors"):
        start(world, adapter)


def test_an_adapter_of_the_output_head_is_refused(world, tmp_path):
    names = json.loads((world / "one" / "adapter_config.json").read_text())["target_modules"]
    adapter = written_adapter(tmp_path / "head", world / "one", target_modules=[*names, "lm_head"])
    weights = load_file(adapter / "adapter_model.safetensors")
    width = LlamaForCausalLM.from_pretrained(world / "base").lm_head.weight.shape
    weights["base_model.model.lm_head.lora_A.weight"] = torch.ones(4, width[1])
    weights["base_model.model.lm_head.lora_B.weight"] = torch.ones(width[0], 4)
    save_file(weights, adapter / "adapter_model.safetensors")
    with pytest.raises(ModelError, match="changes the output head, which vLLM leaves out of log-likelihoods"):
        start(world, adapter)


def test_an_adapter_made_for_another_base_is_refused(world, tmp_path):
    save_base(tmp_path / "wide", seed=1, hidden_size=256)
    with pytest.raises(ModelError, match=r"made for another base or .* is \[4, 128\] in it, \[4, 256\] on"):
        VllmBase(BaseConfig(base=str(tmp_path / "wide")), [world / "one"])


def test_float32_with_an_adapter_is_refused_on_a_gpu(world, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(ConfigError, match="compute in 16 bits on a GPU, found float32; expected bf16"):
        start(world, world / "one")


def test_the_backend_is_part_of_what_scores_depend_on_once_it_is_chosen():
    assert EvaluationSettings().scoring() == {"batch_size": 16}
    assert EvaluationSettings(vllm={"max_model_len": 64}, bare_base=False).scoring() == {"batch_size": 16}
    chosen = EvaluationSettings(backend="vllm", vllm={"max_model_len": 64}).scoring()
    assert chosen == {"backend": "vllm", "vllm": {"max_model_len": 64}, "batch_size": 16}
