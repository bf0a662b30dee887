import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from muscle.errors import DataError, OutputError
from muscle.training.head.output_head import OutputHead
from muscle.training.teachers import write_store
from muscle.training.teachers.rows import HiddenRows, MixedRows, OptionRows, ProjectedRows, TopkRows
from muscle.training.teachers.store import Manifest
from muscle.training.teachers.write_store import RowLayout, build_store

WIDTH = 6
COUNTS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]
IDENTITY = {
    "base": "b1",
    "adapter": "a1",
    "data": "d1",
    "tokenizer": "t1",
    "temperature": 2.0,
    "precision": "float32",
    "versions": {"torch": "1"},
}
HEAD = OutputHead(torch.zeros(4, WIDTH))
SHARD_BYTES = 10 * (WIDTH * 4 + 13)  # ten tokens


def example_rows(index):
    generator = torch.Generator().manual_seed(index)
    count = COUNTS[index]
    vector = torch.randn(count, WIDTH, generator=generator)
    scalars = torch.randn(3, count, generator=generator)
    return vector, scalars, torch.rand(count, generator=generator) < 0.5


class Teacher:
    """Gives made-up rows and counts how often it is asked."""

    def __init__(self, kind="projected"):
        self.kind, self.asked = kind, []

    def __call__(self, indices):
        self.asked.extend(indices)
        vectors, scalars, right = zip(*(example_rows(index) for index in indices), strict=True)
        vector, (entropy, log_p, bias), right = torch.cat(vectors), torch.cat(scalars, 1), torch.cat(right)
        if self.kind == "hidden":
            return HiddenRows(vector, log_p, right, HEAD)
        if self.kind == "mixed":
            return MixedRows(vector, entropy, log_p, bias, 2.0)
        if self.kind == "topk":
            return TopkRows((vector * 10).long(), vector, entropy, log_p, right, 2.0)
        if self.kind == "options":
            return OptionRows(log_p, right.long())
        return ProjectedRows(vector, entropy, log_p, right, bias, 2.0)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(write_store, "SHARD_BYTES", SHARD_BYTES)


def build(path, teacher=None, *, kind="projected", identity=IDENTITY, dtype=torch.float32, **changes):
    return build_store(
        path,
        teacher or Teacher(kind),
        RowLayout(kind, WIDTH, dtype),
        identity=identity,
        num_tokens=COUNTS,
        **{"batch_size": 3, **changes},
    )


def shards(path):
    return sorted(path.glob("*.safetensors"))


NAMES = {
    "projected": ("vector", "entropy", "log_p", "right", "bias"),
    "mixed": ("vector", "entropy", "old_share", "bias"),
    "hidden": ("vector", "log_p", "right"),
    "topk": ("ids", "log_probs", "tail", "log_p", "right"),
    "options": ("log_likelihood", "num_tokens"),
}


@pytest.mark.parametrize("kind", NAMES)
def test_rows_come_back_example_by_example_in_any_order(tmp_path, kind):
    built = build(tmp_path / "s", kind=kind)
    assert len(shards(tmp_path / "s")) > 2
    opened = build(tmp_path / "s", kind=kind)
    for store in (built, opened):
        for indices in ([0], [7, 2, 9], list(range(10)), [5, 5]):
            found, expected = store.rows(indices, head=HEAD), Teacher(kind)(indices)
            assert type(found) is type(expected)
            assert all(torch.equal(getattr(found, name), getattr(expected, name)) for name in NAMES[kind])
        assert len(store.rows([], head=HEAD)) == 0


def test_tensors_are_views_of_the_file(tmp_path):
    built = build(tmp_path / "s")
    maps = Path("/proc/self/maps")
    if not maps.is_file():
        pytest.skip("no /proc here to look at memory maps")
    assert str(shards(tmp_path / "s")[0]) in maps.read_text()
    assert built.num_bytes == sum(file.stat().st_size for file in shards(tmp_path / "s"))


def test_a_finished_store_is_not_built_again(tmp_path):
    build(tmp_path / "s")
    again = Teacher()
    build(tmp_path / "s", again)
    assert again.asked == []


def test_16_bit_vectors_come_back_wide_and_rounded(tmp_path):
    found = build(tmp_path / "s", dtype=torch.bfloat16).rows([4], head=HEAD)
    assert found.vector.dtype == torch.float32
    assert torch.equal(found.vector, Teacher()([4]).vector.bfloat16().float())


class Killed(BaseException):
    pass


def test_a_build_that_was_broken_off_goes_on_at_its_shard_and_ends_the_same(tmp_path):
    build(tmp_path / "whole")

    class Breaks(Teacher):
        def __call__(self, indices):
            if 7 in indices:
                raise Killed
            return super().__call__(indices)

    with pytest.raises(Killed):
        build(tmp_path / "s", Breaks())
    again = Teacher()
    build(tmp_path / "s", again)
    assert set(again.asked) < set(range(10))
    assert [file.read_bytes() for file in shards(tmp_path / "s")] == [
        file.read_bytes() for file in shards(tmp_path / "whole")
    ]
    assert not list((tmp_path / "s").glob(".*"))


CHILD = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from test_store import SHARD_BYTES, Teacher, build, write_store
write_store.SHARD_BYTES = SHARD_BYTES
class Slow(Teacher):
    def __call__(self, indices):
        time.sleep(0.02)
        return super().__call__(indices)
