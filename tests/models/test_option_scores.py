from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    Qwen2Config,
)

from muscle.errors import ModelError
from muscle.models.option_scores import fits, option_log_likelihoods, reads_trees, whole_head
from muscle.models.option_tree import option_tree
from tiny.bases import SIZES

WINDOW = 8
HEADS = {"num_key_value_heads": 2, "head_dim": 8}
CONFIGS = {
    "llama": LlamaConfig(**SIZES),
    "qwen2": Qwen2Config(**SIZES, num_key_value_heads=2),
    "gemma2": Gemma2Config(**SIZES, **HEADS, final_logit_softcapping=2.0, sliding_window=64, query_pre_attn_scalar=8),
    "gemma3": Gemma3TextConfig(
        **SIZES, **HEADS, sliding_window=WINDOW, layer_types=["sliding_attention", "full_attention"]
    ),
    "mistral": MistralConfig(**SIZES, **HEADS, sliding_window=WINDOW),
    "cohere": CohereConfig(**SIZES, logit_scale=0.3),
    "gpt2": GPT2Config(vocab_size=50, n_embd=32, n_layer=2, n_head=4, n_positions=128),
}
CONTEXT = [7, 8, 9, 7]
OPTIONS = [[1, 2, 3, 4], [1, 2, 5], [1, 2], [6], [6], [11, 12, 13, 14, 15, 16, 17], [1, 2, 3, 4], [21]]
TREES = [option_tree(CONTEXT, OPTIONS), option_tree([3], [[4]]), option_tree([20, 21], [[4, 3], [3, 4]])]


def tiny(name, *, attention="sdpa", adapter=False, seed=0):
    torch.manual_seed(seed)
    config = deepcopy(CONFIGS[name])
    config.pad_token_id, config.bos_token_id, config.eos_token_id = 0, 1, 1
    config.initializer_range = 0.2
    config._attn_implementation = "eager" if name == "gemma2" else attention  # it knows no other
    model = AutoModelForCausalLM.from_config(config).eval()
    # Freshly made biases are zero, and scales one.
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    if adapter:
        lora = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
        model = get_peft_model(model, lora).eval()
    return model


def plain(model, tree):
    """One option after the other, by the model's own logits."""
    context = list(tree.input_ids[: tree.num_context])
    values = []
    for option in tree.options():
        ids = torch.tensor([context + option])
        logits = model(ids).logits
        log_p = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)[0, :-1]
        values.append(log_p.gather(1, ids[0, 1:, None])[len(context) - 1 :].sum())
    return torch.stack(values)


def by_tree(model, trees, **options):
    return option_log_likelihoods(model, trees, pad_token_id=0, **options)


@pytest.mark.parametrize("adapter", [False, True])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_a_batch_of_unequal_trees_gives_the_plain_likelihoods(name, attention, adapter):
    model = tiny(name, attention=attention, adapter=adapter and name != "gpt2")
    for found, tree in zip(by_tree(model, TREES), TREES, strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, plain(model, tree), rtol=1e-6, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    context=st.lists(st.integers(2, 5), min_size=1, max_size=6),
    options=st.lists(st.lists(st.integers(2, 5), min_size=1, max_size=5), min_size=1, max_size=9),
)
@torch.no_grad()
def test_any_options_get_their_plain_likelihoods(context, options):
    model, tree = tiny("llama"), option_tree(context, options)
    torch.testing.assert_close(by_tree(model, [tree])[0], plain(model, tree), rtol=1e-6, atol=1e-5)


@torch.no_grad()
def test_a_16_bit_model_gives_the_plain_likelihoods_to_its_rounding():
    model = tiny("llama").to(torch.bfloat16)
    found, expected = by_tree(model, TREES[:1])[0], plain(model, TREES[0])
    exact = plain(deepcopy(model).double(), TREES[0])
    assert found.dtype == torch.float32
    assert (found - exact).norm() < 1.5 * (expected - exact).norm()


