"""Pre-training the demo's pair of tiny bases: real Hugging Face folders, a plain loop, the same numbers for a seed.

The old base reads less text than the new one, other text, and starts from other weights, as two releases of a model do.
Each row of a batch is one sentence from its start: nothing links two sentences of this world, and the task's contexts
begin sentences too. `transformers.Trainer` trains the adapters; here a plain loop is enough and starts at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import transformers
from torch import Tensor
from torch.nn import functional

from muscle.demo.world import draw_text, words
from muscle.errors import DataError
from muscle.files import atomic_folder, read_json, write_json
from muscle.models.bases import quiet_libraries
from muscle.progress import progress_bar
from muscle.provenance import fingerprint

if TYPE_CHECKING:
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

# Sentences that a base reads, each once. Found by trials: see docs/demo.md.
NEW_SENTENCES = 70_000
OLD_SENTENCES = 40_000
# For `--gap`: so little that the old base knows the world only roughly.
GAP_SENTENCES = 10_000

BATCH_SIZE = 64
LEARNING_RATE = 4e-3
WARMUP_SHARE = 0.05
WEIGHT_DECAY = 0.01
MAX_GRAD_NORM = 1.0
# Sums inside a matrix product are split by threads, so their number is a part of the result. These products are so
# small that a second thread gains little and, on a busy machine, loses much.
NUM_THREADS = 1

# Two layers, so that attention can bring purpose and tool together and the rest be computed from it.
ARCHITECTURE: dict[str, float] = {
    "hidden_size": 64,
    "intermediate_size": 192,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 64,
    # About 1/sqrt(width). At the usual 0.02 (meant for wide models) tools differ in the output head only by
    # their attributes, and a LoRA, which leaves the head alone, cannot tell apart what the house prefers.
    "initializer_range": 0.1,
    "tie_word_embeddings": False,
}
PAD, BOS, EOS, UNKNOWN = "<pad>", "<bos>", "<eos>", "<unk>"
RECORD = "pretraining.json"


@dataclass(frozen=True)
class Recipe:
    """What tells one base from another.

    Attributes:
        num_sentences: how many sentences it reads, each once.
        seed: of the text, the start and the order.
    """

    num_sentences: int
    seed: int

    @property
    def num_steps(self) -> int:
        """Optimizer steps; the last batch may be smaller."""
        return math.ceil(self.num_sentences / BATCH_SIZE)


@dataclass(frozen=True)
class BasePair:
    """The folders of two bases with one vocabulary.

    Attributes:
        old: the base that is in use.
        new: the base that replaces it.
    """

    old: Path
    new: Path


def pretrain_pair(folder: Path, *, seed: int = 0, gap: bool = False) -> BasePair:
    """Pre-train an old and a new base, or keep them where they stand finished.

    Args:
        folder: gets `old/` and `new/`.
        seed: from 0; both texts and starts hang on it, and the two bases never share one.
        gap: the old base reads far less text.

    Returns:
        The two folders; `AutoModelForCausalLM` and `AutoTokenizer` load them.

    Raises:
        OutputError: a folder cannot be written.
    """
    recipes = {
        "old": Recipe(GAP_SENTENCES if gap else OLD_SENTENCES, seed=2 * seed),
        "new": Recipe(NEW_SENTENCES, seed=2 * seed + 1),
    }
    for name, recipe in recipes.items():
        if is_finished(folder / name, recipe):
            continue
        with progress_bar(f"pre-training the {name} base", recipe.num_steps) as show:
            pretrain(folder / name, recipe, on_step=lambda step, loss: show(step, f"loss {loss:.3f}"))
    return BasePair(old=folder / "old", new=folder / "new")


def is_finished(folder: Path, recipe: Recipe) -> bool:
    """Tell whether the base in `folder` was made by this recipe, these constants and these versions."""
    record = folder / RECORD
    if not record.is_file():
        return False
    try:
        return bool(read_json(record).get("fingerprint") == _recipe_fingerprint(recipe))
    except DataError:
        return False  # damaged: it is made again


def pretrain(folder: Path, recipe: Recipe, *, on_step: Callable[[int, float], None] | None = None) -> float:
    """Train a base from random weights on the world's text and save it with its tokenizer.

    Next-token cross-entropy over every token of every sentence, AdamW, a short linear warm-up, then a cosine to zero.
    The same recipe gives the same weights on the same machine and versions.

    Args:
        folder: replaced when the base is ready, never half written.
        recipe: how much text, and the seed.
        on_step: called after each optimizer step with the steps done and the loss.

    Returns:
        The mean loss over the last tenth of the steps, in nats per token.

    Raises:
        OutputError: the folder cannot be written.
    """
    tokenizer = build_tokenizer()
    text = draw_text(recipe.num_sentences, seed=recipe.seed)
    tokens, labels = _padded_rows(text, tokenizer)
    with _reproducible(recipe.seed):
        model = transformers.LlamaForCausalLM(_architecture(tokenizer))
        losses = _train(model, tokens, labels, on_step or (lambda step, loss: None))
    tail = losses[-max(1, len(losses) // 10) :]
    loss = sum(tail) / len(tail)
    with atomic_folder(folder) as temporary, quiet_libraries():
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        write_json(
            temporary / RECORD,
            {"fingerprint": _recipe_fingerprint(recipe), **_resolved(recipe), "loss": loss},
        )
    return loss


def build_tokenizer() -> transformers.PreTrainedTokenizerFast:
    """Return the tokenizer of both bases: one token a word, one a mark, no special token added by itself.

    A word's token holds the space before it, so that the tokens of a whole are those of its parts, and decoding gives
    the text back.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    pieces = [word if word in ",." else f"▁{word}" for word in words()]
    vocabulary = {piece: index for index, piece in enumerate([PAD, BOS, EOS, UNKNOWN, *pieces])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Replace(Regex(r"\s+"), " ")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(prepend_scheme="always"), pre_tokenizers.Punctuation()]
    )
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNKNOWN,
        model_max_length=ARCHITECTURE["max_position_embeddings"],
        clean_up_tokenization_spaces=False,
    )


