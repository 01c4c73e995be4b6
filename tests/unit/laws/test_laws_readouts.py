"""What is read from draws: against closed forms, and against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from flops_fit.laws import FlopsPerUnit, Surface
from flops_fit.laws.answer.law import OptimumLaw
from flops_fit.laws.forms.bracket import BracketSurface
from flops_fit.laws.readouts.inference import best_at_total, least_for_loss
from flops_fit.laws.readouts.inverse import first_rise, minima
from flops_fit.laws.readouts.landscape import Landscape, MovedApart, Shape, Surfaces
from flops_fit.laws.readouts.optimum import at_compute, at_value, log_C_for_loss
from flops_fit.laws.readouts.price import at_model, log_C_of, off_optimum
from flops_fit.laws.readouts.summary import summarised

SIX = FlopsPerUnit(log_N=np.log([1e6, 1e9]), log_flops=np.log([6e6, 6e9]), k=6.0)
"""C = 6 N D."""
BENT = FlopsPerUnit(
    log_N=np.log([1e6, 1e7, 1e8, 1e9]), log_flops=np.log([9e6, 7.5e7, 6.6e8, 6.2e9]), k=6.9
)
"""Small models cost more per parameter, as with attention and output heads."""
TRUTHS = (
    Surface(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37),
    Surface(E=1.7, A=300.0, B=900.0, alpha=0.32, beta=0.33),
    Surface(E=0.4, A=20.0, B=60.0, alpha=0.2, beta=0.28),
)
C = 1e21


def answer(n=400, slope=(0.5, 0.02), bend=(-0.01, 0.004)):
    """Return an answer's law whose draws of both paths bend and scatter."""
    rng = np.random.default_rng(3)
    means = (np.log(1e8), slope[0], bend[0], np.log(0.8), -0.15, 1e-4, 1.8)
    scatter = (0.1, slope[1], bend[1], 0.05, 0.01, 1e-4, 0.05)
    rows = rng.normal(means, scatter, (n, 7))
    return OptimumLaw(centre=np.log(1e19), reach=6.0, rows=rows)


def alone(flops=SIX, truths=TRUTHS):
    surfaces = Surfaces(rows=np.stack([truth.to_row() for truth in truths]), flops=flops)
    return Landscape(path=surfaces, shape=Shape(draws=surfaces, estimate=surfaces), flops=flops)


def anchored(flops=SIX, n=400):
    surfaces = Surfaces(rows=np.tile(TRUTHS[0].to_row(), (n, 1)), flops=flops)
    surfaces.rows[:, 3] += 0.01 * np.random.default_rng(0).normal(size=n)
    return Landscape(path=answer(n), shape=Shape(draws=surfaces, estimate=surfaces), flops=flops)


def at(values):
    return np.array([values])


@pytest.mark.parametrize("flops", [SIX, BENT], ids=["6ND", "bent"])
def test_a_surface_that_is_its_own_answer_is_left_as_it_is(flops):
    found = alone(flops)
    for N, D in ((1e6, 1e12), (3e8, 1e10), (7e9, 1e12)):
        log_C = log_C_of(found, np.log(N), np.log(D))
        assert np.exp(log_C) == pytest.approx(flops.flops_per_unit(N) * D, rel=1e-12)
        L = at_model(found, np.log(N), log_C)["L"]
        np.testing.assert_allclose(L, [truth.loss(N, D) for truth in TRUTHS], rtol=1e-12)


def test_a_bracket_exponent_is_part_of_the_surface():
    truth = BracketSurface(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37, gamma=0.7)
    rows = truth.to_row()[np.newaxis]
    surfaces = Surfaces(rows=rows, flops=BENT)
    found = Landscape(path=surfaces, shape=Shape(draws=surfaces, estimate=surfaces), flops=BENT)
    for N, D in ((1e6, 1e12), (7e9, 1e10)):
        model = at_model(found, np.log(N), log_C_of(found, np.log(N), np.log(D)))
        assert model["L"][0] == pytest.approx(float(truth.loss(N, D)), rel=1e-12)
    best = float(truth.N_opt(C, BENT))
    assert np.exp(found.log_N_opt(at(np.log(C))))[0, 0] == pytest.approx(best, rel=1e-12)


