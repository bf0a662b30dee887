"""Where what is made on the way to an adapter stands, which several trainings may share. Needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class KeptStores(NamedTuple):
    """The folders, each of what has a part of its own in it.

    Attributes:
        old: of the old teacher's store, or of both teachers'.
        new: of the stores of the new teachers, which no old model has a part in.
        labels: of adapters trained on labels first. Each is named by all that it was made of, so that any trainings may
            share this folder.
    """

    old: Path
    new: Path
    labels: Path

    @classmethod
    def in_one(cls, folder: Path) -> KeptStores:
        """Return one folder for all of it."""
        return cls(folder, folder, folder)

    def of_task(self, name: str) -> KeptStores:
        """Return the folders of a task in these."""
        return KeptStores(*(folder / name for folder in self))
