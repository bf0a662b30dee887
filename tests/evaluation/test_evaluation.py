import json
import math
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from helpers.harness_piqa import score_piqa
from muscle import Run, get_task
from muscle.errors import DataError, ModelError
from muscle.evaluation.harness import evaluate
from muscle.predictions.records import COLUMNS, input_hash
from muscle.tasks import Example, Generation, Task
from tiny.bases import byte_tokenizer

NOUNS = ("jar", "soup", "window", "nail", "shirt", "door", "lamp", "knife")
VERBS = ("open", "clean", "cut", "hang", "dry", "fix")
PIQA = get_task("piqa")


def piqa_rows(count: int) -> list[dict[str, Any]]:
    return [
        {
            "goal": f"{VERBS[n % 6]} the {NOUNS[n % 8]}" + (" slowly and with care" * (n % 4)),
            "sol1": f"Use a {NOUNS[(n * 3) % 8]} to {VERBS[(n + 1) % 6]} it" + " again" * (n % 3),
            "sol2": f"Take the {NOUNS[(n * 5 + 1) % 8]}, then {VERBS[(n + 2) % 6]}. ",
            "label": n % 2,
        }
        for n in range(count)
    ]


def piqa_examples(count: int) -> list[Example]:
    return [PIQA.to_example(row, n) for n, row in enumerate(piqa_rows(count))]


def build_tokenizer(*, bos: bool) -> PreTrainedTokenizerFast:
    return byte_tokenizer([str(row) for row in piqa_rows(50)], bos=bos)


def build_model(*, max_length: int = 256, seed: int = 0) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=400,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=max_length,
        bos_token_id=0,
        eos_token_id=1,
        # Larger than usual, so that options differ by more than rounding.
        initializer_range=0.2,
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer(bos=False)


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    return build_model()


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("evaluation must not use the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    yield


def run(model: Any, tokenizer: Any, examples: list[Example], task: Task = PIQA, **options: Any) -> Run:
    settings = {"batch_size": 16, "name": "tiny", "progress": False, **options}
    return evaluate(model, tokenizer, task, examples, **settings)


def generation_task(until: tuple[str, ...] = ("\n\n",), **options: Any) -> Task:
    settings = {"max_new_tokens": 12, **options}
    return replace(
        get_task("samsum"),
        name="free",
        score=lambda output, _: {"length": float(len(output))},
        generation=Generation(until=until, **settings),
    )


def free_examples(count: int) -> list[Example]:
    return [
        Example(id=str(n), context=row["goal"] + "\nSummary:", reference=("x",), target=" x")
        for n, row in enumerate(piqa_rows(count))
    ]


def harness_samples(
    model: Any, tokenizer: Any, rows: list[dict[str, Any]], folder: Path
) -> tuple[float, list[dict[str, Any]]]:
    """Score the harness's own `piqa`, from the installed package, on the rows as a local file."""
    from lm_eval.models.huggingface import HFLM

    lm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=4, softmax_dtype="float32")
    return score_piqa(lm, rows, folder)


