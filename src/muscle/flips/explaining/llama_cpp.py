"""What llama.cpp's `llama-perplexity --kl-divergence` prints, as numbers.

Lines are `LABEL: VALUE ± ERROR %`, in three sections (perplexity, KL divergence, token probabilities); the table of
chunks before them is passed over. Percentages become shares in [0, 1]. The base's logits are kept in 16 bits, so a
16-bit model against itself already shows a KL divergence of 0.00055: a self-against-self run belongs beside every
other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muscle.errors import DataError

MAX_BYTES = 32 << 20

_LINE = re.compile(
    r"^\s*(?P<label>[^:]{2,60}?)\s*:\s*(?P<value>[-+]?(?:\d+(?:\.\d*)?(?:e[-+]?\d+)?|inf|nan))\s*(?P<first>%)?"
    r"(?:\s*(?:±|\+/-)\s*(?P<error>[-+]?(?:\d+(?:\.\d*)?(?:e[-+]?\d+)?|inf|nan))\s*(?P<second>%)?)?\s*$"
)
_LINE_END = re.compile(r"\r\n|\n|\r")
_PLACES = {"mean": "mean", "median": "median", "maximum": "max", "minimum": "min", "rms": "rms"}
_NAMES = {
    "mean ppl(q)": "ppl",
    "mean ppl(base)": "ppl_base",
    "cor(ln(ppl(q)), ln(ppl(base)))": "ln_ppl_correlation",
    "mean ln(ppl(q)/ppl(base))": "ln_ppl_ratio",
    "mean ppl(q)/ppl(base)": "ppl_ratio",
    "mean ppl(q)-ppl(base)": "ppl_difference",
    "same top p": "same_top",
}


@dataclass(frozen=True)
class Divergence:
    """One run of `llama-perplexity --kl-divergence`.

    Attributes:
        values: name to value: `ppl`, `ppl_ratio`, ..., `kl_mean`, `kl_median`, `kl_p99`, `kl_max`, ..., `dp_mean`,
            `dp_p01`, `dp_rms`, ... (change of the true token's probability, share) and `same_top` (share of positions).
        errors: name to the standard error that stands after ±, where one does.
    """

    values: Mapping[str, float]
    errors: Mapping[str, float]


def parse(text: str, *, where: str = "text") -> Divergence:
    r"""Read the summary from what the tool printed.

    Args:
        text: its output; other lines do not matter.
        where: named in messages.

    Raises:
        DataError: the mean KL divergence or "Same top p" is not there, or stands there twice with other values.

    >>> parse("Mean    KLD:   0.031273 ±   0.000238\nSame top p: 91.901 ± 0.072 %").values
    {'kl_mean': 0.031273, 'same_top': 0.91901}
    """
    values: dict[str, float] = {}
    errors: dict[str, float] = {}
    for number, line in enumerate(_LINE_END.split(text), 1):
        if len(line) > 400:
            continue
        found = _LINE.match(line)
        name = _name(found["label"]) if found else None
        if found is None or name is None:
            continue
        scale = 0.01 if found["first"] or found["second"] else 1.0
        value = round(float(found["value"]) * scale, 12)
        if not math.isfinite(value):
            raise DataError(
                f"{where}, line {number}: {found['label']}: expected a finite number, found {found['value']}"
            )
        if name in values and values[name] != value:
            raise DataError(
                f"{where}, line {number}: {found['label']} stands there twice; expected the output of one run"
            )
        values[name] = value
        if found["error"] and math.isfinite(float(found["error"])):
            errors[name] = round(float(found["error"]) * scale, 12)
    for name, label in (("kl_mean", "Mean KLD"), ("same_top", "Same top p")):
        if name not in values:
            raise DataError(f"{where}: expected what llama-perplexity --kl-divergence prints, found no line {label!r}")
    return Divergence(values, errors)


def _name(label: str) -> str | None:
    """Return our name for a line's label; None for other lines."""
    plain = " ".join(label.lower().replace("δ", "Δ").split())
    if plain in _NAMES:
        return _NAMES[plain]
    for ending, prefix in ((" kld", "kl"), (" Δp", "dp")):
        if plain.endswith(ending):
            place = plain.removesuffix(ending).strip()
            if place in _PLACES:
                return f"{prefix}_{_PLACES[place]}"
            share = re.fullmatch(r"(\d{1,3}(?:\.\d+)?)%", place)
            return f"{prefix}_p{_percentile(float(share[1]))}" if share else None
    return None


def _percentile(percent: float) -> str:
    """Name a percentile: 1.0 is 01, 99.9 is 99_9."""
    whole = f"{percent:04.1f}"
    return whole.removesuffix(".0").replace(".", "_")


def read(path: Path) -> Divergence:
    """Read a file with the tool's output.

    Raises:
        DataError: it cannot be read, is larger than 32 MiB, or is no such output.
    """
    try:
        with path.open("rb") as handle:
            raw = handle.read(MAX_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(raw) > MAX_BYTES:
        raise DataError(f"{path}: expected the tool's printed output, found more than 32 MiB")
    return parse(raw.decode("utf-8", errors="replace"), where=str(path))


def judgement(found: Divergence, own: Divergence | None) -> str:
    """Say what the tails of Δp mean, by the README's rule.

    Args:
        found: the run of the compressed model.
        own: the base against itself; None where there is none.
    """
    low, high = found.values.get("dp_p01"), found.values.get("dp_p99")
    if low is None or high is None:
        return "no percentiles of Δp were printed: a newer llama.cpp prints them"
    told = f"Δp: {100 * low:+.3f} at 1%, {100 * high:+.3f} at 99%"
    if own is not None and {"dp_p01", "dp_p99"} <= own.values.keys():
        low, high = low - own.values["dp_p01"], high - own.values["dp_p99"]
    if -low > 1.5 * max(high, 0.0):
        return f"{told}: the negative tail is heavier, which means damage"
    return f"{told}: the tails are about alike, which means noise"


def to_json(found: Divergence, own: Divergence | None) -> dict[str, Any]:
    """Return both runs and the judgement as plain data."""

    def plain(each: Divergence) -> dict[str, Any]:
        return {name: {"value": v, "error": each.errors.get(name)} for name, v in each.values.items()}

    return {
        "new": plain(found),
        "self": plain(own) if own else None,
        "judgement": judgement(found, own),
        "why": None if own else "no self-vs-self run: give --self FILE",
    }


def lines(found: Divergence, own: Divergence | None) -> list[str]:
    """Return a table for a terminal: each number beside the base's against itself, then the judgement."""
    names = [*found.values, *(name for name in (own.values if own else {}) if name not in found.values)]
    width = max(map(len, names))
    table = [f"{'':{width}}  {'new':>22}  {'self':>22}"]
    for name in names:
        cells = [_cell(name, each) for each in (found, own)]
        table.append(f"{name:{width}}  {cells[0]:>22}  {cells[1]:>22}")
    if own is None:
        table.append("no self-vs-self run: give --self FILE, else these numbers say little")
    return [*table, judgement(found, own)]


def _cell(name: str, each: Divergence | None) -> str:
    if each is None or name not in each.values:
        return "-"
    scale, unit = (100.0, " %") if name.startswith("dp_") or name in ("same_top", "ln_ppl_correlation") else (1.0, "")
    error = f" ± {scale * each.errors[name]:.6g}" if name in each.errors else ""
    return f"{scale * each.values[name]:.6g}{error}{unit}"
