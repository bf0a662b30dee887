"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Precision = Literal["auto", "bf16", "float32"]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no tables; errors only.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
Format = Annotated[str | None, typer.Option("--format", help="How the files are written; found out without.")]
Columns = Annotated[
    list[str] | None,
    typer.Option("--column", metavar="OURS=THEIRS", help="A column of another name, e.g. correct=is_right."),
]
Allow = Annotated[
    list[str] | None,
    typer.Option(
        "--allow", help="What may differ beside the model: prompts, documents, references, metric, judge."
    ),
]
Cluster = Annotated[
    str | None, typer.Option(help="Slice whose items belong together, e.g. questions on one text.")
]
Epsilon = Annotated[
    float, typer.Option(min=0, help="A continuous score that changes by no more than this is unchanged.")
]
LowerIsBetter = Annotated[
    list[str] | None, typer.Option(help="A score of which less is better, e.g. perplexity.")
]
MaxUnpaired = Annotated[
    float, typer.Option(min=0, max=1, help="Refuse when a larger share of items is in one run only.")
]
EpsilonItem = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        help="With repeats: least change of an item's pass rate that makes it regressed or improved.",
    ),
]
ItemFamily = Annotated[
    str | None,
    typer.Option(help="With repeats: hold the items' false discovery rate in each value of this slice."),
]
ItemTest = Annotated[
    Literal["fisher", "boschloo"],
    typer.Option(help="With repeats: test of an item's answers; Boschloo's finds more with few of them."),
]
Rerun = Annotated[
    Path | None,
    typer.Option("--rerun", help="A second run of the old version: what it flips against itself is noise."),
]
TaskOption = Annotated[
    str, typer.Option("--task", "-t", help="hellaswag, piqa, gsm8k, samsum, or the path of a task's YAML.")
]
TrainOption = Annotated[
    str | None,
    typer.Option(
        "--train",
        help="Training data: JSONL, Parquet or CSV file, or hub:name[/config]:split; a built-in task's own without.",
    ),
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Where the result is written.")]
Settings = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="YAML with `lora`, `training`, `alignment` sections; the paper's Table 8 without.",
    ),
]
