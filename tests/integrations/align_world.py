"""The tiny pair as other libraries take it: its data as tokens, its models by their paths, and a student."""

from pathlib import Path

from safetensors.torch import load_file

from muscle.config.alignment import AlignmentSettings
from muscle.config.settings import LoraSettings
from muscle.training.data.examples import tokenize
from muscle.training.start import Start
from tiny.pair import SETTINGS as TINY
from tiny.pair import tiny_pair, trained

SETTINGS = TINY.model_copy(update={"batch_size": 4, "gradient_accumulation": 2})


class World:
    """Two tiny bases, their task adapters, and the data as tokens."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.pair = tiny_pair(root, **SETTINGS.model_dump(include={"batch_size", "gradient_accumulation"}))
        self.bases, self.split = self.pair.bases, self.pair.split

    def align(self, out: Path, **alignment):
        return trained(self.pair, out, settings=SETTINGS, **alignment)

    def model(self, name: str) -> str:
        return f"{self.root / name}+{self.root / f'adapter-{name}'}"

    def data(self, part: str):
        import datasets

        tokenizer = self.bases["new"].tokenizer
        tokens = tokenize(getattr(self.split, part), tokenizer, max_length=64, end_of_text=False)
        return datasets.Dataset.from_list([{"input_ids": ids, "labels": ids} for ids in tokens.sequences])

    def student(self):
        adapters = {name: self.root / f"adapter-{name}" for name in ("old", "new")}
        return Start(self.bases["new"], adapters, AlignmentSettings(), LoraSettings(), SETTINGS.seed).student()


def close(first: Path, second: Path) -> float:
    """Return the largest difference of two adapters' weights, as a share of the largest weight."""
    ours, theirs = (load_file(path / "adapter_model.safetensors") for path in (first, second))
    assert ours.keys() == theirs.keys()
    largest = max(float(tensor.abs().max()) for tensor in ours.values())
    return max(float((ours[name] - theirs[name]).abs().max()) for name in ours) / largest
