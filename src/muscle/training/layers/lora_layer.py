"""A LoRA layer as one step of the graph: y = W x + b + s B A x, with what its backward pass needs and no more.

PEFT builds the sum of small steps: two further results as large as the layer's, written and read forward and
backward. Here the adapter's part is added into the base's result by the very product that makes it, and the gradient
of x likewise. The numbers are the same to rounding (one rounding less on the way).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from peft.tuners.lora.layer import Linear
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from peft import PeftModel


@contextmanager
def one_step_lora(model: PeftModel) -> Iterator[None]:
    """While it lasts, the plain LoRA layers of a model run as one step each; every other layer stays as it is.

    Plain is: one active adapter, no dropout, no variant (DoRA and others), nothing hooked into its way, on a frozen
    linear layer that is not quantised.

    Args:
        model: with a PEFT adapter, not merged.
    """
    changed = [module for module in model.modules() if type(module) is Linear and _is_plain_lora(module)]
    for module in changed:
        module.forward = partial(_lora_forward, module)
    try:
        yield
    finally:
        for module in changed:
            del module.forward


def _is_plain_lora(module: Linear) -> bool:
    active = [name for name in module.active_adapters if name in module.lora_A]
    if len(active) != 1 or module.disable_adapters or module.merged or "forward" in vars(module):
        return False
    (name,) = active
    base = module.base_layer
    return (
        type(base) is nn.Linear
        and "forward" not in vars(base)
        and not any(parameter.requires_grad for parameter in base.parameters())
        and name not in module.lora_variant
        and type(module.lora_dropout[name]) is nn.Identity
        and not module.lora_A[name]._forward_hooks
        and module.lora_A[name].bias is None
        and module.lora_B[name].bias is None
    )


def _lora_forward(module: Linear, states: Tensor) -> Tensor:
    (name,) = (name for name in module.active_adapters if name in module.lora_A)
    down, up, base = module.lora_A[name].weight, module.lora_B[name].weight, module.base_layer
    kind = states.device.type
    if torch.is_autocast_enabled(kind):
        narrow = torch.get_autocast_dtype(kind)
        states, down, up = states.to(narrow), down.to(narrow), up.to(narrow)
    if not states.dtype == down.dtype == up.dtype == base.weight.dtype:
        unchanged: Tensor = type(module).forward(module, states)
        return unchanged
    weights = (base.weight, base.bias, down, up, module.scaling[name])
    found: Tensor = _LoraLinear.apply(states, *weights)  # type: ignore[no-untyped-call]
    return found


class _LoraLinear(torch.autograd.Function):
    """The step: (..., in), (out, in), (out,) or None, (rank, in), (out, rank) to (..., out).

    Only the states and the adapter have gradients.
    """

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        down: Tensor,
        up: Tensor,
        scaling: float,
    ) -> Tensor:
        # The dtypes were chosen before; autocast would cast the products again.
        with torch.autocast(states.device.type, enabled=False):
            flat = states.reshape(-1, states.shape[-1])
            low = flat @ down.T
            found = nn.functional.linear(flat, weight, bias).addmm_(low, up.T, alpha=scaling)
        ctx.save_for_backward(flat, weight, down, up, low)
        ctx.scaling, ctx.shape = scaling, states.shape
        return found.view(*states.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, None, None, Tensor, Tensor, None]:
        flat, weight, down, up, low = ctx.saved_tensors
        with torch.autocast(outer.device.type, enabled=False):
            outer = outer.reshape(-1, outer.shape[-1])
            # With beta = 0 the first argument only gives the result's shape.
            pulled = torch.addmm(low, outer, up, beta=0, alpha=ctx.scaling)
            states = None
            if ctx.needs_input_grad[0]:
                states = (outer @ weight).addmm_(pulled, down).view(ctx.shape)
            return (
                states,
                None,
                None,
                pulled.T @ flat,
                torch.addmm(up, outer.T, low, beta=0, alpha=ctx.scaling),
                None,
            )
