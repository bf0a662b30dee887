"""Sends a training's log to TensorBoard, Weights & Biases or MLflow, by transformers' own callbacks.

Each training is a run of its own there, named by the run folder and the stage. Where they write to is theirs to say, by
their own environment variables (`WANDB_PROJECT`, `MLFLOW_TRACKING_URI`, `TENSORBOARD_LOGGING_DIR`); without, event
files stand in the run folder's `tensorboard/`. No number of a training depends on any of it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from muscle.config.settings import ReporterName
from muscle.errors import ConfigError

if TYPE_CHECKING:
    from transformers import TrainerCallback

_PACKAGES: dict[ReporterName, tuple[str, ...]] = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "wandb": ("wandb",),
    "mlflow": ("mlflow",),
}
"""Any of which will do; the first is the one to install."""
_ADVICE: dict[str, str] = {
    "wandb": "run `wandb login` first, or set WANDB_MODE=offline",
    "mlflow": "see MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME",
}


def check_reporters(names: Sequence[ReporterName]) -> None:
    """Refuse a tracker whose package is not there, before any work.

    Raises:
        ConfigError: says what to install.
    """
    for name in names:
        if not any(find_spec(package) for package in _PACKAGES[name]):
            raise ConfigError(
                f"training.report_to: {name}: expected its package, found none; install it with: "
                f"pip install {_PACKAGES[name][0]}"
            )


@dataclass(frozen=True)
class Reporting:
    """Where a training's log goes beside its own file.

    Attributes:
        names: the trackers.
        run: what they call the training.
        folder: of its event files.
    """

    names: Sequence[ReporterName]
    run: str
    folder: Path

    @classmethod
    def of(cls, names: Sequence[ReporterName], out: Path, description: str, identity: str) -> Reporting:
        """Name a training by the run folder that its adapter stands in, and its stage.

        Args:
            names: the trackers.
            out: the adapter's folder.
            description: the stage, in words.
            identity: stands for settings and data: one that goes on writes where it stopped, another one elsewhere.
        """
        whole = out.resolve()
        above = [parent.parent for parent in whole.parents if parent.name == "adapters"]
        root = above[0] if above else whole.parent
        name = os.path.relpath(root) if root.is_relative_to(Path.cwd()) else root.name
        given = os.environ.get("TENSORBOARD_LOGGING_DIR")
        events = Path(given).expanduser() if given else root / "tensorboard"
        stage = re.sub(r"[^\w.()+-]+", " ", description)
        return cls(names, f"{root.name if name == '.' else name}: {description}", events / stage / identity[:8])

    @contextmanager
    def callbacks(self) -> Iterator[list[TrainerCallback]]:
        """While it lasts, give the trackers' callbacks; their runs are ended with it.

        Raises:
            ConfigError: a package is missing, or a tracker refuses.
        """
        check_reporters(self.names)
        try:
            with self._ended() as made:
                yield made
        except Exception as error:
            # Theirs are of many kinds; those of anything else go on as they are.
            tracker = type(error).__module__.partition(".")[0]
            if tracker not in self.names:
                raise
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise ConfigError(f"training.report_to: {tracker}: {reason}; {_ADVICE[tracker]}") from error

    @contextmanager
    def _ended(self) -> Iterator[list[TrainerCallback]]:
        from transformers.integrations import MLflowCallback, TensorBoardCallback, WandbCallback

        made: list[TrainerCallback] = []
        if "tensorboard" in self.names:
            board = TensorBoardCallback()
            board.logging_dir = str(self.folder)
            made.append(board)
        if "mlflow" in self.names:
            made.append(MLflowCallback())  # ends its run by itself
        if "wandb" not in self.names:
            yield made
            return
        import wandb

        own = wandb.run is None  # a run that the user began is the user's to end
        failed = 1
        try:
            yield [*made, WandbCallback()]
            failed = 0
        finally:
            if own and wandb.run is not None:
                wandb.finish(exit_code=failed)
