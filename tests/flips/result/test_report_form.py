"""The report's JSON form: its published schema is that of the code, kept reports fit it and read back whole."""

import json

import pytest

from golden.runs import FOLDER, REPORTS, repeated_runs
from helpers.places import ROOT
from muscle import Report, compare
from muscle.errors import DataError

KEPT = [name for name in REPORTS if name != "chain"]


def kept(name):
    report = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return {**report, "created": "2026-01-01T00:00:00+00:00", "muscle_version": "0"}


def test_the_published_schema_is_that_of_the_code():
    """Written by `python tests/flips/result/test_report_form.py`."""
    published = json.loads((ROOT / "docs" / "report.schema.json").read_text(encoding="utf-8"))
    assert published == Report.json_schema()


@pytest.mark.parametrize("name", KEPT)
def test_a_report_fits_the_schema(name):
    validator = pytest.importorskip("jsonschema").Draft202012Validator(Report.json_schema())
    assert [f"{list(error.path)}: {error.message}" for error in validator.iter_errors(kept(name))] == []


@pytest.mark.parametrize("name", KEPT)
def test_a_report_is_read_back_whole(name):
    assert Report.from_json(kept(name)).to_json() == kept(name)


def test_a_fresh_report_equals_what_is_read_of_its_json():
    runs = repeated_runs()
    report = compare(runs["old"], runs["new"], candidate=runs["candidate"]).report
    assert Report.from_json(report.to_json()) == report


def test_a_report_of_before_in_which_warnings_were_all_there_was_is_read_with_its_warnings():
    before = {key: value for key, value in kept("choice").items() if key != "readings"} | {"warnings": ["a", "b"]}
    report = Report.from_json(before)
    assert (report.warnings, list(report.readings)) == (["a", "b"], [])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda report: report.pop("tasks"), "tasks: "),
        (
            lambda report: report["tasks"]["tools"]["old_vs_new"].update(n="many"),
            "tasks.tools.old_vs_new.n: ",
        ),
        (lambda report: report.update(flips={"no": "list"}), "flips: "),
    ],
)
def test_a_damaged_report_is_refused_with_the_key(change, told):
    damaged = kept("choice")
    change(damaged)
    with pytest.raises(DataError) as caught:
        Report.from_json(damaged, where="report.json")
    assert str(caught.value).startswith(f"report.json: {told}")


if __name__ == "__main__":
    text = json.dumps(Report.json_schema(), indent=1, ensure_ascii=False)
    (ROOT / "docs" / "report.schema.json").write_text(text + "\n", encoding="utf-8")
