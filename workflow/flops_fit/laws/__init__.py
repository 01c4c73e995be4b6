"""Scaling laws from runs, with numpy and scipy alone.

Approach 1 is `envelope`, approach 2 `isoflop`, approach 3 and VPNLS `parametric`: each a function
from a `RunTable` to an `ApproachResult`. A surface is found by `search`, which rests on
`projection` (where to start), `terms` (derivatives) and `newton` (to the minimum). Shared: `table`
(the runs), `results` (what an approach returns), `power_law`, `surface`, `accounting` (FLOPs per
unit), `predictions` (optima at a given C) and `judgements` (warnings).

Plain columns suffice, here of nine runs whose loss is lowest at N = C^0.5:

>>> from flops_fit.laws import fit_runs
>>> import numpy as np
>>> C = np.repeat([1e12, 1e14, 1e16], 3)
>>> N = np.sqrt(C) * np.tile([0.5, 1.0, 2.0], 3)
>>> runs = {"budget": C, "N": N, "D": C / (6 * N), "C": C, "loss": 2 + np.log(N / C**0.5) ** 2}
>>> fit = fit_runs(runs, study="example", params="total", predict_budgets=[1e17])
>>> round(fit["approaches"]["2"]["N_opt"]["exponent"], 6)
0.5
>>> [f"{row['N_opt']:.2e}" for row in fit["approaches"]["2"]["predictions"]]
['1.00e+06', '1.00e+07', '1.00e+08', '3.16e+08']
"""

from __future__ import annotations

from flops_fit.laws.approaches.envelope import fit_envelope
from flops_fit.laws.approaches.isoflop import fit_isoflop
from flops_fit.laws.approaches.parametric import fit_parametric, fit_vpnls
from flops_fit.laws.approaches.profile import fit_profile
from flops_fit.laws.approaches.registry import APPROACHES
from flops_fit.laws.data.accounting import FlopsPerUnit
from flops_fit.laws.data.grouping import group_budgets
from flops_fit.laws.data.table import Exclusion, RunTable, keep_best_learning_rates, read_runs
from flops_fit.laws.fit import fit_runs
from flops_fit.laws.forms.power_law import PowerLaw, fit_power_law, fit_power_law_with_offset
from flops_fit.laws.forms.profile_weights import (
    ResidualLimits,
    height_weights,
    profile_weights,
    residual_limits,
)
from flops_fit.laws.forms.surface import Surface
from flops_fit.laws.predictions import predict_optima
from flops_fit.laws.results import ApproachResult, Point, Prediction, Profile
from flops_fit.laws.solver.objectives import HuberLog, SquaredLoss
from flops_fit.laws.solver.search import search_surface, surface_objective

__all__ = [
    "APPROACHES",
    "ApproachResult",
    "Exclusion",
    "FlopsPerUnit",
    "HuberLog",
    "Point",
    "PowerLaw",
    "Prediction",
    "Profile",
    "ResidualLimits",
    "RunTable",
    "SquaredLoss",
    "Surface",
    "fit_envelope",
    "fit_isoflop",
    "fit_parametric",
    "fit_power_law",
    "fit_power_law_with_offset",
    "fit_profile",
    "fit_runs",
    "fit_vpnls",
    "group_budgets",
    "height_weights",
    "keep_best_learning_rates",
    "predict_optima",
    "profile_weights",
    "read_runs",
    "residual_limits",
    "search_surface",
    "surface_objective",
]
