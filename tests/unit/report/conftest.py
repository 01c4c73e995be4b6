"""A small but realistic fit: four budgets of a real sweep, with parabolas from numpy's polyfit."""

from __future__ import annotations

import copy
import math

import numpy as np
import pandas as pd
import pytest
from flops_fit.laws.answer.answer import Question, predict_answer
from flops_fit.laws.answer.law import OptimumLaw
from flops_fit.laws.data.accounting import FlopsPerUnit

N_OF_WIDTH = {
    8: 3600,
    12: 6600,
    16: 10_300,
    24: 20_000,
    32: 33_000,
    48: 68_000,
    64: 115_000,
    96: 246_000,
}
LOSSES = {
    5e10: {8: 2.212, 12: 2.071, 16: 2.029, 24: 2.133, 32: 2.210},
    1.5e11: {12: 1.939, 16: 1.826, 24: 1.802, 32: 1.833, 48: 1.997},
    5e11: {16: 1.693, 24: 1.573, 32: 1.519, 48: 1.565, 64: 1.680},
    1.5e12: {24: 1.455, 32: 1.372, 48: 1.326, 64: 1.369, 96: 1.482},
}
K = 10.5  # C / (N D); near what counting gives at these sizes
OFFSET = 0.3
ACCOUNTING = {
    "value": K,
    "source": "median of C / (N D)",
    "N": [float(N) for N in N_OF_WIDTH.values()],
    "flops_per_unit": [K * N for N in N_OF_WIDTH.values()],
}


def make_runs() -> pd.DataFrame:
    rows = [
        {
            "id": f"run-{C:g}-{width}",
            "status": "completed",
            "budget": C,
            "size": width,
            "seed": 0,
            "lr": 0.016,
            "N": N_OF_WIDTH[width],
            "D": C / (K * N_OF_WIDTH[width]),
            "C": C,
            "loss": loss,
        }
        for C, losses in LOSSES.items()
        for width, loss in losses.items()
    ]
    diverged = {**rows[-1], "id": "run-diverged", "status": "diverged", "loss": float("nan")}
    excluded = {**rows[-1], "id": "run-excluded", "N": 150_000, "loss": 1.55}
    return pd.DataFrame([*rows, diverged, excluded])


def _law(C: np.ndarray, y: np.ndarray, offset: float) -> dict:
    exponent, log_coefficient = np.polyfit(np.log(C), np.log(y - offset), 1)
    residual = np.log(y - offset) - exponent * np.log(C) - log_coefficient
    r_squared = 1.0 - np.var(residual) / np.var(np.log(y - offset))
    return {
        "coefficient": float(np.exp(log_coefficient)),
        "exponent": float(exponent),
        "offset": offset,
        "r_squared": float(r_squared),
        "ci": {
            "coefficient": [0.9 * np.exp(log_coefficient), 1.1 * np.exp(log_coefficient)],
            "exponent": [float(exponent) - 0.02, float(exponent) + 0.02],
        },
    }


def _profile(C: float, losses: dict[int, float]) -> dict:
    N = np.array([N_OF_WIDTH[width] for width in losses], float)
    L = np.array(list(losses.values()))
    center = float(np.log(N).mean())
    c2, c1, c0 = np.polyfit(np.log(N) - center, L, 2)
    return {
        "C": C,
        "N": N.tolist(),
        "L": L.tolist(),
        "weights": [1.0] * len(N),
        "log_N_center": center,
        "coefficients": [float(c0), float(c1), float(c2)],
        "curvature_p_value": 0.01,
        "r_squared": 0.98,
    }


def judgement(text: str, approach: str | None = None) -> dict:
    said = {"code": "said", "severity": "warning", "values": {}}
    return {**said, "approach": approach, "text": text}