def test_the_lowest_loss_at_each_compute_is_the_answers_and_at_the_answers_size():
    found = anchored(BENT)
    for log_C in np.log([1e18, 1e20, 1e23]):
        log_N = found.log_N_opt(at(log_C))
        np.testing.assert_allclose(found.loss(log_N, at(log_C)), found.L_opt(at(log_C)))
        np.testing.assert_array_equal(off_optimum(found, 0.0, log_C)["extra"], 0)
        around = log_N + np.linspace(-3, 3, 601)
        losses = found.loss(around, at(log_C))
        assert np.all(np.argmin(losses, axis=1) == 300)


@pytest.mark.parametrize("factor", [0.1, 0.5, 1.0, 3.0])
def test_the_price_has_its_closed_form(factor):
    found = off_optimum(alone(), np.log(factor), np.log(C))
    for i, truth in enumerate(TRUTHS):
        N = truth.G * (C / 6) ** truth.a
        D = C / (6 * N)
        terms = truth.A / N**truth.alpha, truth.B / D**truth.beta
        assert truth.alpha * terms[0] == pytest.approx(truth.beta * terms[1])
        L = truth.loss(N * factor, D / factor)
        extra = terms[0] * (factor**-truth.alpha - 1) + terms[1] * (factor**truth.beta - 1)
        assert found["extra"][i] == pytest.approx(extra, rel=1e-9, abs=1e-14)
        assert found["L"][i] == pytest.approx(L, rel=1e-12)
        exponent = truth.alpha * truth.beta / (truth.alpha + truth.beta)
        share = (1 + extra / sum(terms)) ** (-1 / exponent)
        assert np.exp(found["log equivalent"][i]) == pytest.approx(share, rel=1e-9)
        # With the same N: B / D^beta = L_opt - E - A / N^alpha
        left = sum(terms) - terms[0] * factor**-truth.alpha
        overhead = (truth.B / left) ** (1 / truth.beta) * 6 * N * factor / C if left > 0 else np.inf
        assert np.exp(found["log overhead"][i]) == pytest.approx(overhead, rel=1e-8)


def test_the_price_of_a_model_holds_what_is_not_known_of_the_optimum():
    """Its extra loss is that of its distance from each draw's N_opt: often more than from one."""
    found = anchored()
    log_N = np.median(found.log_N_opt(at(np.log(C))))
    model = at_model(found, log_N, np.log(C))
    np.testing.assert_allclose(
        model["log factor"], log_N - found.log_N_opt(at(np.log(C)))[:, 0], atol=1e-12
    )
    assert np.all(model["extra"] >= 0)
    assert model["extra"].max() > 1e-4
    expected = found.loss(np.array([log_N]), at(np.log(C)))[:, 0]
    np.testing.assert_allclose(model["L"], expected, rtol=1e-13)


@pytest.mark.parametrize("flops", [SIX, BENT], ids=["6ND", "bent"])
@pytest.mark.parametrize("quantity", ["N_opt", "D_opt"])
def test_a_path_is_inverted_draw_by_draw(flops, quantity):
    value = {"N_opt": 1e9, "D_opt": 2e10}[quantity]
    for found in (anchored(flops), alone(flops)):
        inverse = at_value(found, quantity, np.log(value), np.log(1e19))
        back = inverse["log C"][:, np.newaxis]
        along = found.log_N_opt if quantity == "N_opt" else found.log_D_opt
        np.testing.assert_allclose(along(back)[:, 0], np.log(value), rtol=1e-12)
        np.testing.assert_allclose(
            np.exp(inverse["log C"]),
            flops.flops_per_unit(np.exp(inverse["log N_opt"])) * np.exp(inverse["log D_opt"]),
            rtol=1e-9,
        )
        np.testing.assert_allclose(inverse["L_opt"], found.L_opt(back)[:, 0])


def test_the_interval_of_D_at_a_given_N_is_not_the_one_at_a_known_C():
    """log N = c + a x is inverted to x = (log N - c) / a, so that log D scatters by s / a in all.

    At a known C, D = C / (6 N) scatters by s alone: with a = 0.5 half as much, where it should be
    twice as much.
    """
    paths = answer(4000, slope=(0.5, 0.0), bend=(0.0, 0.0))
    found = Landscape(path=paths, shape=None, flops=SIX)
    given = summarised(at_value(found, "N_opt", np.log(1e9), np.log(1e19)), level=0.9)
    low, high = given["D_opt"].interval
    c = np.quantile(paths.rows[:, 0], [0.95, 0.05])
    exact = np.exp(np.log(1e19) + (np.log(1e9) - c) / 0.5) / 6e9
    np.testing.assert_allclose([low, high], exact, rtol=1e-6)
    known = summarised(at_compute(found, np.log(given["C"].value)), level=0.9)["D_opt"].interval
    assert np.log(high / low) == pytest.approx(2 * np.log(known[1] / known[0]), rel=1e-6)
    # The estimates meet: the C at which the median path has this N
    at_C = summarised(at_compute(found, np.log(given["C"].value)), level=0.9)
    assert at_C["N_opt"].value == pytest.approx(1e9, rel=1e-3)


