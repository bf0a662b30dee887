"""Several updates side by side: every number is its report's, names never act, what cannot be read is named."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

import muscle
from helpers.command_line import muscle as command
from helpers.page_text import Page
from helpers.report_examples import make_report, typed, undefined
from muscle.errors import DataError
from muscle.report.collection.figures import avoided_against_gap, inconsistency_with_flips
from muscle.report.collection.page import render_collection
from muscle.report.collection.paper import PAPER
from muscle.report.collection.rows import collect
from muscle.report.collection.tables import flat_table, tables
from muscle.report.collection.text import collection_latex, collection_markdown
from muscle.report.text.table_forms import shown, to_csv

HOSTILE = "<img src=x onerror=alert(1)>|**b** @c \x1b[31m\u202egnp & \\input{/etc/passwd} 5%"


def written(folder: Path, report: dict[str, Any]) -> Path:
    folder.mkdir()
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    generated = make_report(tasks=("gsm8k",), seed=2)
    generated["sources"]["old"]["tasks"] = {"gsm8k": {"generation": {"until": ["Question:"]}}}
    return [
        written(tmp_path / "a", make_report(tasks=("hellaswag", "samsum"), seed=1)),
        written(tmp_path / "b", generated),
    ]


def test_every_number_is_that_of_its_report(runs: list[Path]) -> None:
    found = collect(runs, paper=False)
    assert [(row.task, row.form) for row in found.rows] == [
        ("hellaswag", "accuracy"),
        ("samsum", "score"),
        ("gsm8k", "exact_match"),
    ]
    head, *lines = csv.reader(io.StringIO(to_csv(flat_table(found))))
    for row, line in zip(found.rows, lines, strict=True):
        report = json.loads((Path(row.source) / "report.json").read_text())["tasks"][row.task]
        cells = dict(zip(head, line, strict=True))
        for side, key in (("plain", "old_vs_new"), ("compatible", "old_vs_candidate")):
            assert float(cells[f"{side}_n"]) == report[key]["n"]
            names = {"old": "accuracy_old", "new": "accuracy_new"}
            for name in ("old", "new", "negative_flip_rate", "positive_flip_rate", "inconsistency_rate", "mean_gain"):
                expected = report[key][names.get(name, name)]
                for end, part in (("", "value"), ("_low", "low"), ("_high", "high")):
                    text = cells[f"{side}_{name}{end}"]
                    assert (float(text) if text else None) == expected[part], (row.task, name, part)


def test_changes_are_those_of_the_paper_s_definitions(runs: list[Path]) -> None:
    row = collect(runs, paper=False).rows[0]
    assert row.compatible is not None and row.changes is not None
    nfr, nfr_c = (side.negative_flip_rate.value or 0 for side in (row.plain, row.compatible))
    assert row.changes.negative_flip_rate == nfr_c - nfr
    assert row.changes.percent == pytest.approx(100 * (86 / 196 - 1))
    assert row.changes.level == (row.compatible.new.value or 0) - (row.plain.new.value or 0)
    assert row.gap == (row.plain.new.value or 0) - (row.plain.old.value or 0)


def test_tables_show_percent_and_points_with_two_decimals(runs: list[Path]) -> None:
    (accuracy, exact, score) = tables(collect(runs, paper=False))
    titles = [column.title for column in accuracy.columns]
    assert titles[2:] == [
        *("items", "acc v1", "acc v2", "acc compat", "NFR", "NFR_c", "ΔNFR_c", "Δ%NFR_c", "PFR", "PFR_c", "Δacc_c")
    ]
    cells = [shown(cell, column) for cell, column in zip(accuracy.rows[0], accuracy.columns, strict=True)]
    assert cells[2] == "2,000" and cells[6:10] == ["9.80", "4.30", "\N{MINUS SIGN}5.50", "\N{MINUS SIGN}56.12"]
    assert exact.columns[3].title == "EM v1"
    assert [column.title for column in score.columns][-4:] == ["m_g", "Δm_g", "m_r", "Δm_r"]
    assert score.rows[0][3] == pytest.approx(32.06)
    assert "ROUGE from 0 to 100" in score.notes[1]


def test_the_paper_s_rows_stand_beside_ours_where_the_task_matches(runs: list[Path]) -> None:
    found = collect(runs)
    papers = [row for row in found.rows if row.origin == "paper"]
    assert {row.task for row in papers} == {"hellaswag", "samsum", "gsm8k"}
    assert len(papers) == 12
    (accuracy, *_) = tables(found)
    ours, first = (row[1] for row in accuracy.rows[:2])
    assert ours == f"tiny-v1 + house → tiny-v2 + house ({runs[0]})" and first == "Llama 1 to 2, 7B (paper)"
    assert collect([make_for("house")]).rows[-1].origin == "run"


def make_for(task: str) -> Any:
    return typed(make_report(tasks=(task,)))


@pytest.mark.parametrize("key", PAPER)
def test_a_row_of_the_paper_keeps_what_is_printed(key: tuple[str, str]) -> None:
    (row,) = [row for row in collect([make_for(key[0])]).rows if row.update == key[1]]
    printed = PAPER[key]
    assert row.compatible is not None and row.changes is not None
    assert [row.plain.old.value, row.plain.new.value, row.compatible.new.value] == pytest.approx(
        [printed.v1 / 100, printed.v2 / 100, printed.compat / 100]
    )
    assert row.changes.percent == printed.percent
    nfr = row.plain.negative_flip_rate.value or 0
    assert row.compatible.negative_flip_rate.value == pytest.approx(nfr * (1 + printed.percent / 100))
    if row.form != "score":  # acc_new - acc_old = PFR - NFR
        for side in (row.plain, row.compatible):
            values = (side.new, side.old, side.positive_flip_rate, side.negative_flip_rate)
            new, old, gained, lost = (each.value or 0 for each in values)
            assert new - old == pytest.approx(gained - lost)
    assert row.plain.inconsistency_rate.value is None


def test_a_report_without_a_candidate_leaves_its_places_empty() -> None:
    found = collect([typed(make_report(candidate=False))], paper=False)
    assert found.rows[0].compatible is None
    cells = dict(zip([column.title for column in tables(found)[0].columns], tables(found)[0].rows[0], strict=True))
    assert cells["acc compat"] is None and cells["Δ%NFR_c"] is None and cells["NFR"] == pytest.approx(9.8)
    assert avoided_against_gap(found) is None


def test_nothing_that_flipped_has_no_change_in_percent() -> None:
    report = make_report(tasks=("house",))
    report["tasks"]["house"]["old_vs_new"]["negative_flip_rate"] = {"value": 0.0, "low": 0.0, "high": 0.01}
    changes = collect([typed(report)], paper=False).rows[0].changes
    assert changes is not None and changes.percent is None and changes.negative_flip_rate == pytest.approx(0.043)


def test_figures_have_a_point_an_update_and_task(runs: list[Path]) -> None:
    found = collect(runs)
    avoided, together = avoided_against_gap(found), inconsistency_with_flips(found)
    assert avoided is not None and together is not None
    assert avoided.picture.count('class="mark candidate"') == 3
    assert avoided.picture.count('class="mark other"') == 12
    assert together.picture.count('class="mark plain"') == together.picture.count('class="mark candidate"') == 2
    assert together.picture.count('class="join"') == 2


def test_a_score_that_is_no_rate_is_named_below_the_figure() -> None:
    report = make_report(tasks=("house", "samsum"))
    for side in ("old_vs_new", "old_vs_candidate"):
        for version in ("accuracy_old", "accuracy_new"):
            report["tasks"]["samsum"][side][version] = {"value": 32.0, "low": 31.0, "high": 33.0}
    plot = avoided_against_gap(collect([typed(report)], paper=False))
    assert plot is not None and "Not shown" in plot.notes[1] and "samsum" in plot.notes[1]


def test_hostile_names_never_act(tmp_path: Path) -> None:
    report = make_report(tasks=(HOSTILE,))
    report["title"] = report["muscle_version"] = HOSTILE
    found = collect([typed(report), tmp_path / HOSTILE.replace("/", "")], names=[HOSTILE, "b"])
    html = render_collection(found)
    page = Page(html)
    assert "<img" not in html and "script" not in {tag for tag, _ in page.elements}
    assert "\x1b" not in html and "\u202e" not in html
    assert "<img" not in collection_markdown(found)
    latex = collection_latex(found)
    body = "".join(line for line in latex.splitlines(keepends=True) if not line.startswith("%"))
    assert "\\input" not in body and "\\textbackslash{}input" in body
    assert all(line.count("&") - line.count("\\&") in (0, 12) for line in body.splitlines())
    assert "\x1b" not in latex


def test_the_page_loads_nothing_and_runs_nothing(runs: list[Path]) -> None:
    html = render_collection(collect(runs))
    page = Page(html)
    policy = next(a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy and policy.startswith("default-src 'none'; style-src 'sha256-") and "script" not in policy
    assert "http://" not in html and "https://" not in html
    for table in tables(collect(runs)):
        for row in table.rows:
            for cell, column in zip(row, table.columns, strict=True):
                assert shown(cell, column) in page.text


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "damaged JSON"),
        ('{"format": "muscle-report/0"}', "expected a report of muscle"),
        ('{"format": "muscle-report/1"}', "expected Report as this version of muscle writes it"),
    ],
)
def test_a_report_that_cannot_be_read_is_named_and_counted(
    runs: list[Path], tmp_path: Path, content: str, why: str
) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text(content)
    found = collect([bad, *runs, tmp_path / "nowhere"], paper=False)
    assert [each.source for each in found.refused] == [str(bad), str(tmp_path / "nowhere")]
    assert why in found.refused[0].why and "there is no such report" in found.refused[1].why
    assert len(found.rows) == 3
    for text in (collection_markdown(found), collection_latex(found), Page(render_collection(found)).text):
        assert "2 reports could not be read" in text


@pytest.mark.parametrize(
    ("key", "value"), [("negative_flip_rate", 1e308), ("accuracy_new", -0.5), ("mean_gain", 1e300)]
)
def test_impossible_numbers_are_refused(runs: list[Path], key: str, value: float) -> None:
    path = runs[0] / "report.json"
    report = json.loads(path.read_text())
    report["tasks"]["hellaswag"]["old_vs_candidate"][key] = {"value": value, "low": None, "high": None}
    path.write_text(json.dumps(report))
    found = collect(runs)
    assert f"tasks.hellaswag: {key}: expected a" in found.refused[0].why


def test_a_report_given_twice_counts_once(runs: list[Path]) -> None:
    found = collect([runs[0], runs[0] / "report.json"], paper=False)
    assert len(found.rows) == 2 and "given a second time" in found.refused[0].why


def test_a_copy_of_a_report_is_no_further_update(runs: list[Path], tmp_path: Path) -> None:
    copy = tmp_path / "copy.json"
    copy.write_bytes((runs[0] / "report.json").read_bytes())
    found = collect([*runs, copy], paper=False)
    assert [each.why for each in found.refused] == [
        f"{copy}: given a second time, before as {runs[0]}; expected each report once"
    ]


def test_updates_of_one_name_are_told_apart(runs: list[Path]) -> None:
    labels = {row.update for row in collect(runs, paper=False).rows}
    assert labels == {f"tiny-v1 + house → tiny-v2 + house ({run})" for run in runs}
    assert {row.update for row in collect(runs, paper=False, names=["one", "two"]).rows} == {"one", "two"}
    with pytest.raises(DataError, match="expected 2 names"):
        collect(runs, names=["one"])


def test_bases_name_an_update_that_has_no_title() -> None:
    report = make_report()
    for side in ("old", "new"):
        report["sources"][side]["model"] = {"name": f"org/{side}"}
    assert collect([typed(report)], paper=False).rows[0].update == "org/old → org/new"
    report["title"] = "My update"
    assert collect([typed(report)], paper=False).rows[0].update == "My update"


def test_undefined_numbers_stay_undefined() -> None:
    report = make_report(tasks=("house",))
    report["tasks"]["house"]["old_vs_candidate"]["negative_flip_rate"] = undefined("no item")
    found = collect([typed(report)], paper=False)
    assert found.rows[0].changes is not None and found.rows[0].changes.negative_flip_rate is None
    assert "–" in collection_markdown(found)  # noqa: RUF001


def test_the_command_writes_every_form(runs: list[Path], tmp_path: Path) -> None:
    places = {form: tmp_path / f"out.{form}" for form in ("html", "markdown", "latex", "csv", "json")}
    options = [part for form, path in places.items() for part in (f"--{form}", path)]
    done = command("collect", *runs, *options, "--name", "one", "--name", "two")
    assert done.code == 0 and done.err == ""
    found = muscle.collect(runs, names=["one", "two"])
    assert json.loads(places["json"].read_text()) == found.to_json()
    assert places["html"].read_text() == render_collection(found)
    assert places["markdown"].read_text() == collection_markdown(found)
    assert places["latex"].read_text() == collection_latex(found)
    assert places["csv"].read_text() == to_csv(flat_table(found))
    assert "Accuracy and flips" in done.out and "hellaswag" in done.out


def test_json_alone_stands_on_standard_output(runs: list[Path]) -> None:
    done = command("collect", *runs, "--json", "-", "--no-paper")
    assert {row["origin"] for row in json.loads(done.out)["rows"]} == {"run"}


def test_the_command_ends_with_3_where_a_report_cannot_be_read(runs: list[Path], tmp_path: Path) -> None:
    done = command("collect", *runs, tmp_path / "nowhere", "--csv", tmp_path / "out.csv", "--quiet")
    assert done.code == 3
    assert "1 report could not be read" in done.err and "nowhere" in done.err
    assert done.out == ""
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 1 + 3 + 12
