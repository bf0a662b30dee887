"""What a model reads of an example: its base's own chat template and solved examples, token by token."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from muscle.config.prompt import MessageSettings, PromptSettings
from muscle.errors import ConfigError, DataError
from muscle.models.option_tree import encode_options
from muscle.tasks import Example, get_task
from muscle.tasks.prompt import BETWEEN_SHOTS, PLAIN, Prompt, make_prompt
from muscle.training.data.examples import tokenize
from tiny.bases import CHAT_TEMPLATES, byte_tokenizer

PIQA, SAMSUM = get_task("piqa"), get_task("samsum")


def choice_example(number: int) -> Example:
    row = {"goal": f"Open jar {number}", "sol1": f"Twist it {number}.", "sol2": "Sing. ", "label": number % 2}
    return PIQA.to_example(row, number)


def tokenizer_of(name: str, *, bos: bool) -> PreTrainedTokenizerFast:
    tokenizer = byte_tokenizer([str(choice_example(number)) for number in range(9)], bos=bos)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = CHAT_TEMPLATES[name]
    return tokenizer


def conversation(prompt: Prompt, example: Example, shots: list[Example]) -> list[dict[str, str]]:
    found = [{"role": "system", "content": prompt.system}] if prompt.system else []
    for shot in shots:
        found.append({"role": "user", "content": shot.context})
        found.append({"role": "assistant", "content": shot.target.strip()})
    return [*found, {"role": "user", "content": example.context}]


def own_ids(tokenizer: PreTrainedTokenizerFast, messages: list[dict[str, str]], *, generate: bool) -> list[int]:
    found = tokenizer.apply_chat_template(messages, add_generation_prompt=generate, tokenize=True, return_dict=True)
    return list(found["input_ids"])


@pytest.mark.parametrize("bos", [False, True])
@pytest.mark.parametrize("name", CHAT_TEMPLATES)
@pytest.mark.parametrize("num_fewshot", [0, 2])
def test_training_reads_the_tokens_of_the_tokenizers_own_template(name: str, bos: bool, num_fewshot: int) -> None:
    tokenizer, example = tokenizer_of(name, bos=bos), choice_example(0)
    shots = [choice_example(number) for number in (1, 2, 3)]
    prompt = Prompt(True, None if name == "no system" else "Be brief.", num_fewshot, tuple(shots))
    (put,) = prompt.render([example], tokenizer)
    (learnt,) = tokenize([put], tokenizer, max_length=500, end_of_text=False).sequences
    messages = conversation(prompt, example, shots[:num_fewshot])
    answer = {"role": "assistant", "content": example.reference[0].strip()}
    whole = own_ids(tokenizer, [*messages, answer], generate=False)
    assert learnt == whole[: len(learnt)]
    # Nothing but blanks stands behind the end token.
    assert tokenizer.decode(whole[len(learnt) :]).strip() == ""
    assert learnt.count(tokenizer.bos_token_id) == whole.count(tokenizer.bos_token_id) <= 1


@pytest.mark.parametrize("bos", [False, True])
@pytest.mark.parametrize("name", CHAT_TEMPLATES)
def test_options_stand_right_behind_the_generation_prompt(name: str, bos: bool) -> None:
    tokenizer, example = tokenizer_of(name, bos=bos), choice_example(1)
    prompt = Prompt(True)
    (put,) = prompt.render([example], tokenizer)
    context, options = encode_options(put, tokenizer, 500)
    messages = conversation(prompt, example, [])
    asked = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    if asked.endswith(" "):  # which is learnt as a part of the answer's first token
        assert context == tokenizer(asked.rstrip(" "), add_special_tokens=False)["input_ids"]
    else:
        assert context == own_ids(tokenizer, messages, generate=True)
    assert [tokenizer.decode(ids).strip() for ids in options] == [choice.strip() for choice in example.choices]
    (learnt,) = tokenize([put], tokenizer, max_length=500, end_of_text=False).sequences
    right = context + options[example.gold or 0]
    assert learnt[: len(right)] == right


@pytest.mark.parametrize(("name", "end"), [("chatml", "<|im_end|>"), ("instruct", "</s>"), ("no system", "</s>")])
def test_the_end_token_of_the_template_is_learnt_once(name: str, end: str) -> None:
    tokenizer = tokenizer_of(name, bos=False)
    form = Prompt(True).form(tokenizer)
    assert form.end.endswith(end) and form.end_token_id == tokenizer.convert_tokens_to_ids(end)
    (put,) = Prompt(True).render([choice_example(0)], tokenizer)
    assert put.target.count(end) == 1 and put.target.endswith(end)


def test_a_template_without_an_end_token_has_none() -> None:
    form = Prompt(True).form(tokenizer_of("no end", bos=False))
    assert (form.end, form.end_token_id) == ("", None)


def test_two_templates_put_the_same_item_differently_and_leave_it_as_it_is() -> None:
    example = choice_example(0)
    chatml, instruct = (
        Prompt(True).render([example], tokenizer_of(name, bos=False))[0].context for name in ("chatml", "instruct")
    )
    assert chatml.startswith("<|im_start|>user\n") and instruct.startswith("<s>[INST] ")
    assert example == choice_example(0)


def test_plain_shots_stand_before_the_question_as_in_the_harness() -> None:
    shots = tuple(choice_example(number) for number in (1, 2, 3))
    (put,) = Prompt(num_fewshot=2, shots=shots).render([choice_example(0)], tokenizer_of("chatml", bos=False))
    solved = [shot.context + shot.target for shot in shots[:2]]
    assert put.context == BETWEEN_SHOTS.join([*solved, choice_example(0).context])
    assert put.target == choice_example(0).target


def test_an_example_among_the_shots_never_shows_its_own_answer() -> None:
    shots = tuple(choice_example(number) for number in (1, 2, 3))
    again = replace(choice_example(1), id="another")
    (put,) = Prompt(num_fewshot=2, shots=shots).render([again], tokenizer_of("chatml", bos=False))
    assert put.context.count(again.context) == 1
    assert put.context.count("Answer:") == 3


TURNS = [
    MessageSettings(role="system", content="You sort."),
    MessageSettings(role="user", content="Hello"),
    MessageSettings(role="assistant", content="Ask."),
    MessageSettings(role="user", content="Which?\\1 {{prompt}} One word."),
]


@pytest.mark.parametrize("num_fewshot", [0, 1])
@pytest.mark.parametrize("name", [name for name in CHAT_TEMPLATES if name != "no system"])
def test_whole_messages_are_read_as_the_template_writes_them(name: str, num_fewshot: int) -> None:
    tokenizer, example = tokenizer_of(name, bos=True), choice_example(0)
    train = [choice_example(number) for number in range(1, 9)]
    prompt = make_prompt(PromptSettings(messages=TURNS, num_fewshot=num_fewshot), "piqa", train, seed=0)
    messages = [{"role": turn.role, "content": turn.content} for turn in TURNS[:-1]]
    for asked in [*prompt.shots[:num_fewshot], example]:
        messages.append({"role": "user", "content": f"Which?\\1 {asked.context} One word."})
        messages.append({"role": "assistant", "content": asked.target.strip()})
    (learnt,) = tokenize(
        list(prompt.render([example], tokenizer)), tokenizer, max_length=900, end_of_text=False
    ).sequences
    whole = own_ids(tokenizer, messages, generate=False)
    assert learnt == whole[: len(learnt)] and tokenizer.decode(whole[len(learnt) :]).strip() == ""


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"messages": []}, "expected the last to be the user's"),
        ({"messages": TURNS[:2]}, "expected the last to be the user's"),
        ({"messages": [TURNS[3], TURNS[2]]}, "expected the last to be the user's"),
        ({"messages": [TURNS[3], TURNS[3]]}, "and no other with it"),
        ({"messages": TURNS, "system": "x", "chat_template": True}, "expected no system beside it"),
    ],
)
def test_messages_that_do_not_ask_once_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PromptSettings(**settings)


def test_messages_that_are_not_given_change_no_fingerprint() -> None:
    assert "messages" not in PromptSettings(chat_template=True).identity()
    assert "turns" not in Prompt(True).identity()
    assert Prompt(True, turns=(("user", "{{ prompt }}"),)).identity() != Prompt(True).identity()


def test_shots_are_drawn_by_the_seed_whatever_the_order_of_the_rows() -> None:
    train, settings = [choice_example(number) for number in range(20)], PromptSettings(num_fewshot=3)

    def drawn(rows: list[Example], seed: int) -> list[str]:
        return [shot.id for shot in make_prompt(settings, "piqa", rows, seed=seed).shots]

    assert drawn(train, 0) == drawn(train[::-1], 0)
    assert len(set(drawn(train, 0))) == 4
    assert drawn(train, 0) != drawn(train, 1)


def test_too_little_training_data_for_the_shots_is_refused() -> None:
    train = [choice_example(0), choice_example(1), replace(choice_example(1), id="twice")]
    with pytest.raises(DataError, match=r"prompt.num_fewshot: 2 solved examples need 3 different texts.* found 2"):
        make_prompt(PromptSettings(num_fewshot={"piqa": 2}), "piqa", train, seed=0)
    assert make_prompt(PromptSettings(num_fewshot={"piqa": 2}), "samsum", train, seed=0) == PLAIN


def test_a_base_without_a_template_is_refused() -> None:
    tokenizer = byte_tokenizer(["a"], bos=False)
    with pytest.raises(ConfigError, match=r"prompt.chat_template: .*expected a tokenizer with a chat template"):
        Prompt(True).render([choice_example(0)], tokenizer)


def test_a_template_that_refuses_a_system_text_is_named() -> None:
    with pytest.raises(ConfigError, match=r"refuses the conversation \(no system role\)"):
        Prompt(True, "Be brief.").render([choice_example(0)], tokenizer_of("no system", bos=False))


def test_only_a_prompt_in_use_is_part_of_a_tasks_definition() -> None:
    assert PIQA.prompted(PLAIN).definition == PIQA.definition
    shots = (choice_example(1), choice_example(2))
    definitions = [
        PIQA.prompted(prompt).definition["prompt"]
        for prompt in (Prompt(True), Prompt(True, "x"), Prompt(num_fewshot=1, shots=shots), Prompt(num_fewshot=1))
    ]
    assert all(one != other for place, one in enumerate(definitions) for other in definitions[:place])


def test_a_system_text_without_a_template_is_refused() -> None:
    with pytest.raises(ValueError, match="system: expected it only with chat_template"):
        PromptSettings(system="x")