@pytest.mark.parametrize("bos", [False, True])
def test_piqa_equals_the_harnesss_own_piqa_item_by_item(tmp_path: Path, model: Any, bos: bool) -> None:
    tokenizer = build_tokenizer(bos=bos)
    rows = piqa_rows(60)
    frame = run(model, tokenizer, piqa_examples(60)).frame
    accuracy, samples = harness_samples(model, build_tokenizer(bos=bos), rows, tmp_path)
    theirs = [[response[0] for response in sample["filtered_resps"]] for sample in samples]
    assert frame["correct"].mean() == accuracy
    assert 0 < accuracy < 1
    assert frame["choice"].to_list() == [values.index(max(values)) for values in theirs]
    assert frame["score.acc"].to_list() == [sample["acc"] for sample in samples]
    assert frame["score.acc_norm"].to_list() == [sample["acc_norm"] for sample in samples]
    torch.testing.assert_close(torch.tensor(frame["logprobs"].to_list()), torch.tensor(theirs), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bos", [False, True])
def test_a_log_likelihood_is_the_sum_over_the_tokens_that_follow_the_context_in_the_whole_text(
    model: Any, bos: bool
) -> None:
    tokenizer = build_tokenizer(bos=bos)
    example = piqa_examples(3)[2]
    expected = []
    for choice in example.choices:
        ids = torch.tensor([tokenizer(example.context + example.delimiter + choice)["input_ids"]])
        first = len(tokenizer(example.context)["input_ids"])
        with torch.no_grad():
            logprobs = model(ids).logits.double().log_softmax(-1)[0, :-1]
        expected.append(logprobs.gather(1, ids[0, 1:, None])[first - 1 :].sum().item())
    frame = run(model, tokenizer, [example]).frame
    assert frame["logprobs"].to_list()[0] == pytest.approx(expected, abs=1e-4)


def test_the_scores_of_a_choice_item_follow_from_its_log_likelihoods(model: Any, tokenizer: Any) -> None:
    examples = piqa_examples(20)
    result = run(model, tokenizer, examples)
    assert result.score_names() == ["gold_probability", "gold_logprob", "acc", "acc_norm"]
    for row, example in zip(result.frame.iter_rows(named=True), examples, strict=True):
        weights = [math.exp(value) for value in row["logprobs"]]
        assert row["score.gold_probability"] == pytest.approx(weights[example.gold or 0] / sum(weights))
        assert row["score.gold_logprob"] == row["logprobs"][example.gold or 0]
        assert row["correct"] == (row["choice"] == example.gold) == bool(row["score.acc"])
        assert row["output"] == example.choices[row["choice"]]


def test_a_length_normalised_task_decides_by_acc_norm(model: Any, tokenizer: Any) -> None:
    frame = run(model, tokenizer, piqa_examples(40), replace(PIQA, choice_score="acc_norm")).frame
    assert frame["correct"].cast(pl.Float64).to_list() == frame["score.acc_norm"].to_list()
    assert frame["score.acc"].to_list() != frame["score.acc_norm"].to_list()


def test_a_record_holds_what_was_asked(model: Any, tokenizer: Any) -> None:
    example = replace(piqa_examples(1)[0], slices={"topic": "jars"})
    frame = run(model, tokenizer, [example]).frame
    assert frame.columns[: len(COLUMNS)] == list(COLUMNS)
    row = frame.row(0, named=True)
    assert (row["task"], row["id"], row["filter"], row["repeat"]) == ("piqa", "0", "none", 0)
    assert row["input"] == example.context and tuple(row["choices"]) == example.choices
    assert row["input_hash"] == input_hash(example.context, example.choices)
    assert tuple(row["reference"]) == example.reference
    assert row["slice.topic"] == "jars" and row["error"] is None


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_scores_do_not_depend_on_the_batch(model: Any, tokenizer: Any, batch_size: int) -> None:
    examples = piqa_examples(24)
    whole = run(model, tokenizer, examples, batch_size=16).frame["logprobs"].to_list()
    other = run(model, tokenizer, examples[::-1], batch_size=batch_size).frame["logprobs"].to_list()[::-1]
    torch.testing.assert_close(torch.tensor(other), torch.tensor(whole), rtol=1e-5, atol=1e-5)


def test_generated_text_does_not_depend_on_the_batch(model: Any, tokenizer: Any) -> None:
    task, examples = generation_task(), free_examples(12)
    alone = run(model, tokenizer, examples, task, batch_size=1).frame["output"].to_list()
    assert run(model, tokenizer, examples, task, batch_size=12).frame["output"].to_list() == alone
    assert len(set(alone)) > 1


def test_generated_text_is_greedy_and_stops_before_the_stop_word(model: Any, tokenizer: Any) -> None:
    example = free_examples(1)[0]
    ids = torch.tensor([tokenizer(example.context)["input_ids"]])
    for _ in range(12):
        with torch.no_grad():
            ids = torch.cat([ids, model(ids).logits[:, -1:].argmax(-1)], dim=1)
    text = tokenizer.decode(ids[0, -12:], skip_special_tokens=True)
    assert run(model, tokenizer, [example], generation_task()).frame["output"][0] == text
    stop = text[5:7]
    stopped = run(model, tokenizer, [example], generation_task(until=(stop,))).frame["output"][0]
    assert stopped == text.split(stop)[0]


def test_no_ngram_is_repeated_where_the_task_says_so(model: Any, tokenizer: Any) -> None:
    example = free_examples(1)[0]
    ids = torch.tensor([tokenizer(example.context)["input_ids"]])
    texts = {}
    for size in (0, 2):
        generated = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=40,
            pad_token_id=1,
            no_repeat_ngram_size=size,
        )[0, ids.shape[1] :]
        texts[size] = tokenizer.decode(generated, skip_special_tokens=True)
        task = generation_task(max_new_tokens=40, no_repeat_ngram_size=size)
        assert run(model, tokenizer, [example], task).frame["output"][0] == texts[size]
    assert texts[0] != texts[2]


