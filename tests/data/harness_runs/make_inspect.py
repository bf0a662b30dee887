"""Run Inspect AI with its mock model as two versions, three epochs each; log once as `.eval` (zstd), once as `.json`.

    python make_inspect.py WORK      # with inspect_ai 0.3.285 and zipfile_zstd

Item and epoch decide by a hash whether a version is right. In the new version one sample's solver raises. Transcripts
of events are left out of what is kept here, to keep the files small; the deflate file is the zstd one packed anew.
"""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import tiktoken
import zipfile_zstd  # noqa: F401  (teaches zipfile method 93)

OUT = Path(__file__).resolve().parent / "inspect"
ZSTD = 93
COLOURS = (
    "red",
    "blue",
    "green",
    "white",
    "black",
    "grey",
    "brown",
    "pink",
    "gold",
    "violet",
    "amber",
    "teal",
)


class Words:
    """Stands for the tokenizer that the mock model would download."""

    def encode(self, text: str, **_: Any) -> list[str]:
        """Return the words."""
        return text.split()

    encode_ordinary = encode


tiktoken.get_encoding = lambda name: Words()
tiktoken.encoding_for_model = lambda name: Words()

from inspect_ai import Task, eval, task  # noqa: E402
from inspect_ai.dataset import MemoryDataset, Sample  # noqa: E402
from inspect_ai.model import ModelOutput, get_model  # noqa: E402
from inspect_ai.scorer import match  # noqa: E402
from inspect_ai.solver import solver  # noqa: E402


def chance(*parts: object) -> float:
    """Return a number in [0, 1) that the parts decide."""
    return int(hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()[:8], 16) / 2**32


@solver
def answer() -> Any:
    """Answer rightly with the item's own probability; version 2 fails on one item for good, and raises once."""

    async def solve(state: Any, generate: Any) -> Any:
        version = int(str(state.model)[-1])
        number, epoch = int(str(state.sample_id).split("/")[1]), state.epoch
        if version == 2 and number == 7 and epoch == 2:
            raise RuntimeError("the tool broke")
        right = chance("draw", version, number, epoch) < chance("item", number) * 1.4 and not (
            version == 2 and number == 3
        )
        state.output = ModelOutput.from_content(str(state.model), COLOURS[number] if right else "no colour")
        return state

    return solve


@task
def colours() -> Task:
    """Name the colour of a door."""
    samples = [
        Sample(
            id=f"door/{n}",
            input=f"Door {n} is painted in {c}. Which colour?",
            target=c,
            metadata={"side": "left" if n % 2 else "right"},
        )
        for n, c in enumerate(COLOURS)
    ]
    return Task(dataset=MemoryDataset(samples, name="doors"), solver=[answer()], scorer=match())


def scrub(text: str) -> str:
    """Return the text without the place of this file."""
    return text.replace(str(OUT.parent) + "/", "")


def slim(sample: dict[str, Any]) -> dict[str, Any]:
    """Return the sample without its transcript."""
    kept = {**sample, "events": [], "attachments": {}}
    kept.pop("events_data", None)
    if kept.get("error"):
        kept["error"] = {**kept["error"], "traceback": "left out", "traceback_ansi": ""}
    return kept


def pack(source: Path, target: Path, method: int) -> None:
    """Write the archive anew, member by member."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", method) as new:
        for member in old.infolist():
            data = old.read(member.filename)
            if member.filename.startswith("samples/"):
                data = json.dumps(slim(json.loads(data))).encode()
            new.writestr(member.filename, scrub(data.decode()), compress_type=method)


def main() -> None:
    """Run, pack, keep."""
    work = Path(sys.argv[1])
    OUT.mkdir(exist_ok=True)
    for version, name in ((1, "old"), (2, "new")):
        for form in ("eval", "json"):
            folder = work / f"{name}-{form}"
            eval(
                colours(), model=get_model(f"mockllm/doors-{version}"), log_dir=str(folder), log_format=form, epochs=3,
                fail_on_error=False, display="none",
            )  # fmt: skip
            (log,) = folder.glob(f"*.{form}")
            if form == "json":
                value = json.loads(log.read_text())
                value["samples"] = [slim(sample) for sample in value["samples"]]
                (OUT / f"{name}.json").write_text(scrub(json.dumps(value)))
            else:
                pack(log, OUT / f"{name}.zstd.eval", ZSTD)
                pack(log, OUT / f"{name}.deflate.eval", zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    main()
