"""What a log's header says: the task and its set-up, the model, the main score, the totals, the facts of the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from muscle.predictions.readers.shared.fields import (
    count_at,
    list_at,
    object_at,
    objects_at,
    text_at,
    texts_at,
)
from muscle.predictions.readers.shared.values import NOTHING_SET, float_of, known, text_of
from muscle.predictions.run import RunFacts

_NOT_THE_TASK = (
    "max_retries",
    "timeout",
    "attempt_timeout",
    "stream_idle_timeout",
    "max_connections",
    "adaptive_connections",
    "batch",
    "cache",
    "cache_prompt",
)
"""Settings of a generation that change no answer; Inspect, too, tells tasks apart without them."""

_LIMITS = (
    "message_limit",
    "token_limit",
    "token_limit_type",
    "turn_limit",
    "time_limit",
    "working_limit",
    "cost_limit",
)
_MEANS = ("accuracy", "mean")
_REDUCERS_OF_ALL = (None, "mean", "median", "mode", "max")
_SPREADS = ("stderr", "std", "var")
_JUDGES = ("model", "models", "model_role", "grader", "grader_model", "judge", "judge_model")
"""Options of a scorer that say which model judges."""


class Header:
    """A log's header, each field checked where it is taken.

    Attributes:
        where: file, and member of an archive, for messages.
        task: the task's name.
        status: "success", "error", "cancelled", "started"; None where the log does not say.
        main: the score that decides, `scorer` or `scorer.name`; None where the log names none.
    """

    def __init__(self, fields: Mapping[str, object], where: str) -> None:
        """Take a header.

        Raises:
            DataError: a field is not what it should be.
        """
        self.where = where
        self.facts = object_at(fields, "eval", where)
        self.plan = object_at(fields, "plan", where)
        self.results = object_at(fields, "results", where)
        self._stats = object_at(fields, "stats", where)
        self.config = object_at(self.facts, "config", where)
        self.dataset = object_at(self.facts, "dataset", where)
        self.scores = objects_at(self.results, "scores", where)
        self.scorers = objects_at(self.facts, "scorers", where)
        self.task = text_at(self.facts, "task", where) or "task"
        self.status = text_at(fields, "status", where)
        self.main = self._main()

    def _main(self) -> str | None:
        """The headline's score, else the first scorer's."""
        headline = object_at(self.results, "headline", self.where)
        if headline:
            return _score_name({"scorer": headline.get("scorer"), "name": headline.get("score")}, self.where)
        if self.scores:
            return _score_name(self.scores[0], self.where)
        # Inspect names the samples' scores without the package that the scorer comes from.
        name = text_at(self.scorers[0], "name", self.where) if self.scorers else None
        return name.rpartition("/")[2] if name else None

    @property
    def model(self) -> dict[str, object]:
        """The model by name and arguments."""
        name = text_at(self.facts, "model", self.where)
        return known({"name": name, "args": object_at(self.facts, "model_args", self.where)})

    @property
    def is_whole(self) -> bool:
        """Whether the run came to its end, with all samples that it was to have."""
        return self.status == "success" and self.results.get("logged_samples") is None

    @property
    def is_part(self) -> bool:
        """Whether the run was to take a part of the data only."""
        return any(self.config.get(name) is not None for name in ("limit", "sample_id"))

    @property
    def epochs(self) -> int:
        """How often each sample was to be run."""
        return count_at(self.config, "epochs", self.where) or 1

    @property
    def num_planned(self) -> int | None:
        """How many samples the log was to hold, over all epochs; None where it does not say."""
        total = count_at(self.results, "total_samples", self.where)
        if total is not None:
            return max(total, count_at(self.results, "completed_samples", self.where) or 0)
        ids = list_at(self.dataset, "sample_ids", self.where)
        num_items = len(ids) if ids else count_at(self.dataset, "samples", self.where)
        return None if num_items is None else num_items * self.epochs

    def num_scored(self, main: str) -> int | None:
        """How many items, their epochs taken together, the log itself says have the main score.

        Reducers such as `pass_at_2` leave out items that have scores, but too few of them.
        """
        own = (
            entry
            for entry in self.scores
            if _score_name(entry, self.where) == main and text_at(entry, "reducer", self.where) in _REDUCERS_OF_ALL
        )
        return next((count_at(entry, "scored_samples", self.where) for entry in own), None)

    def own_mean(self, main: str) -> float | None:
        """The mean of the main score by the log itself; None where it has none, or one in a way of the task's own.

        Only Inspect's own `accuracy` and `mean` are known to be means, and those without options of their own; of
        several reducers of epochs the mean.
        """
        for entry in self.scores:
            if _score_name(entry, self.where) != main or text_at(entry, "reducer", self.where) not in (None, "mean"):
                continue
            metrics = object_at(entry, "metrics", self.where)
            for name in _MEANS:
                body = object_at(metrics, name, f"{self.where}, metrics")
                if body and not body.get("params") and not body.get("options") and self._is_inspects(name):
                    return float_of(body.get("value"))
        return None

    def _is_inspects(self, metric: str) -> bool:
        """Whether every metric of that name in the task's settings is the one that comes with Inspect.

        A metric of a task's own file stands there by its bare name.
        """
        settings = [self.facts.get("metrics"), *(entry.get("metrics") for entry in self.scorers)]
        named = {str(each["name"]) for setting in settings for each in _metrics_of(setting)}
        return {name for name in named if name.rpartition("/")[2] == metric} <= {f"inspect_ai/{metric}"}

    @property
    def time(self) -> tuple[datetime, datetime]:
        """When the run began and ended, to tell which log is newer; the earliest date where the log does not say."""
        return _date(self.facts, "created", self.where), _date(self._stats, "completed_at", self.where)

    def setup(self) -> dict[tuple[str, str], object]:
        """Return what beside its name makes this a task of its own, as Inspect sees it: kind and label to value."""
        args = object_at(self.facts, "task_args", self.where)
        passed = self.facts.get("task_args_passed")
        chosen = args if passed is None else object_at(self.facts, "task_args_passed", self.where)
        steps = [[step.get("solver"), step.get("params_passed")] for step in objects_at(self.plan, "steps", self.where)]
        roles = object_at(self.facts, "model_roles", self.where)
        file = text_at(self.facts, "task_file", self.where)
        own = {
            "solver": known({"name": self.facts.get("solver"), "args": self.facts.get("solver_args"), "steps": steps}),
            "dataset": self.dataset.get("name") or self.dataset.get("location"),
            "version": self.facts.get("task_version"),
            "file": file.replace("\\", "/").rpartition("/")[2] if file else None,
            **{name: self.config.get(name) for name in _LIMITS},
        }
        return {
            **{("arg", name): args.get(name, value) for name, value in chosen.items()},
            **{("role", name): _role(value) for name, value in roles.items()},
            **{("generation", name): value for name, value in self._generation().items()},
            **{("task", name): value for name, value in own.items()},
        }

    def _generation(self) -> dict[str, object]:
        settings = {
            **object_at(self.facts, "model_generate_config", self.where),
            **object_at(self.plan, "config", self.where),
        }
        return {name: value for name, value in settings.items() if name not in _NOT_THE_TASK}

    def run_facts(self, main: str) -> RunFacts:
        """Return what the header says of the run, in the metadata's common words.

        Args:
            main: the main score.
        """
        facts, where = self.facts, self.where
        task = {
            "version": facts.get("task_version"),
            "args": object_at(facts, "task_args", where) or NOTHING_SET,
            "dataset": {name: self.dataset.get(name) for name in ("name", "location", "samples", "shuffled")},
            "epochs": count_at(self.config, "epochs", where),
            "epochs_reducer": texts_at(self.config, "epochs_reducer", where),
            "limit": self.config.get("limit"),
            "limits": known({name: self.config.get(name) for name in _LIMITS}) or NOTHING_SET,
            "metric": main,
            **self._graders(),
            "scorers": [entry.get("name") for entry in self.scorers],
            "solver": list_at(self.plan, "steps", where),
            "generation": self._generation() or NOTHING_SET,
        }
        return {
            "model": self.model,
            "versions": object_at(facts, "packages", where),
            "settings": known({"revision": facts.get("revision"), "status": self.status}),
            "created": text_at(facts, "created", where),
            "harness": "inspect_ai",
            "results": {self.task: self._own_results()},
            "tasks": {self.task: known(task)},
        }

    def _graders(self) -> dict[str, object]:
        """Return who judges, by role and by scorer, and what else the scorers were told.

        A scorer takes its judge from its own options, else from the role `grader`, else it is the model under test.
        """
        named: dict[str, Mapping[str, object]] = {}
        for entry in self.scores:
            named[text_at(entry, "scorer", self.where) or "score"] = object_at(entry, "params", self.where)
        for entry in self.scorers:
            name = (text_at(entry, "name", self.where) or "score").rpartition("/")[2]
            named[name] = {**named.get(name, {}), **object_at(entry, "options", self.where)}
        judges: dict[str, object] = {**object_at(self.facts, "model_roles", self.where)}
        options: dict[str, object] = {}
        for name, given in named.items():
            judges |= {f"{name}.{key}": value for key, value in given.items() if key in _JUDGES and value is not None}
            rest = known({key: value for key, value in given.items() if key not in _JUDGES})
            options[name] = rest or NOTHING_SET
        return {"judge": judges or NOTHING_SET, "scorer_options": options}

    def _own_results(self) -> dict[str, float]:
        """Inspect's aggregates: `score,metric` (and the reducer, where there is one) to value."""
        results: dict[str, float] = {}
        for entry in self.scores:
            reducer = text_at(entry, "reducer", self.where)
            name = _score_name(entry, self.where)
            for metric, body in object_at(entry, "metrics", self.where).items():
                value = body.get("value") if isinstance(body, dict) else None
                if isinstance(value, int | float) and metric not in _SPREADS:
                    results[f"{name},{metric}" + (f",{reducer}" if reducer else "")] = value
        return results


