"""Does torch.compile pay for a training step's layers on a CPU? Prints seconds of a step with and without.

python benchmarks/compile_trial.py runs/smollm2/new
"""

import statistics
import sys
import time

import torch

from muscle.config.settings import BaseConfig, LoraSettings
from muscle.models.adapters import new_adapter
from muscle.models.bases import load_base
from muscle.training.head.output_head import output_head
from muscle.training.losses.fused import fused_next_token_loss

ROUNDS = 5


def main() -> None:
    base = load_base(BaseConfig(base=sys.argv[1]), precision="bf16")
    model = new_adapter(base, LoraSettings(r=128, alpha=256)).train()
    head, ids = output_head(model), torch.randint(3, 49_000, (8, 128))
    decoder = model.get_base_model().get_decoder()
    compiled = torch.compile(decoder)

    def step(forward) -> float:
        start = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden = forward(input_ids=ids, use_cache=False).last_hidden_state
            loss = fused_next_token_loss(hidden[:, :-1], head, ids[:, 1:])
        (loss / ids.numel()).backward()
        return time.perf_counter() - start

    print(f"first compiled step: {step(compiled):.1f} s")
    step(decoder)
    found = {"as it is": [], "compiled": []}
    for _ in range(ROUNDS):
        found["as it is"].append(step(decoder))
        found["compiled"].append(step(compiled))
    for name, seconds in found.items():
        print(f"{name}: {statistics.median(seconds):.2f} s a step (of {ROUNDS})")


if __name__ == "__main__":
    main()
