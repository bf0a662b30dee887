from __future__ import annotations

import io
import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from helpers.command_line import muscle
from helpers.places import EXAMPLES
from helpers.two_versions import table, versions
from muscle import CompareOptions, read_run
from muscle.errors import ConfigError, DataError, JoinError
from muscle.gate import (
    MARKER,
    GateResult,
    Policy,
    gate,
    list_baselines,
    load_baseline,
    load_policy,
    save_baseline,
    to_annotations,
    to_junit,
    to_markdown,
)
from muscle.gate.output import gate_section
from muscle.gate.terminal import print_gate
from muscle.predictions.run import Unread
from muscle.report.page.html import render_html
from muscle.yaml_files import yaml_value

BAD = "<b>x</b> ]]> & \x00\x1b[31m ::error::a\n::warning title=b,c::d%0A @me | `code`"


def policy(**sections: Any) -> Policy:
    return Policy.model_validate({"default": {}, **sections})


@pytest.fixture(scope="module")
def blocked() -> GateResult:
    old, new = versions(700, 60, 5, 235, task=[BAD] * 1_000, input=[f"{BAD} {i}" for i in range(1_000)])
    return gate(old, new)


def test_the_exit_code_follows_the_verdict() -> None:
    cases = {
        "pass": (versions(800, 2, 3, 195), 0),
        "block": (versions(700, 60, 5, 235), 1),
        "cannot_tell": (versions(60, 8, 8, 24), 2),
        "warn": (versions(600, 90, 90, 220), 0),
    }
    lenient = policy(
        default={
            "harm": "block",
            "accuracy_drop": 0.05,
            "negative_flip_rate": {"limit": 0.05, "tier": "warn"},
        }
    )
    for verdict, (runs, code) in cases.items():
        result = gate(*runs, lenient)
        assert (result.verdict, result.exit_code) == (verdict, code)
        assert result.to_json()["verdict"] == verdict and result.to_json()["gate"]["exit_code"] == code


def test_a_warning_ends_in_code_2_where_the_gate_is_strict() -> None:
    warning = policy(default={"negative_flip_rate": {"limit": 0.05, "tier": "warn"}})
    result = gate(*versions(600, 90, 90, 220), warning, strict=True)
    assert (result.verdict, result.exit_code) == ("warn", 2)


def test_the_report_is_json_and_its_reasons_are_the_gates(blocked: GateResult) -> None:
    report = blocked.to_json()
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert "harm beyond chance" in blocked.report.reasons[0] and blocked.headline.startswith("Blocked")
    section = gate_section(blocked.report)
    assert {finding.metric for finding in section.findings} == {
        "harm",
        "accuracy_drop",
        "negative_flip_rate",
    }
    assert section.policy["name"] == "default"


def test_the_candidate_is_judged_where_there_is_one() -> None:
    old, new = versions(700, 60, 5, 235)
    assert gate(old, new, candidate=old).verdict == "pass"


def test_a_policy_is_read_from_its_path(tmp_path: Path) -> None:
    path = tmp_path / "release.yaml"
    path.write_text("default: {negative_flip_rate: 0.01}\n")
    result = gate(*versions(700, 60, 5, 235), path)
    assert result.verdict == "block" and result.to_json()["gate"]["policy"]["name"] == "release"


def test_a_task_that_the_policy_names_must_be_there() -> None:
    result = gate(*versions(800, 0, 0, 200), policy(tasks={"billing": {"harm": "block"}}))
    assert result.verdict == "cannot_tell" and "no such task was compared" in result.findings[0].reason


def test_a_task_that_vanished_from_the_new_run_does_not_pass() -> None:
    old, new = versions(800, 0, 0, 200, task=["a"] * 990 + ["b"] * 10)
    result = gate(old, new.head(990), policy(default={"harm": "block"}))
    assert result.verdict == "cannot_tell" and result.findings[0].task == "b"


def test_a_new_run_full_of_errors_does_not_pass() -> None:
    old, new = versions(800, 0, 0, 200)
    failed = new.with_columns(error=pl.when(pl.col("id").cast(pl.Int64) % 10 == 0).then(pl.lit("timeout")))
    result = gate(old, failed, policy(default={"harm": "block"}))
    assert result.verdict == "cannot_tell" and "100 of 1,000 answers" in result.findings[0].reason


