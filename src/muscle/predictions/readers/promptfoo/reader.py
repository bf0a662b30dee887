"""promptfoo's results: `.json` (versions 2 and 3) and `.jsonl`.

What a reader would question:

- The key of an item is its variables, never its place (users reorder tests) nor its description (promptfoo
  writes "Row #n" there), and not its assertions: a test with other assertions is the same item graded by
  another metric (`graded_by`). Only where a file asks the same variables under several assertions do these
  belong to the key. The prompt's template is the `filter` where there are several.
- `error` is filled for failed assertions too. Only `failureReason` 2 is an error: such an item is missing.
- A test with a threshold can pass with a score of 0.5, one without assertions always passes: `correct` is `success`.
- `--repeat` gives equal tests new numbers; they are repeats here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from muscle.errors import DataError
from muscle.foreign_text import listing
from muscle.predictions.readers.promptfoo.assertions import (
    Assertions,
    assertions_of,
    graded_by,
    judges_of,
    suite_facts,
    suite_judge,
)
from muscle.predictions.readers.promptfoo.providers import provider_facts, provider_of
from muscle.predictions.readers.shared.fields import (
    check_levels,
    count_at,
    json_at,
    number_at,
    object_at,
    truth_at,
)
from muscle.predictions.readers.shared.first_record import first_byte, first_line, first_member, is_whole
from muscle.predictions.readers.shared.json_cursor import Key
from muscle.predictions.readers.shared.json_members import as_object, line_objects, members
from muscle.predictions.readers.shared.row_table import RowTable, SliceFields
from muscle.predictions.readers.shared.values import known, refuse
from muscle.predictions.records import NO_FILTER, complete
from muscle.predictions.run import SCORE_PREFIX, Run, RunFacts, Unread

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
_OF_A_RESULT = ("gradingResult", "promptIdx", "testIdx", "namedScores", "promptId")
_DOCUMENT_HEAD = re.compile(rb'\s*\{(\r?\n|\s*"(evalId|results|version|config|timestamp)")')
_COUNTS = ("successes", "failures", "errors")
_HEADER = (
    ("evalId",),
    ("config", "description"),
    ("config", "defaultTest"),
    ("config", "providers"),
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
    if path.is_dir() or first_byte(head) != b"{":
        return False
    if b'"evalId"' in head[:4096] and b'"results"' in head[:4096]:
        return True
    if sum(f'"{name}"'.encode() in head for name in _OF_A_RESULT) >= 3:
        return True
    if is_whole(path, head):
        return False
    first = first_line(path)
    if "results" in first or not first:
        first = first_member(path, [("results", 0), ("results", "results", 0)])
    return sum(name in first for name in _OF_A_RESULT) >= 3


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
    table, header = _Results(provider), _Header(str(path))
    for result, where in _results_in(path, header):
        table.add(result, where)
    frame = table.frame(path)
    name = next(iter(table.providers)) if provider is None else provider
    metadata, unread = _suite_and_run_facts(header, table, name), _lost_results(header, table)
    return Run(name, frame, metadata, unread)


class _Header:
    """What stands around the results."""

    def __init__(self, where: str) -> None:
        self.facts: dict[tuple[Key, ...], object] = {}
        self.where = where

    def fact(self, *keys: str) -> object:
        """Return a fact, of either version of the file."""
        return self.facts.get(keys, self.facts.get(keys[1:]))

    def objects(self, *keys: str) -> Mapping[str, object]:
        """Return a fact that is an object; an empty one where it is not there, or is the name of a file."""
        found = self.fact(*keys)
        return {} if isinstance(found, str) else object_at({keys[-1]: found}, keys[-1], self.where)


def _results_in(path: Path, header: _Header) -> Iterator[tuple[dict[str, object], str]]:
    """Yield object and place of each result, filling `header` on the way."""
    if _is_lines(path):
        yield from line_objects(path)
        return
    with path.open("rb") as handle:
        patterns = [*_HEADER, ("results", "results", "#"), ("results", "#")]
        for member in members(handle, str(path), patterns):
            if not isinstance(member.keys[-1], int):
                check_levels(member.value, member.where)
                header.facts[member.keys] = member.value
            else:
                yield as_object(member.value, member.where), member.where


def _is_lines(path: Path) -> bool:
    """Tell lines from one document: a line is a result, and has no `results` of its own."""
    with path.open("rb") as handle:
        head = handle.read(256)
    if _DOCUMENT_HEAD.match(head):
        return False
    first = first_line(path)
    return "results" not in first or any(name in first for name in _OF_A_RESULT)


class _Results:
    """Collects results as rows."""

    def __init__(self, provider: str | None) -> None:
        self.providers: dict[str, str] = {}
        """Labels to ids, in order of appearance."""
        self.prompts: dict[str, None] = {}
        self.judges: set[str | None] = set()
        """Who judges; None stands for the judge that the whole suite names."""
        self.counts: Counter[str] = Counter()
        """Results of all providers, by what promptfoo counts them as."""
        self._wanted = provider
        self._table = RowTable(extra={"judge": pl.String()})
        self._slices = SliceFields()

    def add(self, result: Mapping[str, object], where: str) -> None:
        label, identity = provider_of(result, where)
        error = _error(result, where)
        self.providers.setdefault(label, identity)
        self.counts["errors" if error else "successes" if result.get("success") else "failures"] += 1
        if self._wanted is not None and self._wanted not in (label, identity):
            return
        test, prompt = object_at(result, "testCase", where), object_at(result, "prompt", where)
        template = str(json_at(prompt, "label", where) or json_at(prompt, "raw", where) or "")
        self.prompts.setdefault(template)
        assertions = assertions_of(result, test, where)
        judges = judges_of(assertions, test, where)
        self.judges |= judges
        response = object_at(result, "response", where)
        row: dict[str, object] = {
            "input_hash": _variables_hash(object_at(test, "vars", where) or object_at(result, "vars", where), where),
            "filter": template,
            "input": json_at(prompt, "raw", where),
            "reference": _expected_texts(assertions),
            "output": json_at(response, "output", where),
            "finish_reason": json_at(response, "finishReason", where),
            "graded_by": graded_by(assertions, test, where),
            "judge": ", ".join(sorted(judge or "" for judge in judges)),
            "error": error,
        }
        if error is None:
            row["correct"] = _truth(result, where)
            row |= _named_scores(result, where)
        row |= self._slices.of({k: v for k, v in object_at(test, "metadata", where).items() if not k.startswith("_")})
        self._table.add(row)

    def frame(self, path: Path) -> pl.DataFrame:
        labels = listing(self.providers)
        if not self.providers:
            raise DataError(f"{path}: expected results of promptfoo, found none")
        if self._wanted is None and len(self.providers) > 1:
            raise DataError(
                f"{path}: expected the results of one provider, found {len(self.providers)} ({labels}); choose one: "
                f"{path}::provider={listing([next(iter(self.providers))])}"
            )
        frame = self._table.frame()
        if frame.is_empty():
            raise DataError(f"{path}: expected results of provider {self._wanted!r}, found {labels}")
        if len(self.judges) > 1:
            frame = frame.with_columns(pl.format("{}, judged by {}", "graded_by", "judge").alias("graded_by"))
        if len(self.prompts) == 1:
            frame = frame.with_columns(pl.lit(NO_FILTER).alias("filter"))
        frame = _identified(frame.drop("judge")).with_columns(pl.lit(TASK).alias("task"))
        return complete(self._slices.prune(frame))


def _variables_hash(variables: Mapping[str, object], where: str) -> str:
    """Return the content hash of a test: 64 hex digits over its variables."""
    check_levels(variables, where)
    kept = {name: value for name, value in variables.items() if name not in _PASSING_VARS}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def _identified(frame: pl.DataFrame) -> pl.DataFrame:
    """Give tests that ask the same under several assertions keys of their own, and count repeats."""
    several = frame.select(pl.col("graded_by").n_unique().over("input_hash") > 1).to_series()
    if several.any():
        both = frame.filter(several).select(pl.concat_str("input_hash", "graded_by", ignore_nulls=True))
        hashes = [hashlib.sha256(text.encode()).hexdigest() for text in both.to_series()]
        keys = frame["input_hash"].scatter(several.arg_true(), pl.Series(hashes, dtype=pl.String))
        frame = frame.with_columns(keys)
    repeat = pl.int_range(pl.len()).over("input_hash", "filter")
    return frame.with_columns(pl.col("input_hash").str.slice(0, 16).alias("id"), repeat.alias("repeat"))


def _expected_texts(assertions: Assertions | None) -> list[str] | None:
    """Return the texts that assertions compare the output with."""
    texts = [
        value
        for assertion in assertions or ()
        if assertion.get("type") in _EXPECTED_TEXT and isinstance(value := assertion.get("value"), str)
    ]
    return texts or None


def _error(result: Mapping[str, object], where: str) -> str | None:
    reason = result.get("failureReason")
    response = object_at(result, "response", where)
    failed = json_at(response, "error", where)
    # Version 2 has no failureReason: there, what was not graded and has no output is an error.
    without = reason is None and result.get("gradingResult") is None and (not response or bool(failed))
    if reason != _ERROR and not (without and not result.get("success")):
        return None
    return json_at(result, "error", where) or failed or "error"


def _truth(result: Mapping[str, object], where: str) -> bool:
    success = truth_at(result, "success", where)
    if success is None:
        refuse(where, "success", "true or false", success)
    return success


def _named_scores(result: Mapping[str, object], where: str) -> dict[str, float]:
    named = {"score": result.get("score"), **object_at(result, "namedScores", where)}
    numbers = {name: number_at(named, name, where) for name in named}
    return {SCORE_PREFIX + name: number for name, number in numbers.items() if number is not None}


def _suite_and_run_facts(header: _Header, table: _Results, name: str) -> RunFacts:
    """Return what is known of the run, in the metadata's common words."""
    default_test, stats = header.objects("config", "defaultTest"), header.objects("results", "stats")
    judges = {judge or suite_judge(default_test, header.where) for judge in table.judges}
    task: dict[str, object] = {"prompts": list(table.prompts), "judge": sorted(judges)}
    task |= provider_facts(header.fact("config", "providers"), name, table.providers.get(name, name))
    version = header.fact("metadata", "promptfooVersion")
    counted, read = _total(stats, header.where), table.counts.total()
    more = counted is not None and counted < read
    note = f"its own stats count {counted} results, but it holds {read}: was it put together from several?"
    return {
        "model": {"name": name, "id": table.providers.get(name, name)},
        "versions": {"promptfoo": version} if version else {},
        "settings": {
            "cache": header.fact("runtimeOptions", "cache"),
            "options": header.fact("config", "evaluateOptions"),
        },
        "created": header.fact("results", "timestamp"),
        "harness": "promptfoo",
        "description": header.fact("config", "description"),
        "results": {TASK: {name: stats[name] for name in _COUNTS if name in stats}},
        "tasks": {TASK: known(task) | suite_facts(default_test, header.where)},
        "notes": [note] if more else [],
    }


def _total(stats: Mapping[str, object], where: str) -> int | None:
    """Return how many results the file's own counts speak of; None where they are not all there."""
    counts = [count_at(stats, name, where) for name in _COUNTS]
    return None if None in counts else sum(count or 0 for count in counts)


def _lost_results(header: _Header, table: _Results) -> tuple[Unread, ...]:
    """Hold what was read against the file's own counts, which are of all its providers."""
    counted = _total(header.objects("results", "stats"), header.where)
    lost = (counted or 0) - table.counts.total()
    if lost <= 0:
        return ()
    return (Unread(f"{lost} of the {counted} results that its own stats count are not in it", header.where, lost),)
