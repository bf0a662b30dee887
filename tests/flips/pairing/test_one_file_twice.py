"""One file is not two runs: a gate does not pass by a wrong path, and a comparison tells it."""

from __future__ import annotations

import shutil
from pathlib import Path

from helpers.command_line import muscle, refused, rows, write
from muscle.gate import gate, load_baseline, save_baseline


def test_one_file_in_the_place_of_two_runs_passes_no_gate(tmp_path: Path) -> None:
    old, new = write(tmp_path / "old.jsonl", rows()), write(tmp_path / "new.jsonl", rows(lost=3))
    (tmp_path / "link.jsonl").symlink_to(old)
    assert "OLD and NEW are one file" in refused("gate", old, old)
    assert "OLD and NEW are one file" in refused("gate", old, tmp_path / "link.jsonl")
    assert "NEW and RERUN are one file" in refused("gate", old, new, "--rerun", new)
    assert "OLD and RERUN are one file" in refused("gate", old, new, "--rerun", old)
    assert "OLD and CANDIDATE are one file" in refused("gate", old, new, "--candidate", old)


def test_a_comparison_of_one_file_with_itself_is_told(tmp_path: Path) -> None:
    old, new = write(tmp_path / "old.jsonl", rows()), write(tmp_path / "new.jsonl", rows(lost=3))
    assert "OLD and NEW are one file" in muscle("compare", old, f"{old}::name=again").err
    assert "NEW and RERUN are one file" in muscle("compare", old, new, "--rerun", new).err
    assert "are one file" not in muscle("compare", old, new).err


def test_a_copy_and_the_old_version_in_the_new_ones_place_beside_a_candidate_are_runs(tmp_path: Path) -> None:
    old, other = write(tmp_path / "old.jsonl", rows()), write(tmp_path / "other.jsonl", rows(lost=3))
    copy = shutil.copy(old, tmp_path / "copy.jsonl")
    assert muscle("gate", old, copy).code == 0
    assert muscle("gate", old, old, "--candidate", other).code in (0, 1, 2)


def test_two_columns_of_one_table_are_two_runs(tmp_path: Path) -> None:
    lines = ["id,right_v1,right_v2", *(f"{n},{n % 4 > 0},{n % 4 > 0 and n > 40}" for n in range(300))]
    (tmp_path / "both.csv").write_text("\n".join(lines))
    sides = [f"{tmp_path / 'both.csv'}::column=correct=right_v{n}::name=v{n}" for n in (1, 2)]
    assert muscle("gate", *sides).code == 1


def test_a_kept_baseline_is_a_copy_that_its_file_may_still_equal(tmp_path: Path) -> None:
    old = write(tmp_path / "results.jsonl", rows())
    save_baseline(old, "main", tmp_path / "kept")
    assert gate(load_baseline("main", tmp_path / "kept"), old).verdict == "pass"
