"""Recording from an endpoint: a server on this machine that answers as each test says."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace

import pytest
from endpoint import chat, echo, failure, serve

from helpers.command_line import muscle, refused
from helpers.places import ROOT
from muscle.errors import ConfigError, DataError, EndpointError
from muscle.predictions.read import read_run
from muscle.record.asking import Asking
from muscle.record.endpoint import Caller, CallFailed, Endpoint, Stopped
from muscle.record.items import load_items
from muscle.record.log import RecordLog
from muscle.record.pace import Limits, Meter, Price, Usage
from muscle.record.recording import FIRST_ITEMS, MOST_FAILURES, EndpointRecorder, open_work
from muscle.tasks import get_task
from tiny.bases import GENERATION_YAML, TASK_YAML, TASKS, TOOLS, write_choice_rows

pytest.importorskip("openai", reason="muscle-llm[record] is not installed")

TOOL = dict(zip(TASKS, TOOLS, strict=True))
KEY = "sk-test-1234567890"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tools.yaml").write_text(TASK_YAML)
    (tmp_path / "words.yaml").write_text(GENERATION_YAML)
    write_choice_rows(tmp_path / "items.jsonl", 12)
    return tmp_path


def tool(body):
    """The right answer to a question of `tiny.bases`."""
    text = body["prompt"] if "prompt" in body else body["messages"][-1]["content"]
    return TOOL[text.split()[1]]


def recorder(folder, served, asking=None, *, task="tools", limits=None, waits=None, retries=3, parallel=3):
    chosen, asking = get_task(folder / f"{task}.yaml"), asking or Asking("old-model")
    endpoint = Endpoint(served.url)
    log = RecordLog(folder / "record.jsonl", asking.identity(chosen))
    caller = Caller(endpoint, retries=retries, wait=(waits if waits is not None else []).append)
    meter = Meter(limits or Limits(), log.spent, wait=lambda seconds: None)
    return EndpointRecorder(chosen, asking, endpoint, caller, meter, log, parallel)


def record(folder, served, asking=None, **more):
    made = recorder(folder, served, asking, **more)
    made.log.drop_failed()
    items = load_items(made.task, [str(folder / "items.jsonl")])
    return made.record(open_work(made.log, items, made.asking.repeats))


def lines(folder):
    return [json.loads(line) for line in (folder / "record.jsonl").read_text().splitlines()]


def test_a_record_is_a_run_that_everything_reads(folder):
    with serve(lambda body, number: chat(tool(body) if number % 4 else "no idea")) as served:
        found = record(folder, served)
    assert (found.num_new, found.num_open, found.num_calls, found.stopped) == (12, 0, 12, None)
    run = read_run(folder / "record.jsonl")
    assert (run.metadata["notes"], run.metadata["readings"]) == ([], [])
    frame = run.frame.sort("id")
    assert frame["correct"].sum() == 9 and frame.height == 12
    wrong = frame.filter(~frame["correct"])
    assert wrong["output"].to_list() == ["no idea"] * 3 and wrong["choice"].null_count() == 3
    assert run.score_names() == ["acc"]


def test_a_line_says_how_its_answer_was_asked_for(folder):
    with serve(lambda body, number: chat(tool(body), model="old-model-2024")) as served:
        record(folder, served)
    first = lines(folder)[0]["muscle_call"]
    assert first["model"] == "old-model-2024" and first["endpoint"] == served.url
    assert (first["tokens_read"], first["tokens_written"], first["temperature"]) == (10, 2, 0.0)
    assert len({line["muscle_call"]["prompt_sha256"] for line in lines(folder)}) == 12
    assert len({line["muscle_call"]["template"] for line in lines(folder)}) == 1
    body = served.asked[0]
    assert body["messages"] == [{"role": "user", "content": "for soup w0 w0 Use the"}]
    assert body["temperature"] == 0.0 and "logprobs" not in body


def test_what_stands_in_the_record_is_not_asked_again(folder):
    with serve(lambda body, number: chat(tool(body))) as served:
        assert record(folder, served, limits=Limits(max_calls=5)).stopped == "--max-calls 5"
        found = record(folder, served)
        assert (found.num_before, found.num_new, found.num_calls) == (5, 7, 7)
        assert record(folder, served).num_calls == 0
    assert set(Counter(served.questions()).values()) == {1}


def test_every_item_is_asked_once_before_one_is_asked_again(folder):
    with serve(lambda body, number: chat(tool(body))) as served:
        record(folder, served, Asking("old-model", repeats=3, temperature=1.0), parallel=1)
    kept = lines(folder)
    assert {line["id"] for line in kept[:12]} == {f"row-{number}" for number in range(12)}
    assert Counter(line["repeat"] for line in kept) == {0: 12, 1: 12, 2: 12}
    assert {body["temperature"] for body in served.asked} == {1.0}


def test_a_call_that_fails_for_a_moment_is_made_again_after_the_wait_that_is_asked_for(folder):
    tries, waits = Counter(), []

    def answer(body, number):
        tries[tool(body)] += 1
        if number == 3:
            return failure(429, "slow down", Retry_After="7")
        if number == 5:
            return failure(503)
        return chat(tool(body))

    with serve(answer) as served:
        found = record(folder, served, waits=waits, parallel=1)
    assert (found.num_new, found.num_failed, found.num_calls) == (12, 0, 14)
    assert waits[0] == 7.0 and 0.5 <= waits[1] <= 1.0


def test_an_item_whose_calls_all_fail_is_a_line_that_says_so_and_is_asked_again_later(folder):
    def answer(body, number):
        return failure(500, "down") if is_down and "w4 " in body["messages"][0]["content"] else chat(tool(body))

    is_down, waits = True, []
    with serve(answer) as served:
        found = record(folder, served, waits=waits)
        assert (found.num_failed, len(waits)) == (1, 3) and sorted(waits) == waits
        (failed,) = [line for line in lines(folder) if "error" in line]
        assert failed["error"] == "call failed: HTTP 500: down"
        assert failed["muscle_call"]["failed"] is True
        is_down = False
        found = record(folder, served)
    assert (found.num_before, found.num_new, found.num_calls) == (11, 1, 1)
    assert not [line for line in lines(folder) if "error" in line]


@pytest.mark.parametrize(
    ("status", "message", "hint", "calls"),
    [
        (401, f"Incorrect API key provided: {KEY}", "environment variable OPENAI_API_KEY", 1),
        (402, "no credit", "the account's credit", 1),
        (404, "no such model", "the model's name", 1),
        (400, "logprobs are not supported", "leave out --top-logprobs", FIRST_ITEMS),
        (400, "temperature must be 1", "--param KEY=VALUE", FIRST_ITEMS),
    ],
)
def test_an_endpoint_that_takes_no_call_is_found_out_by_the_first_ones(
    folder, monkeypatch, status, message, hint, calls
):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with (
        serve(lambda body, number: failure(status, message)) as served,
        pytest.raises(EndpointError, match=hint) as raised,
    ):
        record(folder, served)
    assert len(served.asked) == calls and set(served.keys) == {f"Bearer {KEY}"}
    assert KEY not in str(raised.value) and KEY not in (folder / "record.jsonl").read_text()
    assert all("failed" in line["muscle_call"] for line in lines(folder))


def test_a_first_call_that_comes_to_nothing_after_all_tries_ends_the_recording_and_says_why_at_once(folder, caplog):
    page = (200, {"Content-Type": "text/html"}, "<html>It works!</html>")
    for answer, told in (
        (page, "found none: '<html>It works!</html>'; see whether the address"),
        (failure(500), "500"),
    ):
        caplog.clear()
        with serve(lambda body, number, answer=answer: answer) as served:
            with pytest.raises(EndpointError, match=told):
                record(folder, served, retries=2)
            assert len(served.asked) == 3
        assert [text for text in caplog.messages if "tried again" in text] == caplog.messages[:1]
    made = recorder(folder, served, retries=0)
    with pytest.raises(EndpointError, match="is the server running"):
        made.record(open_work(made.log, load_items(made.task, [str(folder / "items.jsonl")]), 1))


def test_a_page_in_place_of_an_answer_is_a_moment_s_and_an_empty_account_is_not(folder):
    page = (200, {"Content-Type": "text/html"}, "<html>We are back soon</html>")
    with serve(lambda body, number: page if number == 5 else chat(tool(body))) as served:
        found = record(folder, served, parallel=1)
    assert (found.num_failed, found.num_calls) == (0, 13)
    (folder / "record.jsonl").unlink()
    error = {"message": "You exceeded your quota", "code": "insufficient_quota"}
    with serve(lambda body, number: (429, {}, {"error": error}) if number > 2 else chat(tool(body))) as served:
        with pytest.raises(EndpointError, match="HTTP 429: You exceeded your quota; see the account's credit"):
            record(folder, served, parallel=1)
        assert len(served.asked) == 4


@pytest.mark.parametrize("error", [{"code": "429"}, {"code": "rate_limit_exceeded"}, {"type": "rate_limit_error"}])
def test_a_gateway_s_word_for_too_many_calls_is_heeded(folder, error):
    with serve(lambda body, number: chat(tool(body)) if number else (200, {}, {"error": error})) as served:
        found = record(folder, served, parallel=1)
    assert (found.num_failed, found.num_calls) == (0, 13)


def test_items_that_an_endpoint_refuses_are_no_reason_to_leave_out_the_others(folder):
    """A filter, or a prompt that is too long: HTTP 400, at the first items and at more than ten of them."""
    write_choice_rows(folder / "items.jsonl", 40)

    def answer(body, number):
        text = body["messages"][0]["content"]
        return failure(400, "content_filter") if is_bad and text in bad else chat(tool(body))

    is_bad, bad = False, set()
    with serve(answer) as served:
        record(folder, served, parallel=1)
        bad, is_bad = {*served.questions()[:2], *served.questions()[10:25]}, True
        (folder / "record.jsonl").unlink()
        for _ in range(2):
            found = record(folder, served, parallel=1)
            assert (len(bad), found.num_failed, found.num_open) == (17, 17, 0)
    assert read_run(folder / "record.jsonl").frame["correct"].sum() == 23


def test_a_key_that_is_taken_back_ends_the_recording_with_what_to_do(folder):
    with (
        serve(lambda body, number: chat(tool(body)) if number < 5 else failure(401, "revoked")) as served,
        pytest.raises(EndpointError, match="HTTP 401: revoked; give a key in the environment variable"),
    ):
        record(folder, served, parallel=1)
    assert len(served.asked) == 6 and len(lines(folder)) == 5


def test_an_error_that_comes_as_an_answer_is_a_failed_call_without_the_key(folder, monkeypatch):
    """As gateways write what the servers behind them say: HTTP 200, and the error in the body."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def answer(body, number):
        error = {"code": 429, "message": "slow down"} if number == 2 else {"message": f"bad key {KEY}"}
        return (200, {}, {"error": error}) if number in (2, 5) else chat(tool(body))

    with serve(answer) as served:
        found = record(folder, served, waits=(waits := []), parallel=1)
    assert (found.num_new, found.num_failed, found.num_calls, len(waits)) == (12, 1, 13, 1)
    text = (folder / "record.jsonl").read_text()
    assert "an error as an answer (400): bad key [key]" in text and KEY not in text


