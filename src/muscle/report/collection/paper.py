"""The paper's own results, as it prints them: MUSCLE (2024, arXiv 2407.09435v2), Tables 4 to 6."""

from __future__ import annotations

from typing import NamedTuple


class Printed(NamedTuple):
    """One update on one task, in percent (ROUGE-1 from 0 to 100).

    Attributes:
        n: test items, by its Table 3; rounded there for three of the tasks.
        v1: accuracy, exact match or ROUGE-1 of the old version.
        v2: of the new one.
        compat: of the compatible one.
        nfr: negative flip rate, old to new.
        percent: d%NFR_c.
        mean_gain: dm_g; for ROUGE alone.
        mean_regression: dm_r; for ROUGE alone.
    """

    n: int
    v1: float
    v2: float
    compat: float
    nfr: float
    percent: float
    mean_gain: float | None = None
    mean_regression: float | None = None


_LLAMA, _VICUNA, _PHI_2, _PHI_15 = "Llama 1 to 2, 7B", "Vicuna 1.3 to 1.5, 7B", "Phi 1.5 to 2", "Phi 1 to 1.5"

PAPER: dict[tuple[str, str], Printed] = {
    ("hellaswag", _LLAMA): Printed(10_000, 72.74, 72.91, 79.53, 10.27, -40.60),
    ("hellaswag", _VICUNA): Printed(10_000, 72.19, 71.54, 78.10, 10.48, -38.74),
    ("hellaswag", _PHI_2): Printed(10_000, 69.76, 78.02, 77.86, 3.09, 7.77),
    ("hellaswag", _PHI_15): Printed(10_000, 32.38, 69.76, 69.86, 2.47, -5.26),
    ("piqa", _LLAMA): Printed(3_000, 74.86, 74.76, 79.27, 11.59, -34.25),
    ("piqa", _VICUNA): Printed(3_000, 74.70, 75.52, 78.89, 9.90, -29.09),
    ("piqa", _PHI_2): Printed(3_000, 74.65, 78.78, 78.94, 6.20, -1.77),
    ("piqa", _PHI_15): Printed(3_000, 59.03, 74.65, 74.70, 7.78, -0.64),
    ("gsm8k", _LLAMA): Printed(1_300, 24.45, 33.09, 36.66, 8.49, -10.72),
    ("gsm8k", _VICUNA): Printed(1_300, 26.72, 29.91, 31.84, 11.60, -8.53),
    ("gsm8k", _PHI_2): Printed(1_300, 30.02, 48.18, 50.68, 5.88, -29.08),
    ("gsm8k", _PHI_15): Printed(1_300, 3.41, 30.02, 26.99, 2.01, -1.99),
    ("samsum", _LLAMA): Printed(819, 32.06, 32.28, 34.79, 48.96, -15.95, 0.64, -1.13),
    ("samsum", _VICUNA): Printed(819, 30.32, 30.88, 34.08, 49.69, -22.10, -0.02, -1.85),
    ("samsum", _PHI_2): Printed(819, 37.53, 36.15, 40.69, 54.70, -27.46, 0.24, -3.39),
    ("samsum", _PHI_15): Printed(819, 30.92, 37.53, 38.76, 32.60, -17.61, -0.38, -0.59),
}
"""By task and update."""
