"""The section's content: a table of all adapters of a task, and plots of those that were aligned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from muscle.flips.result.report import Report
from muscle.flips.trained import Method, Outcome, Series, TrainedAdapter
from muscle.foreign_text import visible
from muscle.report.numbers import told_apart
from muscle.report.page.data_elements import ABSENT, figure, integer, pointer
from muscle.report.page.table import Row, Table
from muscle.report.page.trade_offs import Plot
from muscle.report.page.training.curves import Line, curves, small_curve
from muscle.report.sentences.trained import data_words, method_words, outcome_words, run_name, size_words

_HEAD = ("Validation loss", "Kept", "Data", "Epoch", "Steps")


_PLOTS: Sequence[tuple[str, str, bool, Sequence[tuple[Series, str]]]] = (
    ("Loss", "{loss}", False, (("loss", "training batches"), ("validation_loss", "validation"))),
    (
        "{Counted} that lean on the old model",
        "share of the {counted} (Fig. 3 of the paper)",
        True,
        (("masked_share", "training batches"), ("validation_masked_share", "validation")),
    ),
    (
        "Agreement with the target",
        "share of the validation items, same likeliest option",
        True,
        (("agreement", "validation"),),
    ),
    (
        "Distance to the teachers",
        "KL on the validation data, nats",
        False,
        (("validation_kl_old", "to the old model"), ("validation_kl_new", "to the new model")),
    ),
)
"""Of each plot: its title, what stands on its vertical axis, whether that is a share, and its curves.

`{counted}` is what the loss counts: tokens, or items of whole answers; `{loss}` is its unit.
"""


@dataclass(frozen=True)
class TrainingCard:
    """One task's adapters."""

    task: str
    table: Table
    plots: tuple[Plot, ...]


def training_cards(report: Report) -> list[TrainingCard]:
    """Return a card for each task whose adapters' training is known."""
    cards = []
    for task, adapters in (report.training or {}).items():
        rows = tuple(_row(task, place, adapter) for place, adapter in enumerate(adapters))
        plots = tuple(plot for adapter in adapters if adapter.stage == "align" for plot in _plots(adapter))
        cards.append(TrainingCard(task, Table("Adapter", _HEAD, rows, pictures=1), plots))
    return cards


def _row(task: str, place: int, adapter: TrainedAdapter) -> Row:
    name, meaning = visible(run_name(adapter)), visible(f"{method_words(adapter)}; {size_words(adapter)}")
    loss, outcome = adapter.curve("validation_loss"), adapter.outcome
    if outcome is None or loss is None or not loss.values:
        return Row(name, meaning, (ABSENT,) * len(_HEAD))
    path = pointer("training", task, place, "outcome")
    best = loss.at(outcome.best_epoch)
    cells = (
        small_curve(loss, title=f"Validation loss of {name}"),
        figure(best, told_apart(best, loss.values)),
        escape(data_words(outcome) or "unknown"),
        _epoch(outcome, path),
        integer(outcome.num_steps, f"{path}/num_steps"),
    )
    return Row(name, meaning, tuple(map(Markup, cells)))


def _epoch(outcome: Outcome, path: str) -> Markup:
    written = Markup("{} of {}").format(
        integer(outcome.best_epoch, f"{path}/best_epoch"), integer(outcome.num_epochs, f"{path}/num_epochs")
    )
    state = outcome_words(outcome).rpartition(", ")[2]
    return written + Markup('<span class="second">{}</span>').format(state)


def _unit_of(method: Method) -> str:
    """Return the unit of a method's loss; a focal distance without a temperature is one of logits."""
    of_logits = method.target == "inhibition" or (method.target == "focal" and method.temperature is None)
    return "distance of logits" if of_logits else "nats"


def _plots(adapter: TrainedAdapter) -> Iterator[Plot]:
    name, of_tokens = visible(run_name(adapter)), adapter.method is None or adapter.method.unit == "tokens"
    words = (
        {"Counted": "Tokens", "counted": "counted tokens"} if of_tokens else {"Counted": "Items", "counted": "items"}
    ) | {"loss": "nats" if adapter.method is None else _unit_of(adapter.method)}
    for title, unit, percent, series in _PLOTS:
        found = [(key, told, adapter.curve(key)) for key, told in series]
        lines = [
            Line(curve, told, dashed=place > 0, marked=key not in ("loss", "masked_share"))
            for place, (key, told, curve) in enumerate(found)
            if curve is not None and curve.values
        ]
        if lines:
            whole = f"{title.format(**words)}: {name}"
            told = "; ".join(f"{'dashed' if line.dashed else 'solid'}: {line.words}" for line in lines)
            picture = curves(lines, title=whole, percent=percent)
            yield Plot(whole, "epoch", unit.format(**words), picture, (told,) if len(lines) > 1 else ())
        if title == "Loss" and len(lines) > 1 and _is_flat_beside(lines[1], lines[0]):
            alone = f"Validation loss: {name}"
            yield Plot(alone, "epoch", unit.format(**words), curves(lines[1:], title=alone))


def _is_flat_beside(line: Line, other: Line) -> bool:
    """Tell whether a curve's course is hardly seen on an axis that another one needs."""
    values = line.curve.values
    spread, whole = max(values) - min(values), [*values, *other.curve.values]
    return 0 < spread < 0.1 * (max(whole) - min(whole))
