"""What endpoints give back, read by hand: texts, options, and likelihoods of options."""

import math

import pytest
from endpoint import chat, echo

from muscle.record.endpoint import CallFailed
from muscle.record.pace import Usage
from muscle.record.replies import (
    Token,
    likeliest_places,
    option_likelihood,
    option_logprobs,
    option_of,
    read_reply,
    usage_of,
)

INTENTS = ["card lost", "card stolen", "balance"]


def token(text, **others):
    """A token with the probabilities of those at its place, its own among them."""
    return Token(text, math.log(others[text.strip()]), {f" {name}": math.log(p) for name, p in others.items()})


@pytest.mark.parametrize("text", ["balance", " Balance.\n", '"balance"', "balance\nsince you asked", "BALANCE"])
def test_an_option_is_found_whatever_stands_around_it(text):
    assert option_of(text, INTENTS) == 2


@pytest.mark.parametrize("text", ["", "card", "the balance", "balance or card lost", "nothing"])
def test_another_text_names_no_option(text):
    assert option_of(text, INTENTS) is None


def test_options_that_read_alike_are_not_told_apart():
    assert option_of("a", ["A", "a"]) is None


def test_likelihoods_of_options_come_from_the_tokens_that_were_likely():
    answer = [token(" card", card=0.8, balance=0.15), token(" lost", lost=0.75, stolen=0.25)]
    found = option_logprobs(answer, INTENTS)
    assert found is not None
    assert [math.exp(value) for value in found[0]] == pytest.approx([0.6, 0.2, 0.15])
    assert found[1] == 3


def test_options_with_one_beginning_share_its_probability():
    found = option_logprobs([token(" balance", balance=0.7, card=0.2)], INTENTS)
    assert found is not None
    assert [math.exp(value) for value in found[0]] == pytest.approx([0.1, 0.1, 0.7])


def test_options_that_were_not_seen_share_what_is_left_and_get_no_more_than_the_least_that_was_seen():
    options = [*INTENTS, "limit", "fee"]
    found = option_logprobs([token(" balance", balance=0.7, card=0.2)], options)
    assert found is not None and found[1] == 3
    assert [math.exp(value) for value in found[0][3:]] == pytest.approx([0.05, 0.05])
    found = option_logprobs([token(" balance", balance=0.5, card=0.01)], options)
    assert found is not None
    assert [math.exp(value) for value in found[0][3:]] == pytest.approx([0.01, 0.01])


def test_an_answer_that_begins_no_option_says_nothing_of_them():
    assert option_logprobs([token(" hm", hm=0.9, well=0.1)], INTENTS) is None


def test_a_chat_s_tokens_are_read_with_those_beside_them():
    top = [{"token": " a", "logprob": -0.1}, {"token": " b", "logprob": -2.5}]
    content = [{"token": " a", "logprob": -0.1, "top_logprobs": top}]
    reply = read_reply(chat("a", logprobs={"content": content})[2])
    assert reply.tokens == (Token(" a", -0.1, {" a": -0.1, " b": -2.5}),)
    assert (reply.text, reply.finish_reason, reply.model, reply.usage) == ("a", "stop", "old-model", Usage(10, 2))


def test_a_text_s_completion_is_read_as_a_chat_s():
    logprobs = {
        "tokens": ["a", "b"],
        "token_logprobs": [-0.1, -0.2],
        "top_logprobs": [{"a": -0.1}, {"b": -0.2, "c": -3}],
    }
    reply = read_reply({"choices": [{"text": "ab", "finish_reason": "length", "logprobs": logprobs}]})
    assert reply.text == "ab" and reply.usage is None
    assert reply.tokens == (Token("a", -0.1, {"a": -0.1}), Token("b", -0.2, {"b": -0.2, "c": -3}))


@pytest.mark.parametrize("found", [{}, {"choices": []}, {"choices": None, "id": "x"}, {"choices": ["text"]}])
def test_an_answer_without_choices_is_told(found):
    with pytest.raises(CallFailed, match="expected choices in the answer, found"):
        read_reply(found)


