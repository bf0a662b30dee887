"""A base in vLLM: one engine, whose adapters are switched from call to call.

vLLM reads base and adapters from disk and knows of LoRA what its `PEFTHelper` reads; what it would leave out
without a word (a rank or scale of single layers) is refused, because the scores would be another adapter's.
"""

from __future__ import annotations

import gc
import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from muscle import distributed
from muscle.config.settings import BaseConfig
from muscle.errors import ConfigError, ModelError
from muscle.evaluation.harness import SCORING_PACKAGES, check_task, quiet_harness, score
from muscle.evaluation.sampling import Sampling
from muscle.models.adapter_check import check_adapter
from muscle.models.base_files import reason_of, resolve_base
from muscle.models.bases import load_outline
from muscle.models.devices import choose_dtype
from muscle.predictions.run import Run
from muscle.provenance import package_versions
from muscle.shipping.lines import RANKS, UNSERVED
from muscle.tasks.task import Example, Task

if TYPE_CHECKING:
    from muscle.evaluation.vllm_lm import VllmLM

logger = logging.getLogger(__name__)


def check_vllm(bases: Iterable[BaseConfig], tasks: Iterable[Task]) -> None:
    """Refuse what vLLM cannot score, before anything is loaded.

    Raises:
        ConfigError: vLLM is not installed, or a task generates in a way that it does not know.
        ModelError: a base is a GGUF file.
    """
    if find_spec("vllm") is None:
        raise ConfigError(
            "evaluation.backend: vllm needs the package vllm; install it with: pip install 'muscle-llm[vllm]'"
        )
    for base in bases:
        if base.base.endswith(".gguf"):
            raise ModelError(
                f"base {base.base}: vLLM puts no adapter on a GGUF file; expected a folder or hub name with "
                "safetensors, or evaluation.backend hf"
            )
    for task in tasks:
        if task.prompt.chat_template:
            raise ConfigError(
                f"task {task.name}: vLLM does not score in a chat template here; expected evaluation.backend hf"
            )
        if task.generation is not None and task.generation.no_repeat_ngram_size:
            raise ConfigError(
                f"task {task.name}: generates with no_repeat_ngram_size, which vLLM does not have; expected 0, or "
                "evaluation.backend hf"
            )


def check_one_process() -> None:
    """Refuse to start vLLM in one of several processes, which would wait for it, holding their GPUs.

    Raises:
        ConfigError: a launcher started several.
    """
    if distributed.num_processes() > 1:
        raise ConfigError(
            f"evaluation.backend: vllm scores in one process, found {distributed.num_processes()}; run the same "
            "command without the launcher (what is trained stays; evaluation.vllm.tensor_parallel_size takes "
            "several GPUs)"
        )


