"""From variants and seeds to jobs, and to what the leaderboard shows of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from muscle.config.alignment import AlignmentSettings
from muscle.config.settings import BaseConfig
from muscle.config.update_file import UpdateConfig
from muscle.errors import ConfigError, MuscleError
from muscle.leaderboard.entries import Contender, Control, Role
from muscle.sweep.job_stages import labelled_epochs, update_stages
from muscle.sweep.jobs import GroupJobs, Job, group_name, ordered
from muscle.sweep.presets import WholeUnit, section
from muscle.sweep.served import NAMES, WAYS
from muscle.sweep.variants import SEED, UpdateFile, Variant, expand, yaml_word

BASE, PLAIN, FLOOR, TWIN = "bare new base", "plain update", "floor: old recipe again", "twin: new recipe again"
LONGER = "longer: cross-entropy"
NO_TEACHER: Mapping[WholeUnit, str] = {
    "options": "no teacher: labels alone",
    "answers": "no teacher: references alone",
}


@dataclass(frozen=True)
class PlannedRow(Contender):
    """A row of the leaderboard that is to be filled.

    Attributes:
        run: of the job's scored runs, its own.
        jobs: the job that scores it, by seed.
    """

    run: str
    jobs: Mapping[int, Job]


@dataclass(frozen=True)
class Plan:
    """A sweep.

    Attributes:
        folder: where everything stands.
        config: the update as its file has it.
        seeds: by which all is trained.
        rows: of the leaderboard, in its order.
        jobs: in an order in which they can run.
        controls: whether the controls are among them.
    """

    folder: Path
    config: UpdateConfig
    seeds: tuple[int, ...]
    rows: tuple[PlannedRow, ...]
    jobs: tuple[Job, ...]
    controls: bool

    @property
    def by_name(self) -> dict[str, Job]:
        """The jobs by their names."""
        return {job.name: job for job in self.jobs}


def make_plan(file: UpdateFile, *, folder: Path | None = None, controls: bool = True, outlines: bool = False) -> Plan:
    """Say what a sweep trains.

    Args:
        file: the update's.
        folder: the sweep's; `sweep` in the update's run folder without.
        controls: whether the controls are trained; the update's own section may say no too.
        outlines: whether published sizes may stand for data that is not here.

    Raises:
        MuscleError: a variant cannot be, or data or a base are missing.
    """
    config = file.config()
    settings = config.sweep
    controls = controls and settings.controls
    variants, seeds = expand(file, settings)
    root = (folder or Path(config.output) / "sweep").resolve()
    configs = {(variant.name, seed): _config_of(file, variant, seed) for variant in variants for seed in seeds}
    of_group: dict[str, list[Variant]] = {}
    for variant in variants:
        of_group.setdefault(group_name(configs[variant.name, seeds[0]]), []).append(variant)
    if not variants:
        of_group[group_name(config)] = []
    rows: list[PlannedRow] = []
    for number, (name, members) in enumerate(of_group.items()):
        mark = f" ({_outside_alignment(members) or number + 1})" if len(of_group) > 1 else ""
        group = _Group(file, root, name, mark, members, seeds, configs, settings.third, outlines)
        rows += group.rows(controls=controls)
    _refuse_names_taken_twice(rows)
    jobs = ordered(job for row in rows for job in row.jobs.values())
    return Plan(root, config, tuple(seeds), tuple(rows), tuple(jobs), controls)


def _config_of(file: UpdateFile, variant: Variant, seed: int) -> UpdateConfig:
    try:
        return file.config({**variant.overrides, SEED: seed})
    except ConfigError as error:
        # The file's own keys were fine before.
        raise ConfigError(f"variant {variant.name!r}: {error}") from error


def _refuse_names_taken_twice(rows: Sequence[PlannedRow]) -> None:
    counted = Counter(row.name for row in rows)
    for name, number in counted.items():
        if number > 1:
            raise ConfigError(f"a variant is called {name!r}, as another row is; expected another name")


def _outside_alignment(members: Sequence[Variant]) -> str:
    """Say what sets a group's variants apart from the update as it stands."""
    given = members[0].overrides
    return ", ".join(
        f"{key}={yaml_word(value)}" for key, value in given.items() if key.partition(".")[0] != "alignment"
    )


