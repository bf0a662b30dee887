"""How long the explorer takes to open with 10,000 flips, in headless Chromium.

    python benchmarks/explorer.py [--flips 10000] [--times 7]

Two pages of as many flips, from a seed: short ones of a choice task with repeats, and long answers of 2,000 characters
a side (of which the page holds as many as `muscle.report.page.html.MAX_CHARACTERS` lets in). Told is, from the start of
navigation, when the page's script has run and the first rows and the first example are there (`ready`), and when the
browser has drawn a frame with them (`drawn`); then how long a search over all texts takes, and a step from one example
to the next. Needs chromium and chromedriver.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from helpers.browser import Browser
from helpers.explorer_examples import rich_report
from helpers.report_examples import typed
from muscle import Report
from muscle.report.page.html import render_html

RESULTS = Path(__file__).parent / "results" / "explorer.json"
BAR_SECONDS = 1.0

OPENED = """
return new Promise(done => requestAnimationFrame(() => setTimeout(() => {
  const entry = performance.getEntriesByType('navigation')[0];
  const paint = performance.getEntriesByName('first-contentful-paint')[0];
  done({ready: entry.domContentLoadedEventEnd / 1000, loaded: entry.loadEventEnd / 1000,
        drawn: Math.max(paint ? paint.startTime : 0, entry.domContentLoadedEventEnd) / 1000,
        rows: document.querySelectorAll('.row').length, status: document.getElementById('status').textContent});
})))
"""
SEARCH = """
const box = document.getElementById('query'), status = document.getElementById('status'), before = status.textContent;
box.value = arguments[0];
const start = performance.now();
box.dispatchEvent(new Event('input'));
return new Promise(done => new MutationObserver(
  () => done((performance.now() - start) / 1000)
).observe(status, {childList: true}));
"""
STEP = """
const start = performance.now();
document.getElementById('next').click();
return (performance.now() - start) / 1000;
"""


def report_of(flips: int, kind: str) -> Report:
    """A report with so many flips, all told apart by their id."""
    report = rich_report(tasks=("house",) if kind == "choices" else ("samsum",))
    draw = random.Random(7)
    vocabulary = [f"word{i}" for i in range(4000)]
    listed = []
    for position in range(flips):
        flip = dict(report["flips"][position % len(report["flips"])], id=f"item-{position}", size=draw.random())
        if kind == "answers":
            words = draw.choices(vocabulary, k=270)
            changed = [draw.choice(vocabulary) if draw.random() < 0.2 else word for word in words]
            flip |= {
                "old": {**flip["old"], "output": " ".join(words)},
                "new": {**flip["new"], "output": " ".join(changed)},
            }
            flip |= {"candidate": None, "repeats": None, "pass_rate": None}
        listed.append(flip)
    totals = {"negative_flip": flips, "positive_flip": 0, "other_wrong": 0}
    return Report.from_json({**report, "flips": listed, "flips_shown": flips, "flips_total": totals})


def measure(browser: Browser, page: Path, times: int) -> dict[str, Any]:
    """Open a page so many times and return medians and the slowest, in seconds."""
    runs = []
    for _ in range(times):
        browser.open(page)
        runs.append(browser.run(OPENED))
    assert all(run["rows"] > 5 for run in runs)
    searches = [browser.run(SEARCH, text) for text in ("first search", "item-77", "a")]
    browser.open(page)
    steps = [browser.run(STEP) for _ in range(20)]
    told = {key: [run[key] for run in runs] for key in ("ready", "drawn", "loaded")}
    return {
        **{f"{key}_seconds": round(statistics.median(values), 3) for key, values in told.items()},
        "slowest_drawn_seconds": round(max(told["drawn"]), 3),
        "first_search_seconds": round(searches[0], 3),
        "next_search_seconds": round(max(searches[1:]), 3),
        "step_seconds": round(statistics.median(steps), 4),
        "slowest_step_seconds": round(max(steps), 4),
        "flips_on_the_page": int(runs[0]["status"].split()[0].replace(",", "")),
        "rows_drawn": runs[0]["rows"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flips", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=7)
    options = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, Browser(width=1400, height=1000) as browser:
        version = browser.run("return navigator.userAgent").partition("Chrome/")[2].partition(" ")[0]
        for kind in ("choices", "answers"):
            page = Path(folder) / f"{kind}.html"
            report = report_of(options.flips, kind)
            start = time.perf_counter()
            page.write_text(render_html(typed(report), max_flips=options.flips), encoding="utf-8")
            rendered = time.perf_counter() - start
            found[kind] = {
                "megabytes": round(page.stat().st_size / 1e6, 1),
                "render_seconds": round(rendered, 2),
            }
            found[kind] |= measure(browser, page, options.times)
            print(kind, json.dumps(found[kind]))
    result = {
        "command": f"python benchmarks/explorer.py --flips {options.flips} --times {options.times}",
        "machine": {"cpus": os.cpu_count(), "machine": platform.machine(), "chromium": version},
        "bar": f"drawn in less than {BAR_SECONDS:g} s with 10,000 flips",
        "held": all(kind["slowest_drawn_seconds"] < BAR_SECONDS for kind in found.values()),
        "flips": options.flips,
        "pages": found,
    }
    RESULTS.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
