import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from typer.testing import CliRunner

from helpers.page_text import Page
from muscle import compare
from muscle.cli import app
from muscle.errors import DataError
from muscle.flips.explaining import llama_cpp
from muscle.flips.explaining.closeness import closeness, summary, tails_sentence
from muscle.report.page.html import render_html

KNOWN = {  # Llama 3 8B: same top p, mean KLD, RMS Δp, as llama.cpp's README prints them
    "q8_0": ("97.674 ± 0.034", "0.001355 ±   0.000005", "1.198 ± 0.003"),
    "q6_K": ("96.031 ± 0.036", "0.005452 ±   0.000034", "2.295 ± 0.019"),
    "q4_K_M": ("91.901 ± 0.072", "0.031273 ±   0.000238", "5.519 ± 0.050"),
    "q2_K": ("71.138 ± 0.119", "0.445132 ±   0.001835", "21.421 ± 0.079"),
}


def printed(top: str, kld: str, rms: str, *, low: str = "-21.121", high: str = "14.300") -> str:
    return f"""main: build = 1
chunk             PPL               ln(PPL(Q)/PPL(base))          KL Divergence              Δp RMS           Same top p
   1      15.7006 ±    0.1234     0.004567 ±  0.001234      0.012345 ±  0.000123    1.234 ±  0.045 %   96.123 ±  0.050 %
[1]4.2,

====== Perplexity statistics ======
Mean PPL(Q)                   :   6.407112 ±   0.039119
Mean PPL(base)                :   6.233160 ±   0.037828
Cor(ln(PPL(Q)), ln(PPL(base))):  99.93%
Mean ln(PPL(Q)/PPL(base))     :   0.027521 ±   0.000546
Mean PPL(Q)/PPL(base)         :   1.027903 ±   0.000561
Mean PPL(Q)-PPL(base)         :   0.173952 ±   0.003675

====== KL divergence statistics ======
Mean    KLD:   {kld}
Maximum KLD:   9.123456
99.9%   KLD:   1.234567
99.0%   KLD:   0.345678
Median  KLD:   0.010000
10.0%   KLD:   0.000100
 5.0%   KLD:   0.000050
 1.0%   KLD:   0.000009
Minimum KLD:  -0.000060

====== Token probability statistics ======
Mean    Δp: -0.596 ± 0.014 %
Maximum Δp: 95.054%
99.9%   Δp: 34.379%
99.0%   Δp: {high}%
Median  Δp: -0.005%
 1.0%   Δp: {low}%
 0.1%   Δp: -45.000%
Minimum Δp: -98.000%
RMS Δp    : {rms} %
Same top p: {top} %
"""


@pytest.mark.parametrize("name", KNOWN)
def test_what_llama_cpp_prints_is_read(name: str) -> None:
    top, kld, rms = KNOWN[name]
    found = llama_cpp.parse(printed(top, kld, rms))
    assert found.values["same_top"] == pytest.approx(float(top.split()[0]) / 100)
    assert found.values["kl_mean"] == pytest.approx(float(kld.split()[0]))
    assert found.values["dp_rms"] == pytest.approx(float(rms.split()[0]) / 100)
    assert found.errors["same_top"] == pytest.approx(float(top.split()[2]) / 100)
    assert found.values["kl_min"] == -0.00006 and found.values["kl_p99_9"] == 1.234567
    assert found.values["dp_p01"] == pytest.approx(-0.21121) and found.values["ln_ppl_correlation"] == 0.9993


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no line 'Mean KLD'"),
        ("Mean    KLD:   0.1 ± 0.1\n", "no line 'Same top p'"),
        ("Mean KLD: nan ± 0.1\nSame top p: 90 ± 1 %\n", "line 1"),
        ("Mean KLD: 0.1\nMean KLD: 0.2\nSame top p: 90 ± 1 %\n", "twice"),
    ],
)
def test_other_output_is_refused(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        llama_cpp.parse(text)


@pytest.mark.parametrize("percent", ["91.901", "94.444", "33.3333333333333", "0.1"])
def test_a_line_that_stands_twice_with_one_value_is_read_once(percent: str) -> None:
    line = f"Same top p: {percent} ± 0.222 %\n"
    found = llama_cpp.parse(f"Mean    KLD:   0.022222 ±   0.001111\n{line}{line}")
    assert found.values["same_top"] == round(float(percent) / 100, 12)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=500))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        llama_cpp.parse(text)
    except DataError as error:
        assert "\n" not in str(error)


def test_the_command_shows_the_base_against_itself_beside(tmp_path: Path) -> None:
    new, own = tmp_path / "q4.txt", tmp_path / "f16.txt"
    new.write_text(printed(*KNOWN["q4_K_M"]), encoding="utf-8")
    own.write_text(
        printed("99.739 ± 0.013", "0.000551 ± 0.000002", "0.787 ± 0.004", low="-1.0", high="1.0"),
        encoding="utf-8",
    )
    shown = CliRunner().invoke(app, ["closeness", str(new), "--self", str(own)]).output
    assert "91.901" in shown and "99.739" in shown and "heavier, which means damage" in shown
    alone = CliRunner().invoke(app, ["closeness", str(new)]).output
    assert "give --self FILE" in alone


