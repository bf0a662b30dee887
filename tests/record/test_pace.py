"""Limits of calls, money and rate, by hand."""

import pytest

from muscle.record.pace import LimitReached, Limits, Meter, Price, Usage

PRICE = Price(read=1.0, written=2.0)
MILLION = 1_000_000


def test_money_is_set_aside_before_an_item_is_asked_and_given_back_when_it_was_cheaper():
    meter = Meter(Limits(max_cost=10.0, price=PRICE))
    first = meter.reserve(Usage(4 * MILLION, MILLION))  # 6
    with pytest.raises(LimitReached, match="--max-cost 10"):
        meter.reserve(Usage(5 * MILLION, 0))
    meter.settle(first, Usage(2 * MILLION, 0))
    assert meter.cost == pytest.approx(2.0)
    meter.reserve(Usage(5 * MILLION, 0))


def test_what_a_record_has_cost_before_counts():
    meter = Meter(Limits(max_cost=1.0, price=PRICE), Usage(MILLION, 0))
    with pytest.raises(LimitReached):
        meter.reserve(Usage(1, 0))


def test_no_more_calls_go_out_than_may():
    meter = Meter(Limits(max_calls=5))
    first = meter.reserve(Usage(), 3)
    with pytest.raises(LimitReached):
        meter.reserve(Usage(), 3)
    second = meter.reserve(Usage(), 2)
    for reserved, calls in ((first, 3), (second, 2)):
        for _ in range(calls):
            meter.begin_call(reserved)
    assert meter.num_calls == 5
    with pytest.raises(LimitReached):
        meter.begin_call(first)  # another try of one that failed


def test_another_try_takes_no_call_that_was_set_aside_for_another_item():
    meter = Meter(Limits(max_calls=2))
    first, second = meter.reserve(Usage()), meter.reserve(Usage())
    meter.begin_call(first)
    with pytest.raises(LimitReached):
        meter.begin_call(first)
    meter.begin_call(second)


def test_an_item_that_is_given_up_gives_back_its_calls():
    meter = Meter(Limits(max_calls=2))
    given_up = meter.reserve(Usage(), 2)
    with pytest.raises(LimitReached):
        meter.reserve(Usage(), 2)
    meter.settle(given_up, Usage())
    assert meter.reserve(Usage(), 2).calls == 2


def test_calls_keep_apart_in_time():
    now, waits = [100.0], []
    meter = Meter(Limits(rate=30.0), clock=lambda: now[0], wait=waits.append)
    reserved = meter.reserve(Usage(), 3)
    for _ in range(3):
        meter.begin_call(reserved)
    assert waits == pytest.approx([2.0, 4.0])
    now[0] = 120.0
    meter.begin_call(reserved)
    assert len(waits) == 2


def test_the_rate_is_that_of_the_calls_that_went_out():
    times = iter([0.0, 1.0, 6.0])
    meter = Meter(Limits(rate=30.0), clock=lambda: next(times), wait=lambda seconds: None)
    reserved = meter.reserve(Usage(), 3)
    meter.begin_call(reserved)
    assert meter.calls_a_minute is None
    meter.begin_call(reserved)  # waits for second 2
    assert meter.calls_a_minute == 30.0
    meter.begin_call(reserved)
    assert meter.calls_a_minute == 20.0
