"""What a call of Snakemake gives its experiments, for the rules that price and time them.

Imports neither torch nor Snakemake: callers pass in the running workflow.
"""

from __future__ import annotations

import errno
import math
from typing import Any

from flops_fit.launch.resources import Request, Site, request
from flops_fit.plan.experiment import PlannedExperiment
from flops_fit.plan.files import PLAN_FILE, read_plan, study_folder_of

_MINUTES = 60  # of a job that calibrates; its trainings take seconds, unless models are huge


def call_of(workflow: Any, train_rule: str, *, main: bool) -> dict[str, Any]:
    """Return the fields of a `flops_fit.pipeline.pricing.Call`, as Snakemake passes them on.

    Parameters
    ----------
    train_rule
        Name of the rule ``train``, which differs when the workflow is used as a module.
    main
        Whether this is the Snakemake that the user started, and not one that runs a job.

    Raises
    ------
    UserError
        If the profile sets something that cannot be satisfied.
    """
    limits = {name: limit.value for name, limit in workflow.global_resources.items()}
    given = workflow.resource_settings.overwrite_threads.get(train_rule)
    return {
        "cores": workflow.resource_settings.cores,
        "gpus": limits.get("gpu"),
        "jobs": limits.get("_nodes"),
        "threads": _site(workflow, train_rule).cpus_per_process if given is None else given.value,
        "on_cluster": main and workflow.non_local_exec,
        "in_job": not main,
    }


def resource_of_calibration(
    workflow: Any, train_rule: str, plan: str, name: str, attempt: int
) -> Any:
    """Return one resource of the job that calibrates, which is like one of the rule ``train``.

    On this machine it gets all cores, so that nothing else disturbs it.

    Raises
    ------
    UserError
        If the profile sets something that cannot be satisfied.
    """
    if not workflow.non_local_exec:
        alone = {"threads": workflow.resource_settings.cores or 1, "mem_mb": 0, "runtime": _MINUTES}
        return alone.get(name)
    if name == "runtime":
        site = _site(workflow, train_rule)
        return min(_MINUTES * attempt, site.max_minutes or math.inf)
    if name.startswith("slurm_") and name != "slurm_extra":
        found = workflow.get_rule(train_rule).resources.get(name)
        return None if found is None else found.raw
    return getattr(_request(workflow, train_rule, _largest(plan), attempt), name)


def _largest(plan: str) -> PlannedExperiment:
    """Return the experiment with most processes.

    Raises
    ------
    FileNotFoundError
        If the study is not planned yet; it names ``plan``, and Snakemake asks again.
    """
    try:
        planned = read_plan(study_folder_of(plan) / PLAN_FILE)
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "not planned yet", plan) from None
    return max(planned, key=lambda row: (row.processes, row.n_params))


def _site(workflow: Any, train_rule: str) -> Site:
    given = workflow.get_rule(train_rule).resources
    executor = getattr(workflow.executor_plugin, "name", None)
    return Site.from_resources({key: given[key].raw for key in given}, executor)


def _request(
    workflow: Any, train_rule: str, experiment: PlannedExperiment, attempt: int
) -> Request:
    return request(experiment, _site(workflow, train_rule), attempt)
