"""Where a learning-rate pilot tries its rates: two sizes at each of the lowest budgets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flops_fit.errors import UserError
from flops_fit.pipeline.designing import Design, sweep_so_far
from flops_fit.plan.layouts import isoflop_grid
from flops_fit.plan.layouts.designed import Ground
from flops_fit.plan.layouts.layout import Cell
from flops_fit.plan.lr_pilot import nearest_sizes, quartiles
from flops_fit.study.study import Study
from flops_fit.user_code.dataset_meta import DatasetMeta

if TYPE_CHECKING:
    from flops_fit.user_code.flops import SizeMeasure

N_BUDGETS = 2
"""Two of them tell a drift with N from one with D."""

_OFFSET = 2.5
"""How far from the optimum of the prior a design's pilot goes: within the 6x of its first round."""


def pilot_cells(
    study: Study, data: DatasetMeta, sizes: Mapping[float, SizeMeasure], folder: Path
) -> list[Cell]:
    """Return the cells of a pilot, by budget and N.

    Parameters
    ----------
    sizes
        Parameters and FLOPs per unit of each size, in ascending order.
    folder
        Of the study.

    Raises
    ------
    UserError
        If the sweep cannot be planned, or a budget has fewer than two sizes.
    """
    if study.plan.designed:
        return _of_design(Ground(study=study, sizes=sizes, data=data), folder)
    layout = isoflop_grid.lay_out(study, sizes, units_per_sample=data.units_per_sample)
    found = []
    for budget in study.plan.budgets[:N_BUDGETS]:
        cells = [cell for cell in layout.cells if cell.budget == budget]
        found += nearest_sizes(cells, sizes, quartiles(cells, sizes))
    return found


def _of_design(ground: Ground, folder: Path) -> list[Cell]:
    """Return sizes on both sides of the optimum that the prior expects."""
    sweep = sweep_so_far(Design(ground=ground, folder=folder, earlier=()))
    found = []
    for budget in sweep.question.budgets[:N_BUDGETS]:
        tried = [ground.cell(budget, size) for size in ground.offered]
        cells = [cell for cell in tried if isinstance(cell, Cell)]
        if len(cells) < 2:
            raise UserError(
                f"{ground.study.config_file}: plan.lr_pilot: the budget {budget:g} is left with "
                f"{len(cells)} sizes that can be trained, expected at least 2"
            )
        centre = math.log(sweep.prior.N_opt(budget, sweep.offer.flops))
        aims = (centre - math.log(_OFFSET), centre + math.log(_OFFSET))
        found += nearest_sizes(cells, ground.sizes, aims)
    return found
