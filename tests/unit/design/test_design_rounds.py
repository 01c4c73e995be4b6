"""The rounds of a design, against a known law."""

from __future__ import annotations

import numpy as np
from flops_fit.design.history import Trained
from flops_fit.design.offer import offer_of, sizes_apart
from flops_fit.design.posterior import fit_posterior
from flops_fit.design.prior import PriorLaw
from flops_fit.design.question import Question, ladder
from flops_fit.design.rounds import next_round
from flops_fit.laws.forms.surface import Surface

TRUTH = Surface(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37)
PRIOR = PriorLaw(mean=TRUTH.to_row(), covariance=np.eye(5) * 0.01, name="truth", source="here")
OFFER = offer_of(sizes_apart(1e6, 1e12))
SPEND = 1e22
QUESTION = Question(target=1e24, spend=SPEND, budgets=ladder(SPEND))


def trained(cell):
    return Trained(cell=cell, L=float(TRUTH.loss(cell.N, cell.D)))


def designed(question=QUESTION, offer=OFFER, prior=PRIOR, outcome=trained):
    """Return all rounds of a design with their outcomes, the last one "done"."""
    rounds = []
    while not rounds or rounds[-1][0].kind != "done":
        chosen = next_round(question, offer, prior, rounds)
        rounds.append((chosen, [outcome(choice.cell) for choice in chosen.choices]))
        assert len(rounds) < 20
    return rounds


def test_a_design_without_noise_recovers_the_law():
    rounds = designed()
    kinds = [chosen.kind for chosen, _ in rounds]
    assert kinds[0] == "pilot"
    assert kinds[-3:] == ["next budget", "top budget", "done"]
    runs = [run for _, results in rounds for run in results]
    columns = np.array([(run.cell.N, run.cell.D, run.L) for run in runs])
    found = fit_posterior(np.log(columns[:, 0]), np.log(columns[:, 1]), columns[:, 2])
    np.testing.assert_allclose(found.mean[3:], [0.35, 0.37], atol=0.02)
    assert sum(run.cell.C for run in runs) <= SPEND
