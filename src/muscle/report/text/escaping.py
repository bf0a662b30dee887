"""Text from data as Markdown shows it: never markup, a mention, a reference or a link."""

from __future__ import annotations

import re

from muscle.foreign_text import visible

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+\-.!|~$^=>])")
# GitHub makes links of these outside of code even where they are escaped; an empty comment keeps them apart.
_LIVE = re.compile(r"(@|#(?=\w)|://|www(?=\\?\.)|GH(?=\\?-))", re.IGNORECASE)
_APART = "<!-- -->"


def escape(text: object) -> str:
    r"""Return text that Markdown shows as it is: no markup, HTML, mention, reference or link.

    >>> print(escape("*a* <b> | @c"))
    \*a\* &lt;b&gt; \| @<!-- -->c
    """
    flat = visible(" ".join(str(text).split())).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    escaped = _SPECIAL.sub(r"\\\1", flat.replace("&gt;", "\x00")).replace("\x00", "&gt;")
    return _LIVE.sub(lambda found: found[0] + _APART, escaped)
