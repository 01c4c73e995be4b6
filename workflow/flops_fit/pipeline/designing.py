"""Plans one round of a design: what is trained next, from the runs of the rounds before."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np

from flops_fit.design.history import Choice, Round, Trained
from flops_fit.design.known import MIN_FITTED
from flops_fit.design.posterior import fit_posterior
from flops_fit.design.precision import spend_for
from flops_fit.design.rounds import next_round
from flops_fit.design.simulation import Designed, History
from flops_fit.errors import UserError
from flops_fit.files.writing import write_json, write_whole
from flops_fit.laws.forms.surface import Surface
from flops_fit.pipeline.foreseeing import foresee_design
from flops_fit.pipeline.measuring import sizes_once
from flops_fit.pipeline.own_runs import (
    has_begun,
    losses_of,
    runs_along,
    still_meant,
)
from flops_fit.pipeline.present_code import refusal_of_code
from flops_fit.pipeline.to_train import needs_no_record
from flops_fit.plan.decision import (
    BROUGHT_ALONG,
    DONE,
    Asked,
    ChosenExperiment,
    Decision,
    decided_rounds,
    decision_file,
    read_decision,
    round_csv,
)
from flops_fit.plan.design_text import design_headline, design_summary, round_text
from flops_fit.plan.experiment import PlannedExperiment
from flops_fit.plan.files import DESIGN_FOLDER, PLAN_FILE, plan_csv, plan_specs
from flops_fit.plan.layouts.decided import cells_of, predicted, round_of
from flops_fit.plan.layouts.designed import Ground
from flops_fit.plan.layouts.layout import Cell
from flops_fit.plan.layouts.recipe import check_batch, learning_rates
from flops_fit.plan.lr_pilot import tuned_note
from flops_fit.plan.plan import (
    Plan,
    check_growth,
    check_unique,
    experiment_spec,
    planned_experiment,
    processes_of,
)
from flops_fit.study.study import Study
from flops_fit.user_code.dataset_meta import DatasetMeta

PRECISE_SPEND_DIGITS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """A design as far as it is decided: its ground, and the decisions of the rounds before one."""

    ground: Ground
    folder: Path  # of the study
    earlier: tuple[Decision, ...]

    @property
    def rounds_folder(self) -> Path:
        """Where the decisions are."""
        return self.folder / DESIGN_FOLDER

    @property
    def number(self) -> int:
        """The number of the round that is planned."""
        return len(self.earlier)

    @property
    def rows(self) -> list[ChosenExperiment]:
        """All experiments of the earlier rounds."""
        return [row for decision in self.earlier for row in decision.rows]

    @property
    def kept(self) -> list[float]:
        """Budgets at which the earlier rounds train, FLOPs."""
        return sorted({row.budget for decision in self.earlier for row in decision.chosen})

    def history(self) -> tuple[History, list[Trained]]:
        """Return the earlier rounds with their outcomes, and the runs that came along."""
        losses = losses_of(self.rows, self.ground.study, self.folder)
        rounds: list[tuple[Round, list[Trained]]] = []
        also: list[Trained] = []
        before: list[ChosenExperiment] = []
        for decision in self.earlier:
            cells = cells_of(decision.rows, self.ground.offer, before)
            trained = [
                Trained(cell=cell, L=losses[row.id])
                for row, cell in zip(decision.rows, cells, strict=True)
            ]
            n_along = len(decision.along)
            also += trained[:n_along]
            if decision.chosen:
                rounds.append((round_of(decision, cells[n_along:]), trained[n_along:]))
            before += decision.rows
        return rounds, also


def plan_round(
    study: Study, meta: DatasetMeta, data_folder: Path, number: int, table: Path, text: Path
) -> str:
    """Plan a round, write its files and those of the plan, and return the plan in one line.

    A round of which something was trained stays as it was decided; its decision lasts beside its
    table, and is written first.

    Parameters
    ----------
    table, text
        ``rounds/<number>.csv`` and ``.md`` in the study's folder.

    Raises
    ------
    UserError
        If the user's code breaks its contract, no design is possible, or an earlier round's
        decision is gone.
    """
    folder = table.parents[1]
    ground = Ground(study=study, sizes=sizes_once(study, meta, data_folder, folder), data=meta)
    check_growth(study, ground.sizes)
    design = Design(ground=ground, folder=folder, earlier=_earlier(table.parent, number))
    decision = _standing(design, number) or _decided(design)
    decision.write(design.rounds_folder)
    later = list(_later(design, number))
    decisions = [*design.earlier, decision, *later]
    plan = _union(design, decisions)
    specs = plan_specs(plan, study, data_folder=str(data_folder), search_folder=str(study.folder))
    write_json(folder / "specs.json", specs)
    write_whole(folder / PLAN_FILE, plan_csv(plan))
    summary = design_summary(plan, ground, decisions, _law(design)) + tuned_note(study)
    foreseen = "" if later else f"\n{_foreseen(design, decision)}"
    write_whole(folder / "plan.log", f"{summary}{foreseen}{_warning(design, plan)}")
    write_whole(text, round_text(decision))
    write_whole(table, round_csv(decision))
    return design_headline(decision)


def _law(design: Design) -> Surface | None:
    """Return the law that the runs so far show; None before they are enough for one."""
    rounds, also = design.history()
    runs = [*also, *(run for _, results in rounds for run in results)]
    rows = np.array([(t.cell.N, t.cell.D, t.L) for t in runs if t.L is not None], dtype=float)
    if len(rows) < MIN_FITTED:
        return None
    return Surface.from_row(fit_posterior(np.log(rows[:, 0]), np.log(rows[:, 1]), rows[:, 2]).mean)


def _foreseen(design: Design, decision: Decision) -> str:
    """Return what the design would tell, from this round on."""
    history, also = design.history()
    losses = _losses(design, decision.along)
    cells = cells_of(decision.along, design.ground.offer)
    also += [Trained(cell=cell, L=L) for cell, L in zip(cells, losses, strict=True)]

    def with_spend(spend: float) -> Designed:
        return design.ground.sweep(spend, kept=design.kept, rounds=history, also=also)

    return foresee_design(decision.asked.spend, with_spend)


def sweep_so_far(design: Design) -> Designed:
    """Return a design with the outcomes of its earlier rounds, from which it can be played on.

    Raises
    ------
    UserError
        If a run of these rounds has no record, or no design is possible.
    """
    history, also = design.history()
    return _sweep(design, _spend(design, history, also), history, also)


def _earlier(folder: Path, number: int) -> tuple[Decision, ...]:
    found = [read_decision(folder, i) for i in range(number)]
    if None in found:
        missing = decision_file(folder, found.index(None))
        raise UserError(
            f"{missing}: is missing, expected the decision of the round; delete "
            f"{missing.with_suffix('.csv')} as well and run snakemake again: it is decided again "
            "from the runs before it, and what is trained stays"
        )
    return tuple(found)


def _standing(design: Design, number: int) -> Decision | None:
    """Return the decision of a round that stays: something of it was trained."""
    decision = read_decision(design.rounds_folder, number)
    return decision if decision is not None and _stands(design, decision) else None


def _stands(design: Design, decision: Decision) -> bool:
    ground = design.ground
    begun = has_begun(decision.chosen or decision.along, design.folder)
    return begun and still_meant(decision, ground.study, ground.data)


def _later(design: Design, number: int) -> Iterator[Decision]:
    """Yield the decisions after a round that stay."""
    for i in count(number + 1):
        decision = _standing(design, i)
        if decision is None:
            return
        yield decision


def _decided(design: Design) -> Decision:
    """Decide the next round.

    Raises
    ------
    UserError
        If no design is possible, or a round whose decision was deleted comes out otherwise than it
        was trained.
    """
    ground, number = design.ground, design.number
    numbers = decided_rounds(design.rounds_folder)
    later = [i for i in numbers if i > number and _standing(design, i) is not None]
    history, also = design.history()
    spend = _spend(design, history, also)
    # What lies there already counts from the start, but not where rounds are there already: theirs
    # are the runs, and a round that is decided again must come out as it was.
    along: tuple[ChosenExperiment, ...] = ()
    if number == 0 and not later:
        along = _along(design, spend)
        also = [
            Trained(cell=cell, L=losses)
            for cell, losses in zip(
                cells_of(along, ground.offer), _losses(design, along), strict=True
            )
        ]
    sweep = _sweep(design, spend, history, also)
    with ground.named_errors("plan", sweep.question.budgets):
        chosen = next_round(sweep.question, sweep.offer, sweep.prior, history, also)
    decision = _decision(design, sweep, chosen, along)
    if later and not has_begun(decision.chosen, design.folder):
        raise UserError(
            f"{decision_file(design.rounds_folder, number)}: is missing or of another recipe, and "
            f"the round cannot be decided again as it was, while the round {later[-1]} is there; "
            f"restore it, or delete the folder {design.rounds_folder}: the design then begins "
            "anew with all runs that are there, and nothing is trained twice"
        )
    if decision.done and (along := _along(design, spend)):
        why = f"{len(along)} runs of this recipe were there that no round had asked for"
        return dataclasses.replace(decision, kind=BROUGHT_ALONG, why=why, along=along)
    return decision


def _spend(design: Design, history: History, also: Sequence[Trained]) -> float:
    """Return what the design may spend, FLOPs: as stated, or as its precision takes."""
    ground, plan = design.ground, design.ground.study.plan
    if plan.spend is not None:
        return plan.spend
    for decision in reversed(design.earlier):
        if (decision.asked.precision, decision.asked.target) == (plan.precision, plan.target):
            return decision.asked.spend

    def with_spend(spend: float) -> Designed:
        return ground.sweep(spend, kept=design.kept, rounds=history, also=also)

    with ground.named_errors("plan.precision"):
        spend, _ = spend_for(plan.precision, plan.target, with_spend)
    return float(f"{spend:.{PRECISE_SPEND_DIGITS}g}")


def _sweep(design: Design, spend: float, history: History, also: Sequence[Trained]) -> Designed:
    ground = design.ground
    key = "plan.budgets" if ground.study.plan.budgets else "plan.spend"
    with ground.named_errors(key):
        sweep = ground.sweep(spend, kept=design.kept, rounds=history, also=also)
    for budget in sweep.question.budgets:
        check_batch(ground.study, budget, ground.data)
    return sweep


def _along(design: Design, spend: float) -> tuple[ChosenExperiment, ...]:
    """Return the runs that lie there and that no earlier round knows."""
    ground = design.ground
    budgets = ground.study.plan.budgets or _sweep(design, spend, (), ()).question.budgets
    return runs_along(
        ground.study,
        ground.data,
        ground.sizes,
        design.folder,
        budgets=budgets,
        known={row.id for row in design.rows},
    )


def _losses(design: Design, rows: Sequence[ChosenExperiment]) -> list[float | None]:
    found = losses_of(rows, design.ground.study, design.folder)
    return [found[row.id] for row in rows]


def _decision(
    design: Design, sweep: Designed, chosen: Round, along: tuple[ChosenExperiment, ...]
) -> Decision:
    plan, question = design.ground.study.plan, sweep.question
    taken = {row.id for row in (*design.rows, *along)}
    rows = tuple(_row(design.ground, choice, taken) for choice in chosen.choices)
    check_unique(design.ground.study, [*design.rows, *along, *rows])
    return Decision(
        round=design.number,
        kind=chosen.kind if rows else DONE,
        why=chosen.why,
        checks=chosen.checks,
        asked=Asked(
            target=question.target,
            spend=question.spend,
            precision=plan.precision,
            budgets=list(question.budgets),
        ),
        chosen=rows,
        along=along,
    )


def _row(ground: Ground, choice: Choice, taken: set[str]) -> ChosenExperiment:
    """Return a choice as an experiment, with the first seed that is not taken at its place."""
    size = ground.offered[choice.cell.size_index]
    cell = ground.cell(choice.cell.budget, size)
    for seed in _seeds(ground.study):
        row = _experiment(ground, cell, seed)
        if row.id not in taken:
            break
    taken.add(row.id)
    values = {name: getattr(row, name) for name in PlannedExperiment.__dataclass_fields__}
    return ChosenExperiment(**values, why=choice.why, **predicted(choice))


def _experiment(ground: Ground, cell: Cell, seed: int) -> PlannedExperiment:
    measure = ground.sizes[cell.size]
    rates = learning_rates(ground.study, cell.budget, measure.n_params_non_embedding, cell.D)
    return planned_experiment(ground.study, measure, ground.data, cell, lr=rates[0], seed=seed)[0]


def _seeds(study: Study) -> Iterator[int]:
    """Yield the study's seeds, and then further ones."""
    yield from study.plan.seeds
    yield from count(max(study.plan.seeds) + 1)


def _union(design: Design, decisions: Sequence[Decision]) -> Plan:
    """Return the experiments of all rounds; those that are excluded and have no run are none."""
    study, data = design.ground.study, design.ground.data
    rows: dict[str, PlannedExperiment] = {}
    for row in (row for decision in decisions for row in decision.rows):
        if not needs_no_record(row.id, study, design.folder):
            processes = processes_of(study, row.n_params, row.batch, data)
            rows[row.id] = dataclasses.replace(row.planned, processes=processes)
    specs = {
        row.id: experiment_spec(
            study,
            data,
            Cell(budget=row.budget, size=row.size, steps=row.steps, batch=row.batch),
            lr=row.lr,
            seed=row.seed,
        )
        for row in rows.values()
    }
    return Plan(
        study=study.name,
        unit=data.unit,
        experiments=tuple(rows.values()),
        specs=specs,
        dropped=design.ground.dropped(decisions[-1].asked.budgets),
    )


def _warning(design: Design, plan: Plan) -> str:
    """Return a paragraph where the plan could not be trained with the present code."""
    refusal = refusal_of_code(design.ground.study, plan.experiments, design.folder)
    return f"\nNothing of it will be trained: {refusal}\n" if refusal else ""
