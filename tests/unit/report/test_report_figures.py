from __future__ import annotations

import itertools
import math
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pytest
from flops_fit.report.figures import isoflop_profiles, optimum_scaling, save
from flops_fit.report.style import APPROACH_COLOURS, budget_colours
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from scipy.optimize import minimize_scalar

QUANTITIES = ("N_opt", "D_opt", "L_opt")


def _artists(figure) -> dict:
    """Artists that carry data, by group id."""
    found = {}
    for ax in figure.axes:
        for artist in [*ax.lines, *ax.collections]:
            assert artist.get_gid(), "an artist without a group id escapes these tests"
            assert artist.get_gid() not in found
            found[artist.get_gid()] = artist
    return found


def _texts(figure) -> str:
    legends = [*figure.legends, *(ax.get_legend() for ax in figure.axes if ax.get_legend())]
    texts = [text.get_text() for legend in legends for text in legend.get_texts()]
    return " ".join([*texts, figure.get_supxlabel()]).replace("\n", " ")


def _parabola(profile, N):
    c0, c1, c2 = profile["coefficients"]
    x = np.log(N) - profile["log_N_center"]
    return c0 + c1 * x + c2 * x**2


def test_profiles_draw_the_measured_points_and_their_parabolas(fit, runs):
    figure = isoflop_profiles(fit, runs)
    artists = _artists(figure)
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
    artists = _artists(isoflop_profiles(fit, runs))
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
    artists = _artists(isoflop_profiles(fit, runs))
    marked = artists["profile-0-minimum"].get_xdata()[0]
    assert marked == pytest.approx(math.exp(edge), rel=1e-9)
    assert artists["profile-0-parabola"].get_xdata().max() < marked
    assert artists["profile-0-beyond-right"].get_xdata().max() > marked


@pytest.mark.parametrize("coefficients", [[2.0, 0.1, -0.1], [2.0, 0.1, 0.0], [2.0, 0.5, 0.01]])
def test_profile_without_a_reachable_minimum_is_said(fit, runs, coefficients):
    fit["approaches"]["2"]["profiles"][1]["coefficients"] = coefficients
    figure = isoflop_profiles(fit, runs)
    assert "profile-1-minimum" not in _artists(figure)
    assert "profile-0-minimum" in _artists(figure)
    assert r"No minimum within reach of the sizes at $1.5 \times 10^{11}$ FLOPs" in _texts(figure)


def test_profiles_axes_name_quantities_and_units(fit, runs):
    (ax,) = isoflop_profiles(fit, runs, "image").axes
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
    assert ax.get_xlabel() == "non-embedding parameters N"
    assert ax.get_ylabel() == "validation loss L (nats per image)"
    (ax,) = isoflop_profiles(fit | {"params": "total"}, runs).axes
    assert ax.get_xlabel() == "total parameters N"


def test_diverged_runs_are_counted_and_excluded_ones_crossed(fit, runs):
    figure = isoflop_profiles(fit, runs)
    artists, texts = _artists(figure), _texts(figure)
    assert artists["excluded"].get_xdata().tolist() == [150_000]
    assert artists["excluded"].get_ydata().tolist() == [1.55]
    assert "20 measured runs; 1 diverged, not drawn." in texts
    assert "not in the fit" in texts
    assert r"$5 \times 10^{10}$ FLOPs" in texts
    clean = isoflop_profiles(fit | {"excluded": []}, runs[runs["status"] == "completed"])
    assert "excluded" not in _artists(clean)
    assert "diverged" not in _texts(clean)


def test_points_without_weight_are_hollow(fit, runs):
    profile = fit["approaches"]["2"]["profiles"][2]
    profile["weights"][0] = 0.0
    artists = _artists(isoflop_profiles(fit, runs))
    hollow = artists["profile-2-points-without-weight"]
    assert hollow.get_xdata().tolist() == profile["N"][:1]
    assert hollow.get_markerfacecolor() == "white"
    assert artists["profile-2-points"].get_xdata().tolist() == profile["N"][1:]


