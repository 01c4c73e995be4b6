"""What rules need while Snakemake reads them: paths, cores, resources. Imports no torch.

It does not import Snakemake either: callers pass in the running workflow.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from flops_fit.errors import UserError
from flops_fit.launch.resources import Site, request
from flops_fit.pipeline.script import LIBRARY_FOLDER
from flops_fit.pipeline.sources import imported_sources
from flops_fit.plan.files import read_experiment, read_plan


def readable_path(path: str | Path) -> str:
    """Return a path as one would type it here, so that a moved checkout keeps its studies."""
    path = Path(path).resolve()
    here = Path.cwd().resolve()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def sources_of(script: str) -> list[str]:
    """Return the source files of a script in ``workflow/scripts/``: itself and all its imports.

    An analysis lists them as its input, and so runs again when its code has changed. Training,
    preparing and planning never do: whatever changes the outcome of an experiment is in its id.
    """
    path = LIBRARY_FOLDER / "scripts" / script
    return [readable_path(source) for source in imported_sources(path, LIBRARY_FOLDER)]


def cores_here(workflow: Any) -> int:
    """Return how many local cores we may use: --cores, or --local-cores on a cluster."""
    settings = workflow.resource_settings
    return settings.cores or settings.local_cores or 1


def only_simulates(workflow: Any) -> bool:
    """Say whether nothing was asked for but a simulation, after which no study stands anywhere."""
    targets = workflow.dag_settings.targets
    return bool(targets) and all(name.endswith("simulate") for name in targets)


def time_of(path: str | Path) -> int | None:
    """Return when a file was written, in nanoseconds; None if there is none."""
    return os.stat(path).st_mtime_ns if os.path.exists(path) else None


def time_of_finished_plan(study_folder: str | Path) -> int | None:
    """Return when the plan in a study's folder was written; None if there is none.

    Raises
    ------
    UserError
        If the plan is damaged and was moved aside: raised here it becomes a sentence, raised in a
        rule's input function it would be a traceback. A plan that is left in place may have been
        interrupted halfway, and is made again.
    """
    plan, specs = Path(study_folder) / "plan.csv", Path(study_folder) / "specs.json"
    written = time_of(plan)
    if written is not None:
        try:
            read_plan(plan)
        except UserError:
            if not (plan.exists() and specs.exists()):
                raise
    return written


def check_groups(workflow: Any, plan: str, planned_before: int | None, planner: str) -> None:
    """Refuse to group the experiments of a plan that already exists and is not made again.

    If a checkpoint is finished from the start, Snakemake (9.27) builds its groups twice, the second
    time out of the first ones: experiments are submitted several times, all of them as one job. The
    check needs the command line, which is not yet known while the rules are read.

    Parameters
    ----------
    planned_before
        When the plan that existed at the start was written; None if there was none.
    planner
        Name of the checkpoint that plans.

    Raises
    ------
    UserError
        If experiments are grouped and the plan is still that one.
    """
    settings, dag = workflow.group_settings, workflow.dag_settings
    forced = any(name.endswith(planner) for name in dag.forcerun)
    same_plan = planned_before is not None and planned_before == time_of(plan)
    if not workflow.non_local_exec_or_dryrun or not same_plan or forced or dag.forceall:
        return
    for rulename, group in settings.overwrite_groups.items():
        if rulename.endswith("train") and settings.group_components.get(group, 1) > 1:
            raise UserError(
                f"--group-components {group}={settings.group_components[group]}: found on a plan "
                f"that is finished, expected --forcerun {planner} as well: Snakemake would "
                "submit its experiments several times (docs/cluster.md)"
            )


def requested_resource(
    workflow: Any, rulename: str, plan: str, run_id: str, name: str, attempt: int
) -> Any:
    """Return one resource of an experiment (see `flops_fit.launch.resources.Request`).

    Parameters
    ----------
    rulename
        Name of the rule ``train``, which differs when the workflow is used as a module.
    name
        A field of ``Request``.

    Raises
    ------
    UserError
        If the profile sets something for the rule that cannot be satisfied.
    """
    given = workflow.get_rule(rulename).resources
    executor = getattr(workflow.executor_plugin, "name", None)
    site = Site.from_resources({key: given[key].raw for key in given}, executor)
    return getattr(request(read_experiment(plan, run_id), site, attempt), name)
