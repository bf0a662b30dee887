"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Precision = Literal["auto", "bf16", "float32"]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no tables; errors only.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="NAME",
        help="The files' format: records, lm_eval, inspect, promptfoo, every_eval_ever, helm, lighteval, nemo, "
        "openai_evals, bfcl or prompt_scores. Default: detected from the content.",
    ),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="OURS=THEIRS",
        help="Which column of a plain table is which field, e.g. correct=is_right. Repeatable.",
    ),
]
MetricName = Annotated[
    str | None,
    typer.Option(
        "--metric", metavar="NAME", help="The metric that decides, e.g. acc_norm; default: the harness's own."
    ),
]
FilterName = Annotated[
    str | None,
    typer.Option(
        "--filter", metavar="NAME", help="Which of several ways to extract an answer decides, e.g. strict-match."
    ),
]
Allow = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        metavar="WHAT",
        help="Allow a difference besides the model: prompts, documents, references, metric or judge. Repeatable.",
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Slice whose items belong together, e.g. questions on one text."),
]
Epsilon = Annotated[
    float, typer.Option(min=0, help="A continuous score that changes by no more than this is unchanged.")
]
LowerIsBetter = Annotated[
    list[str] | None,
    typer.Option(metavar="SCORE", help="A score for which lower is better, e.g. perplexity. Repeatable."),
]
MaxUnpaired = Annotated[
    float, typer.Option(min=0, max=1, help="Refuse runs with a larger share of items that are in one run only.")
]
EpsilonItem = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        help="With repeats: smallest change of an item's pass rate that counts as regressed or improved.",
    ),
]
ItemFamily = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="With repeats: control the false discovery rate separately for each value of this slice."
    ),
]
ItemTest = Annotated[
    Literal["fisher", "boschloo"],
    typer.Option(help="With repeats: the test of an item's answers; boschloo finds more if there are few."),
]
Rerun = Annotated[
    str | None,
    typer.Option(
        "--rerun",
        metavar="RUN",
        help="A second run of the old version; what flips between its two runs is noise.",
    ),
]
Candidate = Annotated[
    str | None,
    typer.Option(metavar="RUN", help="Another new version, to be judged instead of NEW and shown next to it."),
]
On = Annotated[
    Literal["auto", "id"],
    typer.Option(help="How the same item is found: auto by its text, else its id; id by its id alone."),
]
_WRITTEN = "What is written"
Markdown = Annotated[
    Path | None, typer.Option(rich_help_panel=_WRITTEN, help="Write it as Markdown, for a pull request.")
]
Html = Annotated[Path | None, typer.Option(rich_help_panel=_WRITTEN, help="Write the report as one HTML file.")]
JsonFile = Annotated[
    Path | None,
    typer.Option("--json", rich_help_panel=_WRITTEN, help="Write the result as JSON; - prints it, and nothing else."),
]
NoTexts = Annotated[
    bool,
    typer.Option(
        "--no-texts",
        rich_help_panel=_WRITTEN,
        help="Leave inputs, options, references and answers out of all outputs; an item is named "
        "by its id and its input's hash.",
    ),
]
TaskOption = Annotated[
    str, typer.Option("--task", "-t", help="hellaswag, piqa, gsm8k, samsum, or the path of a task's YAML.")
]
TrainOption = Annotated[
    str | None,
    typer.Option(
        "--train",
        help="Training data: JSONL, Parquet or CSV file, or hub:name[/config]:split; default: a built-in task's own. "
        "For `evaluate`, where prompt.num_fewshot's solved examples come from.",
    ),
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Where the result is written.")]
Settings = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="YAML with `lora`, `training`, `alignment`, `prompt` sections; default: the paper's Table 8.",
    ),
]
