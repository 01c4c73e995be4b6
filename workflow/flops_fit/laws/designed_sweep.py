"""What a designed sweep says of the optimum if its form is exact: an entry of fit.json."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from flops_fit.errors import UserError
from flops_fit.laws.approaches.near_optimum import NearOptimum, fit_near_optimum
from flops_fit.laws.approaches.parametric import no_optimum, too_few
from flops_fit.laws.data.accounting import FlopsPerUnit
from flops_fit.laws.data.table import read_runs
from flops_fit.laws.evidence.counted_runs import counted_runs
from flops_fit.laws.evidence.repeated_data import count_as_fresh
from flops_fit.laws.predictions import is_extrapolated


def near_optimum_entry(
    runs: Mapping[str, Sequence[Any]],
    C: Sequence[float],
    *,
    exclude: Collection[str] = (),
    level: float = 0.95,
) -> dict[str, Any]:
    """Return `answer.near_optimum` of fit.json: what `fit_near_optimum` says at each C.

    Parameters
    ----------
    runs : mapping of column name to sequence, each of length n_rows
        The columns of runs.csv, see `fit_runs`.
    C : sequence of float
        FLOPs to predict at.
    exclude
        Ids of runs that do not count.
    level : float
        Nominal coverage of the intervals, if the form is exact.

    Returns
    -------
    dict
        `why` is None and there are `surface`, `noise`, `left_out` (runs) and `predictions`, or
        `why` says why there are none.
    """
    table, _, _ = counted_runs(read_runs(runs, exclude=exclude)[0], planned=True)
    table = count_as_fresh(table, planned=True).fresh
    reason = too_few(table, tied=False)
    if reason is None:
        flops = FlopsPerUnit.of(table)
        try:
            found = fit_near_optimum(table, flops)
            reason = no_optimum(found.surface)
        except UserError as error:
            reason = str(error)
    if reason is None:
        budgets = np.unique(table.budget).tolist()
        predictions = _predictions(found, C, budgets, level)
        if predictions is not None:
            surface = found.surface
            names = ("E", "A", "B", "alpha", "beta")
            return {
                "why": None,
                "surface": {name: float(getattr(surface, name)) for name in names},
                "noise": found.noise,
                "left_out": int((~found.kept).sum()),
                "predictions": predictions,
            }
        reason = "the runs do not tell the parameters of the surface"
    return {"why": reason, "predictions": []}


def _predictions(
    found: NearOptimum, C: Sequence[float], budgets: Sequence[float], level: float
) -> list[dict[str, Any]] | None:
    """Return the optimum at each C with its interval; None where it is not finite."""
    at = np.asarray(C, dtype=float)
    with np.errstate(over="ignore", invalid="ignore"):
        log_N, log_L = found.optimum(at, level)
        N, L = np.exp(log_N), np.exp(log_L)  # (n_C, 3): estimate, low, high
        D = found.flops.D_at(at[:, np.newaxis], N)
    if not (np.isfinite(N).all() and np.isfinite(L).all() and np.isfinite(D).all()):
        return None
    rows = []
    for c, n, d, loss in zip(at.tolist(), N.tolist(), D.tolist(), L.tolist(), strict=True):
        rows.append(
            {
                "C": c,
                "extrapolated": is_extrapolated(c, budgets),
                "N_opt": n[0],
                "N_opt_ci": n[1:],
                "D_opt": d[0],
                "D_opt_ci": d[:0:-1],  # the larger model sees less data
                "D_per_N": d[0] / n[0],
                "D_per_N_ci": [d[2] / n[2], d[1] / n[1]],
                "L_opt": loss[0],
                "L_opt_ci": loss[1:],
            }
        )
    return rows
