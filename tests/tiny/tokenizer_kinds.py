"""Tokenizers of every kind that bases come with, trained on the spot, and tiny bases that have them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    MixtralConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

Kind = Literal["byte-level", "digits", "byte-fallback", "unigram", "wordpiece"]
KINDS: tuple[Kind, ...] = ("byte-level", "digits", "byte-fallback", "unigram", "wordpiece")
Architecture = Literal["llama", "qwen2", "gpt2", "gemma2", "gemma3", "mixtral"]

SPARE = 6
"""Rows of embeddings and head that no token has, as most bases have."""

TEXTS = [
    "for soup w1 w2 Use the bowl",
    "for hay w3 w4 Use the fork",
    "for load w5 w6 Use the rope",
    "for dark w7 w8 Use the lamp",
    'What is 201 plus 19? It is 220, or 2.2e2; "say" it\'s so.',
    "def add(a, b):\n    return a + b\n\n\n# naïve café \u2013 “quoted” … 12:30",
    "Straße, Ærø, Ἑλλάς, Москва, 東京, مرحبا, नमस्ते, 안녕하세요",
    "👩‍👩‍👧 🇪🇺 e\u0301 a\u0308 \u1e9b\u0323 ﬁ ½",
]


def trained_tokenizer(
    kind: Kind, texts: Sequence[str] = TEXTS, *, vocab_size: int = 480, bos: bool = False
) -> PreTrainedTokenizerFast:
    """Train a tokenizer.

    Args:
        kind: `byte-level` as GPT-2's, `digits` the same with digits one by one, `byte-fallback` as Llama 2's (BPE,
            blanks as "▁", bytes for what is unknown), `unigram` as T5's, `wordpiece` as BERT's.
        texts: to train on, eight times.
        vocab_size: tokens at most.
        bos: whether a BOS is put before every text.
    """
    raw, trainer = _untrained(kind, vocab_size)
    raw.train_from_iterator(list(texts) * 8, trainer)
    if kind == "byte-fallback":
        raw = _with_bytes(raw)
    if bos:
        number = raw.token_to_id("<s>")
        raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", number)])
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def _untrained(kind: Kind, vocab_size: int) -> tuple[Tokenizer, trainers.Trainer]:
    special = ["<unk>", "<s>", "</s>"]
    shared = {"vocab_size": vocab_size, "special_tokens": special, "show_progress": False}
    if kind in ("byte-level", "digits"):
        raw = Tokenizer(models.BPE())
        byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
        digits = [pre_tokenizers.Digits(individual_digits=True)] if kind == "digits" else []
        raw.pre_tokenizer = pre_tokenizers.Sequence([*digits, byte_level])
        raw.decoder = decoders.ByteLevel()
        return raw, trainers.BpeTrainer(initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **shared)
    if kind == "unigram":
        raw = Tokenizer(models.Unigram())
        raw.normalizer = normalizers.NFKC()
        raw.pre_tokenizer = pre_tokenizers.Metaspace()
        raw.decoder = decoders.Metaspace()
        return raw, trainers.UnigramTrainer(unk_token="<unk>", **shared)
    if kind == "wordpiece":
        raw = Tokenizer(models.WordPiece(unk_token="<unk>"))
        raw.normalizer = normalizers.BertNormalizer(lowercase=True)
        raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        raw.decoder = decoders.WordPiece()
        return raw, trainers.WordPieceTrainer(**shared)
    raw = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    raw.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    raw.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return raw, trainers.BpeTrainer(max_token_length=12, limit_alphabet=60, **shared)


def _with_bytes(raw: Tokenizer) -> Tokenizer:
    """Return a trained tokenizer with a token for each byte, as SentencePiece's byte fallback has."""
    import json

    form = json.loads(raw.to_str())
    vocabulary = form["model"]["vocab"]
    for byte in range(256):
        vocabulary[f"<0x{byte:02X}>"] = len(vocabulary)
    form["model"]["byte_fallback"] = True
    return Tokenizer.from_str(json.dumps(form))


def _config(architecture: Architecture, vocabulary: int) -> PreTrainedConfig:
    sizes = {
        "vocab_size": vocabulary,
        "hidden_size": 24,
        "intermediate_size": 40,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 12,
        "max_position_embeddings": 256,
        "initializer_range": 0.1,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 2,
    }
    match architecture:
        case "llama":
            return LlamaConfig(**sizes)
        case "qwen2":
            del sizes["head_dim"]
            return Qwen2Config(**sizes)
        case "gemma2":
            return Gemma2Config(**sizes, query_pre_attn_scalar=12, final_logit_softcapping=5.0, sliding_window=256)
        case "gemma3":
            return Gemma3TextConfig(**sizes, query_pre_attn_scalar=12, sliding_window=256)
        case "mixtral":
            return MixtralConfig(**sizes, num_local_experts=4, num_experts_per_tok=2)
        case "gpt2":
            return GPT2Config(
                vocab_size=vocabulary, n_embd=24, n_layer=3, n_head=2, n_positions=256, bos_token_id=1, eos_token_id=2
            )


def save_base_with(
    folder: Path,
    tokenizer: PreTrainedTokenizerFast,
    *,
    architecture: Architecture = "llama",
    seed: int = 0,
    spare: int = SPARE,
) -> Path:
    """Write a random tiny base of an architecture with a tokenizer, whose vocabulary has rows to spare."""
    torch.manual_seed(seed)
    AutoModelForCausalLM.from_config(_config(architecture, len(tokenizer) + spare)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
