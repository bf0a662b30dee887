"""Published methods that the ones of `steps.py` are held against; none runs unless `run.py --steps` names it.

Each is there as published, on labelled texts, as long as `labels` trains; those that can learn from texts without
labels also with these and from `labels`, as long as `mixture5` trains (`-u`), so that a difference is the method's and
not that of what it learnt from. Their formulas and numbers are those of `alignment.method` (docs/update.md#methods).
The paper's Table 7 is there too: its masks over tokens, as Eq. 1 is trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from steps import RECORDED, STEPS, TARGETS, Step

from muscle.config.alignment import AlignmentSettings
from muscle.sweep.presets import ready_variants

ON_LABELS: Mapping[str, object] = {"learning_rate": 2e-4, "epochs": 3}
ON_ALL: Mapping[str, object] = {"learning_rate": 2e-4, "epochs": 2}
SEEDS = ("twin", "seed2", "seed3")
"""The plain update trained again: what an ensemble is of, beside the start."""


RELIABILITY: Mapping[str, object] = {"unit": "options", "target": "reliability", "temperature": 1.0}
MASK: Mapping[str, object] = {"unit": "options", "target": "mask", "temperature": 1.0}


def both(name: str, words: str, further: tuple[str, ...] = (), **alignment: object) -> Iterator[Step]:
    """Yield a method on labelled texts alone, and with those that have no label."""
    yield Step(name, words, "align", start="new", training=ON_LABELS, alignment=alignment, further=further)
    yield Step(
        f"{name}-u",
        f"{words}, unlabelled texts",
        "align",
        start="labels",
        training=ON_ALL,
        alignment=alignment,
        further=further,
        unlabelled=True,
    )


def on_labels(name: str, words: str, **alignment: object) -> Step:
    """Return a method that is nothing without a label."""
    return Step(name, words, "align", start="new", training=ON_LABELS, alignment=alignment)


def interpolated(name: str, words: str, share: float) -> Step:
    """Return the weights of both task adapters, interpolated; nothing is trained."""
    return Step(name, words, "align", start="new", alignment={"method": "bcwi", "old_share": share})


RIVALS: tuple[Step, ...] = (
    Step("seed2", "the plain update trained again, third seed", "finetune", another_seed=2),
    Step("seed3", "the plain update trained again, fourth seed", "finetune", another_seed=3),
    *both("churn3", "churn: labels .3 + old .7", method="churn", ce_weight=0.3),
    *both("churn5", "churn: labels .5 + old .5", method="churn", ce_weight=0.5),
    *both("churn7", "churn: labels .7 + old .3", method="churn", ce_weight=0.7),
    Step(
        "churn-tokens",
        "churn on tokens: cross-entropy .5 + old .5, T = 1",
        "align",
        start="new",
        alignment={"mask": "old_always", "ce_weight": 0.5, "temperature": 1.0},
    ),
    *both("pct", "focal distillation (PCT), KL", method="pct"),
    *both("pct-logits", "focal distillation (PCT), logits", method="pct", focal={"distance": "logits"}),
    *both("ldi", "logit difference inhibition (LDI) towards the old model", method="ldi"),
    *both("elodi", "ELODI: towards the mean logits of new seeds", SEEDS, method="elodi"),
    *both("elodi-old", "ELODI: the old model in the ensemble, share .5", SEEDS, method="elodi", old_share=0.5),
    *both(
        "seeds",
        "distilled to the mean of new seeds, no old model",
        SEEDS,
        **{"unit": "options", "target": "mixture", "temperature": 1.0, "old_share": 0.0},
    ),
    *both("mpt", "double-source focal distillation (MPT)", method="mpt"),
    *both("relabel", "relabelled by the old model", method="relabel"),
    Step(
        "relabel-kept-u",
        "unlabelled texts labelled by the old model, labels kept",
        "align",
        start="labels",
        training=ON_ALL,
        alignment={"method": "relabel", "keep_labels": True},
        unlabelled=True,
    ),
    *both("reliability1", "reliability mixture, sharpness 1", **RELIABILITY, sharpness=1.0),
    *both("reliability4", "reliability mixture, sharpness 4", **RELIABILITY, sharpness=4.0),
    on_labels("mask", "Eq. 1 with an item in a token's place", **MASK),
    Step(
        "mask-labels",
        "the same, from the adapter trained on labels",
        "align",
        start="labels",
        training=ON_LABELS,
        alignment=MASK,
    ),
    on_labels("margin", "labels + hinge to the old margin", unit="options", target="margin", temperature=1.0),
    on_labels(
        "margin-higher",
        "labels + hinge to the higher of both margins",
        **{"unit": "options", "target": "margin", "temperature": 1.0, "margin_of": "higher"},
    ),
    on_labels("twins", "twin-bootstrap co-training, lambda 10, weights averaged", method="twins"),
    on_labels("bags", "the same with lambda 0: two bagged adapters", method="twins", twins={"agreement": 0.0}),
    on_labels(
        "start-old", "labels alone, from the old adapter", **{"method": "options", "target": "labels", "start": "old"}
    ),
    interpolated("bcwi3", "BCWI: weights .3 old + .7 new", 0.3),
    interpolated("bcwi5", "BCWI: weights .5 old + .5 new", 0.5),
    interpolated("bcwi7", "BCWI: weights .7 old + .3 new", 0.7),
    interpolated("copied", "the old adapter copied onto the new base", 1.0),
)


def table7() -> Iterator[Step]:
    """Yield the rows of the paper's Table 7 beside its method, which is `eq1` of `steps.py`: the other masks."""
    for ready in ready_variants("table7", AlignmentSettings(temperature=2.0))[1:]:
        name = "t7-" + ready.name.replace(" + ", "-").replace(" ", "-").lower()
        yield Step(name, f"Table 7: {ready.name}", "align", start="new", alignment=ready.alignment)


TABLE7: tuple[Step, ...] = tuple(table7())
ALL: tuple[Step, ...] = (*STEPS, *RECORDED, *TARGETS, *TABLE7, *RIVALS)
"""Whatever can be trained for a task with options, in the tables' order."""
