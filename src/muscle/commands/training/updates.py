"""The commands of a whole update: demo, update, sweep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from muscle.commands.options import AsJson, Out, Quiet
from muscle.commands.shell import assignments, check_outputs, print_json, say, show_report, start
from muscle.errors import ConfigError, MuscleError
from muscle.foreign_text import listing

if TYPE_CHECKING:
    from muscle.config.update_file import UpdateConfig
    from muscle.sweep.sweep import SweepResult


Vary = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=V1,V2", help="Values of a key, e.g. alignment.mask=old_right,old_always. Repeatable."),
]
Presets = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME", help="Predefined variants: table7 (the paper's), controls, methods, rivals. Repeatable."
    ),
]
Seeds = Annotated[str | None, typer.Option(metavar="0,1,2", help="Train everything with each of these seeds.")]
Third = Annotated[
    str | None,
    typer.Option(metavar="BASE", help="Add controls in which this unrelated base teaches instead of the old model."),
]
Share = Annotated[str | None, typer.Option(metavar="I/N", help="Train the I-th of N shares, e.g. in a Slurm array.")]


def demo(
    out: Out = Path("muscle-demo"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bases' pre-training, the split and the adapters.")] = 0,
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
    """Run a whole update on an embedded example.

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
            help="With --dry-run: say whether every stage fits this GPU, and what to change: rtx4090, a10, l4, a100, "
            "h100, or a size such as 24GB.",
        ),
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Run all stages of an update, or only what changed.

    Fine-tunes both task adapters, trains the compatibility adapter, scores all of them, compares, and writes
    a report. A stopped run resumes; a finished one does nothing.
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
    jobs: Annotated[int, typer.Option(min=1, help="Trainings to run at the same time, each in its own process.")] = 1,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Output folder; default: sweep/ in the update's run folder.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replace a key for all variants, e.g. training.epochs=3."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the jobs and their state; run nothing.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train variants of an update with all controls, and compare them.

    Task adapters and teachers are made once. A stopped sweep resumes; if a variant fails, the others still run, and the
    exit code is 3.
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


def _update_config(path: Path, pairs: list[str]) -> UpdateConfig:
    from muscle.config.update_file import load_config

    return load_config(path, overrides=assignments(pairs))


def _show_plan(settings: UpdateConfig, gpu: str | None, *, as_json: bool) -> None:
    from muscle.pipeline.dry_run import plan_update
    from muscle.pipeline.memory.cards import card_of

    plan = plan_update(settings, card=None if gpu is None else card_of(gpu))
    if as_json:
        print_json(plan.to_json())
        return
    from rich.console import Console

    from muscle.pipeline.terminal import print_plan

    print_plan(plan, Console())


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