def test_a_path_that_bends_back_is_inverted_where_it_was_measured():
    """N = 1e8 (C / 1e19)^0.5 with a strong bend: it rises to a summit, and falls beyond."""
    found = Landscape(path=answer(1, (0.5, 0), (-0.06, 0)), shape=None, flops=SIX)
    summit = np.max(found.log_N_opt(np.linspace(0, 69, 6901)))
    below, above = (
        at_value(found, "N_opt", summit + shift, np.log(1e19))["log C"][0] for shift in (-0.5, 0.5)
    )
    assert found.log_N_opt(at(below))[0, 0] == pytest.approx(summit - 0.5)
    assert found.log_N_opt(at(below - 0.1))[0, 0] < summit - 0.5
    assert above == np.inf


def test_a_loss_below_what_any_compute_reaches_takes_infinitely_much():
    reached = log_C_for_loss(alone(), np.array([1.9, 1.5, 0.3]), np.log(C))
    assert np.isfinite(reached[0])
    assert reached[1] == reached[2] == np.inf
    truth = TRUTHS[0]
    N = truth.G * (np.exp(reached[0]) / 6) ** truth.a
    assert truth.loss(N, np.exp(reached[0]) / (6 * N)) == pytest.approx(1.9, rel=1e-12)


def brute_force(truth, flops, *, served, total=None, loss=None):
    """Return N and D on a fine grid of N: of the lowest loss at a total, or the least total."""
    N = np.exp(np.linspace(np.log(1e4), np.log(1e12), 2_000_001))
    per_unit = flops.flops_per_unit(N)
    if total is not None:
        D = total / per_unit - served / 3
        L = np.where(D > 0, truth.loss(N, np.maximum(D, 1)), np.inf)
        best = np.argmin(L)
        return N[best], D[best], L[best]
    left = loss - truth.E - truth.A / N**truth.alpha
    D = (truth.B / np.maximum(left, 1e-9)) ** (1 / truth.beta)
    spent = per_unit * (D + served / 3)
    best = np.argmin(spent)
    return N[best], D[best], spent[best]


@pytest.mark.parametrize("flops", [SIX, BENT], ids=["6ND", "bent"])
@pytest.mark.parametrize("served", [0.0, 1e9, 1e12, 1e14])
def test_the_optimum_with_inference_is_that_of_brute_force(flops, served):
    found = best_at_total(alone(flops), np.log(C), served)
    for i, truth in enumerate(TRUTHS):
        N, D, L = brute_force(truth, flops, served=served, total=C)
        assert np.exp(found["log N_opt"][i]) == pytest.approx(N, rel=1e-4)
        assert np.exp(found["log D_opt"][i]) == pytest.approx(D, rel=1e-3)
        assert found["L_opt"][i] == pytest.approx(L, rel=1e-10)
        spent = np.exp(found["log C"][i]) + flops.flops_per_unit(N) / 3 * served
        assert spent == pytest.approx(C, rel=1e-4)


@pytest.mark.parametrize("flops", [SIX, BENT], ids=["6ND", "bent"])
@pytest.mark.parametrize("served", [0.0, 1e9, 1e12, 1e14])
def test_the_least_compute_for_a_loss_is_that_of_brute_force(flops, served):
    found = least_for_loss(alone(flops), 2.1, served, np.log(C))
    for i, truth in enumerate(TRUTHS):
        N, D, spent = brute_force(truth, flops, served=served, loss=2.1)
        assert np.exp(found["log N_opt"][i]) == pytest.approx(N, rel=2e-3)
        assert np.exp(found["log D_opt"][i]) == pytest.approx(D, rel=2e-3)
        assert np.exp(found["log total"][i]) == pytest.approx(spent, rel=1e-7)
        assert found["log saving"][i] >= -1e-12
        loss = truth.loss(np.exp(found["log N_opt"][i]), np.exp(found["log D_opt"][i]))
        assert loss == pytest.approx(2.1, rel=1e-9)


