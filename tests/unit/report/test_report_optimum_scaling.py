from __future__ import annotations

import itertools

import numpy as np
import pytest
from drawn import artists_of, texts_of
from fitted_study import without_answer
from flops_fit.report.figures.optimum_scaling import optimum_scaling
from flops_fit.report.fitted import ReportedFit
from scipy.stats import norm

read = ReportedFit.from_json

APPROACHES = ("2", "3", "vpnls")
QUANTITIES = ("N_opt", "D_opt", "L_opt")


def test_optimum_draws_every_fitted_approach(fit_of_three, runs):
    fit = fit_of_three
    figure = optimum_scaling(read(fit), runs)
    artists = artists_of(figure)
    for name, quantity in itertools.product(APPROACHES, QUANTITIES):
        approach = fit["approaches"][name]
        gid = f"optimum-{name}-{quantity}"
        law = approach[quantity]
        for part, ends in (("law", (5e10, 1.5e12)), ("extrapolation-above", (1.5e12, 1e15))):
            line = artists[f"{gid}-{part}"]
            C = line.get_xdata()
            assert (C[0], C[-1]) == pytest.approx(ends, rel=1e-12)
            expected = law["offset"] + law["coefficient"] * C ** law["exponent"]
            np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-12)
            assert line.is_dashed() == (part != "law")
        assert f"{gid}-extrapolation-below" not in artists
    widths = {name: artists[f"optimum-{name}-N_opt-law"].get_linewidth() for name in APPROACHES}
    assert artists["answer-N_opt-law"].get_linewidth() > max(widths.values())


def test_the_answer_leads_the_legend_whatever_is_recommended(fit_of_three, runs):
    fit_of_three["recommended"] = {"approach": "3", "why": "lowest hold-out error"}
    figure = optimum_scaling(read(fit_of_three), runs)
    entries = [text.get_text() for text in figure.legends[0].get_texts()]
    assert entries[:5] == [
        "answer: a path through the optima of the budgets",
        "95% interval of the answer",
        "approach 2: IsoFLOP profiles",
        "approach 3: parametric surface",
        "VPNLS: parametric surface",
    ]
    assert "recommended" not in texts_of(figure)


def test_unsupported_approach_is_left_out_and_named(fit, runs):
    figure = optimum_scaling(read(fit), runs)
    assert not any(gid.startswith("optimum-1-") for gid in artists_of(figure))
    assert "Left out: approach 1 (unsupported)." in texts_of(figure)
    del fit["approaches"]["1"]
    assert "Left out" not in texts_of(optimum_scaling(read(fit), runs))


def test_the_answer_is_drawn_along_its_law_and_through_its_predictions(fit, runs):
    artists = artists_of(optimum_scaling(read(fit), runs))
    answer = read(fit).answer
    rows = sorted(fit["answer"]["predictions"], key=lambda row: row["C"])
    for quantity in QUANTITIES:
        gid = f"answer-{quantity}"
        drawn = artists[f"{gid}-predictions"]
        assert drawn.get_xdata().tolist() == [1e13, 1e15]
        assert drawn.get_ydata().tolist() == [row[quantity] for row in rows if row["extrapolated"]]
        for part, ends in (("law", (5e10, 1.5e12)), ("extrapolation-above", (1.5e12, 1e15))):
            line, band = artists[f"{gid}-{part}"], artists[f"{gid}-{part}-interval"]
            C = line.get_xdata()
            assert (C[0], C[-1]) == pytest.approx(ends, rel=1e-12)
            assert line.is_dashed() == (part != "law")
            middle, low, high = answer.along(quantity, C)
            np.testing.assert_allclose(line.get_ydata(), middle, rtol=1e-12)
            corners = band.get_paths()[0].vertices
            assert corners[:, 1].min() == pytest.approx(low.min(), rel=1e-12)
            assert corners[:, 1].max() == pytest.approx(high.max(), rel=1e-12)
        inside, beyond = (
            artists[f"{gid}-{part}-interval"].get_alpha() for part in ("law", "extrapolation-above")
        )
        assert beyond < inside
        # The line ends at the last prediction
        last = artists[f"{gid}-extrapolation-above"].get_ydata()[-1]
        assert last == pytest.approx(rows[-1][quantity], rel=1e-3)


