"""Foreign text made short enough to be read: names, answers and sentences from files of any length."""

from __future__ import annotations

from collections.abc import Sequence

from muscle.outgoing import visible


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
