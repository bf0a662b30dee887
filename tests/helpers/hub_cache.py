"""Files that stand in the Hub's cache, as a download leaves them."""

from __future__ import annotations

from pathlib import Path


def put_into_hub_cache(cache: Path, name: str, files: dict[str, str]) -> None:
    """Write the texts of a repository's files, as its one snapshot."""
    folder = cache / f"models--{name.replace('/', '--')}"
    snapshot = folder / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("a" * 40)
    for file, text in files.items():
        (snapshot / file).write_text(text)
