"""The commands that train and score: demo, update, sweep, finetune, align, evaluate, export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from muscle.commands.options import AsJson, Out, Precision, Quiet, Settings, TaskOption, TrainOption
from muscle.commands.shell import assignments, check_outputs, print_json, say, show_report, start
from muscle.errors import ConfigError, MuscleError
from muscle.foreign_text import listing

if TYPE_CHECKING:
    from muscle.config.update_file import StageSettings, UpdateConfig
    from muscle.sweep.sweep import SweepResult
    from muscle.training.run import TrainingResult


Vary = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=V1,V2", help="Values of a key, e.g. alignment.mask=old_right,old_always. Repeatable."),
]
Presets = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Ready variants: table7 (the paper's), controls, methods, rivals. Repeatable."),
]
Seeds = Annotated[str | None, typer.Option(metavar="0,1,2", help="Train everything with each of these seeds.")]
Third = Annotated[str | None, typer.Option(metavar="BASE", help="Control: an unrelated base in the old one's place.")]
Share = Annotated[str | None, typer.Option(metavar="I/N", help="Train the I-th of N shares, e.g. in a Slurm array.")]


def demo(
    out: Out = Path("muscle-demo"),
    seed: Annotated[int, typer.Option(min=0, help="Of the bases' pre-training, the split and the adapters.")] = 0,
    gap: Annotated[
        bool, typer.Option("--gap", help="The hard case: an old base that learnt from much less text.")
    ] = False,
    base: Annotated[
        Literal["tiny", "smollm2"],
        typer.Option(help="`tiny`: bases pre-trained here, no download. `smollm2`: SmolLM2-135M on PIQA (slow)."),
    ] = "tiny",
    data: Annotated[
        Path | None, typer.Option(help="With --base smollm2: folder with PIQA's train.jsonl and test.jsonl.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Do the whole way on an embedded example.

    Pre-trains two tiny bases, trains the adapters, scores, compares, and writes a report; about three minutes
    on two cores.
    """
    start(quiet)
    check_outputs(out, folder=True)
    from muscle.demo.run import run_demo

    result = run_demo(out, seed=seed, gap=gap, base=base, data=data)
    show_report(result.report, quiet=quiet)
    if not quiet:
        say(f"\nThe report: {result.folder / 'report.html'}")


def update(
    config: Annotated[Path, typer.Argument(help="The update's YAML (see muscle init).")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replace a key, e.g. training.epochs=3."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the stages, their tokens, memory and time; run nothing.")
    ] = False,
    gpu: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="With --dry-run: whether every stage fits this card, and what to change: rtx4090, a10, l4, a100, "
            "h100, or a size such as 24GB.",
        ),
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Run all stages of an update, or what changed.

    Fine-tunes both task adapters, trains the compatibility adapter, scores all of them, compares, and writes
    a report. A stopped run goes on where it was; a second run does nothing.
    """
    start(quiet)
    if gpu is not None and not dry_run:
        raise ConfigError("--gpu: only read with --dry-run; the update itself takes the GPU that is there")
    settings = _update_config(config, set_ or [])
    if dry_run:
        _show_plan(settings, gpu, as_json=as_json)
        return
    from muscle.pipeline.update import update as run_update

    result = run_update(settings)
    if as_json:
        print_json(result.report.to_json())
        return
    show_report(result.report, quiet=quiet)
    if not quiet:
        say(f"\n{_ran(result.num_stages_run)}. The report: {result.folder / 'report.html'}")


def sweep(
    config: Annotated[Path, typer.Argument(help="The update's YAML (see muscle init); its sweep section is read.")],
    vary: Vary = None,
    preset: Presets = None,
    seeds: Seeds = None,
    third: Third = None,
    no_controls: Annotated[bool, typer.Option("--no-controls", help="Leave the controls out.")] = False,
    only: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Train this row alone. Repeatable.")] = None,
    part: Share = None,
    jobs: Annotated[int, typer.Option(min=1, help="Trainings at a time, in processes of their own.")] = 1,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Its folder; sweep/ in the update's run folder without.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replace a key for all variants, e.g. training.epochs=3."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the jobs and their state; run nothing.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train variants of an update and the controls, and hold them against each other.

    Task adapters and teachers are made once. A stopped sweep goes on where it was; a variant that fails does not stop
    the others, and makes the exit code 3 at the end.
    """
    start(quiet)
    check_outputs(out, folder=True)
    from muscle.sweep import sweep as sweeping

    overrides = assignments(set_ or []) | _of_sweep(vary or [], preset or [], seeds, third)
    share = sweeping.Part.parse(part) if part else None
    if dry_run:
        from muscle.sweep import dry_run as planned  # `dry_run` is the option

        plan = planned.plan_sweep(config, overrides, out=out, controls=not no_controls, only=only or [], part=share)
        print_json(plan.to_json()) if as_json else planned.print_plan(plan)
        return
    result = sweeping.sweep(
        config, overrides=overrides, out=out, controls=not no_controls, only=only or [], part=share, processes=jobs
    )
    if as_json:
        print_json(result.leaderboard.to_json())
    elif not quiet:
        _show_sweep(result)
    if result.failed:
        names = listing([each.job for each in result.failed], 4)
        raise MuscleError(
            f"{len(result.failed)} of {len(result.outcomes)} jobs failed: {names}; the leaderboard says why, the "
            "others are done; run the same command again once it is mended"
        )


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
    config: Settings = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="e.g. alignment.temperature=1")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Use only the first so many rows.")] = None,
    quiet: Quiet = False,
) -> None:
    """Train the compatibility adapter on the new base.

    It starts from the new task adapter and learns from both task models: the new one's gain, the old one's
    right answers.
    """
    start(quiet)
    check_outputs(out, folder=True, whole=True)
    from muscle.pipeline.steps import align_step

    result = align_step(old, new, task, train, out, settings=_stage_settings(config, set_ or []), limit=limit)
    if not quiet:
        _say_training(out, result)


