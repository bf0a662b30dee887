"""Training steps of other libraries' distillation losses, for `engine.py`; each with two frozen teachers in memory.

    pip install trl==1.16.0 liger-kernel==0.8.5    # no dependencies of the project; a missing one is left out

None of them has two teachers: they get the mean of two divergences, which needs the same passes as a choice between
teachers would (the mask follows the student, so both teachers run). The sampled store follows Sparse Logit Sampling
(Anshumann et al. 2025, arXiv:2503.16870): 50 draws a token from the teacher, kept as ids and weights; here they are
random, which costs the same. Kernels that need Triton (orda-kernel, Liger's cross-entropy) don't run on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import Trainer

TEMPERATURE = 2.0
DRAWS = 50
PEERS = ("TRL chunked divergence", "TRL GKD", "Liger fused JSD", "sampled store")


def peer_trainer(name: str, student: Any, teachers: Mapping[str, Any]) -> Callable[..., Trainer]:
    """Return what builds the trainer of one peer.

    Raises:
        ImportError: its library is not installed.
    """
    loss = {
        "TRL chunked divergence": trl_chunked,
        "TRL GKD": trl_gkd,
        "Liger fused JSD": liger_jsd,
        "sampled store": sampled,
    }[name]()

    class PeerTrainer(Trainer):  # type: ignore[misc]
        def compute_loss(
            self,
            model: Any,
            inputs: dict[str, Tensor],
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Tensor:
            del return_outputs, num_items_in_batch
            return loss(model, list(teachers.values()), inputs)

    return lambda **arguments: PeerTrainer(model=student, **arguments)


Loss = Callable[[Any, list[Any], dict[str, Tensor]], Tensor]


def trl_chunked() -> Loss:
    """The loss of TRL's `DistillationTrainer`, forward KL."""
    from trl.trainer.distillation_trainer import _chunked_divergence_loss

    def loss(model: Any, teachers: list[Any], inputs: dict[str, Tensor]) -> Tensor:
        hidden, mask = states(model, inputs)[:, :-1], inputs["labels"][:, 1:] != -100
        terms = []
        for teacher in teachers:
            with torch.no_grad():
                of_teacher = states(teacher, inputs)[:, :-1]
            found = _chunked_divergence_loss(
                hidden, of_teacher, head(model), head(teacher), mask, beta=0.0, temperature=TEMPERATURE
            )
            terms.append(found[0])
        return sum(terms) / len(terms)

    return loss


def trl_gkd() -> Loss:
    """The loss of TRL's `GKDTrainer`: all logits at once."""
    from trl.experimental.gkd import GKDTrainer

    def loss(model: Any, teachers: list[Any], inputs: dict[str, Tensor]) -> Tensor:
        batch = {key: value for key, value in inputs.items() if key != "labels"}
        logits, labels = model(**batch).logits[:, :-1], inputs["labels"][:, 1:]
        terms = []
        for teacher in teachers:
            with torch.no_grad():
                of_teacher = teacher(**batch).logits[:, :-1]
            terms.append(GKDTrainer.generalized_jsd_loss(logits, of_teacher, labels, beta=0.0, temperature=TEMPERATURE))
        return sum(terms) / len(terms)

    return loss


def liger_jsd() -> Loss:
    """Liger-Kernel's chunked linear layer and divergence, forward KL, not compiled."""
    from liger_kernel.chunked_loss import LigerFusedLinearJSDLoss

    fused = LigerFusedLinearJSDLoss(
        weight_hard_loss=0.0, weight_soft_loss=1.0, beta=0.0, temperature=TEMPERATURE, compiled=False
    )

    def loss(model: Any, teachers: list[Any], inputs: dict[str, Tensor]) -> Tensor:
        hidden, labels = states(model, inputs)[:, :-1].flatten(0, 1), inputs["labels"][:, 1:].flatten()
        terms = []
        for teacher in teachers:
            with torch.no_grad():
                of_teacher = states(teacher, inputs)[:, :-1].flatten(0, 1)
            terms.append(fused(hidden, head(model), of_teacher, head(teacher), labels))
        return sum(terms) / len(terms)

    return loss


def sampled() -> Loss:
    """Cross-entropy against `DRAWS` stored ids and weights a token; all of the student's logits at once."""

    def loss(model: Any, teachers: list[Any], inputs: dict[str, Tensor]) -> Tensor:
        del teachers
        logits = model(**{key: value for key, value in inputs.items() if key != "labels"}).logits[:, :-1].float()
        ids = torch.randint(logits.shape[-1], (*logits.shape[:-1], DRAWS), device=logits.device)
        of_ids = logits.gather(-1, ids).mean(-1)  # each draw weighs 1 / DRAWS
        return (logits.logsumexp(-1) - of_ids)[inputs["labels"][:, 1:] != -100].mean()

    return loss


def states(model: Any, inputs: dict[str, Tensor]) -> Tensor:
    """Return the last hidden states, `(batch, seq, width)`, without the head."""
    decoder = model.get_base_model().get_decoder()
    return decoder(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).last_hidden_state


def head(model: Any) -> Tensor:
    """Return the output head's weight, `(vocab, width)`."""
    return model.get_output_embeddings().weight