def test_optima_have_bars_of_their_standard_errors(fit, runs):
    artists = artists_of(optimum_scaling(read(fit), runs))
    z = norm.ppf(0.975)
    for i, point in enumerate(fit["answer"]["points"]):
        factor = np.exp(z * point["log_N_opt_std_err"])
        N, D = point["N_opt"], point["C"] / (fit["k"]["value"] * point["N_opt"])
        L, half = point["L_opt"], z * point["L_opt_std_err"]
        expected = {
            "N_opt": (N / factor, N, N * factor),
            "D_opt": (D / factor, D, D * factor),
            "L_opt": (L - half, L, L + half),
        }
        for quantity, (low, middle, high) in expected.items():
            drawn = artists[f"answer-{quantity}-points"].get_ydata()[i]
            bar = artists[f"answer-{quantity}-points-interval"].get_segments()[i][:, 1]
            assert (bar[0], drawn, bar[1]) == pytest.approx((low, middle, high), rel=1e-12)


def test_legend_has_the_exponent_of_the_answer_and_the_formulas_of_the_approaches(fit, runs):
    fit["approaches"]["2"]["N_opt"] |= {"coefficient": 0.0201, "exponent": 0.5352}
    text = texts_of(optimum_scaling(read(fit), runs))
    assert r"$N = 0.0201\,C^{\,0.535}$" in text
    value, (low, high) = read(fit).answer.exponent("N_opt")
    assert rf"answer: $N \propto C^{{\,{value:.2f}}}$ [{low:.2f}, {high:.2f}]" in text


def test_without_a_law_of_the_loss_its_optima_stand_alone(fit, runs):
    fit["approaches"]["2"]["L_opt"] = None
    draws = fit["answer"]["law"]["draws"]
    draws |= {name: "" for name in draws if name.startswith("L_opt")}
    for row in fit["answer"]["predictions"]:
        row |= {"L_opt": None, "L_opt_ci": None}
    figure = optimum_scaling(read(fit), runs)
    drawn = [gid for gid in artists_of(figure) if "L_opt" in gid]
    assert sorted(drawn) == ["answer-L_opt-points", "answer-L_opt-points-interval", "runs-L_opt"]
    assert texts_of(figure).count("no law of L") == 2
    assert "answer-N_opt-law" in artists_of(figure)


def test_one_budget_is_a_point_without_a_law(fit, runs):
    answer = fit["answer"]
    answer |= {"method": "minimum", "law": None, "form_error": None, "points": answer["points"][:1]}
    answer["predictions"] = [row for row in answer["predictions"] if row["C"] == 5e10]
    figure = optimum_scaling(read(fit), runs)
    drawn = {gid for gid in artists_of(figure) if gid.startswith("answer")}
    ends = ("points", "points-interval")
    assert drawn == {f"answer-{name}-{end}" for name in QUANTITIES for end in ends}
    assert "answer: the minimum of one budget" in texts_of(figure)


def test_without_an_answer_the_approaches_stand_alone(fit, runs):
    without_answer(fit, "no budget holds three sizes")
    figure = optimum_scaling(read(fit), runs)
    assert not any(gid.startswith("answer") for gid in artists_of(figure))
    assert "optimum-2-N_opt-law" in artists_of(figure)
    assert "answer" not in texts_of(figure)


def test_losses_below_zero_have_a_linear_axis(fit, runs):
    runs["loss"] -= 1.5
    *_, ax = optimum_scaling(read(fit), runs).axes
    assert ax.get_yscale() == "linear"


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
