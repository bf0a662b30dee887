"""What is trained: the two task adapters, their controls, and the methods that are held against them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from bench import Bench, Side
from recorded import record_of

from muscle.config.alignment import AlignmentSettings
from muscle.config.settings import TrainingSettings
from muscle.errors import ConfigError
from muscle.files import read_json, write_json
from muscle.pipeline.whole_answers.candidates import candidate_parts, draw_candidates
from muscle.provenance import fingerprint
from muscle.sweep.jobs import shares_new_side
from muscle.tasks.task import Example
from muscle.training.align import align
from muscle.training.finetune import finetune
from muscle.training.run import TrainingResult
from muscle.training.teachers.kept_stores import KeptStores

Kind = Literal["bare", "finetune", "align"]
ANOTHER = 1000
"""Added to the seed of a training that is done again, on the same data."""
OPTION_LENGTH = 512
"""Most tokens of a question with one option, where options are sentences: each must fit whole, PIQA has one of 257."""
PASS_PROMPTS = 32
"""Prompts a forward pass, where answers are generated."""
NUM_TOLD = 64
"""Training texts whose loss is taken after each epoch where the last epoch is to be kept."""


@dataclass(frozen=True)
class Step:
    """One adapter, or none.

    Attributes:
        name: of its folder and file.
        words: what it is, in the table.
        kind: by which of muscle's functions it is trained; `bare` is the base as it is.
        side: the base that it stands on.
        start: the adapter that it starts from, which is the new teacher too where it is aligned; None is a fresh one.
        teacher: base and adapter in the old model's place, where it is aligned.
        another_seed: how many times before it is a training that is done again, each with a seed of its own.
        training: keys of `training` that differ.
        alignment: keys of `alignment` that differ.
        unlabelled: whether the unlabelled texts are learnt too.
        num_unlabelled: of these so many, the first ones; all of them without it.
        further: adapters on the new base that teach beside its start (`alignment.teachers`).
        record: the kind of record (`recorded.py`) that stands for the old model, in place of its weights.
    """

    name: str
    words: str
    kind: Kind
    side: Side = "new"
    start: str | None = None
    teacher: tuple[Side, str] = ("old", "old")
    another_seed: int = 0
    training: Mapping[str, object] = field(default_factory=dict)
    alignment: Mapping[str, object] = field(default_factory=dict)
    unlabelled: bool = False
    num_unlabelled: int | None = None
    further: tuple[str, ...] = ()
    record: str | None = None


def mixed(
    name: str, words: str, share: float, teacher: tuple[Side, str] = ("old", "old"), *, rate: float = 2e-4
) -> Step:
    """Return a distillation to the mixture of a teacher in the old model's place and `labels`, its start."""
    return Step(
        name,
        words,
        "align",
        start="labels",
        teacher=teacher,
        training={"learning_rate": rate, "epochs": 2},
        alignment={"method": "options", "old_share": share, "labels_first": False},
        unlabelled=True,
    )


LABELS = Step(
    "labels",
    "labels alone, at option level",
    "align",
    start="new",
    training={"learning_rate": 2e-4, "epochs": 3},
    alignment={"method": "options", "target": "labels"},
)
STEPS: tuple[Step, ...] = (
    Step("old", "old", "finetune", "old"),
    Step("new", "plain update", "finetune"),
    Step("floor", "floor: the old one trained again, other seed", "finetune", "old", another_seed=1),
    Step("twin", "twin: the plain update trained again, other seed", "finetune", another_seed=1),
    Step("bare", "bare new base", "bare"),
    Step("eq1", "Eq. 1, T = 2", "align", start="new"),
    LABELS,
    mixed("mixture5", "mixture of old and labels alone, share .5, unlabelled texts", 0.5),
    mixed("twin5", "control: the twin in the old one's place, share .5", 0.5, ("new", "twin")),
    mixed("lr6", "mixture, share .5, rate 6e-4", 0.5, rate=6e-4),
    mixed("twin6", "control: the twin in the old one's place, share .5, rate 6e-4", 0.5, ("new", "twin"), rate=6e-4),
    mixed("mixture7", "mixture, share .7", 0.7),
    mixed("twin7", "control: the twin in the old one's place, share .7", 0.7, ("new", "twin")),
    Step("longer", "plain update trained on, cross-entropy", "finetune", start="new"),
    Step("third", "an unrelated third model, token adapter", "finetune", "third", another_seed=1),
    mixed("third5", "control: the third model in the old one's place, share .5", 0.5, ("third", "third")),
    mixed("third6", "control: the third model in the old one's place, rate 6e-4", 0.5, ("third", "third"), rate=6e-4),
    mixed("third7", "control: the third model in the old one's place, share .7", 0.7, ("third", "third")),
)


