"""Scaling laws from runs, with numpy and scipy alone.

An approach is an object of `approaches/` that fits laws to a `RunTable`, and its registry holds
all of them. They rest on `data/` (the runs), `forms/` (surfaces, power laws, parabolas), `solver/`
(the search for a surface), `judgement/` (what is said of a fit) and `evidence/` (when it is said,
resampling, intervals). `holdout` and `recommendation` compare approaches. `fit_runs` brings all of
this together; `reading` and `comparison` read its results.

Plain columns suffice, here of nine runs whose loss is lowest at N = C^0.5:

>>> from flops_fit.laws import fit_runs
>>> import numpy as np
>>> C = np.repeat([1e12, 1e14, 1e16], 3)
>>> N = np.sqrt(C) * np.tile([0.5, 1.0, 2.0], 3)
>>> runs = {"budget": C, "N": N, "D": C / (6 * N), "C": C, "loss": 2 + np.log(N / C**0.5) ** 2}
>>> fit = fit_runs(runs, study="example", params="total", predict_budgets=[1e17])
>>> round(fit["approaches"]["2"]["N_opt"]["exponent"], 6)
0.5
>>> [f"{row['N_opt']:.1e}" for row in fit["answer"]["predictions"]]
['1.0e+06', '1.0e+07', '1.0e+08', '3.2e+08']
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_EXPORTS = {
    "Answer": "answer.answer",
    "Approach": "approach",
    "ApproachOptions": "approach",
    "ApproachResult": "results",
    "Exclusion": "data.table",
    "FitOptions": "fit",
    "FittedLaws": "reading",
    "FlopsPerUnit": "data.accounting",
    "HuberLog": "solver.objectives",
    "Judgement": "judgement.judgement",
    "Point": "results",
    "OptimumLaw": "answer.law",
    "PowerLaw": "forms.power_law",
    "Prediction": "results",
    "Profile": "results",
    "Question": "answer.answer",
    "ResidualLimits": "forms.profile_weights",
    "RunTable": "data.table",
    "SquaredLoss": "solver.objectives",
    "Surface": "forms.surface",
    "approach_named": "approaches.registry",
    "approach_names": "approaches.registry",
    "compare": "comparison",
    "fit_answer": "answer.answer",
    "fit_envelope": "approaches.envelope",
    "fit_isoflop": "approaches.isoflop",
    "fit_near_optimum": "approaches.near_optimum",
    "fit_parametric": "approaches.parametric",
    "fit_power_law": "forms.power_law",
    "fit_power_law_with_offset": "forms.power_law",
    "fit_profile": "approaches.profile",
    "fit_runs": "fit",
    "fit_vpnls": "approaches.parametric",
    "group_budgets": "data.grouping",
    "height_weights": "forms.profile_weights",
    "judgement_kinds": "judgement.texts",
    "keep_best_learning_rates": "data.learning_rates",
    "predict_optima": "predictions",
    "profile_weights": "forms.profile_weights",
    "read_runs": "data.table",
    "residual_limits": "forms.profile_weights",
    "search_surface": "solver.search",
    "surface_objective": "solver.search",
}
"""Where each public name is. They are imported when they are used, since scipy takes a second and a
workflow that is parsed needs only the names of the approaches."""

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    globals()[name] = value
    return value
