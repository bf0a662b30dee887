"""What the aggregate file of lm-evaluation-harness says of a run: model, settings, versions, own results."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from muscle.predictions.readers.lm_eval.samples import DECIDING
from muscle.predictions.readers.shared.fields import count_at, load_settings, objects_at
from muscle.predictions.readers.shared.values import NOTHING_SET, float_of, known
from muscle.predictions.run import RunFacts

RESULTS_NAME = re.compile(r"(?!samples_).*?(?P<date>\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?)\.json|results\.json")
_RUN_SETTINGS = (
    "batch_size",
    "limit",
    "gen_kwargs",
    "model_args",
    "model_dtype",
    "random_seed",
    "fewshot_seed",
)
_PROMPTING = ("system_instruction", "chat_template_sha", "fewshot_as_multiturn")
_CAN_BE_UNSET = ("limit", "gen_kwargs", "system_instruction", "chat_template_sha")
_TASK_SETTINGS = (
    "dataset_path",
    "dataset_name",
    "dataset_kwargs",
    "test_split",
    "doc_to_text",
    "doc_to_target",
    "doc_to_choice",
    "description",
    "target_delimiter",
    "output_type",
    "repeats",
)
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
"""Where a function of a task's settings lay in memory, which is another place in every run."""
_VERSIONS = {"lm_eval": "lm_eval_version", "transformers": "transformers_version"}


def date_of(path: Path) -> str:
    """Return the date in the name of an aggregate file; empty where there is none."""
    match = RESULTS_NAME.fullmatch(path.name)
    return (match["date"] or "") if match else ""


class ResultFiles:
    """The aggregate results in a folder of samples, by the date in their names; each is read once.

    Attributes:
        files: by date; empty for a `results.json`.
    """

    def __init__(self, folder: Path) -> None:
        self.files: dict[str, Path] = {}
        for entry in sorted(folder.iterdir()):
            match = RESULTS_NAME.fullmatch(entry.name)
            if match and entry.is_file():
                self.files.setdefault(match["date"] or "", entry)
        self._read: dict[str, Mapping[str, object]] = {}

    def of(self, date: str) -> Mapping[str, object]:
        """Return the results that belong to samples of a date; empty where there are none.

        Raises:
            DataError: they are there and damaged.
        """
        if date not in self._read:
            self._read[date] = load_settings(self.files[date]) if date in self.files else {}
        return self._read[date]

    def age(self, date: str) -> float | None:
        """Return when a run began by what its results say, in seconds; None where they don't."""
        return float_of(self.of(date).get("date"))


def _inside(value: Mapping[str, object], *names: str) -> Mapping[str, object]:
    """Return the object that names lead to, one in the other; an empty one where there is none."""
    for name in names:
        found = value.get(name)
        value = found if isinstance(found, dict) else {}
    return value


def num_samples(results: Mapping[str, object], where: str) -> dict[str, int]:
    """Return how many items of each task were asked, as the results count them; tasks without a count are left out."""
    counted = _inside(results, "n-samples")
    counts = {task: count_at(_inside(counted, task), "effective", where) for task in counted}
    return {task: count for task, count in counts.items() if count is not None}


def metric_names(config: Mapping[str, object], where: str) -> list[str]:
    """Return the names of a task's metrics, in their order; none where they are not known."""
    return [str(entry.get("metric")) for entry in objects_at(config, "metric_list", where)]


def own_figures(results: Mapping[str, object], task: str) -> dict[str, dict[str, float]]:
    """Return the harness's aggregates of a task: filter to metric to value."""
    figures: dict[str, dict[str, float]] = {}
    for name, value in _harness_aggregates(results).get(task, {}).items():
        metric, _, filter = name.partition(",")
        figures.setdefault(filter, {})[metric] = value
    return figures


def is_mean(config: Mapping[str, object], metric: str, where: str) -> bool:
    """Whether a task's aggregate of a metric is the mean over its items, as its settings say.

    Where they do not, the harness takes the mean of a metric that decides.
    """
    ways = {
        str(entry.get("metric")): entry.get("aggregation", "mean" if metric in DECIDING else None)
        for entry in objects_at(config, "metric_list", where)
    }
    return ways.get(metric) == "mean"


