"""What a statistician would say about runs, profiles, laws and predictions.

Each function returns a list, which is empty if there is nothing to say.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from flops_fit.laws.data.learning_rates import CellChoice
from flops_fit.laws.data.table import RunTable
from flops_fit.laws.evidence.optima_scatter import OptimaScatter
from flops_fit.laws.evidence.units import NATS_PER_UNIT, judge_units
from flops_fit.laws.forms.parabola import ParabolaDesign
from flops_fit.laws.forms.power_law import PowerLaw
from flops_fit.laws.judgement.judgement import Judgement, judge
from flops_fit.laws.results import Point, Prediction, Profile

MIN_BUDGETS_FOR_TEST = 3
"""Two points determine a straight line, and nothing shows whether a law is one."""

MIN_BUDGETS_FOR_LINE = 2

NO_EXPONENT = 1e-9
"""Exponents, and relative changes of the loss, below this are a regression's rounding of 0."""

SIGNIFICANCE = 0.05
CENTRAL = (0.25, 0.75)
"""Positions in the range of log N that count as the middle of a profile."""

MIN_MOVE = 0.01
"""Move of log N_opt by weights that is told: 1% is below the noise of any profile."""

MAX_DRIFT = 0.25
"""Travel through the range of log N, from the first to the last budget, that counts as drift."""

MAX_BUDGET_ERROR = 0.01
"""Relative difference of C from the budget that a plan allows."""

MAX_EXTRAPOLATION = 10.0
MAX_6ND_ERROR = 0.05

MAX_FLOPS_SPREAD = 0.2
"""Relative difference of C/(N D) from that of runs of similar N which counts as inconsistent:
shapes of one size differ by less."""

MAX_FLOPS_STEP = 2.0
"""The same as a ratio, for the smallest and the largest size, which have neighbours on one side
only: C/(N D) of small models changes steeply with N."""

FLOPS_NEIGHBOURS = 2
"""Runs on each side, in order of N, that give the usual C/(N D): a median over 5."""

MAX_NATS = 20.0
"""A uniform guess among exp(20) = 485 million symbols: no tokenizer has as many."""

MAX_NATS_PER_BYTE = float(np.log(256))
"""A uniform guess among all bytes."""

OTHER_UNIT = "other"
"""The unit of a loss of which nothing is known, and no value impossible."""


def judge_runs(
    runs: RunTable, *, planned: bool = True, loss_unit: str | None = NATS_PER_UNIT
) -> list[Judgement]:
    """Judge the data behind every approach.

    Parameters
    ----------
    planned
        Whether the runs name their budgets.
    loss_unit
        See `judge_units`.
    """
    return (
        _judge_losses(runs, loss_unit)
        + judge_units(runs, loss_unit)
        + (_judge_budgets(runs) if planned else [])
        + _judge_6nd(runs)
        + _judge_flops(runs)
    )


def judge_learning_rates(choices: Sequence[CellChoice]) -> list[Judgement]:
    """Judge whether the learning rates that were tried enclose the best one."""
    at_edge = [choice for choice in choices if choice.best in (choice.tried[0], choice.tried[-1])]
    if not at_edge:
        return []
    cells = [
        {
            "budget": choice.budget,
            "size": choice.size,
            "D": choice.D,
            "best": choice.best,
            "side": "smallest" if choice.best == choice.tried[0] else "largest",
            "tried": len(choice.tried),
        }
        for choice in at_edge
    ]
    return [judge("learning_rate_at_edge", n=len(at_edge), of=len(choices), cells=cells)]


