"""The next round of a design: a pilot, then where the runs tell most, then the two top budgets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flops_fit.design.derivatives import log_loss
from flops_fit.design.history import Cell, Choice, Kind, Round, Trained
from flops_fit.design.offer import Offer
from flops_fit.design.posterior import Posterior, fit_posterior
from flops_fit.design.prior import PriorLaw
from flops_fit.design.question import DesignError, Question
from flops_fit.design.standing import MIN_SIZES, Standing
from flops_fit.laws.forms.surface import optimal_log_N

Array = NDArray[np.float64]

PILOT_BUDGETS = 3
PILOT_SIZES = 7
TOP_SIZES = 2

WIDTH = float(np.log(6.0))
"""e-folds of N from the optimum within which experiments lie: points at 0.16 to 0.3 and at 4 to 6
times N_opt tell most; within a factor 4 errors of N_opt were 1.25 times as large."""


def next_round(
    question: Question,
    offer: Offer,
    prior: PriorLaw,
    rounds: Sequence[tuple[Round, Sequence[Trained]]],
    also: Sequence[Trained] = (),
) -> Round:
    """Return what is trained next; the same for the same arguments.

    Parameters
    ----------
    question : Question
    offer : Offer
    prior : PriorLaw
        Centres the pilot.
    rounds : sequence of (Round, sequence of Trained)
        All rounds so far with the outcomes of all their choices.
    also : sequence of Trained
        Runs that the user brings along; they count, but not as spent.

    Returns
    -------
    Round
        Of kind "done", without choices, when nothing is left to train. A larger spend, or another
        budget, gives further rounds.

    Raises
    ------
    DesignError
        If no design is possible.
    """
    standing = Standing.of(question, offer, rounds, also)
    number = rounds[-1][0].number + 1 if rounds else 0
    checks: dict[str, float | None] = {
        "lack_of_fit_p": None,
        "chi2_p": None,
        "spent": standing.spent,
        "left": question.spend - standing.spent,
        "top": question.budgets[-1],
    }
    if not rounds:
        choices = _pilot(offer, prior, standing)
        why = "the three lowest budgets place the optimum and show the noise"
        return Round(number=number, kind="pilot", choices=choices, why=why, checks=checks)
    posterior = fit_posterior(*standing.columns())
    kind, budgets, n_sizes = _due(standing)
    choices = tuple(
        choice
        for budget in budgets
        for choice in _filled(offer, standing, posterior, budget, n_sizes)
    )
    why = f"{kind}: {len(choices)} experiments" if choices else "the design is complete"
    return Round(
        number=number, kind=kind if choices else "done", choices=choices, why=why, checks=checks
    )


def _due(standing: Standing) -> tuple[Kind, tuple[float, ...], int]:
    """Return what comes next: the kind of round, its budgets, and how many sizes each gets."""
    *lower, top = standing.budgets
    informed = [b for b in lower[:-1] if standing.n_sizes(b) < MIN_SIZES]
    if informed:
        return "inform", tuple(informed), MIN_SIZES
    if standing.n_sizes(lower[-1]) < MIN_SIZES:
        return "next budget", (lower[-1],), MIN_SIZES
    if standing.n_sizes(top) < TOP_SIZES:
        return "top budget", (top,), TOP_SIZES
    return "done", (), 0


def _pilot(offer: Offer, prior: PriorLaw, standing: Standing) -> tuple[Choice, ...]:
    lowest = standing.budgets[:PILOT_BUDGETS]
    centres = optimal_log_N(prior.mean[np.newaxis], np.array(lowest), offer.flops)[0]
    return tuple(
        Choice(cell=cell, why="pilot around the prior's optimum")
        for budget, centre in zip(lowest, centres, strict=True)
        for cell in spread_cells(offer, standing, budget, float(centre), PILOT_SIZES)
    )


def _filled(
    offer: Offer, standing: Standing, posterior: Posterior, budget: float, n_sizes: int
) -> tuple[Choice, ...]:
    centre = optimal_log_N(posterior.mean[np.newaxis], np.array([budget]), offer.flops)[0, 0]
    missing = n_sizes - standing.n_sizes(budget)
    cells = spread_cells(offer, standing, budget, float(centre), missing)
    log_N, log_D = (np.log([getattr(cell, key) for cell in cells]) for key in ("N", "D"))
    log_L, jacobian = log_loss(posterior.mean, log_N, log_D)
    std = np.sqrt(
        np.einsum("mi,ij,mj->m", jacobian, posterior.covariance, jacobian) + posterior.noise**2
    )
    return tuple(
        Choice(cell=cell, why="around the fitted optimum", log_L=float(m), log_L_std=float(s))
        for cell, m, s in zip(cells, log_L, std, strict=True)
    )


def spread_cells(
    offer: Offer, standing: Standing, budget: float, centre: float, n_sizes: int
) -> tuple[Cell, ...]:
    """Return cells of new sizes, evenly spread within six times the optimum of a budget.

    Where the sizes are coarse these may be fewer than asked for.

    Raises
    ------
    DesignError
        If no size lies there.
    """
    cells = standing.cells[budget]
    log_N = np.log(offer.N[cells.index])
    near = np.abs(log_N - centre) <= WIDTH + 1e-9
    if not near.any():
        raise DesignError(
            f"no size that can be trained with {budget:.3g} FLOPs lies within six times of "
            f"N_opt, about {np.exp(centre):.3g} parameters"
        )
    taken = {t.cell.N for t in standing.at(budget)} | {c.N for c in standing.failed}
    free = [i for i in np.flatnonzero(near) if offer.N[cells.index[i]] not in taken]
    chosen: list[int] = []
    for place in np.linspace(-WIDTH, WIDTH, n_sizes) if n_sizes > 1 else [0.0]:
        if free:
            chosen.append(min(free, key=lambda i: abs(log_N[i] - centre - place)))
            free.remove(chosen[-1])
    return tuple(
        Cell(
            budget=budget,
            size_index=int(cells.index[i]),
            N=float(offer.N[cells.index[i]]),
            D=float(cells.D[i]),
            C=float(cells.C[i]),
        )
        for i in sorted(chosen)
    )