def test_without_approach_2_the_points_stand_alone(fit, runs):
    fit["approaches"]["2"] = {"status": "unsupported", "reason": "one budget", "warnings": []}
    fit["recommended"] = None
    figure = isoflop_profiles(fit, runs)
    artists = _artists(figure)
    assert set(artists) == {"excluded", *(f"profile-{i}-points" for i in range(4))}
    first = runs[(runs["budget"] == 5e10)]
    assert artists["profile-0-points"].get_ydata().tolist() == first["loss"].tolist()
    assert "No parabolas: approach 2 is left out (unsupported)." in _texts(figure)
    runs["budget"] = np.nan
    (points,) = (a for g, a in _artists(isoflop_profiles(fit, runs)).items() if g != "excluded")
    assert len(points.get_xdata()) == 20


def test_optimum_draws_every_fitted_approach(fit_of_three, runs):
    fit = fit_of_three
    figure = optimum_scaling(fit, runs)
    artists = _artists(figure)
    for name, quantity in itertools.product(("2", "3", "vpnls"), QUANTITIES):
        approach = fit["approaches"][name]
        gid = f"optimum-{name}-{quantity}"
        assert artists[f"{gid}-points"].get_xdata().tolist() == [p["C"] for p in approach["points"]]
        assert artists[f"{gid}-points"].get_ydata().tolist() == [
            p[quantity] for p in approach["points"]
        ]
        law = approach[quantity]
        for part, ends in (("law", (5e10, 1.5e12)), ("extrapolation-above", (1.5e12, 1e15))):
            line = artists[f"{gid}-{part}"]
            C = line.get_xdata()
            assert (C[0], C[-1]) == pytest.approx(ends, rel=1e-12)
            expected = law["offset"] + law["coefficient"] * C ** law["exponent"]
            np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-12)
            assert line.is_dashed() == (part != "law")
        assert f"{gid}-extrapolation-below" not in artists
    widths = {
        name: artists[f"optimum-{name}-N_opt-law"].get_linewidth()
        for name in APPROACH_COLOURS
        if name != "1"
    }
    assert widths["2"] > max(widths["3"], widths["vpnls"])
    assert "approach 2: IsoFLOP profiles (recommended)" in _texts(figure)
    assert _texts(figure).count("(recommended)") == 1


def test_recommended_approach_leads_the_legend(fit_of_three, runs):
    fit_of_three["recommended"] = {"approach": "3", "why": "lowest hold-out error"}
    figure = optimum_scaling(fit_of_three, runs)
    entries = [text.get_text() for text in figure.legends[0].get_texts()]
    assert entries[:3] == [
        "approach 3: parametric surface (recommended)",
        "approach 2: IsoFLOP profiles",
        "VPNLS: parametric surface",
    ]
    assert "optimum-3-N_opt-predictions" in _artists(figure)
    assert "optimum-2-N_opt-predictions" not in _artists(figure)


def test_unsupported_approach_is_left_out_and_named(fit, runs):
    figure = optimum_scaling(fit, runs)
    assert not any(gid.startswith("optimum-1-") for gid in _artists(figure))
    assert "Left out: approach 1 (unsupported)." in _texts(figure)
    del fit["approaches"]["1"]
    assert "Left out" not in _texts(optimum_scaling(fit, runs))


def test_predictions_and_intervals_are_the_fits(fit, runs):
    artists = _artists(optimum_scaling(fit, runs))
    rows = sorted(fit["approaches"]["2"]["predictions"], key=lambda row: row["C"])
    for quantity in QUANTITIES:
        gid = f"optimum-2-{quantity}"
        drawn = artists[f"{gid}-predictions"]
        assert drawn.get_xdata().tolist() == [1e13, 1e15]
        assert drawn.get_ydata().tolist() == [row[quantity] for row in rows if row["extrapolated"]]
        corners = artists[f"{gid}-interval"].get_paths()[0].vertices
        given = {(row["C"], bound) for row in rows for bound in row[f"{quantity}_ci"]}
        assert {tuple(corner) for corner in corners} == given
        bars = artists[f"{gid}-interval-bars"].get_segments()
        assert [bar[:, 1].tolist() for bar in bars] == [row[f"{quantity}_ci"] for row in rows]


