"""How a test of promptfoo is graded: its assertions, and the model that judges where they need one.

promptfoo looks for the judge in the assertion, then in the test's options (into which it has merged those of
`defaultTest`), then in `defaultTest` itself, and else takes a model of its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence

from muscle.predictions.readers.shared.fields import check_levels, object_at, objects_at
from muscle.predictions.readers.shared.values import known, text_of, without_secrets

OWN_JUDGE = "promptfoo's own choice"

Assertions = Sequence[Mapping[str, object]]

_GRADING = ("threshold", "assertScoringFunction")
_GRADING_OPTIONS = ("rubricPrompt", "factuality", "transform", "postprocess")
_SHOWN_LENGTH = 200
_NO_ASSERTIONS = "No assertions"
"""What promptfoo writes as the reason of a test that asks for nothing, which always passes."""
_BY_CODE = frozenset(
    [
        *(
            "equals",
            "contains",
            "contains-all",
            "contains-any",
            "icontains",
            "icontains-all",
            "icontains-any",
        ),
        *("starts-with", "regex", "levenshtein", "rouge-n", "bleu", "gleu", "meteor", "word-count"),
        *(
            "contains-json",
            "contains-html",
            "contains-sql",
            "contains-xml",
            "is-json",
            "is-html",
            "is-sql",
            "is-xml",
        ),
        *(
            "is-refusal",
            "is-valid-openai-function-call",
            "is-valid-openai-tools-call",
            "is-valid-function-call",
        ),
        *("javascript", "python", "ruby", "webhook", "latency", "cost", "perplexity", "perplexity-score"),
        *("finish-reason", "guardrails", "tool-call-f1", "assert-set"),
    ]
)
"""Types of assertions that no model judges; any other may need one."""


def assertions_of(result: Mapping[str, object], test: Mapping[str, object], where: str) -> Assertions | None:
    """Return a test's assertions; None where the file does not tell (version 2 without them)."""
    if test:
        return objects_at(test, "assert", where)
    grading = object_at(result, "gradingResult", where)
    graded = objects_at(grading, "componentResults", where)
    found = [assertion for each in graded if (assertion := object_at(each, "assertion", where))]
    return found if found or grading.get("reason") == _NO_ASSERTIONS else None


def graded_by(assertions: Assertions | None, test: Mapping[str, object], where: str) -> str | None:
    """Return in words what decides whether the test passes, without the judge; None where that is not known."""
    if assertions is None:
        return None
    check_levels(assertions, where)
    options = object_at(test, "options", where)
    rules = known({name: test.get(name) for name in _GRADING} | {name: options.get(name) for name in _GRADING_OPTIONS})
    check_levels(rules, where)
    texts = sorted(json.dumps(_without_judge(each), sort_keys=True, ensure_ascii=False) for each in assertions)
    text = ", ".join([*texts, *(f"{name} {text_of(value)}" for name, value in rules.items())])
    if len(text) <= _SHOWN_LENGTH:
        return text or "no assertion"
    return f"{text[: _SHOWN_LENGTH // 2]}… {hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:16]}"


def _without_judge(value: object) -> object:
    if isinstance(value, dict):
        return {name: _without_judge(entry) for name, entry in value.items() if name != "provider"}
    return [_without_judge(entry) for entry in value] if isinstance(value, list) else value


def judges_of(assertions: Assertions | None, test: Mapping[str, object], where: str) -> set[str | None]:
    """Return who judges a test: names as text; None stands for the judge that the whole suite names."""
    named = object_at(test, "options", where).get("provider")
    judges: set[str | None] = set()
    for assertion in _flat(assertions or (), where):
        own = assertion.get("provider")
        if own or str(assertion.get("type")).removeprefix("not-") not in _BY_CODE:
            judges.add(text_of(without_secrets(own or named or None)))
    return judges


def _flat(assertions: Assertions, where: str) -> Iterator[Mapping[str, object]]:
    """Yield assertions and those in sets of assertions."""
    waiting = list(assertions)
    while waiting:
        assertion = waiting.pop()
        yield assertion
        waiting += objects_at(assertion, "assert", where)


def suite_judge(default_test: Mapping[str, object], where: str) -> str:
    """Return who judges where neither assertion nor test says it."""
    named = object_at(default_test, "options", where).get("provider") or default_test.get("provider")
    return text_of(without_secrets(named or None)) or OWN_JUDGE


def suite_facts(default_test: Mapping[str, object], where: str) -> dict[str, object]:
    """Return what `defaultTest` says, apart by what it changes: `assertions` and the rest, `default_test`."""
    options = object_at(default_test, "options", where)
    grading = {name: default_test.get(name) for name in ("assert", *_GRADING)}
    grading |= {name: options.get(name) for name in _GRADING_OPTIONS}
    rest = {name: value for name, value in default_test.items() if name not in ("assert", "provider", *_GRADING)}
    rest["options"] = {name: value for name, value in options.items() if name not in ("provider", *_GRADING_OPTIONS)}
    return known({"assertions": _without_judge(known(grading)), "default_test": known(rest)})
