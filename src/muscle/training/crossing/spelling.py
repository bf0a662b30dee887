"""What text each token of a tokenizer stands for, as bytes, and which token a text begins with.

Every kind of tokenizer writes its tokens in an alphabet of its own: byte-level BPE (GPT-2, Llama 3, Qwen) maps bytes to
printable characters, SentencePiece's (Llama 2, Gemma, T5) write a blank as "▁" and unknown bytes as "<0x0A>", WordPiece
(BERT) marks what goes on within a word with "##". The kind is read off the tokenizer's own decoder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from muscle.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SpellingKind = Literal["bytes", "blanks", "pieces", "words"]
"""Byte-level; blanks written as "▁"; WordPiece; whole words with a blank before each."""

_BLANK = "▁"
_BYTE = re.compile("<0x([0-9A-F]{2})>")
_GOES_ON = "##"


def _byte_letters() -> list[str]:
    """Return the character that stands for each byte in byte-level BPE (GPT-2's table).

    >>> _byte_letters()[ord("A")], _byte_letters()[ord(" ")], len(set(_byte_letters()))
    ('A', 'Ġ', 256)
    """
    own = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = iter(range(256, 512))
    return [chr(byte if byte in own else next(others)) for byte in range(256)]


_LETTERS = _byte_letters()
_BYTES = {letter: byte for byte, letter in enumerate(_LETTERS)}


@dataclass(frozen=True, eq=False)
class Spelling:
    """The texts of a tokenizer's tokens.

    Attributes:
        tokenizer: whose they are.
        kind: the alphabet.
        names: the tokens as the tokenizer writes them, by id; None where an id has none.
        texts: their texts, by id; None of an unknown token's and of an id that has none.
        control: (ids,) whether a token is a special one: BOS, EOS, a turn's mark.
    """

    tokenizer: PreTrainedTokenizerBase
    kind: SpellingKind
    names: Sequence[str | None]
    texts: Sequence[bytes | None]
    control: NDArray[np.bool_]

    @classmethod
    @lru_cache(maxsize=4)
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> Spelling:
        """Read a tokenizer's texts, once.

        Raises:
            ModelError: it is of a kind that is not known here.
        """
        kind = _kind_of(tokenizer)
        size = max(tokenizer.get_vocab().values()) + 1
        names = [name if isinstance(name, str) else None for name in tokenizer.convert_ids_to_tokens(range(size))]
        texts = [None if name is None else _text_of(name, kind) for name in names]
        control = np.zeros(size, dtype=np.bool_)
        for number, added in tokenizer.added_tokens_decoder.items():
            control[number] = added.special
            if added.special or kind == "bytes":
                texts[number] = added.content.encode()
        if tokenizer.unk_token_id is not None and tokenizer.unk_token_id != tokenizer.eos_token_id:
            texts[tokenizer.unk_token_id] = None
        return cls(tokenizer, kind, names, texts, control)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """(ids,) bytes of each text; 0 where it is not known."""
        return np.array([len(text or b"") for text in self.texts], dtype=np.int64)

    @cached_property
    def numbers(self) -> dict[bytes, int]:
        """The token of each text: of several the one with the lowest id that is neither special nor a lone byte's."""
        found: dict[bytes, int] = {}
        lone = [
            number for number, name in enumerate(self.names) if name and self.kind == "blanks" and _BYTE.match(name)
        ]
        later = {*lone, *np.flatnonzero(self.control).tolist()}
        for number in (*lone, *(each for each in reversed(range(len(self.texts))) if each not in later)):
            text = self.texts[number]
            if text:
                found[text] = number
        return found

    @cached_property
    def by_name(self) -> dict[str, int]:
        """The id of each token as the tokenizer writes it."""
        return {name: number for number, name in enumerate(self.names) if name is not None}

    def spell(self, ids: Sequence[int]) -> bytes | None:
        """Return the text of a sequence; None where a token's is not known."""
        parts = [self.texts[number] for number in ids]
        return None if None in parts else b"".join(parts)  # type: ignore[arg-type]

    def first_tokens(self, text: bytes) -> list[int]:
        """Return the tokens that a text is cut into by the tokenizer's own model, or the first of them that it has.

        The text stands in the midst of another one: nothing is put before it. Of bytes that are no whole character a
        tokenizer of characters knows the first byte alone.

        Args:
            text: of another tokenizer's token.

        Returns:
            Ids; none where it has no token for the text's beginning.
        """
        whole = _whole_characters(text)
        written = self._written(text, whole)
        if not written:
            number = self.numbers.get(text[:1])
            return [] if number is None or self.kind in ("pieces", "words") else [number]
        try:
            found = [token.id for token in self.tokenizer.backend_tokenizer.model.tokenize(written)]
        except Exception:  # the library has no type of its own for a text that a model cannot cut
            return []
        first = self.texts[found[0]] if found else None
        # A vocabulary may lack a byte, which its model then leaves out.
        fits = first is not None and (self.kind in ("pieces", "words") or text.startswith(first))
        return found if fits else []

    def _written(self, text: bytes, whole: str) -> str:
        """Return a text in the alphabet of the tokenizer's model."""
        if self.kind == "bytes":
            return "".join(_LETTERS[byte] for byte in text)
        if self.kind == "blanks":
            return whole.replace(" ", _BLANK)
        normalizer = self.tokenizer.backend_tokenizer.normalizer
        return (normalizer.normalize_str(whole) if normalizer else whole).strip()


def _whole_characters(text: bytes) -> str:
    """Return the characters that stand whole at a text's beginning."""
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        return text[: error.start].decode()


def _kind_of(tokenizer: PreTrainedTokenizerBase) -> SpellingKind:
    raw = getattr(tokenizer, "backend_tokenizer", None)
    if raw is None:
        raise ModelError(_unknown(tokenizer, "one without a fast form"))
    parts = [part for each in (raw.decoder, raw.pre_tokenizer) if each is not None for part in _components(each)]
    types = {part.get("type") for part in parts}
    if getattr(raw.model, "end_of_word_suffix", None):
        raise ModelError(_unknown(tokenizer, "one that marks the ends of words"))
    if "ByteLevel" in types:
        return "bytes"
    if types & {"Metaspace", "ByteFallback"} or any(part.get("content") == " " for part in parts):
        return "blanks"
    if "WordPiece" in types:
        return "pieces"
    if raw.decoder is None and types & {"Whitespace", "WhitespaceSplit"}:
        return "words"
    raise ModelError(_unknown(tokenizer, f"one made of {', '.join(sorted(map(str, types))) or 'nothing'}"))


def _unknown(tokenizer: PreTrainedTokenizerBase, found: str) -> str:
    return (
        f"tokenizer {tokenizer.name_or_path or type(tokenizer).__name__}: expected a byte-level, SentencePiece-like or "
        f"WordPiece one, found {found}; alignment.method: options needs no alignment of tokens"
    )


def _components(component: object) -> list[dict[str, object]]:
    """Return a component of the tokenizers library and those that it is a sequence of, as plain data."""
    form = json.loads(component.__getstate__())  # type: ignore[arg-type]
    inner = form.get("decoders") or form.get("pretokenizers") or []
    return [form, *inner]


def _text_of(name: str, kind: SpellingKind) -> bytes | None:
    if kind == "bytes":
        # Added tokens stand as they are.
        known = all(letter in _BYTES for letter in name)
        return bytes(_BYTES[letter] for letter in name) if known else name.encode()
    if kind == "blanks":
        byte = _BYTE.fullmatch(name)
        return bytes([int(byte[1], 16)]) if byte else name.replace(_BLANK, " ").encode()
    if kind == "pieces" and name.startswith(_GOES_ON):
        return name.removeprefix(_GOES_ON).encode()
    # Punctuation is cut off from the word before it.
    stands_alone = kind == "words" or name[:1].isalnum()
    return f"{' ' if stands_alone else ''}{name}".encode()