def judge_profiles(profiles: Sequence[Profile], points: Sequence[Point]) -> list[Judgement]:
    """Judge profiles that have a minimum, ascending in C, with the points at their vertices."""
    found = []
    for profile, point in zip(profiles, points, strict=True):
        if point.at_edge:
            found.append(
                judge(
                    "minimum_at_edge",
                    C=profile.C,
                    lowest=profile.N[np.argmin(profile.L)],
                    vertex=point.N_opt,
                    smallest=profile.N.min(),
                    largest=profile.N.max(),
                )
            )
        elif not CENTRAL[0] <= profile.position <= CENTRAL[1]:
            found.append(judge("off_centre_grid", C=profile.C, position=profile.position))
        if profile.curvature_p_value is None:
            found.append(judge("curvature_untested", C=profile.C, n=profile.N.size))
        elif profile.curvature_p_value > SIGNIFICANCE:
            found.append(
                judge("curvature_not_significant", C=profile.C, p_value=profile.curvature_p_value)
            )
    return found + _judge_drift(profiles)


def judge_support(points: Sequence[Point]) -> list[Judgement]:
    """Say where fewer than three optima are enclosed by sizes and others are at an edge."""
    edge = sum(point.at_edge for point in points)
    inside = len(points) - edge
    if not edge or inside >= MIN_BUDGETS_FOR_TEST:
        return []
    return [judge("laws_on_edge_minima", inside=inside, of=len(points))]


def judge_weights(profiles: Sequence[Profile]) -> list[Judgement]:
    """Say where weights against outliers moved a minimum, from where to where."""
    moved = []
    for profile in profiles:
        if profile.weights.min() == 1 or not profile.has_minimum:
            continue
        log_N = np.log(profile.N)
        equal = float(ParabolaDesign.of(log_N).fit(profile.L).vertex)
        if np.isfinite(equal) and abs(equal - profile.log_N_opt) <= MIN_MOVE:
            continue
        # Beyond a factor e of the sizes, or without a minimum, there is no number to compare with
        near = log_N.min() - 1 < equal < log_N.max() + 1
        moved.append(
            {
                "C": profile.C,
                "equal": float(np.exp(equal)) if near else None,
                "weighted": float(np.exp(profile.log_N_opt)),
            }
        )
    return [judge("weights_moved_minimum", profiles=moved)] if moved else []


def judge_laws(N_opt: PowerLaw, D_opt: PowerLaw, points: Sequence[Point]) -> list[Judgement]:
    """Judge the laws of an approach against the points that they rest on."""
    found = []
    if len(points) < MIN_BUDGETS_FOR_TEST:
        found.append(judge("few_budgets", n=len(points), needed=MIN_BUDGETS_FOR_TEST))
    for quantity, law in (("N_opt", N_opt), ("D_opt", D_opt)):
        if abs(law.exponent) < NO_EXPONENT:
            found.append(judge("law_is_constant", quantity=quantity))
        elif law.exponent < 0:
            found.append(judge("law_falls", quantity=quantity, exponent=law.exponent))
    return found + _judge_progress(points)


def judge_scatter(scatter: OptimaScatter) -> list[Judgement]:
    """Say where the optima scatter about their law by more than noise explains."""
    if not scatter.is_significant:
        return []
    return [judge("scattered_optima", ratio=scatter.ratio, p_value=scatter.p_value)]


def judge_predictions(
    predictions: Sequence[Prediction], *, budgets: Collection[float], sizes: tuple[float, float]
) -> list[Judgement]:
    """Judge how far predictions reach beyond the measured budgets and sizes (smallest, largest)."""
    found = []
    largest = max(budgets)
    far = [p.C for p in predictions if p.C / largest > MAX_EXTRAPOLATION]
    if far:
        found.append(judge("extrapolation", C=far, times=max(far) / largest, largest=largest))
    smallest_N, largest_N = sizes
    beyond = [p.C for p in predictions if not smallest_N <= p.N_opt <= largest_N]
    if beyond:
        found.append(
            judge("prediction_beyond_sizes", C=beyond, smallest=smallest_N, largest=largest_N)
        )
    return found


def _judge_drift(profiles: Sequence[Profile]) -> list[Judgement]:
    positions = np.array([profile.position for profile in profiles])
    steps = np.diff(positions)
    one_way = len(positions) >= MIN_BUDGETS_FOR_TEST and (np.all(steps > 0) or np.all(steps < 0))
    if not one_way or abs(positions[-1] - positions[0]) <= MAX_DRIFT:
        return []
    return [judge("drifting_grids", first=positions[0], last=positions[-1])]


