import pkgutil
import subprocess
import sys

import pytest

import muscle


def test_every_public_name_can_be_had():
    for name in muscle.__all__:
        assert getattr(muscle, name) is not None


SAME_THING = """
import importlib, pkgutil, sys, types
import muscle
modules = sorted(each.name for each in pkgutil.walk_packages(muscle.__path__, "muscle."))
for left_out in ("muscle.__main__", "muscle.evaluation.vllm_lm", "muscle.training.head.triton_rows"):  # vllm, triton
    modules.remove(left_out)
first_access = sys.argv[1] == "before any module"
first = {name: getattr(muscle, name) for name in muscle.__all__} if first_access else {}
for module in modules if first_access else reversed(modules):
    importlib.import_module(module)
for name in muscle.__all__:
    kept = first.get(name, getattr(muscle, name))
    scope = {}
    exec(f"from muscle import {name}", scope)
    assert not isinstance(kept, types.ModuleType), f"muscle.{name} is a module"
    assert all(getattr(muscle, name) is kept for _ in range(100)) and scope[name] is kept, name
"""


@pytest.mark.parametrize("order", ["before any module", "after every module"])
def test_a_public_name_is_the_same_thing_whatever_was_imported(order):
    subprocess.run([sys.executable, "-W", "ignore", "-c", SAME_THING, order], check=True)


def test_no_module_of_the_package_has_a_public_name():
    assert not {each.name for each in pkgutil.iter_modules(muscle.__path__)} & set(muscle.__all__)


def test_an_unknown_name_is_refused():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        muscle.nonsense  # noqa: B018


@pytest.mark.parametrize(
    "statement",
    [
        "import muscle",
        "import muscle.cli",
        "from muscle import compare, read_run",
        "from muscle.report.page.html import render_html",
    ],
)
def test_the_light_half_never_imports_heavy_packages(statement):
    heavy = "{'torch', 'transformers', 'peft', 'lm_eval', 'pandas', 'plotly', 'scipy.stats'}"
    code = f"import sys; {statement}; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
