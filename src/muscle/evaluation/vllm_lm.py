"""The harness's own vLLM model, kept to the records that its Hugging Face model gives; imported only where vLLM is.

Log-likelihoods come from vLLM's `prompt_logprobs`, which are taken in float32. Answers are read from their
token ids, as the Hugging Face model's are: vLLM's own text can differ from it by a blank at the start.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from lm_eval.models.vllm_causallms import VLLM
from vllm.lora.request import LoRARequest

from muscle.errors import ModelError
from muscle.evaluation.lm import Bookkeeping
from muscle.models.base_files import reason_of

if TYPE_CHECKING:
    from vllm import RequestOutput, SamplingParams

REQUESTS_AT_A_TIME = 1024
"""vLLM makes its batches itself out of what it is given; between these portions progress is told."""


class VllmLM(Bookkeeping, VLLM):  # type: ignore[misc]  # the harness has no type information
    """An engine of vLLM; which adapter answers is chosen between calls.

    Args:
        arguments: of the harness's `VLLM`.
    """

    name = "vllm"

    def __init__(self, **arguments: object) -> None:
        super().__init__(batch_size=REQUESTS_AT_A_TIME, **arguments)
        self._seeds = random.Random()

    def choose(self, *, number: int, folder: str | None, seed: int) -> None:
        """Let the next requests be answered with an adapter, or by the bare base.

        Args:
            number: the adapter's, from 1; vLLM takes requests of one number for requests to one adapter.
            folder: the adapter's PEFT folder; None is the bare base.
            seed: of sampled answers.
        """
        self.lora_request = LoRARequest(folder, number, folder) if folder else None
        self._seeds = random.Random(seed)

    @property
    def room(self) -> int:
        """One less than the model takes: vLLM always generates a token, if only to be asked about the prompt."""
        return int(self.max_length) - 1

    def encode_many(self, texts: list[str]) -> list[list[int]]:
        """Return the token ids of texts."""
        ids: list[list[int]] = VLLM.tok_encode(self, texts)
        return ids

    def modify_gen_kwargs(
        self, gen_kwargs: dict[str, object], eos: str | None = None, default_max_gen_toks: int = 256
    ) -> tuple[dict[str, object], list[str], int]:
        """Return a request's sampling parameters, stop texts and limit of tokens."""
        settings, until, limit = VLLM.modify_gen_kwargs(gen_kwargs, eos, default_max_gen_toks)
        if settings.get("top_k") == 0:  # no top-k is vLLM's default; older versions write it as -1
            del settings["top_k"]
        if settings["temperature"]:
            # Of each request its own, so that answers depend neither on vLLM's batches nor on what was asked before.
            settings["seed"] = self._seeds.getrandbits(32)
        return settings, until, limit

    def _model_generate(
        self, requests: list[list[int]], generate: bool = False, sampling_params: SamplingParams | None = None
    ) -> list[RequestOutput]:
        try:
            outputs: list[RequestOutput] = super()._model_generate(
                requests, generate=generate, sampling_params=sampling_params
            )
        except Exception as error:  # whatever the engine raises; its own log says where
            raise ModelError(f"vLLM stopped ({reason_of(error)}); its messages above say more") from error
        if generate:
            for output in outputs:
                answer = output.outputs[0]
                answer.text = self.tokenizer.decode(answer.token_ids, skip_special_tokens=True)
                self._reasons_in_batches.append(answer.finish_reason)
        return outputs
