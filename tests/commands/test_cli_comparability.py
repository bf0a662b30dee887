"""What differs beside the model, from the command line: listed first, refused where it makes numbers meaningless."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.command_line import Row, muscle, refused, rows, write_folder

Change = Callable[[list[Row]], list[Row]]


def same(lines: list[Row]) -> list[Row]:
    return lines


def other_prompts(lines: list[Row]) -> list[Row]:
    return [row | {"input": f"Please. {row['input']}"} for row in lines]


def other_references(lines: list[Row]) -> list[Row]:
    return [row | {"reference": "no"} for row in lines]


def only_a_score(name: str) -> Change:
    def change(lines: list[Row]) -> list[Row]:
        return [
            {key: row[key] for key in ("id", "task", "input")} | {"score": {name: float(row["correct"]) + 0.5}}
            for row in lines
        ]

    return change


def task_facts(**facts: Any) -> Row:
    return {"tasks": {"trivia": facts}}


def without_texts(lines: list[Row]) -> list[Row]:
    return [{key: row[key] for key in ("id", "task", "correct")} for row in lines]


REFUSED: dict[str, tuple[Change, Change, Row, Row, str]] = {
    "prompts": (same, other_prompts, {}, {}, "300 of 300 shared items have another prompt"),
    "documents": (
        without_texts,
        without_texts,
        task_facts(dataset_path="squad"),
        task_facts(dataset_path="squad_v2"),
        "task trivia: dataset_path squad against squad_v2",
    ),
    "references": (same, other_references, {}, {}, "300 of 300 shared items have another reference"),
    "metric": (only_a_score("rouge1"), only_a_score("bleu"), {}, {}, "main score rouge1 against bleu"),
    "judge": (
        same,
        same,
        task_facts(judge="gpt-4o"),
        task_facts(judge="gpt-5"),
        "task trivia: judge gpt-4o against gpt-5",
    ),
}
NOTED: dict[str, tuple[Row, Row, str]] = {
    "generation": (
        {"settings": {"gen_kwargs": {"temperature": 0}}},
        {"settings": {"gen_kwargs": {"temperature": 0.7}}},
        "gen_kwargs.temperature 0 against 0.7",
    ),
    "versions": (
        {"versions": {"lm_eval": "0.4.5"}},
        {"versions": {"lm_eval": "0.4.13"}},
        "lm_eval 0.4.5 against",
    ),
    "scoring": ({"settings": {"batch_size": 1}}, {"settings": {"batch_size": 64}}, "batch_size 1 against 64"),
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("command", ["compare", "gate", "history"])
def test_what_makes_a_comparison_meaningless_is_refused_with_the_flag_that_allows_it(
    tmp_path: Path, what: str, command: str
) -> None:
    of_old, of_new, facts_old, facts_new, message = REFUSED[what]
    old = write_folder(tmp_path / "old", of_old(rows()), facts_old)
    new = write_folder(tmp_path / "new", of_new(rows(lost=2)), facts_new)
    line = refused(command, old, new)
    assert message in line
    assert line.endswith(f"compare all the same with --allow {what}")
    done = muscle(command, old, new, "--allow", what)
    assert done.code in (0, 2), done.err
    first = " ".join(done.out.split())
    assert first.startswith(("differs beside the model", "old to new differs beside the model"))
    assert message.partition(":")[2].strip() in first
    assert "(allowed)" in first


@pytest.mark.parametrize("what", NOTED)
def test_what_only_may_matter_is_listed_before_any_number(tmp_path: Path, what: str) -> None:
    facts_old, facts_new, message = NOTED[what]
    old = write_folder(tmp_path / "old", rows(), facts_old)
    new = write_folder(tmp_path / "new", rows(lost=5, gained=5), facts_new)
    written = {
        "compare": ("--markdown", tmp_path / "compare.md"),
        "gate": ("--markdown", tmp_path / "gate.md"),
        "history": ("--markdown", tmp_path / "history.md"),
    }
    for command, options in written.items():
        shown = " ".join(muscle(command, old, new, *options).out.split())
        markdown = " ".join((tmp_path / f"{command}.md").read_text().replace("\\", "").split())
        for text in (shown, markdown):
            assert f"differs beside the model: {what}: " in text
            assert text.index(message) < re.search(r"of 300 items", text).start()  # type: ignore[union-attr]


def test_several_refusals_name_every_flag_at_once(tmp_path: Path) -> None:
    old = write_folder(tmp_path / "old", rows(), task_facts(judge="a"))
    new = write_folder(tmp_path / "new", other_prompts(rows()), task_facts(judge="b"))
    words = refused("compare", old, new).partition(" with --allow ")[2].split(" --allow ")
    assert sorted(words) == ["judge", "prompts"]
    assert muscle("compare", old, new, "--allow", "judge", "--allow", "prompts", "--quiet").code == 0


def test_an_unknown_allowance_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    old = write_folder(tmp_path / "old", rows(), {})
    line = refused("compare", old, old, "--allow", "anything")
    assert "expected one of prompts, documents, references, metric, judge" in line


def test_another_number_of_items_and_what_did_not_pair_is_said_before_the_figures(tmp_path: Path) -> None:
    old = write_folder(tmp_path / "old", rows(), {})
    new = write_folder(tmp_path / "new", rows()[:290], {})
    text = " ".join(muscle("compare", old, new).out.split())
    differs = text.index("differs beside the model: items: task trivia: 300 items against 290 items warning:")
    assert differs < text.index("Cannot tell: new against old:")
    assert "290 predictions paired; 10 only in the first" in text


def test_too_many_items_without_a_partner_are_refused_with_the_flag_that_allows_them(tmp_path: Path) -> None:
    old = write_folder(tmp_path / "old", rows(), {})
    new = write_folder(tmp_path / "new", rows()[:200], {})
    line = refused("compare", old, new)
    assert "33.3% of a side's predictions have no partner" in line
    assert "--max-unpaired" in line
    done = muscle("compare", old, new, "--max-unpaired", "0.4", "--json", "-")
    assert json.loads(done.out)["join"]["only_old"] == 100


def test_the_candidate_is_held_against_the_old_run_too(tmp_path: Path) -> None:
    old = write_folder(tmp_path / "old", rows(), task_facts(judge="a"))
    compat = write_folder(tmp_path / "compat", rows(lost=1), task_facts(judge="b"))
    assert "--allow judge" in refused("compare", old, old, "--candidate", compat)
    text = muscle("compare", old, old, "--candidate", compat, "--allow", "judge").out
    assert "candidate: judge: task trivia: judge a against b (allowed)" in " ".join(text.split())
