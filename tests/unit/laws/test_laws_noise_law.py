"""Noise that changes with compute: found, said, and weighed by where fit.noise asks for it."""

from __future__ import annotations

import numpy as np
import pytest
from flops_fit.errors import UserError
from flops_fit.laws import (
    ApproachOptions,
    HuberLog,
    SquaredLoss,
    Surface,
    approach_named,
    fit_runs,
    read_runs,
    search_surface,
)
from flops_fit.laws.evidence.noise_law import NoiseLaw, noise_law
from flops_fit.laws.solver import many_surfaces
from flops_fit.laws.solver.many_surfaces import resampled_surfaces
from hand_computed import small_study
from judged import found, only
from known_laws import columns

TRUTH = Surface(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37)
C = np.logspace(18, 20, 5)[:, None]
H = np.log(0.02 / 0.003) / np.log(100)


def runs_of(seed, *, smallest=0.02, largest=0.003):
    """A sweep of 5 x 9 runs whose noise falls with C as a power."""
    N = TRUTH.G * (C / 6) ** TRUTH.a * np.exp(np.linspace(-np.log(6), np.log(6), 9))
    scale = np.exp(np.linspace(np.log(smallest), np.log(largest), 5))[:, None]
    noise = scale * np.random.default_rng(seed).normal(size=N.shape)
    return columns(C, N, TRUTH.loss(N, C / (6 * N)) * np.exp(noise))


def table_of(*args, **options):
    return read_runs(runs_of(*args, **options))[0]


def fit(runs, **options):
    defaults = {"bootstrap": 200, "ci": 0.9, "holdout_budgets": 0}
    return fit_runs(runs, study="s", params="total", **(defaults | options))


def test_the_exponent_of_the_noise_is_found_and_drawn_towards_none():
    falling = np.array([noise_law(table_of(seed)).h for seed in range(60)])
    level = np.array([noise_law(table_of(seed, largest=0.02)).h for seed in range(60)])
    assert 0.7 * H < falling.mean() < H
    assert abs(level.mean()) < 0.04
    assert level.std() < 0.12
    errors = [noise_law(table_of(seed)).std_err for seed in range(60)]
    assert falling.std() == pytest.approx(np.mean(errors), rel=0.5)


def test_an_outlier_does_not_make_its_budget_noisy():
    runs = runs_of(0, smallest=0.005, largest=0.005)
    spoilt = runs | {"loss": np.array(runs["loss"])}
    spoilt["loss"][4] *= 1.2
    before, after = (noise_law(read_runs(table)[0]).h for table in (runs, spoilt))
    assert abs(after - before) < 0.15


def test_a_small_change_of_a_loss_changes_the_exponent_little():
    runs = runs_of(3)
    laws = [noise_law(read_runs(runs)[0])]
    for i in range(0, 45, 4):
        moved = runs | {"loss": np.array(runs["loss"])}
        moved["loss"][i] *= 1 + 3e-4
        laws.append(noise_law(read_runs(moved)[0]))
    assert max(abs(law.h - laws[0].h) for law in laws) < 0.25 * laws[0].std_err


def test_without_noise_or_with_three_sizes_there_is_nothing_to_tell():
    N = TRUTH.G * (C / 6) ** TRUTH.a * np.exp(np.linspace(-0.6, 0.6, 7))
    exact = columns(C, N, np.exp(C**-0.01 + 0.1 * np.log(N / N[:, 3:4]) ** 2))
    assert noise_law(read_runs(exact)[0]) is None
    three = {
        name: np.reshape(values, (5, 9))[:, ::4].ravel().tolist()
        for name, values in runs_of(0).items()
    }
    assert noise_law(read_runs(three)[0]) is None