def test_a_slice_can_be_blocked_where_the_whole_passes() -> None:
    topics = (["law"] * 10 + ["art"] * 90) * 10
    lost = [topic == "law" and i % 2 == 0 for i, topic in enumerate(topics)]
    old, new = (
        table([True] * 1_000, **{"slice.topic": topics}),
        table([not x for x in lost], **{"slice.topic": topics}),
    )
    whole = {"negative_flip_rate": {"limit": 0.08, "tier": "block"}}
    assert gate(old, new, policy(default=whole)).verdict == "pass"
    result = gate(old, new, policy(default=whole, slices=[{"slice": "topic", "negative_flip_rate": 0.1}]))
    assert result.verdict == "block" and result.findings[0].where == "all, topic = law"


def test_a_slice_that_the_policy_names_must_be_there() -> None:
    runs = versions(700, 0, 0, 300, **{"slice.topic": ["law"] * 1_000})
    result = gate(*runs, policy(slices=[{"slice": "topic", "value": "art", "harm": "block"}]))
    assert result.verdict == "cannot_tell"
    assert result.findings[0].reason.endswith("no item is in it; its values are law")


def test_small_slices_are_told_together_and_stop_nothing() -> None:
    topics = ["law"] * 980 + [f"rare {i}" for i in range(20)]
    runs = versions(700, 0, 0, 300, **{"slice.topic": topics})
    result = gate(*runs, policy(slices=[{"slice": "topic", "harm": "block"}]))
    assert result.verdict == "pass"
    assert any("20 slices with fewer than 30 items" in f.reason and f.verdict == "inform" for f in result.findings)


def test_a_blocking_rule_on_slices_that_are_all_too_small_does_not_pass_by_having_judged_none() -> None:
    runs = versions(700, 0, 0, 300, **{"slice.topic": [f"rare {i // 20}" for i in range(1_000)]})
    result = gate(*runs, policy(default={"harm": "block"}, slices=[{"slice": "topic", "harm": "block"}]))
    assert result.verdict == "cannot_tell"
    assert "no slice has the items that it takes (30)" in result.findings[0].reason
    told = gate(*runs, policy(default={"harm": "block"}, slices=[{"slice": "topic", "harm": "inform"}]))
    assert told.verdict == "pass"


def test_what_a_policy_names_in_vain_is_a_matter_of_the_policy_not_of_missing_answers() -> None:
    result = gate(*versions(700, 0, 0, 300), policy(default={"harm": "block"}, tasks={"triva": {"harm": "block"}}))
    assert result.decision is not None
    assert result.decision.sentence.startswith("Can't tell, the policy names this task, and no such task was compared")
    assert "Mend the policy" in result.decision.next and "missing answers" not in result.decision.next


def test_a_task_that_no_rule_judges_is_named() -> None:
    runs = versions(800, 0, 0, 200, task=["a"] * 500 + ["b"] * 500)
    result = gate(*runs, policy(tasks={"a": {"harm": "block"}}))
    assert result.verdict == "pass"
    assert [(f.task, f.verdict) for f in result.findings if "no rule of the policy judges" in f.reason] == [
        ("b", "inform")
    ]
    assert result.decision is not None and result.decision.sure.endswith("none judges b.")


def test_a_task_that_is_judged_by_its_slices_is_not_said_to_be_without_a_rule() -> None:
    runs = versions(700, 0, 0, 300, **{"slice.topic": ["law"] * 1_000})
    result = gate(*runs, policy(slices=[{"slice": "topic", "harm": "block"}]))
    assert [f.metric for f in result.findings] == ["harm"]


def test_a_policy_without_a_rule_for_what_was_compared_cannot_tell() -> None:
    result = gate(*versions(700, 0, 0, 300), policy())
    assert (result.verdict, result.exit_code) == ("cannot_tell", 2)
    assert result.decision is not None
    assert result.decision.sure == "The policy has no rule for what was compared."
    assert "whether none" not in result.decision.next and "Mend the policy" in result.decision.next


