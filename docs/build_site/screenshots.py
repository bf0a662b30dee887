"""The pictures of a report in docs/compare.md: of the package's own example, on a desk, a phone and a terminal.

PYTHONPATH=$PWD/src:$PWD/tests python docs/build_site/screenshots.py      writes docs/images/{dark,phone,terminal}.png

Needs chromium and chromedriver.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from html import escape
from pathlib import Path
from shutil import copyfile

from helpers.browser import Browser
from muscle.samples import capitals

FOLDER = Path(__file__).parents[1] / "images"
_FILES = ("old.csv", "new.csv")
_TERMINAL = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; padding: 12px 16px; background: #14161a; color: #e6e6e3; font: 14px/1.35 monospace; }}
pre {{ margin: 0; font: inherit; width: 80ch; }} b {{ color: #7fb2f0; font-weight: normal; }}
</style><pre><b>$ muscle {command}</b>
{printed}</pre>"""


def main() -> None:
    """Write the three pictures."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name, source in zip(_FILES, capitals(), strict=True):
            copyfile(source, folder / name)
        page, terminal = folder / "report.html", folder / "terminal.html"
        _muscle(folder, "--html", page.name)
        printed = escape(_muscle(folder))
        terminal.write_text(_TERMINAL.format(command=f"compare {' '.join(_FILES)}", printed=printed), encoding="utf-8")
        with Browser(height=900) as desk:
            desk.open(page)
            desk.colours("dark")
            desk.screenshot(FOLDER / "dark.png")
            desk.open(terminal)
            desk.size(720, desk.run("return document.body.offsetHeight"))
            desk.screenshot(FOLDER / "terminal.png")
        with Browser(phone=True) as phone:
            phone.open(page)
            phone.colours("light")
            phone.size(390, 844)
            phone.screenshot(FOLDER / "phone.png")


def _muscle(folder: Path, *more: str) -> str:
    """Compare the files as in a terminal of 80 columns, and return what is printed; the verdict may be any."""
    command = [sys.executable, "-m", "muscle", "compare", *_FILES, *more]
    environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False).stdout


if __name__ == "__main__":
    main()
