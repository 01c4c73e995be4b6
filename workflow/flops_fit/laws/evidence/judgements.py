"""What a statistician would object to: one sentence each, with the numbers.

Every function returns a list that is empty where there is nothing to say.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from flops_fit.laws.approaches.optima_scatter import OptimaScatter
from flops_fit.laws.data.table import CellChoice, RunTable
from flops_fit.laws.forms.power_law import PowerLaw
from flops_fit.laws.results import Point, Prediction, Profile

MIN_BUDGETS_FOR_TEST = 3
"""Two points determine a straight line, and nothing shows whether a law is one."""

MIN_BUDGETS_FOR_LINE = 2

NO_EXPONENT = 1e-9
"""Exponents, and relative changes of the loss, below this are a regression's rounding of 0."""

SIGNIFICANCE = 0.05
CENTRAL = (0.25, 0.75)
"""Positions in the range of log N that count as the middle of a profile."""

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
alone: C/(N D) of small models changes steeply with N."""

FLOPS_NEIGHBOURS = 2
"""Runs on each side, in the order of N, that tell the usual C/(N D): a median over 5."""

MAX_NATS = 20.0
"""A uniform guess among exp(20) = 485 million symbols: no tokenizer has as many."""


def judge_runs(runs: RunTable, *, planned: bool = True) -> list[str]:
    """Judge the data that every approach rests on; `planned` where the runs name their budgets."""
    return (
        _judge_losses(runs)
        + (_judge_budgets(runs) if planned else [])
        + _judge_duplicates(runs)
        + _judge_epochs(runs)
        + _judge_6nd(runs)
        + _judge_flops(runs)
    )


def judge_learning_rates(choices: Sequence[CellChoice]) -> list[str]:
    """Judge whether the learning rates that were tried enclose the best one."""
    at_edge = [choice for choice in choices if choice.best in (choice.tried[0], choice.tried[-1])]
    if not at_edge:
        return []
    cells = "; ".join(
        f"budget {choice.budget:.3g}, size {choice.size}: {choice.best:g} is the "
        f"{'smallest' if choice.best == choice.tried[0] else 'largest'} of {len(choice.tried)}"
        for choice in at_edge
    )
    return [
        f"The best learning rate lies at the edge of its grid in {len(at_edge)} of "
        f"{len(choices)} cells ({cells})."
    ]


def judge_profiles(profiles: Sequence[Profile], points: Sequence[Point]) -> list[str]:
    """Judge profiles that have a minimum, ascending in C, with the points at their vertices."""
    warnings = []
    for profile, point in zip(profiles, points, strict=True):
        name = f"C = {profile.C:.3g}"
        if point.at_edge:
            low, high = profile.N.min(), profile.N.max()
            lowest = profile.N[np.argmin(profile.L)]
            warnings.append(
                f"The minimum at {name} lies at the edge of its profile: the lowest run has N = "
                f"{lowest:.3g} and the vertex {point.N_opt:.3g}, of sizes {low:.3g} to {high:.3g}."
            )
        elif not CENTRAL[0] <= profile.position <= CENTRAL[1]:
            warnings.append(
                f"The grid at {name} is off-centre: its minimum lies at {profile.position:.0%} of "
                "the range of log N, which shifts the vertex of a parabola."
            )
        if profile.curvature_p_value is None:
            warnings.append(
                f"The parabola at {name} interpolates its {profile.N.size} runs: nothing tests "
                "its curvature."
            )
        elif profile.curvature_p_value > SIGNIFICANCE:
            warnings.append(
                f"The curvature at {name} is not significant (p = "
                f"{profile.curvature_p_value:.2g}): its minimum may be noise."
            )
    return warnings + _judge_drift(profiles)


def judge_laws(N_opt: PowerLaw, D_opt: PowerLaw, points: Sequence[Point]) -> list[str]:
    """Judge the laws of an approach against the points that they rest on."""
    warnings = []
    if len(points) < MIN_BUDGETS_FOR_TEST:
        warnings.append(
            f"The laws rest on {len(points)} budgets, fewer than {MIN_BUDGETS_FOR_TEST}: a line "
            "through two points fits perfectly, whatever the truth."
        )
    for name, law in (("N_opt", N_opt), ("D_opt", D_opt)):
        if abs(law.exponent) < NO_EXPONENT:
            warnings.append(f"{name} does not change with C (exponent 0).")
        elif law.exponent < 0:
            warnings.append(f"{name} falls with C (exponent {law.exponent:.3g}).")
    return warnings + _judge_progress(points)


def judge_scatter(scatter: OptimaScatter) -> list[str]:
    """Say where the optima scatter about their law by more than noise explains."""
    if scatter.widening == 1:
        return []
    return [
        f"The minima scatter {scatter.ratio:.2g} times as much about the law of N_opt as the noise "
        f"of their profiles explains (p = {scatter.p_value:.2g}): budgets differ in more than C, "
        "or no power law joins them. Intervals of N_opt and D_opt take that into account."
    ]


def judge_predictions(
    predictions: Sequence[Prediction], *, budgets: Collection[float], sizes: tuple[float, float]
) -> list[str]:
    """Judge how far predictions reach beyond the measured budgets and sizes (smallest, largest)."""
    warnings = []
    largest = max(budgets)
    far = [p.C for p in predictions if p.C / largest > MAX_EXTRAPOLATION]
    if far:
        warnings.append(
            f"The predictions for C = {', '.join(f'{C:.3g}' for C in far)} extrapolate up to "
            f"{max(far) / largest:.3g} times beyond the largest budget, {largest:.3g}."
        )
    beyond = [p for p in predictions if not sizes[0] <= p.N_opt <= sizes[1]]
    if beyond:
        warnings.append(
            f"The predicted N_opt for C = {', '.join(f'{p.C:.3g}' for p in beyond)} lies beyond "
            f"the measured sizes {sizes[0]:.3g} to {sizes[1]:.3g}, where flops_per_unit/N keeps "
            "its end value."
        )
    return warnings


def _judge_drift(profiles: Sequence[Profile]) -> list[str]:
    positions = np.array([profile.position for profile in profiles])
    steps = np.diff(positions)
    one_way = len(positions) >= MIN_BUDGETS_FOR_TEST and (np.all(steps > 0) or np.all(steps < 0))
    if not one_way or abs(positions[-1] - positions[0]) <= MAX_DRIFT:
        return []
    return [
        f"The grids drift: from the smallest to the largest budget the minimum moves from "
        f"{positions[0]:.0%} to {positions[-1]:.0%} of the range of log N, which biases the "
        "exponents."
    ]


def _judge_progress(points: Sequence[Point]) -> list[str]:
    """Say whether the loss at the optima fails to fall with compute."""
    C, L = (np.array([getattr(point, name) for point in points]) for name in ("C", "L_opt"))
    if np.unique(C).size < MIN_BUDGETS_FOR_LINE:
        return []
    first, last = np.argmin(C), np.argmax(C)
    rise = np.polyfit(np.log(C), L, 1)[0] * np.log(C[last] / C[first])
    if rise < -NO_EXPONENT * np.abs(L).max():
        return []
    return [
        f"L_opt does not fall with C: it is {L[first]:.4g} at C = {C[first]:.3g} and {L[last]:.4g} "
        f"at {C[last]:.3g}. More compute did not help, so that these optima do not say how to "
        "spend it: look at learning rates, diverged runs and the columns C and loss."
    ]


def _judge_losses(runs: RunTable) -> list[str]:
    wrong = (runs.L <= 0) | (runs.L > MAX_NATS)
    if not wrong.any():
        return []
    return [
        f"The loss of {wrong.sum()} of {len(runs)} runs cannot be nats per token: the losses range "
        f"from {runs.L.min():.3g} to {runs.L.max():.3g}, not within 0 to {MAX_NATS:g}."
    ]


def _judge_budgets(runs: RunTable) -> list[str]:
    error = np.abs(runs.C / runs.budget - 1)
    # A little more than the plan allows, since budgets and C may have been written rounded
    wrong = error > 1.01 * MAX_BUDGET_ERROR
    if not wrong.any():
        return []
    return [
        f"C of {wrong.sum()} of {len(runs)} runs differs from its budget by more than "
        f"{MAX_BUDGET_ERROR:.0%} (up to {error.max():.1%}): their losses are not at one C."
    ]


def _judge_duplicates(runs: RunTable) -> list[str]:
    rows = np.stack([runs.N, runs.D, runs.C, runs.L])
    repeated = len(runs) - np.unique(rows, axis=1).shape[1]
    if not repeated:
        return []
    return [
        f"{repeated} of {len(runs)} runs repeat another in N, D, C and loss to the last digit: "
        "each copy counts, as if it had been trained."
    ]


def _judge_epochs(runs: RunTable) -> list[str]:
    repeated = runs.epochs > 1
    if not repeated.any():
        return []
    most = runs.epochs[repeated].max()
    return [
        f"{repeated.sum()} of {len(runs)} runs repeat data (up to {most:.3g} epochs), which "
        "helps less than new data."
    ]


def _judge_6nd(runs: RunTable) -> list[str]:
    known = np.isfinite(runs.C_6nd)
    if not known.any():
        return []
    error = float(np.median(runs.C_6nd[known] / runs.C[known])) - 1
    if abs(error) <= MAX_6ND_ERROR:
        return []
    return [
        f"6ND differs from the FLOPs really spent by {error:+.1%} (median): do not compare these "
        "laws with laws in 6ND."
    ]


def _judge_flops(runs: RunTable) -> list[str]:
    """Compare C/(N D) of each run with the median over its neighbours in N.

    A median, not the interpolated flops_per_unit: where every run has an N of its own, that passes
    through all of them, whatever they say.
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
        f"C does not go with N and D in {wrong.sum()} of {len(runs)} runs: C/(N D) differs from "
        f"that of runs of similar N by more than {MAX_FLOPS_SPREAD:.0%}; the worst, "
        f"{runs.id[order][worst]}, has {np.exp(per_unit[worst]):.3g} where "
        f"{np.exp(usual[worst]):.3g} is usual. Check these columns: C decides which sizes are "
        "compared."
    ]