def _judge_progress(points: Sequence[Point]) -> list[Judgement]:
    """Say whether the loss at the optima fails to fall with compute."""
    C, L = (np.array([getattr(point, name) for point in points]) for name in ("C", "L_opt"))
    if np.unique(C).size < MIN_BUDGETS_FOR_LINE:
        return []
    first, last = np.argmin(C), np.argmax(C)
    rise = np.polyfit(np.log(C), L, 1)[0] * np.log(C[last] / C[first])
    if rise < -NO_EXPONENT * np.abs(L).max():
        return []
    return [
        judge(
            "loss_does_not_fall",
            first_C=C[first],
            first_L=L[first],
            last_C=C[last],
            last_L=L[last],
        )
    ]


def highest_loss(loss_unit: str | None) -> float:
    """Return the loss, in its unit, of a guess that no training ends above."""
    unit = loss_unit or NATS_PER_UNIT
    limit = MAX_NATS_PER_BYTE if unit.endswith("_per_byte") else MAX_NATS
    return limit / float(np.log(2)) if unit.startswith("bits_") else limit


def _judge_losses(runs: RunTable, loss_unit: str | None) -> list[Judgement]:
    if loss_unit == OTHER_UNIT:
        return []
    limit = highest_loss(loss_unit)
    wrong = (runs.L <= 0) | (runs.L > limit)
    if not wrong.any():
        return []
    return [
        judge(
            "losses_not_nats",
            n=wrong.sum(),
            of=len(runs),
            lowest=runs.L.min(),
            highest=runs.L.max(),
            limit=limit,
            unit="nats per token" if loss_unit is None else loss_unit.replace("_", " "),
        )
    ]


def _judge_budgets(runs: RunTable) -> list[Judgement]:
    error = np.abs(runs.C / runs.budget - 1)
    # A little more than the plan allows, since budgets and C may have been written rounded
    wrong = error > 1.01 * MAX_BUDGET_ERROR
    if not wrong.any():
        return []
    return [
        judge(
            "compute_off_budget",
            n=wrong.sum(),
            of=len(runs),
            limit=MAX_BUDGET_ERROR,
            largest=error.max(),
        )
    ]


def _judge_6nd(runs: RunTable) -> list[Judgement]:
    known = np.isfinite(runs.C_6nd)
    if not known.any():
        return []
    error = float(np.median(runs.C_6nd[known] / runs.C[known])) - 1
    if abs(error) <= MAX_6ND_ERROR:
        return []
    return [judge("compute_differs_from_6nd", difference=error)]


def _judge_flops(runs: RunTable) -> list[Judgement]:
    """Compare C/(N D) of each run with the median over its neighbours in N.

    A median, not the interpolated flops_per_unit: if every run has its own N, that passes through
    all runs, however inconsistent they are.
    """
    if len(runs) <= 2 * FLOPS_NEIGHBOURS:
        return []
    order = np.lexsort((runs.D, runs.N))
    per_unit = np.log(runs.C / runs.N / runs.D)[order]
    # Mirrored at the ends: the first and the last are compared with their neighbour
    padded = np.pad(per_unit, FLOPS_NEIGHBOURS, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * FLOPS_NEIGHBOURS + 1)
    usual = np.median(windows, axis=1)
    error = np.abs(per_unit - usual)
    limit = np.full(len(runs), np.log1p(MAX_FLOPS_SPREAD))
    limit[[0, -1]] = np.log(MAX_FLOPS_STEP)
    wrong = error > limit
    if not wrong.any():
        return []
    worst = int(np.argmax(error))
    return [
        judge(
            "inconsistent_compute",
            n=wrong.sum(),
            of=len(runs),
            limit=MAX_FLOPS_SPREAD,
            worst=runs.id[order][worst],
            found=np.exp(per_unit[worst]),
            usual=np.exp(usual[worst]),
        )
    ]
