"""Measures how well a newcomer can walk through a code base: how full folders are, what is untyped or stands twice.

`python tests/house.py [ROOT ...]` prints a table with a column for each package folder, so that two checkouts (before
and after) or two projects stand side by side; `--details` names what each figure counts. The limits that this project
holds are in `test_house.py`.
"""

from __future__ import annotations

import argparse
import ast
import statistics
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

LONG_FUNCTION, LONG_FILE, LONG_LINE = 60, 400, 120
"""Lines of a function, lines of a file and characters of a line: what is over it is long."""

MANY_PARAMETERS = 8
"""What is over it is many: some of them travel together, and want a name of their own."""

OBJECTS = {"dict", "Mapping", "MutableMapping"}
"""Types that, with `Any` values, stand for a JSON object of which nothing is known."""


@dataclass(frozen=True)
class Module:
    """A parsed file.

    Attributes:
        name: as it is imported, e.g. `muscle.flips.history`.
        path: from the folder that holds the package.
        is_package: whether it is an `__init__.py`.
        lines: its lines.
        tree: its syntax tree.
    """

    name: str
    path: Path
    is_package: bool
    lines: list[str]
    tree: ast.Module


@dataclass(frozen=True)
class House:
    """A package and what can be measured of it.

    Attributes:
        modules: by name, `__init__` modules included.
    """

    modules: Mapping[str, Module]

    @cached_property
    def num_lines(self) -> int:
        """Lines of all files."""
        return sum(len(module.lines) for module in self.modules.values())

    @cached_property
    def files_a_folder(self) -> Counter[str]:
        """Modules directly in each folder that has any, `__init__.py` apart."""
        return Counter(str(each.path.parent) for each in self.modules.values() if not each.is_package)

    @cached_property
    def anys(self) -> Counter[str]:
        """How often each file says `Any`, its import apart; `dict[str, Any]` is one of them."""
        return self._counted(_is_any)

    @cached_property
    def any_objects(self) -> Counter[str]:
        """How often each file says `dict[..., Any]` or `Mapping[..., Any]`."""
        return self._counted(_is_any_object)

    def _counted(self, is_one: Callable[[ast.AST], bool]) -> Counter[str]:
        """Return how many nodes of a kind each file has that has any."""
        found = {str(each.path): sum(map(is_one, _nodes(each))) for each in self.modules.values()}
        return Counter({path: count for path, count in found.items() if count})

    @cached_property
    def helpers_that_stand_twice(self) -> dict[str, list[str]]:
        """Private functions of module level by name, where two or more modules have one of that name: their files."""
        places: dict[str, list[str]] = defaultdict(list)
        for module in self.modules.values():
            names = {node.name for node in module.tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
            for name in sorted(names):
                if name.startswith("_") and not name.startswith("__"):
                    places[name].append(str(module.path))
        return {name: paths for name, paths in sorted(places.items()) if len(paths) > 1}

    @cached_property
    def long_functions(self) -> dict[str, int]:
        """Lines of each function that is too long, decorators apart, by file and name."""
        return {
            f"{module.path}:{node.lineno} {node.name}": length
            for module in self.modules.values()
            for node in ast.walk(module.tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > LONG_FUNCTION
        }

    @cached_property
    def many_parameters(self) -> dict[str, int]:
        """Parameters of each function that has too many, `self` and `cls` apart, by file and name."""
        return {
            f"{module.path}:{node.lineno} {node.name}": count
            for module in self.modules.values()
            for node in ast.walk(module.tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and (count := _num_parameters(node.args)) > MANY_PARAMETERS
        }

    @cached_property
    def long_files(self) -> dict[str, int]:
        """Lines of each file that is too long."""
        return {str(each.path): len(each.lines) for each in self.modules.values() if len(each.lines) > LONG_FILE}

    @cached_property
    def long_lines(self) -> list[str]:
        """Where lines are too long: file and line number."""
        return [
            f"{module.path}:{number}"
            for module in self.modules.values()
            for number, line in enumerate(module.lines, start=1)
            if len(line) > LONG_LINE
        ]

    @cached_property
    def comment_share(self) -> float:
        """Share of the lines that are a comment and nothing else, in [0, 1]."""
        comments = sum(line.lstrip().startswith("#") for module in self.modules.values() for line in module.lines)
        return comments / max(self.num_lines, 1)

    @cached_property
    def cycles(self) -> list[list[str]]:
        """Modules that import each other in a circle while they are loaded: each circle's names."""
        return _circles({name: set(self._imported(module)) for name, module in self.modules.items()})

    def _imported(self, module: Module) -> Iterator[str]:
        """Yield the package's own modules that a module imports when it is loaded.

        A package that the module lies in is left out: Python has loaded it before, so it says nothing of an order.
        """
        package = module.name if module.is_package else module.name.rpartition(".")[0]
        for node in _loaded(module.tree.body):
            if isinstance(node, ast.Import):
                named = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                parents = package.split(".")
                above = parents[: len(parents) - node.level + 1] if node.level else []
                source = ".".join([*above, *filter(None, [node.module])])
                named = [
                    inner if (inner := f"{source}.{alias.name}") in self.modules else source for alias in node.names
                ]
            else:
                continue
            for name in named:
                if name in self.modules and not f"{module.name}.".startswith(f"{name}."):
                    yield name


def read(root: Path) -> House:
    """Parse every file of a package.

    Args:
        root: the package's folder, e.g. `src/muscle`.

    Raises:
        FileNotFoundError: no Python file is there.
    """
    root = root.resolve()
    modules = {}
    for path in sorted(root.rglob("*.py")):
        inside = path.relative_to(root.parent)
        words = list(inside.with_suffix("").parts)
        is_package = words[-1] == "__init__"
        name = ".".join(words[:-1] if is_package else words)
        text = path.read_text(encoding="utf-8")
        modules[name] = Module(name, inside, is_package, text.splitlines(), ast.parse(text))
    if not modules:
        raise FileNotFoundError(f"{root}: no Python file in it")
    return House(modules)


def figures(house: House) -> dict[str, float]:
    """Return every figure by its name, in the order of the table.

    Args:
        house: a parsed package.
    """
    thousands = house.num_lines / 1_000
    per_folder = house.files_a_folder.values()
    return {
        "files": len(house.modules),
        "lines": house.num_lines,
        "files a folder, median": statistics.median(per_folder),
        "files a folder, most": max(per_folder),
        "Any a 1,000 lines": house.anys.total() / thousands,
        "  in dict[..., Any], Mapping[..., Any]": house.any_objects.total() / thousands,
        "private helper names that stand twice": len(house.helpers_that_stand_twice),
        f"functions over {LONG_FUNCTION} lines": len(house.long_functions),
        f"functions over {MANY_PARAMETERS} parameters": len(house.many_parameters),
        f"files over {LONG_FILE} lines": len(house.long_files),
        f"lines over {LONG_LINE} characters": len(house.long_lines),
        "comment lines, %": 100 * house.comment_share,
        "import circles": len(house.cycles),
    }


def details(house: House) -> dict[str, list[str]]:
    """Return what the figures count, by the figure's name: one line for each thing.

    Args:
        house: a parsed package.
    """
    return {
        "files a folder, most": [f"{count:4} {folder}" for folder, count in house.files_a_folder.most_common()],
        "Any a 1,000 lines": [f"{count:4} {path}" for path, count in house.anys.most_common()],
        "private helper names that stand twice": [
            f"{name}: {', '.join(paths)}" for name, paths in house.helpers_that_stand_twice.items()
        ],
        f"functions over {LONG_FUNCTION} lines": [f"{size:4} {name}" for name, size in house.long_functions.items()],
        f"functions over {MANY_PARAMETERS} parameters": [
            f"{count:4} {name}" for name, count in sorted(house.many_parameters.items(), key=lambda each: -each[1])
        ],
        f"files over {LONG_FILE} lines": [f"{size:4} {path}" for path, size in house.long_files.items()],
        f"lines over {LONG_LINE} characters": house.long_lines,
        "import circles": [" -> ".join(circle) for circle in house.cycles],
    }


def table(houses: Mapping[str, House]) -> str:
    """Return the figures of packages side by side.

    Args:
        houses: parsed packages by the heading of their column.
    """
    columns = {heading: figures(house) for heading, house in houses.items()}
    names = list(next(iter(columns.values())))
    width = max(map(len, names))
    rows = [" " * width + "".join(f"  {heading:>12}" for heading in columns)]
    for name in names:
        cells = "".join(f"  {_written(each[name]):>{max(12, len(heading))}}" for heading, each in columns.items())
        rows.append(f"{name:{width}}{cells}")
    return "\n".join(rows)


def _written(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def _nodes(module: Module) -> Iterator[ast.AST]:
    """Yield a module's nodes, those of annotations that are written as strings included."""
    for node in ast.walk(module.tree):
        yield node
        written = getattr(node, "annotation", None) or getattr(node, "returns", None)
        for each in ast.walk(written) if isinstance(written, ast.AST) else ():
            if isinstance(each, ast.Constant) and isinstance(each.value, str):
                try:
                    yield from ast.walk(ast.parse(each.value, mode="eval"))
                except SyntaxError:  # a word of `Literal["a b"]`, or a remark in `Annotated`
                    continue


def _num_parameters(arguments: ast.arguments) -> int:
    names = [each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def _is_any(node: ast.AST) -> bool:
    """Tell `Any` and `typing.Any`."""
    return (isinstance(node, ast.Name) and node.id == "Any") or (isinstance(node, ast.Attribute) and node.attr == "Any")


def _is_any_object(node: ast.AST) -> bool:
    """Tell `dict[..., Any]` and its like."""
    if not isinstance(node, ast.Subscript) or not isinstance(node.slice, ast.Tuple):
        return False
    kind = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
    return kind in OBJECTS and _is_any(node.slice.elts[-1])


def _loaded(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that run when a module is loaded; not what a type checker alone reads."""
    for node in body:
        yield node
        if isinstance(node, ast.If):
            if "TYPE_CHECKING" not in ast.unparse(node.test):
                yield from _loaded(node.body)
            yield from _loaded(node.orelse)
        elif isinstance(node, ast.Try):
            inner = [node.body, *(handler.body for handler in node.handlers), node.orelse, node.finalbody]
            for each in inner:
                yield from _loaded(each)


def _circles(arrows: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the groups of names that reach each other (the strongly connected parts of more than one; Tarjan 1972)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = lowest[name] = len(order)
        stack.append(name)
        for other in sorted(arrows[name]):
            if other not in order:
                visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in stack:
                lowest[name] = min(lowest[name], order[other])
        if lowest[name] == order[name]:
            start = stack.index(name)
            group = stack[start:]
            del stack[start:]
            if len(group) > 1:
                found.append(sorted(group))

    for name in sorted(arrows):
        if name not in order:
            visit(name)
    return found


def main() -> None:
    """Print the table, and what its figures count where that is wanted."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    here = Path(__file__).parents[1] / "src" / "muscle"
    parser.add_argument("roots", nargs="*", type=Path, default=[here], help="package folders; this project's without")
    parser.add_argument("--details", action="store_true", help="name what each figure counts")
    options = parser.parse_args()
    headings = ["before", "after"] if len(options.roots) == 2 else [root.name for root in options.roots]
    if len(set(headings)) < len(headings):
        headings = [str(root) for root in options.roots]
    houses = {heading: read(root) for heading, root in zip(headings, options.roots, strict=True)}
    sys.stdout.write(table(houses) + "\n")
    for heading, house in houses.items() if options.details else ():
        for name, lines in details(house).items():
            listed = "".join(f"  {line}\n" for line in lines)
            sys.stdout.write(f"\n{name} ({heading}):\n{listed or '  none'}")


if __name__ == "__main__":
    main()
