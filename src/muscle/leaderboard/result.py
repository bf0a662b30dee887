"""A leaderboard: the one result that its terminal table, its page and its files are made from.

`leaderboard.json` is this object written by `muscle.typed_json`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from muscle.flips.pairing.flip_sign import Kind
from muscle.leaderboard.entries import Control, Published, Role
from muscle.typed_json import OPTIONAL_KEY, from_json, json_object

FORMAT = "muscle-leaderboard/1"


@dataclass(frozen=True)
class Spread:
    """A number over seeds.

    Attributes:
        mean: of the seeds that have it.
        sd: the sample standard deviation, n - 1 below the line; None of fewer than two.
        n: how many seeds.
    """

    mean: float
    sd: float | None
    n: int


@dataclass(frozen=True)
class SeedNumbers:
    """A row's numbers on one task for one seed. Rates are in [0, 1], over all n items.

    Attributes:
        seed: of the training.
        n: items that both this row and the old version have scored.
        accuracy: or the mean score.
        accuracy_change: against the plain update of the same seed.
        negative_flip_rate: NFR against the old version.
        negative_flip_rate_change: against the plain update's.
        negative_flip_rate_change_percent: in percent of the plain update's; None where that has no negative flip.
        positive_flip_rate: PFR against the old version.
        inconsistency_rate: NFR_mc; None where answers are not known.
        mean_gain: m_g of a score; None of right and wrong.
        mean_regression: m_r of a score; None of right and wrong.
        same_answer_as_old: share of items with the old version's answer; None where answers are not known.
    """

    seed: int
    n: int
    accuracy: float | None
    accuracy_change: float | None
    negative_flip_rate: float | None
    negative_flip_rate_change: float | None
    negative_flip_rate_change_percent: float | None
    positive_flip_rate: float | None
    inconsistency_rate: float | None
    mean_gain: float | None
    mean_regression: float | None
    same_answer_as_old: float | None


NUMBERS = (
    "accuracy",
    "accuracy_change",
    "negative_flip_rate",
    "negative_flip_rate_change",
    "negative_flip_rate_change_percent",
    "positive_flip_rate",
    "inconsistency_rate",
    "mean_gain",
    "mean_regression",
    "same_answer_as_old",
)
"""The fields of `SeedNumbers` that have a mean and a spread."""


@dataclass(frozen=True)
class Comparison:
    """Negative flips of a row held against those of another row, over the same items and seeds.

    Attributes:
        control: what kind of row the other one is.
        against: its name.
        seeds: that both have.
        negative_flips: of this row, over all seeds.
        their_negative_flips: of the other one.
        accuracy_difference: this row less the other one, over all items and seeds.
        seeds_fewer: in how many seeds this row has fewer negative flips.
        p_by_seed: exact McNemar test of the two rows' negative flips, two-sided, by seed.
        p_over_items: exact sign-flip test, two-sided: over items, each item's net of all seeds as one. It speaks of
            these trained adapters on further items of the kind.
        p_over_items_holm: the same, adjusted over the methods that are held against this kind of control (Holm).
        p_over_seeds: exact sign-flip test, two-sided: over seeds. It speaks of further seeds; with n of them it cannot
            be below 2^(1 - n).
        accuracy_p_over_items: as `p_over_items`, of right and wrong answers; None of a score.
        beats: fewer negative flips in every seed, and `p_over_items_holm` below 0.05.
        accuracy_p_over_items_holm: as `p_over_items_holm`, of `accuracy_p_over_items`.
        gains: more right answers in every seed, and `accuracy_p_over_items_holm` below 0.05; None of a score.
    """

    control: Control
    against: str
    seeds: Sequence[int]
    negative_flips: int
    their_negative_flips: int
    accuracy_difference: float | None
    seeds_fewer: int
    p_by_seed: Mapping[int, float]
    p_over_items: float
    p_over_items_holm: float
    p_over_seeds: float
    accuracy_p_over_items: float | None
    beats: bool
    # Leaderboards of before have neither.
    accuracy_p_over_items_holm: float | None = field(default=None, metadata=OPTIONAL_KEY)
    gains: bool | None = field(default=None, metadata=OPTIONAL_KEY)


@dataclass(frozen=True)
class RowNumbers:
    """A row's numbers on one task.

    Attributes:
        by_seed: those of each seed.
        over_seeds: mean and spread of each number, by its name.
        comparisons: with the rows that it is held against.
        uses_old_model: whether it beats every control that has no use of the old model; None where it is no method
            that is made to use it, or a control is missing.
    """

    by_seed: Sequence[SeedNumbers]
    over_seeds: Mapping[str, Spread]
    comparisons: Sequence[Comparison]
    uses_old_model: bool | None

    def mean(self, name: str) -> float | None:
        """Return a number's mean over seeds; None where no seed has it."""
        found = self.over_seeds.get(name)
        return None if found is None else found.mean

    def against(self, control: Control) -> Comparison | None:
        """Return the comparison with a kind of control; None where there is none."""
        return next((each for each in self.comparisons if each.control == control), None)


