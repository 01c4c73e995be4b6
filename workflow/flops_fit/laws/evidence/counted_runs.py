"""Which runs count: each once, at the best learning rate of its N and D."""

from __future__ import annotations

import numpy as np

from flops_fit.laws.data.learning_rates import keep_best_learning_rates
from flops_fit.laws.data.table import Exclusion, RunTable
from flops_fit.laws.evidence.judgements import judge_learning_rates
from flops_fit.laws.evidence.trunks import with_suspected_trunks
from flops_fit.laws.judgement.judgement import Judgement, judge


def counted_runs(
    table: RunTable, *, planned: bool
) -> tuple[RunTable, tuple[Exclusion, ...], list[Judgement]]:
    """Return the completed runs that count, the others, and what is to be said of both.

    `planned` runs name their budgets, and each is a training of its own unless it says otherwise.
    """
    kept, copies = count_once(table)
    kept, dropped, choices = keep_best_learning_rates(kept)
    told = [judge("repeated_runs", n=len(copies), of=len(table))] if copies else []
    suspected: list[Judgement] = []
    if not planned:
        kept, suspected = with_suspected_trunks(kept)
    return kept, (*copies, *dropped), [*told, *suspected, *judge_learning_rates(choices)]


def count_once(table: RunTable) -> tuple[RunTable, tuple[Exclusion, ...]]:
    """Leave out rows that equal another to the last digit: copies, not replicates.

    They agree in N, D, C, loss and learning rate, in size, and in the seed if it is known. Two
    trainings with different seeds do not end at the same loss, unless losses are rounded: then the
    column `seed` tells them apart.

    Returns
    -------
    table : RunTable
        With the first of each, in the order of the table.
    excluded : tuple of Exclusion
        The copies, each with the run that it repeats.
    """
    first: dict[tuple[object, ...], int] = {}
    copies: dict[int, int] = {}
    for i in np.flatnonzero(~table.diverged).tolist():
        numbers = (float(getattr(table, name)[i]) for name in ("N", "D", "C", "L"))
        key = (*numbers, repr(float(table.lr[i])), str(table.size[i]), str(table.seed[i]))
        if first.setdefault(key, i) != i:
            copies[i] = first[key]
    keep = np.ones(len(table), dtype=bool)
    keep[list(copies)] = False
    excluded = tuple(
        Exclusion(id=table.id[i], reason=f"repeats {table.id[of]} to the last digit")
        for i, of in copies.items()
    )
    return table.take(keep), excluded
