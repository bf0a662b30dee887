"""The `muscle` command: parse, call, print. Everything heavy is imported inside the commands, so that help is instant.

Exit codes: 0 pass, 1 block, 2 cannot tell (or warn under `--strict`), 3 bad input or configuration, 130 interrupted.
"""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.exceptions import TyperException

from muscle.errors import ConfigError, MuscleError

if TYPE_CHECKING:
    from muscle.config import UpdateConfig

BAD_INPUT, INTERRUPTED = 3, 130
_INTERRUPTED = "interrupted; what was finished is kept, and the same command goes on from there"
VERDICT_CODES = {"pass": 0, "warn": 0, "block": 1, "cannot_tell": 2}

app = typer.Typer(
    name="muscle",
    help="See, stop and fix the negative flips of an LLM update: answers that were right and go wrong.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

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
TaskOption = Annotated[
    str, typer.Option("--task", "-t", help="hellaswag, piqa, gsm8k, samsum, or the path of a task's YAML.")
]
TrainOption = Annotated[
    str,
    typer.Option("--train", help="Training data: JSONL, Parquet or CSV file, or hub:name[/config]:split."),
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


baselines_app = typer.Typer(
    help="Keep accepted runs as named baselines for the gate.", rich_markup_mode=None, no_args_is_help=True
)
app.add_typer(baselines_app, name="baseline")


def main() -> None:
    """Run the command line; every expected failure ends in one line and a documented exit code."""
    try:
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except MuscleError as error:
        _fail(str(error), BAD_INPUT)
    except KeyboardInterrupt:
        _fail(_INTERRUPTED, INTERRUPTED)
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        _fail(f"{error.filename or 'system'}: {error.strerror or error}", BAD_INPUT)
    except typer.Abort:
        _fail(_INTERRUPTED, INTERRUPTED)
    except TyperException as error:
        context = getattr(error, "ctx", None)
        hint = f" (see {context.command_path} --help)" if context else ""
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        _fail(f"{message}{hint}", BAD_INPUT)
    if code == INTERRUPTED:  # typer's own answer to Ctrl-C
        _fail(_INTERRUPTED, INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> None:
    sys.stderr.write(f"muscle: {message}\n")
    sys.exit(code)


def _start(quiet: bool) -> None:
    """Set up what a command shows: notes and warnings on standard error, no third party's chatter."""
    from muscle.progress import set_quiet

    set_quiet(quiet)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    ours = logging.getLogger("muscle")
    ours.handlers = [handler]
    ours.setLevel(logging.ERROR if quiet else logging.INFO)
    # Deprecation notices of the libraries below are for their developers, not for our users.
    warnings.simplefilter("ignore")


def _version(show: bool) -> None:
    if show:
        from importlib.metadata import version

        typer.echo(f"muscle {version('muscle-llm')}")
        raise typer.Exit


@app.callback()
def _global(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def demo(
    out: Out = Path("muscle-demo"),
    seed: Annotated[int, typer.Option(help="Of the bases' pre-training, the split and the adapters.")] = 0,
    gap: Annotated[
        bool, typer.Option("--gap", help="The hard case: an old base that learnt from much less text.")
    ] = False,
    base: Annotated[
        Literal["tiny", "smollm2"],
        typer.Option(
            help="`tiny`: bases pre-trained here, no download. `smollm2`: SmolLM2-135M on PIQA (slow)."
        ),
    ] = "tiny",
    data: Annotated[
        Path | None, typer.Option(help="With --base smollm2: folder with PIQA's train.jsonl and test.jsonl.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Do the whole way on an embedded example.

    Pre-trains two tiny bases, trains the adapters, scores, compares, and writes a report; under three minutes on two cores.
    """
    _start(quiet)
    from muscle.demo.run import run_demo

    result = run_demo(out, seed=seed, gap=gap, base=base, data=data)
    _show(result.report, quiet=quiet, as_json=False)
    if not quiet:
        typer.echo(f"\nThe report: {result.folder / 'report.html'}")


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("update.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Write a commented update.yaml to start from."""
    from muscle.files import write_text
    from muscle.template import UPDATE_YAML

    if path.exists() and not force:
        raise ConfigError(f"{path}: exists already; --force replaces it")
    write_text(path, UPDATE_YAML)
    typer.echo(f"wrote {path}; edit it, then: muscle update {path} --dry-run")


@app.command()
def update(
    config: Annotated[Path, typer.Argument(help="The update's YAML (see muscle init).")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replace a key, e.g. training.epochs=3."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the stages and their tokens; run nothing.")
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Run all stages of an update, or what changed.

    Fine-tunes both task adapters, trains the compatibility adapter, scores all of them, compares, and writes a report. A
    stopped run goes on where it was; a second run does nothing.
    """
    _start(quiet)
    settings = _load(config, set_ or [])
    if dry_run:
        from muscle.planning import plan_stages, print_plan

        stages = plan_stages(settings)
        _print_json([stage.as_dict() for stage in stages]) if as_json else print_plan(stages)
        return
    from muscle.update import update as run_update

    result = run_update(settings)
    _show(result.report, quiet=quiet, as_json=as_json)
    if not quiet and not as_json:
        ran = (
            f"{result.num_stages_run} stages ran"
            if result.num_stages_run
            else "nothing to do, every stage was done before"
        )
        typer.echo(f"\n{ran}. The report: {result.folder / 'report.html'}")


@app.command()
def finetune(
    base: Annotated[str, typer.Option("--base", help="Hub name, local folder or .gguf file.")],
    task: TaskOption,
    train: TrainOption,
    out: Out,
    config: Settings = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="e.g. training.epochs=3")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Use only the first so many rows.")] = None,
    quiet: Quiet = False,
) -> None:
    """Train a LoRA task adapter on one base."""
    _start(quiet)
    from muscle.steps import finetune_step

    result = finetune_step(base, task, train, out, settings=_stage_settings(config, set_ or []), limit=limit)
    if not quiet:
        typer.echo(
            f"{out}: epoch {result.best_epoch} of {result.num_epochs}, validation loss {min(result.validation_losses):.4f}"
        )


@app.command()
def align(
    old: Annotated[
        str, typer.Option("--old", metavar="BASE+ADAPTER", help="The old base and its task adapter.")
    ],
    new: Annotated[
        str, typer.Option("--new", metavar="BASE+ADAPTER", help="The new base and its task adapter.")
    ],
    task: TaskOption,
    train: TrainOption,
    out: Out,
    config: Settings = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="e.g. alignment.temperature=1")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Use only the first so many rows.")] = None,
    quiet: Quiet = False,
) -> None:
    """Train the compatibility adapter on the new base.

    It starts from the new task adapter and learns from both task models: the new one's gain, the old one's right answers.
    """
    _start(quiet)
    from muscle.steps import align_step

    result = align_step(old, new, task, train, out, settings=_stage_settings(config, set_ or []), limit=limit)
    if not quiet:
        typer.echo(
            f"{out}: epoch {result.best_epoch} of {result.num_epochs}, validation loss {min(result.validation_losses):.4f}"
        )


@app.command()
def evaluate(
    model: Annotated[
        str, typer.Option("--model", metavar="BASE[+ADAPTER]", help="A base, with an adapter or bare.")
    ],
    task: TaskOption,
    data: Annotated[str, typer.Option("--data", help="Test data: a file, or hub:name[/config]:split.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for TASK.jsonl and run.json.")],
    batch_size: Annotated[int, typer.Option(min=1, help="Options or prompts a forward pass.")] = 16,
    precision: Annotated[Precision, typer.Option(help="Of the weights.")] = "auto",
    limit: Annotated[int | None, typer.Option(help="Score only the first so many rows.")] = None,
    quiet: Quiet = False,
) -> None:
    """Score a model on a task, one record an item.

    Scoring is lm-evaluation-harness's.
    """
    _start(quiet)
    from muscle.steps import evaluate_step

    written = evaluate_step(model, task, data, out, batch_size=batch_size, precision=precision, limit=limit)
    if not quiet:
        typer.echo(str(written))


@app.command()
def compare(
    old: Annotated[Path, typer.Argument(help="The old version's results: a file or folder.")],
    new: Annotated[Path, typer.Argument(help="The new version's.")],
    candidate: Annotated[
        Path | None, typer.Option(help="A second new version, held against the first.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report as one HTML file.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write it as Markdown, for a pull request.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write it as JSON; - prints it.")] = None,
    format_: Format = None,
    columns: Columns = None,
    cluster: Cluster = None,
    epsilon: Epsilon = 0.0,
    lower_is_better: LowerIsBetter = None,
    max_unpaired: MaxUnpaired = 0.05,
    allow: Allow = None,
    slices: Annotated[
        list[str] | None,
        typer.Option("--slice", help="Cut by a slice's name, NAME=/REGEX/, length or length:words."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Tell which answers flipped between two runs.

    And whether it is more than chance. Ends with exit code 0 (pass or warn), 1 (block), 2 (cannot tell) or 3 (bad input).
    """
    _start(quiet)
    from muscle.flips.compare import compare as compare_runs
    from muscle.report import write_html, write_markdown

    found = compare_runs(
        old,
        new,
        candidate=candidate,
        format=format_,
        columns=_pairs("--column", columns or []),
        cluster=cluster,
        epsilon=epsilon,
        lower_is_better=lower_is_better or (),
        max_unpaired=max_unpaired,
        allow=allow or (),
        slices=slices,
    ).to_json()
    if html:
        write_html(found, html)
    if markdown:
        write_markdown(found, markdown)
    if json_file and str(json_file) != "-":
        from muscle.files import write_json

        write_json(json_file, found)
    _show(found, quiet=quiet, as_json=str(json_file) == "-")
    raise typer.Exit(VERDICT_CODES[found["verdict"]])


@app.command()
def gate(
    runs: Annotated[
        list[Path],
        typer.Argument(help="The old and the new version's results; the new one alone with --baseline."),
    ],
    policy: Annotated[Path | None, typer.Option(help="The policy's YAML; the default one without.")] = None,
    candidate: Annotated[Path | None, typer.Option(help="Judge this one; NEW is shown beside it.")] = None,
    baseline: Annotated[str | None, typer.Option(help="Name of a kept baseline in place of OLD.")] = None,
    baselines: Annotated[Path, typer.Option(help="Folder of the kept baselines.")] = Path("baselines"),
    noise: Annotated[
        Path | None, typer.Option(help="A second run of the old version, for limits beyond its own noise.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="A warning ends in exit code 2.")] = False,
    allow: Allow = None,
    format_: Format = None,
    columns: Columns = None,
    cluster: Cluster = None,
    epsilon: Epsilon = 0.0,
    lower_is_better: LowerIsBetter = None,
    max_unpaired: MaxUnpaired = 0.05,
    markdown: Annotated[Path | None, typer.Option(help="Write a comment for a pull request.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report as one HTML file.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write it as JSON; - prints it.")] = None,
    annotations: Annotated[
        bool, typer.Option("--annotations", help="Print annotations for GitHub Actions.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Judge an update by a policy, for CI.

    Ends with exit code 0 (pass, or warn without --strict), 1 (block), 2 (cannot tell) or 3 (bad input).
    """
    _start(quiet)
    from muscle import gate as gates
    from muscle.files import write_json, write_text
    from muscle.report import write_html

    old, new = _old_and_new(runs, baseline, baselines)
    result = gates.gate(
        old,
        new,
        policy,
        candidate=candidate,
        noise=noise,
        strict=strict,
        allow=allow or (),
        format=format_,
        columns=_pairs("--column", columns or []),
        cluster=cluster,
        epsilon=epsilon,
        lower_is_better=lower_is_better or (),
        max_unpaired=max_unpaired,
    )
    if markdown:
        write_text(markdown, gates.to_markdown(result.report))
    if junit:
        write_text(junit, gates.to_junit(result.report))
    if html:
        write_html(result.report, html)
    if json_file and str(json_file) != "-":
        write_json(json_file, result.report)
    if str(json_file) == "-":
        _print_json(result.report)
    elif not quiet:
        from rich.console import Console

        from muscle.gate.terminal import print_gate

        print_gate(result.report, Console())
    if annotations:
        typer.echo(gates.to_annotations(result.report))
    raise typer.Exit(result.exit_code)


def _old_and_new(runs: list[Path], baseline: str | None, folder: Path) -> tuple[Any, Path]:
    if baseline is None:
        if len(runs) != 2:
            raise ConfigError(f"gate: expected OLD and NEW, found {len(runs)} runs")
        return runs[0], runs[1]
    if len(runs) != 1:
        raise ConfigError(f"gate: expected NEW alone beside --baseline, found {len(runs)} runs")
    from muscle.gate import load_baseline

    return load_baseline(baseline, folder), runs[0]


@baselines_app.command("save")
def baseline_save(
    run: Annotated[Path, typer.Argument(help="The accepted version's results.")],
    name: Annotated[str, typer.Option("--name", help="What it is called from now on.")],
    folder: Annotated[Path, typer.Option(help="Where baselines are kept.")] = Path("baselines"),
    format_: Format = None,
    quiet: Quiet = False,
) -> None:
    """Keep a run under a name; one of that name is replaced."""
    _start(quiet)
    from muscle.gate import save_baseline

    written = save_baseline(run, name, folder, format=format_)
    if not quiet:
        typer.echo(str(written))


@baselines_app.command("list")
def baseline_list(
    folder: Annotated[Path, typer.Option(help="Where baselines are kept.")] = Path("baselines"),
) -> None:
    """List the kept baselines."""
    from muscle.gate import list_baselines

    for name in list_baselines(folder):
        typer.echo(name)


@app.command()
def history(
    runs: Annotated[list[Path], typer.Argument(help="Two or more versions' results, oldest first.")],
    names: Annotated[
        list[str] | None, typer.Option("--name", help="What a version is called; once for each run.")
    ] = None,
    allow: Allow = None,
    format_: Format = None,
    columns: Columns = None,
    markdown: Annotated[Path | None, typer.Option(help="Write it as Markdown.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write it as JSON; - prints it.")] = None,
    quiet: Quiet = False,
) -> None:
    """Follow every answer along a chain of versions."""
    _start(quiet)
    from muscle.files import write_json, write_text
    from muscle.flips.history import history as follow
    from muscle.report.history import history_markdown, print_history

    pairs = _pairs("--column", columns or [])
    found = follow(runs, names=names, format=format_, columns=pairs, allow=allow or ()).to_json()
    if markdown:
        write_text(markdown, history_markdown(found))
    if json_file and str(json_file) != "-":
        write_json(json_file, found)
    if str(json_file) == "-":
        _print_json(found)
    elif not quiet:
        from rich.console import Console

        print_history(found, Console())


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="A run in any format that is read.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="A .jsonl or .parquet file, or a folder.")],
    to: Annotated[
        Literal["records", "eee"], typer.Option(help="Our records, or Every Eval Ever's files.")
    ] = "records",
    format_: Format = None,
    columns: Columns = None,
    quiet: Quiet = False,
) -> None:
    """Write a run in another format."""
    _start(quiet)
    from muscle.predictions.convert import convert as convert_run

    written = convert_run(source, out, to=to, format=format_, columns=_pairs("--column", columns or []))
    if not quiet:
        for path in written:
            typer.echo(str(path))


@app.command()
def report(
    source: Annotated[Path, typer.Argument(help="A run folder, or a report.json.")],
    html: Annotated[
        Path | None, typer.Option(help="Where the HTML goes; beside the JSON by default.")
    ] = None,
    markdown: Annotated[Path | None, typer.Option(help="Where the Markdown goes.")] = None,
    quiet: Quiet = False,
) -> None:
    """Render a report again from its JSON."""
    _start(quiet)
    from muscle.report import read_report, write_html, write_markdown

    found, folder = read_report(source)
    write_html(found, html or folder / "report.html")
    write_markdown(found, markdown or folder / "report.md")
    _show(found, quiet=quiet, as_json=False)


def _show(found: dict[str, Any], *, quiet: bool, as_json: bool) -> None:
    if as_json:
        _print_json(found)
    elif not quiet:
        from rich.console import Console

        from muscle.report.terminal import print_report

        print_report(found, Console())


def _print_json(value: Any) -> None:
    import json

    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def _assignments(pairs: list[str]) -> dict[str, Any]:
    """Turn KEY=VALUE words into keys and YAML values."""
    import yaml

    values = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set {pair}: expected KEY=VALUE, such as training.epochs=3")
        try:
            values[key] = yaml.safe_load(text)
        except yaml.YAMLError:
            values[key] = text
    return values


def _pairs(option: str, words: list[str]) -> dict[str, str] | None:
    """Turn OURS=THEIRS words into a column map; None for none."""
    pairs = {}
    for word in words:
        ours, equals, theirs = word.partition("=")
        if not (ours and equals and theirs):
            raise ConfigError(f"{option} {word}: expected OURS=THEIRS, such as correct=is_right")
        pairs[ours] = theirs
    return pairs or None


def _load(path: Path, pairs: list[str]) -> UpdateConfig:
    from muscle.config import load_config

    return load_config(path, overrides=_assignments(pairs))


def _stage_settings(path: Path | None, pairs: list[str]) -> Any:
    from muscle.config import load_stage_settings

    return load_stage_settings(path, overrides=_assignments(pairs))


if __name__ == "__main__":
    main()
