"""Inspect AI's samples as records."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import polars as pl

from muscle.errors import DataError
from muscle.foreign_text import listing, shorten
from muscle.predictions.readers.inspect.header import Header
from muscle.predictions.readers.shared.fields import count_at, object_at, objects_at, text_at, texts_at
from muscle.predictions.readers.shared.likelihoods import is_binary, right_at_one, scores_first
from muscle.predictions.readers.shared.row_table import RowTable, SliceFields
from muscle.predictions.readers.shared.values import message_text, refuse, text_of
from muscle.predictions.records import complete
from muscle.predictions.run import SCORE_PREFIX

_OWN = "own"
"""The column of the main score as it stands, also of samples that the log counts as failed."""

_LETTERS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
_WORDS = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}


class LogTable:
    """Collects the samples of one log."""

    def __init__(self, header: Header, metric: str | None = None) -> None:
        """Begin a log.

        Args:
            header: what stands before its samples.
            metric: the score that shall decide; None takes the one that the header names.
        """
        self.task = header.task
        self.num_rows = 0
        self.num_failed = 0
        """Samples that the log says failed."""
        self.num_edited = 0
        """Samples whose main score was changed after the run."""
        self._models: Counter[str] = Counter()
        """The models that the answers say they are of."""
        self.means: list[float] = []
        """The mean of the main score as Inspect may have taken it, after `frame`; none where it took other values."""
        self.not_samples: list[str] = []
        """Where something stands in a sample's place: null, a text, an object without fields."""
        self._main = _MainScore(metric, header.main)
        self._header = header
        self._asked = header.model.get("name")
        self._no_numbers: set[str] = set()
        self._table = RowTable(extra={_OWN: pl.Float64()}, where=header.where)
        self._slices = SliceFields()

    @property
    def main(self) -> str:
        """The score that decides."""
        return self._main.name

    @property
    def notes(self) -> list[str]:
        """What a reader of the comparison should know."""
        notes = [f"{self.task}: score {name} holds values that are no numbers" for name in sorted(self._no_numbers)]
        if self._main.is_guess:
            notes.append(f"{self.task}: the log names no score that decides; {self.main} does, its first")
        if self.num_edited:
            told = f"{self.num_edited:,} of {self.num_rows:,} samples were edited after the run"
            notes.append(f"{self.task}: the {self.main} scores of {told}, and count as they stand now")
        if len(self._models) > 1:
            counts = [f"{model} ({count:,})" for model, count in self._models.most_common()]
            notes.append(f"{self.task}: its samples were answered by {len(counts)} models: {listing(counts)}")
        return notes

    def add(self, sample: object, where: str) -> None:
        """Take one sample.

        Raises:
            DataError: a field is missing or holds what it should not.
        """
        if not isinstance(sample, dict) or not sample:
            self.not_samples.append(where)
            return
        identity = sample.get("id")
        if not isinstance(identity, int | str) or isinstance(identity, bool):
            refuse(where, "id", "it in a sample, a text or a whole number", identity)
        epoch = count_at(sample, "epoch", where)
        if not epoch:
            refuse(where, "epoch", "it in a sample, a whole number from 1", sample.get("epoch"))
        values = _score_values(object_at(sample, "scores", where), where)
        self._main.see(values)
        failure = _failure(sample, where)
        self.num_failed += failure is not None
        self.num_edited += _is_edited(_main_entry(sample, self.main, where))
        missing = failure or self._main.lack(values)
        model = _answered_by(sample, where) if failure is None else None
        if model and model != self._asked:
            # The name that was asked for stands where nothing was generated, too; services answer with their own.
            self._models[model] += 1
        choices = texts_at(sample, "choices", where)
        answer = _answer_of_sample(sample, self.main, where)
        choice = _letter_index(answer, choices)
        row: dict[str, object] = {
            "id": str(identity),
            "repeat": epoch - 1,
            "input": message_text(sample.get("input")),
            "choices": choices,
            "reference": _target_texts(sample.get("target"), choices),
            "output": answer if choice is None or choices is None else choices[choice],
            "choice": choice,
            "error": missing,
            "finish_reason": _stop_reason(sample, where),
        }
        row[_OWN] = _own_number(values.get(self.main))
        row |= self._scores(values) if missing is None else {}
        row |= self._slices.of(object_at(sample, "metadata", where))
        self._table.add(row)
        self.num_rows += 1

    def frame(self) -> pl.DataFrame:
        """Return the records.

        Raises:
            DataError: a sample is there twice, or no sample has the score that the header names.
        """
        self._main.check(self._header.where)
        frame = self._slices.prune(self._table.frame()).with_columns(pl.lit(self.task).alias("task"))
        self.means = _means_of_own(frame)
        frame = frame.drop(_OWN)
        _refuse_doubles(frame, self._header.where)
        main = f"{SCORE_PREFIX}{self.main}"
        if main in frame.columns and (self._main.is_graded or is_binary(frame, main)):
            frame = right_at_one(frame, main)
        return complete(scores_first(frame, [str(self.main)]))

    def _scores(self, values: Mapping[str, object]) -> dict[str, float]:
        """Return the scores that are numbers, as `score.<name>`."""
        scores: dict[str, float] = {}
        for name, value in values.items():
            number = _score_number(value)
            if number is not None:
                scores[SCORE_PREFIX + name] = number
            elif not _is_nan(value) and value is not None:
                self._no_numbers.add(name)
        return scores


