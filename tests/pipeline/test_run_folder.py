"""A run's folder: what makes a stage run again, and what killed, full or read-only disks leave."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from muscle import files
from muscle.errors import DataError, OutputError, ResourceError
from muscle.files import atomic_folder, atomic_path, clear_leftovers
from muscle.limits import memory_for
from muscle.pipeline.run_folder import RunFolder


def run_stages(out: Path) -> list[str]:
    """Run three stages whose work is small; return which of them ran."""
    ran = []

    def adapter() -> None:
        ran.append("adapter")
        with atomic_folder(out / "adapters" / "a") as folder:
            (folder / "adapter_config.json").write_text('{"lora_alpha": 8}')
            (folder / "adapter_model.safetensors").write_bytes(b"weights")
            (folder / "training.json").write_text("{}")

    def scores(task: str) -> None:
        ran.append(task)
        folder = out / "predictions"
        folder.mkdir(exist_ok=True)
        (folder / f"{task}.jsonl").write_text(task)
        known = json.loads((folder / "run.json").read_text()) if (folder / "run.json").exists() else {}
        (folder / "run.json").write_text(json.dumps(known | {task: "its settings"}))

    run = RunFolder(out)
    with run.locked():
        run.stage("adapter", {"seed": 0}, [out / "adapters" / "a"], adapter)
        for task in ("one", "two"):
            outputs = [out / "predictions" / f"{task}.jsonl", out / "predictions" / "run.json"]
            run.stage(task, {"task": task}, outputs, lambda task=task: scores(task))
    return ran


@pytest.fixture
def out(tmp_path):
    assert run_stages(tmp_path / "run") == ["adapter", "one", "two"]
    assert run_stages(tmp_path / "run") == []
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("file", "again"),
    [
        ("adapters/a/adapter_config.json", ["adapter"]),
        ("adapters/a/adapter_model.safetensors", ["adapter"]),
        ("adapters/a/training.json", ["adapter"]),
        ("predictions/one.jsonl", ["one"]),
        ("predictions/run.json", ["one", "two"]),
    ],
)
@pytest.mark.parametrize("how", ["changed", "deleted"])
def test_a_stage_runs_again_when_a_file_of_its_own_is_not_what_it_wrote(out, file, again, how, caplog):
    path = out / file
    before = path.read_bytes()
    path.write_bytes(b'{"x": 0}') if how == "changed" else path.unlink()
    assert run_stages(out) == again
    assert f"{path} is missing or was changed; it runs again" in caplog.text
    if path.name != "run.json":
        assert path.read_bytes() == before
    assert run_stages(out) == []


def test_what_others_put_beside_an_output_changes_nothing(out):
    (out / "adapters" / "a" / "notes.txt").write_text("mine")
    assert run_stages(out) == []
    assert (out / "adapters" / "a" / "notes.txt").exists()


def test_a_model_card_that_was_written_on_or_deleted_trains_nothing_again(tmp_path):
    def work() -> None:
        with atomic_folder(tmp_path / "adapter") as folder:
            (folder / "adapter_model.safetensors").write_bytes(b"weights")
            (folder / "README.md").write_text("card")

    def run() -> int:
        run = RunFolder(tmp_path)
        with run.locked():
            run.stage("adapter", {}, [tmp_path / "adapter"], work)
        return run.num_run

    assert run() == 1
    (tmp_path / "adapter" / "README.md").write_text("card, and my own words")
    assert run() == 0
    (tmp_path / "adapter" / "README.md").unlink()
    assert run() == 0


def test_the_manifest_holds_the_sha256_of_each_file(out):
    kept = json.loads((out / "manifest.json").read_text())["files"]
    assert sorted(kept) == [
        "adapters/a/adapter_config.json",
        "adapters/a/adapter_model.safetensors",
        "adapters/a/training.json",
        "predictions/one.jsonl",
        "predictions/run.json",
        "predictions/two.jsonl",
    ]
    assert all(len(value) == 64 for value in kept.values())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "5",
        "{}",
        '{"stages": []}',
        '{"stages": [1]}',
        '{"stages": {"adapter": 5}}',
        '{"stages": {"adapter": {}}}',
        '{"stages": {}, "files": []}',
        '{"stages": {"adapter": {"key": "k", "outputs": 5}}, "files": {}}',
        '{"stages": {"adapter": {"key"',
        "[" * 100_000,
        '{"stages": NaN}',
    ],
)
def test_a_damaged_manifest_is_refused_in_one_line_that_says_what_to_do(out, text):
    (out / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=r"damaged.*delete it to run every stage again") as caught:
        RunFolder(out)
    assert "\n" not in str(caught.value)


def test_a_manifest_of_an_earlier_version_makes_every_stage_run_again(out, caplog):
    path = out / "manifest.json"
    manifest = json.loads(path.read_text())
    old = {name: {"key": stage["key"], "content": "0" * 16} for name, stage in manifest["stages"].items()}
    path.write_text(json.dumps({"stages": old}))
    assert run_stages(out) == ["adapter", "one", "two"]
    assert "its outputs are not known; it runs again" in caplog.text


def make_read_only(monkeypatch, folder: Path) -> None:
    """Root writes everywhere, so that a test cannot take the right away; this is what a read-only disk answers."""
    real = Path.open

    def refuse(self, mode="r", *args, **kwargs):
        if "w" in mode and folder in self.parents:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))
        return real(self, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    real_descriptor = os.open

    def refuse_descriptor(path, flags, *args, **kwargs):
        if flags & (os.O_RDWR | os.O_CREAT) and folder in Path(path).parents:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return real_descriptor(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse_descriptor)


def test_a_finished_run_in_a_read_only_folder_has_nothing_to_do(out, monkeypatch):
    make_read_only(monkeypatch, out)
    assert run_stages(out) == []


def test_a_read_only_folder_is_refused_where_a_stage_is_still_to_run(out, monkeypatch):
    (out / "predictions" / "two.jsonl").unlink()
    make_read_only(monkeypatch, out)
    with pytest.raises(OutputError, match="cannot be written: Read-only file system; two is still to run"):
        run_stages(out)


def test_what_killed_processes_left_half_written_is_removed(out):
    left = [
        out / ".report.html.0123abcd.part",
        out / "predictions" / "old" / ".one.jsonl.0123abcd.part",
        out / "adapters" / "old" / ".a.0123abcd.part",
        out / "adapters" / "old" / ".a.89abcdef.old",
    ]
    others = out / "adapters" / "old" / ".mine.part"
    (out / "predictions" / "old").mkdir()
    (out / "adapters" / "old" / "a").mkdir(parents=True)
    for path in (*left, others):
        path.mkdir() if path.name.startswith(".a.") else path.write_text("half")
    run_stages(out)
    assert [path for path in left if path.exists()] == []
    assert others.exists()


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="only Linux swaps two folders in one step")
def test_a_folder_is_replaced_in_one_step(tmp_path, monkeypatch):
    place = tmp_path / "a"
    place.mkdir()
    (place / "old").touch()
    monkeypatch.setattr(Path, "rename", lambda *_: pytest.fail("a kill after this rename would lose the folder"))
    with atomic_folder(place) as folder:
        (folder / "new").touch()
    assert [path.name for path in place.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_folder_that_was_moved_aside_when_a_kill_came_is_put_back(tmp_path, monkeypatch):
    place = tmp_path / "a"
    place.mkdir()
    (place / "old").touch()
    monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    real = Path.rename

    def killed(self, target):
        if self.name.endswith(".part"):
            raise KeyboardInterrupt
        return real(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt), atomic_folder(place) as folder:
            (folder / "new").touch()
    assert not place.exists()
    clear_leftovers(tmp_path)
    assert [path.name for path in place.iterdir()] == ["old"]
    with atomic_folder(place) as folder:
        (folder / "new").touch()
    assert [path.name for path in place.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_leftovers_of_another_name_stay(tmp_path):
    (tmp_path / ".b.0123abcd.part").mkdir()
    clear_leftovers(tmp_path, "a")
    assert (tmp_path / ".b.0123abcd.part").exists()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left on device"),
        (
            Exception("Error while serializing: I/O error: No space left on device (os error 28)"),
            "No space left on device",
        ),
        (
            RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"),
            "the disk is full",
        ),
        (RuntimeError("basic_ios::clear: iostream error"), "the disk is full"),
    ],
)
@pytest.mark.parametrize("writer", [atomic_path, atomic_folder])
def test_a_full_disk_ends_in_one_line_whatever_library_writes(tmp_path, writer, error, reason):
    with pytest.raises(OutputError, match=rf"out: cannot be written: .*{reason}"), writer(tmp_path / "out"):
        raise error
    assert list(tmp_path.iterdir()) == []


def test_a_bug_while_writing_stays_a_bug(tmp_path):
    with pytest.raises(RuntimeError, match="a bug"), atomic_folder(tmp_path / "out"):
        raise RuntimeError("a bug")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"
        ),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    ],
)
def test_memory_that_runs_out_ends_in_one_line_with_what_to_do(error):
    with (
        pytest.raises(ResourceError, match=r"align: out of memory \(.*\); take less") as caught,
        memory_for("align", advice="take less"),
    ):
        raise error
    assert "\n" not in str(caught.value)


def test_another_error_is_not_called_out_of_memory():
    with pytest.raises(RuntimeError, match="a bug"), memory_for("align", advice="take less"):
        raise RuntimeError("a bug")


def test_a_held_folder_is_refused_at_once_and_let_go_of_when_its_process_dies(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from muscle.pipeline.run_folder import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).locked(): print('held', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(OutputError, match="another muscle process is working in this folder"):
            run_stages(tmp_path)
        process.kill()
        process.wait()
    assert run_stages(tmp_path) == ["adapter", "one", "two"]
    assert run_stages(tmp_path) == []
