"""The commands of one step alone: finetune, align, evaluate, export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from muscle.commands.options import Out, Precision, Quiet, Settings, TaskOption, TrainOption
from muscle.commands.shell import assignments, check_outputs, say, start
from muscle.errors import ConfigError

if TYPE_CHECKING:
    from muscle.config.update_file import StageSettings
    from muscle.training.run import TrainingResult


def finetune(
    base: Annotated[str, typer.Option("--base", help="Hub name, local folder or .gguf file.")],
    task: TaskOption,
    out: Out,
    train: TrainOption = None,
    config: Settings = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="e.g. training.epochs=3")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Use only the first so many rows.")] = None,
    quiet: Quiet = False,
) -> None:
    """Train a LoRA task adapter on one base."""
    start(quiet)
    check_outputs(out, folder=True, whole=True)
    from muscle.pipeline.steps import finetune_step

    result = finetune_step(base, task, train, out, settings=_stage_settings(config, set_ or []), limit=limit)
    if not quiet:
        _say_training(out, result)


def align(
    old: Annotated[str, typer.Option("--old", metavar="BASE+ADAPTER", help="The old base and its task adapter.")],
    new: Annotated[str, typer.Option("--new", metavar="BASE+ADAPTER", help="The new base and its task adapter.")],
    task: TaskOption,
    out: Out,
    train: TrainOption = None,
    test: Annotated[
        str | None, typer.Option("--test", help="Test data, which is left out of alignment.unlabelled.")
    ] = None,
    config: Settings = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="e.g. alignment.temperature=1")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Use only the first so many rows.")] = None,
    quiet: Quiet = False,
) -> None:
    """Train the compatibility adapter on the new base.

    It starts from the new task adapter and learns from both task models, to keep the new one's gains and the old
    one's right answers.
    """
    start(quiet)
    check_outputs(out, folder=True, whole=True)
    from muscle.pipeline.steps import align_step

    settings = _stage_settings(config, set_ or [])
    result = align_step(old, new, task, train, out, settings=settings, limit=limit, test=test)
    if not quiet:
        _say_training(out, result)


def evaluate(
    model: Annotated[
        str, typer.Option("--model", metavar="BASE[+ADAPTER]", help="A base, with or without an adapter.")
    ],
    task: TaskOption,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for TASK.jsonl and run.json.")],
    data: Annotated[
        str | None,
        typer.Option("--data", help="Test data: a file, or hub:name[/config]:split; default: a built-in task's own."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Options or prompts per forward pass.")] = 16,
    precision: Annotated[Precision, typer.Option(help="Precision of the weights.")] = "auto",
    limit: Annotated[int | None, typer.Option(min=1, help="Score only this many rows.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Answers per item; more than one needs --temperature.")] = 1,
    temperature: Annotated[float, typer.Option(min=0, max=10, help="Sampling temperature; 0 is greedy.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sampled answers.")] = 0,
    backend: Annotated[
        Literal["hf", "vllm"], typer.Option(help="What runs the model: transformers, or vLLM (docs/scale.md).")
    ] = "hf",
    vllm: Annotated[
        list[str] | None,
        typer.Option("--vllm", metavar="KEY=VALUE", help="An argument for vLLM, e.g. max_model_len=4096. Repeatable."),
    ] = None,
    train: TrainOption = None,
    config: Settings = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="e.g. prompt.chat_template=true")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Score a model on a task, with one record per item and repeat.

    lm-evaluation-harness does the scoring.
    """
    start(quiet)
    check_outputs(out, folder=True)
    if repeats > 1 and temperature == 0:
        raise ConfigError(f"--repeats {repeats}: greedy answers are all the same; add --temperature, e.g. 0.7")
    from muscle.evaluation.sampling import Sampling
    from muscle.pipeline.steps import Backend, evaluate_step

    arguments = assignments(vllm or [], option="--vllm", example="max_model_len=4096")
    written = evaluate_step(
        model,
        task,
        data,
        out,
        backend=Backend(backend, precision, batch_size, arguments),
        sampling=Sampling(repeats, temperature, seed),
        limit=limit,
        settings=_stage_settings(config, set_ or []),
        train=train,
    )
    if not quiet:
        say(str(written))


def export(
    adapter: Annotated[Path, typer.Argument(help="A PEFT folder: adapters/compat/TASK of a run, or your own.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write.")],
    merged: Annotated[
        bool, typer.Option("--merged", help="Write the adapter merged into its base, as a whole model.")
    ] = False,
    base: Annotated[
        str | None, typer.Option(help="The base, if the adapter names none or a path on another machine.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing folder.")] = False,
    quiet: Quiet = False,
) -> None:
    """Write an adapter for others to use, and print the commands that serve it.

    Writes the adapter with a model card, or with --merged a whole model, checked to answer as the adapter does. The
    printed commands are filled in for this adapter: vLLM, Python, merge, hub, GGUF.
    """
    start(quiet)
    check_outputs(out, folder=True, whole=True)
    from muscle.shipping.export import export_adapter

    result = export_adapter(adapter, out, merged=merged, base=base, force=force)
    if quiet:
        return
    checked = "" if result.kl is None else f"; it answers as the adapter does (KL {result.kl:.1g} nats a token)"
    say(f"wrote {out}{checked}")
    for lines in result.lines:
        say(f"\n# {lines.title}{': ' if lines.remark else ''}{lines.remark}\n{lines.text}")


def _say_training(out: Path, result: TrainingResult) -> None:
    if not result.validation_losses:
        say(f"{out}: added up, nothing was trained")
        return
    loss, before = min(result.validation_losses), result.loss_before
    was = "" if before is None else f", before training {before:.4f}"
    say(f"{out}: epoch {result.best_epoch} of {result.num_epochs}, validation loss {loss:.4f}{was}")


def _stage_settings(path: Path | None, pairs: list[str]) -> StageSettings:
    from muscle.config.update_file import load_stage_settings

    return load_stage_settings(path, overrides=assignments(pairs))
