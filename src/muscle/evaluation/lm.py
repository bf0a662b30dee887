"""The harness's two halves as we use them: a model that is already loaded, and a task whose prompts are already built.

lm-evaluation-harness does the scoring: tokenisation of context and continuation, batching, log-likelihoods, generation,
stop words. What is added here is what it leaves out: an item that cannot be scored is set aside with the reason
instead of stopping the run, truncated contexts are counted, progress is reported.

Facts about the harness that the training side relies on:
- context and continuation are tokenised as one text, with the tokenizer's own special tokens (a BOS where it adds one);
  the continuation's tokens are what follows as many tokens as the context alone has;
- white space at the end of a context moves to the continuation;
- batches are padded on the right (on the left for generation, with a mask), so an item's score does not depend on its
  neighbours beyond rounding;
- where the model reads trees, all options of a context come out of one pass (`by_tree`), with the same numbers
  to rounding;
- what is longer than the model's limit loses tokens at the beginning of the context.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from lm_eval.api.instance import Instance
from lm_eval.api.model import CacheHook, TemplateLM
from lm_eval.api.task import ConfigurableTask

from muscle.evaluation.by_tree import Encoded, TreeLM
from muscle.evaluation.sampling import Sampling
from muscle.tasks.prompt import ChatForm
from muscle.tasks.task import Example, Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

UNSCORED = (math.nan, False)


class ProgressHook(CacheHook):  # type: ignore[misc]  # the harness has no type information
    """Counts finished requests; the harness calls its cache hook once for each, with what was asked and answered.

    Attributes:
        num_done: finished requests.
        answered: context and text of each generated answer, in the order in which they were finished.
    """

    def __init__(self, on_progress: Callable[[int], None]) -> None:
        super().__init__(None)
        self.num_done = 0
        self.answered: list[tuple[str, str]] = []
        self._on_progress = on_progress

    def add_partial(self, attr: str, req: tuple[str, object], res: object) -> None:
        """Report one more finished request."""
        if attr == "generate_until":
            assert isinstance(res, str), "what is generated is text"
            self.answered.append((req[0], res))
        self.num_done += 1
        self._on_progress(self.num_done)


class Bookkeeping(TemplateLM):  # type: ignore[misc]  # the harness has no type information
    """What is added to a model of the harness, whatever computes it; put in front of the harness's own class.

    Attributes:
        name: of the backend, as in the settings.
        num_truncated: requests that lost the beginning of their context.
        unscored: request number to the reason why it could not be scored.
        finish_reasons: (requests,) why each generated text ends: "stop", "length", or what went wrong.
        chat: of the chat template that the requests are in; None where they are plain text.
    """

    name: ClassVar[str]
    chat: ChatForm | None = None
    num_truncated: int
    unscored: dict[int, str]
    finish_reasons: list[str]

    def begin(self, on_progress: Callable[[int], None], chat: ChatForm | None = None) -> None:
        """Forget what was counted before.

        Args:
            on_progress: called with the number of finished requests.
            chat: of the base's chat template, where the requests' texts are in it: they hold every special token.
        """
        self.chat = chat
        self.num_truncated = 0
        self.unscored = {}
        self.finish_reasons = []
        self._reasons_in_batches: list[str] = []
        self._encoded: dict[str, list[int]] = {}
        self.set_cache_hook(ProgressHook(on_progress))

    @property
    def room(self) -> int:
        """Tokens of context and continuation together that are scored without a cut."""
        raise NotImplementedError

    def encode_many(self, texts: list[str]) -> list[list[int]]:
        """Return the token ids of texts, as `tok_encode` gives them one by one."""
        raise NotImplementedError

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        """Score requests without the harness's own progress bars."""
        self._encode_at_once(requests)
        scored: list[tuple[float, bool]] = super().loglikelihood(requests, disable_tqdm=True)
        return scored

    def _encode_at_once(self, requests: Sequence[Instance]) -> None:
        """Tokenise every text that the harness will ask for in one call: several times faster than one by one."""
        pairs = [request.args for request in requests]
        contexts = {context if self.chat else context.rstrip() for context, _ in pairs}
        texts = contexts | {"".join(pair) for pair in pairs}
        # Texts that bring their own BOS are left to the harness, which adds no second one.
        start = self.tokenizer.decode(self.prefix_token_id)
        ordered = sorted(text for text in texts if text and (self.chat or not text.startswith(start)))
        self._encoded = dict(zip(ordered, self.encode_many(ordered), strict=True)) if ordered else {}

    def tok_encode(
        self, string: str | list[str], add_special_tokens: bool | None = None, **kwargs: object
    ) -> list[int]:
        """Return a text's token ids, as the harness does; vLLM's model takes several texts at once."""
        known = isinstance(string, str) and add_special_tokens is None and not kwargs
        if known and string in self._encoded:
            return self._encoded[string]
        ids: list[int] = super().tok_encode(string, add_special_tokens=add_special_tokens, **kwargs)
        return ids

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """Return the ids of context and continuation; in a chat template blanks at the prompt's end stay there."""
        if self.chat is None:
            pair: tuple[list[int], list[int]] = super()._encode_pair(context, continuation)
            return pair
        alone, whole = self.tok_encode(context), self.tok_encode(context + continuation)
        return alone, whole[len(alone) :]

    def _loglikelihood_tokens(
        self, requests: Sequence[Encoded], disable_tqdm: bool = True, **options: object
    ) -> list[tuple[float, bool]]:
        # The harness takes it for granted that a continuation has tokens, and that they fit behind one of the context.
        for index, (_, context, continuation) in enumerate(requests):
            if not continuation:
                self.unscored[index] = "the option has no token of its own after the context"
            elif len(continuation) >= self.room:
                self.unscored[index] = f"the option has {len(continuation)} tokens, the model takes {self.room - 1}"
            else:
                self.num_truncated += len(context) + len(continuation) > self.room
        kept = [request for index, request in enumerate(requests) if index not in self.unscored]
        scored = iter(super()._loglikelihood_tokens(kept, disable_tqdm=True, **options) if kept else [])
        return [UNSCORED if index in self.unscored else next(scored) for index in range(len(requests))]

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = True) -> list[str]:
        """Generate without the harness's own progress bar, counting prompts that are cut."""
        room = self.max_length - requests[0].args[1]["max_gen_toks"]
        self.num_truncated += sum(len(self.tok_encode(request.args[0])) > room for request in requests)
        texts: list[str] = super().generate_until(requests, disable_tqdm=True)
        # The harness sorts the requests by length; which answer was whose is known by context and text.
        by_answer: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for answer, reason in zip(self.cache_hook.answered, self._reasons_in_batches, strict=True):
            by_answer[answer].append(reason)
        self.finish_reasons = [
            by_answer[request.args[0], text].pop(0) for request, text in zip(requests, texts, strict=True)
        ]
        return texts


