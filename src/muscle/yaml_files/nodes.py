"""A text of YAML as nodes, which know their lines, and as plain values, within bounds: by ruamel.yaml.

Plain words mean what they mean in YAML 1.1 as PyYAML reads it, for users' files were written so: `yes` and
`off` are truth values, `y` is a text, `010` is eight, and `1e-3`, without a point, is a text. A date is a
text: no key of ours is one. Only `yaml_files` imports this module, when there is YAML to read: ruamel.yaml
takes 60 ms to import.
"""

from __future__ import annotations

import re

from ruamel.yaml import YAML
from ruamel.yaml.composer import MaxDepthExceededError
from ruamel.yaml.constructor import ConstructorError, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.resolver import BaseResolver

MAX_VALUES = 100_000
MAX_DEPTH = 50

_YAML_1_1 = (1, 1)
_TAG = "tag:yaml.org,2002:"
_PLAIN_WORDS = (
    ("bool", "yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF", "yYnNtTfFoO"),
    (
        "float",
        r"[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?"
        r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
    (
        "int",
        "[-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+",
        "-+0123456789",
    ),
    ("merge", "<<", "<"),
    ("null", "~|null|Null|NULL|", ("~", "n", "N", "")),
    ("value", "=", "="),
)
"""By tag: the words that have it without its being written, and the characters that they begin with."""

_TRUTH_VALUES = {"yes": True, "no": False, "true": True, "false": False, "on": True, "off": False}


class NotYamlError(Exception):
    """A text that is no YAML within bounds.

    Attributes:
        line: where, from 1; None where that is not known.
    """

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem)
        self.line = line


class _Resolver(BaseResolver):
    """Says what a plain word stands for; a `%YAML 1.2` at a file's head changes nothing, as it did not with PyYAML."""

    @property
    def processing_version(self) -> tuple[int, int]:
        return _YAML_1_1

    def __init__(self, version: object = None, loader: object = None) -> None:
        super().__init__(loader)


for _name, _words, _firsts in _PLAIN_WORDS:
    _Resolver.add_implicit_resolver_base(_TAG + _name, re.compile(f"(?:{_words})$"), list(_firsts))


class _Constructor(SafeConstructor):
    """Makes plain values of nodes; refuses a value that its tag does not fit, and tags that are not plain data."""

    def construct_object(self, node: Node, deep: bool = False) -> object:
        try:
            value: object = super().construct_object(node, deep=deep)
            if isinstance(value, str):
                value.encode()  # "\\ud800" would fail wherever the text is written
            return value
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
            # What the constructor itself raises for `!!int x`, `!!timestamp x` and numbers of too many digits.
            raise _problem(f"{node.tag} cannot be read from this value ({error})", node) from error

    def check_mapping_key(
        self, node: Node, key_node: Node, mapping: dict[object, object], key: object, value: object
    ) -> bool:
        """Refuse a key that stands there as another text: `1` and `01`, `yes` and `true`."""
        if key in mapping:
            raise _problem(f"the key {key_node.value!r} stands twice", key_node)
        return True

    def truth_value(self, node: Node) -> bool:
        """Read a truth value; ruamel.yaml takes `y` and `n` for one too."""
        return _TRUTH_VALUES[self.construct_scalar(node).lower()]

    def decimal(self, node: Node) -> float:
        """Read a number with a fraction; ruamel.yaml warns of `!!float 1e3`, which has no point."""
        value: str = self.construct_scalar(node)
        return float(self.construct_yaml_float(node) if "." in value or ":" in value else value.replace("_", ""))

    def refuse(self, node: Node) -> None:
        """Refuse a tag that is not plain data; ruamel.yaml would take the value and drop the tag."""
        raise _problem(f"{node.tag} cannot be read: expected plain data without such a tag", node)


_Constructor.yaml_constructors = {
    None: _Constructor.refuse,
    **{_TAG + kind: SafeConstructor.yaml_constructors[_TAG + kind] for kind in ("null", "int", "str", "seq", "map")},
    _TAG + "bool": _Constructor.truth_value,
    _TAG + "float": _Constructor.decimal,
}


def _problem(what: str, node: Node) -> ConstructorError:
    return ConstructorError(None, None, what, node.start_mark)


