"""Reading promptfoo's results: JSON of versions 2 and 3, and JSONL."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from helpers.places import DATA
from muscle import CompareOptions, compare, read_run
from muscle.errors import DataError, JoinError
from muscle.flips.pairing.comparability import find_differences
from muscle.predictions.readers import promptfoo

FILES = DATA / "readers" / "promptfoo"
SHORT = "Answer: {{q}}"


def document(name: str = "v1.json") -> Any:
    return json.loads((FILES / name).read_text())


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


def by_output(frame: pl.DataFrame, output: str) -> pl.DataFrame:
    return frame.filter(pl.col("output") == output)


@pytest.mark.parametrize("name", ["v1.json", "v1.jsonl", "v2.json", "v2.jsonl"])
def test_counts_are_those_of_promptfoo(name: str) -> None:
    frame = read_run(FILES / name).frame
    stats = document(name.removesuffix("l"))["results"]["stats"]
    assert frame["correct"].sum() == stats["successes"]
    assert (~frame["correct"]).sum() == stats["failures"]
    assert frame["error"].count() == stats["errors"] == 4


def test_lines_and_document_hold_the_same_records() -> None:
    frame = read_run(FILES / "v1.json").frame
    assert read_run(FILES / "v1.jsonl").frame.select(frame.columns).equals(frame)


def test_tests_in_another_order_have_the_same_keys() -> None:
    keys = ["id", "input_hash", "filter", "repeat"]
    old, new = (read_run(FILES / name).frame.select(keys) for name in ("v1.json", "v2.json"))
    assert not old.equals(new)
    assert old.sort(keys).equals(new.sort(keys))
    assert old.is_unique().all()


def test_prompts_and_repeats_are_kept_apart() -> None:
    frame = read_run(FILES / "v1.json").frame
    assert frame["filter"].unique().sort().to_list() == [SHORT, "Please answer shortly: {{q}}"]
    assert frame["repeat"].unique().sort().to_list() == [0, 1]
    assert frame["id"].n_unique() == 5


def test_what_the_provider_failed_is_missing_and_a_failed_assertion_is_wrong() -> None:
    frame = read_run(FILES / "v2.json").frame
    assert set(frame.filter(pl.col("error").is_not_null())["error"]) == {"service unavailable"}
    assert by_output(frame, "five")["correct"].to_list() == [False] * 4
    assert by_output(frame, "five")["error"].null_count() == 4


def test_a_test_that_passed_its_threshold_is_correct_with_its_score() -> None:
    row = by_output(read_run(FILES / "v1.json").frame, "blue").row(0, named=True)
    assert (row["correct"], row["score.score"], row["reference"]) == (True, 0.5, ["green", "e"])


def test_named_scores_and_object_outputs_are_read() -> None:
    frame = read_run(FILES / "v1.json").frame
    assert by_output(frame, "four")["score.exact"].to_list() == [1.0] * 4
    assert by_output(frame, '{"a": 1}').height == 4


def test_metadata_say_what_a_comparison_needs() -> None:
    metadata = read_run(FILES / "v1.json").metadata
    assert metadata["model"] == {"name": "toy-v1", "id": "file://provider.js"}
    assert metadata["versions"] == {"promptfoo": "0.121.20"}
    assert metadata["results"] == {"promptfoo": {"successes": 16, "failures": 0, "errors": 4}}
    assert metadata["tasks"]["promptfoo"]["prompts"] == [SHORT, "Please answer shortly: {{q}}"]


def test_a_file_with_two_versions_wants_one_named(tmp_path: Path) -> None:
    both = document()
    both["results"]["results"] += document("v2.json")["results"]["results"]
    file = write(tmp_path / "both.json", both)
    with pytest.raises(DataError, match=r"expected the results of one provider, found 2 \(toy-v1, toy-v2\)"):
        read_run(file)
    old, new = (promptfoo.read(file, provider=name) for name in ("toy-v1", "toy-v2"))
    assert old.frame["correct"].to_list() == read_run(FILES / "v1.json").frame["correct"].to_list()
    assert new.frame["correct"].to_list() == read_run(FILES / "v2.json").frame["correct"].to_list()


def test_version_2_without_failure_reasons_is_read(tmp_path: Path) -> None:
    old = document("v2.json")
    old["results"]["version"] = 2
    old["results"]["table"] = {"head": {}, "body": [{"outputs": []}]}
    for result in old["results"]["results"]:
        for name in ("failureReason", "testCase", "promptIdx", "testIdx"):
            del result[name]
        result["provider"] = result["provider"]["label"]
    frame = read_run(write(tmp_path / "old.json", old)).frame
    assert frame["error"].count() == 4
    assert frame["correct"].sum() == 12


def test_half_a_surrogate_pair_in_an_answer_is_read(tmp_path: Path) -> None:
    lines = (FILES / "v1.jsonl").read_text().splitlines()
    file = tmp_path / "x.jsonl"
    file.write_text("\n".join([lines[0].replace('"output":"Paris"', '"output":"Paris \\ud83d"'), *lines[1:]]))
    assert read_run(file).frame["output"][0] == "Paris ?"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"success": None}, "results.results[1], field 'success': expected true or false, found None"),
        ({"score": "high"}, "results.results[1], field 'score': expected a finite number, found 'high'"),
        ({"provider": None}, "results.results[1], field 'provider': expected its id, found None"),
    ],
)
def test_a_field_that_is_wrong_is_named_with_its_member(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    bad = document()
    bad["results"]["results"][1] |= changes
    with pytest.raises(DataError) as caught:
        read_run(write(tmp_path / "bad.json", bad))
    assert message in str(caught.value)


def test_a_document_that_is_cut_off_is_said_so(tmp_path: Path) -> None:
    file = tmp_path / "cut.json"
    file.write_bytes((FILES / "v1.json").read_bytes()[:20_000])
    with pytest.raises(DataError, match=r"cut.json, results.results\[\d+\]: the JSON is cut off in the middle"):
        read_run(file)


# other assertions, other judges


def results(path: Path, changes: dict[str, Any], *, config: dict[str, Any] | None = None) -> Path:
    """Write thirty made-up tests; `changes` is laid over each test case."""
    tests = [
        {
            "gradingResult": {"pass": True, "score": 1},
            "namedScores": {},
            "prompt": {"raw": f"Which tool cuts {n}?", "label": "{{q}}"},
            "promptIdx": 0,
            "provider": {"id": f"x:{path.stem}"},
            "response": {"output": "a knife"},
            "score": 1,
            "success": True,
            "testIdx": n,
            "failureReason": 0,
            "testCase": {
                "vars": {"q": f"Which tool cuts {n}?"},
                "assert": [{"type": "llm-rubric", "value": "Names a tool"}],
                **changes,
            },
        }
        for n in range(30)
    ]
    return write(path, {"evalId": "e", "results": {"version": 3, "results": tests}, "config": config or {}})


def differences(tmp_path: Path, old: dict[str, Any], new: dict[str, Any], **config: Any) -> list[str]:
    """Return what is refused between two files of the same tests."""
    runs = [
        read_run(results(tmp_path / f"{name}.json", changes, config=config.get(f"{name}_config")))
        for name, changes in (("old", old), ("new", new))
    ]
    return [d.what for d in find_differences(*runs) if d.severity == "refuse"]


EQUALS = {"type": "equals", "value": "a knife"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({}, {"assert": [{"type": "llm-rubric", "value": "Is friendly"}]}),
        ({"assert": [EQUALS]}, {"assert": [EQUALS | {"type": "icontains"}]}),
        ({"assert": [EQUALS]}, {"assert": []}),
        ({"assert": [EQUALS, {"type": "cost", "threshold": 1}]}, {"assert": [EQUALS]}),
        ({"assert": [EQUALS | {"weight": 1}]}, {"assert": [EQUALS | {"weight": 0}]}),
        ({"assert": [EQUALS], "threshold": 0.9}, {"assert": [EQUALS], "threshold": 0.1}),
        ({"assert": [EQUALS]}, {"assert": [EQUALS], "options": {"transform": "output.trim()"}}),
        ({}, {"options": {"rubricPrompt": "Say yes."}}),
    ],
)
def test_tests_with_other_assertions_are_the_same_items_under_another_metric(
    tmp_path: Path, old: dict[str, Any], new: dict[str, Any]
) -> None:
    assert "metric" in differences(tmp_path, old, new)


def test_assertions_of_one_test_among_many_are_refused_and_can_be_allowed(tmp_path: Path) -> None:
    old = results(tmp_path / "old.json", {"assert": [EQUALS]})
    value = json.loads(old.read_text())
    value["results"]["results"][3]["testCase"]["assert"] = []
    new = write(tmp_path / "new.json", value)
    with pytest.raises(JoinError, match=r"1 of 30 shared items are graded in another way: .*--allow metric"):
        compare(old, new)
    assert compare(old, new, options=CompareOptions(allow=["metric"])).to_json()["join"]["paired"] == 30


def test_the_same_variables_under_several_assertions_are_several_items(tmp_path: Path) -> None:
    value = json.loads(results(tmp_path / "a.json", {"assert": [EQUALS]}).read_text())
    again = json.loads(json.dumps(value["results"]["results"]))
    for result in again:
        result["testCase"]["assert"] = [{"type": "is-json"}]
    value["results"]["results"] += again
    frame = read_run(write(tmp_path / "b.json", value)).frame
    assert frame["id"].n_unique() == 60 and frame["repeat"].max() == 0


@pytest.mark.parametrize(
    ("old", "new", "config"),
    [
        ({"options": {"provider": "x:a"}}, {"options": {"provider": "x:b"}}, {}),
        (
            {"assert": [{"type": "llm-rubric", "value": "v", "provider": "x:a"}]},
            {"assert": [{"type": "llm-rubric", "value": "v", "provider": "x:b"}]},
            {},
        ),
        (
            {
                "assert": [
                    {
                        "type": "assert-set",
                        "assert": [{"type": "llm-rubric", "value": "v", "provider": "x:a"}],
                    }
                ]
            },
            {
                "assert": [
                    {
                        "type": "assert-set",
                        "assert": [{"type": "llm-rubric", "value": "v", "provider": "x:b"}],
                    }
                ]
            },
            {},
        ),
        ({}, {}, {"new_config": {"defaultTest": {"options": {"provider": "x:b"}}}}),
        ({}, {}, {"new_config": {"defaultTest": {"provider": "x:b"}}}),
        ({}, {"options": {"provider": {"id": "x:b"}}}, {}),
    ],
)
def test_another_judge_is_found_wherever_it_is_named(
    tmp_path: Path, old: dict[str, Any], new: dict[str, Any], config: dict[str, Any]
) -> None:
    assert differences(tmp_path, old, new, **config) == ["judge"]


def test_a_judge_that_no_assertion_needs_makes_no_difference(tmp_path: Path) -> None:
    new = {"assert": [EQUALS], "options": {"provider": "x:b"}}
    assert differences(tmp_path, {"assert": [EQUALS]}, new) == []


def test_judges_that_changed_places_are_another_metric(tmp_path: Path) -> None:
    def judged(path: Path, first: str, second: str) -> Path:
        value = json.loads(results(path, {}).read_text())
        for n, result in enumerate(value["results"]["results"]):
            result["testCase"]["options"] = {"provider": first if n < 15 else second}
        return write(path, value)

    runs = [read_run(judged(tmp_path / f"{a}.json", a, b)) for a, b in (("x", "y"), ("y", "x"))]
    assert [d.what for d in find_differences(*runs) if d.severity == "refuse"] == ["metric"]


def set_up(path: Path, providers: Any) -> Path:
    """Say in a suite's configuration how its provider is set up."""
    value = document()
    value["config"]["providers"] = providers
    return write(path, value)