@torch.no_grad()
def test_the_adapter_counts_and_can_be_switched_off():
    model = tiny("llama", adapter=True)
    adapted = by_tree(model, TREES)[0]
    with model.disable_adapter():
        bare = by_tree(model, TREES)[0]
        torch.testing.assert_close(bare, plain(model, TREES[0]), rtol=1e-6, atol=1e-5)
    assert (adapted - bare).abs().max() > 0.1


def with_exact_norms(model):
    """transformers' norms compute in float32, whatever the model's precision."""
    for holder in list(model.modules()):
        for name, norm in holder.named_children():
            if type(norm).__name__.endswith("RMSNorm"):
                exact = nn.RMSNorm(norm.weight.shape, eps=norm.variance_epsilon, dtype=torch.float64)
                exact.weight = norm.weight
                setattr(holder, name, exact)


@pytest.mark.parametrize("memory_bytes", [1, 5000, 2**20])
@pytest.mark.parametrize("name", ["llama", "gemma2", "gemma3", "qwen2"])
def test_gradients_are_those_of_the_plain_sum(name, memory_bytes):
    model = tiny(name, adapter=True).double()
    if exact := name in ("llama", "qwen2"):
        with_exact_norms(model)
    weights = [torch.randn(len(tree.paths), dtype=torch.float64) for tree in TREES]

    def gradients(values):
        total = sum((value.square() * weight).sum() for value, weight in zip(values, weights, strict=True))
        learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
        return total, torch.autograd.grad(total, learnt)

    total, found = gradients(by_tree(model, TREES, memory_bytes=memory_bytes))
    expected_total, expected = gradients([plain(model, tree) for tree in TREES])
    close = 1e-9 if exact else 1e-5
    torch.testing.assert_close(total, expected_total, rtol=close, atol=close)
    for mine, theirs in zip(found, expected, strict=True):
        assert (mine - theirs).norm() <= close * theirs.norm()


def test_a_trained_head_gets_its_gradient_too():
    model = tiny("llama").double().requires_grad_(True)
    head = model.get_output_embeddings().weight
    (found,) = torch.autograd.grad(sum(value.sum() for value in by_tree(model, TREES, memory_bytes=1)), head)
    (expected,) = torch.autograd.grad(sum(plain(model, tree).sum() for tree in TREES), head)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", ["llama", "cohere", "gemma2"])
def test_a_whole_head_stays_when_the_models_own_is_let_go(name):
    model = tiny(name, adapter=True)
    expected = option_log_likelihoods(model, TREES, pad_token_id=0)
    head = whole_head(model)
    own = model.get_base_model().get_output_embeddings().weight
    assert head.weight.data_ptr() == own.data_ptr()
    if name == "llama":  # the others' embeddings are the very same tensor
        own.data = own.data.new_empty(0)
    for found, value in zip(option_log_likelihoods(model, TREES, pad_token_id=0, head=head), expected, strict=True):
        torch.testing.assert_close(found, value, rtol=0, atol=0)


def test_a_head_that_is_trained_has_no_whole_copy():
    model = get_peft_model(tiny("llama"), LoraConfig(r=4, target_modules=["q_proj", "lm_head"]))
    assert whole_head(model) is None


def test_the_vocabulary_is_seen_a_chunk_at_a_time():
    model, sizes = tiny("llama"), []
    model.lm_head.register_forward_hook(lambda _, __, output: sizes.append(len(output)))
    nodes = sum(len({edge.node for edge in tree.edges}) for tree in TREES)
    for memory_bytes, largest in ((1, 1), (5 * 50 * 12, 5)):
        with torch.no_grad():
            by_tree(model, TREES, memory_bytes=memory_bytes)
        assert sum(sizes) == nodes and max(sizes) == largest
        sizes.clear()


