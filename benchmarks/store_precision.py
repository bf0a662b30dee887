"""How far gradient and final adapter move with the precision of the teacher store, and with a top-k store's k.

    python benchmarks/store_precision.py

A tiny world as the tests have it; bases in float32 and in bf16. For each kind of store: the gradient of the first batch
against that of the float32 projected store (relative, in the norm of the whole adapter), and the adapter after all
epochs against the one of the `online` engine, relative to how far training moved it. The last column is the share of
the store's size on disk.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

STORES: list[tuple[str, dict[str, Any]]] = [
    ("projected, float32", {"engine": "projected", "store_precision": "float32"}),
    ("projected, fp16", {"engine": "projected", "store_precision": "fp16"}),
    ("projected, bf16", {"engine": "projected", "store_precision": "bf16"}),
    ("hidden, as computed", {"engine": "hidden"}),
    ("topk, k = 4", {"engine": "topk", "topk": 4}),
    ("topk, k = 16", {"engine": "topk", "topk": 16}),
    ("topk, k = 32", {"engine": "topk", "topk": 32}),
]


def distance(first: dict[str, Any], second: dict[str, Any]) -> float:
    """Norm of the difference of two adapters or gradients."""
    return float(sum(((first[key] - second[key]).double() ** 2).sum() for key in first) ** 0.5)


def run(precision: str, root: Path) -> list[dict[str, Any]]:
    """Train from every kind of store and measure."""
    import torch
    from safetensors.torch import load_file
    from transformers import TrainerCallback

    from muscle.config.alignment import AlignmentSettings
    from muscle.config.settings import BaseConfig, LoraSettings, TrainingSettings
    from muscle.models.bases import load_base
    from muscle.tasks import get_task, load_examples, split_train_validation
    from muscle.training import stored_trainers as engines
    from muscle.training.align import align
    from muscle.training.finetune import finetune
    from tiny.bases import TASK_YAML, save_base, write_choice_rows

    (root / "tools.yaml").write_text(TASK_YAML)
    task = get_task(root / "tools.yaml")
    split = split_train_validation(load_examples(task, write_choice_rows(root / "train.jsonl", 100)), seed=0)
    data = {"train_examples": split.train, "validation_examples": split.validation}
    settings = TrainingSettings(
        epochs=6,
        learning_rate=2e-3,
        warmup_steps=2,
        batch_size=8,
        gradient_accumulation=1,
        precision=precision,
    )
    bases = {}
    for name, seed in (("old", 1), ("new", 2)):
        bases[name] = load_base(
            BaseConfig(base=str(save_base(root / name, seed=seed, hidden_size=64))),
            precision=precision,
            device="cpu",
        )
        finetune(
            bases[name],
            task,
            **data,
            lora=LoraSettings(r=8, alpha=16),
            settings=settings,
            out=root / f"a-{name}",
        )
    gradients: dict[str, Any] = {}

    class FirstGradient(TrainerCallback):  # type: ignore[misc]
        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if not gradients:
                gradients.update(
                    {n: p.grad.clone() for n, p in kwargs["model"].named_parameters() if p.grad is not None}
                )

    plain = engines.HeadlessTrainer.__init__

    def with_callback(self: Any, *args: Any, **kwargs: Any) -> None:
        kwargs["callbacks"] = [*kwargs.get("callbacks", []), FirstGradient()]
        plain(self, *args, **kwargs)

    engines.HeadlessTrainer.__init__ = with_callback  # type: ignore[method-assign]
    found: list[dict[str, Any]] = []
    ends, firsts = {}, {}
    for name, alignment in [("online", {"engine": "online"}), *STORES]:
        gradients.clear()
        torch.manual_seed(0)
        out = root / name.replace(" ", "")
        align(
            bases["old"],
            root / "a-old",
            bases["new"],
            root / "a-new",
            task,
            **data,
            alignment=AlignmentSettings(**alignment),
            settings=settings,
            out=out,
            store=root / f"store-{out.name}",
        )
        ends[name], firsts[name] = load_file(out / "adapter_model.safetensors"), dict(gradients)
    engines.HeadlessTrainer.__init__ = plain  # type: ignore[method-assign]
    moved = distance(ends["online"], load_file(root / "a-new" / "adapter_model.safetensors"))
    zero = {key: torch.zeros_like(value) for key, value in firsts["projected, float32"].items()}
    size = distance(firsts["projected, float32"], zero)
    for name, _ in STORES:
        files = (root / f"store-{name.replace(' ', '')}").rglob("*.safetensors")
        found.append(
            {
                "precision": precision,
                "store": name,
                "gradient": distance(firsts[name], firsts["projected, float32"]) / size,
                "adapter": distance(ends[name], ends["online"]) / moved,
                "store_bytes": sum(file.stat().st_size for file in files),
            }
        )
        row = found[-1]
        print(
            f"{precision}, {name}: gradient off by {row['gradient']:.1e}, "
            f"final adapter by {row['adapter']:.1e} of its way, "
            f"{row['store_bytes'] / 1e3:.0f} kB",
            flush=True,
        )
    return found


def main() -> None:
    """Measure in both precisions and keep the JSON."""
    rows = []
    for precision in ("float32", "bf16"):
        with tempfile.TemporaryDirectory() as folder:
            rows += run(precision, Path(folder))
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "store_precision.json").write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