def _architecture(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    return transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        dtype=torch.float32,
        **ARCHITECTURE,
    )


def _padded_rows(text: list[str], tokenizer: PreTrainedTokenizerFast) -> tuple[Tensor, Tensor]:
    """Sentences with an EOS each, padded: input ids and labels, both (sentences, longest)."""
    encoded = [[*ids, tokenizer.eos_token_id] for ids in tokenizer(text)["input_ids"]]
    longest = max(map(len, encoded))
    pad = tokenizer.pad_token_id
    tokens = torch.tensor([ids + [pad] * (longest - len(ids)) for ids in encoded])
    return tokens, tokens.masked_fill(tokens == pad, -100)


def _train(
    model: LlamaForCausalLM, tokens: Tensor, labels: Tensor, on_step: Callable[[int, float], None]
) -> list[float]:
    """Read every row once; return the loss of each step.

    Padding stands at the end of a row, where causal attention keeps it from every token that counts, so that no
    attention mask is needed.
    """
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=WEIGHT_DECAY, betas=(0.9, 0.95))
    batches = torch.split(torch.randperm(len(tokens)), BATCH_SIZE)
    losses = []
    for step, rows in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * _schedule(step, len(batches))
        logits = model(input_ids=tokens[rows], use_cache=False).logits
        loss = functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[rows, 1:].flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        on_step(step + 1, losses[-1])
    model.eval()
    return losses


def _schedule(step: int, total: int) -> float:
    """Share of the learning rate: rises linearly, then falls as a cosine to zero."""
    warmup = max(1, round(WARMUP_SHARE * total))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


@contextmanager
def _reproducible(seed: int) -> Iterator[None]:
    """Seed torch and fix its threads for the block; give both back as they were."""
    threads = torch.get_num_threads()
    torch.set_num_threads(NUM_THREADS)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)


def _resolved(recipe: Recipe) -> dict[str, object]:
    return {
        **asdict(recipe),
        "batch_size": BATCH_SIZE,
        "learning_rate": LEARNING_RATE,
        "warmup_share": WARMUP_SHARE,
        "weight_decay": WEIGHT_DECAY,
        "max_grad_norm": MAX_GRAD_NORM,
        "num_threads": NUM_THREADS,
        "architecture": ARCHITECTURE,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    }


def _recipe_fingerprint(recipe: Recipe) -> str:
    return fingerprint({**_resolved(recipe), "vocabulary": words(), "text": draw_text(100, seed=recipe.seed)})
