from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.command_line import refused
from muscle import Run, get_task
from muscle.config.settings import BaseConfig
from muscle.errors import ConfigError
from muscle.evaluation.harness import evaluate
from muscle.evaluation.sampling import Sampling
from muscle.models.bases import LoadedBase, load_base
from muscle.tasks import Example, Generation, Task
from tiny.bases import save_base

FREE = replace(
    get_task("samsum"),
    name="free",
    score=lambda output, _: {"filled": float(bool(output.strip()))},
    correct="filled",
    generation=Generation(until=("\n\n",), max_new_tokens=6),
)
EXAMPLES = [
    Example(id=str(n), context=text, reference=("x",), target=" x")
    for n, text in enumerate(("the soup", "the soup is", "a knife and a very long handle", "a"))
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> LoadedBase:
    folder = save_base(tmp_path_factory.mktemp("base") / "base", seed=0)
    return load_base(BaseConfig(base=str(folder)), precision="float32", device="cpu")


def sampled(base: LoadedBase, sampling: Sampling | None, task: Task = FREE, **options: Any) -> Run:
    settings = {"batch_size": 3, "name": "tiny", "progress": False, **options}
    return evaluate(base.model, base.tokenizer, task, EXAMPLES, sampling=sampling, **settings)


def test_each_item_is_answered_as_often_as_asked(base: LoadedBase) -> None:
    frame = sampled(base, Sampling(repeats=5, temperature=1.5, seed=1)).frame
    assert frame.select("id", "repeat").rows() == [(e.id, k) for e in EXAMPLES for k in range(5)]
    assert frame.group_by("id").n_unique()["output"].max() > 1


def test_the_same_seed_gives_the_same_answers_and_another_one_others(base: LoadedBase) -> None:
    first, again, other = (
        sampled(base, Sampling(repeats=4, temperature=1.5, seed=seed)).frame["output"].to_list() for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_the_callers_random_numbers_go_on_as_before(base: LoadedBase) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    sampled(base, Sampling(repeats=2, temperature=1.0, seed=3))
    assert torch.equal(torch.rand(3), expected)


def test_without_sampling_answers_are_greedy_and_stand_once(base: LoadedBase) -> None:
    run = sampled(base, None)
    assert run.frame["repeat"].to_list() == [0] * 4
    assert run.metadata["tasks"]["free"]["generation"]["do_sample"] is False
    assert run.frame["output"].to_list() == sampled(base, None, batch_size=1).frame["output"].to_list()


def test_records_say_why_each_text_ends(base: LoadedBase) -> None:
    run = sampled(base, Sampling(repeats=8, temperature=2.0, seed=0))
    assert set(run.frame["finish_reason"]) <= {"stop", "length"}
    facts = run.metadata["tasks"]["free"]
    assert facts["num_cut_off"] == (run.frame["finish_reason"] == "length").sum() > 0
    assert (facts["repeats"], facts["seed"]) == (8, 0)
    # A stop text at the very first character of any answer: none is cut off.
    anything = tuple("abcdefghijklmnopqrstuvwxyz ")
    stops = replace(FREE, generation=Generation(until=anything, max_new_tokens=6))
    stopped = sampled(base, Sampling(repeats=2, temperature=1.0), task=stops).frame
    assert set(stopped["finish_reason"]) == {"stop"}


@pytest.mark.parametrize("options", [{"repeats": 0}, {"temperature": -1.0}, {"repeats": 2}])
def test_impossible_sampling_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expected|temperature"):
        Sampling(**options)


def test_likelihoods_cannot_be_sampled(base: LoadedBase) -> None:
    with pytest.raises(ConfigError, match="the same every time"):
        sampled(base, Sampling(repeats=2, temperature=1.0), task=get_task("piqa"))


def test_the_command_refuses_repeats_without_a_temperature(tmp_path: Path) -> None:
    given = ("--model", "base", "--task", "piqa", "--data", "data.jsonl", "--out", tmp_path / "run")
    assert "add --temperature" in refused("evaluate", *given, "--repeats", 3)
