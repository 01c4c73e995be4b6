"""A new approach is one object: everything that the others have, it has, without another file."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
from flops_fit import cli
from flops_fit.errors import UserError
from flops_fit.laws import approach_named, approach_names, fit_runs
from flops_fit.laws.approach import Approach
from flops_fit.laws.approaches.registry import default_names, registered
from flops_fit.laws.evidence.judgements import judge_laws
from flops_fit.laws.evidence.resampling import Resampler, draw_run_counts
from flops_fit.laws.forms.quantities import law_quantities
from flops_fit.laws.optima import optima_laws
from flops_fit.laws.results import ApproachResult, Point
from flops_fit.report.figures.optimum_scaling import optimum_scaling
from flops_fit.report.fitted import ReportedFit
from flops_fit.report.tables import prediction_table, table_markdown
from hand_computed import small_study
from judged import found
from known_laws import parabolic_runs
from matplotlib.colors import to_rgba

BUDGETS = (1e18, 1e19, 1e20, 1e21, 1e22)


@dataclass(frozen=True, kw_only=True)
class LowestRuns(Approach):
    """The size of each budget's lowest run is its best one."""

    def fit(self, runs, flops, options):
        lowest = [self._lowest(runs, budget, runs.L) for budget in np.unique(runs.budget)]
        points = tuple(
            Point(C=float(runs.C[i]), N_opt=float(runs.N[i]), D_opt=float(runs.D[i]),
                  L_opt=float(runs.L[i]), at_edge=False, n=1)
            for i in lowest
        )  # fmt: skip
        laws = optima_laws(points, offset=1.0)
        judgements = tuple(judge_laws(laws["N_opt"], laws["D_opt"], points))
        return ApproachResult(status="ok", points=points, judgements=judgements, **laws)

    def resampler(self, result, runs, flops, C, options, resampling):
        def draw(chunks):
            rows = []
            for counts in draw_run_counts(runs, chunks, resampling):
                L = np.where(counts > 0, runs.L, np.inf)
                rows.append([self._lowest(runs, budget, L) for budget in np.unique(runs.budget)])
            log_C, log_N, log_D = (np.log(values[rows]) for values in (runs.C, runs.N, runs.D))
            mask = np.ones(log_C.shape, dtype=bool)
            return law_quantities(log_C, log_N, log_D, runs.L[rows], mask, np.log(C), flops)

        return Resampler(draw=draw, what=resampling.rows(runs))

    def _lowest(self, runs, budget, L):
        return int(np.argmin(np.where(runs.budget == budget, L, np.inf)))


TOY = LowestRuns(
    name="toy", called="the toy", does="lowest runs", colour="#123456", marker="P", rank=-1
)
RUNS = parabolic_runs(BUDGETS, offsets=np.linspace(-1.2, 1.2, 9), noise=0.003)


@pytest.fixture
def toy():
    with registered(TOY):
        yield TOY


@pytest.fixture
def fit(toy):
    return fit_runs(
        RUNS, study="s", params="total", bootstrap=60, predict_budgets=[1e25],
        approaches=["2", "toy"],
    )  # fmt: skip


def test_it_exists_only_as_long_as_it_is_registered():
    before = approach_names()
    with registered(TOY):
        assert approach_names() == (*before, "toy")
        assert approach_named("toy") is TOY
        with pytest.raises(ValueError, match="already"), registered(TOY):
            pass
    assert approach_names() == before
    with pytest.raises(UserError, match="available: 1, 2, 3, vpnls"):
        fit_runs(RUNS, study="s", params="total", approaches=["toy"])


def test_it_is_fitted_judged_resampled_and_held_out(fit):
    entry = fit["approaches"]["toy"]
    assert entry["status"] == "ok"
    assert entry["N_opt"]["exponent"] == pytest.approx(0.5, abs=0.05)
    low, high = entry["N_opt"]["ci"]["exponent"]
    assert low <= entry["N_opt"]["exponent"] <= high
    for row in entry["predictions"]:
        assert row["N_opt_ci"][0] <= row["N_opt"] <= row["N_opt_ci"][1]
    assert "resampled runs within budgets" in fit["interval_method"]
    assert "(approach toy)" in fit["interval_method"]
    assert found(fit, "extrapolation", "toy")
    scored = [score for score in fit["holdout"] if score["approach"] == "toy"]
    assert len(scored) == 1 + len(BUDGETS)
    assert all(0.5 < score["N_opt_ratio"] < 2 for score in scored)


def test_it_is_recommended_by_its_rank(fit):
    assert fit["answer"]["if_form_is_exact"]["approach"] == "toy"
    with registered(replace(TOY, name="last", rank=9)):
        second = fit_runs(RUNS, study="s", params="total", bootstrap=0, approaches=["2", "last"])
    assert second["answer"]["if_form_is_exact"]["approach"] == "2"


def test_a_form_is_recommended_unless_it_is_judged_flawed():
    form = replace(TOY, rank=9, assumes_form=True, flaws={"few_budgets": "few budgets"})
    few = {name: values[:18] for name, values in RUNS.items()}  # two budgets
    with registered(form):
        fits = [
            fit_runs(runs, study="s", params="total", bootstrap=0, approaches=["2", "toy"],
                     holdout_budgets=0)
            for runs in (RUNS, few)
        ]  # fmt: skip
    assert [fit["answer"]["if_form_is_exact"]["approach"] for fit in fits] == ["toy", "2"]
    assert "the toy: few budgets" in fits[1]["answer"]["if_form_is_exact"]["why"]


def test_it_is_tabulated_and_drawn_beside_the_answer(fit):
    reported = ReportedFit.from_json(fit)
    assert fit["answer"]["if_form_is_exact"]["approach"] == "toy"
    assert prediction_table(reported)["approach"].tolist() == ["path"] * 6
    text = table_markdown(reported)
    assert "If the form is exact, the toy: lowest runs gives" in text
    assert text.count("the toy: ") > 1  # its judgements, and its hold-out scores
    runs = pd.DataFrame(RUNS).assign(status="completed")
    figure = optimum_scaling(reported, runs)
    lines = {line.get_gid(): line for ax in figure.axes for line in ax.get_lines()}
    assert to_rgba(lines["optimum-toy-N_opt-law"].get_color()) == to_rgba("#123456")


def test_it_predicts_and_is_compared_from_its_file(fit, tmp_path, capsys):
    paths = []
    for name, shift in (("one", 0.0), ("two", 0.05)):
        study = fit_runs(
            RUNS | {"loss": RUNS["loss"] + shift}, study=name, params="total", bootstrap=60,
            approaches=["toy"],
        )  # fmt: skip
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_text(json.dumps(study), encoding="utf-8")
    assert cli.main(["predict", str(paths[0]), "1e25"]) == 0
    said = capsys.readouterr().out
    (row,) = [line for line in said.splitlines() if line.startswith("1e+25")]
    assert float(row.split()[1]) == pytest.approx(
        fit["answer"]["predictions"][-1]["N_opt"], rel=1e-3
    )
    assert cli.main(["compare", *map(str, paths)]) == 0
    assert "1e+22" in capsys.readouterr().out


def test_it_may_be_asked_for_in_a_configuration(toy):
    assert small_study({"fit.approaches": ["toy", 2]}).fit.approaches == ("toy", "2")
    assert small_study({}).fit.approaches == default_names()
    with pytest.raises(UserError) as caught:
        small_study({"fit.approaches": ["boy"]})
    assert str(caught.value).endswith("expected one of 1, 2, 3, vpnls, bracket, toy")
