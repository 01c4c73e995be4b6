"""A learning-rate pilot: a few rates at two sizes of the lowest budgets, before the sweep.

Its experiments are ordinary ones in a folder of their own, ``results/<study>/lr_pilot/``: they
decide the learning rates of the sweep, and are none of its runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from flops_fit.errors import UserError
from flops_fit.plan.experiment import PlannedExperiment
from flops_fit.plan.layouts.layout import Cell
from flops_fit.plan.layouts.recipe import learning_rates
from flops_fit.plan.pilot_rates import Losses, Optimum, drift_of, next_factors, optimum_of
from flops_fit.plan.plan import Plan, experiment_spec, planned_experiment
from flops_fit.study.identity import fingerprint
from flops_fit.study.recipe_rules import LrFactor, rounded
from flops_fit.study.study import Study
from flops_fit.user_code.dataset_meta import DatasetMeta

if TYPE_CHECKING:
    from flops_fit.user_code.flops import SizeMeasure


@dataclass(frozen=True, slots=True, kw_only=True)
class PilotExperiment(PlannedExperiment):
    """A row of a wave of the pilot."""

    factor: float  # its rate over that of train.lr

    @property
    def planned(self) -> PlannedExperiment:
        """The experiment alone."""
        return PlannedExperiment(
            **{one.name: getattr(self, one.name) for one in fields(PlannedExperiment)}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PilotDecision:
    """What the pilot found."""

    optima: tuple[Optimum, ...]
    power_n: tuple[float, float]  # estimate and standard deviation
    power_d: tuple[float, float] | None
    rule: LrFactor


def quartiles(cells: Sequence[Cell], sizes: Mapping[float, SizeMeasure]) -> tuple[float, float]:
    """Return the quartiles of the range of log N of a budget's cells.

    The ends of a budget would tell more about a drift, but are far from where the optimum is.
    """
    log_n = [math.log(sizes[cell.size].n_params_non_embedding) for cell in cells]
    low, high = min(log_n), max(log_n)
    return (3 * low + high) / 4, (low + 3 * high) / 4


def nearest_sizes(
    cells: Sequence[Cell], sizes: Mapping[float, SizeMeasure], aims: Sequence[float]
) -> list[Cell]:
    """Return the cell of a budget whose log N is nearest to each aim, all different, by N."""
    log_n = {cell.size: math.log(sizes[cell.size].n_params_non_embedding) for cell in cells}
    chosen: list[Cell] = []
    for aim in aims:
        left = [cell for cell in cells if cell not in chosen]
        chosen.append(min(left, key=lambda cell: (abs(log_n[cell.size] - aim), cell.size)))
    return sorted(chosen, key=lambda cell: log_n[cell.size])


def pilot_key(study: Study, data: DatasetMeta) -> str:
    """Return what a pilot belongs to: all of the recipe but the sizes, budgets and seeds.

    Batches and learning rates count as they are written.
    """
    cell = Cell(budget=1.0, size=1, steps=1, batch=1)
    spec = experiment_spec(study, data, cell, lr=1.0, seed=0).to_json()
    train = study.config["train"]
    return fingerprint({"spec": spec, "lr": train["lr"], "batch": train["batch"]})


def wave(
    study: Study,
    data: DatasetMeta,
    sizes: Mapping[float, SizeMeasure],
    cells: Sequence[Cell],
    losses: Mapping[tuple[float, float], Losses],
) -> list[PilotExperiment]:
    """Return the experiments to train next; none once every minimum lies between its rates.

    Parameters
    ----------
    cells
        Those of the pilot.
    losses
        By (budget, size): what was trained already, by its factor of train.lr.

    Raises
    ------
    UserError
        If an experiment cannot be planned.
    """
    rows = []
    for cell in cells:
        measure = sizes[cell.size]
        (base,) = learning_rates(study, cell.budget, measure.n_params_non_embedding, cell.D)
        for factor in next_factors(losses.get((cell.budget, cell.size), {})):
            row, _ = planned_experiment(
                study, measure, data, cell, lr=rounded(base * factor), seed=study.plan.seeds[0]
            )
            values = {one.name: getattr(row, one.name) for one in fields(row)}
            rows.append(PilotExperiment(**values, factor=factor))
    return rows


def plan_of_pilot(study: Study, data: DatasetMeta, rows: Sequence[PilotExperiment]) -> Plan:
    """Return the experiments of all waves so far, with their specs."""
    specs = {}
    for row in rows:
        cell = Cell(budget=row.budget, size=row.size, steps=row.steps, batch=row.batch)
        specs[row.id] = experiment_spec(study, data, cell, lr=row.lr, seed=row.seed)
    experiments = tuple(row.planned for row in rows)
    return Plan(study=study.name, unit=data.unit, experiments=experiments, specs=specs, dropped=())


def decide(
    study: Study,
    rows: Sequence[PilotExperiment],
    losses: Mapping[tuple[float, float], Losses],
) -> PilotDecision:
    """Return the optimum of each size, its drift, and the rule that follows.

    Raises
    ------
    UserError
        If every run of a size diverged.
    """
    found = []
    places = {(row.budget, row.size): row for row in rows}
    for (budget, size), row in places.items():
        N, D = row.n_params_non_embedding, row.D
        optimum = optimum_of(losses[budget, size], budget=budget, size=size, N=N, D=D)
        if optimum is None:
            lowest = min(one.lr for one in rows if (one.budget, one.size) == (budget, size))
            raise UserError(
                f"{study.config_file}: train.lr: every run of the learning-rate pilot at size "
                f"{size:g} and budget {budget:g} diverged, down to the rate {lowest:g}; expected a "
                "lower rate to begin with"
            )
        found.append(optimum)
    drift = drift_of(found)
    return PilotDecision(
        optima=tuple(found), power_n=drift.power_n, power_d=drift.power_d, rule=drift.rule
    )


def decision_text(
    study: Study,
    decision: PilotDecision,
    rows: Sequence[PilotExperiment],
    losses: Mapping[tuple[float, float], Losses],
    range_of_n: tuple[float, float],
) -> str:
    """Return the decision in words.

    Parameters
    ----------
    range_of_n
        Smallest and largest non-embedding N of the study's sizes.
    """
    rule = decision.rule
    lines = [
        f"# Learning-rate pilot of the study {study.name}",
        "",
        f"**Learning rate of the sweep: {rule}**",
        "",
        "| budget (FLOPs) | size | N | D | best lr | of train.lr | losses by lr |",
        "|---|---|---|---|---|---|---|",
    ]
    notes = []
    for one in decision.optima:
        tried = sorted(
            (row for row in rows if (row.budget, row.size) == (one.budget, one.size)),
            key=lambda row: row.lr,
        )
        base = tried[0].lr / tried[0].factor
        best = math.exp(one.log_factor)
        pairs = ", ".join(
            f"{row.lr:.3g}: {_loss(losses[one.budget, one.size][row.factor])}" for row in tried
        )
        lines.append(
            f"| {one.budget:.4g} | {one.size:g} | {one.N:,} | {one.D:,} | {base * best:.3g} "
            f"| {best:.3g} (times or over {math.exp(one.std):.3g}) | {pairs} |"
        )
        if one.edge:
            notes.append(
                f"The best rate of size {one.size:g} at {one.budget:.3g} FLOPs is the "
                f"{'lowest' if one.edge == 'below' else 'highest'} of {one.n_rates} tried: its "
                f"minimum lies {one.edge} them, and the rule is a guess there."
            )
    lines += ["", f"Drift of the best rate over train.lr: {_drift(decision)}."]
    ends = (f"{rule.at(N, rule.d):.3g} at N = {N:,}" for N in range_of_n)
    lines += [f"Over the study's sizes its factor is {' and '.join(ends)} (D = {rule.d:.3g})."]
    lines += ["", *notes] if notes else []
    return "\n".join(lines) + "\n"


def tuned_note(study: Study) -> str:
    """Return a paragraph for a plan whose learning rates a pilot decided, else nothing."""
    if study.lr_factor is None:
        return ""
    return f"\nLearning rates by the pilot (lr_pilot/decision.md): {study.lr_factor}\n"


def _drift(decision: PilotDecision) -> str:
    parts = []
    for letter, found, kept in (
        ("N", decision.power_n, decision.rule.power_n),
        ("D", decision.power_d, decision.rule.power_d),
    ):
        if found is None:
            parts.append("along the one budget of the pilot, where D falls as N grows")
            continue
        use = "in the rule" if kept else "within the noise, left out"
        parts.append(f"{letter}^({found[0]:.2f} +- {found[1]:.2f}) ({use})")
    return ", ".join(parts)


def _loss(loss: float | None) -> str:
    return "diverged" if loss is None else f"{loss:.4g}"


def stored_decision(decision: PilotDecision) -> dict[str, Any]:
    """Return the decision as plain objects."""
    rule = {one.name: getattr(decision.rule, one.name) for one in fields(LrFactor)}
    optima = [{f.name: getattr(one, f.name) for f in fields(Optimum)} for one in decision.optima]
    return {
        "rule": rule,
        "power_n": list(decision.power_n),
        "power_d": None if decision.power_d is None else list(decision.power_d),
        "optima": optima,
    }