def test_a_pass_by_a_policy_that_can_stop_nothing_is_not_a_word_to_ship() -> None:
    result = gate(*versions(500, 60, 0, 440), policy(default={"harm": "inform", "accuracy_drop": "inform"}))
    assert (result.verdict, result.exit_code) == ("pass", 0)
    assert result.decision is not None and result.decision.advice == "look_first"
    assert result.decision.sure == "The policy has no rule that could stop an update."


def test_a_slice_column_that_is_not_there_is_refused() -> None:
    with pytest.raises(DataError, match="slice 'topic'"):
        gate(*versions(700, 0, 0, 300), policy(slices=[{"slice": "topic", "harm": "block"}]))


def test_flips_beyond_noise_are_those_that_a_second_run_of_the_old_version_does_not_make() -> None:
    generator = np.random.default_rng(0)
    right = generator.random(3_000) < np.where(np.arange(3_000) < 900, 0.5, 1.0)

    def again(harmed: int) -> pl.DataFrame:
        draw = generator.random(3_000) < np.where(np.arange(3_000) < 900, 0.5, 1.0)
        draw[3_000 - harmed :] = False
        return table(draw.tolist())

    limit = policy(default={"excess_negative_flip_rate": {"limit": 0.03, "tier": "block"}})
    old, noise = table(right.tolist()), again(0)
    same, worse = gate(old, again(0), limit, noise=noise), gate(old, again(240), limit, noise=noise)
    assert same.verdict == "pass" and abs(same.findings[0].value or 0) < 0.02
    assert worse.verdict == "block" and worse.findings[0].value == pytest.approx(0.08, abs=0.02)