def _means_of_own(frame: pl.DataFrame) -> list[float]:
    """Return the mean over items of the mean over epochs and over all samples, with samples that failed and without."""
    kept = frame.filter(pl.col(_OWN).is_not_null())
    parts = (kept.filter(pl.col("error").is_null()), kept)
    found = [
        mean
        for part in parts
        for mean in (part.group_by("id").agg(pl.col(_OWN).mean())[_OWN].mean(), part[_OWN].mean())
    ]
    return [mean for mean in found if isinstance(mean, float)]


class _MainScore:
    """Finds which of the samples' scores decides, and what a sample without it lacks.

    The header names it; where it names a scorer that gives several values, the first of them decides. Another
    scorer's value never stands in for one that a sample lacks.
    """

    def __init__(self, *wanted: str | None) -> None:
        self._wanted = [name for name in wanted if name]
        self._others: dict[str, None] = {}
        self._is_found = self._is_settled = False
        self.name = self._wanted[0] if self._wanted else "score"
        self.is_guess = not self._wanted
        self.is_graded = True
        """Whether all its values are letters, words or truth values, not numbers."""

    def see(self, values: Mapping[str, object]) -> None:
        """Settle on a name by the first sample that has it."""
        if self._is_settled or not values:
            return
        for wanted in self._wanted or [next(iter(values))]:
            parts = (name for name in values if name.startswith(f"{wanted}."))
            names = (wanted, *parts, wanted.partition(".")[0])
            found = next((name for name in names if name in values), None)
            if found is not None:
                self.name, self._is_found = found, True
                # What is NaN as a whole may hold several values in another sample.
                self._is_settled = values[found] is not None and not _is_nan(values[found])
                return
        self._others |= dict.fromkeys(values)

    def lack(self, values: Mapping[str, object]) -> str | None:
        """Say why a sample has no verdict; None where it has one."""
        if not values:
            return "no score"
        scorer = self.name.partition(".")[0]
        found = next((name for name in (self.name, scorer) if name in values), None)
        if found is None:
            return f"unscored: no {self.name}"
        value = values[found]
        if value is None or _is_nan(value):
            return f"unscored: {self.name} is {'null' if value is None else 'NaN'}"
        if _score_number(value) is None:
            return f"unscored: {self.name} is {shorten(value)}, no number"
        self.is_graded &= isinstance(value, bool) or (isinstance(value, str) and _grade(value) is not None)
        return None

    def check(self, where: str) -> None:
        """Refuse a log none of whose samples has the score that the header names.

        Raises:
            DataError: the samples have other scores only.
        """
        if self._others and not self._is_found:
            found = ", ".join(list(self._others)[:6])
            raise DataError(
                f"{where}: expected the samples to have the score {self.name!r}, which decides, found {found}"
            )


def _score_values(scores: Mapping[str, object], where: str) -> dict[str, object]:
    """Spread a sample's scores: `multi.kind` for one of a scorer's values."""
    values: dict[str, object] = {}
    for scorer, score in scores.items():
        value = score.get("value") if isinstance(score, dict) else score
        found: dict[str, object] = {scorer: value}
        if isinstance(value, dict):
            found = {f"{scorer}.{name}": entry for name, entry in value.items()}
        elif isinstance(value, list):
            found = {f"{scorer}.{place}": entry for place, entry in enumerate(value)}
        for name, entry in found.items():
            if name in values:
                refuse(where, f"scores.{scorer}", "names that no other score has", name)
            values[name] = entry
    return values


