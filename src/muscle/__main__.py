"""`muscle`, and `python -m muscle` for launchers (`accelerate launch -m muscle update ...`)."""

from muscle import distributed
from muscle.commands.ending import end


def _run() -> int:
    from muscle.cli import run  # here, so that what fails at an import ends as documented too

    return run()


def main() -> None:
    """Run the command line, and leave the other processes of a launcher cleanly where all went well."""
    try:
        end(_run)
    except SystemExit as stop:
        if not stop.code:  # after a failure the others may wait for us elsewhere; the launcher ends them
            distributed.leave()
        raise


if __name__ == "__main__":
    main()