class VllmBase:
    """A base in an engine of vLLM, with the adapters that may be asked for.

    Attributes:
        fingerprint: of the base's files.
        source: what the user named.

    Raises:
        ConfigError: see `check_vllm` and `check_one_process`; or a setting does not fit the adapters.
        ModelError: an adapter is damaged, made for another base, or not one that vLLM serves; vLLM does not
            load the base.
    """

    def __init__(
        self,
        base: BaseConfig,
        adapters: Sequence[Path],
        *,
        precision: Literal["auto", "bf16", "float32"] = "auto",
        arguments: Mapping[str, object] | None = None,
    ) -> None:
        check_vllm([base], [])
        check_one_process()
        outline = load_outline(base)
        if outline.tokenizer.eos_token_id is None:
            raise ModelError("tokenizer: expected an end-of-text token (eos_token), found none")
        for adapter in adapters:
            check_adapter(outline, adapter)
        self.fingerprint, self.source = outline.fingerprint, outline.source
        self._architecture = type(outline.model).__name__
        self._numbers = {adapter: number for number, adapter in enumerate(dict.fromkeys(adapters), start=1)}
        dtype = str(choose_dtype(precision)).removeprefix("torch.")
        self._lm: VllmLM | None = self._load(base, {"dtype": dtype, **(arguments or {})})

    def _load(self, base: BaseConfig, arguments: dict[str, object]) -> VllmLM:
        adapters = list(self._numbers)
        if adapters:
            asked = arguments.get("max_lora_rank")
            if asked is not None and not isinstance(asked, int):
                raise ConfigError(f"evaluation.vllm.max_lora_rank: expected a whole number, found {asked!r}")
            arguments["max_lora_rank"] = lora_rank(adapters, asked)
            arguments["lora_local_path"] = str(adapters[0])
            # vLLM would put LoRA on the head as well, whose rows are not those of `prompt_logprobs`: on a CPU
            # it stops there.
            arguments.setdefault("lora_target_modules", adapted_modules(adapters))
            _check_precision(str(arguments["dtype"]))
        self._dtype = str(arguments["dtype"])
        logger.info("starting vLLM with the base %s", self.source)
        # vLLM writes its messages to standard output, where --json has its own.
        os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        try:
            with quiet_harness():
                from muscle.evaluation.vllm_lm import VllmLM

                return VllmLM(
                    pretrained=str(resolve_base(base)),
                    trust_remote_code=base.trust_remote_code,
                    **arguments,
                )
        except Exception as error:  # a wrong argument, no memory, no kernel for this machine: vLLM raises many kinds
            raise ModelError(f"base {self.source}: vLLM does not load it ({reason_of(error)})") from error

    def evaluate(
        self,
        adapter: Path | None,
        task: Task,
        examples: Sequence[Example],
        *,
        name: str,
        sampling: Sampling | None = None,
        progress: bool = True,
    ) -> Run:
        """Score the base with one of its adapters, or bare; the records are those of `harness.evaluate`.

        Raises:
            MuscleError: see there; also where vLLM stops.
        """
        assert self._lm is not None, "the engine is closed"
        sampling = sampling or Sampling()
        check_vllm([], [task])
        check_task(task, examples, sampling)
        number = self._numbers[adapter] if adapter else 0
        self._lm.choose(number=number, folder=str(adapter) if adapter else None, seed=sampling.seed)
        with quiet_harness():
            return score(
                self._lm,
                task,
                examples,
                name=name,
                sampling=sampling,
                progress=progress,
                metadata={
                    "model": self._facts(adapter),
                    "versions": package_versions(*SCORING_PACKAGES, "vllm"),
                },
            )

    def _facts(self, adapter: Path | None) -> dict[str, object]:
        return {
            "name": self.source,
            "architecture": self._architecture,
            "dtype": self._dtype,
            "adapters": [adapter.name] if adapter else [],
        }

    def close(self) -> None:
        """Stop the engine and give back its GPU memory; nothing happens the second time."""
        if self._lm is None:
            return
        self._lm = None
        gc.collect()
        from vllm.distributed import cleanup_dist_env_and_memory

        cleanup_dist_env_and_memory()


def lora_rank(adapters: Sequence[Path], asked: int | None) -> int:
    """Return the engine's `max_lora_rank`: the one asked for, or the smallest that vLLM has for these adapters.

    Raises:
        ConfigError: the one asked for is too small.
        ModelError: an adapter is none that vLLM serves.
    """
    allowed = asked or RANKS[-1]
    ranks = []
    for adapter in adapters:
        rank = _rank(adapter)
        if rank > allowed and asked:
            raise ConfigError(
                f"evaluation.vllm.max_lora_rank: {asked}, but adapter {adapter} has rank {rank}; leave the key out"
            )
        if rank > allowed:
            raise ModelError(
                f"adapter {adapter}: rank {rank}, vLLM takes at most {allowed}; expected evaluation.backend hf"
            )
        ranks.append(rank)
    return asked or next(size for size in RANKS if size >= max(ranks))


def adapted_modules(adapters: Sequence[Path]) -> list[str]:
    """Return the last names of the modules that adapters change, such as `q_proj`.

    Raises:
        ModelError: one changes the output head: vLLM leaves that out of a prompt's log-likelihoods without a word
            (https://github.com/vllm-project/vllm/issues/51594).
    """
    from safetensors import safe_open

    names = set()
    for adapter in adapters:
        with safe_open(adapter / "adapter_model.safetensors", framework="pt") as file:
            keys = list(file.keys())
        own = {key.partition(".lora_")[0].rpartition(".")[2] for key in keys}
        if "lm_head" in own:
            raise ModelError(
                f"adapter {adapter}: changes the output head, which vLLM leaves out of log-likelihoods; expected "
                "evaluation.backend hf"
            )
        names |= own
    return sorted(names)


def _rank(adapter: Path) -> int:
    path = adapter / "adapter_config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        rank, kind = int(config["r"]), config["peft_type"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: no configuration of a LoRA adapter ({reason_of(error)})") from error
    if kind != "LORA":
        raise ModelError(f"{path}: expected a LoRA adapter, found {kind}")
    for key in UNSERVED:
        if config.get(key) not in (None, False, "none", {}, []):
            raise ModelError(
                f"{path}: {key} is {config[key]!r}, which vLLM does not serve; expected evaluation.backend hf"
            )
    return rank


def _check_precision(dtype: str) -> None:
    import torch

    if torch.cuda.is_available() and dtype in ("float32", "float"):
        raise ConfigError(
            f"training.precision: vLLM's LoRA layers compute in 16 bits on a GPU, found {dtype}; expected bf16, or "
            "evaluation.vllm.dtype bfloat16"
        )