def from_record(kind: str, words: str) -> Step:
    """Return the mixture at the higher rate with a record in the old model's place."""
    step = mixed(f"record-{kind}", f"mixture, share .5, rate 6e-4, from a record: {words}", 0.5, rate=6e-4)
    return replace(step, record=kind)


RECORDED: tuple[Step, ...] = (
    from_record("one", "one answer"),
    from_record("five", "five answers"),
    from_record("top20", "one answer and the 20 likeliest tokens at each place"),
)
"""The old model as a record of its answers; none runs unless `run.py --steps` names it."""


def stacked(name: str, words: str, teacher: tuple[Side, str] = ("old", "old")) -> Step:
    """Return a distillation to the calibrated stack of a teacher in the old model's place and `labels`, kappa 2."""
    alignment = {"method": "options", "target": "stack", "kappa": 2.0, "labels_first": False}
    return replace(mixed(name, words, 0.5, teacher, rate=6e-4), alignment=alignment)


def taught_alone(name: str, words: str, teacher: tuple[Side, str] = ("old", "old")) -> Step:
    """Return a distillation to a teacher alone, over the tokens of the labelled texts, from the plain update."""
    alignment = {"method": "paper", "mask": "old_always", "temperature": 1.0}
    return Step(name, words, "align", start="new", teacher=teacher, alignment=alignment)


def on_every_option(
    name: str,
    words: str,
    teacher: tuple[Side, str] = ("old", "old"),
    *,
    rate: float = 6e-4,
    number: int | None = 500,
    epochs: int = 1,
) -> Step:
    """Return `taught_alone` over the tokens of every option, of unlabelled texts too.

    One epoch over a part of the unlabelled texts where no other is said: sentences are long for two cores.
    """
    return replace(
        taught_alone(name, words, teacher),
        training={"learning_rate": rate, "epochs": epochs},
        alignment={"method": "every_option"},
        unlabelled=True,
        num_unlabelled=number,
    )


TARGETS: tuple[Step, ...] = (
    on_every_option(
        "every2", "the old model alone, tokens of every option, 500 unlabelled texts, rate 2e-4", rate=2e-4
    ),
    on_every_option("every6", "the old model alone, tokens of every option, 500 unlabelled texts"),
    on_every_option("every6-twin", "control: the twin in the old one's place, every option", ("new", "twin")),
    on_every_option("every6-third", "control: the third model in its place, every option", ("third", "third")),
    on_every_option("every6-all", "the old model alone, tokens of every option, all unlabelled texts", number=None),
    on_every_option(
        "every6-all-twin", "control: the twin in its place, all unlabelled texts", ("new", "twin"), number=None
    ),
    on_every_option("every6-all2", "the old model alone, all unlabelled texts, two epochs", number=None, epochs=2),
    mixed("rate1", "mixture, share .5, rate 1e-4", 0.5, rate=1e-4),
    mixed("probe6", "probe: the old one alone, rate 6e-4", 1.0, rate=6e-4),
    mixed("share7", "mixture, share .7, rate 6e-4", 0.7, rate=6e-4),
    mixed("share7-twin", "control: the twin in the old one's place, share .7", 0.7, ("new", "twin"), rate=6e-4),
    mixed(
        "share7-third", "control: the third model in the old one's place, share .7", 0.7, ("third", "third"), rate=6e-4
    ),
    stacked("stack6", "stack, kappa 2, unlabelled texts, rate 6e-4"),
    stacked("stack6-twin", "control: the twin in the old one's place, stack", ("new", "twin")),
    stacked("stack6-third", "control: the third model in the old one's place, stack", ("third", "third")),
)
"""Other targets for the same student, and how well it can copy; none runs unless `run.py --steps` names it."""