@pytest.mark.parametrize("objective", [HuberLog(), SquaredLoss()])
def test_the_surface_minimises_the_objective_over_the_noise_of_each_run(objective):
    """Written out: Huber of the residual over its scale, squares times the inverse variance."""
    table = table_of(1)
    law = noise_law(table)
    scale = law.scale(table.C)
    weighted = objective.scaled(scale)
    surface, value = search_surface(table.N, table.D, table.L, weighted, weights=scale**-2)
    f = np.log(surface.loss(table.N, table.D))
    if isinstance(objective, HuberLog):
        u = np.abs(f - np.log(table.L)) / scale
        own = np.where(u <= 1e-3, u**2 / 2, 1e-3 * (u - 5e-4)).sum()
    else:
        own = (((table.L - np.exp(f)) / scale) ** 2).sum()
    assert value == pytest.approx(own, rel=1e-9)
    name = {HuberLog: "3", SquaredLoss: "vpnls"}[type(objective)]
    result = approach_named(name).fit(table, None, ApproachOptions(noise=law))
    assert result.objective == pytest.approx(value, rel=1e-12)


def test_single_steps_follow_weighted_refits(monkeypatch):
    objective = SquaredLoss()
    table = table_of(2)
    scale = noise_law(table).scale(table.C)
    surface, _ = search_surface(
        table.N, table.D, table.L, objective.scaled(scale), weights=scale**-2
    )
    counts = np.random.default_rng(0).multinomial(45, np.full(45, 1 / 45), size=400).astype(float)
    refits = resampled_surfaces(surface, table, counts, objective, scale=scale)
    monkeypatch.setattr(many_surfaces, "MAX_REFITTED", 10)
    steps = resampled_surfaces(surface, table, counts, objective, scale=scale)
    spread = [np.subtract(*np.nanquantile(rows[:, 3], [0.84, 0.16])) for rows in (refits, steps)]
    assert spread[0] / spread[1] == pytest.approx(1, rel=0.45)


def test_it_is_said_and_constant_noise_is_not():
    falling, level = fit(runs_of(0), bootstrap=0), fit(runs_of(0, largest=0.02), bootstrap=0)
    assert only(falling, "noise_varies")["ratio"] > 3
    assert not found(level, "noise_varies")
    weighted = fit(runs_of(0), noise="by_compute", bootstrap=0)
    assert only(weighted, "noise_by_compute")["h"] == only(falling, "noise_varies")["h"]
    assert not found(weighted, "noise_varies")


def test_by_default_and_with_constant_noise_all_runs_count_alike():
    runs = runs_of(0)
    assert fit(runs, bootstrap=60) == fit(runs, bootstrap=60, noise="constant")
    table = table_of(0)
    none = NoiseLaw(h=0.0, std_err=0.1, C0=1e19, ratio=1.0)
    for name in ("2", "3", "vpnls", "bracket"):
        one, other = (
            approach_named(name).fit(table, None, ApproachOptions(noise=law))
            for law in (None, none)
        )
        assert one.N_opt.exponent == pytest.approx(other.N_opt.exponent, rel=1e-9)


def test_intervals_hold_the_truth_and_are_narrower():
    """Noise from 2% to 0.3%, nominal 90%: of 60 studies 50 to 56 are within two errors of it."""
    names = ("2", "vpnls")
    held, width = ({(n, name): [] for n in ("constant", "by_compute") for name in names}
                   for _ in range(2))  # fmt: skip
    for seed in range(60):
        for noise in ("constant", "by_compute"):
            result = fit(runs_of(seed), noise=noise, approaches=names, seed=seed, workers=1)
            for name in names:
                low, high = result["approaches"][name]["N_opt"]["ci"]["exponent"]
                held[noise, name].append(low < TRUTH.a < high)
                width[noise, name].append(high - low)
    for name in names:
        assert np.mean(held["by_compute", name]) > 0.8
        assert np.median(width["by_compute", name]) < 0.8 * np.median(width["constant", name])


def test_it_is_a_setting():
    assert small_study({}).fit.noise == "constant"
    assert small_study({"fit.noise": "by_compute"}).fit.noise == "by_compute"
    with pytest.raises(UserError, match=r"fit\.noise is 'loud'"):
        fit(runs_of(0), noise="loud")