def make_answer(points: list[dict], exact: list[dict]) -> dict:
    """An answer of known draws, other than the law of approach 2, whose rows are `exact`."""
    random = np.random.default_rng(0)
    middle = [10.2, 0.5, -0.01, 0.28, -0.15, 0.0, OFFSET]
    spread = [0.05, 0.02, 0.005, 0.01, 0.005, 0.0005, 0.02]
    law = OptimumLaw(centre=26.5, reach=6.3, rows=random.normal(middle, spread, (200, 7)))
    sizes = np.log(list(N_OF_WIDTH.values()))
    flops = FlopsPerUnit(log_N=sizes, log_flops=sizes + math.log(K), k=K)
    budgets = tuple(LOSSES)
    # Out of order, to show that the table sorts.
    rows = predict_answer(law, Question(C=(1e15, *budgets, 1e13), measured=budgets), flops)
    kept = ("C", "N_opt", "L_opt", "n")
    errors = {"log_N_opt_std_err": 0.05, "L_opt_std_err": 0.01}
    cost = {"prior": [-0.005, 0.015], "found": {"value": -0.0102, "ci": [-0.02, 0.0]}, "cost": 1.75}
    return {
        "method": "path",
        "why": "a path through four minima",
        "ci": 0.95,
        "form_error": {
            "C": 1e15,
            "N_bend": cost,
            "N_scatter": {"prior": 0.03, "found": None, "cost": 1.25},
            "L_bend": None,
            "L_scatter": None,
            "E": {"value": OFFSET, "ci": [0.26, 0.34]},
        },
        "points": [{key: point[key] for key in kept} | errors for point in points],
        "predictions": [row.to_json() for row in rows],
        "law": law.to_json(),
        "if_form_is_exact": {
            "approach": "2",
            "why": "lowest error on the held-out budget",
            "predictions": exact,
        },
    }


def make_fit() -> dict:
    profiles = [_profile(C, losses) for C, losses in LOSSES.items()]
    points = []
    for profile in profiles:
        c0, c1, c2 = profile["coefficients"]
        N = math.exp(profile["log_N_center"] - c1 / (2 * c2))
        D = profile["C"] / (K * N)
        L = c0 - c1 * c1 / (4 * c2)
        points.append(
            {"C": profile["C"], "N_opt": N, "D_opt": D, "L_opt": L, "at_edge": False, "n": 5}
        )
    C = np.array([point["C"] for point in points])
    laws = {
        name: _law(C, np.array([point[name] for point in points]), offset)
        for name, offset in (("N_opt", 0.0), ("D_opt", 0.0), ("L_opt", OFFSET))
    }
    predictions = []
    # Out of order, to show that the table sorts.
    for budget in (1e15, *LOSSES, 1e13):
        spread = 0.04 * (1 + abs(math.log10(budget / 3e11)))
        row = {"C": budget, "extrapolated": budget > 1.5e12}
        for name, law in laws.items():
            y = law["offset"] + law["coefficient"] * budget ** law["exponent"]
            half = spread * (y - law["offset"])
            row |= {name: float(y), f"{name}_ci": [float(y - half), float(y + half)]}
        predictions.append(row)
    return copy.deepcopy(
        {
            "study": "demo",
            "params": "non_embedding",
            "k": ACCOUNTING,
            "interval_method": "bootstrap of leverage-scaled residuals, 1000 samples, 95%",
            "n_runs": 20,
            "excluded": [{"id": "run-excluded", "reason": "named in fit.exclude"}],
            "approaches": {
                "1": {
                    "status": "unsupported",
                    "reason": "the learning rate decays to the end of each run",
                },
                "2": {
                    "status": "ok",
                    **laws,
                    "points": points,
                    "profiles": profiles,
                    "predictions": predictions,
                },
            },
            "holdout": [],
            "answer": make_answer(points, predictions),
            "recommended": {"approach": "path", "why": "a path through four minima"},
            "judgements": [
                judgement("curvature at 5e+10 FLOPs is barely significant (p = 0.04)", "2"),
                judgement("prediction at 1e+15 FLOPs lies 667x beyond the largest budget"),
            ],
        }
    )


@pytest.fixture
def runs() -> pd.DataFrame:
    return make_runs()


@pytest.fixture
def fit() -> dict:
    return make_fit()


@pytest.fixture
def fit_of_three(fit) -> dict:
    """The same with approach 3 and VPNLS beside approach 2, all different."""
    for name, factor, exponent in (("3", 1.25, 0.01), ("vpnls", 0.85, -0.01)):
        entry = copy.deepcopy(fit["approaches"]["2"])
        del entry["profiles"]
        for quantity in ("N_opt", "D_opt", "L_opt"):
            law = entry[quantity]
            law["coefficient"] *= factor
            law["exponent"] += exponent
            law["ci"] = None
            for row in entry["points"] + entry["predictions"]:
                scale = law["coefficient"] * row["C"] ** law["exponent"]
                row[quantity] = law["offset"] + scale
            for row in entry["predictions"]:
                row[f"{quantity}_ci"] = None
        entry["surface"] = {"E": OFFSET}
        fit["approaches"][name] = entry
    return fit