def test_the_two_questions_with_inference_have_one_answer():
    """The lowest loss at a total takes no less than that total."""
    found = anchored(BENT, n=50)
    first = best_at_total(found, np.log(1e22), 1e12)
    one = int(np.argsort(first["L_opt"])[25])
    second = least_for_loss(found, first["L_opt"][one], 1e12, np.log(C))
    assert second["log total"][one] == pytest.approx(np.log(1e22), abs=1e-7)
    assert second["log N_opt"][one] == pytest.approx(first["log N_opt"][one], abs=1e-3)
    assert np.all(first["log factor"] < 0)


def test_without_inference_the_optimum_is_the_answers():
    found = anchored(BENT, n=50)
    at_total = best_at_total(found, np.log(C), 0.0)
    expected = at_compute(found, np.log(C))
    np.testing.assert_allclose(at_total["log N_opt"], expected["log N_opt"], atol=1e-6)
    np.testing.assert_allclose(at_total["L_opt"], expected["L_opt"], rtol=1e-12)


def test_draws_are_moved_away_from_their_estimate():
    one, three = (
        Surfaces(rows=np.stack([truth.to_row() for truth in truths]), flops=SIX)
        for truths in (TRUTHS[:1], TRUTHS)
    )
    log_C = np.log([1e19, 1e21])
    for factor in (0.0, 0.7, 1.0):
        path = MovedApart(draws=three, estimate=one, factor=factor)
        for name in ("log_N_opt", "L_opt"):
            centre, drawn = (getattr(s, name)(log_C) for s in (one, three))
            np.testing.assert_allclose(
                getattr(path, name)(log_C), centre + factor * (drawn - centre)
            )
        excess = Shape(draws=three, estimate=one, factor=factor).excess(at(-1.0), log_C)
        centre, drawn = (Shape(draws=s, estimate=one).excess(at(-1.0), log_C) for s in (one, three))
        np.testing.assert_allclose(excess, centre + factor * (drawn - centre))


def test_a_summary_is_the_median_and_percentiles_on_the_original_scale():
    rng = np.random.default_rng(1)
    logs, plain = rng.normal(size=1000), rng.normal(size=1000)
    found = summarised({"log N_opt": logs, "L": plain}, level=0.9)
    np.testing.assert_allclose(
        [found["N_opt"].value, *found["N_opt"].interval],
        np.exp(np.quantile(logs, [0.5, 0.05, 0.95])),
    )
    np.testing.assert_allclose(
        [found["L"].value, *found["L"].interval], np.quantile(plain, [0.5, 0.05, 0.95])
    )


def test_infinite_draws_open_an_interval_and_lost_ones_leave_none():
    draws = np.linspace(0, 1, 1001)
    some, many = draws.copy(), draws.copy()
    some[:100], many[:600] = np.inf, np.inf
    found = summarised({"log C": some, "log D": many, "log N": -some}, level=0.9)
    assert found["C"].interval[1] == np.inf
    assert np.isfinite(found["C"].value)
    assert found["D"].value == np.inf
    assert found["N"].interval[0] == 0
    lost = np.where(np.arange(1001) < 200, np.nan, draws)
    assert summarised({"L": lost}, level=0.9) == {"L": None}


def test_intervals_reach_their_estimate():
    draws = {"L": np.linspace(1, 2, 101)}
    found = summarised(draws, level=0.9, estimate={"L": at(2.5)})["L"]
    assert (found.value, found.interval[1]) == (2.5, 2.5)
    assert found.interval[0] == pytest.approx(1.05)
    none = summarised({"L": np.empty(0)}, level=0.9, estimate={"L": at(2.5)})["L"]
    assert (none.value, none.interval) == (2.5, None)


def test_roots_and_minima_of_many_functions():
    shift = np.linspace(0.3, 60, 300)[:, np.newaxis]
    for f in (
        lambda x: x - shift,
        lambda x: np.sinh((x - shift) / 5),
        lambda x: np.arctan(40 * (x - shift)) + 1e-3 * (x - shift),
        lambda x: (x - shift) ** 3,
    ):
        np.testing.assert_allclose(first_rise(f, 30.0), shift[:, 0], atol=2e-5)
    grid = np.tile(np.linspace(-10, 70, 60), (300, 1))
    found = minima(lambda x: np.cosh((x - shift) / 8), grid)
    np.testing.assert_allclose(found, shift, atol=1e-6)
