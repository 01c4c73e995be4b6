"""The steps of a design: each says whether it is due, and returns its round if so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from flops_fit.design.checks import MISFIT_P, is_flawed, surprise_limit
from flops_fit.design.criterion import Criterion, choose, posterior_draws
from flops_fit.design.history import Cell, Kind, Round
from flops_fit.design.known import Known
from flops_fit.design.placing import WIDTH
from flops_fit.design.question import STEP, DesignError
from flops_fit.design.standing import BASELINE_SIZES, MIN_SIZES, is_at

PILOT_BUDGETS, PILOT_SIZES = 3, 7
MAX_PILOTS = 4

AT_EDGE = float(np.log(4.0))
"""e-folds of N of the fitted optimum from the pilot's middle beyond which the pilot is repeated:
the sizes on one side are then too near to bend the losses upwards."""

FARTHEST = 2 * WIDTH
"""e-folds of N by which a repeated pilot moves at most: far from all runs the fit is a guess."""

INFORM_REACH = 10.0
"""How far above the largest trained budget the runs are trusted to place experiments."""

INFORM_SHARE = 0.14
"""Share of a grid of eight sizes at each budget that pilot and informing rounds spend together."""

TOP_SIZES = 2
FILL_SIZES = 5

ENOUGH_BUDGETS = 6
"""Budgets from which two sizes at the top suffice: five others then have four, so that a lack of
fit is seen."""

ROUNDING = 1.01
"""FLOPs of an experiment over its budget at most: whole steps, see `plan`."""

Cells = list[tuple[Cell, str]]


def pilot(known: Known) -> Round | None:
    """Train the three lowest budgets around the prior's optimum."""
    lowest = known.standing.budgets[:PILOT_BUDGETS]
    shown = known.posterior is not None and _n_shown(known) >= PILOT_BUDGETS
    if shown or known.has_had("inform"):
        return None
    lacking = [b for b in lowest if known.standing.n_sizes(b) < MIN_SIZES]
    cells = _new(known, lacking, PILOT_SIZES, "pilot")
    if not cells:
        return None
    if not known.rounds:
        _assert_affordable(known, cells)
        per_budget = sorted(Counter(cell.budget for cell, _ in cells).values())
        sizes = " to ".join(str(n) for n in dict.fromkeys((per_budget[0], per_budget[-1])))
        why = (
            f"The lowest budgets with {sizes} sizes each, around N_opt of "
            f"{known.prior.name}, place the optimum and show the noise."
        )
        return known.round("pilot", cells, why)
    why = "Other sizes replace those of the pilot that failed."
    return known.round("replace", _affordable(known, cells), why)


def pilot_again(known: Known) -> Round | None:
    """Move the pilot where the fitted optimum is at its edge: the prior was off."""
    pilots = [chosen for chosen, _ in known.rounds if chosen.kind == "pilot"]
    if not 0 < len(pilots) < MAX_PILOTS or known.posterior is None or known.has_had("inform"):
        return None
    # Of the last pilot: its middle at each budget
    cells = [choice.cell for choice in pilots[-1].choices]
    middles = {
        b: float(np.mean([np.log(cell.N) for cell in cells if is_at(cell, b)]))
        for b in known.standing.budgets[:PILOT_BUDGETS]
        if any(is_at(cell, b) for cell in cells)
    }
    off = [known.places[b].centre - middle for b, middle in middles.items()]
    if not off or abs(float(np.median(off))) <= AT_EDGE:
        return None
    found: Cells = []
    for b, middle in middles.items():
        centre = float(np.clip(known.places[b].centre, middle - FARTHEST, middle + FARTHEST))
        place = known.places[b].moved(centre)
        found += [(cell, "pilot, recentred") for cell in place.new_sizes(PILOT_SIZES)]
    factor = float(np.exp(np.median(off)))
    why = (
        f"The runs put N_opt at about {factor:.2g} times the middle of the pilot, at its edge: the "
        "pilot is repeated around it."
    )
    return known.round("pilot", _affordable(known, found), why)