def test_band_does_not_bridge_a_missing_interval(fit, runs):
    rows = sorted(fit["approaches"]["2"]["predictions"], key=lambda row: row["C"])
    rows[2]["N_opt_ci"] = None
    artists = _artists(optimum_scaling(fit, runs))
    paths = artists["optimum-2-N_opt-interval"].get_paths()
    reach = [(path.vertices[:, 0].min(), path.vertices[:, 0].max()) for path in paths]
    assert reach == [(5e10, 1.5e11), (1.5e12, 1e15)]
    for row in rows:
        row |= {f"{quantity}_ci": None for quantity in QUANTITIES}
    figure = optimum_scaling(fit, runs)
    assert not any("interval" in gid for gid in _artists(figure))
    assert "interval" not in _texts(figure)


def test_optimum_at_an_edge_is_hollow(fit, runs):
    fit["approaches"]["2"]["points"][0]["at_edge"] = True
    figure = optimum_scaling(fit, runs)
    hollow = _artists(figure)["optimum-2-N_opt-points-at-edge"]
    assert hollow.get_xdata().tolist() == [5e10]
    assert hollow.get_markerfacecolor() == "white"
    assert len(_artists(figure)["optimum-2-N_opt-points"].get_xdata()) == 3
    assert "optimum at an edge" in _texts(figure)


def test_legend_has_formula_exponent_and_r_squared(fit, runs):
    law = fit["approaches"]["2"]["N_opt"]
    law |= {"coefficient": 0.0201, "exponent": 0.5352, "r_squared": 0.98765}
    text = _texts(optimum_scaling(fit, runs))
    assert r"$N = 0.0201\,C^{\,0.535}$  ($R^2$ 0.9877)" in text
    low, high = law["ci"]["exponent"]
    assert f"exponent in [{low:.3f}, {high:.3f}]" in text


@pytest.mark.parametrize("ci", [None, {"coefficient": None, "exponent": None}])
def test_legend_without_intervals_or_r_squared_says_no_more(fit, runs, ci):
    fit["approaches"]["2"]["N_opt"] |= {"ci": ci, "r_squared": None}
    (text,) = optimum_scaling(fit, runs).axes[0].get_legend().get_texts()
    assert text.get_text().endswith("($R^2$ undefined)")


def test_without_a_law_of_the_loss_its_optima_stand_alone(fit, runs):
    approach = fit["approaches"]["2"]
    approach["L_opt"] = None
    for row in approach["predictions"]:
        row |= {"L_opt": None, "L_opt_ci": None}
    figure = optimum_scaling(fit, runs)
    drawn = [gid for gid in _artists(figure) if "L_opt" in gid]
    assert sorted(drawn) == ["optimum-2-L_opt-points", "runs-L_opt"]
    assert "no law of L" in _texts(figure)
    assert "optimum-2-N_opt-law" in _artists(figure)


def test_optimum_axes_are_logarithmic_and_name_units(fit, runs):
    figure = optimum_scaling(fit, runs, "image")
    assert [ax.get_ylabel() for ax in figure.axes] == [
        "non-embedding parameters N",
        "training images D",
        "validation loss L (nats per image)",
    ]
    for ax in figure.axes:
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
        assert ax.get_xlabel() == "training compute C (FLOPs)"


def test_single_runs_are_the_completed_ones(fit, runs):
    artists = _artists(optimum_scaling(fit, runs))
    completed = runs[runs["status"] == "completed"]
    for quantity, column in zip(QUANTITIES, ("N", "D", "loss"), strict=True):
        dots = artists[f"runs-{quantity}"]
        assert dots.get_xdata().tolist() == completed["C"].tolist()
        assert dots.get_ydata().tolist() == completed[column].tolist()


