import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    FalconConfig,
    Gemma2Config,
    GemmaConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GraniteConfig,
    LlamaConfig,
    OPTConfig,
    PhiConfig,
    Qwen2Config,
    Qwen3Config,
)

from muscle.errors import ModelError
from muscle.training.data.batches import model_inputs
from muscle.training.head.output_head import (
    ChunkBuffers,
    OutputHead,
    head_input,
    output_head,
    reproduces_logits,
)
from muscle.training.head.usable_head import usable_head
from muscle.training.teachers.choose_engine import choose_engine

SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 1,
}
CONFIGS = {
    "llama": LlamaConfig(**SIZES),
    "llama, tied": LlamaConfig(**SIZES, tie_word_embeddings=True),
    "gpt-neox": GPTNeoXConfig(**SIZES),
    "phi": PhiConfig(**SIZES),
    "qwen2": Qwen2Config(**SIZES),
    "qwen3": Qwen3Config(**SIZES),
    "gemma": GemmaConfig(**SIZES),
    "gemma2": Gemma2Config(**SIZES, final_logit_softcapping=0.5),
    "cohere": CohereConfig(**SIZES, logit_scale=0.25),
    "granite": GraniteConfig(**SIZES, logits_scaling=8.0),
    "gpt2": GPT2Config(vocab_size=50, n_positions=32, n_embd=16, n_layer=2, n_head=2, pad_token_id=0),
    "opt": OPTConfig(
        vocab_size=50,
        hidden_size=16,
        word_embed_proj_dim=8,
        ffn_dim=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=32,
    ),
    "falcon": FalconConfig(vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2),
}
BATCH = {
    "input_ids": torch.tensor([[3, 4, 5, 6, 7], [8, 9, 10, 0, 0]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
}


def base_model(name):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIGS[name])
    for parameter in model.parameters():  # biases start at zero, which would hide them
        nn.init.normal_(parameter, std=0.3)
    return model.requires_grad_(False).eval()


def with_adapter(model, *, targets="all-linear"):
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=4,
        target_modules=targets,
        init_lora_weights=False,
        fan_in_fan_out=isinstance(model, GPT2LMHeadModel),
    )
    return get_peft_model(model, config)


@pytest.mark.parametrize("name", CONFIGS)
def test_head_on_states_gives_the_models_logits_in_every_family_with_an_adapter(name):
    model = with_adapter(base_model(name)).eval()
    head = usable_head(model, [3, 4, 5])
    logits = model(**model_inputs(BATCH)).logits
    states = head_input(model, BATCH)
    assert states.shape == (2, 5, head.weight.shape[1])
    with torch.no_grad():
        found, top = head.logits(states.flatten(0, 1), ChunkBuffers(head, 10))
    assert torch.allclose(found, logits.flatten(0, 1), atol=1e-5)
    assert torch.equal(top, logits.flatten(0, 1).argmax(-1))


@pytest.mark.parametrize("name", ["llama", "gpt-neox", "phi", "gemma2"])
def test_states_carry_the_adapters_gradient(name):
    model = with_adapter(base_model(name))
    head = output_head(model)
    gradients = []
    for states_to_logits in (True, False):
        model.zero_grad()
        if states_to_logits:
            raw = head_input(model, BATCH) @ head.weight.T
            raw = raw if head.bias is None else raw + head.bias
            logits = raw if head.softcap is None else head.softcap * torch.tanh(raw / head.softcap)
        else:
            logits = model(**model_inputs(BATCH)).logits
        logits.sin().sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) > 0
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*gradients, strict=True))


def test_the_model_is_itself_again_after_its_head_was_left_out():
    model = base_model("llama")
    before = model(**model_inputs(BATCH)).logits
    head_input(model, BATCH)
    with pytest.raises(ValueError, match="input_ids"):  # a pass that fails
        head_input(model, {"input_ids": None, "attention_mask": None})
    assert torch.equal(model(**model_inputs(BATCH)).logits, before)


def test_what_hangs_on_the_head_is_not_called_and_its_weights_can_be_asked_for():
    model = base_model("llama")
    called = []
    model.lm_head.register_forward_pre_hook(lambda *_: called.append("head"))
    model.lm_head.register_forward_hook(lambda *_: called.append("head"))
    dtypes = []
    model.model.register_forward_hook(lambda *_: dtypes.append(model.lm_head.weight.dtype))
    head_input(model, BATCH)
    assert (called, dtypes) == ([], [torch.float32])


def test_a_trained_or_adapted_head_is_refused():
    model = base_model("llama")
    model.lm_head.weight.requires_grad_(True)
    with pytest.raises(ModelError, match="expected frozen weights, found trained ones"):
        output_head(model)
    adapted = with_adapter(base_model("llama"), targets=["q_proj", "lm_head"])
    with pytest.raises(ModelError, match="expected a plain linear layer, found Linear"):
        output_head(adapted)


def test_a_model_that_does_something_else_to_its_logits_is_noticed():
    model = base_model("llama")
    head = output_head(model)
    assert reproduces_logits(model, head, BATCH)
    plain = type(model).forward

    class Other(type(model)):
        def forward(self, *args, **kwargs):
            output = plain(self, *args, **kwargs)
            output.logits = output.logits * 1.01
            return output

    model.__class__ = Other
    assert not reproduces_logits(model, head, BATCH)
    with pytest.raises(ModelError, match="does not give the model's logits"):
        usable_head(model, [3, 4, 5])


def test_bfloat16_heads_are_recognised():
    for name in ("llama", "phi", "gemma2", "granite"):
        model = base_model(name).bfloat16()
        assert reproduces_logits(model, output_head(model), BATCH)


def test_the_engine_falls_back_where_a_model_does_not_allow_it(caplog):
    plain, capped = base_model("llama"), base_model("gemma2")
    trained = base_model("llama")
    trained.lm_head.weight.requires_grad_(True)

    def choose(wanted, student, old, new):
        return choose_engine(wanted, student=student, old=old, new=new, sample=[3, 4, 5, 6])[0]

    assert choose("projected", plain, capped, plain) == "projected"  # the old model's cap is its own affair
    assert choose("projected", capped, plain, capped) == "hidden"
    assert choose("hidden", plain, plain, plain) == "hidden"
    assert choose("online", plain, plain, plain) == "online"
    assert choose("projected", trained, plain, plain) == "online"
    assert "found trained ones; the online engine is used" in caplog.text


@pytest.mark.parametrize("vocab", [3, 256, 300, 1024, 1100])
def test_the_largest_logit_is_found_wherever_it_stands_and_the_first_of_equals(vocab):
    torch.manual_seed(3)
    head = OutputHead(torch.randn(vocab, 4))
    states = torch.randn(200, 4)
    states[::2] = head.weight[torch.randint(vocab, (100,))] * 5
    head.weight[vocab // 2 :: 7] = head.weight[vocab // 3].clone()  # equals
    logits, top = head.logits(states, ChunkBuffers(head, len(states)))
    assert torch.equal(top, logits.argmax(-1))
    assert len(top.unique()) > min(vocab, 20) / 2
