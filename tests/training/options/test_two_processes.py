"""Option-level training by two processes on CPU against one: the same loss curve and the same adapter."""

import json

import pytest

from tiny.bases import write_choice_rows
from tiny.processes import assert_same_training, launch, update_alone, write_config, write_inputs


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same update by one process with four accumulated batches, and by two with two each."""
    root = write_inputs(tmp_path_factory.mktemp("two-processes"))
    write_choice_rows(root / "more.jsonl", 9, start=500)
    method = {"method": "options", "unlabelled": "more.jsonl"}
    update_alone(write_config(root, root / "run-1", accumulation=4, **method))
    done = launch(2, "update", write_config(root, root / "run-2", accumulation=2, **method))
    assert done.returncode == 0, done.stderr[-3000:]
    return root / "run-1", root / "run-2"


def test_two_processes_give_the_loss_curve_and_adapter_of_one(runs):
    assert_same_training(*runs, "compat")


def test_blank_items_that_fill_a_batch_are_in_no_count(runs):
    written = [json.loads((run / "adapters/compat/tools/training.json").read_text()) for run in runs]
    assert written[0]["items_seen"] == written[1]["items_seen"]
    for name in ("agreement", "kl", "cross_entropy"):
        found = [each["validation"][name] for each in written]
        assert found[1] == pytest.approx(found[0], rel=1e-3)
        first = [each["labels_first"]["validation"][name] for each in written]
        assert first[1] == pytest.approx(first[0], rel=1e-3)
