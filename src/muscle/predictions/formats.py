"""The names of the formats, and what a message says of what is read."""

from __future__ import annotations

PLAIN = "records"
"""The format name of our own records and of plain JSONL, JSON, CSV, Parquet and Arrow files."""

FOREIGN: tuple[str, ...] = (
    "lm_eval",
    "inspect",
    "promptfoo",
    "every_eval_ever",
    "helm",
    "lighteval",
    "nemo",
    "openai_evals",
    "bfcl",
    "prompt_scores",
)
"""Modules in `muscle.predictions.readers`, in the order in which they are tried; also the format names."""

CSV_SUFFIXES = (".csv", ".tsv")
TEXT_SUFFIX = ".txt"
"""Of a table, as Excel saves its "Unicode text", or of JSON lines."""
TEXT_TABLE_SUFFIXES = (*CSV_SUFFIXES, TEXT_SUFFIX)
"""Of tables whose cells are texts."""
TABLE_SUFFIXES = (*CSV_SUFFIXES, ".parquet", ".arrow", ".feather")
SUFFIXES = (".jsonl", ".ndjson", ".json", *TABLE_SUFFIXES)

READABLE = f"JSON lines, a JSON list, .csv, .tsv, .parquet, .arrow, and the files of {', '.join(FOREIGN[:-1])}"
"""What is read, for a file that is none of it."""