def on_answers(name: str, words: str, share: float, teacher: tuple[Side, str] = ("old", "old")) -> Step:
    """Return `mixed` for a task whose answers are generated."""
    step = mixed(name, words, share, teacher)
    return replace(step, alignment={**step.alignment, "method": "answers", "answers": ANSWERS})


ANSWERS: Mapping[str, object] = {"samples": 2, "temperature": 1.0}


def on_every_answer(name: str, words: str, share: float = 0.5, teacher: tuple[Side, str] = ("old", "old")) -> Step:
    """Return a distillation to a mixture over the tokens of every candidate answer, from the plain update.

    Greedy answers alone, of a part of the unlabelled texts: drawing them takes longer than training on two cores.
    """
    return Step(
        name,
        words,
        "align",
        start="new",
        teacher=teacher,
        training={"learning_rate": 6e-4, "epochs": 2},
        alignment={"method": "every_answer", "old_share": share, "answers": {"samples": 0}},
        unlabelled=True,
        num_unlabelled=420,
    )


GENERATION_STEPS: tuple[Step, ...] = (
    *(step for step in STEPS if step.name in ("old", "new", "floor", "twin", "bare", "eq1", "longer")),
    Step(
        "labels",
        "labels alone, over candidate answers",
        "align",
        start="new",
        training={"learning_rate": 2e-4, "epochs": 3},
        alignment={"method": "answers", "target": "labels", "answers": ANSWERS},
    ),
    on_answers("mixture5", "mixture of old and labels alone over candidate answers, share .5, unlabelled texts", 0.5),
    on_answers("twin5", "control: the twin in the old one's place, share .5", 0.5, ("new", "twin")),
    on_answers("mixture7", "mixture, share .7", 0.7),
    Step("eq1-twin", "control: the twin in the old one's place, Eq. 1", "align", start="new", teacher=("new", "twin")),
    taught_alone("always", "the old model teaches always, tokens, T = 1"),
    taught_alone("always-twin", "control: the twin in the old one's place, tokens", ("new", "twin")),
    on_every_answer("every5", "mixture, share .5, tokens of every candidate answer, 420 unlabelled texts"),
    on_every_answer("every5-twin", "control: the twin in the old one's place, every answer", teacher=("new", "twin")),
    on_every_answer("every10", "the old model alone, tokens of every candidate answer, 420 unlabelled texts", 1.0),
)
"""The same for a task whose answers are generated: over candidates that the old and the new model gave, and tokens."""


def run_step(bench: Bench, step: Step) -> None:
    """Train a step's adapter, unless that is done.

    Raises:
        ConfigError: it was trained with other settings or texts.
    """
    if step.kind == "bare":
        return
    step = from_better_start(bench, step)
    out = bench.adapter(step.name)
    note = out.with_name(f"{step.name}.json")
    training = _training(bench, step)
    identity = fingerprint(
        [
            bench.settings.lora.model_dump(),
            training.identity(),
            dict(step.alignment),
            [step.kind, step.side, step.start, step.teacher],
            [example.id for example in bench.examples("train")],
            step.unlabelled,
            *([step.num_unlabelled] if step.num_unlabelled else []),
            *([step.further] if step.further else []),
            *([step.record] if step.record else []),
        ]
    )
    if note.is_file():
        if read_json(note)["identity"] != identity:
            raise ConfigError(f"{note}: trained with other settings; expected another --out for these")
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    start, cpu = time.monotonic(), time.process_time()
    result = _train(bench, step, training, out)
    write_json(
        note,
        {
            "identity": identity,
            "seconds": round(time.monotonic() - start, 1),
            "cpu_seconds": round(time.process_time() - cpu, 1),
            "best_epoch": result.best_epoch,
            "loss_before": result.loss_before,
            "validation_losses": result.validation_losses,
            "num_steps": result.num_steps,
        },
    )


def from_better_start(bench: Bench, step: Step) -> Step:
    """Return a step from the plain update where labels alone, its start, are no better on the validation texts.

    As `alignment.labels_first` does.
    """
    if step.start != LABELS.name:
        return step
    told = read_json(bench.adapter(LABELS.name).with_name(f"{LABELS.name}.json"))
    return step if min(told["validation_losses"]) < told["loss_before"] else replace(step, start=LABELS.start)