def inform(known: Known) -> Round | None:
    """Train the cells that tell most about the target per FLOP, up to 10 times what is trained."""
    if known.has_had("inform") or known.posterior is None:
        return None
    budgets = [
        budget
        for budget in known.standing.budgets[:-2]
        if budget <= INFORM_REACH * ROUNDING * known.standing.largest()
    ]
    if not budgets:  # Nothing of the pilot has a loss, and no more of it can be paid for
        return None
    cells = _new(known, budgets, MIN_SIZES, "at least four sizes at each budget")
    grid = BASELINE_SIZES * sum(known.standing.budgets)
    spend = min(INFORM_SHARE * grid - known.standing.spent, known.left - _kept_back(known))
    cells += _informative(known, budgets, [cell for cell, _ in cells], spend)
    why = (
        f"Up to {budgets[-1]:.3g} FLOPs, four sizes at each budget and the cells that lower the "
        "error of N_opt and L_opt at the target most per FLOP."
    )
    return known.round("inform", _affordable(known, cells), why)


def next_budget(known: Known) -> Round | None:
    """Give the lowest budgets that lack them four sizes, before the largest one is trained."""
    lacking = [b for b in known.standing.budgets[:-1] if known.standing.n_sizes(b) < MIN_SIZES]
    reach = STEP * ROUNDING * max(known.standing.largest(), lacking[0] / STEP if lacking else 0)
    budgets = [b for b in lacking if b <= reach]
    cells = _affordable(known, _new(known, budgets, MIN_SIZES, "around the refitted optimum"))
    why = (
        f"Four sizes at {_named(budgets)} FLOPs, around the optimum of all runs so far; their "
        "losses are predicted before they are trained."
    )
    return known.round(_kind(known, "next budget", budgets), cells, why)


def top_budget(known: Known) -> Round | None:
    """Give the largest budget two sizes, or four where the budgets are few."""
    top = known.standing.budgets[-1]
    wanted = TOP_SIZES if len(known.standing.budgets) >= ENOUGH_BUDGETS else MIN_SIZES
    has = known.standing.n_sizes(top)
    if has >= wanted and has != MIN_SIZES - 1:
        return None
    cells = _affordable(known, _new(known, [top], wanted, "around the refitted optimum"))
    why = (
        f"{'Two' if wanted == TOP_SIZES else 'Four'} sizes at the largest budget, around the "
        "optimum of all runs so far; their losses are predicted before they are trained."
    )
    return known.round(_kind(known, "top budget", [top]), cells, why)


def fill(known: Known) -> Round | None:
    """Fill the two largest budgets to five sizes where the checks call the form inexact."""
    filled = known.has_had("fill")
    surprises = checked_surprises(known)
    if not filled and not is_flawed(known.misfit, surprises):
        return None
    if filled and all(run.L is not None for run in known.rounds[-1][1]):
        return None
    second, top = known.standing.budgets[-2:]
    why_cell = "the form is inexact: its largest budgets decide"
    for wanted, budgets in (
        (FILL_SIZES, (second, top)),
        (MIN_SIZES, (second, top)),
        (FILL_SIZES, (second,)),
    ):
        cells = _new(known, budgets, wanted, why_cell)
        if cells and _cost(cells) <= known.left:
            break
    else:
        return None
    why = (
        f"The surface does not quite fit ({_reasons(known.misfit, surprises)}): "
        f"{wanted} sizes at {_named(budgets)} FLOPs show the optimum there without it."
    )
    return known.round("replace" if filled else "fill", cells, why)


def checked_surprises(known: Known) -> list[float | None]:
    """Return the p-values of the predictions that count as checks: of the next and top budgets.

    Those of an informing round rest on the pilot alone, whose law is not well enough known.
    """
    return [
        p
        for (chosen, _), p in zip(known.rounds, known.surprises, strict=True)
        if chosen.kind in ("next budget", "top budget")
    ]


