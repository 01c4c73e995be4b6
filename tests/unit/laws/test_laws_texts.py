"""What judgements say in words, and that nothing else depends on the words."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from flops_fit.laws import fit_runs
from flops_fit.laws.judgement.judgement import judge
from flops_fit.laws.judgement.texts import KINDS, judgement_kinds
from known_laws import columns, nine_sizes, parabolic_runs, surface, surface_N_opt

EXAMPLES = {
    "losses_not_nats": {
        "n": 2, "of": 9, "lowest": -1.0, "highest": 3.0, "limit": 20.0, "unit": "nats per unit",
    },
    "units": {
        "columns": [
            {"column": "N", "unit": "millions", "factor": 1e6, "lowest": 70.0, "highest": 1300.0},
            {"column": "D", "unit": None, "factor": None, "lowest": 0.5, "highest": 3.0},
            {"column": "loss", "unit": "bits per byte", "factor": None, "lowest": 0.7,
             "highest": 1.1},
        ],
        "n": 3, "of": 9, "k": 6e6, "floor": 1.69,
    },
    "compute_off_budget": {"n": 2, "of": 9, "limit": 0.01, "largest": 0.03},
    "repeated_runs": {"n": 2, "of": 9},
    "checkpoints_as_runs": {"n": 40, "trainings": 8, "along_D": 0.8, "along_N": 0.1},
    "repeated_data": {
        "n": 2, "of": 9, "most": 4.0, "R_star": 12.0, "identified": True, "published": 15.4,
    },
    "repeats_set_aside": {"n": 2, "of": 9, "limit": 16.4},
    "data_run_out": {"C": [1e20], "units": 1e9, "epochs": 5.0},
    "compute_differs_from_6nd": {"difference": -0.3},
    "inconsistent_compute": {
        "n": 1, "of": 9, "limit": 0.2, "worst": "r7", "found": 9.0, "usual": 6.0,
    },
    "learning_rate_at_edge": {
        "n": 1, "of": 3,
        "cells": [
            {"budget": 1e18, "size": 64, "D": 2e9, "best": 0.04, "side": "largest", "tried": 3},
        ],
    },
    "optimum_differs_from_6nd": {"C": 1e22, "difference": -0.06, "k": 7.0},
    "approaches_disagree": {
        "approaches": ["2", "vpnls"], "titles": ["approach 2", "VPNLS"],
        "exponents": [0.6, 0.5], "intervals": [[0.58, 0.62], [0.48, 0.52]],
    },
    "mixed_code": {"fingerprints": {"model_source": {"m": ["a"] * 14, "": ["b"]}}},
    "mixed_trainer": {"trainers": {"0123456789ab": ["a", "b"], "0123456789ac": ["c"]}},
    "unknown_trainer": {"ids": ["a"] * 14, "of": 20},
    "mixed_environment": {"circumstances": {"torch": {"2.12.0": ["a"], "2.13.0": ["b", "c"]}}},
    "derived_column": {"column": "D", "k": 6.0, "n": 2, "of": 9, "assumed": False},
    "unfinished_runs": {"n": 3, "of": 9, "states": {"crashed": 2, "running": 1}},
    "unfinished_study": {"counts": "9 experiments: 2 done, 7 missing"},
    "runs_at_no_budget": {"n": 2, "of": 9},
    "too_few_sizes": {"budget": 1e18, "n": 2, "needed": 3},
    "no_minimum": {"C": 1e18, "curvature": -0.1},
    "minimum_out_of_reach": {"C": 1e18, "outside": 1.5, "add": "smaller"},
    "minimum_at_edge": {
        "C": 1e18, "lowest": 1e8, "vertex": 5e7, "smallest": 1e8, "largest": 1e9,
    },
    "laws_on_edge_minima": {"inside": 1, "of": 3},
    "weights_moved_minimum": {
        "profiles": [
            {"C": 1e18, "equal": 8.1e8, "weighted": 7.2e8},
            {"C": 1e19, "equal": None, "weighted": 9.2e8},
        ],
    },
    "off_centre_grid": {"C": 1e18, "position": 0.8},
    "curvature_untested": {"C": 1e18, "n": 3},
    "curvature_not_significant": {"C": 1e18, "p_value": 0.1},
    "drifting_grids": {"first": 0.3, "last": 0.7},
    "optimum_beyond_sizes": {"C": [1e21, 1e22]},
    "scattered_optima": {"ratio": 3.0, "p_value": 0.001},
    "training_losses": {"n": 12},
    "end_points_only": {"why": "decaying_schedule"},
    "best_run_at_edge": {"C": [1e18, 1e19]},
    "parameters_on_bound": {"parameters": {"E": 0.0, "alpha": 2.0}},
    "tied_exponents": {},
    "e_is_zero": {},
    "e_not_identified": {"without": 0.12, "objective": 0.11, "p_value": 0.3},
    "gamma_not_identified": {
        "gamma": 0.9, "without": 0.12, "objective": 0.11, "p_value": 0.3,
    },
    "lack_of_fit": {
        "share": 0.02, "F": 9.0, "freedom": [6, 30], "p_value": 1e-5, "replicated": True,
    },
    "outliers": {"n": 6, "of": 90, "runs": [{"id": f"r{i}", "t": 9.0 - i} for i in range(6)]},
    "few_budgets": {"n": 2, "needed": 3},
    "law_is_constant": {"quantity": "N_opt"},
    "law_falls": {"quantity": "D_opt", "exponent": -0.1},
    "loss_does_not_fall": {"first_C": 1e18, "first_L": 2.0, "last_C": 1e22, "last_L": 2.1},
    "no_law_of_loss": {"lowest": -0.2, "floor": 0.0},
    "noise_varies": {"h": 0.4, "std_err": 0.1, "ratio": 6.0},
    "noise_by_compute": {"h": 0.4, "std_err": 0.1, "ratio": 6.0},
    "pinned_e": {"E": 1.7},
    "offset_few_budgets": {"n": 3, "needed": 4},
    "offset_without_fall": {"exponent": 0.05},
    "offset_stops_fall": {},
    "offset_is_zero": {},
    "offset_at_lowest": {"offset": 2.0},
    "extrapolation": {"C": [1e24, 1e25], "times": 1000.0, "largest": 1e22},
    "prediction_beyond_sizes": {"C": [1e25], "smallest": 1e7, "largest": 1e10},
    "resamples_without_law": {"share": 0.05},
    "backtest_missed": {"quantity": "N_opt", "n": 2, "of": 6, "level": 0.95},
}  # fmt: skip


def test_every_code_has_an_example():
    assert set(EXAMPLES) == set(KINDS)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", code) for code in KINDS)


@pytest.mark.parametrize("code", KINDS)
def test_a_text_is_a_sentence_with_its_values(code):
    judgement = judge(code, **EXAMPLES[code])
    assert re.match(r"[A-Z0-9a]", judgement.text)  # also "alpha = beta"
    assert judgement.text.endswith(".")
    assert not re.search(r"[{}]|  |\bnan\b|\bNone\b|np\.", judgement.text)
    assert json.loads(json.dumps(judgement.to_json()))["values"] == EXAMPLES[code]
    severity, when = judgement_kinds()[code]
    assert severity == judgement.severity
    assert severity in ("info", "warning", "serious")
    assert re.match(r"[A-Z0-9]|fit\.", when)
    assert when.endswith(".")
    assert "\n" not in judgement.text + when


def test_some_texts_word_for_word():
    said = {code: judge(code, **values).text for code, values in EXAMPLES.items()}
    assert said["approaches_disagree"] == (
        "Approach 2 and VPNLS disagree beyond their intervals: N_opt grows as C^0.600 [0.580, "
        "0.620] and C^0.500 [0.480, 0.520]."
    )
    assert said["mixed_code"] == (
        "Runs of different code or data are fitted together: model source: 14 runs with m "
        f"({', '.join('a' * 12)} and 2 more), 1 run with none (b)."
    )
    assert "r0 (+9.0), r1 (+8.0), r2 (+7.0), r3 (+6.0), r4 (+5.0) and 1 more)" in said["outliers"]
    assert said["derived_column"].startswith("The table has no D in 2 of 9 rows: it is taken as")
    assert said["learning_rate_at_edge"].startswith(
        "The best learning rate lies at the edge of its grid in 1 of 3 cells (budget 1e+18, size "
        "64, D 2e+09: 0.04 is the largest of 3)"
    )


def bent_runs():
    """A sweep that the five-parameter form does not describe."""
    C = np.repeat(np.logspace(18, 22, 5), 9)
    N = surface_N_opt(C) * np.tile(np.exp(np.linspace(-1.2, 1.2, 9)), 5)
    bent = surface(N, C / (6 * N)) * (1 + 0.05 * np.sin(2.5 * np.log(N / surface_N_opt(C))))
    return columns(C, N, bent * np.exp(0.001 * np.random.default_rng(0).normal(size=45)))


def runs_with_outliers():
    runs, _ = nine_sizes(noise=0.005, seed=4)
    runs["loss"][[3, 20]] *= 1.1
    return runs


STUDIES = {
    "bent": bent_runs(),
    "outliers": runs_with_outliers(),
    "scattered": parabolic_runs(
        np.logspace(18, 22, 5), noise=0.002, shift=[0.2, -0.2, 0.2, -0.2, 0.2], exponent=0.5
    ),
}


@pytest.mark.parametrize("name", STUDIES)
def test_no_number_depends_on_a_text(name, monkeypatch):
    def fitted():
        fit = fit_runs(STUDIES[name], study="s", params="total", bootstrap=40)
        text = json.dumps(fit["judgements"])
        assert "lack_of_fit" in text or name != "bent"
        assert "outliers" in text or name != "outliers"
        for judgement in fit["judgements"]:
            del judgement["text"]
        for entry in (fit, *fit["approaches"].values()):
            entry["warnings"] = len(entry["warnings"])
        return fit

    before = fitted()
    for code, kind in list(KINDS.items()):
        monkeypatch.setitem(KINDS, code, replace(kind, text="Another text."))
    assert fitted() == before


def test_values_that_json_cannot_hold_stand_in_the_text_alone():
    found = judge("repeats_set_aside", n=1, of=9, limit=np.float64("inf"))
    assert "more than inf times" in found.text
    assert found.values == {"n": 1, "of": 9, "limit": None}