@torch.no_grad()
def test_option_by_option_is_the_same_in_passes_that_are_no_larger():
    model, shapes = tiny("llama"), []
    model.model.embed_tokens.register_forward_hook(lambda _, __, output: shapes.append(output.shape[:2].numel()))
    whole = by_tree(model, TREES)
    largest = max(shapes)
    found = by_tree(model, TREES, option_by_option=True)
    torch.testing.assert_close(found, whole, rtol=1e-6, atol=1e-5)
    assert len(shapes) > 3 and max(shapes) <= largest


@pytest.mark.parametrize(
    ("name", "changed", "fit"),
    [
        ("llama", {}, True),
        ("qwen2", {"use_sliding_window": False, "sliding_window": 4}, True),
        ("gemma3", {}, False),
        ("gemma3", {"sliding_window": 10}, True),
        ("mistral", {}, False),
        ("mistral", {"sliding_window": None}, True),
        ("llama", {"_attn_implementation": "flash_attention_2"}, False),
        ("llama", {"_attn_implementation": "flex_attention"}, False),
    ],
)
def test_what_a_configuration_rules_out_goes_option_by_option(name, changed, fit):
    config = deepcopy(CONFIGS[name])
    for key, value in changed.items():
        setattr(config, key, value)
    assert TREES[0].depth == 10
    assert fits(config, TREES[0]) is fit
    assert fits(config, TREES[2]) is (fit or not changed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["llama", "qwen2", "gemma2", "cohere", "gpt2"])
def test_models_that_see_as_they_are_told_read_trees(name, dtype):
    model = tiny(name).to(dtype).train()
    assert reads_trees(model, range(2, 30), pad_token_id=0)
    assert model.training


def test_a_state_that_runs_through_the_tokens_reads_no_tree():
    config = MambaConfig(vocab_size=50, hidden_size=32, num_hidden_layers=2, state_size=4)
    assert not reads_trees(AutoModelForCausalLM.from_config(config), range(2, 30), pad_token_id=0)


class OfItsOwnMind(nn.Module):
    """Leaves out what its model is told."""

    def __init__(self, layer, name):
        super().__init__()
        self.layer, self.name = layer, name

    def forward(self, *args, **told):
        return self.layer(*args, **{**told, self.name: None})


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_that_leaves_out_the_mask_reads_no_tree(dtype):
    model = tiny("llama").to(dtype)
    for layer in model.model.layers:
        layer.self_attn = OfItsOwnMind(layer.self_attn, "attention_mask")
    assert not reads_trees(model, range(2, 30), pad_token_id=0)


class InOrder(nn.Module):
    """Counts the tokens itself."""

    def __init__(self, places):
        super().__init__()
        self.places = places

    def forward(self, states, position_ids):
        return self.places(states, torch.arange(states.shape[1]).expand_as(position_ids))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_that_leaves_out_the_places_reads_no_tree(dtype):
    model = tiny("llama").to(dtype)
    model.model.rotary_emb = InOrder(model.model.rotary_emb)
    assert not reads_trees(model, range(2, 30), pad_token_id=0)


def test_a_model_that_changes_its_logits_in_unknown_ways_is_refused():
    model = tiny("llama")
    model.register_forward_hook(lambda _, __, output: type(output)(logits=output.logits * 2))
    with pytest.raises(ModelError, match="does not give the model's logits"):
        reads_trees(model, range(2, 30), pad_token_id=0)


def test_no_trees_have_no_likelihoods():
    assert by_tree(tiny("llama"), []) == []


@pytest.mark.parametrize("name", ["llama", "gemma3", "mistral"])
@torch.no_grad()
def test_options_of_one_token_need_no_mask(name):
    model, told = tiny(name), []
    model.model.register_forward_pre_hook(lambda _, __, given: told.append(given), with_kwargs=True)
    trees = [option_tree(list(range(2, 20)), [[4], [5], [6]]), option_tree([3], [[4], [7]])]
    found = by_tree(model, trees)
    assert len(told) == 1 and told[0].get("attention_mask") is None
    for values, tree in zip(found, trees, strict=True):
        torch.testing.assert_close(values, plain(model, tree), rtol=1e-6, atol=1e-5)
