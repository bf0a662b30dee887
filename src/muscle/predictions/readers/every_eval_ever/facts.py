"""What an aggregate of Every Eval Ever says: of its metrics, how many samples each has, and how the run was made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from muscle.foreign_text import listing
from muscle.predictions.readers.shared.fields import (
    check_levels,
    count_at,
    json_at,
    list_at,
    load_settings,
    object_at,
    objects_at,
    truth_at,
)
from muscle.predictions.readers.shared.json_members import parse_object
from muscle.predictions.readers.shared.own_figures import other_mean
from muscle.predictions.readers.shared.values import NOTHING_SET, float_of, known
from muscle.predictions.run import RunFacts, Unread

OWN_RUN = "muscle.run"
"""Key in the source's `additional_details` under which `muscle convert` keeps what the schema has no place for."""

_CONFIG = ("metric_parameters", "score_type", "level_names", "lower_is_better", "min_score", "max_score")
_SHARES = ("accuracy", "acc", "exact-match", "exact_match")
"""Metrics whose aggregate is the share of right samples, whichever harness it comes from."""
_INFINITE = ("Infinity", "-Infinity")


@dataclass(frozen=True)
class Metric:
    """One result of an aggregate.

    Attributes:
        evaluation: the task, with the filter where there is one.
        name: the metric.
        kind: "binary", "continuous" or "levels"; None where it is not said.
        value: the aggregate's own.
        num_samples: samples it is the mean of; None where it is not said.
        entry: the result as it stands.
    """

    evaluation: str
    name: str
    kind: str | None
    value: object
    num_samples: int | None
    entry: Mapping[str, object]