@dataclass(frozen=True)
class _Group:
    """One group's rows.

    Attributes:
        file: the update's.
        root: the sweep's folder.
        name: of the group.
        mark: behind the names of its rows that other groups have too.
        members: its variants.
        seeds: by which all is trained.
        configs: of every variant and seed.
        third: the third base.
        outlines: whether published sizes may stand for data that is not here.
    """

    file: UpdateFile
    root: Path
    name: str
    mark: str
    members: Sequence[Variant]
    seeds: Sequence[int]
    configs: Mapping[tuple[str, int], UpdateConfig]
    third: BaseConfig | None
    outlines: bool = False

    def jobs(self, seed: int) -> GroupJobs:
        """Return the group's own jobs for a seed: nothing in them hangs on a variant's alignment."""
        own = self.file.config({SEED: seed})
        config = self.configs[self.members[0].name, seed] if self.members else own
        plain = AlignmentSettings(training=own.alignment.training)
        return GroupJobs(config.model_copy(update={"alignment": plain}), self.root)

    def rows(self, *, controls: bool) -> Iterator[PlannedRow]:
        """Yield the rows: plain update and controls first, then the variants, each behind its own controls."""
        tasks = {seed: self.jobs(seed).tasks() for seed in self.seeds}
        yield self._row("old", "old", "the version in use", "old", tasks)
        yield self._row(PLAIN, "plain", "the new base with its task adapter", "new", tasks)
        shared: dict[Control, str] = {"plain": PLAIN + self.mark}
        if controls:
            yield self._row(BASE, "control", "the new base without an adapter", "base", tasks)
            for kind, row in self._shared_controls():
                if kind != "third":  # a teacher, and no other way to update
                    shared[kind] = row.name
                yield row
            yield from self._served_rows(shared)
        for variant in self.members:
            yield from self._variant_rows(variant, shared, controls=controls)

    def _row(
        self, name: str, role: Role, what: str, run: str, jobs: Mapping[int, Job], *, eligible: bool = False
    ) -> PlannedRow:
        against: dict[Control, str] = {} if role in ("old", "plain") else {"plain": PLAIN + self.mark}
        return PlannedRow(name + self.mark, role, what, self.name, run, jobs, controls=against, eligible=eligible)

    def _shared_controls(self) -> Iterator[tuple[Control, PlannedRow]]:
        again = {seed: self.jobs(seed).again() for seed in self.seeds}
        if not self.jobs(self.seeds[0]).config.old.record:
            yield "floor", self._row(FLOOR, "control", "the old recipe run again, another seed", "old", again)
        yield "twin", self._row(TWIN, "control", "the new recipe run again, another seed", "new", again)
        if self.third is not None:
            third = {seed: self.jobs(seed).third(self.third) for seed in self.seeds}
            yield "third", self._row(f"third: {self.third.name}", "control", "an unrelated base", "old", third)
        epochs = {seed: self._longest(seed) for seed in self.seeds}
        longer = {seed: self.jobs(seed).longer(epochs[seed]) for seed in self.seeds}
        what, long = "the plain update trained on with the labels alone", f"{epochs[self.seeds[0]]} epochs"
        yield "longer", self._row(LONGER, "control", f"{what}, {long}", "control", longer, eligible=True)
        for unit, name in NO_TEACHER.items():
            if any(self._config(variant).alignment.unit == unit for variant in self.members):
                alone = {seed: self._labels_alone(seed, epochs[seed], unit) for seed in self.seeds}
                yield (
                    "no_teacher",
                    self._row(name, "control", f"{what}, over whole {unit}, {long}", "compat", alone, eligible=True),
                )

    def _served_rows(self, shared: Mapping[Control, str]) -> Iterator[PlannedRow]:
        if not self.jobs(self.seeds[0]).can_serve_both:
            return
        jobs = {seed: self.jobs(seed).served() for seed in self.seeds}
        for way in WAYS:
            what = f"both models, {way.words}; fitted on the validation data"
            yield PlannedRow(
                NAMES[way.name] + self.mark, "served", what, self.name, way.name, jobs, controls=shared, models_served=2
            )

    def _config(self, variant: Variant) -> UpdateConfig:
        return self.configs[variant.name, self.seeds[0]]

    def _longest(self, seed: int) -> int:
        """Return the epochs in which a control sees as many examples as the longest variant does at most."""
        found = [self.jobs(seed).config.align_training().epochs] if not self.members else []
        for variant in self.members:
            # One whose data cannot be read fails when it runs, and leaves the others alone.
            with suppress(MuscleError):
                found.append(labelled_epochs(update_stages(self._job(variant, seed), outlines=self.outlines)))
        return max(found, default=1)

    def _labels_alone(self, seed: int, epochs: int, unit: WholeUnit) -> Job:
        config = self.jobs(seed).config
        training = {**config.alignment.training, "epochs": epochs, "early_stopping_patience": None}
        given = next(found for each in self.members if (found := self._config(each).alignment).unit == unit)
        choices = {**section({"method": unit, "target": "labels"}, given), "training": training}
        alignment = AlignmentSettings.model_validate({**choices, "selection": "own"})
        return self.jobs(seed).variant(f"no-teacher-{unit}", config.model_copy(update={"alignment": alignment}))

    def _job(self, variant: Variant, seed: int, old: str = "old") -> Job:
        config, jobs = self.configs[variant.name, seed], self.jobs(seed)
        if old == "twin":
            return jobs.variant(variant.folder_name, config, old="twin")
        if old == "third":
            return jobs.variant(variant.folder_name, config, old="third", third=self.third)
        return jobs.variant(variant.folder_name, config)

    def _variant_rows(self, variant: Variant, shared: Mapping[Control, str], *, controls: bool) -> Iterator[PlannedRow]:
        alignment = self._config(variant).alignment
        uses_old, in_place = _uses_old(alignment), dict(shared)
        in_place.pop("no_teacher", None)
        if controls and alignment.unit in ("options", "answers"):
            in_place["no_teacher"] = NO_TEACHER[alignment.unit] + self.mark
        own: list[PlannedRow] = []
        if controls and uses_old and not variant.probe:
            own = list(self._in_the_olds_place(variant, alignment))
            kinds: tuple[Control, ...] = ("twin_as_old", "third_as_old")
            in_place |= {kind: row.name for kind, row in zip(kinds, own, strict=False)}
        yield from own
        yield PlannedRow(
            name=variant.name,
            role="probe" if variant.probe else "method",
            what=_method_words(alignment),
            group=self.name,
            run="compat",
            jobs={seed: self._job(variant, seed) for seed in self.seeds},
            controls=in_place,
            uses_old=uses_old,
            eligible=not variant.probe,
            settings=variant.overrides,
            published=variant.published,
        )

    def _in_the_olds_place(self, variant: Variant, alignment: AlignmentSettings) -> Iterator[PlannedRow]:
        places = [("twin", "a twin of the new one")]
        # An adapter of another shape cannot be the start, nor be added to one.
        if self.third is not None and alignment.start != "old" and alignment.unit != "weights":
            places.append(("third", self.third.name))
        for old, words in places:
            jobs = {seed: self._job(variant, seed, old) for seed in self.seeds}
            name = f"{variant.name}, {old} as old"
            what, plain = f"{words} in the old one's place", PLAIN + self.mark
            yield PlannedRow(name, "control", what, self.name, "compat", jobs, controls={"plain": plain})


