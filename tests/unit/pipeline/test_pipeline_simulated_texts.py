"""What simulations leave behind: it says SIMULATED wherever one looks."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from flops_fit.design.forecast import forecast
from flops_fit.design.history import Cell
from flops_fit.design.outcome import Interval, Outcome
from flops_fit.design.question import DesignError
from flops_fit.design.simulation import Laid
from flops_fit.design.trial import Trial
from flops_fit.design.truth import Truth
from flops_fit.laws import FlopsPerUnit, Surface
from flops_fit.pipeline.simulated_texts import studies_csv, summary_json, summary_text

SURFACE = Surface(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37)
SIX_ND = FlopsPerUnit(log_N=np.log([1e6, 1e12]), log_flops=np.log([6e6, 6e12]), k=6.0)
TARGET = 1e22


@pytest.fixture(scope="module")
def trial():
    cells = []
    for budget in (1e18, 1e19, 1e20):
        for N in float(SURFACE.N_opt(budget, SIX_ND)) * np.geomspace(1 / 6, 6, 5):
            cells.append(Cell(budget=budget, size_index=-1, N=N, D=budget / (6 * N), C=budget))
    sweep = Laid(cells=tuple(cells), target=TARGET, flops=SIX_ND)
    return Trial.of(sweep, Truth(surface=SURFACE, noise=0.002, name="mine", source="here"), 5)


def test_every_column_says_so_and_holds_what_the_studies_found(trial):
    rows = list(csv.DictReader(io.StringIO(studies_csv([trial]))))
    assert len(rows) == 5
    assert all(name.startswith("SIMULATED_") for name in rows[0])
    for row, one in zip(rows, trial.studies, strict=True):
        assert int(row["SIMULATED_study"]) == one.number
        assert float(row["SIMULATED_spent"]) == pytest.approx(5 * 1.11e20)
        N = [float(row[f"SIMULATED_answer_N_opt{end}"]) for end in ("_lo", "", "_hi")]
        found = one.answer.N
        assert N == pytest.approx(np.exp([found.low, found.middle, found.high]), rel=1e-5)
        assert float(row["SIMULATED_exact_L_opt"]) == pytest.approx(
            np.exp(one.exact.L.middle), rel=1e-5
        )


def test_the_summary_says_so_in_its_heading_its_text_and_its_tables(trial):
    text = summary_text("demo", [trial, trial])
    lines = text.splitlines()
    assert lines[0] == "# SIMULATED: demo"
    assert lines[2].startswith("SIMULATED: nothing was trained.")
    tables = [line for line in lines if line.startswith("| SIMULATED FLOPs")]
    assert len(tables) == 2
    known = f"x{np.exp(trial.score.answer[0].half):.3g}"
    error = f"x{np.exp(trial.score.answer[0].rms):.3g}"
    rows = [line for line in lines if line.startswith("| 5.55e+20 |  | 15 | 1 |")]
    assert len(rows) == 4
    assert f"| {known} | " in rows[0]
    assert f"| {error} | " in rows[0]


def test_the_numbers_are_there_as_data(trial):
    found = json.loads(json.dumps(summary_json("demo", [trial])))
    assert found["SIMULATED"] is True
    (one,) = found["trials"]
    assert one["SIMULATED"] is True
    assert one["truth"]["N_opt"] == pytest.approx(float(SURFACE.N_opt(TARGET, SIX_ND)))
    assert one["answer"]["log N_opt"]["n"] == 5
    assert one["answer"]["log N_opt"]["half"] == pytest.approx(trial.score.answer[0].half)
    assert one["foreseen"]["if_form_is_exact"]["log N_opt"] == trial.foreseen.exact.N.half


def test_a_study_without_an_answer_leaves_its_cells_empty(trial):
    no_loss = Outcome(N=Interval(low=1.0, middle=2.0, high=3.0), L=None)
    studies = (replace(trial.studies[0], answer=None), replace(trial.studies[1], answer=no_loss))
    first, second = csv.DictReader(io.StringIO(studies_csv([replace(trial, studies=studies)])))
    assert first["SIMULATED_answer_N_opt"] == first["SIMULATED_answer_L_opt"] == ""
    assert float(second["SIMULATED_answer_N_opt"]) == pytest.approx(np.exp(2), rel=1e-5)
    assert second["SIMULATED_answer_L_opt_hi"] == ""


def test_a_law_without_an_optimum_in_numbers_foresees_nothing_and_breaks_no_file(trial):
    # Both terms of the loss vanish at the target, where nothing is curved
    steep = Truth(
        surface=Surface(E=1.8, A=480.0, B=2100.0, alpha=60.0, beta=60.0),
        noise=0.002,
        name="a steep law",
        source="here",
    )
    with pytest.raises(DesignError, match="a steep law leaves the range of numbers at the target"):
        forecast(trial.sweep, steep)
    tried = Trial.of(trial.sweep, steep, 2)
    assert tried.foreseen is None
    json.dumps(summary_json("demo", [tried]), allow_nan=False)
    assert summary_text("demo", [tried])
