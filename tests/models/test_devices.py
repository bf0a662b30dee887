"""Which dtype a precision is, and that a slow one is told of and done all the same."""

import platform

import pytest
import torch

from muscle.models.devices import choose_dtype, slow_precision, warn_if_slow


@pytest.fixture
def processor(monkeypatch):
    """Return a function that makes this a machine without a GPU, whose processor has bf16 or not."""

    def make(kind, *, bf16):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16)
        monkeypatch.setattr(platform, "machine", lambda: kind)

    return make


def test_bf16_on_a_processor_without_it_is_told_and_not_changed(processor, caplog):
    processor("x86_64", bf16=False)
    warn_if_slow("bf16")
    assert "this processor has no instructions for it" in caplog.text and "precision auto takes float32" in caplog.text
    assert choose_dtype("bf16") == torch.bfloat16
    assert choose_dtype("auto") == torch.float32


def test_bf16_on_a_gpu_before_ampere_is_told(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    assert "this GPU is older than Ampere" in slow_precision("bf16")
    assert choose_dtype("auto") == torch.float32


@pytest.mark.parametrize(
    ("kind", "bf16", "precision"),
    [("x86_64", True, "bf16"), ("x86_64", False, "float32"), ("x86_64", False, "auto"), ("aarch64", False, "bf16")],
)
def test_nothing_is_said_where_the_hardware_computes_in_it_or_where_nobody_knows(kind, bf16, precision, processor):
    processor(kind, bf16=bf16)
    assert slow_precision(precision) is None
