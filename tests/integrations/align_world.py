"""Two tiny bases with task adapters, and their data as other libraries take it: for tests/integrations."""

from pathlib import Path

from safetensors.torch import load_file

from muscle import align, finetune, get_task
from muscle.config.alignment import AlignmentSettings
from muscle.config.settings import BaseConfig, LoraSettings, TrainingSettings
from muscle.models.bases import load_base
from muscle.tasks import load_examples, split_train_validation
from muscle.training.data.examples import tokenize
from muscle.training.start import Start
from tiny.bases import TASK_YAML, save_base, write_choice_rows

SETTINGS = TrainingSettings(
    epochs=2, learning_rate=5e-3, warmup_steps=2, batch_size=4, gradient_accumulation=2, precision="float32"
)


class World:
    """Two tiny bases, their task adapters, and the data as tokens."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "tools.yaml").write_text(TASK_YAML)
        self.task = get_task(root / "tools.yaml")
        examples = load_examples(self.task, write_choice_rows(root / "train.jsonl", 60))
        self.split = split_train_validation(examples, seed=0)
        self.bases = {
            name: load_base(BaseConfig(base=str(save_base(root / name, seed=seed))), precision="float32", device="cpu")
            for name, seed in (("old", 1), ("new", 2))
        }
        for name, base in self.bases.items():
            finetune(
                base,
                self.task,
                train_examples=self.split.train,
                validation_examples=self.split.validation,
                lora=LoraSettings(r=4, alpha=8),
                settings=SETTINGS,
                out=str(root / f"adapter-{name}"),  # paths as texts, as people write them
            )

    def align(self, out: Path, **alignment):
        return align(
            self.bases["old"],
            str(self.root / "adapter-old"),
            self.bases["new"],
            str(self.root / "adapter-new"),
            self.task,
            train_examples=self.split.train,
            validation_examples=self.split.validation,
            alignment=AlignmentSettings(**alignment),
            settings=SETTINGS,
            out=str(out),
        )

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
