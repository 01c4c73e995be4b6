from __future__ import annotations

import numpy as np
import pytest
from flops_fit.laws import FlopsPerUnit


def test_interpolation_is_exact_on_a_power_of_N():
    N = np.array([1e6, 4e6, 9e6, 3e7])
    f = 50 * N**0.9
    flops = FlopsPerUnit.from_runs(N, 1e15 / f, np.full(4, 1e15))
    inside = np.array([1e6, 2e6, 1.7e7, 3e7])
    np.testing.assert_allclose(flops.flops_per_unit(inside), 50 * inside**0.9, rtol=1e-12)


def test_beyond_the_sizes_flops_per_unit_over_N_keeps_its_end_value():
    N = np.array([1e6, 1e7])
    flops = FlopsPerUnit.from_runs(N, 1e15 / (np.array([9, 7]) * N), np.full(2, 1e15))
    np.testing.assert_allclose(
        flops.flops_per_unit([1e4, 1e6, 1e7, 1e12]) / [1e4, 1e6, 1e7, 1e12],
        [9, 9, 7, 7],
        rtol=1e-12,
    )
    assert flops.covers([9e5, 1e6, 5e6, 1e7, 2e7]).tolist() == [False, True, True, True, False]


def test_D_spends_exactly_C():
    N = np.array([1e6, 1e7, 1e8])
    flops = FlopsPerUnit.from_runs(N, 1e15 / (np.array([9, 7, 6.5]) * N), np.full(3, 1e15))
    for wanted in (1e5, 3e6, 1e9):
        assert flops.D_at(1e20, wanted) * flops.flops_per_unit(wanted) == pytest.approx(1e20)


def test_runs_of_one_size_are_averaged_in_logs_and_k_is_the_median():
    N = np.array([1e6, 1e6, 1e7])
    flops = FlopsPerUnit.from_runs(N, np.array([1.0, 1.0, 1.0]), np.array([4.0, 9.0, 70.0]) * 1e6)
    assert flops.flops_per_unit(1e6) == pytest.approx(6e6, rel=1e-12)  # geometric mean of 4 and 9
    assert flops.k == pytest.approx(7.0)  # median of 4, 9, 7
