"""The documentation's site: links out of docs/ lead to copies, and reference pages come from the source."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import muscle
from helpers.places import ROOT
from muscle.config.template import UPDATE_YAML
from muscle.yaml_files import yaml_text

pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")
sys.path.insert(0, str(ROOT / "docs" / "build_site"))

import hooks


def turned(markdown: str, source: str) -> str:
    page = SimpleNamespace(file=SimpleNamespace(src_uri=source))
    return hooks.on_page_markdown(markdown, page, None, None)


@pytest.mark.parametrize(
    ("source", "link", "expected"),
    [
        ("gate.md", "noise.md", "noise.md"),
        ("gate.md", "noise.md#heading", "noise.md#heading"),
        ("gate.md", "#heading", "#heading"),
        ("gate.md", "https://arxiv.org/abs/2407.09435", "https://arxiv.org/abs/2407.09435"),
        ("gate.md", "../examples/policies/strict.yaml", "files/examples/policies/strict.yaml"),
        ("gate.md", "../examples/github-action", "files/examples/github-action/README.md"),
        ("files/examples/llama-8b-classifier/README.md", "../../docs/update.md", "../../../update.md"),
        ("files/SECURITY.md", "docs/gate.md", "../gate.md"),
        ("gate.md", "../no/such.file", "../no/such.file"),
    ],
)
def test_a_link_leads_in_the_site_where_it_leads_in_the_repository(source: str, link: str, expected: str) -> None:
    assert turned(f"a [word]({link}).", source) == f"a [word]({expected})."


def test_the_page_of_commands_has_every_command_with_its_options() -> None:
    page = hooks.commands_page()
    for heading in (
        "## muscle compare\n",
        "## muscle doctor\n",
        "### muscle baseline save\n",
        "### muscle route fit\n",
    ):
        assert heading in page
    assert "--max-unpaired" in page and "Usage: muscle compare [OPTIONS]" in page


def test_the_page_of_names_has_every_public_name_once() -> None:
    lines = [line for line in hooks.python_page().splitlines() if line.startswith("::: ")]
    named = [f"::: muscle.{name}" for name in muscle.__all__] + [f"::: muscle.gate.{n}" for n in muscle.gate.__all__]
    assert sorted(lines) == sorted(named)


def test_the_page_of_update_yaml_is_what_init_writes() -> None:
    assert UPDATE_YAML.rstrip() in hooks.update_page()


@pytest.mark.parametrize(
    ("link", "fails"),
    [("other.md#there", False), ("none.md", True), ("other.md#nowhere", True), ("lost.md", True)],
)
def test_the_build_of_make_check_fails_on_a_link_that_leads_nowhere_and_a_page_in_no_menu(
    tmp_path: Path, link: str, fails: bool
) -> None:
    make, settings = ((ROOT / name).read_text(encoding="utf-8") for name in ("Makefile", "mkdocs.yml"))
    (words,) = re.findall(r"(?m)^MKDOCS := .*/mkdocs (build .*)$", make)
    rules = re.search(r"(?ms)^validation:\n.*?(?=\n\n)", settings)[0]
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# Here\n\nA [link]({link}).\n")
    (tmp_path / "docs" / "other.md").write_text("# Other\n\n## There\n")
    if link == "lost.md":
        (tmp_path / "docs" / "lost.md").write_text("# Lost\n")
    menu = yaml_text({"site_name": "x", "theme": "mkdocs", "nav": ["index.md", "other.md"]})
    (tmp_path / "mkdocs.yml").write_text(f"{menu}\n{rules}\n")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", *words.split()], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode != 0) == fails, done.stderr
