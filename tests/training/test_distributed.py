"""Two processes on CPU, connected by gloo, against one: the same loss curve, adapter, records, FSDP2 gradients."""

import json
import os
import subprocess
import sys

import pytest

from tiny.processes import assert_same_training, launch, update_alone, write_config, write_inputs


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("distributed"))


@pytest.fixture(scope="module")
def runs(world):
    """The same update by one process with four accumulated batches, and by two with two each."""
    update_alone(write_config(world, world / "run-1", accumulation=4))
    done = launch(2, "update", write_config(world, world / "run-2", accumulation=2))
    assert done.returncode == 0, done.stderr[-3000:]
    return {1: world / "run-1", 2: world / "run-2"}, done


@pytest.mark.parametrize("side", ["old", "new", "compat"])
def test_two_processes_give_the_loss_curve_and_adapter_of_one(runs, side):
    folders, _ = runs
    assert_same_training(folders[1], folders[2], side)


def test_two_processes_score_every_item_once_and_in_order(runs):
    folders, _ = runs
    for run in ("old", "new", "compat"):
        records = [
            list(map(json.loads, (folders[n] / "predictions" / run / "tools.jsonl").read_text().splitlines()))
            for n in (1, 2)
        ]
        assert [row["id"] for row in records[1]] == [row["id"] for row in records[0]]
        for one, two in zip(*records, strict=True):
            assert two["logprobs"] == pytest.approx(one["logprobs"], abs=1e-2)
        facts = [json.loads((folders[n] / "predictions" / run / "run.json").read_text()) for n in (1, 2)]
        assert facts[1]["tasks"]["tools"]["num_items"] == facts[0]["tasks"]["tools"]["num_items"] == 7


def test_one_of_two_processes_speaks_and_nothing_of_the_work_is_left(runs):
    folders, done = runs
    assert done.stdout.count("The report:") == 1
    assert done.stderr.count("finetune old/tools: ") == 1
    left = [path.name for folder in ("compat", "new") for path in (folders[2] / "adapters" / folder).iterdir()]
    assert left == ["tools", "tools"]


def test_a_second_call_by_two_processes_finds_everything_done(runs, world):
    manifest = runs[0][2] / "manifest.json"
    before = manifest.read_bytes()
    done = launch(2, "update", world / "run-2.yaml")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "nothing to do, every stage was done before" in done.stdout
    assert manifest.read_bytes() == before


FSDP_CHILD = """
import sys
import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard
from muscle.config.settings import BaseConfig, LoraSettings
from muscle.models.adapters import new_adapter
from muscle.models.bases import load_base
from muscle.training.losses.fused import fused_next_token_loss
from muscle.training.head.output_head import head_input, output_head

base = load_base(BaseConfig(base=sys.argv[1]), precision="float32", device="cpu")

def build():
    torch.manual_seed(0)
    model = new_adapter(base, LoraSettings(r=4, alpha=8))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:  # a fresh adapter's are zero, and so would be half of its gradients
            torch.nn.init.normal_(parameter, std=0.1)
    return model

ids = torch.randint(3, 50, (4, 9), generator=torch.Generator().manual_seed(1))

def backward(model, rows):
    batch = {"input_ids": ids[rows], "attention_mask": torch.ones_like(ids[rows])}
    loss = fused_next_token_loss(head_input(model, batch)[:, :-1], head, ids[rows][:, 1:])
    (loss * (len(ids) / len(ids[rows]))).backward()

whole = build()
head = output_head(whole)
backward(whole, slice(None))
sharded = build()
dist.init_process_group("gloo")
for layer in sharded.get_base_model().model.layers:
    fully_shard(layer)
fully_shard(sharded)
rank = dist.get_rank()
backward(sharded, slice(2 * rank, 2 * rank + 2))
expected = {name: p.grad for name, p in whole.named_parameters() if p.grad is not None}
for name, parameter in sharded.named_parameters():
    if name in expected:
        torch.testing.assert_close(parameter.grad.full_tensor(), expected[name], rtol=1e-4, atol=1e-5)
print(f"{len(expected)} gradients agree", flush=True)
dist.destroy_process_group()
"""


def test_under_fsdp2_the_adapters_gradients_are_those_of_the_whole_model(world, tmp_path):
    script = tmp_path / "child.py"
    script.write_text(FSDP_CHILD)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error::UserWarning:torch.distributed.fsdp",
            *launcher,
            str(script),
            str(world / "new"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("28 gradients agree") == 2