def test_a_key_is_sent_without_the_blanks_around_it_and_one_that_no_header_takes_is_refused_unseen(folder, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", f" {KEY}\n")
    with serve(lambda body, number: chat(tool(body))) as served:
        record(folder, served)
        assert set(served.keys) == {f"Bearer {KEY}"}
        for key in ("abc/def\nghi+12=", "schl\u00fcssel-123"):
            monkeypatch.setenv("OPENAI_API_KEY", key)
            with pytest.raises(ConfigError, match="OPENAI_API_KEY holds blanks, line breaks or letters") as raised:
                record(folder, served)
            assert not any(part in str(raised.value) for part in ("abc", "ghi", "123"))


def test_waits_for_another_try_end_when_no_more_calls_are_to_go_out(folder):
    with serve(lambda body, number: failure(429, "slow", Retry_After="600")) as served:
        caller, ended = Caller(Endpoint(served.url)), []

        def call():
            try:
                caller.call("/chat/completions", {"messages": []})
            except Stopped as stopped:
                ended.append(stopped)

        thread = threading.Thread(target=call)
        thread.start()
        while not served.asked:
            time.sleep(0.01)
        caller.stop()
        thread.join()
    assert len(ended) == 1 and len(served.asked) == 1


def test_an_item_is_known_by_its_text_in_whichever_file_it_stands(folder):
    with serve(lambda body, number: chat(tool(body))) as served:
        record(folder, served)
        ids = {line["id"] for line in lines(folder)}
        write_choice_rows(folder / "more.jsonl", 20)
        made = recorder(folder, served, Asking("old-model", repeats=5))
        items = load_items(made.task, [str(folder / name) for name in ("items.jsonl", "more.jsonl")])
        assert not ids & {item.id for item in items}
        found = made.record(open_work(made.log, items, 5))
    new = len(items) - 12
    assert new > 0 and (found.num_before, found.num_calls) == (12, 4 * 12 + 5 * new)
    frame = read_run(folder / "record.jsonl").frame
    assert set(frame.group_by("input_hash").len()["len"]) == {5}
    assert frame["id"].n_unique() == len(items) and ids <= set(frame["id"])


def test_an_id_that_stands_for_another_text_in_the_record_is_refused(folder):
    with serve(lambda body, number: chat(tool(body))) as served:
        record(folder, served)
        rows = [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]
        rows[3]["goal"] += " now"
        (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        with pytest.raises(DataError, match=r"record\.jsonl: the item 'row-3' has another text there"):
            record(folder, served)
    assert len(served.asked) == 12


def test_another_model_behind_the_same_name_is_told_once_and_by_the_check(folder, caplog):
    with serve(lambda body, number: chat(tool(body), model=f"m-{min(number // 4, 1)}")) as served:
        record(folder, served, parallel=1)
    told = [message for message in caplog.messages if "m-0 answered before, now m-1 does" in message]
    assert len(told) == 1
    shown = muscle("record", "--check", folder / "record.jsonl")
    told = "m-1, asked for as old-model (8), m-0, asked for as old-model (4)"
    assert told in " ".join(shown.out.split()) and "answers of several models" in shown.out


def test_what_an_item_has_cost_counts_also_where_a_later_call_of_it_fails(folder):
    def answer(body, number):
        return failure(500) if number % 2 else echo(body["prompt"], lambda word: -1.0)

    write_choice_rows(folder / "items.jsonl", 8)
    with serve(answer) as served:
        found = record(folder, served, Asking("old-model", way="options"), retries=0, parallel=1)
    words = [len(text.split(" ")) for text in served.questions()[::2]]
    assert found.num_failed == len(words) == 8 and found.usage == Usage(sum(words), len(words))


def test_what_failed_calls_have_cost_in_earlier_runs_counts_against_the_limit(folder):
    def half_of_it(body, number):
        return failure(500) if number % 2 else echo(body["prompt"], lambda word: -1.0)

    way, limits = Asking("old-model", way="options"), Limits(max_cost=1000, price=Price(1_000_000, 0))
    write_choice_rows(folder / "items.jsonl", 3)
    with serve(half_of_it) as served:
        first = record(folder, served, way, retries=0, parallel=1, limits=limits)
    assert first.num_failed == 3 and first.cost > 10
    with serve(lambda body, number: echo(body["prompt"], lambda word: -1.0)) as served:
        ended = record(folder, served, way, limits=Limits(max_cost=first.cost + 1, price=Price(1_000_000, 0)))
        assert ended.num_calls == 0 and ended.stopped.startswith(f"--max-cost {first.cost + 1:g}: {first.cost:g} spent")
        found = record(folder, served, way, limits=limits)
        asked = sum(len(text.split(" ")) for text in served.questions())
        assert (found.num_new, found.num_calls, found.cost) == (3, 6, first.cost + asked)
        assert record(folder, served, way, limits=limits).cost == found.cost
    assert sorted(line["id"] for line in lines(folder)) == ["row-0", "row-1", "row-2"]


def test_what_was_paid_for_an_item_that_a_limit_ended_is_kept(folder):
    with serve(lambda body, number: failure(500) if number else echo(body["prompt"], lambda word: -1.0)) as served:
        way = Asking("old-model", way="options")
        ended = record(folder, served, way, limits=Limits(max_calls=2), retries=3, parallel=1)
    assert ended.stopped == "--max-calls 2" and ended.usage.read > 0
    assert recorder(folder, served, way).log.spent == ended.usage


def test_an_endpoint_that_gives_each_token_the_place_after_is_refused(folder):
    def shifted(body, number):
        return echo(body["prompt"], lambda word: -1.0, tops=lambda tokens: [*tokens[1:], " end"])

    def as_it_should_be(body, number):
        return echo(body["prompt"], lambda word: -1.0, tops=lambda tokens: [*tokens[:3], *[" the"] * (len(tokens) - 3)])

    with serve(as_it_should_be) as served:
        assert record(folder, served, Asking("old-model", way="options")).num_new == 12
    (folder / "record.jsonl").unlink()
    with (
        serve(shifted) as served,
        pytest.raises(EndpointError, match=r"are those of the token after .* no option's likelihood can be told"),
    ):
        record(folder, served, Asking("old-model", way="options"))
    assert len(served.asked) == 1 and lines(folder) == []


def test_a_blank_answer_does_not_say_that_an_endpoint_has_no_log_probabilities(folder, caplog):
    def answer(body, number):
        if not number:
            return chat("")
        content = [{"token": tool(body), "logprob": -0.1, "top_logprobs": [{"token": tool(body), "logprob": -0.1}]}]
        return chat(tool(body), logprobs={"content": content})

    with serve(answer) as served:
        record(folder, served, Asking("old-model", top_logprobs=5))
    assert "gives no log-probabilities" not in caplog.text
    assert sum("logprobs" in line for line in lines(folder)) == 11


def test_what_a_call_may_write_is_what_its_parameters_say(folder):
    task = get_task(folder / "tools.yaml")
    (item, *_) = load_items(task, [str(folder / "items.jsonl")])
    own = Asking("m").most_tokens(task, item)[1]
    for params, most in (
        ({}, own),
        ({"max_tokens": 500}, 500),
        ({"max_tokens": None, "max_completion_tokens": 900}, 900),
        ({"n": 3}, 3 * own),
    ):
        asking = Asking("m", params=params)
        assert (asking.most_tokens(task, item)[1], asking.is_bounded) == (most, True)
    assert not Asking("m", params={"max_tokens": None}).is_bounded


def test_an_endpoint_that_goes_down_ends_the_recording_and_keeps_what_came(folder):
    write_choice_rows(folder / "items.jsonl", 40)
    with serve(lambda body, number: chat(tool(body)) if number < 7 else failure(500)) as served:
        with pytest.raises(EndpointError, match=rf"{MOST_FAILURES} items in a row failed.*what was answered is kept"):
            record(folder, served, retries=0, parallel=1)
        assert len(served.asked) == 7 + MOST_FAILURES
    assert sum("error" not in line for line in lines(folder)) == 7


def test_a_server_that_is_not_there_is_told(folder):
    with serve(lambda body, number: chat("")) as served:
        pass
    made = recorder(folder, served, retries=1)
    with pytest.raises(CallFailed, match="APIConnectionError") as raised:
        made.caller.call("/chat/completions", {})
    assert not raised.value.is_final


def test_the_key_stands_nowhere_in_a_record(folder, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def answer(body, number):
        if number % 3 == 2:
            return failure(500, f"bad key {KEY}, sk-other-key-123456")
        return chat(f"your header: Bearer {KEY}", model=f"model of {KEY}") if number % 3 else chat(tool(body))

    with serve(answer) as served:
        record(folder, served, retries=0, parallel=1)
    text = (folder / "record.jsonl").read_text()
    assert KEY not in text and "sk-other" not in text
    assert all(told in text for told in ("bad key [key]", "your header: Bearer [key]", "model of [key]"))


def test_a_key_in_place_of_its_variable_s_name_is_refused_unseen():
    with pytest.raises(ConfigError, match="--key-env: expected the name") as raised:
        Endpoint("http://localhost:8000/v1", KEY)
    assert KEY not in str(raised.value)


def test_openai_is_openai_s_own_address_whatever_the_environment_says(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:9/v1")
    assert Caller(Endpoint("openai"))._client.base_url.host == "api.openai.com"


def test_a_prompt_that_leaves_the_options_open_is_told_of(folder):
    asking, task = Asking("m"), get_task(folder / "tools.yaml")
    items = load_items(task, [str(folder / "items.jsonl")])
    assert asking.leaves_options_open(task, items)
    assert not Asking("m", way="options").leaves_options_open(task, items)
    named = [replace(each, context=f"{each.context} {', '.join(each.choices).upper()}") for each in items]
    assert not asking.leaves_options_open(task, named)


def test_money_that_was_paid_in_earlier_runs_counts(folder):
    # At most 17 + 8 bytes and 32 more are read, and 12 tokens written: 0.09; an item costs 0.014.
    limits = Limits(max_cost=0.15, price=Price(1000.0, 2000.0))
    with serve(lambda body, number: chat(tool(body))) as served:
        first = record(folder, served, limits=limits, parallel=1)
        assert first.stopped and first.cost <= 0.15 and first.num_new > 3
        second = record(folder, served, limits=limits, parallel=1)
    assert (second.num_new, second.num_calls, second.cost) == (0, 0, pytest.approx(first.cost))
    assert first.cost == pytest.approx(first.num_new * 0.014)


def test_a_blank_answer_is_no_answer_and_is_not_asked_for_again(folder):
    with serve(lambda body, number: chat(" \n" if number == 2 else tool(body))) as served:
        record(folder, served)
        assert record(folder, served).num_calls == 0
    (blank,) = [line for line in lines(folder) if "error" in line]
    assert blank["error"] == "no answer" and "failed" not in blank["muscle_call"]


def test_options_get_likelihoods_from_a_chat_s_likeliest_tokens(folder):
    def answer(body, number):
        assert body["logprobs"] is True and body["top_logprobs"] == 5
        likely = {tool(body): -0.2, **dict.fromkeys(set(TOOLS) - {tool(body)}, -3.0)}
        top = [{"token": name, "logprob": value} for name, value in likely.items()]
        return chat(tool(body), logprobs={"content": [{**top[0], "top_logprobs": top}]})

    with serve(answer) as served:
        record(folder, served, Asking("old-model", top_logprobs=5))
    frame = read_run(folder / "record.jsonl").frame
    assert [sorted(values) for values in frame["logprobs"]] == [pytest.approx([-3.0, -0.2])] * 12
    assert frame["correct"].all() and frame.get_column("score.gold_probability").min() == pytest.approx(
        0.9427, abs=1e-4
    )


def test_each_option_s_likelihood_comes_from_an_echo(folder):
    def answer(body, number):
        assert body["echo"] is True and body["max_tokens"] == 1
        return echo(body["prompt"], lambda word: -0.5 if word == f" {tool(body)}" else -2.0)

    with serve(answer) as served:
        found = record(folder, served, Asking("old-model", way="options"))
    assert (found.num_new, found.num_calls) == (12, 24)
    frame = read_run(folder / "record.jsonl").frame
    assert frame["correct"].all()
    assert sorted(frame["logprobs"][0]) == [-2.0, -0.5]
    assert served.paths[0] == "/v1/completions"


def test_a_generated_answer_is_cut_and_scored_as_here(folder):
    def answer(body, number):
        assert body["stop"] == ["w9"] and body["max_tokens"] == 4
        return chat(f" {tool(body)} w1 w9 more" if number % 2 else " bowl")

    with serve(answer) as served:
        record(folder, served, task="words", parallel=1)
    frame = read_run(folder / "record.jsonl").frame
    assert frame["output"].to_list()[:4] == [" bowl", " fork w1 ", " bowl", " lamp w1 "]
    assert frame["correct"].to_list() == [False, True] * 6


def test_a_real_server_s_answers_are_recorded_as_they_were(tmp_path):
    """Replays what transformers' server answered with SmolLM2-135M-Instruct."""
    kept = json.loads((ROOT / "tests" / "data" / "record" / "smollm2_chat.json").read_text())
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(each["row"]) + "\n" for each in kept))
    (tmp_path / "tools.yaml").write_text(
        "name: intents\nid: id\nlabel: label\nscorer: choice_likelihood\nchoices: [weather, music, alarm]\n"
        'prompt: "Classify the request as weather, music or alarm. Answer with one word.\\nRequest: {{ text }}"\n'
    )
    with serve(lambda body, number: (200, {}, next(e["response"] for e in kept if e["request"] == body))) as served:
        record(tmp_path, served, Asking("SmolLM2-135M-Instruct", max_tokens=4))
    frame = read_run(tmp_path / "record.jsonl").frame.sort("id")
    assert frame["output"].to_list() == [each["response"]["choices"][0]["message"]["content"] for each in kept]
    assert frame["correct"].to_list() == [
        each["response"]["choices"][0]["message"]["content"].strip().lower() == each["row"]["label"] for each in kept
    ]
    usage = [each["response"]["usage"]["prompt_tokens"] for each in kept]
    assert sorted(line["muscle_call"]["tokens_read"] for line in lines(tmp_path)) == sorted(usage)


def test_an_endpoint_that_passes_over_log_probabilities_is_told_of(folder, caplog):
    with serve(lambda body, number: chat(tool(body))) as served:
        record(folder, served, Asking("old-model", top_logprobs=5))
    told = [message for message in caplog.messages if "gives no log-probabilities" in message]
    assert len(told) == 1


def test_an_endpoint_that_does_not_echo_is_told_what_to_take(folder):
    with (
        serve(lambda body, number: (200, {}, {"choices": [{"text": "x", "finish_reason": "length"}]})) as served,
        pytest.raises(EndpointError, match="does not echo prompts; take --ask chat"),
    ):
        record(folder, served, Asking("old-model", way="options"))


def test_parameters_go_along_and_null_takes_a_key_away(folder):
    asking = Asking("old-model", params={"temperature": None, "reasoning_effort": "low"})
    with serve(lambda body, number: chat(tool(body))) as served:
        record(folder, served, asking)
    assert "temperature" not in served.asked[0] and served.asked[0]["reasoning_effort"] == "low"


def test_a_killed_recording_goes_on_and_asks_nothing_twice_that_it_had_written(folder):
    write_choice_rows(folder / "items.jsonl", 60)
    may_go_on = threading.Event()

    def answer(body, number):
        if number >= 25:
            may_go_on.wait(60)  # what is in flight at the kill
        return chat(tool(body))

    command = [sys.executable, "-W", "ignore", "-m", "muscle", "record", "--model", "old-model", "--parallel", "3"]
    command += ["--task", "tools.yaml", "--data", "items.jsonl", "--quiet"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])}
    with serve(answer) as served:
        command += ["--endpoint", served.url]
        process = subprocess.Popen(command, cwd=folder, env=environment)
        deadline = time.monotonic() + 120
        while len(served.asked) < 28 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        written = {line["input"] for line in lines(folder)}
        may_go_on.set()
        done = subprocess.run(command, cwd=folder, env=environment, check=False)
        assert done.returncode == 0
        asked = Counter(served.questions())
    assert len(written) == 25
    assert len(lines(folder)) == 60 == len(asked)
    assert {asked[text] for text in written} == {1}
    assert sum(asked.values()) == 60 + 3  # in flight when it was killed


