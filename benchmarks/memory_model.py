"""The memory formulas of `muscle update --dry-run` held against what small models really keep.

    python benchmarks/memory_model.py [--base runs/smollm2/new]

For each case one forward pass of a LoRA student and the chunked loss; every tensor that autograd keeps for the backward
pass is counted once, by its storage, without parameters. That is the memory of the activations, exactly, on any device.
Weights and adapter are counted from the models. The JSON holds estimate, measurement and their ratio.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

RANK = 16


def measure(folder: Path, *, batch: int, seq: int, precision: str, checkpointing: bool) -> dict[str, Any]:
    """Measure one case and hold it against the estimate."""
    import torch

    from muscle.config.settings import BaseConfig, LoraSettings, TrainingSettings
    from muscle.models.adapters import new_adapter
    from muscle.models.bases import load_base
    from muscle.pipeline.resources import ModelSizes, estimate
    from muscle.training.head.output_head import head_input, output_head
    from muscle.training.losses.fused import fused_next_token_loss
    from tiny.kept_bytes import kept_bytes

    base = load_base(BaseConfig(base=str(folder)), precision=precision, device="cpu")
    model = new_adapter(base, LoraSettings(r=RANK, alpha=2 * RANK)).train()
    head = output_head(model)
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    ids = torch.randint(3, head.vocab_size, (batch, seq))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    narrow = precision == "bf16"

    def forward() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            fused_next_token_loss(head_input(model, inputs)[:, :-1], head, ids[:, 1:])

    activations = kept_bytes(model, forward)
    settings = TrainingSettings(batch_size=batch, precision=precision, gradient_checkpointing=checkpointing)
    sizes = ModelSizes.of(base.model.config)
    expected = estimate(sizes, settings, rank=RANK, tokens_per_epoch=0, sequence_tokens=seq)
    # While a layer is computed again its own activations come on top; the pass above has not reached that.
    estimated = expected.activations
    if checkpointing:
        one = settings.model_copy(update={"gradient_checkpointing": False})
        whole = estimate(sizes, one, rank=RANK, tokens_per_epoch=0, sequence_tokens=seq)
        outside = batch * seq * sizes.width * (2 if narrow else 4) + batch * seq * sizes.width * 4
        estimated -= (whole.activations - outside) // sizes.layers
    weights = sum(p.numel() * p.element_size() for p in base.model.parameters())
    adapter = 16 * sum(p.numel() for p in model.parameters() if p.requires_grad)
    return {
        "base": folder.name,
        "batch": batch,
        "seq": seq,
        "precision": precision,
        "checkpointing": checkpointing,
        "activations": {"measured": activations, "estimated": estimated, "ratio": estimated / activations},
        "weights": {"measured": weights, "estimated": expected.weights, "ratio": expected.weights / weights},
        "adapter": {"measured": adapter, "estimated": expected.adapter, "ratio": expected.adapter / adapter},
    }


def main() -> None:
    """Measure every case, print a table and keep the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--base", type=Path, help="folder of a real base, such as SmolLM2-135M")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "memory_model.json")
    options = parser.parse_args()
    from tiny.bases import save_base

    cases = []
    with tempfile.TemporaryDirectory() as folder:
        tiny = save_base(Path(folder) / "tiny", seed=0, hidden_size=64)
        bases = [(tiny, 4, 32), (tiny, 16, 48)] + ([(options.base, 2, 128)] if options.base else [])
        for base, batch, seq in bases:
            for precision in ("float32", "bf16"):
                for checkpointing in (False, True):
                    case = measure(base, batch=batch, seq=seq, precision=precision, checkpointing=checkpointing)
                    cases.append(case)
                    print(
                        f"{case['base']}, {batch} x {seq}, {precision}{', checkpointing' if checkpointing else ''}: "
                        + ", ".join(
                            f"{name} {case[name]['measured'] / 1e6:.2f} MB, "
                            f"estimate / measured {case[name]['ratio']:.2f}"
                            for name in ("activations", "weights", "adapter")
                        ),
                        flush=True,
                    )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"rank": RANK, "cases": cases}, indent=2) + "\n")


if __name__ == "__main__":
    main()
