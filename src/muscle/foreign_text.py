"""Foreign text and values made fit to be read: nothing in them acts or hides, and they are short.

Names and answers come from files that anyone may have written. A terminal obeys escape sequences, and right-to-left
marks turn a name round: what cannot be seen is spelled out (`visible`). What a runner of a pipeline would read as a
command is dealt with where text leaves, in `muscle.commands.outgoing`.
"""

from __future__ import annotations

import re
import reprlib
import unicodedata
from collections.abc import Iterable, Sequence

INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
MAX_MESSAGE = 2_000
"""Characters of a message; a file of one long line must not fill the log."""

MAX_LISTED = 12
"""Names that a message lists."""

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 60
_SHORT.maxlevel, _SHORT.maxdict, _SHORT.maxlist = 2, 3, 3
_BREAK = re.compile(r"[^\S\r\n]*[\r\n]\s*")


def visible(text: object, keep: str = "") -> str:
    r"""Return text with control, bidirectional, zero-width and unassigned characters spelled out.

    A name from a file may hold a right-to-left override or a terminal escape; it must neither act nor hide.

    Args:
        text: anything; made a string first.
        keep: characters to leave as they are, such as a newline.

    >>> visible("a\x1b[31mb")
    'a␛[31mb'
    >>> visible("abc\u202edef")
    'abc⟨U+202E⟩def'
    """
    plain = str(text)
    if plain.isprintable():  # then there is nothing of the kind in it
        return plain
    return "".join(_visible_character(c) if c not in keep else c for c in plain)


def _visible_character(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    return f"⟨U+{code:04X}⟩" if unicodedata.category(character) in INVISIBLE else character


def message_line(text: object, limit: int = MAX_MESSAGE) -> str:
    r"""Bring a message into one line in which nothing acts; a long one is cut in the middle: it ends with what to do.

    >>> message_line("a\n b\x1b[2J")
    'a b␛[2J'
    >>> message_line("a" * 10 + "b" * 10, 8)
    'aaaa… [12 more characters] …bbbb'
    """
    raw = str(text).strip()
    dropped = max(0, len(raw) - 2 * limit)
    shown = visible(_BREAK.sub(" ", raw[:limit] + raw[limit + dropped :]))
    if not dropped and len(shown) <= limit:
        return shown
    room = limit // 2
    hidden = dropped + max(0, len(shown) - 2 * room)
    return f"{shown[:room]}… [{hidden} more characters] …{shown[-room:]}"


def clip(text: str, limit: int) -> str:
    """Cut a text that is too long, and say by how much.

    >>> clip("a" * 2000, 3)
    'aaa… [1,997 more characters]'
    """
    return text if len(text) <= limit else f"{text[:limit]}… [{len(text) - limit:,} more characters]"


def clip_kept(text: str, limit: int) -> str:
    """Cut a text that report.json keeps, and say by how much, as all its versions have said it.

    >>> clip_kept("a" * 2000, 3)
    'aaa … [1997 more characters]'
    """
    return text if len(text) <= limit else f"{text[:limit]} … [{len(text) - limit} more characters]"


def first_few(names: Sequence[str], most: int) -> str:
    """Return the first names and how many more there are.

    >>> first_few(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def common_start(one: Sequence[object], other: Sequence[object]) -> int:
    """Return how many characters, or tokens, two texts begin with alike.

    >>> common_start("a cat", "a cow")
    3
    """
    parting = (place for place, (left, right) in enumerate(zip(one, other, strict=False)) if left != right)
    return next(parting, min(len(one), len(other)))


def beginning(text: str, limit: int) -> str:
    """Return a text's first `limit` characters, with an ellipsis where there are more.

    >>> beginning("abcdef", 3), beginning("abc", 3)
    ('abc…', 'abc')
    """
    return text if len(text) <= limit else f"{text[:limit]}…"


def one_line(text: object, limit: int) -> str:
    """Bring a text into one line without control characters, cut at `limit` characters."""
    # Of a text of megabytes only what could be shown is looked at.
    flat = visible(" ".join(str(text)[: 4 * limit].split()))
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def middle_cut(text: object, limit: int) -> str:
    """Bring a name into one line of at most `limit` characters by cutting its middle: names mostly differ at the end.

    >>> middle_cut("summarise_long_texts_9", 13)
    'summar…exts_9'
    """
    flat = one_line(text, 4 * limit)
    if len(flat) <= limit:
        return flat
    end = (limit - 1) // 2
    return flat[: limit - 1 - end] + "…" + flat[len(flat) - end :]


def kind_word(value: object) -> str:
    """Return what a value out of a file is, in a message to whoever wrote it.

    >>> [kind_word(each) for each in (None, "a", 5, True, [1], {})]
    ['nothing', 'a text', 'a number', 'true or false', 'a list', 'named fields']
    """
    match value:
        case None:
            return "nothing"
        case str():
            return "a text"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case dict():
            return "named fields"
        case _:
            return type(value).__name__


def outline(value: object) -> str:
    """Return a value as a message shows it: a large one is not written out to be cut afterwards.

    >>> outline([list(range(1_000_000))] * 9)
    '[[0, 1, 2, ...], [0, 1, 2, ...], [0, 1, 2, ...], ...]'
    """
    return _SHORT.repr(value)


def shorten(value: object, limit: int = 60) -> str:
    """Return a value as it may stand in a one-line message: at most `limit` characters, no control character."""
    form = reprlib.Repr()
    form.maxstring = form.maxother = form.maxlong = limit
    if isinstance(value, str | bytes):
        value = value[:limit]  # reprlib makes the whole text first
    shown = repr(value) if isinstance(value, str | bytes) else form.repr(value)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def listing(names: Iterable[str], most: int = MAX_LISTED) -> str:
    """Return names as they may stand in a one-line message: each short, the first few, and how many more."""
    every = list(names)
    shown = ", ".join(
        name if name.isprintable() and len(name) <= 60 else shorten(name).strip("'\"") for name in every[:most]
    )
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return f"{shown}{more}" if every else "none"
