"""`muscle sweep`: variants of one update and their controls, trained and held against each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from muscle.commands.options import AsJson, Quiet
from muscle.commands.shell import assignments, print_json, say, start
from muscle.errors import MuscleError
from muscle.foreign_text import listing

if TYPE_CHECKING:
    from muscle.sweep.sweep import SweepResult


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
    ran = f"{result.num_stages_run} stages ran" if result.num_stages_run else "nothing to do, all was done before"
    say(f"\n{ran}. The leaderboard: {result.folder / 'leaderboard.html'}")