def _uses_old(alignment: AlignmentSettings) -> bool:
    """Tell whether anything of the old model enters a training."""
    if alignment.start == "old":
        return True
    if alignment.unit == "tokens":
        return alignment.ce_weight < 1 and alignment.leaning[1] > 0
    by_share = alignment.target in ("mixture", "inhibition", "interpolation")
    return alignment.target not in ("labels", "twins") and not (by_share and alignment.old_share == 0)


def _method_words(alignment: AlignmentSettings) -> str:
    """Say in a few words what a method is."""
    more = ", unlabelled inputs" if alignment.unlabelled and alignment.reads("unlabelled") else ""
    if alignment.unit == "tokens":
        weight = f" + {alignment.ce_weight:g} CE" if alignment.ce_weight else ""
        texts = f", tokens of {alignment.texts.replace('_', ' ')}" if alignment.every_text else ""
        taught = f"Eq. 1, mask {alignment.mask}"
        if alignment.target == "mixture":
            taught = f"mixture, old share {alignment.old_share:g}"
        equation = f"{taught}, T {alignment.temperature:g}{weight}{texts}"
        return f"{equation}{_beside_the_target(alignment)}{more}"
    shared = ("mixture", "reliability", "lifted", "inhibition", "interpolation")
    share = f", old share {alignment.old_share:g}" if alignment.target in shared else ""
    share += f" {alignment.mask}" if alignment.target == "mask" else ""
    method = "" if alignment.method in ("options", "answers", "paper") else f"{alignment.method}: "
    return f"{method}{alignment.unit}, {alignment.target}{share}{_beside_the_target(alignment)}{more}"


def _beside_the_target(alignment: AlignmentSettings) -> str:
    """Say what of a method's other choices is not as usual."""
    starts = {"old": ", from the old adapter", "fresh": ", from a fresh adapter"}
    return "".join(
        [
            ", reverse KL" if alignment.kl == "reverse" else "",
            ", labels first" if alignment.labels_first else "",
            starts.get(alignment.start, ""),
            f", rank {alignment.lora.r}" if alignment.lora else "",
        ]
    )
