"""What is foreseen of a design, against studies that are simulated."""

from __future__ import annotations

import numpy as np
import pytest
from flops_fit.design.forecast import expected_law, forecast, other_spends
from flops_fit.design.history import Cell
from flops_fit.design.offer import offer_of, sizes_apart
from flops_fit.design.precision import factor_of, spend_for
from flops_fit.design.prior import prior_of
from flops_fit.design.question import DesignError, Question, ladder
from flops_fit.design.simulation import Designed, Laid, simulate
from flops_fit.design.truth import Truth
from flops_fit.laws import Surface

OFFER = offer_of(sizes_apart(1e5, 1e13))
TARGET = 1e24
N_STUDIES = 300


def designed(spend, target=TARGET, **more):
    question = Question(target=target, spend=spend, budgets=ladder(spend))
    prior = prior_of("chinchilla", OFFER.flops, question.budgets[-1])
    return Designed(question=question, offer=OFFER, prior=prior, **more)


def grid(surface, budgets, n=7, target=TARGET):
    cells = []
    for budget in budgets:
        centre = float(surface.N_opt(budget, OFFER.flops))
        for N in centre * np.geomspace(1 / 6, 6, n):
            cells.append(Cell(budget=budget, size_index=-1, N=N, D=budget / (6 * N), C=budget))
    return Laid(cells=tuple(cells), target=target, flops=OFFER.flops)


def assert_is_the_spread(predicted, values):
    """Hold a predicted standard deviation to that of simulated values, give or take their noise.

    The standard deviation of n values has the relative standard error 1 / sqrt(2 n); 10% is what a
    forecast may be off.
    """
    found = np.std(values)
    assert abs(np.log(predicted / found)) < np.log(1.1) + 2.5 / np.sqrt(2 * len(values))


def test_the_interval_of_an_exact_form_is_the_spread_of_simulated_designs():
    sweep = designed(1e22)
    law = expected_law(sweep)
    foreseen, found = forecast(sweep), simulate(sweep, law, N_STUDIES)
    plain = [one for one in found if not one.filled]
    assert_is_the_spread(foreseen.exact.N.half / 1.96, [one.exact.N.middle for one in plain])
    assert_is_the_spread(foreseen.exact.L.half / 1.96, [one.exact.L.middle for one in plain])
    np.testing.assert_allclose(
        foreseen.exact.N.middle, np.log(law.surface.N_opt(TARGET, OFFER.flops)), rtol=1e-9
    )


def test_the_interval_of_an_exact_form_is_the_spread_of_a_simulated_grid():
    surface = Surface(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37)
    law = Truth(surface=surface, noise=0.004, name="", source="")
    sweep = grid(surface, 10.0 ** np.arange(18, 21.1, 0.5))
    foreseen, found = forecast(sweep, law), simulate(sweep, law, N_STUDIES)
    assert_is_the_spread(foreseen.exact.N.half / 1.96, [one.exact.N.middle for one in found])
    assert_is_the_spread(foreseen.exact.L.half / 1.96, [one.exact.L.middle for one in found])
    # What the answer will say is said of each study by that study's answer
    widths = [one.answer.N.half for one in found]
    assert foreseen.misfit.N.half == pytest.approx(np.mean(widths), rel=0.15)


def test_more_runs_of_the_same_tell_more_by_the_square_root():
    surface = Surface(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37)
    law = Truth(surface=surface, noise=0.0005, name="", source="")
    once = grid(surface, 10.0 ** np.arange(18, 22.1, 0.5))
    four = Laid(cells=once.cells * 4, target=once.target, flops=once.flops)
    ratio = forecast(once, law).exact.N.half / forecast(four, law).exact.N.half
    assert ratio == pytest.approx(2, rel=0.02)


def test_the_rounds_and_their_price_are_those_of_the_planner():
    sweep = designed(1e22)
    foreseen = forecast(sweep)
    (one,) = simulate(sweep, expected_law(sweep), 1)
    assert foreseen.rounds[0].kind == "pilot"
    assert foreseen.spent == pytest.approx(one.spent, rel=0.3)
    assert foreseen.spent <= sweep.question.spend
    assert foreseen.experiments == sum(item.experiments for item in foreseen.rounds)
    assert not any(item.given for item in foreseen.rounds)


def test_a_misfit_makes_the_interval_two_to_ten_times_as_wide():
    for times in (100, 1000):
        foreseen = forecast(designed(TARGET / (0.12 * times)))
        assert 2 < foreseen.misfit.N.half / foreseen.exact.N.half < 10


def test_between_rounds_the_forecast_goes_on_from_the_runs():
    sweep = designed(1e22)
    truth = Truth(
        surface=Surface(E=1.5, A=300.0, B=1500.0, alpha=0.34, beta=0.36),
        noise=0.002,
        name="",
        source="",
    )
    played = sweep.play(truth, np.random.default_rng(0)).rounds
    halfway = designed(1e22, rounds=played[:2])
    foreseen = forecast(halfway)
    assert [item.given for item in foreseen.rounds[:3]] == [True, True, False]
    expected = float(np.log(truth.surface.N_opt(TARGET, OFFER.flops)))
    assert foreseen.exact.N.middle == pytest.approx(expected, abs=0.5)
    prior = float(np.log(sweep.prior.N_opt(TARGET, OFFER.flops)))
    assert abs(foreseen.exact.N.middle - expected) < abs(prior - expected)


def test_a_larger_spend_is_surer_and_a_smaller_one_less():
    sweep = designed(1e22)
    at, now = other_spends(sweep, designed, 1e22), forecast(sweep)
    # Doubling moves the factor by as much as the few noises that a forecast averages over
    assert factor_of(at[5e21]) * 1.04 > factor_of(now) > factor_of(at[2e22]) / 1.04
    assert factor_of(forecast(designed(3e20))) > factor_of(now)


def test_a_spend_without_a_design_says_why_it_has_none():
    def with_spend(spend):
        if spend > 1e22:
            raise DesignError("no sizes")
        return designed(spend)

    assert other_spends(designed(1e22), with_spend, 1e22)[2e22] == "no sizes"


def test_the_spend_of_a_precision_has_that_precision_and_a_smaller_one_has_not():
    precision = factor_of(forecast(designed(1e23)))
    spend, foreseen = spend_for(precision, TARGET, designed)
    assert factor_of(foreseen) <= precision
    assert spend == pytest.approx(1e23, rel=0.5)
    assert factor_of(forecast(designed(spend / 2))) > precision


def test_a_precision_that_no_sweep_reaches_says_what_is_the_best():
    with pytest.raises(DesignError, match=r"cannot be known up to a factor of 1.01: .*the best is"):
        spend_for(1.01, TARGET, designed)


def test_a_larger_sweep_without_a_design_gets_no_advice():
    def small_enough(spend):
        if spend > 1e22:
            raise DesignError("the sizes are too small; spend something else")
        return designed(spend)

    with pytest.raises(DesignError, match=r"has no design: the sizes are too small\)$"):
        spend_for(1.01, TARGET, small_enough)


def test_a_precision_of_sizes_that_allow_no_design_says_what_they_lack():
    def impossible(spend):
        raise DesignError("the sizes are too small")

    with pytest.raises(DesignError, match="the sizes are too small"):
        spend_for(1.5, TARGET, impossible)