@pytest.mark.parametrize("told", [-1, 10**400, "12", 0.5])
def test_a_number_of_tokens_that_is_none_is_not_told(told):
    for name in ("prompt_tokens", "completion_tokens"):
        usage = {"prompt_tokens": 10, "completion_tokens": 2}
        assert usage_of({"usage": usage}) == Usage(10, 2)
        assert usage_of({"usage": {**usage, name: told}}) is None


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": None}, ""),
        ({}, ""),
        ({"content": None, "refusal": "I cannot help with that."}, "I cannot help with that."),
        ({"content": "bowl", "refusal": None}, "bowl"),
        ({"content": [{"type": "text", "text": "bo"}, {"type": "image"}, {"type": "text", "text": "wl"}]}, "bowl"),
    ],
)
def test_a_message_s_text_is_found_where_servers_put_it(message, text):
    assert read_reply({"choices": [{"message": message, "finish_reason": "stop"}]}).text == text


@pytest.mark.parametrize("value", [None, float("nan"), float("-inf"), "-0.1", 0.7, 1000.0, 10**400])
def test_a_log_probability_that_is_no_number_is_none(value):
    top = [{"token": "a", "logprob": -0.1}, {"token": "b", "logprob": value}]
    beside = {"content": [{"token": "a", "logprob": -0.1, "top_logprobs": top}]}
    assert read_reply(chat("a", logprobs=beside)[2]).tokens == (Token("a", -0.1, {"a": -0.1}),)
    for logprobs in (
        {"content": [{"token": "a", "logprob": -0.1}, {"token": "b", "logprob": value}]},
        {"tokens": ["a", "b"], "token_logprobs": [-0.1, value], "top_logprobs": None},
    ):
        assert read_reply(chat("ab", logprobs=logprobs)[2]).tokens == ()
    echoed = {"tokens": ["Use", " the", " bowl"], "token_logprobs": [None, -1.0, value]}
    with pytest.raises(CallFailed, match="echo"):
        option_likelihood({"choices": [{"logprobs": echoed}]}, "Use the bowl", len("Use the"))


def test_an_echoed_option_has_the_sum_of_its_tokens():
    prompt, values = "Use the big bowl", {" Use": -1.0, " the": -2.0, " big": -0.25, " bowl": -0.5}
    found = echo(prompt, lambda word: values.get(word, -9.0))[2]
    assert option_likelihood(found, prompt, len("Use the")) == pytest.approx(-0.75)


def test_a_token_across_the_boundary_counts_as_the_option_s():
    found = {
        "choices": [{"logprobs": {"tokens": ["Use", " the b", "owl", "!"], "token_logprobs": [None, -1.0, -0.5, -7.0]}}]
    }
    assert option_likelihood(found, "Use the bowl", len("Use the")) == pytest.approx(-1.5)


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        {"tokens": ["!"], "token_logprobs": [-1.0]},
        {"tokens": ["Use", " the", " bowl"], "token_logprobs": [None, -1.0, None]},
    ],
    ids=["none", "only what was written", "one without a number"],
)
def test_a_server_that_does_not_echo_is_found_out(logprobs):
    with pytest.raises(CallFailed, match="echo"):
        option_likelihood({"choices": [{"text": "!", "logprobs": logprobs}]}, "Use the bowl", len("Use the"))


def test_a_server_that_gives_each_token_the_place_after_is_known_by_the_likeliest_tokens():
    """What llama-cpp-python 0.3.36 gave of SmolLM2-135M-Instruct; its own token is listed beside the likeliest."""
    tokens = [
        " capital",
        " of",
        " France",
        "?",
        " Options",
        ":",
        " Oslo",
        ",",
        " Paris",
        ",",
        " Budapest",
        ".",
        " Answer",
    ]
    likeliest = [" of", " France", "?", "\n", ":", " A", ",", " Paris", ",", " Rome", ",", "\n", ":"]
    beside = zip(tokens, likeliest, strict=True)
    logprobs = {"tokens": tokens, "top_logprobs": [{best: -0.4, token: -11.0} for token, best in beside]}
    assert likeliest_places({"choices": [{"logprobs": logprobs}]}) == (0, 7)
    moved = [None, *logprobs["top_logprobs"][:-1]]
    assert likeliest_places({"choices": [{"logprobs": {**logprobs, "top_logprobs": moved}}]}) == (7, 0)


def test_nothing_is_said_of_places_without_likeliest_tokens_and_of_doubled_ones():
    assert likeliest_places(echo("one two two", lambda word: -1.0)[2]) == (0, 0)
    doubled = echo("a b b", lambda word: -1.0, tops=lambda tokens: [tokens[0], " b", " b", " c"])[2]
    assert likeliest_places(doubled) == (1, 0)