def provider_name() -> str:
    return str(read_run(FILES / "v1.json").metadata["model"]["id"])


@pytest.mark.parametrize("form", ["list", "object", "by name"])
def test_another_temperature_of_the_provider_is_noted_in_whatever_form_it_is_written(tmp_path: Path, form: str) -> None:
    def written(name: str, heat: float) -> Path:
        config = {"config": {"temperature": heat, "apiKey": "sk-secret"}}
        entry = config | {"id": provider_name()}
        forms = {"list": ["other:model", entry], "object": entry, "by name": [{provider_name(): config}]}
        return set_up(tmp_path / name, forms[form])

    old, new = read_run(written("old.json", 0)), read_run(written("new.json", 1.5))
    (found,) = (each for each in find_differences(old, new) if each.what == "generation")
    assert (found.severity, found.message) == ("note", "task promptfoo: generation.temperature 0 against 1.5")
    assert "sk-secret" not in str(old.metadata)


@pytest.mark.parametrize(
    ("settings", "word"),
    [({"config": {"systemPrompt": "be brief"}}, "prompts"), ({"transform": "output.trim()"}, "metric")],
)
def test_a_system_prompt_or_transform_of_one_provider_is_refused(
    tmp_path: Path, settings: dict[str, Any], word: str
) -> None:
    old = set_up(tmp_path / "old.json", [provider_name()])
    new = set_up(tmp_path / "new.json", [{"id": provider_name(), **settings}])
    with pytest.raises(JoinError, match=f"none against.*--allow {word}"):
        compare(old, new)
    assert compare(old, new, options=CompareOptions(allow=(word,))).report.join.paired == 20


def test_the_settings_of_a_judge_are_shown_without_its_key(tmp_path: Path) -> None:
    value = document()
    for result in value["results"]["results"]:
        result["testCase"]["assert"] = [
            {"type": "llm-rubric", "value": "polite", "provider": {"id": "j", "apiKey": "sk-1"}}
        ]
    assert "sk-1" not in str(read_run(write(tmp_path / "x.json", value)).metadata)


def test_results_that_are_not_what_the_file_itself_counts_are_told(tmp_path: Path) -> None:
    value = document()
    successes = value["results"]["stats"]["successes"]
    assert read_run(FILES / "v1.json").metadata["notes"] == []
    passed = next(each for each in value["results"]["results"] if each["success"])
    passed["success"] = False
    (note,) = read_run(write(tmp_path / "x.json", value)).metadata["notes"]
    assert note.startswith(f"its own stats count {successes} successes, its results {successes - 1}: ")