class LoadedLM(Bookkeeping, TreeLM):
    """The harness's Hugging Face model around a model that is already in memory, with whatever adapter is active.

    Log-probabilities are computed in float32: a bfloat16 softmax gives log-likelihoods in steps of 0.25 to 0.5, where
    options tie and the tie-break flips answers that no model changed.
    """

    name = "hf"

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        batch_size: int,
        max_length: int | None,
    ) -> None:
        super().__init__(
            pretrained=model,
            tokenizer=tokenizer,
            backend="causal",
            batch_size=batch_size,
            max_length=max_length,
            softmax_dtype="float32",
        )
        self._max_length = self.max_length  # the harness looks it up in the model's configuration for every request

    def begin(self, on_progress: Callable[[int], None], chat: ChatForm | None = None) -> None:
        """Forget what was counted before; no special tokens are added to texts in a chat template."""
        super().begin(on_progress, chat)
        self.add_bos_token = False if chat else None  # None leaves it to the tokenizer

    @property
    def room(self) -> int:
        """One more than the model takes: a sequence's last token is predicted, not read."""
        return int(self.max_length) + 1

    def encode_many(self, texts: list[str]) -> list[list[int]]:
        """Return the token ids of texts."""
        own = {"add_special_tokens": False} if self.chat else {}
        ids: list[list[int]] = self.tokenizer(texts, **own)["input_ids"]
        return ids

    def _model_call(
        self, inps: torch.Tensor, attn_mask: torch.Tensor | None = None, labels: torch.Tensor | None = None
    ) -> torch.Tensor:
        with torch.no_grad():
            logits: torch.Tensor = self.model(inps, use_cache=False).logits
        return logits

    def _model_generate(
        self, context: torch.Tensor, max_length: int, stop: list[str], **generation_kwargs: object
    ) -> torch.Tensor:
        ends = {self.eot_token_id, *_as_list(self.model.generation_config.eos_token_id)}
        if self.chat and self.chat.end_token_id is not None:
            ends.add(self.chat.end_token_id)
            generation_kwargs["eos_token_id"] = sorted(ends)
        tokens: torch.Tensor = super()._model_generate(context, max_length, stop, **generation_kwargs)
        answers = tokens[:, context.shape[1] :]
        room = max_length - context.shape[1]
        for answer in answers.tolist():
            at_limit = len(answer) >= room and not ends.intersection(answer)
            stopped = not at_limit or any(text in self.tok_decode(answer) for text in stop)
            self._reasons_in_batches.append("stop" if stopped else "length")
        return tokens


