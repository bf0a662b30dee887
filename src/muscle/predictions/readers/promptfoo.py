"""promptfoo's results: `.json` (versions 2 and 3) and `.jsonl`.

What a reader would question:

- The key of an item is its variables and assertions, never its place (users reorder tests) nor its description
  (promptfoo writes "Row #n" there). The prompt's template is the `filter` where there are several.
- `error` is filled for failed assertions too. Only `failureReason` 2 is an error: such an item is missing.
- A test with a threshold can pass with a score of 0.5, one without assertions always passes: `correct` is `success`.
- `--repeat` gives equal tests new numbers; they are repeats here.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from muscle.errors import DataError
from muscle.predictions.readers._json import line_objects, members
from muscle.predictions.readers._table import RowTable, SliceFields
from muscle.predictions.readers._values import finite_number, known, object_in, refuse, text_of
from muscle.predictions.records import NO_FILTER, complete
from muscle.predictions.rows import shorten
from muscle.predictions.run import SCORE_PREFIX, Run

TASK = "promptfoo"
"""The task's name: an evaluation has none of its own that lasts from run to run."""

_ERROR = 2
_PASSING_VARS = ("sessionId", "_conversation")
_EXPECTED_TEXT = (
    "equals",
    "contains",
    "icontains",
    "starts-with",
    "similar",
    "factuality",
    "levenshtein",
    "rouge-n",
    "bleu",
)
_HEADER = (
    ("evalId",),
    ("config", "description"),
    ("config", "defaultTest"),
    ("config", "evaluateOptions"),
    ("metadata", "promptfooVersion"),
    ("runtimeOptions", "cache"),
    ("results", "version"),
    ("results", "timestamp"),
    ("results", "stats"),
    ("version",),
    ("timestamp",),
    ("stats",),
)


def recognises(path: Path, head: bytes) -> bool:
    """Tell whether this is a results file of promptfoo."""
    if path.is_dir() or not head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return False
    if b'"evalId"' in head[:4096] and b'"results"' in head[:4096]:
        return True
    of_a_result = (b'"gradingResult"', b'"promptIdx"', b'"testIdx"', b'"namedScores"', b'"promptId"')
    return sum(name in head for name in of_a_result) >= 3


def read(path: Path, *, provider: str | None = None) -> Run:
    """Read a results file.

    Args:
        path: the file.
        provider: id or label of the model to read, where the file holds several.

    Returns:
        One record a test, prompt and repeat; the main score is promptfoo's `score`, named scores follow.

    Raises:
        DataError: the file is damaged, holds several providers and none is chosen, or a field is not what it
            should be: file, line or member, field.
    """
    table, header = _Results(provider), _Header()
    for where, result in _results(path, header):
        table.add(result, where)
    frame = table.frame(path)
    name = next(iter(table.providers)) if provider is None else provider
    return Run(name, frame, _facts(header.facts, table, name))


class _Header:
    """What stands around the results."""

    def __init__(self) -> None:
        self.facts: dict[tuple[Any, ...], Any] = {}


