"""Rounds as the files have them, and as the design knows them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from flops_fit.design.history import Cell, Choice, Round
from flops_fit.design.offer import Offer
from flops_fit.plan.decision import ChosenExperiment, Decision


def round_of(decision: Decision, cells: Sequence[Cell]) -> Round:
    """Return a decision as a round of the design, with the cells of its `chosen`."""
    choices = [_choice(row, cell) for row, cell in zip(decision.chosen, cells, strict=True)]
    return Round(
        number=decision.round,
        kind=decision.kind,
        choices=tuple(choices),
        why=decision.why,
        checks=decision.checks,
    )


def cells_of(
    rows: Sequence[ChosenExperiment], offer: Offer, before: Sequence[ChosenExperiment] = ()
) -> list[Cell]:
    """Return rows as cells of a design.

    Parameters
    ----------
    before
        Rows of earlier rounds: a further run of a size at a budget is its next seed.
    """
    index = {float(N): i for i, N in enumerate(offer.N)}
    seen = [(row.budget, row.n_params_non_embedding) for row in before]
    cells = []
    for row in rows:
        place = (row.budget, row.n_params_non_embedding)
        cells.append(
            Cell(
                budget=row.budget,
                size_index=index.get(float(row.n_params_non_embedding), -1),
                N=float(row.n_params_non_embedding),
                D=float(row.D),
                C=row.C,
                seed=seen.count(place),
            )
        )
        seen.append(place)
    return cells


def _choice(row: ChosenExperiment, cell: Cell) -> Choice:
    loss, std = row.predicted_loss, row.predicted_std
    if loss is None or std is None:
        return Choice(cell=cell, why=row.why)
    return Choice(cell=cell, why=row.why, log_L=math.log(loss), log_L_std=std / loss)


def predicted(choice: Choice) -> dict[str, Any]:
    """Return what a choice predicts as the fields of a row, in nats."""
    if choice.log_L is None or choice.log_L_std is None:
        return {}
    loss = math.exp(choice.log_L)
    return {"predicted_loss": loss, "predicted_std": loss * choice.log_L_std}
