from __future__ import annotations

import itertools

import numpy as np
import pytest
from drawn import artists_of, texts_of
from flops_fit.laws.approaches.registry import default_names
from flops_fit.report.figures.optimum_scaling import optimum_scaling
from flops_fit.report.fitted import ReportedFit

read = ReportedFit.from_json

QUANTITIES = ("N_opt", "D_opt", "L_opt")


def test_optimum_draws_every_fitted_approach(fit_of_three, runs):
    fit = fit_of_three
    figure = optimum_scaling(read(fit), runs)
    artists = artists_of(figure)
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
        for name in default_names()
        if name != "1"
    }
    assert widths["2"] > max(widths["3"], widths["vpnls"])
    assert "approach 2: IsoFLOP profiles (recommended)" in texts_of(figure)
    assert texts_of(figure).count("(recommended)") == 1


def test_recommended_approach_leads_the_legend(fit_of_three, runs):
    fit_of_three["recommended"] = {"approach": "3", "why": "lowest hold-out error"}
    figure = optimum_scaling(read(fit_of_three), runs)
    entries = [text.get_text() for text in figure.legends[0].get_texts()]
    assert entries[:3] == [
        "approach 3: parametric surface (recommended)",
        "approach 2: IsoFLOP profiles",
        "VPNLS: parametric surface",
    ]
    assert "optimum-3-N_opt-predictions" in artists_of(figure)
    assert "optimum-2-N_opt-predictions" not in artists_of(figure)


def test_unsupported_approach_is_left_out_and_named(fit, runs):
    figure = optimum_scaling(read(fit), runs)
    assert not any(gid.startswith("optimum-1-") for gid in artists_of(figure))
    assert "Left out: approach 1 (unsupported)." in texts_of(figure)
    del fit["approaches"]["1"]
    assert "Left out" not in texts_of(optimum_scaling(read(fit), runs))


def test_predictions_and_intervals_are_the_fits(fit, runs):
    artists = artists_of(optimum_scaling(read(fit), runs))
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
    artists = artists_of(optimum_scaling(read(fit), runs))
    paths = artists["optimum-2-N_opt-interval"].get_paths()
    reach = [(path.vertices[:, 0].min(), path.vertices[:, 0].max()) for path in paths]
    assert reach == [(5e10, 1.5e11), (1.5e12, 1e15)]
    for row in rows:
        row |= {f"{quantity}_ci": None for quantity in QUANTITIES}
    figure = optimum_scaling(read(fit), runs)
    assert not any("interval" in gid for gid in artists_of(figure))
    assert "interval" not in texts_of(figure)


def test_optimum_at_an_edge_is_hollow(fit, runs):
    fit["approaches"]["2"]["points"][0]["at_edge"] = True
    figure = optimum_scaling(read(fit), runs)
    hollow = artists_of(figure)["optimum-2-N_opt-points-at-edge"]
    assert hollow.get_xdata().tolist() == [5e10]
    assert hollow.get_markerfacecolor() == "white"
    assert len(artists_of(figure)["optimum-2-N_opt-points"].get_xdata()) == 3
    assert "optimum at an edge" in texts_of(figure)


def test_legend_has_formula_exponent_and_r_squared(fit, runs):
    law = fit["approaches"]["2"]["N_opt"]
    law |= {"coefficient": 0.0201, "exponent": 0.5352, "r_squared": 0.98765}
    text = texts_of(optimum_scaling(read(fit), runs))
    assert r"$N = 0.0201\,C^{\,0.535}$  ($R^2$ 0.9877)" in text
    low, high = law["ci"]["exponent"]
    assert f"exponent in [{low:.3f}, {high:.3f}]" in text


@pytest.mark.parametrize("ci", [None, {"coefficient": None, "exponent": None}])
def test_legend_without_intervals_or_r_squared_says_no_more(fit, runs, ci):
    fit["approaches"]["2"]["N_opt"] |= {"ci": ci, "r_squared": None}
    (text,) = optimum_scaling(read(fit), runs).axes[0].get_legend().get_texts()
    assert text.get_text().endswith("($R^2$ undefined)")


def test_without_a_law_of_the_loss_its_optima_stand_alone(fit, runs):
    approach = fit["approaches"]["2"]
    approach["L_opt"] = None
    for row in approach["predictions"]:
        row |= {"L_opt": None, "L_opt_ci": None}
    figure = optimum_scaling(read(fit), runs)
    drawn = [gid for gid in artists_of(figure) if "L_opt" in gid]
    assert sorted(drawn) == ["optimum-2-L_opt-points", "runs-L_opt"]
    assert "no law of L" in texts_of(figure)
    assert "optimum-2-N_opt-law" in artists_of(figure)


def test_optimum_axes_are_logarithmic_and_name_units(fit, runs):
    figure = optimum_scaling(read(fit), runs, "image")
    assert [ax.get_ylabel() for ax in figure.axes] == [
        "non-embedding parameters N",
        "training images D",
        "validation loss L (nats per image)",
    ]
    for ax in figure.axes:
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
        assert ax.get_xlabel() == "training compute C (FLOPs)"


def test_single_runs_are_the_completed_ones(fit, runs):
    artists = artists_of(optimum_scaling(read(fit), runs))
    completed = runs[runs["status"] == "completed"]
    for quantity, column in zip(QUANTITIES, ("N", "D", "loss"), strict=True):
        dots = artists[f"runs-{quantity}"]
        assert dots.get_xdata().tolist() == completed["C"].tolist()
        assert dots.get_ydata().tolist() == completed[column].tolist()
