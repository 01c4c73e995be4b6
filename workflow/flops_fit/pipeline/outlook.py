"""All experiments that a study will train, as far as that can be foreseen, to be priced."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from flops_fit.design.forecast import expected_course, expected_law
from flops_fit.errors import UserError
from flops_fit.pipeline.designing import Design, sweep_so_far
from flops_fit.pipeline.measuring import sizes_once
from flops_fit.plan.decision import Decision, decided_rounds, read_decision
from flops_fit.plan.experiment import PlannedExperiment
from flops_fit.plan.files import DESIGN_FOLDER, PLAN_FILE, plan_jobs, read_job, read_plan
from flops_fit.plan.job import Job
from flops_fit.plan.layouts.designed import Ground
from flops_fit.plan.layouts.layout import Cell
from flops_fit.plan.layouts.recipe import learning_rates
from flops_fit.plan.plan import Plan, planned_experiment
from flops_fit.records.experiment_files import run_file
from flops_fit.study.spec import Spec
from flops_fit.study.study import Study
from flops_fit.user_code.dataset_meta import DatasetMeta


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Experiments that belong together."""

    name: str
    rows: tuple[PlannedExperiment, ...]
    expected: bool = False  # a later round, which is not decided yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """The parts of a study in the order of their training."""

    study_folder: Path
    parts: tuple[Part, ...]
    in_rounds: bool = False
    expected_jobs: Mapping[str, Job] = field(default_factory=dict)  # of rounds that are expected
    unforeseen: str = ""  # why later rounds are missing, where they are

    @property
    def rows(self) -> list[PlannedExperiment]:
        """All experiments."""
        return [row for part in self.parts for row in part.rows]

    def trained(self, row: PlannedExperiment) -> bool:
        """Return whether an experiment has its record."""
        return run_file(self.study_folder, row.id).exists()

    def job(self, run_id: str) -> Job:
        """Return the job of an experiment.

        Raises
        ------
        UserError
            If the plan's ``specs.json`` cannot be read.
        """
        found = self.expected_jobs.get(run_id)
        return read_job(self.study_folder / "specs.json", run_id) if found is None else found


def outlook_of(study: Study, study_folder: Path, meta_file: Path, data_folder: Path) -> Outlook:
    """Return what a study will train: a grid as planned, a design with the rounds that it expects.

    Parameters
    ----------
    study_folder
        Of a study that is planned, a design at least in its first round.
    meta_file, data_folder
        Of the dataset; only a design with rounds to come looks at them.

    Raises
    ------
    UserError
        If a file of the plan is damaged.
    """
    planned = read_plan(study_folder / PLAN_FILE)
    if not study.plan.designed:
        return Outlook(study_folder=study_folder, parts=tuple(_by_budget(planned)))
    folder = study_folder / DESIGN_FOLDER
    decisions = [read_decision(folder, number) for number in decided_rounds(folder)]
    kept = {row.id for row in planned}
    parts = [_decided(decision, kept) for decision in decisions if decision and decision.rows]
    decided = Outlook(study_folder=study_folder, parts=tuple(parts), in_rounds=True)
    if any(decision is None or decision.done for decision in decisions):
        return decided
    try:
        ground = _ground(study, meta_file, data_folder, study_folder)
        return _with_later_rounds(decided, ground, decisions, data_folder)
    except (UserError, OSError, np.linalg.LinAlgError) as error:
        return replace(decided, unforeseen=str(error))


def _by_budget(planned: Sequence[PlannedExperiment]) -> Iterator[Part]:
    rows: dict[float, list[PlannedExperiment]] = {}
    for row in planned:
        rows.setdefault(row.budget, []).append(row)
    for budget in sorted(rows):
        yield Part(name=f"C = {budget:.4g}", rows=tuple(rows[budget]))


def _decided(decision: Decision, kept: set[str]) -> Part:
    rows = tuple(row.planned for row in decision.rows if row.id in kept)
    return Part(name=f"round {decision.round} ({decision.kind})", rows=rows)


def _ground(study: Study, meta_file: Path, data_folder: Path, study_folder: Path) -> Ground:
    meta = DatasetMeta.load(meta_file)
    sizes = sizes_once(study, meta, data_folder, study_folder)
    return Ground(study=study, sizes=sizes, data=meta)


def _with_later_rounds(
    decided: Outlook, ground: Ground, decisions: Sequence[Decision], data_folder: Path
) -> Outlook:
    """Play the design on from its finished rounds, against the law that is expected.

    The first rounds that are played are those that are decided and not finished.
    """
    finished = [decision for decision in decisions if all(map(decided.trained, decision.rows))]
    earlier = tuple(decisions[: len(finished)])
    design = Design(ground=ground, folder=decided.study_folder, earlier=earlier)
    sweep = sweep_so_far(design)
    with ground.named_errors("plan"):
        course = expected_course(sweep, expected_law(sweep))
    n_pending = len(decisions) - len(finished)
    parts, rows, specs = [], [], {}
    for chosen, trained in course.rounds[len(sweep.rounds) + n_pending :]:
        made = [_experiment(ground, run.cell.budget, run.cell.size_index) for run in trained]
        name = f"round {len(decisions) + len(parts)} ({chosen.kind})"
        parts.append(Part(name=name, rows=tuple(row for row, _ in made), expected=True))
        rows += [row for row, _ in made]
        specs |= {row.id: spec for row, spec in made}
    plan = Plan(
        study=ground.study.name,
        unit=ground.data.unit,
        experiments=tuple(rows),
        specs=specs,
        dropped=(),
    )
    jobs = plan_jobs(
        plan, ground.study, data_folder=str(data_folder), search_folder=str(ground.study.folder)
    )
    return replace(decided, parts=(*decided.parts, *parts), expected_jobs=jobs)


def _experiment(ground: Ground, budget: float, size_index: int) -> tuple[PlannedExperiment, Spec]:
    size = ground.offered[size_index]
    cell, measure = ground.cell(budget, size), ground.sizes[size]
    if not isinstance(cell, Cell):  # an offer holds what can be trained
        raise UserError(f"{ground.study.config_file}: plan: {cell.reason}")
    rates = learning_rates(ground.study, budget, measure.n_params_non_embedding, cell.D)
    seed = ground.study.plan.seeds[0]
    return planned_experiment(ground.study, measure, ground.data, cell, lr=rates[0], seed=seed)
