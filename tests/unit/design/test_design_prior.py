"""Laws that a design starts from, against optima worked out by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from flops_fit.design.prior import N_STD, prior_of
from flops_fit.design.published import PUBLISHED
from flops_fit.design.truth import SCATTER, truth_of
from flops_fit.errors import UserError
from flops_fit.laws import FlopsPerUnit, Surface, fit_runs

SIX_ND = FlopsPerUnit(log_N=np.log([1e6, 1e12]), log_flops=np.log([6e6, 6e12]), k=6.0)
STEEP = FlopsPerUnit(log_N=np.log([1e3, 1e9]), log_flops=np.log([4e4, 4e9]), k=10.0)
"""A family whose FLOPs per unit grow as N^(5/6)."""


@pytest.mark.parametrize("ratio", [1, 20, 600.0])
@pytest.mark.parametrize("C", [1e18, 1e22])
def test_units_per_parameter_are_the_line_of_the_optimum(ratio, C):
    law = prior_of(ratio, SIX_ND, 1e20)
    # D = r N and C = 6 N D
    assert law.N_opt(C, SIX_ND) == pytest.approx(np.sqrt(C / (6 * ratio)), rel=1e-9)


def test_units_per_parameter_hold_where_flops_are_not_six_per_parameter():
    law = prior_of(20, STEEP, 1e14)
    for C in (1e12, 1e14):
        N = law.N_opt(C, STEEP)
        assert C / STEEP.flops_per_unit(N) / N == pytest.approx(20, rel=0.02)


def test_without_a_prior_twenty_units_per_parameter_are_expected():
    assert prior_of(None, SIX_ND, 1e20).N_opt(1e20, SIX_ND) == pytest.approx(np.sqrt(1e20 / 120))


def test_chinchilla_is_the_surface_of_its_refit():
    law = prior_of("chinchilla", SIX_ND, 1e21)
    surface = law.surface
    found = [surface.E, surface.A, surface.B, surface.alpha, surface.beta]
    np.testing.assert_allclose(found, [1.8172, 482.01, 2085.43, 0.3478, 0.3658], rtol=1e-9)
    # (alpha A / (beta B))^(1/(alpha+beta)) = (167.643/762.850)^(1/0.7136) = 0.11963, a = 0.51261
    assert law.N_opt(6e21, SIX_ND) == pytest.approx(0.11963 * 1e21**0.51261, rel=2e-3)
    assert "2404.10102" in law.source


def test_power_laws_give_the_data_that_they_print():
    # Llama 3 herd of models: 0.29 C^0.53; DeepSeek LLM: 5.8316 C^0.4757
    for name, D in (("llama3", 0.29 * 1e21**0.53), ("deepseek", 5.8316 * 1e21**0.4757)):
        N = prior_of(name, SIX_ND, 1e21).N_opt(1e21, SIX_ND)
        assert 1e21 / (6 * N) == pytest.approx(D, rel=1e-6)


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_every_published_law_has_its_exponent_and_a_source(name):
    law, C = prior_of(name, SIX_ND, 1e20), np.array([1e19, 1e21])
    slope = np.diff(np.log([law.N_opt(c, SIX_ND) for c in C]))[0] / np.log(100)
    assert slope == pytest.approx(1 - PUBLISHED[name].b, abs=1e-6)
    assert "arXiv" in law.source


@pytest.mark.parametrize("value", [20, "chinchilla", "llama3"])
def test_the_optimum_is_as_uncertain_as_a_rule_is(value):
    law = prior_of(value, SIX_ND, 1e21)
    rng = np.random.default_rng(0)
    rows = rng.multivariate_normal(law.mean, law.covariance * 1e-4, size=4000, method="eigh")
    drawn = [Surface.from_row(row).N_opt(1e21, SIX_ND) for row in rows]
    assert np.std(np.log(drawn)) * 100 == pytest.approx(N_STD, rel=0.05)


def test_a_law_expects_no_loss_that_its_runs_never_had():
    def L_opt(C):
        law = prior_of("chinchilla", SIX_ND, C)
        N = law.N_opt(C, SIX_ND)
        return law.surface.loss(N, C / (6 * N))

    # At 6e18 FLOPs: N = 0.11963 (1e18)^0.51261 = 2.02e8, D = 4.95e9; as printed it would be 20 nats
    # at 1e12, nearly all of it above E
    at_lowest = 1.8172 + 482.01 / 2.02e8**0.3478 + 2085.43 / 4.95e9**0.3658
    assert L_opt(6e18) == pytest.approx(at_lowest, rel=1e-3)
    assert L_opt(1e12) == pytest.approx(at_lowest, rel=1e-3)
    # Nothing jumps where the runs end
    assert L_opt(3.001e21) == pytest.approx(L_opt(2.999e21), rel=1e-3)


@pytest.mark.parametrize("value", ["gopher", "no/such/fit.json"])
def test_an_unknown_name_lists_those_that_there_are(value, tmp_path):
    with pytest.raises(UserError) as error:
        prior_of(value, SIX_ND, 1e20, tmp_path)
    assert repr(value) in str(error.value)
    for name in PUBLISHED:
        assert name in str(error.value)


@pytest.mark.parametrize("value", [0, -3.0, float("nan")])
def test_a_ratio_that_is_none_is_refused(value):
    with pytest.raises(UserError, match="expected a positive number of units per parameter"):
        prior_of(value, SIX_ND, 1e20)


TRUE = Surface(E=1.7, A=300.0, B=900.0, alpha=0.33, beta=0.35)


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """Write the fit.json of a sweep of TRUE with noise of 0.2%."""
    C = np.repeat(10.0 ** np.arange(18, 21.1, 0.5), 7)
    N = np.exp(np.tile(np.linspace(-1.6, 1.6, 7), 7)) * TRUE.N_opt(C, SIX_ND)
    D = C / (6 * N)
    L = TRUE.loss(N, D) * np.exp(0.002 * np.random.default_rng(4).standard_normal(C.size))
    fit = fit_runs(
        {"budget": C, "N": N, "D": D, "C": C, "loss": L},
        study="earlier",
        params="non_embedding",
        approaches=("vpnls",),
        bootstrap=0,
    )
    path = tmp_path_factory.mktemp("earlier") / "fit.json"
    path.write_text(json.dumps(fit))
    return path


def test_an_earlier_fit_gives_its_answer_with_its_uncertainty(earlier):
    law = prior_of("fit.json", SIX_ND, 1e20, earlier.parent)
    true = float(TRUE.N_opt(1e20, SIX_ND))
    assert law.N_opt(1e20, SIX_ND) == pytest.approx(true, rel=0.15)
    alpha, beta = law.mean[3:]
    assert beta / (alpha + beta) == pytest.approx(TRUE.a, abs=0.05)
    std = np.sqrt(np.diag(law.covariance))
    assert np.all(std[3:] < 0.3)
    assert "earlier" in law.name
    assert str(earlier) in law.source


def test_an_earlier_fit_is_carried_over_by_its_data(earlier):
    # The same models, of which the new study counts half of the parameters at the same FLOPs
    halved = FlopsPerUnit(log_N=np.log([5e5, 5e11]), log_flops=np.log([6e6, 6e12]), k=12.0)
    ours, theirs = (prior_of(str(earlier), flops, 1e20) for flops in (halved, SIX_ND))
    N, N_theirs = ours.N_opt(1e20, halved), theirs.N_opt(1e20, SIX_ND)
    assert N == pytest.approx(N_theirs / 2, rel=1e-6)


def test_a_file_that_is_no_fit_is_refused(tmp_path):
    (tmp_path / "fit.json").write_text('{"study": "x"}')
    with pytest.raises(UserError, match=r"is not a fit\.json with an answer"):
        prior_of("fit.json", SIX_ND, 1e20, tmp_path)


def test_the_truth_is_the_prior_unless_it_is_stated():
    prior = prior_of("chinchilla", SIX_ND, 1e21)
    assert truth_of(None, prior, SIX_ND, 1e21).surface == prior.surface
    stated = {"E": 1, "A": 3, "B": 4, "alpha": 0.3, "beta": 0.4}
    truth = truth_of(stated, prior, SIX_ND, 1e21)
    assert (truth.surface, truth.noise) == (Surface(**stated), SCATTER)
    assert truth_of({**stated, "noise": 0.02}, prior, SIX_ND, 1e21).noise == 0.02


def test_noise_is_that_of_the_logarithm():
    prior = prior_of(20, SIX_ND, 1e21)
    truth = truth_of(None, prior, SIX_ND, 1e21)
    N, D = np.full(20_000, 1e9), np.full(20_000, 1e10)
    drawn = truth.log_losses(N, D, np.random.default_rng(0))
    # The standard error of a standard deviation of n draws is sd / sqrt(2 n)
    assert np.std(drawn) == pytest.approx(SCATTER, rel=4 / np.sqrt(2 * 20_000))
    assert np.mean(drawn) == pytest.approx(truth.log_losses(N, D)[0], abs=4 * SCATTER / 141)