def test_the_command_records_and_says_what_for(folder):
    with serve(lambda body, number: chat(tool(body))) as served:
        command = ("record", "--endpoint", served.url, "--model", "old-model", "--task", "tools.yaml")
        done = muscle(
            *command, "--data", "items.jsonl", "--repeats", 2, "--rate", 60000, "--json", "check.json", cwd=folder
        )
    assert done.code == 0, done.err
    assert "24 answers recorded, 0 were there" in done.out and "24 calls" in done.out
    told = json.loads((folder / "check.json").read_text())
    (task,) = told["tasks"]
    assert (task["inputs"], task["repeats"], task["accuracy"]) == (12, {"2": 12}, 1.0)
    assert told["models"] == {"old-model": 24} and task["floor"]["value"] == 0.0


def test_bad_options_are_refused_before_anything_is_asked(folder):
    start = ("record", "--model", "m", "--task", folder / "tools.yaml", "--data", folder / "items.jsonl")
    out = ("--out", folder / "r.jsonl")
    assert "--max-cost: expected --price-in" in refused(*start, *out, "--endpoint", "http://h/v1", "--max-cost", 1)
    unbounded = ("--endpoint", "http://h/v1", "--max-cost", 1, "--price-in", 1, "--param", "max_tokens=null")
    assert "add --param max_completion_tokens=N" in refused(*start, *out, *unbounded)
    assert "expected an address" in refused(*start, *out, "--endpoint", "h:80")
    assert "without user, password" in refused(*start, *out, "--endpoint", "http://me:secret@h/v1")
    assert "expected a .jsonl file" in refused(*start, "--out", folder / "r.csv", "--endpoint", "http://h/v1")
    assert "expected --model and --task" in refused("record")
    for option in ("--timeout", "--price-in", "--price-out"):
        given = refused(*start, *out, "--endpoint", "http://h/v1", option, "inf")
        assert f"Invalid value for '{option}': Input should be less than or equal to" in given


def test_openai_s_own_endpoint_needs_a_key(folder, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    line = refused(
        *("record", "--model", "m", "--task", folder / "tools.yaml", "--data", folder / "items.jsonl"),
        *("--out", folder / "r.jsonl", "--endpoint", "openai"),
    )
    assert "expected a key in the environment variable OPENAI_API_KEY" in line


def test_asking_needs_no_torch():
    code = (
        "import sys, muscle.cli, muscle.record.recording, muscle.record.check, muscle.record.items\n"
        "import muscle.record.shown, muscle.tasks.prompted, muscle.commands.sources, muscle.record.read\n"
        "print([name for name in ('torch', 'transformers', 'lm_eval', 'peft', 'datasets') if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_usage_adds_up():
    assert Usage(1, 2) + Usage(3, 4) == Usage(4, 6)
