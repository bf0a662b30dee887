"""How the adapters were trained, in words; nothing where runs alone were compared."""

from __future__ import annotations

from muscle.flips.result.report import Report
from muscle.flips.trained import Method, Outcome, TrainedAdapter
from muscle.report.entries import shown_tasks
from muscle.report.numbers import count, format_number

RUN_NAMES = {
    "old": "old adapter",
    "new": "new adapter (plain update)",
    "compat": "compatibility adapter (candidate)",
    "control": "control: new adapter trained on",
    "floor": "floor: old recipe again",
}
"""What an update's runs are called; a method beside has its own name."""


def leaning_words(method: Method | None) -> str:
    """Name what a mask lets lean on the old model."""
    return f"{'tokens' if method is None or method.unit == 'tokens' else 'items'} that lean on the old model"


def trained_lines(report: Report, *, max_tasks: int, all_adapters: bool = False) -> list[str]:
    """Return a line for each candidate, or each adapter: method, data, outcome."""
    lines = []
    for name in shown_tasks(report, max_tasks):
        for adapter in (report.training or {}).get(name, ()):
            if all_adapters or adapter.run == "compat":
                where = "" if len(report.tasks) == 1 else f"{name}, "
                lines.append(f"{where}{run_name(adapter)}: {adapter_words(adapter)}")
    return lines


def run_name(adapter: TrainedAdapter) -> str:
    """Return what an adapter is called."""
    return RUN_NAMES.get(adapter.run, adapter.run)


def adapter_words(adapter: TrainedAdapter) -> str:
    """Say how an adapter was trained."""
    parts = [method_words(adapter), size_words(adapter)]
    if adapter.outcome is not None:
        parts += [data_words(adapter.outcome), outcome_words(adapter.outcome)]
    parts += curve_words(adapter)
    return "; ".join(part for part in parts if part)


def method_words(adapter: TrainedAdapter) -> str:
    """Say what an adapter was drawn to."""
    method = adapter.method
    if method is None:
        return "given"
    if adapter.stage == "finetune":
        return "next-token cross-entropy over context and answer"
    if method.target == "labels":
        return "cross-entropy of the right answer" if method.unit == "answers" else "cross-entropy of the right option"
    unit = "candidate answers" if method.unit == "answers" else method.unit
    unit += f" of {method.texts.replace('_', ' ')}" if method.texts in ("every_option", "every_answer") else ""
    words = f"{unit}, target {method.target}"
    if method.unit == "weights":
        words = "the old and the new adapter added up, nothing trained"
    elif method.target == "mask":
        words = f"Eq. 1 on {unit}, mask {method.mask}"
    return ", ".join([words, *_choices(method)])


def _choices(method: Method) -> list[str]:
    found = [
        f"old share {method.old_share:g}" if method.old_share is not None else "",
        f"kappa {method.kappa:g}" if method.kappa is not None else "",
        f"T = {method.temperature:g}" if method.temperature is not None else "",
        f"lambda = {1 - method.ce_weight:g}" if method.ce_weight is not None else "",
        f"{method.kl} KL" if method.kl is not None else "",
        ("labels first" if method.labels_improved else "labels first without gain") if method.labels_first else "",
        f"from the {method.start} adapter" if method.start in ("new", "old") else "",
        "from a fresh adapter" if method.start == "fresh" else "",
    ]
    if method.calibration:
        told = ", ".join(f"{name} {value:.3g}" for name, value in method.calibration.items())
        found.append(f"teachers' temperatures {told}")
    if method.aligned is not None and method.placed is not None:
        aligned, placed = (format_number(share, "rate") for share in (method.aligned, method.placed))
        found.append(f"the old model's tokens aligned at {aligned} of the new ones, {placed} of its mass placed")
    if method.too_little:
        found.append(f"at {format_number(method.too_little, 'rate')} more too little of it")
    return [each for each in found if each]


def size_words(adapter: TrainedAdapter) -> str:
    """Say what kind of adapter it is, and its size."""
    rank = "" if adapter.rank is None else f" r = {adapter.rank}"
    alpha = "" if adapter.alpha is None else f", alpha = {adapter.alpha:g}"
    return f"{adapter.kind}{rank}{alpha}"


def data_words(outcome: Outcome) -> str:
    """Say what was learnt from."""
    labelled = "" if outcome.num_labelled is None else f"{count(outcome.num_labelled)} labelled"
    more = f" and {count(outcome.num_unlabelled)} unlabelled" if outcome.num_unlabelled else ""
    return f"{labelled}{more}"


def outcome_words(outcome: Outcome) -> str:
    """Say which epoch was kept, and whether more would have helped."""
    if not outcome.num_epochs:
        return ""
    state = "converged" if outcome.converged else "the validation loss was still falling"
    if not outcome.improved:
        state = "the validation loss was no lower than before training"
    return f"epoch {outcome.best_epoch} of {outcome.num_epochs} kept (at most {outcome.max_epochs}), {state}"


def curve_words(adapter: TrainedAdapter) -> list[str]:
    """Say how the share of masked tokens went, and how well the kept epoch agrees with the target."""
    found = []
    masked, agreement = adapter.curve("masked_share"), adapter.curve("agreement")
    if masked is not None and masked.values:
        first, last = (format_number(masked.values[place], "rate") for place in (0, -1))
        found.append(f"{leaning_words(adapter.method)} {first if first == last else f'{first} to {last}'}")
    if agreement is not None and agreement.values and adapter.outcome is not None:
        kept = format_number(agreement.at(adapter.outcome.best_epoch), "rate")
        was = f", {format_number(agreement.values[0], 'rate')} before training" if agreement.epochs[0] == 0 else ""
        found.append(f"agreement with the target {kept} in the kept epoch{was}")
    return found