@dataclass(frozen=True)
class Row:
    """A row of the leaderboard.

    Attributes:
        name: what it is called.
        role: what it is.
        what: in a few plain words.
        group: the name of its group.
        eligible: whether it may be chosen: a method, or a control that is an update of its own.
        settings: what differs from the update's file.
        models_served: how many models answer.
        seconds: what its training took; None where nothing was trained for it.
        tasks: its numbers by task; none where no seed was scored.
        failed: why it is not there, by seed.
        published: what the paper reports of it.
    """

    name: str
    role: Role
    what: str
    group: str
    eligible: bool
    settings: Mapping[str, object]
    models_served: int
    seconds: Spread | None
    tasks: Mapping[str, RowNumbers]
    failed: Mapping[int, str]
    published: Published | None = field(default=None, metadata=OPTIONAL_KEY)


@dataclass(frozen=True)
class Advice:
    """What to do about one task.

    Attributes:
        action: in a word.
        row: the row that it rests on.
        sentences: what to do, at what price, and why.
    """

    action: str
    row: str | None
    sentences: Sequence[str]


@dataclass(frozen=True)
class HeldOut:
    """The choice once more: made on one half of the items, measured on the other. Rates are means over seeds.

    Attributes:
        row: the row that is chosen on the first half.
        chosen_on: items of that half.
        n: items of the other half, the denominator of the rates.
        negative_flip_rate: of the row, on the other half.
        plain_negative_flip_rate: of the plain update.
        accuracy: of the row, or its mean score.
        plain_accuracy: of the plain update.
    """

    row: str
    chosen_on: int
    n: int
    negative_flip_rate: float
    plain_negative_flip_rate: float
    accuracy: float
    plain_accuracy: float


@dataclass(frozen=True)
class TaskBoard:
    """What is said of one task over all rows.

    Attributes:
        name: of the task.
        kind: "binary" where correctness is known, else "continuous".
        n: items of the test data.
        chosen: the eligible row with the fewest negative flips among those at least as accurate as the plain update;
            None where there is none.
        chosen_on: on which items it was chosen.
        held_out: the choice made on half of the items, and measured on the others; None where that cannot be.
        advice: what to do.
    """

    name: str
    kind: Kind
    n: int
    chosen: str | None
    chosen_on: str
    held_out: HeldOut | None = None
    advice: Advice | None = None


@dataclass(frozen=True)
class Leaderboard:
    """Several candidates for one update.

    Attributes:
        format: of the file.
        muscle_version: that made it.
        created: when, in UTC.
        title: of the update; None without one.
        old: the old version's name.
        new: the new version's.
        seeds: by which all was trained.
        rows: controls first.
        tasks: what is said of each task.
        notes: what a reader must know: which tests these are, what is missing.
    """

    format: str
    muscle_version: str
    created: str
    title: str | None
    old: str
    new: str
    seeds: Sequence[int]
    rows: Sequence[Row]
    tasks: Sequence[TaskBoard]
    notes: Sequence[str]

    def row(self, name: str) -> Row | None:
        """Return the row of a name; None where there is none."""
        return next((row for row in self.rows if row.name == name), None)

    def to_json(self) -> dict[str, object]:
        """Return it as a JSON object."""
        return json_object(self)

    @classmethod
    def from_json(cls, value: object, *, where: str = "leaderboard") -> Leaderboard:
        """Read what `to_json` gave.

        Args:
            value: the JSON object.
            where: its file, for messages.

        Raises:
            DataError: a key is missing or holds something else.
        """
        return from_json(cls, value, where=where)