class Aggregate:
    """An aggregate file, or nothing where there is none."""

    def __init__(self, file: Path) -> None:
        self.where = str(file)
        self.is_there = file.is_file()
        self.content: Mapping[str, object] = load_settings(file) if self.is_there else {}
        self.metrics: dict[str, Metric] = {}
        """By the result's id, in order."""
        for entry in objects_at(self.content, "evaluation_results", self.where):
            self.metrics[str(entry.get("evaluation_result_id"))] = self._metric(entry)

    def _metric(self, entry: Mapping[str, object]) -> Metric:
        config, details = (object_at(entry, name, self.where) for name in ("metric_config", "score_details"))
        name = json_at(config, "metric_id", self.where) or json_at(config, "metric_name", self.where)
        return Metric(
            str(entry.get("evaluation_name")),
            name or "score",
            json_at(config, "score_type", self.where),
            details.get("score"),
            count_at(object_at(details, "uncertainty", self.where), "num_samples", self.where),
            entry,
        )

    @property
    def model(self) -> str | None:
        """The model's id or name."""
        info = object_at(self.content, "model_info", self.where)
        return json_at(info, "id", self.where) or json_at(info, "name", self.where)

    def own(self) -> dict[str, object]:
        """Return what `muscle convert` kept of the run's metadata; nothing where something else wrote the file."""
        source = object_at(self.content, "source_metadata", self.where)
        text = json_at(object_at(source, "additional_details", self.where), OWN_RUN, self.where)
        where = f"{self.where}, {OWN_RUN}"
        own = parse_object(text.encode("utf-8", "replace"), where) if text else {}
        check_levels(own, where)
        for name in ("tasks", "settings", "versions", "higher_is_better"):
            object_at(own, name, where)
        for name in ("notes", "readings"):
            list_at(own, name, where)
        return own

    def unread(self, samples: Path, rows: Counter[tuple[str, str]]) -> tuple[Unread, ...]:
        """Hold what was read against the aggregate's own counts.

        Args:
            samples: the file of samples.
            rows: rows read, by evaluation and metric.
        """
        found = []
        for evaluation in dict.fromkeys(metric.evaluation for metric in self.metrics.values()):
            mine = [metric for metric in self.metrics.values() if metric.evaluation == evaluation]
            counted = max((metric.num_samples or 0 for metric in mine), default=0)
            # Also rows of no metric that is listed: a converter leaves out which one they are of.
            lost = counted - max((number for (name, _), number in rows.items() if name == evaluation), default=0)
            if lost > 0:
                what = f"{lost} of the {counted} samples of {listing([evaluation])} that the aggregate counts"
                found.append(Unread(what, str(samples), lost))
        details = object_at(self.content, "detailed_evaluation_results", self.where)
        total = count_at(details, "total_rows", self.where) or 0
        if not found and total > rows.total():
            lost = total - rows.total()
            found.append(Unread(f"{lost} of the {total} rows that the aggregate counts", str(samples), lost))
        return tuple(found)

    def other_means(
        self, samples: Path, main_metrics: Mapping[str, str], means: Mapping[str, Sequence[float]]
    ) -> tuple[Unread, ...]:
        """Hold the verdicts that were read against the share of right samples that the aggregate states.

        Args:
            samples: the file of samples.
            main_metrics: the metric that gives the verdicts, by evaluation.
            means: the shares that were read, by evaluation.
        """
        return tuple(
            loss
            for metric in self.metrics.values()
            if main_metrics.get(metric.evaluation) == metric.name
            and (metric.kind == "binary" or metric.name in _SHARES)
            for loss in other_mean(
                f"{listing([metric.evaluation])}: {listing([metric.name])}",
                means.get(metric.evaluation, ()),
                float_of(metric.value),
                where=str(samples),
                by=Path(self.where).name,
            )
        )

    def facts(self, name: str, samples: Path) -> RunFacts:
        """Return what is known of the run, in the metadata's common words."""
        library = object_at(self.content, "eval_library", self.where)
        metrics = list(self.metrics.values())
        results: dict[str, dict[str, object]] = {}
        for metric in metrics:
            results.setdefault(metric.evaluation, {})[metric.name] = metric.value
        info = {k: v for k, v in object_at(self.content, "model_info", self.where).items() if k != "name"}
        absent = "no aggregate file beside the samples, so metrics and settings are not known"
        return {
            "model": {"name": name, **info},
            "versions": {str(library["name"]): library.get("version")} if library.get("name") else {},
            "settings": {},
            "created": self.content.get("evaluation_timestamp") or self.content.get("retrieved_timestamp"),
            "harness": library.get("name"),
            "higher_is_better": self._directions(),
            "results": results,
            "tasks": {
                evaluation: self._task([metric for metric in metrics if metric.evaluation == evaluation])
                for evaluation in results
            },
            "files": [str(samples)],
            "notes": [] if self.is_there else [absent],
            "readings": [],
        }

    def _directions(self) -> dict[str, bool]:
        """Return which way each metric counts, where its entry says so."""
        entries = ((m.name, object_at(m.entry, "metric_config", self.where)) for m in self.metrics.values())
        lower = {name: truth_at(entry, "lower_is_better", self.where) for name, entry in entries}
        return {name: not less for name, less in lower.items() if less is not None}

    def _task(self, metrics: Sequence[Metric]) -> dict[str, object]:
        configs = {metric.name: object_at(metric.entry, "metric_config", self.where) for metric in metrics}
        generation = object_at(metrics[0].entry, "generation_config", self.where)
        details = object_at(generation, "additional_details", self.where)
        given = {**object_at(generation, "generation_args", self.where), **details}
        rules = {
            name: {key: config[key] for key in _CONFIG if key in config and config[key] not in _INFINITE}
            for name, config in configs.items()
        }
        judges = {name: config.get("llm_scoring") for name, config in configs.items()}
        return known(
            {
                "dataset": metrics[0].entry.get("source_data"),
                "generation": {name: value for name, value in given.items() if name != "num_fewshot"},
                "num_fewshot": given.get("num_fewshot"),
                "metric_config": rules,
                "judge": (known(judges) or NOTHING_SET) if configs else None,
            }
        )