def _as_list(ids: int | list[int] | None) -> list[int]:
    return [] if ids is None else [ids] if isinstance(ids, int) else ids


class _Documents(list[dict[str, int]]):
    """A list that says which fields its documents have: all that the harness needs of a `datasets.Dataset`."""

    features: ClassVar = {"index": "int64"}


class PreparedTask(ConfigurableTask):  # type: ignore[misc]  # the harness has no type information
    """A task of the harness whose documents are numbers of examples that are ready; nothing is loaded or templated.

    Choice tasks are scored by the harness's own `acc` and `acc_norm`. Of a generation task it gives the text; the
    scoring function then runs outside of it, so that an exception there is one item's error.
    """

    def __init__(self, task: Task, examples: Sequence[Example], sampling: Sampling, *, stop: str = "") -> None:
        self._examples = examples
        self._sampling = sampling
        self._stop = stop
        super().__init__(config=self._choice_config(task) if task.kind == "choice" else self._generation_config(task))

    def _choice_config(self, task: Task) -> dict[str, object]:
        delimiters = {example.delimiter for example in self._examples}
        assert len(delimiters) == 1, "a task has one delimiter"
        return {
            **self._common_config(task),
            "output_type": "multiple_choice",
            "target_delimiter": delimiters.pop(),
            "doc_to_target": lambda doc: self._examples[doc["index"]].gold,
            "doc_to_choice": lambda doc: list(self._examples[doc["index"]].choices),
            "metric_list": [
                {"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("acc", "acc_norm")
            ],
        }

    def _generation_config(self, task: Task) -> dict[str, object]:
        assert task.generation is not None, "a generation task says how to generate"
        return {
            **self._common_config(task),
            "output_type": "generate_until",
            # Inputs without labels have none; the harness only logs it.
            "doc_to_target": lambda doc: next(iter(self._examples[doc["index"]].reference), ""),
            "process_results": lambda doc, results: {},
            "metric_list": [],
            "generation_kwargs": generation_settings(task, self._sampling, stop=self._stop),
        }

    def _common_config(self, task: Task) -> dict[str, object]:
        return {
            "task": task.name,
            "test_split": "test",
            "num_fewshot": 0,
            "doc_to_text": lambda doc: self._examples[doc["index"]].context,
        }

    def download(self, *_: object, **__: object) -> None:
        """Take the numbers of the examples for documents: nothing is loaded, hashed or cached."""
        self.dataset = {"test": _Documents({"index": index} for index in range(len(self._examples)))}

    def build_all_requests(self, **_: object) -> None:
        """Build the requests by the harness's own `construct_requests`, without its bar and few-shot examples."""
        self._instances = []
        for index, doc in enumerate(self.eval_docs):
            metadata = (self.config.task, index, self._sampling.repeats)
            built = self.construct_requests(doc=doc, ctx=self.doc_to_text(doc), metadata=metadata)
            self._instances += built if isinstance(built, list) else [built]


def generation_settings(task: Task, sampling: Sampling, *, stop: str = "") -> dict[str, object]:
    """Return a task's generation settings as the harness takes them; `stop` ends an answer too."""
    assert task.generation is not None, "a generation task says how to generate"
    settings: dict[str, object] = {
        "until": [*task.generation.until, *([stop] if stop else [])],
        "max_gen_toks": task.generation.max_new_tokens,
        **sampling.settings(),
    }
    if task.generation.no_repeat_ngram_size:
        settings["no_repeat_ngram_size"] = task.generation.no_repeat_ngram_size
    return settings
