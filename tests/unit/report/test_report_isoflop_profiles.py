from __future__ import annotations

import math

import numpy as np
import pytest
from drawn import artists_of, texts_of
from flops_fit.report.figures.isoflop_profiles import isoflop_profiles
from flops_fit.report.fitted import ReportedFit
from scipy.optimize import minimize_scalar

read = ReportedFit.from_json


def _parabola(profile, N):
    c0, c1, c2 = profile["coefficients"]
    x = np.log(N) - profile["log_N_center"]
    return c0 + c1 * x + c2 * x**2


def test_profiles_draw_the_measured_points_and_their_parabolas(fit, runs):
    figure = isoflop_profiles(read(fit), runs)
    artists = artists_of(figure)
    for i, profile in enumerate(fit["approaches"]["2"]["profiles"]):
        assert artists[f"profile-{i}-points"].get_xdata().tolist() == profile["N"]
        assert artists[f"profile-{i}-points"].get_ydata().tolist() == profile["L"]
        solid = artists[f"profile-{i}-parabola"]
        N = solid.get_xdata()
        # exp(log N) is rounded, hence not equal to the last bit.
        assert [N.min(), N.max()] == pytest.approx([min(profile["N"]), max(profile["N"])], 1e-12)
        np.testing.assert_allclose(solid.get_ydata(), _parabola(profile, N), rtol=1e-12)
        for side in ("left", "right"):
            beyond = artists[f"profile-{i}-beyond-{side}"]
            assert beyond.is_dashed()
            N = beyond.get_xdata()
            np.testing.assert_allclose(beyond.get_ydata(), _parabola(profile, N), rtol=1e-12)
            inside = (min(profile["N"]) * (1 + 1e-9) < N) & (max(profile["N"]) * (1 - 1e-9) > N)
            assert not inside.any()


def test_minimum_is_marked_where_a_search_finds_it(fit, runs):
    artists = artists_of(isoflop_profiles(read(fit), runs))
    for i, profile in enumerate(fit["approaches"]["2"]["profiles"]):
        found = minimize_scalar(
            lambda log_N, profile=profile: _parabola(profile, math.exp(log_N)),
            bracket=np.log([min(profile["N"]), max(profile["N"])]).tolist(),
            tol=1e-10,
        )
        marker = artists[f"profile-{i}-minimum"]
        # A search places the bottom of a parabola to the square root of rounding only.
        assert marker.get_xdata()[0] == pytest.approx(math.exp(found.x), rel=1e-6)
        assert marker.get_ydata()[0] == pytest.approx(found.fun, rel=1e-12)


def test_minimum_outside_the_sizes_is_reached_by_a_dashed_line(fit, runs):
    profile = fit["approaches"]["2"]["profiles"][0]
    extent = math.log(max(profile["N"]) / min(profile["N"]))
    c2 = profile["coefficients"][2]
    edge = math.log(max(profile["N"])) + 0.5 * extent
    profile["coefficients"][1] = -2 * c2 * (edge - profile["log_N_center"])
    artists = artists_of(isoflop_profiles(read(fit), runs))
    marked = artists["profile-0-minimum"].get_xdata()[0]
    assert marked == pytest.approx(math.exp(edge), rel=1e-9)
    assert artists["profile-0-parabola"].get_xdata().max() < marked
    assert artists["profile-0-beyond-right"].get_xdata().max() > marked


@pytest.mark.parametrize("coefficients", [[2.0, 0.1, -0.1], [2.0, 0.1, 0.0], [2.0, 0.5, 0.01]])
def test_profile_without_a_reachable_minimum_is_said(fit, runs, coefficients):
    fit["approaches"]["2"]["profiles"][1]["coefficients"] = coefficients
    figure = isoflop_profiles(read(fit), runs)
    assert "profile-1-minimum" not in artists_of(figure)
    assert "profile-0-minimum" in artists_of(figure)
    assert r"No minimum within reach of the sizes at $1.5 \times 10^{11}$ FLOPs" in texts_of(figure)


def test_profiles_axes_name_quantities_and_units(fit, runs):
    (ax,) = isoflop_profiles(read(fit), runs, "image").axes
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
    assert ax.get_xlabel() == "non-embedding parameters N"
    assert ax.get_ylabel() == "validation loss L (nats per image)"
    (ax,) = isoflop_profiles(read(fit | {"params": "total"}), runs).axes
    assert ax.get_xlabel() == "total parameters N"


def test_diverged_runs_are_counted_and_excluded_ones_crossed(fit, runs):
    figure = isoflop_profiles(read(fit), runs)
    artists, texts = artists_of(figure), texts_of(figure)
    assert artists["excluded"].get_xdata().tolist() == [150_000]
    assert artists["excluded"].get_ydata().tolist() == [1.55]
    assert "20 measured runs; 1 diverged, not drawn." in texts
    assert "not in the fit" in texts
    assert r"$5 \times 10^{10}$ FLOPs" in texts
    clean = isoflop_profiles(read(fit | {"excluded": []}), runs[runs["status"] == "completed"])
    assert "excluded" not in artists_of(clean)
    assert "diverged" not in texts_of(clean)


def test_points_without_weight_are_hollow(fit, runs):
    profile = fit["approaches"]["2"]["profiles"][2]
    profile["weights"][0] = 0.0
    artists = artists_of(isoflop_profiles(read(fit), runs))
    hollow = artists["profile-2-points-without-weight"]
    assert hollow.get_xdata().tolist() == profile["N"][:1]
    assert hollow.get_markerfacecolor() == "white"
    assert artists["profile-2-points"].get_xdata().tolist() == profile["N"][1:]


def test_without_approach_2_the_points_stand_alone(fit, runs):
    fit["approaches"]["2"] = {"status": "unsupported", "reason": "one budget"}
    figure = isoflop_profiles(read(fit), runs)
    artists = artists_of(figure)
    assert set(artists) == {"excluded", *(f"profile-{i}-points" for i in range(4))}
    first = runs[(runs["budget"] == 5e10)]
    assert artists["profile-0-points"].get_ydata().tolist() == first["loss"].tolist()
    assert "No parabolas: approach 2 is left out (unsupported)." in texts_of(figure)
    runs["budget"] = np.nan
    (points,) = (
        a for g, a in artists_of(isoflop_profiles(read(fit), runs)).items() if g != "excluded"
    )
    assert len(points.get_xdata()) == 20