def task_in_stem(stem: str, results: Mapping[str, object]) -> str:
    """Return the task in a name such as `pretrained__model_TASK`: the longest that the results know.

    >>> task_in_stem("m_piqa_de", {"configs": {"de": {}, "piqa_de": {}}})
    'piqa_de'
    """
    known = sorted(_inside(results, "configs"), key=len, reverse=True)
    return next((task for task in known if stem == task or stem.endswith(f"_{task}")), stem)


def task_config(results: Mapping[str, object], task: str) -> Mapping[str, object]:
    """Return a task's configuration; empty where it is not known."""
    return _inside(results, "configs", task)


def filter_names(config: Mapping[str, object]) -> list[str]:
    """Return the names of a task's filters in their order; empty where they are not known."""
    filters = config.get("filter_list")
    if not isinstance(filters, list):
        return []
    return [str(entry.get("name")) for entry in filters if isinstance(entry, dict)]


def run_facts(results: Mapping[str, object]) -> RunFacts:
    """Return what is known of the whole run: `model`, `versions`, `settings`, `higher_is_better`, `results`."""
    config = _inside(results, "config")
    model = {"name": results.get("model_name"), "source": results.get("model_source") or config.get("model")}
    model |= {"dtype": config.get("model_dtype"), "revision": config.get("model_revision")}
    settings = {name: config.get(name) for name in _RUN_SETTINGS}
    settings |= {name: results.get(name) for name in _PROMPTING}
    # A key that stands there with nothing in it says that nothing was set.
    empty = [name for name in _CAN_BE_UNSET if (name in config or name in results) and not settings[name]]
    settings |= dict.fromkeys(empty, NOTHING_SET)
    return {
        "model": known(model),
        "versions": known({package: results.get(key) for package, key in _VERSIONS.items()}),
        "settings": known(settings),
        "created": results.get("date"),
        "harness": "lm-evaluation-harness",
        "higher_is_better": _directions(results),
        "results": _harness_aggregates(results),
    }


def _directions(results: Mapping[str, object]) -> dict[str, bool]:
    """Which way each metric counts; `perplexity` is left out, as it is read as a log-likelihood."""
    directions: dict[str, bool] = {}
    for metrics in _inside(results, "higher_is_better").values():
        if isinstance(metrics, dict):
            directions |= {name: way for name, way in metrics.items() if isinstance(way, bool)}
    return {name: way for name, way in directions.items() if "perplexity" not in name}


def _harness_aggregates(results: Mapping[str, object]) -> dict[str, dict[str, float]]:
    """The harness's aggregates: task to `metric,filter` to value, without standard errors."""
    return {
        task: {
            name: value
            for name, value in metrics.items()
            if isinstance(value, int | float) and "," in name and "_stderr" not in name
        }
        for task, metrics in _inside(results, "results").items()
        if isinstance(metrics, dict)
    }


def task_facts(results: Mapping[str, object], task: str) -> dict[str, object]:
    """Return what is known of one task: version, shots, prompt, data, generation, filters, hash."""
    config = task_config(results, task)
    # A task that names no filters or metrics has the harness's own, which is known, unlike a task without settings.
    rules = ("metric_list", "filter_list", "process_results")
    scoring = {name: config.get(name) or "the harness's own" for name in rules}
    facts = {
        **(scoring if config else {}),
        "version": _inside(results, "versions").get(task),
        "num_fewshot": _inside(results, "n-shot").get(task),
        "num_items": _inside(results, "n-samples", task).get("effective"),
        "data_fingerprint": _inside(results, "task_hashes").get(task),
        "generation": config.get("generation_kwargs"),
        **{name: config.get(name) for name in _TASK_SETTINGS},
    }
    return known({name: without_addresses(fact) for name, fact in facts.items()})


def without_addresses(value: object) -> object:
    """Return settings without the places in memory that stand in functions' names."""
    if isinstance(value, dict):
        return {name: without_addresses(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [without_addresses(entry) for entry in value]
    return _ADDRESS.sub("", value) if isinstance(value, str) else value