def _metrics_of(value: object) -> Iterator[Mapping[str, object]]:
    """Yield the metrics in a scorer's settings, however they are put together: lists of them, by name of a value."""
    if isinstance(value, list):
        for each in value:
            yield from _metrics_of(each)
    elif isinstance(value, dict) and isinstance(value.get("name"), str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _metrics_of(each)


def _score_name(entry: Mapping[str, object], where: str) -> str:
    """Name a score as the records do: after its scorer, and its part of it where the scorer gives several."""
    name = text_at(entry, "name", where) or "score"
    scorer = text_at(entry, "scorer", where) or name
    return scorer if name == scorer else f"{scorer}.{name}"


def _role(value: object) -> object:
    """Return the models that play a role, by name and arguments."""
    if isinstance(value, list):
        return [_role(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    config = value.get("config")
    kept = (
        {name: entry for name, entry in config.items() if name not in _NOT_THE_TASK}
        if isinstance(config, dict)
        else None
    )
    parts = known({"args": value.get("args"), "config": kept})
    return text_of({"model": value.get("model"), **parts}) if parts else value.get("model")


def _date(fields: Mapping[str, object], name: str, where: str) -> datetime:
    earliest = datetime.min.replace(tzinfo=UTC)
    try:
        found = datetime.fromisoformat(text_at(fields, name, where) or "")
    except ValueError:
        return earliest
    return found if found.tzinfo else found.replace(tzinfo=UTC)
