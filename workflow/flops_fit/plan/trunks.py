"""Trunks of a grid: which experiments share one, and what that saves.

At a constant learning rate, the beginning of a long training is that of a shorter one, which only
has to branch off for its decay (Haegele et al. 2024, arXiv 2405.18392, section 5).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from flops_fit.errors import UserError
from flops_fit.plan.experiment import PlannedExperiment
from flops_fit.study.spec import Spec
from flops_fit.study.study import Study

_VALUES = {"batch": "batch", "lr": "learning rate (or one grid of them)"}


def check_trunks(study: Study, specs: Iterable[Spec]) -> None:
    """Check that the experiments of a size and a seed share their trunks.

    Raises
    ------
    UserError
        If batches, or learning rates, differ between the budgets of a size: no training passes from
        one to the other.
    """
    found: dict[tuple[str, float, int], dict[int, set[float]]] = {}
    for spec in specs:
        for key in _VALUES:
            at_lengths = found.setdefault((key, spec.size, spec.seed), {})
            at_lengths.setdefault(spec.D, set()).add(getattr(spec, key))
    for (key, size, _), at_lengths in found.items():
        first, *others = at_lengths.values()
        if any(other != first for other in others):
            values = sorted(first.union(*others))
            raise UserError(
                f"{study.config_file}: train.{key}: found {', '.join(f'{v:g}' for v in values)} at "
                f"the budgets of size {size:g}, expected one {_VALUES[key]} for all of them: with "
                "plan.trunks they share their beginning"
            )


def trunks(specs: Mapping[str, Spec]) -> dict[str, list[str]]:
    """Return the ids of the experiments that branch off each trunk, the shortest first."""
    found: dict[str, list[str]] = {}
    for run_id in sorted(specs, key=lambda one: specs[one].D):
        found.setdefault(specs[run_id].trunk, []).append(run_id)
    return found


def flops_with_trunks(experiments: Iterable[PlannedExperiment], specs: Mapping[str, Spec]) -> float:
    """Return what a sweep costs if its beginnings are trained once, in FLOPs.

    The longest experiment of each trunk is trained whole (the trunk is a part of it), of every
    other one its decay alone.
    """
    steps = steps_with_trunks(specs)
    return sum(row.flops_per_unit * steps[row.id] * specs[row.id].batch for row in experiments)


def steps_with_trunks(specs: Mapping[str, Spec]) -> dict[str, int]:
    """Return how many steps of each experiment are trained for it alone, its trunk's for the
    longest."""
    steps = {}
    for *shorter, longest in trunks(specs).values():
        steps[longest] = specs[longest].steps
        steps |= {one: specs[one].steps - specs[one].decay_start for one in shorter}
    return steps


def lines_on_trunks(
    experiments: Sequence[PlannedExperiment], specs: Mapping[str, Spec]
) -> list[str]:
    """Return what the plan says of its trunks: the price, and what it costs in the answer."""
    whole = sum(row.C for row in experiments)
    shared = flops_with_trunks(experiments, specs)
    return [
        f"{len(trunks(specs))} trunks: {shared:.3e} training FLOPs instead of {whole:.3e} "
        f"({shared / whole:.2f} times as much).",
        "What that costs: runs along a trunk share their fortune and tell less than as many of "
        "their own, so that",
        "intervals count a trunk as one training; and all budgets have one learning rate and one "
        "batch. In a prototype",
        "N_opt came out 3 to 20% higher.",
        "",
    ]
