from __future__ import annotations

import numpy as np
import pytest
from flops_fit.laws import FlopsPerUnit, Surface
from known_laws import ALPHA, BETA, A, B, E, surface, surface_N_opt
from scipy.optimize import minimize_scalar

CHINCHILLA = Surface(E=E, A=A, B=B, alpha=ALPHA, beta=BETA)


def accounting(flops_per_unit, sizes):
    sizes = np.asarray(sizes, float)
    return FlopsPerUnit.from_runs(sizes, 1e20 / flops_per_unit(sizes), np.full(sizes.size, 1e20))


def test_loss_and_closed_forms():
    D = np.array([1e10, 1e11])
    np.testing.assert_allclose(CHINCHILLA.loss(1e9, D), surface(1e9, D))
    assert CHINCHILLA.a == pytest.approx(BETA / (ALPHA + BETA))
    assert CHINCHILLA.a + CHINCHILLA.b == pytest.approx(1.0)
    # Moving along N D = 1 away from N = G raises the loss on both sides
    best = CHINCHILLA.loss(CHINCHILLA.G, 1 / CHINCHILLA.G)
    for factor in (0.99, 1.01):
        N = factor * CHINCHILLA.G
        assert CHINCHILLA.loss(N, 1 / N) > best


def test_row_round_trip_keeps_an_absent_term():
    for one in (CHINCHILLA, Surface(E=0.0, A=1.0, B=2.0, alpha=0.3, beta=0.4)):
        back = Surface.from_row(one.to_row())
        for name in ("E", "A", "B", "alpha", "beta"):
            assert getattr(back, name) == pytest.approx(getattr(one, name), rel=1e-12)


@pytest.mark.parametrize("sizes", [[1e8], [1e8, 1e9], np.logspace(7, 10, 9)])
def test_optimum_under_6ND_is_the_closed_form(sizes):
    C = np.logspace(15, 26, 12)
    found = CHINCHILLA.N_opt(C, accounting(lambda N: 6 * N, sizes))
    np.testing.assert_allclose(found, surface_N_opt(C), rtol=1e-9)


@pytest.mark.parametrize(
    "flops_per_unit",
    [
        lambda N: 6 * N + 2e5 * N**0.6,
        lambda N: 6 * N * (1 + 0.4 * np.sin(np.log(N))),  # falls with N in places
    ],
)
def test_optimum_under_measured_flops_is_what_a_scan_finds(flops_per_unit):
    flops = accounting(flops_per_unit, np.logspace(6, 10, 13))
    C = np.logspace(17, 23, 7)
    found = CHINCHILLA.N_opt(C, flops)

    def loss(log_N, c):
        return float(CHINCHILLA.loss(np.exp(log_N), flops.D_at(c, np.exp(log_N))))

    for c, N in zip(C, found, strict=True):
        scan = np.linspace(np.log(1e4), np.log(1e13), 20001)
        values = CHINCHILLA.loss(np.exp(scan), flops.D_at(c, np.exp(scan)))
        near = scan[np.argmin(values)]
        polished = minimize_scalar(
            loss, args=(c,), bounds=(near - 1e-3, near + 1e-3), method="bounded"
        )
        # Within rounding of the loss, the scan never does better
        assert loss(np.log(N), c) <= min(values.min(), polished.fun) + 1e-14
        # A loss resolves its minimum to the root of the rounding error only
        assert np.log(N) == pytest.approx(near, abs=2e-3)