class NodeReader:
    """Reads one text.

    Args:
        text: the YAML.

    Attributes:
        root: its nodes; None for an empty text.

    Raises:
        NotYamlError: it is no YAML, too deep or too large with all aliases written out, or refers to itself.
    """

    def __init__(self, text: str) -> None:
        self._yaml = YAML(typ="safe", pure=True)
        self._yaml.Resolver = _Resolver
        self._yaml.Constructor = _Constructor
        self._yaml.max_depth = MAX_DEPTH + 1
        self._yaml.composer.warn_double_anchors = False
        try:
            self.root: Node | None = self._yaml.compose(text)
            if self.root is not None:
                _count_values(self.root, {}, 0)
        except (YAMLError, RecursionError, ValueError) as error:
            raise _refusal(error) from None

    def values(self) -> object:
        """Return what the text stands for, as plain values.

        Raises:
            NotYamlError: a value has a tag that is unknown or does not fit it, or a key stands twice.
        """
        if self.root is None:
            return None
        try:
            found: object = self._yaml.constructor.construct_document(self.root)
        except (YAMLError, RecursionError) as error:
            raise _refusal(error) from None
        return found


def _refusal(error: Exception) -> NotYamlError:
    if isinstance(error, MaxDepthExceededError):
        return NotYamlError(f"expected at most {MAX_DEPTH} levels", error.problem_mark.line + 1)
    if isinstance(error, MarkedYAMLError):
        mark = error.problem_mark
        return NotYamlError(error.problem or "not known why", mark.line + 1 if mark else None)
    if isinstance(error, ReaderError):
        return NotYamlError(error.reason)
    return NotYamlError("nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split()))


def _count_values(node: Node, counts: dict[int, int | None], depth: int) -> int:
    """Return how many values a node holds, aliases written out; each node is looked at once.

    Args:
        node: the node.
        counts: by node, what was counted before; None while it is being counted.
        depth: of the node.
    """
    if depth > MAX_DEPTH:
        raise _problem(f"expected at most {MAX_DEPTH} levels", node)
    if id(node) in counts:
        known = counts[id(node)]
        if known is None:
            raise _problem("an alias stands within what it stands for", node)
        return known
    counts[id(node)] = None
    total = 1 + sum(_count_values(child, counts, depth + 1) for child in _children(node))
    if total > MAX_VALUES:
        raise _problem(f"expected at most {MAX_VALUES:,} values with all aliases written out, found more", node)
    counts[id(node)] = total
    return total


def _children(node: Node) -> list[Node]:
    """Return the nodes within a node; refuse what ruamel.yaml lets pass or reads otherwise than PyYAML.

    Here, before any value is made: merging (`<<`) writes the merged keys among a mapping's own.
    """
    if isinstance(node, MappingNode):
        _check_keys([key for key, _ in node.value])
        children = [part for pair in node.value for part in pair]
    else:
        children = list(node.value) if isinstance(node, SequenceNode) else []
    for child in children if getattr(node, "flow_style", False) else ():
        if isinstance(child, ScalarNode) and child.style is None and child.value.endswith(":"):
            # PyYAML reads `[a:]` and `{a:, b: 1}` as the key `a`, ruamel.yaml as the text `a:`.
            raise _problem("expected a space after ':', or the text in quotes", child)
    return children


def _check_keys(keys: list[Node]) -> None:
    seen = set()
    for key in keys:
        if not isinstance(key, ScalarNode):
            raise _problem("expected a text as a key, found a list or keys and values", key)
        if key.value in seen:
            raise _problem(f"the key {key.value!r} stands twice", key)
        seen.add(key.value)


def line_of(root: Node | None, keys: tuple[str | int, ...]) -> int | None:
    """Return the line, from 1, of the deepest part of a path of keys that is there; None where there is none of it."""
    node, line = root, None
    for key in keys:
        found: tuple[Node, Node] | None = None
        if isinstance(node, MappingNode):
            # Merged keys (`<<`) stand first, and the mapping's own replace them.
            found = next((pair for pair in reversed(node.value) if pair[0].value == str(key)), None)
        elif isinstance(node, SequenceNode) and isinstance(key, int) and key < len(node.value):
            found = (node.value[key], node.value[key])
        if found is None:
            break
        line, node = found[0].start_mark.line + 1, found[1]
    return line
