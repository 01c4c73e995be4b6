"""All quantities of many laws or surfaces at once, one row each: of draws, or of an estimate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flops_fit.laws.data.accounting import FlopsPerUnit
from flops_fit.laws.forms.power_law import offset_rows, regress_rows
from flops_fit.laws.forms.surface import Surface, optimal_log_N

Array = NDArray[np.float64]
Draws = dict[str, Array]
"""Quantity -> draws, shape (n_draws,) or, for predictions, (n_draws, n_C). Positive quantities are
held as natural logs, named `log ...`, whose distributions are closer to symmetric."""

SURFACE_COLUMNS = Surface.columns
LAW_COLUMNS = (
    "N_opt log coefficient",
    "N_opt exponent",
    "L_opt log coefficient",
    "L_opt exponent",
    "L_opt offset",
)


def lines_at(rows: Array, log_C: Array, flops: FlopsPerUnit) -> Draws:
    """Return log N_opt, log D_opt, log D_per_N and L_opt of rows of `LAW_COLUMNS`, (n_rows, n_C).

    And "N_opt exponent", (n_rows,).
    """
    log_N = rows[:, :1] + rows[:, 1:2] * log_C
    log_D = np.log(flops.D_at(np.exp(log_C), np.exp(log_N)))
    L = rows[:, 4:5] + np.exp(rows[:, 2:3] + rows[:, 3:4] * log_C)
    return {
        "log N_opt": log_N,
        "log D_opt": log_D,
        "log D_per_N": log_D - log_N,
        "L_opt": L,
        "N_opt exponent": rows[:, 1],
    }


def surface_quantities(rows: Array, log_budgets: Array, log_C: Array, flops: FlopsPerUnit) -> Draws:
    """Return all quantities of surfaces, rows of log A, log B, log E, alpha, beta, maybe gamma."""
    log_A, log_B, log_E, alpha, beta = rows[:, :5].T
    power = rows[:, 5:6] if rows.shape[1] > 5 else 1.0
    with np.errstate(invalid="ignore"):
        quantities = {
            "E": np.exp(log_E),
            "log A": log_A,
            "log B": log_B,
            "alpha": alpha,
            "beta": beta,
            "a": beta / (alpha + beta),
            "b": alpha / (alpha + beta),
        }
    if rows.shape[1] > 5:
        quantities["gamma"] = rows[:, 5]

    def optima(logs: Array) -> tuple[Array, Array, Array]:
        C = np.exp(logs)
        log_N = optimal_log_N(rows, C, flops)
        log_D = np.log(flops.D_at(C, np.exp(log_N)))
        above_E = np.exp(log_A[:, np.newaxis] - alpha[:, np.newaxis] * log_N) + np.exp(
            log_B[:, np.newaxis] - beta[:, np.newaxis] * log_D
        )
        return log_N, log_D, above_E**power

    # A resample without A or B has no optimum: its infinities become NaN, and are not counted
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        log_N, log_D, above_E = optima(log_budgets)
        x = np.broadcast_to(log_budgets, log_N.shape)
        for key, y in (("N_opt", log_N), ("D_opt", log_D), ("L_opt", np.log(above_E))):
            lines = regress_rows(x, y, np.ones_like(x))
            quantities[f"{key} log coefficient"], quantities[f"{key} exponent"] = lines
        quantities["L_opt offset"] = quantities["E"]
        log_N, log_D, above_E = optima(log_C)
    quantities["log N_opt"], quantities["log D_opt"] = log_N, log_D
    quantities["log D_per_N"] = log_D - log_N
    quantities["L_opt"] = quantities["E"][:, np.newaxis] + above_E
    return {key: np.where(np.isfinite(value), value, np.nan) for key, value in quantities.items()}


def law_quantities(
    log_budgets: Array,
    log_N: Array,
    log_D: Array,
    L: Array,
    mask: NDArray[np.bool_],
    log_C: Array,
    flops: FlopsPerUnit,
    *,
    offset: float | None = None,
    shift: float = 0.0,
) -> Draws:
    """Return all quantities of laws through points; all but the last two of shape (n_rows, n).

    The offset of L_opt is fitted unless it is given: at least 0, or minus the `shift` of losses
    that may be negative.
    """
    weights = mask.astype(float)
    quantities = {}
    for key, y in (("N_opt", log_N), ("D_opt", log_D)):
        lines = regress_rows(log_budgets, y, weights)
        quantities[f"{key} log coefficient"], quantities[f"{key} exponent"] = lines
    lines = offset_rows(log_budgets, L + shift, mask, offset=offset)
    for key, y in zip(("log coefficient", "exponent", "offset"), lines, strict=True):
        quantities[f"L_opt {key}"] = y
    quantities["L_opt offset"] = quantities["L_opt offset"] - shift

    def along(name: str) -> Array:
        start, slope = (quantities[f"{name} {key}"] for key in ("log coefficient", "exponent"))
        return start[:, np.newaxis] + slope[:, np.newaxis] * log_C

    with np.errstate(over="ignore", invalid="ignore"):
        log_N_opt = along("N_opt")
        log_D_opt = np.log(flops.D_at(np.exp(log_C), np.exp(log_N_opt)))
        L_opt = quantities["L_opt offset"][:, np.newaxis] + np.exp(along("L_opt"))
    quantities |= {
        "log N_opt": log_N_opt,
        "log D_opt": log_D_opt,
        "log D_per_N": log_D_opt - log_N_opt,
        "L_opt": L_opt,
    }
    return {key: np.where(np.isfinite(value), value, np.nan) for key, value in quantities.items()}
