"""A base in shards on two processes, through Accelerate: FSDP2 and DeepSpeed's ZeRO give what one process gives."""

import json
import logging
import re
import shutil
from importlib.util import find_spec

import pytest

from tiny.processes import assert_same_training, launch, update_alone, write_config, write_inputs

logger = logging.getLogger(__name__)

# Accelerate makes plain data-parallel of CPU processes; all that it does to shard a model works on them as well.
FSDP_PROGRAM = """
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType
from muscle.cli import main
from muscle.training import run

plain = AcceleratorState.__init__

def sharded(self, *words, **named):
    plain(self, *words, **named)
    if self.distributed_type == DistributedType.MULTI_CPU and named.get("fsdp_plugin"):
        self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, named["fsdp_plugin"]
        PartialState._shared_state["distributed_type"] = self.distributed_type

AcceleratorState.__init__ = sharded
weights = run.trained_weights

def counted(trained):
    parameters = list(trained.model.parameters())
    print(sum(hasattr(p, "full_tensor") for p in parameters), "of", len(parameters), "in shards", flush=True)
    return weights(trained)

run.trained_weights = counted
main()
"""
# What `accelerate launch --config_file examples/accelerate/fsdp2.yaml` sets.
FSDP = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "false",
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The inputs, and the update by one process."""
    root = write_inputs(tmp_path_factory.mktemp("sharded"))
    update_alone(write_config(root, root / "run-1", accumulation=4))
    return root


def launch_fsdp(program, config, out):
    """Update by two processes in shards, from nothing; once more where one of them died in native code.

    torch's shards on a CPU have ended so ("double free or corruption", SIGABRT) in one run of some twenty on a busy
    machine. A second such end is no chance any more, and any other one is never tried again.
    """
    done = launch(2, "update", config, program=[program], **FSDP)
    if done.returncode and re.search(r"exitcode: -(6|11)\b", done.stderr):
        logger.warning("a process died in native code, run again: %s", done.stderr[-3000:])
        shutil.rmtree(out)
        done = launch(2, "update", config, program=[program], **FSDP)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def test_an_update_under_fsdp2_is_that_of_one_process(world):
    program = world / "fsdp.py"
    program.write_text(FSDP_PROGRAM)
    config = write_config(world, world / "run-fsdp", accumulation=2)
    done = launch_fsdp(program, config, world / "run-fsdp")
    # 21 weights of the base and 28 of the adapter, in four trainings with the control; only the main process speaks.
    assert done.stdout.count("49 of 49 in shards") == 4
    for side in ("old", "new", "compat"):
        assert_same_training(world / "run-1", world / "run-fsdp", side)
    # The whole base was let go while its shards trained, and is loaded again for what comes after.
    assert done.stderr.count("loading the new base") == 4


# As many chunks of logits as there are nodes in the one process, and one in the other.
OPTIONS_PROGRAM = (
    """
from muscle import distributed
from muscle.training.options import trainer

score, room = trainer.option_log_likelihoods, 1 if distributed.is_main() else 2**30
trainer.option_log_likelihoods = lambda *words, **named: score(*words, **{**named, "memory_bytes": room})
"""
    + FSDP_PROGRAM
)


def test_a_method_on_whole_options_under_fsdp2_is_that_of_one_process(world):
    method = {"method": "options", "target": "mask", "ce_weight": 0.2}
    update_alone(write_config(world, world / "options-1", accumulation=4, **method))
    program = world / "options.py"
    program.write_text(OPTIONS_PROGRAM)
    config = write_config(world, world / "options-fsdp", accumulation=2, **method)
    done = launch_fsdp(program, config, world / "options-fsdp")
    # Labels first, and then the mask, beside the task adapters and the control.
    assert done.stdout.count("49 of 49 in shards") == 5
    assert_same_training(world / "options-1", world / "options-fsdp", "compat")
    logs = [
        json.loads((world / run / "adapters/compat/tools/training.json").read_text())["log"]
        for run in ("options-1", "options-fsdp")
    ]
    shares = [[line["masked_share"] for line in log if "masked_share" in line] for log in logs]
    assert shares[1] == pytest.approx(shares[0], abs=1e-9)


@pytest.mark.skipif(find_spec("deepspeed") is None, reason="deepspeed is not installed")
@pytest.mark.parametrize("stage", [2, 3])
def test_an_update_under_deepspeeds_zero_is_that_of_one_process(world, stage):
    settings = {
        "zero_optimization": {"stage": stage, "stage3_param_persistence_threshold": 0},
        **dict.fromkeys(("gradient_accumulation_steps", "gradient_clipping", "train_micro_batch_size_per_gpu"), "auto"),
    }
    path = world / f"zero{stage}.json"
    path.write_text(json.dumps(settings))
    done = launch(
        2,
        "update",
        write_config(world, world / f"run-zero{stage}", accumulation=2),
        ACCELERATE_USE_DEEPSPEED="true",
        ACCELERATE_DEEPSPEED_CONFIG_FILE=str(path),
        ACCELERATE_DEEPSPEED_ZERO3_INIT="false",
        DS_ACCELERATOR="cpu",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for side in ("old", "new", "compat"):
        assert_same_training(world / "run-1", world / f"run-zero{stage}", side)
    assert done.stderr.count("loading the new base") == (4 if stage == 3 else 1)
