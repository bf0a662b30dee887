import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config

from muscle.training.layers.lora_layer import one_step_lora
from tiny.bases import SIZES

IDS = torch.tensor([[3, 4, 5, 6, 7], [8, 9, 10, 11, 12]])


def adapted(config=None, **lora):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config or LlamaConfig(**SIZES)).requires_grad_(False)
    settings = {"r": 4, "lora_alpha": 6, "target_modules": "all-linear", "init_lora_weights": False, **lora}
    return get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **settings))


def logits_and_gradients(model, *, narrow=False):
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
        logits = model(input_ids=IDS, use_cache=False).logits
    logits.float().log_softmax(-1)[..., 7].sum().backward()
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    return logits.detach(), {name: value.grad.clone() for name, value in trained.items()}


def nodes(model):
    """Names of the steps in the graph of a forward pass."""
    waiting, seen = [model(input_ids=IDS, use_cache=False).logits.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [inner for inner, _ in node.next_functions]
    return [node.name() for node in seen]


def num_single_steps(model):
    with one_step_lora(model):
        return sum("LoraLinear" in name for name in nodes(model))


@pytest.mark.parametrize(
    "config", [LlamaConfig(**SIZES), Qwen2Config(**SIZES, num_key_value_heads=2)], ids=["no bias", "bias"]
)
def test_logits_and_gradients_are_pefts_in_float64(config):
    model = adapted(config).double()
    expected, expected_gradients = logits_and_gradients(model)
    with one_step_lora(model):
        assert num_single_steps(model) == 14
        found, gradients = logits_and_gradients(model)
    torch.testing.assert_close(found, expected)
    assert gradients.keys() == expected_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected_gradients[name])


def test_under_autocast_it_is_as_near_to_float32_as_peft():
    wide = adapted()
    exact, exact_gradients = logits_and_gradients(wide)
    narrow = adapted()
    narrow.load_state_dict(wide.state_dict())
    narrow.get_base_model().to(torch.bfloat16)
    for parameter in narrow.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()

    def distances():
        found, gradients = logits_and_gradients(narrow, narrow=True)
        assert all(gradient.dtype == torch.float32 for gradient in gradients.values())
        gap = sum(float((gradients[name] - exact_gradients[name]).norm()) for name in gradients)
        return float((found.float() - exact).norm()), gap

    expected = distances()
    with one_step_lora(narrow):
        found = distances()
    assert found != expected, "another way of computing rounds otherwise"
    assert all(ours < 1.2 * theirs for ours, theirs in zip(found, expected, strict=True))


def test_mixed_dtypes_without_autocast_are_left_to_peft():
    model = adapted()
    model.get_base_model().to(torch.bfloat16)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    expected, _ = logits_and_gradients(model)
    with one_step_lora(model):
        found, _ = logits_and_gradients(model)
    assert torch.equal(found, expected)


@pytest.mark.filterwarnings("ignore:`lora_bias=True`")
@pytest.mark.parametrize("lora", [{"lora_dropout": 0.1}, {"use_dora": True}, {"lora_bias": True}])
def test_layers_that_are_not_plain_stay_as_they_are(lora):
    assert num_single_steps(adapted(**lora)) == 0


def test_a_disabled_and_a_merged_adapter_stay_as_they_are():
    model = adapted()
    with model.disable_adapter():
        assert all("LoraLinear" not in name for name in _names_without_gradient(model))
    model.merge_adapter()
    assert all("LoraLinear" not in name for name in _names_without_gradient(model))


def _names_without_gradient(model):
    model.get_base_model().get_input_embeddings().requires_grad_(True)
    with one_step_lora(model):
        return nodes(model)


def test_the_layers_are_pefts_again_afterwards_even_after_an_error():
    model = adapted()
    with pytest.raises(RuntimeError, match="stop"), one_step_lora(model):
        raise RuntimeError("stop")
    assert all("LoraLinear" not in name for name in nodes(model))
    assert all("forward" not in vars(module) for module in model.modules())