def evaluate(
    model: Annotated[str, typer.Option("--model", metavar="BASE[+ADAPTER]", help="A base, with an adapter or bare.")],
    task: TaskOption,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for TASK.jsonl and run.json.")],
    data: Annotated[
        str | None,
        typer.Option("--data", help="Test data: a file, or hub:name[/config]:split; a built-in task's own without."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Options or prompts a forward pass.")] = 16,
    precision: Annotated[Precision, typer.Option(help="Of the weights.")] = "auto",
    limit: Annotated[int | None, typer.Option(min=1, help="Score only the first so many rows.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Answers an item; more than one needs --temperature.")] = 1,
    temperature: Annotated[float, typer.Option(min=0, max=10, help="Answers are sampled; 0 is greedy.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the sampled answers.")] = 0,
    backend: Annotated[
        Literal["hf", "vllm"], typer.Option(help="What computes: transformers, or vLLM (docs/scale.md).")
    ] = "hf",
    vllm: Annotated[
        list[str] | None,
        typer.Option("--vllm", metavar="KEY=VALUE", help="With it, e.g. max_model_len=4096. Repeatable."),
    ] = None,
    train: TrainOption = None,
    config: Settings = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="e.g. prompt.chat_template=true")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Score a model on a task, one record an item and repeat.

    Scoring is lm-evaluation-harness's.
    """
    start(quiet)
    check_outputs(out, folder=True)
    from muscle.pipeline.steps import evaluate_step

    written = evaluate_step(
        model,
        task,
        data,
        out,
        batch_size=batch_size,
        precision=precision,
        limit=limit,
        repeats=repeats,
        temperature=temperature,
        seed=seed,
        backend=backend,
        vllm=assignments(vllm or [], option="--vllm", example="max_model_len=4096"),
        settings=_stage_settings(config, set_ or []),
        train=train,
    )
    if not quiet:
        say(str(written))


def export(
    adapter: Annotated[Path, typer.Argument(help="A PEFT folder: adapters/compat/TASK of a run, or your own.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write.")],
    merged: Annotated[bool, typer.Option("--merged", help="The adapter merged into its base: a whole model.")] = False,
    base: Annotated[
        str | None, typer.Option(help="The base, where the adapter names none or a path of another machine.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing folder.")] = False,
    quiet: Quiet = False,
) -> None:
    """Make an adapter ready for others, and print the lines that serve it.

    Writes the adapter with a model card, or with --merged a whole model, checked to answer as the adapter does. The
    lines are exact for this adapter: vLLM, Python, merge, hub, GGUF.
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


def _update_config(path: Path, pairs: list[str]) -> UpdateConfig:
    from muscle.config.update_file import load_config

    return load_config(path, overrides=assignments(pairs))


def _show_plan(settings: UpdateConfig, gpu: str | None, *, as_json: bool) -> None:
    from muscle.pipeline import dry_run as plans
    from muscle.pipeline.memory.cards import card_of
    from muscle.pipeline.memory.plan_memory import print_memory

    plan = plans.plan_update(settings, card=None if gpu is None else card_of(gpu))
    if not as_json:
        plans.print_plan(plan)
        plans.print_resources(plan)
        if plan.memory is not None:
            print_memory(plan.memory)
        return
    print_json(
        {
            "stages": [stage.as_dict() for stage in plan.stages],
            "resources": plans.resources_as_dict(plan),
            "memory": plan.memory.as_dict() if plan.memory else None,
            "notes": list(plan.notes),
        }
    )


def _say_training(out: Path, result: TrainingResult) -> None:
    if not result.validation_losses:
        say(f"{out}: added up, nothing was trained")
        return
    loss = min(result.validation_losses)
    say(f"{out}: epoch {result.best_epoch} of {result.num_epochs}, validation loss {loss:.4f}")


def _stage_settings(path: Path | None, pairs: list[str]) -> StageSettings:
    from muscle.config.update_file import load_stage_settings

    return load_stage_settings(path, overrides=assignments(pairs))


def _of_sweep(vary: list[str], presets: list[str], seeds: str | None, third: str | None) -> dict[str, object]:
    """Return the command line's options as keys of the file's section; what is varied joins what the file varies."""
    from muscle.sweep.variants import vary as read_vary
    from muscle.yaml_files import yaml_value

    found: dict[str, object] = {}
    if vary:
        found["sweep.vary"] = dict(read_vary(text) for text in vary)
    if presets:
        found["sweep.presets"] = presets
    if seeds is not None:
        found["sweep.seeds"] = yaml_value(f"[{seeds}]")
    if third is not None:
        found["sweep.third"] = third
    return found


def _show_sweep(result: SweepResult) -> None:
    from rich.console import Console

    from muscle.leaderboard.terminal import print_leaderboard

    print_leaderboard(result.leaderboard, Console())
    say(f"\n{_ran(result.num_stages_run)}. The leaderboard: {result.folder / 'leaderboard.html'}")


def _ran(num_stages: int) -> str:
    return f"{num_stages} stages ran" if num_stages else "nothing to do, every stage was done before"