def _reasons(misfit: float | None, surprises: Sequence[float | None]) -> str:
    parts = []
    if misfit is not None and misfit < MISFIT_P:
        parts.append(f"lack of fit p = {misfit:.2g}")
    low = [p for p in surprises if p is not None and p < surprise_limit(surprises)]
    if low:
        parts.append(f"losses off their prediction p = {min(low):.2g}")
    return ", ".join(parts)


def _informative(known: Known, budgets: Sequence[float], taken: list[Cell], spend: float) -> Cells:
    """Return further cells by the criterion, as if `taken` were trained."""
    spend -= sum(cell.C for cell in taken)
    offered = [found for budget in budgets for found in known.places[budget].candidates(taken)]
    if spend <= 0 or not offered:
        return []
    log_N, log_D, _ = known.standing.columns()
    new_N, new_D = (np.log([getattr(cell, key) for cell in taken]) for key in ("N", "D"))
    criterion = Criterion.of(
        posterior_draws(known.posterior),
        known.posterior,
        np.concatenate([log_N, new_N]),
        np.concatenate([log_D, new_D]),
        known.question.target,
        known.offer.flops,
    )
    cells = [cell for cell, _ in offered]
    directions = criterion.directions(*(np.log([getattr(c, k) for c in cells]) for k in ("N", "D")))
    costs, runs_left = np.array([cell.C for cell in cells]), np.array([n for _, n in offered])
    chosen = choose(criterion, directions, costs, runs_left, spend)
    why = "tells most about the target per FLOP"
    return [(cells[i].again(chosen[:at].count(i)), why) for at, i in enumerate(chosen)]


def _new(known: Known, budgets: Sequence[float], wanted: int, why: str) -> Cells:
    return [(cell, why) for b in budgets for cell in known.places[b].new_sizes(wanted)]


def _n_shown(known: Known) -> int:
    """Return how many budgets have four sizes."""
    return sum(known.standing.n_sizes(b) >= MIN_SIZES for b in known.standing.budgets)


def _cost(cells: Cells) -> float:
    return sum(cell.C for cell, _ in cells)


def _affordable(known: Known, cells: Cells) -> Cells:
    """Return the cells, or none of them if they cost more than is left."""
    return cells if _cost(cells) <= known.left * (1 + 1e-9) else []


def _kept_back(known: Known) -> float:
    """Return the FLOPs that the next and the top budget need after the informing round."""
    *_, second, top = known.standing.budgets
    missing = {b: MIN_SIZES - known.standing.n_sizes(b) for b in (second, top)}
    if len(known.standing.budgets) >= ENOUGH_BUDGETS:
        missing[top] = TOP_SIZES - known.standing.n_sizes(top)
    return ROUNDING * sum(b * max(n, 0) for b, n in missing.items())


def _assert_affordable(known: Known, cells: Cells) -> None:
    """Refuse a spend that does not hold the pilot, four sizes at each budget, and the top ones."""
    between = known.standing.budgets[PILOT_BUDGETS:-2]
    least = _cost(cells) + ROUNDING * MIN_SIZES * sum(between) + _kept_back(known)
    if least > known.left:
        raise DesignError(
            f"the budgets from {known.standing.budgets[0]:.3g} to "
            f"{known.standing.budgets[-1]:.3g} FLOPs take {least:.3g} FLOPs at least, more than "
            f"the spend of {known.question.spend:.3g}; spend that or lower the budgets"
        )


def _kind(known: Known, kind: Kind, budgets: Sequence[float]) -> Kind:
    """Return the kind of a round, "replace" where runs at its budgets failed before."""
    failed = any(is_at(cell, b) for cell in known.standing.failed for b in budgets)
    return "replace" if failed else kind


def _named(budgets: Sequence[float]) -> str:
    return " and ".join(f"{budget:.3g}" for budget in budgets)
