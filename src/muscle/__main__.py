"""`python -m muscle`: the command line as a module, which launchers ask for (`accelerate launch -m muscle update ...`)."""

from muscle import distributed
from muscle.cli import main

if __name__ == "__main__":
    try:
        main()
    except SystemExit as stop:
        if not stop.code:  # after a failure the others may wait for us elsewhere; the launcher ends them
            distributed.leave()
        raise
