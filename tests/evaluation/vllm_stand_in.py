"""A stand-in for vLLM: its interface, as far as lm-evaluation-harness and muscle use it, around a transformers model.

It is not vLLM. It has the names, signatures and refusals of vLLM 0.30 (`LLM.generate`, `SamplingParams`, `LoRARequest`,
`RequestOutput`), so that the harness's real vLLM model and muscle's code around it run from end to end without a GPU.
What vLLM computes, its kernels and its memory are not tested by it.
"""

from __future__ import annotations

import json
import sys
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, TypedDict

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

VERSION = "0.30.0"
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
engines: list[weakref.ref[LLM]] = []
"""Every engine that was started, alive or not."""
calls: list[tuple[int, LoRARequest | None]] = []
"""Number of prompts and adapter of every call of `LLM.generate`."""


class TokensPrompt(TypedDict):
    prompt_token_ids: list[int]


@dataclass
class SamplingParams:
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    stop: list[str] | None = None
    max_tokens: int | None = 16
    prompt_logprobs: int | None = None
    detokenize: bool = True
    skip_special_tokens: bool = True
    spaces_between_special_tokens: bool = True


@dataclass
class LoRARequest:
    lora_name: str
    lora_int_id: int
    lora_path: str = ""

    def __post_init__(self) -> None:
        if self.lora_int_id < 1:
            raise ValueError(f"id must be > 0, got {self.lora_int_id}")
        assert self.lora_path, "lora_path cannot be empty"


@dataclass
class Logprob:
    logprob: float
    rank: int | None = None
    decoded_token: str | None = None


@dataclass
class CompletionOutput:
    index: int
    text: str
    token_ids: Sequence[int]
    finish_reason: str | None = None


@dataclass
class RequestOutput:
    prompt_token_ids: list[int]
    prompt_logprobs: list[dict[int, Logprob] | None] | None
    outputs: list[CompletionOutput]
    finished: bool = True


class LLM:
    """One at a time, as on one GPU, whose memory an engine takes whole."""

    def __init__(
        self,
        model: str,
        *,
        tokenizer: str | None = None,
        tokenizer_mode: str = "auto",
        trust_remote_code: bool = False,
        tensor_parallel_size: int = 1,
        dtype: str = "auto",
        quantization: str | None = None,
        revision: str | None = None,
        tokenizer_revision: str | None = None,
        seed: int = 0,
        gpu_memory_utilization: float = 0.9,
        enforce_eager: bool = False,
        max_model_len: int | None = None,
        max_num_seqs: int | None = None,
        enable_lora: bool = False,
        max_lora_rank: int = 16,
        lora_target_modules: list[str] | None = None,
    ) -> None:
        if any(engine() is not None for engine in engines):
            raise ValueError("Free memory on device is less than desired GPU memory utilization")
        if max_lora_rank not in _RANKS:
            raise ValueError(f"max_lora_rank: Input should be {_RANKS}, found {max_lora_rank}")
        self._model: Any = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype)).eval()
        self._tokenizer = AutoTokenizer.from_pretrained(model)
        self._generator = torch.Generator().manual_seed(seed)
        self._lora = (enable_lora, max_lora_rank, lora_target_modules)
        self._adapters: dict[int, Any] = {}
        limit = max_model_len or self._model.config.max_position_embeddings
        self.llm_engine = SimpleNamespace(model_config=SimpleNamespace(max_model_len=limit))
        engines.append(weakref.ref(self))

    def generate(
        self,
        prompts: Sequence[TokensPrompt],
        sampling_params: Sequence[SamplingParams],
        *,
        use_tqdm: bool = True,
        lora_request: LoRARequest | None = None,
    ) -> list[RequestOutput]:
        assert not use_tqdm, "muscle shows its own progress"
        calls.append((len(prompts), lora_request))
        model = self._with(lora_request)
        return [
            self._answer(model, list(prompt["prompt_token_ids"]), params)
            for prompt, params in zip(prompts, sampling_params, strict=True)
        ]

    def _with(self, request: LoRARequest | None) -> Any:
        """An adapter is read once for its number, whatever path a later request of that number has."""
        if request is None:
            return self._model
        enabled, max_rank, modules = self._lora
        if not enabled:
            raise ValueError(f"Got lora_request {request} but LoRA is not enabled!")
        if request.lora_int_id not in self._adapters:
            config = json.loads((Path(request.lora_path) / "adapter_config.json").read_text())
            if config["r"] > max_rank:
                raise ValueError(f"LoRA rank {config['r']} is greater than max_lora_rank {max_rank}.")
            weights = load_file(Path(request.lora_path) / "adapter_model.safetensors")
            adapted = {key.partition(".lora_")[0].rpartition(".")[2] for key in weights}
            if modules is not None and not adapted <= set(modules):
                raise ValueError(f"expected target modules in {modules}, found {adapted}")
            base = AutoModelForCausalLM.from_pretrained(self._model.config._name_or_path, dtype=self._model.dtype)
            self._adapters[request.lora_int_id] = PeftModel.from_pretrained(base, request.lora_path).eval()
        return self._adapters[request.lora_int_id]

    def _answer(self, model: Any, prompt: list[int], params: SamplingParams) -> RequestOutput:
        limit = self.llm_engine.model_config.max_model_len
        assert params.max_tokens is not None and params.max_tokens >= 1
        if not 1 <= len(prompt) <= limit - 1:
            raise ValueError(f"The decoder prompt (length {len(prompt)}) is longer than {limit - 1}.")
        logits = self._logits(model, prompt)
        logprobs = None
        if params.prompt_logprobs is not None:
            logprobs = _prompt_logprobs(logits, prompt, params.prompt_logprobs)
        generator = self._generator if params.seed is None else torch.Generator().manual_seed(params.seed)
        ids: list[int] = []
        reason = "length"
        while len(ids) < params.max_tokens:
            ids.append(_draw((self._logits(model, prompt + ids) if ids else logits)[-1], params, generator))
            text = self._tokenizer.decode(ids, skip_special_tokens=params.skip_special_tokens)
            stops = [stop for stop in params.stop or () if stop in text]
            if ids[-1] == self._tokenizer.eos_token_id or stops:
                reason = "stop"
                for stop in stops:
                    text = text.split(stop)[0]
                break
        answer = CompletionOutput(0, text if params.detokenize else "", ids, reason)
        return RequestOutput(prompt, logprobs, [answer])

    @torch.no_grad()
    def _logits(self, model: Any, ids: list[int]) -> torch.Tensor:
        logits: torch.Tensor = model(torch.tensor([ids]), use_cache=False).logits[0].float()
        return logits


