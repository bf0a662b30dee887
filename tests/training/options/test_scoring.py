"""From log-likelihoods to scores: the rest, wordings of one answer, lengths; each against its formula in float64."""

import math

import pytest
import torch

from muscle.training.options.losses import TargetRows, divergence, option_terms
from muscle.training.options.scoring import LEAST_REST, Scoring, by_mean_length, log_rest, token_factors
from muscle.training.options.targets import labels, mixture

EXACT = {"rtol": 0.0, "atol": 1e-13}


def likelihoods(*shares: float) -> torch.Tensor:
    return torch.tensor(shares, dtype=torch.float64).log().requires_grad_()


def test_the_rest_is_what_the_candidates_leave():
    values = likelihoods(0.5, 0.2, 0.05)
    scores = Scoring(None, (0, 1, 2), rest=True)(values)
    torch.testing.assert_close(scores.exp(), torch.tensor([0.5, 0.2, 0.05, 0.25], dtype=torch.float64), **EXACT)
    torch.testing.assert_close(scores.log_softmax(-1), scores, **EXACT)
    torch.autograd.gradcheck(Scoring(None, (0, 1, 2), rest=True), (values,))


def test_wordings_of_one_answer_count_together():
    values = likelihoods(0.4, 0.2, 0.1)
    scores = Scoring(None, (0, 1, 0), rest=True)(values)
    torch.testing.assert_close(scores.exp(), torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64), **EXACT)
    torch.autograd.gradcheck(Scoring(None, (0, 1, 0), rest=True), (values,))


def test_labels_alone_are_the_cross_entropy_of_the_answer_whatever_else_is_a_candidate():
    # -log p(right): the wrong candidates and the rest leave it as it is, in value and gradient.
    right, gold = likelihoods(0.4), torch.tensor([0])
    for wrong in ([], [0.2], [0.2, 0.3]):
        values = torch.cat([right, likelihoods(*wrong).detach()])
        scores = Scoring(None, tuple(range(len(values))), rest=True)(values)[None]
        loss = option_terms(scores, TargetRows(labels(gold, scores.shape[1]), gold)).loss
        assert loss.item() == pytest.approx(-math.log(0.4), abs=1e-12)
        (slope,) = torch.autograd.grad(loss, right)
        assert slope.item() == pytest.approx(-1.0, abs=1e-9)


def test_of_several_right_wordings_each_is_raised_by_its_share():
    values, gold = likelihoods(0.3, 0.1, 0.2), torch.tensor([0])
    scores = Scoring(None, (0, 0, 1), rest=True)(values)[None]
    loss = option_terms(scores, TargetRows(labels(gold, 3), gold)).loss
    assert loss.item() == pytest.approx(-math.log(0.4), abs=1e-12)
    (slope,) = torch.autograd.grad(loss, values)
    assert slope.tolist() == pytest.approx([-0.75, -0.25, 0.0], abs=1e-9)


def test_without_the_rest_probability_may_leave_the_candidates_unseen_and_with_it_not():
    # Both candidates ten times less likely: the same distribution between them, another one with the rest.
    before, after = likelihoods(0.6, 0.3), likelihoods(0.06, 0.03)
    for rest, unseen in ((False, True), (True, False)):
        scoring = Scoring(None, (0, 1), rest)
        distance = divergence(scoring(after)[None], scoring(before)[None].log_softmax(-1))
        assert (abs(distance.item()) < 1e-12) == unseen


def test_the_distillation_to_a_mixture_is_its_formula_over_candidates_and_rest():
    old, new, student = ((0.6, 0.1), (0.2, 0.5), (0.3, 0.3))
    scoring = Scoring(None, (0, 1), rest=True)
    rows = [scoring(likelihoods(*each))[None] for each in (old, new, student)]
    found = divergence(rows[2], mixture(rows[0].detach(), rows[1].detach(), 0.25))
    target = [0.25 * a + 0.75 * b for a, b in zip((*old, 0.3), (*new, 0.3), strict=True)]
    expected = sum(t * math.log(t / q) for t, q in zip(target, (*student, 0.4), strict=True))
    assert found.item() == pytest.approx(expected, abs=1e-12)


def test_the_rest_never_vanishes():
    sums = torch.tensor([0.7, 0.3001]).log()  # more than 1, as rounded likelihoods may sum to
    assert log_rest(sums).exp().item() == pytest.approx(LEAST_REST, rel=1e-2)
    sure = torch.tensor([0.0], requires_grad=True)
    log_rest(sure).backward()
    assert sure.grad.item() == 0.0


def test_per_token_scores_have_the_size_of_sums():
    factors = token_factors([2, 4])
    scores = Scoring(factors, (0, 1))(torch.tensor([-1.0, -2.4]))
    assert scores.tolist() == pytest.approx([-1.5, -1.8])
    assert scores.argmax() == (torch.tensor([-1.0, -2.4]) / torch.tensor([2.0, 4.0])).argmax()


def test_options_of_many_tokens_have_scores_of_the_size_of_one_token_s():
    values = torch.tensor([-45.0, -36.0, -60.0])
    scores = Scoring(by_mean_length(None, [10, 8, 12]))(values)
    assert scores.tolist() == pytest.approx([-4.5, -3.6, -6.0])
    assert Scoring(by_mean_length(torch.tensor([1.5, 0.5]), [1, 3]))(values[:2]).tolist() == pytest.approx(
        [-33.75, -9.0]
    )
    for known in ([], [1, 1, 1]):  # nothing is known, or each is one token
        assert by_mean_length(None, known) is None


def test_a_plain_list_of_options_has_no_identity_of_its_own():
    assert Scoring().identity == []
    assert Scoring(torch.tensor([1.0])).identity not in ([], Scoring(None, (0, 1)).identity)
    assert Scoring(None, (0, 1)).identity != Scoring(None, (0, 0)).identity != Scoring(None, (0, 0), rest=True).identity
