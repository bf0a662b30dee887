import math

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import (
    AutoModelForCausalLM,
    FalconConfig,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
)

from muscle.training.data.batches import PackingCollator, PaddingCollator, model_inputs
from muscle.training.layers.attention import KEPT, LONGEST, block_attention, causal_attention
from tiny.bases import SIZES

CONFIGS = {
    "llama, grouped heads": LlamaConfig(**SIZES, num_key_value_heads=2),
    "qwen2": Qwen2Config(**SIZES, num_key_value_heads=1),
    "gpt-neox": GPTNeoXConfig(**SIZES),
}


def model_of(name, dtype=torch.bfloat16):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(CONFIGS[name]).to(dtype)


def heads(count, seq, *, dtype=torch.float64):
    return torch.randn(2, seq, count, 8, dtype=dtype).transpose(1, 2).requires_grad_()


@pytest.mark.parametrize(
    ("query_heads", "key_heads", "seq"), [(4, 4, 7), (6, 2, 5), (3, 1, 1), (6, 2, 150), (4, 2, KEPT + 150)]
)
def test_value_and_gradient_are_those_of_torchs_attention(query_heads, key_heads, seq):
    torch.manual_seed(1)
    states = heads(query_heads, seq), heads(key_heads, seq), heads(key_heads, seq)
    outer = torch.randn(2, query_heads, seq, 8, dtype=torch.float64)
    found = causal_attention(*states, 0.3)
    expected = scaled_dot_product_attention(*states, is_causal=True, scale=0.3, enable_gqa=True)
    torch.testing.assert_close(found, expected)
    for ours, theirs in zip(
        torch.autograd.grad(found, states, outer), torch.autograd.grad(expected, states, outer), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def distance(model, exact, ids):
    """How far a model's logits and its embedding's gradient are from another's, relative."""
    gaps = []
    results = []
    for each in (model, exact):
        each.zero_grad()
        logits = each(input_ids=ids, use_cache=False).logits
        logits.float().square().mean().backward()
        results.append((logits.detach().float(), each.get_input_embeddings().weight.grad.float()))
    for ours, theirs in zip(*results, strict=True):
        gaps.append(float((ours - theirs).norm() / theirs.norm()))
    return gaps


@pytest.mark.parametrize("seq", [40, KEPT + 150])
@pytest.mark.parametrize("name", CONFIGS)
def test_a_bf16_model_is_as_near_to_float32_as_with_the_fused_kernel(name, seq):
    model = model_of(name)
    exact = model_of(name, torch.float32)
    exact.load_state_dict({key: value.float() for key, value in model.state_dict().items()})
    ids = torch.randint(0, 50, (3, seq))
    fused = distance(model, exact, ids)
    with block_attention(model):
        assert model.config._attn_implementation != "sdpa"
        short = distance(model, exact, ids)
    assert short != fused, "another way of computing rounds otherwise"
    for ours, theirs in zip(short, fused, strict=True):
        assert ours < 1.3 * theirs + 1e-6


def logits_with_and_without(model, batch):
    with torch.no_grad():
        expected = model(**model_inputs(batch)).logits
        with block_attention(model):
            found = model(**model_inputs(batch)).logits
    return found, expected


def test_long_sequences_and_packed_rows_and_float32_take_the_fused_kernel():
    model = model_of("llama, grouped heads")
    long = {"input_ids": torch.randint(0, 50, (1, LONGEST + 1))}
    packed = PackingCollator()([{"input_ids": [3, 4, 5]}, {"input_ids": [6, 7, 8, 9]}])
    wide = model_of("llama, grouped heads", torch.float32)
    for each, batch in ((model, long), (model, packed), (wide, {"input_ids": long["input_ids"][:, :30]})):
        found, expected = logits_with_and_without(each, batch)
        assert torch.equal(found, expected)


def test_a_sliding_window_goes_to_the_fused_kernel_with_its_mask():
    torch.manual_seed(0)
    config = MistralConfig(**SIZES, num_key_value_heads=2, sliding_window=8)
    model = AutoModelForCausalLM.from_config(config).to(torch.bfloat16)
    ids = torch.randint(0, 50, (1, 40))
    found, expected = logits_with_and_without(model, {"input_ids": ids})
    assert torch.equal(found, expected)
    within, kernel = logits_with_and_without(model, {"input_ids": ids[:, :7]})
    torch.testing.assert_close(within, kernel, atol=0.02, rtol=0.02)


def test_the_models_own_attention_comes_back_after_an_error():
    model = model_of("gpt-neox")
    with pytest.raises(RuntimeError, match="stop"), block_attention(model):
        raise RuntimeError("stop")
    assert model.config._attn_implementation == "sdpa"


def test_a_model_with_an_attention_of_its_own_is_left_alone():
    torch.manual_seed(0)
    config = FalconConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    own = AutoModelForCausalLM.from_config(config).to(torch.bfloat16)
    eager = AutoModelForCausalLM.from_config(CONFIGS["qwen2"], attn_implementation="eager")
    for model in (own, eager.to(torch.bfloat16)):
        before = model.config._attn_implementation
        found, expected = logits_with_and_without(model, {"input_ids": torch.randint(0, 50, (1, 9))})
        assert torch.equal(found, expected)
        assert model.config._attn_implementation == before


@pytest.mark.parametrize("name", CONFIGS)
def test_padding_on_the_right_needs_no_mask(name):
    model = model_of(name, torch.float32)
    batch = PaddingCollator(0)([{"input_ids": [3, 4, 5, 6, 7, 8]}, {"input_ids": [9, 10, 11]}])
    inputs = model_inputs(batch)
    assert "attention_mask" not in inputs
    real = batch["attention_mask"].bool()
    with torch.no_grad():
        found = model(**inputs).logits[real]
        expected = model(**inputs, attention_mask=batch["attention_mask"]).logits[real]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_padding_on_the_left_keeps_its_mask():
    batch = {"input_ids": torch.tensor([[0, 0, 3, 4]]), "attention_mask": torch.tensor([[0, 0, 1, 1]])}
    assert model_inputs(batch)["attention_mask"] is batch["attention_mask"]


def test_attention_weights_sum_to_one_over_what_came_before():
    values = torch.arange(6, dtype=torch.float64).view(1, 1, 6, 1)
    flat = torch.zeros(1, 1, 6, 4, dtype=torch.float64)
    found = causal_attention(flat, flat, values, 1.0).flatten().tolist()
    assert all(math.isclose(value, place / 2) for place, value in enumerate(found))
