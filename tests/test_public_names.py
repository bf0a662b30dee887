"""The public names: each is one thing whatever was imported, and its docstring says all that a caller must know."""

import ast
import dataclasses
import inspect
import pkgutil
import re
import subprocess
import sys
import textwrap

import pytest
from pydantic import BaseModel

import muscle
import muscle.gate

PUBLIC = {
    **{f"muscle.{name}": getattr(muscle, name) for name in muscle.__all__},
    **{f"muscle.gate.{name}": getattr(muscle.gate, name) for name in muscle.gate.__all__},
}
FUNCTIONS = {name: thing for name, thing in PUBLIC.items() if inspect.isfunction(thing)}
CLASSES = {name: thing for name, thing in PUBLIC.items() if inspect.isclass(thing)}
WITH_FIELDS = {
    name: thing for name, thing in CLASSES.items() if dataclasses.is_dataclass(thing) or issubclass(thing, BaseModel)
}
SECTIONS = "Args|Attributes|Returns|Yields|Raises|Example|Examples"


def section(docstring: str | None, name: str) -> str:
    """Return what stands under a heading of a docstring; empty without the heading."""
    text = inspect.cleandoc(docstring or "")
    found = re.search(rf"(?ms)^{name}:\n(.*?)(?=^(?:{SECTIONS}):$|\Z)", text)
    return found[1] if found else ""


def entries(docstring: str | None, name: str) -> set[str]:
    """Return the names that have an entry under a heading; `a, b: ...` is one of each."""
    heads = re.findall(r"(?m)^ {4}([*\w, .]+?)(?: \(.*?\))?: ", section(docstring, name))
    return {word.strip("* ") for head in heads for word in head.split(",")}


def raised(function) -> set[str]:
    """Return the errors that a function's own body raises by name."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    calls = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise)]
    return {call.func.id for call in calls if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)}


@pytest.mark.parametrize("name", [*FUNCTIONS, *CLASSES])
def test_a_public_name_has_a_docstring_of_its_own(name):
    first = inspect.cleandoc(PUBLIC[name].__doc__ or "").split("\n")[0]
    assert first.endswith(".") and len(first) > 10, first
    assert not first.startswith(f"{PUBLIC[name].__name__}("), "a dataclass's own, which only lists the fields"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_public_function_tells_every_argument(name):
    parameters = set(inspect.signature(FUNCTIONS[name]).parameters)
    assert entries(FUNCTIONS[name].__doc__, "Args") == parameters


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_public_function_tells_what_it_returns(name):
    function = FUNCTIONS[name]
    if inspect.signature(function).return_annotation in (None, "None"):
        return
    text = inspect.cleandoc(function.__doc__)
    assert section(text, "Returns") or text.startswith("Return "), text.split("\n")[0]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_public_function_tells_what_it_raises(name):
    told = entries(FUNCTIONS[name].__doc__, "Raises")
    assert raised(FUNCTIONS[name]) <= told
    assert all(issubclass(error_called(each), Exception) for each in told)


def error_called(name: str) -> type:
    """Return the error of that name: ours, or Python's own."""
    import builtins

    from muscle import errors

    return getattr(errors, name, None) or getattr(builtins, name)


@pytest.mark.parametrize("name", WITH_FIELDS)
def test_a_public_dataclass_tells_every_field(name):
    kind = WITH_FIELDS[name]
    fields = kind.model_fields if issubclass(kind, BaseModel) else [each.name for each in dataclasses.fields(kind)]
    told = set().union(
        *(entries(each.__doc__, "Attributes") for each in kind.__mro__ if each.__module__.startswith("muscle."))
    )
    assert set(fields) <= told


@pytest.mark.parametrize("name", [name for name in CLASSES if name not in WITH_FIELDS])
def test_a_public_class_tells_what_it_is_made_of(name):
    kind = CLASSES[name]
    if "__init__" not in vars(kind):
        return
    passed_on = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    own = [each for each in inspect.signature(kind).parameters.values() if each.kind not in passed_on]
    told = entries(kind.__doc__, "Args") | entries(kind.__init__.__doc__, "Args")
    assert {each.name for each in own} <= told


@pytest.mark.parametrize("name", [name for name in PUBLIC if name not in FUNCTIONS and name not in CLASSES])
def test_a_public_constant_is_told_where_it_is_made(name):
    package, _, short = name.rpartition(".")
    loaded = {id(module): module for key, module in sys.modules.items() if key.startswith(f"{package}.")}
    sources = [inspect.getsource(module) for module in loaded.values() if short in vars(module)]
    assert any(re.search(rf'(?m)^{short}(?:: \w+)? = .*\n"""', source) for source in sources)


SAME_THING = """
import importlib, pkgutil, sys, types
import muscle
modules = sorted(each.name for each in pkgutil.walk_packages(muscle.__path__, "muscle."))
for left_out in ("muscle.__main__", "muscle.evaluation.vllm_lm", "muscle.training.head.triton_rows"):  # vllm, triton
    modules.remove(left_out)
# Each wants the library that it is for.
modules = [each for each in modules if not each.startswith("muscle.integrations.for_")]
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


@pytest.mark.parametrize("package", [muscle, muscle.gate], ids=lambda package: package.__name__)
def test_no_module_of_a_package_has_one_of_its_public_names(package):
    assert not {each.name for each in pkgutil.iter_modules(package.__path__)} & set(package.__all__)


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
