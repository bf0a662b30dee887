"""An acceptance rule for prompt optimisers: a candidate prompt that breaks an item which was right is refused.

An optimiser accepts a prompt for its sum of scores, so that it may lose items that work today and gain as many others.
`broken_items` takes the scores of the same items under two prompts, and says which are lost; it needs no library.
`MustNotBreak` is the same rule as GEPA's `acceptance_criterion` (`should_accept` and `reject_reason`, gepa from 0.1.4
on; https://gepa-ai.github.io/gepa/guides/acceptance-criterion/), through which DSPy's GEPA takes it too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, SupportsFloat

from muscle.errors import DataError
from muscle.foreign_text import listing

Item = Hashable
"""What names an item: an id, or its place."""

_ROUNDING = 1e-9
"""Scores that fall by just what is tolerated are sums: 0.8 - 0.1 is above 0.7."""


class Proposal(Protocol):
    """What GEPA's engine gives a criterion, as far as it is read."""

    candidate: dict[str, str]
    subsample_indices: list[Item] | None
    subsample_scores_before: list[float] | None
    subsample_scores_after: list[float] | None


@dataclass(frozen=True)
class Pinned:
    """Items that a candidate is asked again whatever the optimiser drew.

    Attributes:
        ids: of the items.
        before: their scores under the prompt in use.
        evaluate: returns their scores under a candidate, in the order of `ids`. It is called for candidates that the
            drawn items do not refuse, and costs what it costs.
    """

    ids: Sequence[Item]
    before: Sequence[float]
    evaluate: Callable[[Mapping[str, str]], Sequence[float]]


def broken_items(
    before: Sequence[float],
    after: Sequence[float],
    *,
    ids: Sequence[Item] | None = None,
    must_not_break: Collection[Item] | None = None,
    right_from: float = 1.0,
    tolerance: float = 0.0,
) -> list[Item]:
    """Return the items that were right and are not any more.

    Args:
        before: score of each item under the prompt in use; more is better.
        after: of the same items under the candidate.
        ids: what names each; its place, from 0, without.
        must_not_break: the items that count; all without.
        right_from: an item is right from this score on.
        tolerance: how far below that an item which was right may fall: for judges and scores that are not 0 and 1.

    Returns:
        Their ids, in their order.

    Raises:
        DataError: the lists are not of one length, or a score is none, infinite or no number.

    Example:
        >>> broken_items([1, 1, 0, 1], [1, 0, 1, 0], ids=["a", "b", "c", "d"])
        ['b', 'd']
        >>> broken_items([1, 1, 0, 1], [1, 0, 1, 0], must_not_break={3})
        [3]
    """
    names: Sequence[Item] = range(len(before)) if ids is None else ids
    if not len(before) == len(after) == len(names):
        raise DataError(
            f"must not break: expected scores of the same items, found {len(before)} before, {len(after)} after, "
            f"{len(names)} ids"
        )
    for scores in (before, after):
        for name, score in zip(names, scores, strict=True):
            if not isinstance(score, SupportsFloat) or not math.isfinite(float(score)):
                raise DataError(f"must not break: item {name!r}: expected a score, found {score!r}")
    return [
        name
        for name, was, found in zip(names, before, after, strict=True)
        if was + _ROUNDING >= right_from > found + tolerance + _ROUNDING
        and (must_not_break is None or name in must_not_break)
    ]


@dataclass
class MustNotBreak:
    """Accepts a candidate prompt that breaks nothing that was right, and is better; GEPA's `acceptance_criterion`.

    Attributes:
        must_not_break: ids of the items that count, as the optimiser names them (GEPA: places in the training set); all
            of the drawn ones without.
        right_from: an item is right from this score on.
        tolerance: how far below that an item which was right may fall.
        allowed: items that may break all the same.
        need: what else: the sum of the drawn items' scores must rise, must not fall, or may do what it likes.
        pinned: items that every candidate is asked, drawn or not.

    Example:
        >>> from types import SimpleNamespace
        >>> rule = MustNotBreak()
        >>> proposal = SimpleNamespace(
        ...     candidate={"prompt": "new"},
        ...     subsample_indices=[4, 7, 9],
        ...     subsample_scores_before=[1.0, 0.0, 0.0],
        ...     subsample_scores_after=[0.0, 1.0, 1.0],
        ... )
        >>> rule.should_accept(proposal, None), rule.reject_reason(proposal, None)
        (False, 'breaks what was right: 4')
    """

    must_not_break: Collection[Item] | None = None
    right_from: float = 1.0
    tolerance: float = 0.0
    allowed: int = 0
    need: Literal["improvement", "no_loss", "nothing"] = "improvement"
    pinned: Pinned | None = None
    _reason: str = field(default="", init=False, repr=False)

    def should_accept(self, proposal: Proposal, state: object) -> bool:
        """Return whether a candidate is accepted.

        Args:
            proposal: the candidate with the scores of the drawn items under its parent and under itself.
            state: of the optimiser; not read.

        Raises:
            DataError: the scores are not of the same items, or there are none.
        """
        self._reason = self._refusal(proposal)
        return not self._reason

    def reject_reason(self, proposal: Proposal, state: object) -> str:
        """Return why the candidate that was last looked at was refused; GEPA puts it into its log."""
        return self._reason or self._refusal(proposal)

    def _refusal(self, proposal: Proposal) -> str:
        """Return why a candidate is refused; nothing where it is accepted."""
        before, after = proposal.subsample_scores_before, proposal.subsample_scores_after
        if before is None or after is None:
            raise DataError("must not break: expected scores of the drawn items under both prompts, found none")
        ids = range(len(before)) if proposal.subsample_indices is None else proposal.subsample_indices
        # An item that is drawn twice, or drawn and pinned, breaks once.
        broken = list(dict.fromkeys(self._broken(before, after, ids, self.must_not_break)))
        if len(broken) > self.allowed:
            return f"breaks what was right: {listing([str(each) for each in broken], 8)}"
        # Exact sums: the same scores in another order are no improvement.
        were, are = math.fsum(before), math.fsum(after)
        if (self.need == "improvement" and are <= were) or (self.need == "no_loss" and are < were):
            return f"the sum of scores goes from {were:g} to {are:g}"
        if self.pinned is None:
            return ""
        scores = self.pinned.evaluate(proposal.candidate)
        more = self._broken(self.pinned.before, scores, self.pinned.ids, None)
        lost = list(dict.fromkeys([*broken, *more]))
        return f"breaks what was right: {listing([str(each) for each in lost], 8)}" if len(lost) > self.allowed else ""

    def _broken(
        self,
        before: Sequence[float],
        after: Sequence[float],
        ids: Sequence[Item],
        must_not_break: Collection[Item] | None,
    ) -> list[Item]:
        return broken_items(
            before,
            after,
            ids=ids,
            must_not_break=must_not_break,
            right_from=self.right_from,
            tolerance=self.tolerance,
        )