def _failure(sample: Mapping[str, object], where: str) -> str | None:
    """Say why the log itself does not count a sample; None where it does."""
    error = sample.get("error")
    if error is not None:
        if isinstance(error, dict):
            return text_at(error, "message", f"{where}, error") or "error"
        return text_at(sample, "error", where) or "error"
    return "invalidated" if sample.get("invalidation") else None


def _refuse_doubles(frame: pl.DataFrame, where: str) -> None:
    twice = frame.filter(pl.struct("id", "repeat").is_duplicated())
    if twice.height:
        raise DataError(
            f"{where}: expected each sample once, found id {twice['id'][0]!r}, epoch {twice['repeat'][0] + 1} "
            f"{twice.filter((pl.col('id') == twice['id'][0]) & (pl.col('repeat') == twice['repeat'][0])).height} times"
        )


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _grade(text: str) -> float | None:
    return _LETTERS.get(text, _WORDS.get(text.lower()))


def _score_number(value: object) -> float | None:
    """Return a score's value as Inspect's `value_to_float` does; None where it is none or NaN.

    >>> [_score_number(value) for value in ("C", "P", True, "yes", "0.25", float("nan"), "good")]
    [1.0, 0.5, 1.0, 1.0, 0.25, None, None]
    """
    if isinstance(value, str):
        grade = _grade(value)
        if grade is not None:
            return grade
        try:
            value = float(value)
        except ValueError:
            return None
    if not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _own_number(value: object) -> float | None:
    """Return what Inspect takes a score's value for in its own figures: 0 for words that say nothing."""
    number = _score_number(value)
    return 0.0 if number is None and value is not None and not _is_nan(value) else number


def _main_entry(sample: Mapping[str, object], main: str, where: str) -> object:
    """Return what the main scorer left in a sample; None where it left nothing."""
    scores = object_at(sample, "scores", where)
    return scores.get(main, scores.get(main.partition(".")[0]))


def _is_edited(score: object) -> bool:
    """Whether a score was changed after the run: Inspect keeps what it was."""
    return isinstance(score, dict) and bool(score.get("history"))


def _answer_of_sample(sample: Mapping[str, object], main: str, where: str) -> str | None:
    score = _main_entry(sample, main, where)
    answer = text_at(score, "answer", f"{where}, scores") if isinstance(score, dict) else None
    if answer and not answer.isspace():
        return answer
    output = object_at(sample, "output", where)
    completion = text_at(output, "completion", f"{where}, output")
    if not completion:
        choices = objects_at(output, "choices", f"{where}, output")
        message = object_at(choices[0], "message", f"{where}, output.choices[0]") if choices else {}
        completion = message_text(message.get("content"))
    return None if completion is None or not completion.strip() else completion


def _answered_by(sample: Mapping[str, object], where: str) -> str | None:
    """Return the model that the service says has answered: another than was asked where it fell back to one."""
    output = object_at(sample, "output", where)
    fallback = object_at(output, "fallback", f"{where}, output")
    return text_at(fallback, "fallback_model", f"{where}, output.fallback") or text_at(
        output, "model", f"{where}, output"
    )


def _stop_reason(sample: Mapping[str, object], where: str) -> str | None:
    """Return why the model's last message ended; "unknown" is not known."""
    choices = objects_at(object_at(sample, "output", where), "choices", f"{where}, output")
    reason = text_at(choices[0], "stop_reason", f"{where}, output.choices[0]") if choices else None
    return None if reason == "unknown" else reason


def _letter_index(answer: str | None, choices: list[str] | None) -> int | None:
    """Return the option that a letter names."""
    if not choices or not answer or len(answer) != 1:
        return None
    index = ord(answer.upper()) - ord("A") if answer.isascii() else -1
    return index if 0 <= index < len(choices) else None


def _target_texts(target: object, choices: list[str] | None) -> list[str] | None:
    entries = target if isinstance(target, list) else [target]
    texts = [text_of(entry) for entry in entries]
    indices = [_letter_index(text, choices) for text in texts]
    named = [
        text if index is None or choices is None else choices[index] for text, index in zip(texts, indices, strict=True)
    ]
    return [text for text in named if text] or None
