"""What every quantity of an approach would be on other runs like these: bootstrap draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flops_fit.laws.approaches.envelope import resampled_envelopes
from flops_fit.laws.approaches.isoflop import judge_usable
from flops_fit.laws.approaches.parametric import OBJECTIVES
from flops_fit.laws.approaches.profile import resampled_optima
from flops_fit.laws.approaches.registry import SURFACES, ApproachOptions
from flops_fit.laws.data.accounting import FlopsPerUnit
from flops_fit.laws.data.table import RunTable
from flops_fit.laws.evidence.resampling import Chunk, Progress, draw_counts, run_chunks
from flops_fit.laws.forms.power_law import offset_rows, regress_rows
from flops_fit.laws.forms.profile_weights import residual_limits
from flops_fit.laws.forms.surface import optimal_log_N
from flops_fit.laws.results import ApproachResult
from flops_fit.laws.solver.many_surfaces import MAX_REFITTED, resampled_surfaces

Array = NDArray[np.float64]
Draws = dict[str, Array]
"""Quantity -> draws, shape (n_draws,) or, for predictions, (n_draws, n_C). Positive quantities are
held as natural logs, named `log ...`, whose distributions are closer to symmetric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampling:
    """How resamples are drawn."""

    n: int = 1000
    seed: int = 0
    stratify: bool = True
    workers: int | None = None


def bootstrap_draws(
    name: str,
    result: ApproachResult,
    runs: RunTable,
    C: Array,
    resampling: Resampling,
    options: ApproachOptions,
    progress: Progress | None = None,
) -> tuple[Draws, str]:
    """Return the draws of an approach whose status is ok, and how they were drawn.

    Parameters
    ----------
    name : str
        Among `approaches.APPROACHES`.
    C : ndarray, shape (n_C,)
        FLOPs of the predictions.
    """
    flops = FlopsPerUnit.from_runs(runs.N, runs.D, runs.C)
    budgets = np.log([point.C for point in result.points])

    def drawn_counts(chunks: Sequence[Chunk]) -> Array:
        drawn = [draw_counts(runs.budget, *c, stratify=resampling.stratify) for c in chunks]
        return np.concatenate(drawn)

    def surface_task(chunks: Sequence[Chunk]) -> Draws:
        counts = drawn_counts(chunks)
        rows = resampled_surfaces(result.surface, runs, counts, OBJECTIVES[name], tied=options.tied)
        return surface_quantities(rows, budgets, np.log(C), flops)

    usable = [p for p in result.profiles if judge_usable(p) is None]
    limits = residual_limits((np.log(p.N), p.L) for p in result.profiles)

    def profile_task(chunks: Sequence[Chunk]) -> Draws:
        drawn = [resampled_optima(usable, *c, limits) for c in chunks]
        log_N, L, mask = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
        log_C = np.broadcast_to(np.log([p.C for p in usable]), log_N.shape)
        log_D = np.log(flops.D_at(np.exp(log_C), np.exp(log_N)))
        return law_quantities(log_C, log_N, log_D, L, mask, np.log(C), flops)

    def envelope_task(chunks: Sequence[Chunk]) -> Draws:
        table = resampled_envelopes(
            runs, drawn_counts(chunks), curves=options.curves, decays=options.decays
        )
        mask = np.isfinite(table[..., 0])
        logs = np.where(mask[..., np.newaxis], np.log(table), 0.0)
        L = np.where(mask, table[..., 3], 1.0)
        return law_quantities(logs[..., 0], logs[..., 1], logs[..., 2], L, mask, np.log(C), flops)

    rows = "runs" + (" within budgets" if resampling.stratify else "")
    if name in SURFACES:
        task, what = surface_task, rows
        if len(runs) > MAX_REFITTED:
            what += " (one Newton step each)"
    elif name == "1":
        task, what = envelope_task, rows
    else:
        task, what = profile_task, "leverage-scaled residuals of the profiles"
    chunks = run_chunks(
        task,
        resampling.n,
        n_runs=len(runs),
        seed=resampling.seed,
        workers=resampling.workers,
        progress=progress,
    )
    return {key: np.concatenate([chunk[key] for chunk in chunks]) for key in chunks[0]}, what


def surface_quantities(rows: Array, log_budgets: Array, log_C: Array, flops: FlopsPerUnit) -> Draws:
    """Return all quantities of surfaces, rows of log A, log B, log E, alpha, beta."""
    log_A, log_B, log_E, alpha, beta = rows.T
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

    def optima(logs: Array) -> tuple[Array, Array, Array]:
        C = np.exp(logs)
        log_N = optimal_log_N(rows, C, flops)
        log_D = np.log(flops.D_at(C, np.exp(log_N)))
        above_E = np.exp(log_A[:, np.newaxis] - alpha[:, np.newaxis] * log_N) + np.exp(
            log_B[:, np.newaxis] - beta[:, np.newaxis] * log_D
        )
        return log_N, log_D, above_E

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
) -> Draws:
    """Return all quantities of laws through points; all but the last two of shape (n_rows, n)."""
    weights = mask.astype(float)
    quantities = {}
    for key, y in (("N_opt", log_N), ("D_opt", log_D)):
        lines = regress_rows(log_budgets, y, weights)
        quantities[f"{key} log coefficient"], quantities[f"{key} exponent"] = lines
    lines = offset_rows(log_budgets, L, mask)
    for key, y in zip(("log coefficient", "exponent", "offset"), lines, strict=True):
        quantities[f"L_opt {key}"] = y

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