def test_repeats_of_an_item_count_as_one_group() -> None:
    columns = {"id": [str(i // 5) for i in range(500)], "repeat": [i % 5 for i in range(500)]}
    lost = [i // 5 < 8 for i in range(500)]
    rule = policy(default={"negative_flip_rate": 0.05})
    grouped = gate(
        table([True] * 500).with_columns(**{k: pl.Series(v) for k, v in columns.items()}),
        table([not x for x in lost]).with_columns(**{k: pl.Series(v) for k, v in columns.items()}),
        rule,
    )
    alone = gate(table([True] * 500), table([not x for x in lost]), rule)
    assert alone.verdict == "block" and grouped.verdict == "cannot_tell"
    assert grouped.findings[0].value == alone.findings[0].value == 0.08


def test_a_score_is_judged_by_the_fall_of_its_mean() -> None:
    generator = np.random.default_rng(1)
    scores = generator.random(800)
    ids = [str(i) for i in range(800)]
    old = pl.DataFrame({"id": ids, "score": scores})
    fallen = pl.DataFrame({"id": ids, "score": scores - 0.05 + 0.01 * generator.standard_normal(800)})
    assert gate(old, old).verdict == "pass"
    result = gate(old, fallen)
    drop = next(f for f in result.findings if f.metric == "accuracy_drop")
    assert result.verdict == "block" and drop.value == pytest.approx(0.05 / scores.mean(), rel=0.05)


def test_other_prompts_are_refused_unless_allowed() -> None:
    texts = [f"question {i}" for i in range(200)]
    old, new = versions(150, 0, 0, 50, input=texts)
    changed = new.with_columns(input=pl.lit("Please: ") + pl.col("input"))
    with pytest.raises(JoinError, match="--allow prompts"):
        gate(old, changed)
    result = gate(old, changed, options=CompareOptions(allow={"prompts"}))
    assert result.to_json()["comparability"]["old_vs_new"][0]["allowed"] is True


# What a pipeline reads


def test_junit_counts_failures_and_errors_and_survives_any_name(blocked: GateResult) -> None:
    root = ET.fromstring(to_junit(blocked.report))
    assert root.attrib["tests"] == "3" and root.attrib["failures"] == "2" and root.attrib["errors"] == "0"
    (suite,) = root
    assert suite.attrib["name"].startswith("<b>x</b> ]]> & ␀␛[31m")
    assert [case.find("failure") is not None for case in suite] == [True, True, False]


def test_junit_calls_what_cannot_be_told_an_error_and_a_strict_warning_a_failure() -> None:
    unclear = gate(*versions(70, 3, 3, 24), policy(default={"negative_flip_rate": 0.02}))
    assert ET.fromstring(to_junit(unclear.report)).attrib["errors"] == "1"
    warning = policy(default={"negative_flip_rate": {"limit": 0.05, "tier": "warn"}})
    for strict, failures in ((False, "0"), (True, "1")):
        result = gate(*versions(600, 90, 90, 220), warning, strict=strict)
        assert ET.fromstring(to_junit(result.report)).attrib["failures"] == failures


def test_junit_is_not_green_where_no_rule_was_judged() -> None:
    result = gate(*versions(700, 0, 0, 300), policy())
    root = ET.fromstring(to_junit(result.report))
    assert (result.exit_code, root.get("failures"), root.get("errors")) == (2, "0", "1")


def test_annotations_are_one_line_each_and_no_text_starts_another(blocked: GateResult) -> None:
    lines = to_annotations(blocked.report).splitlines()
    assert len(lines) == 4 and all(line.startswith(("::error title=", "::warning title=")) for line in lines)
    assert all(line.count("::") >= 2 and "title=b,c" not in line for line in lines)
    assert "%0A" not in to_annotations(blocked.report).replace("%250A", "")


def test_markdown_has_the_marker_the_rules_and_the_worst_flips(blocked: GateResult) -> None:
    text = to_markdown(blocked.report)
    assert text.startswith(MARKER + "\n") and len(text) < 65_536
    assert text.count("⛔ broken") == 2 and "What broke: 10 of 60 items, the worst first" in text


def test_markdown_lets_no_markup_or_mention_through(blocked: GateResult) -> None:
    text = to_markdown(blocked.report)
    assert "<b>" not in text and "@me" not in text and "`code`" not in text and "\x1b" not in text


def test_a_report_that_is_no_gates_is_refused(blocked: GateResult) -> None:
    for write in (to_junit, to_annotations, to_markdown):
        with pytest.raises(DataError, match="expected the `gate` section"):
            write(replace(blocked.report, gate=None))


# Baselines


def kept(run: Any) -> pl.DataFrame:
    frame: pl.DataFrame = run.frame
    return frame


def test_a_baseline_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    old, new = versions(700, 60, 5, 235, input=[f"q{i}" for i in range(1_000)])
    path = save_baseline(old, "main", tmp_path / "baselines")
    found = load_baseline("main", tmp_path / "baselines")
    assert path == tmp_path / "baselines" / "main.parquet" and found.name == "main"
    assert kept(found).equals(kept(read_run(old))) and found.metadata["baseline"]["run"] == "table"
    assert list_baselines(tmp_path / "baselines") == ["main"]
    assert gate(found, new).verdict == gate(old, new).verdict == "block"


def test_a_baseline_keeps_what_was_not_read(tmp_path: Path) -> None:
    old, _ = versions(70, 6, 5, 19)
    unread = (
        Unread("3 samples that are null", "old.json, line 2", 3),
        Unread("a file of another form", "x.xml"),
    )
    save_baseline(replace(read_run(old), unread=unread), "main", tmp_path)
    assert load_baseline("main", tmp_path).unread == unread


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": None},
        {"metadata": [1]},
        {"unread": 3},
        {"unread": ["x"]},
        {"unread": [{"what": "x", "where": "y", "num_items": "many"}]},
        {"before": 3},
        {"format": None},
        {"n": float("nan")},
    ],
)
def test_a_baselines_json_of_another_shape_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    save_baseline(versions(70, 6, 5, 19)[0], "main", tmp_path)
    entry = json.loads((tmp_path / "main.json").read_text())
    (tmp_path / "main.json").write_text(json.dumps({**entry, **change}))
    with pytest.raises(DataError, match=r"main\.json.*: (expected|damaged)"):
        load_baseline("main", tmp_path)
    save_baseline(versions(70, 6, 5, 19)[1], "main", tmp_path)  # as the message says
    assert load_baseline("main", tmp_path).name == "main"


def test_a_baseline_is_replaced_by_one_of_the_same_name(tmp_path: Path) -> None:
    old, new = versions(70, 6, 5, 19)
    save_baseline(old, "main", tmp_path)
    save_baseline(new, "main", tmp_path)
    assert kept(load_baseline("main", tmp_path)).equals(kept(read_run(new)))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["main.json", "main.parquet"]


def test_a_save_that_was_cut_short_leaves_the_old_baseline(tmp_path: Path) -> None:
    old, new = versions(70, 6, 5, 19)
    save_baseline(old, "main", tmp_path)
    before = (tmp_path / "main.parquet").read_bytes()
    save_baseline(new, "main", tmp_path)
    (tmp_path / "main.parquet").write_bytes(before)  # killed between the two files
    assert kept(load_baseline("main", tmp_path)).equals(kept(read_run(old)))


def test_a_baseline_outlives_several_saves_that_were_cut_short(tmp_path: Path) -> None:
    old, new = versions(70, 6, 5, 19)
    save_baseline(old, "main", tmp_path)
    before = (tmp_path / "main.parquet").read_bytes()
    for _ in range(3):
        save_baseline(new, "main", tmp_path)
        (tmp_path / "main.parquet").write_bytes(before)  # killed between the two files
        assert kept(load_baseline("main", tmp_path)).equals(kept(read_run(old)))


def test_a_save_says_what_it_keeps_and_how_it_was_read(tmp_path: Path) -> None:
    rows = [{"question": f"{n}?", "expected": "a", "prediction": "a"} for n in range(7)]
    pl.DataFrame(rows).write_csv(tmp_path / "run.csv")
    folder = ("--folder", tmp_path / "kept")
    saved = muscle("baseline", "save", tmp_path / "run.csv", "--name", "main", *folder)
    assert saved.code == 0 and "main.parquet: 7 answers, of " in saved.out, saved.err
    assert "'prediction' compared with 'expected' decides what is right" in saved.out
    assert muscle("baseline", "list", *folder).out == "main\n"
    none = muscle("baseline", "list", "--folder", tmp_path / "nowhere")
    assert (none.code, none.out) == (0, "") and "no baselines are kept there" in none.err


def test_records_that_are_not_the_baselines_are_refused(tmp_path: Path) -> None:
    old, new = versions(70, 6, 5, 19)
    save_baseline(old, "main", tmp_path)
    save_baseline(new, "other", tmp_path)
    (tmp_path / "main.parquet").write_bytes((tmp_path / "other.parquet").read_bytes())
    with pytest.raises(DataError, match=r"main\.parquet: the records are not those that main\.json names"):
        load_baseline("main", tmp_path)


def test_a_baseline_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    save_baseline(versions(7, 1, 1, 1)[0], "v1", tmp_path)
    with pytest.raises(DataError, match="expected the baseline 'v2', found v1"):
        load_baseline("v2", tmp_path)


@pytest.mark.parametrize("name", ["../x", "", ".hidden", "a/b", "a b"])
def test_a_baselines_name_cannot_lead_elsewhere(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a name of letters"):
        save_baseline(versions(7, 1, 1, 1)[0], name, tmp_path)


def test_the_gate_never_loads_torch_pandas_or_plotly() -> None:
    code = "import sys, muscle.gate; print(sorted({'torch', 'pandas', 'plotly'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_workflow_in_the_examples_finds_its_own_comment_and_passes_its_policy() -> None:
    folder = EXAMPLES / "github-action"
    steps = yaml_value((folder / "muscle-gate.yml").read_text())["jobs"]["gate"]["steps"]
    scripts = {step["name"]: step["run"] for step in steps if "run" in step}
    assert f'startswith("{MARKER}")' in scripts["Comment"]
    assert ".github/muscle-policy.yaml" in scripts["Gate"]
    kept = load_policy(folder / "muscle-policy.yaml")
    assert (kept.rules_for("t", "binary"), kept.tolerance) == (Policy().rules_for("t", "binary"), Policy().tolerance)
    # Nothing that a stranger may write is put into a script.
    assert "${{" not in "".join(scripts.values())


def test_the_terminal_tells_the_verdict_the_rules_and_what_broke(blocked: GateResult) -> None:
    console = Console(file=io.StringIO(), width=160)
    print_gate(blocked.report, console)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert shown.startswith("Don't ship the update: ") and shown.count("broken") >= 2 and "\x1b" not in shown
    assert "What broke: 3 of 60 items, the worst first" in shown and len(shown.splitlines()) <= 40


def test_the_report_of_a_gate_renders_as_html(blocked: GateResult) -> None:
    assert "Blocked" in render_html(blocked.report)
