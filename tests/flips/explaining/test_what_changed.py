import random
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from muscle import compare
from muscle.flips.statistics.two_groups import fisher, mann_whitney

WORDS = [
    "sun",
    "rain",
    "wind",
    "cloud",
    "snow",
    "hail",
    "fog",
    "mist",
    "storm",
    "heat",
    "frost",
    "dew",
    "ice",
    "haze",
]


def versions(change: Any, *, count: int = 120, broken: int = 40, seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Two versions whose first `broken` answers break, and differ by `change` from an answer that stays right."""
    draw = random.Random(seed)
    texts = [" ".join(draw.choices(WORDS, k=8)) for _ in range(count)]
    base = {
        "id": [str(n) for n in range(count)],
        "input": [f"q{n}" for n in range(count)],
        "reference": [["x"]] * count,
    }
    old = pl.DataFrame({**base, "output": texts, "correct": [True] * count})
    changed = [change(text) if n < broken else text for n, text in enumerate(texts)]
    return old, pl.DataFrame({**base, "output": changed, "correct": [n >= broken for n in range(count)]})


def rows_of(old: pl.DataFrame, new: pl.DataFrame) -> list[dict[str, Any]]:
    (task,) = compare(old, new).to_json()["tasks"].values()
    return task["what_changed"]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("change", "kind", "what"),
    [
        (lambda t: f"{t} {t} {t}", "length", "length"),
        (lambda t: f"**{t}**", "format", "Markdown"),
        (lambda t: f"```\n{t}\n```", "format", "code fence"),
        (lambda t: '{"answer": "' + t + '"}', "format", "JSON"),
        (lambda t: "\u202e" + t, "format", "control characters"),
        (lambda t: "天気は" + t, "language", "Han script now"),
        (lambda t: "погода", "language", "no Latin script"),
        (lambda t: t + " or so they say", "ngram", "so they say"),
    ],
)
def test_what_sets_broken_answers_apart_is_found(change: Any, kind: str, what: str) -> None:
    rows = rows_of(*versions(change))
    assert any(row["kind"] == kind and what in row["what"] for row in rows)
    assert len(rows) <= 12 and all(0 <= row["p"] <= row["p_adjusted"] <= 0.05 for row in rows)
    assert [row["p_adjusted"] for row in rows] == sorted(row["p_adjusted"] for row in rows)


def test_nothing_is_told_where_nothing_sets_them_apart() -> None:
    told = sum(bool(rows_of(*versions(lambda t: " ".join(sorted(t.split())), seed=s))) for s in range(5))
    old, new = versions(lambda t: t)
    assert rows_of(old, new) == []
    assert told <= 5


def test_false_rows_are_rare_where_answers_change_at_random() -> None:
    alarms = 0
    for seed in range(40):
        draw = random.Random(1000 + seed)
        old, new = versions(lambda t: t, seed=seed)
        fresh = [" ".join(draw.choices(WORDS, k=draw.randint(5, 11))) for _ in range(new.height)]
        alarms += bool(rows_of(old, new.with_columns(output=pl.Series(fresh))))
    # Each comparison errs with at most 5 %; 40 of them show more than 6 errors once in a hundred.
    assert alarms <= 6


def test_a_topic_that_was_there_before_is_no_change() -> None:
    old, new = versions(lambda t: t)
    topic = pl.Series([f"volcano {t}" if n < 40 else t for n, t in enumerate(old["output"])])
    assert rows_of(old.with_columns(output=topic), new.with_columns(output=topic)) == []


def test_too_few_broken_items_say_nothing() -> None:
    assert rows_of(*versions(lambda t: f"**{t}**", broken=9)) == []


def test_repeats_of_an_item_count_once() -> None:
    old, new = versions(lambda t: f"**{t}**", broken=4)
    frames = [pl.concat([f.with_columns(repeat=pl.lit(k, pl.Int64)) for k in range(5)]) for f in (old, new)]
    assert rows_of(*frames) == []


def test_hostile_texts_end_soon_and_stay_text() -> None:
    rows = rows_of(*versions(lambda t: "\x1b[2J<script>" + "(((((" * 50_000 + t))
    assert rows and all(len(row["what"]) <= 120 for row in rows)
    assert not any("\x1b" in row["what"] for row in rows)


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_fisher_is_scipys(total: int, other: int, data: st.DataObject) -> None:
    hits, other_hits = data.draw(st.integers(0, total)), data.draw(st.integers(0, other))
    table = [[hits, total - hits], [other_hits, other - other_hits]]
    for two_sided, word in ((True, "two-sided"), (False, "greater")):
        expected = stats.fisher_exact(table, alternative=word).pvalue
        assert fisher(hits, total, other_hits, other, two_sided=two_sided) == pytest.approx(expected, abs=1e-9)


def test_mann_whitney_is_scipys() -> None:
    draw = np.random.default_rng(0)
    for _ in range(10):
        a, b = draw.integers(0, 9, 30).astype(float), draw.integers(1, 10, 25).astype(float)
        expected = stats.mannwhitneyu(a, b, method="asymptotic").pvalue
        assert mann_whitney(a, b) == pytest.approx(expected, rel=1e-9)