build(Path(sys.argv[2]), Slow(), batch_size=1)
"""


def test_a_killed_build_leaves_no_half_shard_for_whole(tmp_path):
    build(tmp_path / "whole")
    command = [sys.executable, "-W", "ignore", "-c", CHILD, str(Path(__file__).parent), str(tmp_path / "s")]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(shards(tmp_path / "s")) < 2 and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    build(tmp_path / "s")
    assert [file.read_bytes() for file in shards(tmp_path / "s")] == [
        file.read_bytes() for file in shards(tmp_path / "whole")
    ]


def damage(path):
    found = {shard.file: shard.damage(path) for shard in Manifest.read(path).shards}
    return {file: reason for file, reason in found.items() if reason is not None}


def flip(file, place):
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


def test_one_changed_byte_of_a_shard_is_noticed_and_that_shard_built_again(tmp_path, caplog):
    build(tmp_path / "s")
    rng = random.Random(0)
    for file in shards(tmp_path / "s"):
        whole = file.read_bytes()
        for place in [0, 8, len(whole) - 1, *(rng.randrange(len(whole)) for _ in range(10))]:
            flip(file, place)
            assert damage(tmp_path / "s") == {file.name: "is damaged (its SHA-256 has changed)"}
            file.write_bytes(whole)
    file = shards(tmp_path / "s")[1]
    flip(file, len(file.read_bytes()) // 2)
    again = Teacher()
    with caplog.at_level(logging.WARNING, logger="muscle"):
        build(tmp_path / "s", again)
    assert f"{file.name} is damaged" in caplog.text
    first = int(file.stem.split("-")[1])
    assert min(again.asked) == first
    assert len(set(again.asked)) < 10
    assert damage(tmp_path / "s") == {}


def test_a_cut_or_missing_shard_is_noticed(tmp_path):
    build(tmp_path / "s")
    last = shards(tmp_path / "s")[-1]
    last.write_bytes(last.read_bytes()[:-1])
    assert damage(tmp_path / "s") == {last.name: "is damaged (its SHA-256 has changed)"}
    last.unlink()
    assert damage(tmp_path / "s") == {last.name: "is missing"}
    assert torch.equal(build(tmp_path / "s").rows(range(10)).vector, Teacher()(range(10)).vector)


def test_no_changed_byte_of_the_manifest_gives_other_rows(tmp_path):
    build(tmp_path / "s")
    manifest = tmp_path / "s" / "manifest.json"
    whole, expected = manifest.read_bytes(), Teacher()(range(10))
    for place in range(0, len(whole), 7):
        flip(manifest, place)
        assert torch.equal(build(tmp_path / "s").rows(range(10)).vector, expected.vector)
        manifest.write_bytes(whole)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("base", "b2"),
        ("adapter", "a2"),
        ("data", "d2"),
        ("tokenizer", "t2"),
        ("temperature", 1.0),
        ("precision", "bfloat16"),
        ("versions", {"torch": "2"}),
    ],
)
def test_a_store_of_something_else_is_built_again(tmp_path, caplog, key, value):
    build(tmp_path / "s")
    other = {**IDENTITY, key: value}
    again = Teacher()
    with caplog.at_level(logging.WARNING, logger="muscle"):
        build(tmp_path / "s", again, identity=other)
    assert f"made for another {key}; building it again" in caplog.text
    assert set(again.asked) == set(range(10))


def test_a_store_of_another_kind_or_format_is_built_again(tmp_path, caplog):
    build(tmp_path / "s")
    build(tmp_path / "s", kind="hidden")
    assert "made for another kind; building it again" in caplog.text
    manifest = tmp_path / "s" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": "muscle-teacher-store/0"}))
    build(tmp_path / "s", kind="hidden")
    assert "expected format muscle-teacher-store/1, found muscle-teacher-store/0; building it" in caplog.text


@pytest.mark.parametrize(
    "values",
    [{"identity": 5}, {"shards": 5}, {"shards": [5]}, {"num_examples": "ten"}, {"shards": [{"file": 1}]}],
    ids=str,
)
def test_a_manifest_of_the_wrong_shape_is_refused_and_built_again(tmp_path, values):
    build(tmp_path / "s")
    manifest = tmp_path / "s" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | values))
    with pytest.raises(DataError, match=r"manifest\.json is damaged"):
        Manifest.read(tmp_path / "s")
    assert build(tmp_path / "s").num_examples == len(COUNTS)


def test_a_store_that_is_not_there_or_has_a_damaged_manifest_is_refused_and_built(tmp_path):
    with pytest.raises(DataError, match="there is no finished shard"):
        Manifest.read(tmp_path / "s")
    build(tmp_path / "s")
    (tmp_path / "s" / "manifest.json").write_text('{"format": "muscle')
    with pytest.raises(DataError, match=r"manifest\.json is damaged"):
        Manifest.read(tmp_path / "s")
    build(tmp_path / "s")
    assert damage(tmp_path / "s") == {}


def test_another_shard_size_cuts_anew(tmp_path, monkeypatch):
    build(tmp_path / "s")
    monkeypatch.setattr(write_store, "SHARD_BYTES", 3 * SHARD_BYTES)
    store = build(tmp_path / "s")
    assert torch.equal(store.rows(range(10), head=HEAD).vector, Teacher()(range(10)).vector)


def test_the_size_is_told_and_a_disk_that_is_too_small_refused_before_the_teacher_runs(tmp_path, caplog, monkeypatch):
    teacher = Teacher()
    monkeypatch.setattr(write_store.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10_000, 9_000, 1_000))
    with pytest.raises(OutputError, match=r"found 0\.0 MB free; make room"):
        build(tmp_path / "s", teacher)
    assert teacher.asked == []
    monkeypatch.undo()
    with caplog.at_level(logging.INFO, logger="muscle"):
        build(tmp_path / "s", teacher)
    assert f"{sum(COUNTS) * (WIDTH * 4 + 13) / 1e6:.1f} MB to write" in caplog.text


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        build(tmp_path / "file" / "s")