def test_alike_tails_mean_noise() -> None:
    found = llama_cpp.parse(printed(*KNOWN["q8_0"], low="-3.1", high="3.0"))
    assert "noise" in llama_cpp.judgement(found, None)


matrices = arrays(np.float64, st.tuples(st.integers(1, 20), st.just(4)), elements=st.floats(-30, 0))


@settings(max_examples=60, deadline=None)
@given(matrices, st.floats(-10, 10))
def test_equal_distributions_have_no_divergence(old: Any, shift: float) -> None:
    right = np.zeros(old.shape, dtype=bool)
    right[:, 0] = True
    # Numbers that add up exactly: rounding makes a tie of two that nearly are one, and so another best option.
    old, shift = np.round(old * 1024) / 1024, round(shift * 1024) / 1024
    found = closeness(old, old + shift, right)
    assert found.kl == pytest.approx(np.zeros(len(old)), abs=1e-9)
    assert found.same_top.mean() > 0 and found.right_change == pytest.approx(np.zeros(len(old)), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(matrices, st.integers(0, 2**32 - 1))
def test_divergence_is_never_negative(old: Any, seed: int) -> None:
    other = np.random.default_rng(seed).normal(-5, 3, old.shape)
    right = np.zeros(old.shape, dtype=bool)
    right[:, 1] = True
    found = closeness(old, other, right)
    assert (found.kl >= 0).all() and (np.abs(found.right_change) <= 1).all()


def test_divergence_by_hand() -> None:
    found = closeness(np.log([[0.5, 0.5]]), np.log([[0.25, 0.75]]), np.array([[True, False]]))
    assert found.kl[0] == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))
    assert found.right_change[0] == pytest.approx(-0.25)


def choices(shift: float, seed: int, count: int = 200) -> pl.DataFrame:
    base = np.random.default_rng(0).normal(-20, 2, (count, 2))
    logprobs = base + np.random.default_rng(seed).normal(0, 0.05, base.shape)
    logprobs[:, 0] += shift
    pick = logprobs.argmax(axis=1)
    return pl.DataFrame(
        {
            "id": [str(n) for n in range(count)],
            "input": [f"q{n}" for n in range(count)],
            "choices": [["a", "b"]] * count,
            "reference": [["a"]] * count,
            "choice": pick,
            "output": [["a", "b"][p] for p in pick],
            "correct": pick == 0,
            "logprobs": logprobs.tolist(),
        }
    )


def test_the_report_shows_closeness_beside_the_old_version_against_itself() -> None:
    old, new, rerun = choices(0, 1), choices(-1, 2), choices(0, 3)
    (task,) = compare(old, new, rerun=rerun).to_json()["tasks"].values()
    close = task["closeness"]
    assert close["old_vs_new"]["items"] == close["old_vs_rerun"]["items"] == 200
    assert close["old_vs_new"]["kl"]["mean"] > 10 * close["old_vs_rerun"]["kl"]["mean"]
    assert close["old_vs_new"]["right_probability_change"]["mean"] < 0
    assert "damage" in close["sentence"] and "why" not in close
    (alone,) = compare(old, new).to_json()["tasks"].values()
    assert alone["closeness"]["old_vs_rerun"] is None
    assert alone["closeness"]["why"] == "no self-vs-self run: give --rerun"
    (noise,) = compare(old, choices(0, 4), rerun=rerun).to_json()["tasks"].values()
    assert "no more than run-to-run noise" in noise["closeness"]["sentence"]


def test_the_page_shows_how_close_the_candidate_is_beside_the_new_version() -> None:
    old, new, candidate, rerun = (choices(shift, seed) for seed, shift in enumerate((0, -1, -0.1, 0), 1))
    result = compare(old, new, candidate=candidate, rerun=rerun)
    report, page = result.to_json(), Page(render_html(result.report))
    assert re.search(r"Old against new\s*Old against candidate\s*Old against itself", page.text)
    (name,) = report["tasks"]
    shown = {a["data-path"]: float(a["value"] or "") for a, _ in page.figures if a.get("data-path")}
    for side in ("old_vs_new", "old_vs_candidate", "old_vs_rerun"):
        path = f"#/tasks/{name}/closeness/{side}/kl/mean"
        assert shown[path] == report["tasks"][name]["closeness"][side]["kl"]["mean"]


def test_items_without_likelihoods_or_with_impossible_options_are_left_out() -> None:
    old, new = choices(0, 1, 30), choices(0, 2, 30)
    lists = new["logprobs"].to_list()
    lists[0], lists[1] = None, [-1.0, float("-inf")]
    (task,) = (
        compare(old, new.with_columns(logprobs=pl.Series(lists, dtype=pl.List(pl.Float64)))).to_json()["tasks"].values()
    )
    assert task["closeness"]["old_vs_new"]["items"] == 28
    (none,) = compare(old.drop("logprobs"), new).to_json()["tasks"].values()
    assert none["closeness"] is None


def test_without_a_known_right_option_only_its_change_is_missing() -> None:
    found = summary(closeness(np.log([[0.5, 0.5]]), np.log([[0.4, 0.6]]), np.array([[False, False]])))
    assert found.right_probability_change is None and found.kl.mean > 0
    assert tails_sentence(found, None) is None
