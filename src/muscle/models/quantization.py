"""Bases in bitsandbytes' 4-bit form (QLoRA, Dettmers et al. 2023)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from muscle.errors import ConfigError
from muscle.models.devices import choose_device, choose_dtype

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def in_4_bits(precision: Literal["auto", "bf16", "float32"]) -> dict[str, object]:
    """Return what `from_pretrained` needs for NF4 weights on this process's GPU, or on the CPU.

    Raises:
        ConfigError: on Apple's GPU, or without bitsandbytes.
    """
    from importlib.util import find_spec

    import torch
    from transformers import BitsAndBytesConfig

    if choose_device() == "mps":
        raise ConfigError("training.quantization: 4bit needs a CUDA GPU or a CPU, found Apple's; leave it out")
    if find_spec("bitsandbytes") is None:
        raise ConfigError(
            "training.quantization: 4bit needs the package bitsandbytes; install it with: pip install 'muscle-llm[gpu]'"
        )
    dtype = choose_dtype(precision)
    quantized = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_quant_storage=dtype,  # so that FSDP can shard them beside the others
    )
    place = torch.cuda.current_device() if torch.cuda.is_available() else "cpu"
    return {"quantization_config": quantized, "device_map": {"": place}}


def prepare_4_bits(model: PreTrainedModel) -> None:
    """Keep 4-bit layers trainable on a CPU, and see by numbers that they are.

    bitsandbytes 0.50 changes a layer's layout for good when it first scores on a processor with AVX512-BF16; products
    with the other layout have no gradient and say nothing of it, and a base is trained on after it has scored.

    Raises:
        ConfigError: a layer's product or its gradient is not that of its weights.
    """
    import torch
    from bitsandbytes.functional import dequantize_4bit

    layers = [module for module in model.modules() if hasattr(getattr(module, "weight", None), "quant_state")]
    for layer in layers:
        layer.support_avx512bf16_for_cpu = False
    for layer in layers[:1]:
        weight = dequantize_4bit(layer.weight.data, layer.weight.quant_state).to(model.dtype)
        states = torch.ones(2, weight.shape[1], dtype=model.dtype, device=weight.device, requires_grad=True)
        with torch.no_grad():
            layer(states)  # what would change the layout
        product = layer(states)
        if product.requires_grad:
            product.sum().backward()
        found, expected = (product if layer.bias is None else product - layer.bias), states @ weight.T
        close = states.grad is not None and all(
            torch.allclose(one, other, rtol=0.02, atol=0.02)
            for one, other in ((found, expected), (states.grad, weight.sum(0).expand_as(states)))
        )
        if not close:
            raise ConfigError(
                "training.quantization: 4bit: the installed bitsandbytes computes wrong products or no gradient on "
                "this device; leave it out, or install another version"
            )