def _results(path: Path, header: _Header) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield place and object of each result, filling `header` on the way."""
    if _is_lines(path):
        for number, result in line_objects(path):
            yield f"{path}, line {number}", result
        return
    with path.open("rb") as handle:
        patterns = [*_HEADER, ("results", "results", "#"), ("results", "#")]
        for member in members(handle, str(path), patterns):
            if not isinstance(member.keys[-1], int):
                header.facts[member.keys] = member.value
            elif isinstance(member.value, dict):
                yield member.where, member.value
            else:
                raise DataError(f"{member.where}: expected a JSON object, found {shorten(member.value)}")


def _is_lines(path: Path) -> bool:
    """Tell lines from one document: a line of results has no `results` of its own."""
    with path.open("rb") as handle:
        head = handle.read(4096)
    return b'"evalId"' not in head and not head.lstrip().startswith(
        (b"{\n", b"{\r\n", b'{"results"', b'{"version"')
    )


class _Results:
    """Collects results as rows."""

    def __init__(self, provider: str | None) -> None:
        self.providers: dict[str, str] = {}
        """Labels to ids, in order of appearance."""
        self.prompts: dict[str, None] = {}
        self.judges: set[str] = set()
        self._wanted = provider
        self._table = RowTable()
        self._slices = SliceFields()
        self._seen: Counter[tuple[str, str]] = Counter()

    def add(self, result: Mapping[str, Any], where: str) -> None:
        label, identity = _provider(result, where)
        self.providers.setdefault(label, identity)
        if self._wanted is not None and self._wanted not in (label, identity):
            return
        test = object_in(result, "testCase")
        prompt = object_in(result, "prompt")
        template = str(prompt.get("label") or prompt.get("raw") or "")
        self.prompts.setdefault(template)
        assertions = test.get("assert") or []
        self._note_judges(assertions)
        key = _key(test.get("vars") or result.get("vars") or {}, assertions)
        row = {
            "id": key[:16],
            "input_hash": key,
            "filter": template,
            "repeat": self._seen[key, template],
            "input": text_of(prompt.get("raw")),
            "reference": _references(assertions),
            "output": text_of(object_in(result, "response").get("output")),
            "finish_reason": text_of(object_in(result, "response").get("finishReason")),
            "error": _error(result),
        }
        self._seen[key, template] += 1
        if row["error"] is None:
            row["correct"] = _truth(result, where)
            row |= _scores(result, where)
        row |= self._slices.of(
            {k: v for k, v in object_in(test, "metadata").items() if not k.startswith("_")}
        )
        self._table.add(row, len(str(row["input"])) + len(str(row["output"])))

    def _note_judges(self, assertions: Any) -> None:
        for assertion in assertions if isinstance(assertions, list) else []:
            if isinstance(assertion, dict) and assertion.get("provider"):
                self.judges.add(text_of(assertion["provider"]) or "")

    def frame(self, path: Path) -> pl.DataFrame:
        labels = ", ".join(self.providers)
        if not self.providers:
            raise DataError(f"{path}: expected results of promptfoo, found none")
        if self._wanted is None and len(self.providers) > 1:
            raise DataError(
                f"{path}: expected the results of one provider, found {len(self.providers)} ({labels}); choose one: "
                f"{path}::provider={next(iter(self.providers))}"
            )
        frame = self._table.frame()
        if frame.is_empty():
            raise DataError(f"{path}: expected results of provider {self._wanted!r}, found {labels}")
        frame = self._slices.prune(frame).with_columns(pl.lit(TASK).alias("task"))
        if len(self.prompts) == 1:
            frame = frame.with_columns(pl.lit(NO_FILTER).alias("filter"))
        return complete(frame)


def _provider(result: Mapping[str, Any], where: str) -> tuple[str, str]:
    provider = result.get("provider")
    if isinstance(provider, str):
        return provider, provider
    identity = str(object_in(result, "provider").get("id") or "")
    label = str(object_in(result, "provider").get("label") or identity)
    if not label:
        refuse(where, "provider", "its id", provider)
    return label, identity


def _key(variables: Mapping[str, Any], assertions: Any) -> str:
    """Return the content hash of a test: 64 hex digits over variables and assertions."""
    kept = {name: value for name, value in variables.items() if name not in _PASSING_VARS}
    text = json.dumps([kept, assertions], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _references(assertions: Any) -> list[str] | None:
    """Return the texts that assertions compare the output with."""
    texts = [
        assertion["value"]
        for assertion in (assertions if isinstance(assertions, list) else [])
        if isinstance(assertion, dict)
        and assertion.get("type") in _EXPECTED_TEXT
        and isinstance(assertion.get("value"), str)
    ]
    return texts or None


def _error(result: Mapping[str, Any]) -> str | None:
    reason = result.get("failureReason")
    response = result.get("response")
    failed = object_in(result, "response").get("error")
    # Version 2 has no failureReason: there, what was not graded and has no output is an error.
    without = reason is None and result.get("gradingResult") is None and (response is None or bool(failed))
    if reason != _ERROR and not (without and not result.get("success")):
        return None
    return str(result.get("error") or failed or "error")


def _truth(result: Mapping[str, Any], where: str) -> bool:
    success = result.get("success")
    if not isinstance(success, bool):
        refuse(where, "success", "true or false", success)
    return success


def _scores(result: Mapping[str, Any], where: str) -> dict[str, float]:
    named = {"score": result.get("score"), **object_in(result, "namedScores")}
    return {
        SCORE_PREFIX + name: finite_number(value, where, name)
        for name, value in named.items()
        if value is not None
    }


def _facts(header: Mapping[tuple[Any, ...], Any], table: _Results, name: str) -> dict[str, Any]:
    """Return what is known of the run, in the metadata's common words."""

    def fact(*keys: str) -> Any:
        return header.get(keys, header.get(keys[1:]))

    default_test, stats = fact("config", "defaultTest"), fact("results", "stats") or {}
    judge = object_in(object_in({"d": default_test}, "d"), "options").get("provider")
    judges = sorted(table.judges | ({text_of(judge) or ""} if judge else set()))
    task = {"prompts": list(table.prompts), "judge": judges, "default_test": default_test}
    return {
        "model": {"name": name, "id": table.providers.get(name, name)},
        "versions": {"promptfoo": fact("metadata", "promptfooVersion")}
        if fact("metadata", "promptfooVersion")
        else {},
        "settings": {"cache": fact("runtimeOptions", "cache"), "options": fact("config", "evaluateOptions")},
        "created": fact("results", "timestamp"),
        "harness": "promptfoo",
        "description": fact("config", "description"),
        "results": {
            TASK: {name: stats[name] for name in ("successes", "failures", "errors") if name in stats}
        },
        "tasks": {TASK: known(task)},
        "notes": [],
    }
