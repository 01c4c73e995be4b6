"""Whether there is data enough: for the experiments of a plan, and for its target."""

from __future__ import annotations

import numpy as np

from flops_fit.laws.forms.surface import Surface, optimal_log_N
from flops_fit.plan.layouts.designed import Ground
from flops_fit.plan.plan import Plan
from flops_fit.plan.summary import repeating


def data_budget(ground: Ground, plan: Plan, target: float, law: Surface | None = None) -> list[str]:
    """Return lines about repeated data: of experiments, and of the target.

    Parameters
    ----------
    target
        FLOPs.
    law
        Where the target's optimum is expected; None goes by the study's prior.
    """
    units, most = ground.data.units_train, ground.study.plan.max_epochs
    lines = []
    repeated = [row for row in plan.experiments if row.epochs > 1]
    if repeated:
        largest = max(row.epochs for row in repeated)
        lines.append(
            f"{repeating(len(repeated))} training data, up to {largest:.3g} epochs "
            f"(plan.max_epochs: {most:g})."
        )
    offer = ground.offer
    if law is None:
        law = ground.prior(max(row.budget for row in plan.experiments)).surface
    row = law.to_row()[np.newaxis]
    N = float(np.exp(optimal_log_N(row, np.array([target]), offer.flops)[0, 0]))
    D = target / float(offer.flops.flops_per_unit(np.array([N]))[0])
    if D > most * units:
        unit = plan.unit
        lines.append(
            f"Warning: the target itself needs about {D:.3g} {unit}s at N_opt (about {N:.3g} "
            f"parameters), {D / units:.3g} epochs of the {units:.3g} {unit}s of the training "
            f"split, more than plan.max_epochs {most:g}: the answer for it assumes new data."
        )
    return [*lines, ""] if lines else []
