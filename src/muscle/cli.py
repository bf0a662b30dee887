"""The `muscle` command: its commands put together, and how they end.

Everything heavy is imported inside the commands, so that help is instant.
Exit codes: 0 pass, 1 block, 2 cannot tell (or warn under `--strict`), 3 bad input or configuration, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from muscle import distributed
from muscle.commands import compare, gate, plan, runs, training
from muscle.errors import MuscleError

BAD_INPUT, INTERRUPTED = 3, 130
_INTERRUPTED = "interrupted; what was finished is kept, and the same command goes on from there"

app = typer.Typer(
    name="muscle",
    help="See, stop and fix the negative flips of an LLM update: answers that were right and go wrong.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

for _command in (
    training.demo,
    training.init,
    training.update,
    training.finetune,
    training.align,
    training.evaluate,
    compare.compare,
    gate.gate,
    plan.plan,
    plan.confirm,
    plan.watch,
    runs.history,
    runs.convert,
    compare.closeness,
    compare.report,
):
    app.command()(_command)
app.add_typer(gate.baselines_app, name="baseline")


_TRAIN = {
    "accelerate",
    "datasets",
    "gguf",
    "lm_eval",
    "peft",
    "safetensors",
    "tokenizers",
    "torch",
    "transformers",
}
"""Packages that come with `muscle-llm[train]` and not with the light core."""


def main() -> None:
    """Run the command line; every expected failure ends in one line and a documented exit code."""
    if not distributed.is_main():  # of several processes one speaks; errors are told by each
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  until the process ends
    try:
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False, prog_name="muscle")
    except MuscleError as error:
        _fail(str(error), BAD_INPUT)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _TRAIN:
            raise
        _fail(
            f"this needs the package {package}; install it with: pip install 'muscle-llm[train]'", BAD_INPUT
        )
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


if __name__ == "__main__":
    main()