def test_gsm8k_is_correct_by_the_strict_extraction(model: Any, tokenizer: Any) -> None:
    task = get_task("gsm8k")
    example = task.to_example({"question": "How many jars?", "answer": "Two.\n#### 2"}, 0)
    result = run(model, tokenizer, [example], replace(task, generation=Generation(("\n",), 8)))
    row = result.frame.row(0, named=True)
    assert row["filter"] == "strict-match" and row["choices"] is None and row["logprobs"] is None
    assert row["correct"] is False and row["score.exact_match"] == 0.0
    assert row["extracted_answer"] == "[invalid]"
    assert result.score_names() == ["exact_match", "exact_match_flexible"]
    assert result.metadata["tasks"]["gsm8k"]["generation"] == {
        "until": ["\n"],
        "max_gen_toks": 8,
        "do_sample": False,
    }


def test_a_task_without_a_deciding_score_is_never_correct_nor_wrong(model: Any, tokenizer: Any) -> None:
    frame = run(model, tokenizer, free_examples(2), generation_task()).frame
    assert frame["correct"].null_count() == 2 and frame["score.length"].null_count() == 0


@pytest.mark.parametrize(
    ("result", "message"),
    [(ZeroDivisionError("by zero"), "ZeroDivisionError: by zero"), (math.nan, "length is nan")],
)
def test_a_scoring_function_that_fails_costs_only_its_item(
    model: Any, tokenizer: Any, result: Any, message: str
) -> None:
    def score(output: str, references: tuple[str, ...]) -> dict[str, float]:
        if references == ("bad",):
            if isinstance(result, Exception):
                raise result
            return {"length": result}
        return {"length": 1.0}

    examples = free_examples(3)
    examples[1] = replace(examples[1], reference=("bad",))
    outcome = run(model, tokenizer, examples, replace(generation_task(), score=score))
    assert outcome.frame["score.length"].to_list() == [1.0, None, 1.0]
    assert message in outcome.frame["error"][1] and outcome.frame["output"][1] is not None
    assert outcome.metadata["tasks"]["free"]["num_errors"] == 1


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks transformers so
def test_one_base_serves_its_adapters_by_switching(tokenizer: Any) -> None:
    base = build_model()
    examples = piqa_examples(12)
    bare = run(base, tokenizer, examples).frame["logprobs"].to_list()
    adapted = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False), "first")
    adapted.add_adapter("second", LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
    results = {}
    for name in ("first", "second", "first"):
        adapted.set_adapter(name)
        outcome = run(adapted, tokenizer, examples)
        assert outcome.metadata["model"]["adapters"] == [name]
        logprobs = outcome.frame["logprobs"].to_list()
        assert results.setdefault(name, logprobs) == logprobs
    with adapted.disable_adapter():
        without = run(adapted, tokenizer, examples).frame["logprobs"].to_list()
    assert without == bare
    assert results["first"] != results["second"] != bare != results["first"]


def test_model_and_tokenizer_are_given_back_as_they_came(tokenizer: Any) -> None:
    model = build_model().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    run(model, tokenizer, piqa_examples(2))
    run(model, tokenizer, free_examples(2), generation_task())
    assert model.training
    assert tokenizer.pad_token is None and len(tokenizer) == len(build_tokenizer(bos=False))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_bfloat16_model_gives_log_likelihoods_in_float32(tokenizer: Any) -> None:
    result = run(build_model().to(torch.bfloat16), tokenizer, piqa_examples(20))
    values = [value for row in result.frame["logprobs"] for value in row]
    assert result.metadata["model"]["dtype"] == "bfloat16"
    assert sum(float(torch.tensor(value).bfloat16()) == value for value in values) < len(values) / 4


def test_options_with_equal_scores_are_counted_and_the_first_wins(model: Any, tokenizer: Any) -> None:
    examples = piqa_examples(4)
    same = examples[1].choices[0]
    examples[1] = replace(examples[1], choices=(same, same), gold=1)
    result = run(model, tokenizer, examples)
    assert result.metadata["tasks"]["piqa"]["num_ties"] == 1
    assert result.frame["choice"][1] == 0 and result.frame["correct"][1] is False


def test_an_option_longer_than_the_model_takes_is_that_items_error(tokenizer: Any) -> None:
    examples = piqa_examples(4)
    examples[2] = replace(examples[2], choices=("short", "long " * 100))
    result = run(build_model(max_length=64), tokenizer, examples)
    assert "option 1: the option has" in result.frame["error"][2]
    assert "the model takes 64" in result.frame["error"][2]
    assert result.frame["correct"].null_count() == result.frame["logprobs"].null_count() == 1
    others = run(build_model(max_length=64), tokenizer, [examples[0], examples[1], examples[3]])
    assert others.frame["choice"].to_list() == result.frame.filter(pl.col("error").is_null())["choice"].to_list()


def test_a_model_that_gives_no_number_makes_errors_not_answers(tokenizer: Any) -> None:
    model = build_model()
    torch.nn.init.constant_(model.lm_head.weight, math.nan)
    frame = run(model, tokenizer, piqa_examples(3)).frame
    assert frame["error"].to_list() == ["the model's log-likelihood is not a finite number"] * 3
    assert frame["correct"].null_count() == 3


def test_cut_contexts_are_counted(tokenizer: Any) -> None:
    example = piqa_examples(1)[0]
    long = replace(example, id="long", context="open the jar " * 40 + example.context)
    result = run(build_model(max_length=64), tokenizer, [example, long])
    assert result.metadata["tasks"]["piqa"]["num_truncated"] == 2
    prompts = [Example(id=e.id, context=e.context, reference=("x",), target=" x") for e in (example, long)]
    generated = run(build_model(max_length=64), tokenizer, prompts, generation_task())
    assert generated.metadata["tasks"]["free"]["num_truncated"] == 1


def test_max_length_can_be_set_below_the_models(model: Any, tokenizer: Any) -> None:
    result = run(model, tokenizer, piqa_examples(4), max_length=20)
    assert result.metadata["tasks"]["piqa"]["max_length"] == 20
    assert result.metadata["tasks"]["piqa"]["num_truncated"] > 0


def test_metadata_says_what_was_scored_and_with_which_versions(model: Any, tokenizer: Any) -> None:
    metadata = run(model, tokenizer, piqa_examples(5)).metadata
    facts = metadata["tasks"]["piqa"]
    assert metadata["versions"]["lm_eval"] and metadata["versions"]["torch"].startswith(torch.__version__[:3])
    assert metadata["model"]["architecture"] == "LlamaForCausalLM" and metadata["model"]["dtype"] == "float32"
    assert facts["definition"] == PIQA.definition
    assert (facts["num_items"], facts["num_errors"], facts["softmax_dtype"]) == (5, 0, "float32")
    json.dumps(metadata)


def test_the_run_is_quiet(model: Any, tokenizer: Any, capfd: pytest.CaptureFixture[str]) -> None:
    run(model, tokenizer, piqa_examples(5), progress=True)
    run(model, tokenizer, free_examples(2), generation_task(), progress=True)
    assert capfd.readouterr() == ("", "")


def test_no_example_is_refused(model: Any, tokenizer: Any) -> None:
    with pytest.raises(DataError, match="at least one example"):
        run(model, tokenizer, [])


def test_a_batch_size_of_zero_is_refused(model: Any, tokenizer: Any) -> None:
    with pytest.raises(ValueError, match="batch_size"):
        run(model, tokenizer, piqa_examples(1), batch_size=0)


def test_a_tokenizer_without_end_of_text_is_refused(model: Any) -> None:
    bare = PreTrainedTokenizerFast(tokenizer_object=build_tokenizer(bos=False).backend_tokenizer)
    with pytest.raises(ModelError, match="end-of-text"):
        run(model, bare, piqa_examples(1))


def test_a_task_that_leaves_no_room_for_the_prompt_is_refused(tokenizer: Any) -> None:
    with pytest.raises(ModelError, match="generates up to 64 tokens, but the model takes 64"):
        run(build_model(max_length=64), tokenizer, free_examples(1), generation_task(max_new_tokens=64))