def _training(bench: Bench, step: Step) -> TrainingSettings:
    seed = bench.seed + ANOTHER * step.another_seed
    given = {**bench.settings.training.model_dump(), "seed": seed, **step.training}
    if bench.built_in and step.alignment.get("method") == "options":
        given["max_length"] = OPTION_LENGTH
    return TrainingSettings.model_validate(given)


def _train(bench: Bench, step: Step, training: TrainingSettings, out: Path) -> TrainingResult:
    base, task = bench.base(step.side), bench.task
    learnt = bench.examples("train")
    # What a preset fills in must not be overruled by the settings of Eq. 1.
    given = step.alignment or bench.settings.alignment.model_dump(exclude_unset=True)
    further = {"teachers": [str(bench.adapter(name)) for name in step.further]} if step.further else {}
    alignment = AlignmentSettings.model_validate({**given, **further})
    on_tokens = step.kind == "finetune" or alignment.unit == "tokens"
    # The loss on what is learnt falls to the end, so that the last epoch is kept; some of it tells that as well.
    last = bench.last_epoch and on_tokens and not step.unlabelled
    held_out = learnt[:NUM_TOLD] if last else bench.examples("validation")
    start = bench.adapter(step.start) if step.start else None
    if step.kind == "finetune":
        return finetune(
            base,
            task,
            train_examples=learnt,
            validation_examples=held_out,
            lora=bench.settings.lora,
            settings=training,
            out=out,
            start_from=start,
            description=step.name,
        )
    assert start is not None, "a compatibility adapter starts from another"
    side, teacher = step.teacher
    parts: dict[str, Sequence[Example]] = {"train": learnt, "validation": held_out}
    if step.unlabelled:
        parts["unlabelled"] = bench.unlabelled()[: step.num_unlabelled]
    if alignment.learns_candidates:
        parts = _with_candidates(bench, step, parts, alignment)
    who = "record" if step.record else teacher
    kept = stores_of(bench.folder / "stores", who, alignment, step.num_unlabelled) if step.unlabelled else None
    return align(
        record_of(bench, step.record, bench.adapter("old")) if step.record else bench.base(side),
        None if step.record else bench.adapter(teacher),
        base,
        start,
        task,
        train_examples=parts["train"],
        validation_examples=parts["validation"],
        unlabelled_examples=parts.get("unlabelled", ()),
        alignment=alignment,
        settings=training,
        out=out,
        description=step.name,
        store=kept,
    )


def stores_of(stores: Path, old: str, alignment: AlignmentSettings, number: int | None = None) -> KeptStores:
    """Return where what the teachers think of all texts stands, which serves every share.

    The new teacher runs once, as in a sweep, whoever stands in the old one's place.

    Args:
        stores: of all pairs of teachers.
        old: who stands in the old one's place.
        alignment: the method.
        number: of the unlabelled texts where it is a part of them, which has a folder of its own.
    """
    stores = stores / f"{number} unlabelled" if number else stores
    new = "old" if shares_new_side(alignment) else old
    return KeptStores(stores / old, stores / new, stores / "labels")


def _with_candidates(
    bench: Bench, step: Step, parts: Mapping[str, Sequence[Example]], alignment: AlignmentSettings
) -> dict[str, Sequence[Example]]:
    """Return the texts with candidate answers of the step's teacher and of the plain update.

    They are drawn once for every step with that teacher and as many samples and texts: labels alone get the same ones.
    """
    (side, teacher), number, answers = step.teacher, step.num_unlabelled, alignment.answers
    few = f", {answers.samples} samples, {number} unlabelled" if number else ""
    file = bench.folder / "candidates" / f"{teacher}{few}.jsonl"
    if not file.is_file():
        draw_candidates(
            file,
            {"old": (bench.base(side), bench.adapter(teacher)), "new": (bench.base("new"), bench.adapter("new"))},
            bench.task,
            {**parts, "unlabelled": bench.unlabelled()[:number]},
            answers,
            seed=bench.seed,
            batch_size=PASS_PROMPTS,
            description=f"candidates of {teacher} and new",
            store=file.parent / "answers",
        )
    return dict(candidate_parts(file, parts, alignment.least_candidates))
