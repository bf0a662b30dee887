"""How the scores that an item's options are chosen by come from their log-likelihoods.

Candidate answers to a task that generates are no closed list as options are: the model may write anything. Their
likelihoods l_k, of all tokens and the end, are those of distinct texts, so that what is left, 1 - sum_k exp(l_k), is
the probability of every other text together: the rest, which stands as one more option. With it a distribution over
candidates is a true one, and training moves no probability to where it is not seen. Wordings of one answer count
together, log sum exp(l_k) over them. Labels alone then give -log p(any right wording), the cross-entropy of the answer.

Options that are sentences lie tens of nats apart, whoever is right: sums over many tokens. A softmax over those is all
or nothing, and a training on it follows the few longest items. So an item's scores are divided by its options' mean
number of tokens: which is chosen stays, and a learning rate means the same for options of one token and of thirty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

LEAST_REST = 1e-4
"""Of the rest's probability: 1 - sum p has lost its digits below, and 16-bit likelihoods can sum to more than 1."""


@dataclass(frozen=True)
class Scoring:
    """What makes scores of the log-likelihoods of an item's options.

    Attributes:
        factors: (options,), what each is multiplied by; None where nothing is.
        answers: for each option the number of its answer, from 0, each number once at least; options of one answer
            count together. Empty where each is its own.
        rest: all other answers together are a further option, the last one.
    """

    factors: Tensor | None = None
    answers: tuple[int, ...] = ()
    rest: bool = False

    @property
    def identity(self) -> list[int]:
        """What it is made of beside the tokens, for a fingerprint; nothing for a plain list of options."""
        if self.answers:
            return [-2, *self.answers, int(self.rest)]
        return [] if self.factors is None else [-3]

    def __call__(self, log_likelihoods: Tensor) -> Tensor:
        """Return the scores.

        Args:
            log_likelihoods: (options,), in nats.

        Returns:
            (answers,), or (answers + 1,) with the rest.
        """
        scores = log_likelihoods
        if self.factors is not None:
            scores = scores * self.factors.to(scores)
        if self.answers:
            numbers = torch.tensor(self.answers, device=scores.device)
            own = torch.arange(max(self.answers) + 1, device=scores.device)[:, None] == numbers
            scores = scores.expand(own.shape).masked_fill(~own, -torch.inf).logsumexp(-1)
        return torch.cat([scores, log_rest(scores)[None]]) if self.rest else scores


def log_rest(scores: Tensor) -> Tensor:
    """Return log(1 - sum_k exp(s_k)), at least log 1e-4: ().

    Args:
        scores: (answers,), log-probabilities of distinct answers.

    Example:
        >>> log_rest(torch.tensor([0.5, 0.25]).log()).exp()
        tensor(0.2500)
    """
    total = scores.logsumexp(-1).clamp(max=torch.log1p(torch.tensor(-LEAST_REST, dtype=scores.dtype)).item())
    return torch.log(-torch.expm1(total))


def without_rest(scores: Tensor, places: Tensor | None) -> Tensor:
    """Return the scores of answers alone, (items, options), with -inf in place of the rest's.

    Args:
        scores: (items, options).
        places: (items,), of the rest; None where there is none.
    """
    return scores if places is None else scores.scatter(-1, places[:, None], -torch.inf)


def by_mean_length(factors: Tensor | None, num_tokens: Sequence[int]) -> Tensor | None:
    """Return factors that divide by the mean number of tokens of an item's options too: (options,).

    Args:
        factors: (options,); None is 1.
        num_tokens: of each option; none where that is not known.

    Returns:
        None where nothing is to be multiplied.

    Example:
        >>> by_mean_length(None, [2, 4])
        tensor([0.3333, 0.3333])
        >>> by_mean_length(None, [1, 1])
    """
    if not num_tokens or max(num_tokens) == 1:
        return factors
    own = torch.ones(len(num_tokens)) if factors is None else factors
    return own * len(num_tokens) / sum(num_tokens)


def token_factors(num_tokens: Sequence[int]) -> Tensor:
    """Return mean length / length of each answer, in tokens: (options,)."""
    lengths = torch.tensor(num_tokens, dtype=torch.float32)
    return lengths.mean() / lengths
