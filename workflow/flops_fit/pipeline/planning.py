"""Plans a study: measures its sizes, lays out the experiments, and writes the files of the plan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flops_fit.files.writing import write_json, write_whole
from flops_fit.pipeline.foreseeing import foresee_grid
from flops_fit.pipeline.present_code import refusal_to_train
from flops_fit.plan.files import plan_csv, plan_specs
from flops_fit.plan.lr_pilot import tuned_note
from flops_fit.plan.plan import Plan, make_plan
from flops_fit.plan.planned_code import FILE, PlannedCode
from flops_fit.plan.summary import plan_headline, plan_summary
from flops_fit.study.study import Study
from flops_fit.user_code.dataset_meta import DatasetMeta
from flops_fit.user_code.references import UserCode
from flops_fit.user_code.source_fingerprint import code_in_use


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFiles:
    """Paths of the files of a plan that the checkpoint declares.

    ``planned_code.json`` is none of them: a plan of version 0.1 has none, and Snakemake would wait
    for it without making it, and train nothing.
    """

    study: Path  # the study that was planned
    specs: Path
    summary: Path
    plan: Path


def plan_study(study: Study, meta: DatasetMeta, data_folder: Path, files: PlanFiles) -> str:
    """Plan a study, write the files and return the plan in one line.

    Raises
    ------
    UserError
        If the user's code breaks its contract, or the study cannot be planned.
    """
    from flops_fit.user_code.measure import measure_sizes  # torch

    write_whole(files.study, study.to_json())
    plan = make_plan(study, measure_sizes(study, data_folder, meta), meta)
    PlannedCode.of(code_in_use(UserCode.of_study(study))).write(files.plan.with_name(FILE))
    specs = plan_specs(plan, study, data_folder=str(data_folder), search_folder=str(study.folder))
    write_json(files.specs, specs)
    named = study.plan.experiments is not None  # no question is asked of single experiments
    foreseen = "" if named else foresee_grid(study, plan.experiments)
    warning = _warning(study, plan, files.plan.parent)
    write_whole(files.summary, f"{plan_summary(plan)}{tuned_note(study)}\n{foreseen}{warning}")
    write_whole(files.plan, plan_csv(plan))
    return plan_headline(plan)


def _warning(study: Study, plan: Plan, study_folder: Path) -> str:
    """Return a paragraph where the plan could not be trained with the present code."""
    if study.fit.allow_mixed_code:
        return ""
    refusal = refusal_to_train(study, plan.experiments, study_folder)
    return f"\nNothing of it will be trained: {refusal}\n" if refusal else ""