@pytest.mark.parametrize("budgets", [(5e10, 1.5e11, 5e11, 1.5e12), (5e10,), (5e10, 1.5e11)])
@pytest.mark.parametrize("furthest", [1e13, 1e15, 1e26, None])
def test_tick_labels_do_not_touch(fit, runs, budgets, furthest):
    approach = fit["approaches"]["2"]
    runs = runs[runs["budget"].isin(budgets)]
    for key in ("points", "profiles", "predictions"):
        approach[key] = [row for row in approach[key] if row["C"] in budgets]
    if furthest is not None:
        row = {"C": furthest, "extrapolated": True}
        for quantity in QUANTITIES:
            law = approach[quantity]
            row[quantity] = law["offset"] + law["coefficient"] * furthest ** law["exponent"]
            row[f"{quantity}_ci"] = None
        approach["predictions"].append(row)
    for figure in (isoflop_profiles(fit, runs), optimum_scaling(fit, runs)):
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        for ax, axis in itertools.product(figure.axes, "xy"):
            labels = getattr(ax, f"get_{axis}ticklabels")()
            low, high = sorted(getattr(ax, f"get_{axis}lim")())
            shown = [label for label in labels if low <= label.get_position()[axis == "y"] <= high]
            assert shown
            assert all(label.get_fontsize() >= 9 for label in shown)
            boxes = [label.get_window_extent(canvas.get_renderer()) for label in shown]
            assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_saved_files_repeat_byte_for_byte(fit, runs, tmp_path):
    for draw in (isoflop_profiles, optimum_scaling):
        first = save(draw(fit, runs), tmp_path / "one" / "figure.v2")
        # Somebody else's settings must not show in our figures.
        with matplotlib.rc_context({"font.size": 20, "svg.hashsalt": "other", "lines.marker": "x"}):
            second = save(draw(fit, runs), tmp_path / "two" / "figure.v2")
        assert [path.name for path in first] == ["figure.v2.svg", "figure.v2.png"]
        assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
        assert sorted(path.name for path in (tmp_path / "one").iterdir()) == [
            "figure.v2.png",
            "figure.v2.svg",
        ]
        root = ElementTree.parse(first[0]).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        ids = {element.get("id") for element in root.iter()}
        assert set(_artists(draw(fit, runs))) <= ids
        assert b"dc:date" not in first[0].read_bytes()
        assert first[1].read_bytes().startswith(b"\x89PNG")


def test_drawing_leaves_the_callers_settings_alone(fit, runs):
    with matplotlib.rc_context({"font.size": 13.0, "axes.grid": False}):
        before = dict(matplotlib.rcParams)
        isoflop_profiles(fit, runs)
        assert dict(matplotlib.rcParams) == before


# Machado, Oliveira and Fernandes 2009, "A physiologically-based model for simulation of color
# vision deficiency", table of severity 1.0, deuteranomaly; acts on linear RGB.
DEUTERANOPIA = np.array(
    [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ]
)


def _linear(colour) -> np.ndarray:
    rgb = np.array(to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def _cielab(linear: np.ndarray) -> np.ndarray:
    """Lightness and two opponent axes (CIE 1976, white D65), where distance is what eyes see."""
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    x, y, z = np.cbrt(np.clip(to_xyz @ linear, 0, None) / to_xyz.sum(axis=1))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_colours_stay_apart_for_a_deuteranope():
    for colours in (list(APPROACH_COLOURS.values()), budget_colours(4)):
        seen = [_cielab(np.clip(DEUTERANOPIA @ _linear(c), 0, 1)) for c in colours]
        nearest = min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2))
        # 2.3 is just noticeable side by side; ten is told apart at a glance.
        assert nearest > 10.0


def test_budget_colours_stand_out_from_white():
    for colour in budget_colours(9):
        luminance = np.array([0.2126, 0.7152, 0.0722]) @ _linear(colour)
        assert 1.05 / (luminance + 0.05) > 2.0  # contrast ratio of WCAG 2