def _prompt_logprobs(logits: torch.Tensor, prompt: list[int], count: int) -> list[dict[int, Logprob] | None]:
    found: list[dict[int, Logprob] | None] = [None]
    for row, token in zip(logits.log_softmax(-1)[:-1], prompt[1:], strict=True):
        best = row.topk(count).indices.tolist()
        found.append({each: Logprob(row[each].item(), int((row > row[each]).sum()) + 1) for each in (token, *best)})
    return found


def _draw(logits: torch.Tensor, params: SamplingParams, generator: torch.Generator) -> int:
    assert (params.top_k, params.top_p) == (0, 1.0), "the stand-in draws from the whole vocabulary"
    if params.temperature == 0:
        return int(logits.argmax())
    return int(torch.multinomial((logits / params.temperature).softmax(-1), 1, generator=generator))


def _get_tokenizer(name: str, **_: Any) -> Any:
    return AutoTokenizer.from_pretrained(name)


def install(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Put the stand-in in vLLM's place while a test runs.

    Args:
        monkeypatch: undoes it.
        folder: an empty folder for the package's metadata, which tell its version.
    """
    information = folder / f"vllm-{VERSION}.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {VERSION}\n")
    monkeypatch.syspath_prepend(str(folder))
    contents: dict[str, dict[str, Any]] = {
        "vllm": {"LLM": LLM, "SamplingParams": SamplingParams, "TokensPrompt": TokensPrompt},
        "vllm.distributed": {"cleanup_dist_env_and_memory": lambda: None},
        "vllm.lora": {},
        "vllm.lora.request": {"LoRARequest": LoRARequest},
        "vllm.renderers": {},
        "vllm.renderers.hf": {"resolve_chat_template": lambda **_: None},
        "vllm.tokenizers": {"get_tokenizer": _get_tokenizer},
    }
    for name, names in contents.items():
        module = ModuleType(name)
        module.__dict__.update(names, __spec__=ModuleSpec(name, None), __path__=[])
        monkeypatch.setitem(sys.modules, name, module)
    engines.clear()
    calls.clear()
