# Loads the study, checks it, and says which files the targets are. Imports no torch.
import logging
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from snakemake.common import NOTHING_TO_BE_DONE_MSG
from snakemake.common.configfile import load_configfile
from snakemake.exceptions import ResourceValidationError, WorkflowError
from snakemake.logging import logger
from snakemake_interface_executor_plugins.settings import ExecMode
from snakemake.utils import update_config

# `current_basedir` is this file's folder, also where another workflow imports this one as a module.
WORKFLOW_FOLDER = Path(str(workflow.current_basedir)).parent
sys.path.insert(0, str(WORKFLOW_FOLDER))

from flops_fit.launch.resources import Site, request
from flops_fit.errors import UserError
from flops_fit.plan.plan import read_plan, read_row
from flops_fit.pipeline.script import share_library
from flops_fit.pipeline.status import (
    closing_lines,
    closing_lines_without_plan,
    engine_options,
    study_outcomes,
)
from flops_fit.study.study import Study
from flops_fit.study.claim import claim_study


def load_study():
    """Return the study of --configfile, or the demo; --config overlays either.

    In another workflow's module it is what that workflow passes as config:, and belongs to its
    Snakefile: relative paths and the user's own code are searched from there.
    """
    main = Path(str(workflow.main_snakefile)).resolve()
    ours = (WORKFLOW_FOLDER / "Snakefile", WORKFLOW_FOLDER.parent / "Snakefile")
    if main not in [path.resolve() for path in ours]:
        return Study.from_config(config, readable_path(main))
    files = workflow.overwrite_configfiles
    if files:
        return Study.from_config(config, readable_path(files[0]))
    demo = WORKFLOW_FOLDER.parent / "config" / "config.yaml"
    raw = load_configfile(demo)
    update_config(raw, config)
    return Study.from_config(raw, readable_path(demo))


def readable_path(path):
    """Return a path as one would type it from here: a moved checkout keeps its studies."""
    path = Path(path).resolve()
    here = Path.cwd().resolve()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def library_sources(part):
    """Return the modules of a part of the library: an analysis runs again when its code changed."""
    modules = (WORKFLOW_FOLDER / "flops_fit" / part).rglob("*.py")
    return sorted(readable_path(path) for path in modules)


def cores_here():
    """Return how many cores of this machine are ours: --cores, or --local-cores on a cluster."""
    settings = workflow.resource_settings
    return settings.cores or settings.local_cores or 1


def planned_runs(wildcards):
    """Return the record of every experiment in the plan."""
    try:
        rows = read_plan(checkpoints.plan_experiments.get().output.plan)
    except UserError as error:
        raise WorkflowError(str(error)) from None
    return [f"{STUDY_FOLDER}/runs/{row['id']}.json" for row in rows]


def time_of(path):
    """Return when a file was written, in nanoseconds; None where there is none."""
    return os.stat(path).st_mtime_ns if os.path.exists(path) else None


def check_groups():
    """Refuse to group experiments of a plan that was there before and is not made again.

    Where a checkpoint is finished from the start, Snakemake (9.27) makes its groups twice, the
    second time out of the first ones: experiments are submitted several times, all of them as one
    job. Known only once the command line is: not while this file is read.
    """
    settings, dag = workflow.group_settings, workflow.dag_settings
    forced = any(name.endswith("plan_experiments") for name in dag.forcerun)
    same_plan = PLANNED_BEFORE and PLANNED_BEFORE == time_of(PLAN_FILES[0])
    if not workflow.non_local_exec_or_dryrun or not same_plan or forced or dag.forceall:
        return
    for rulename, group in settings.overwrite_groups.items():
        if rulename.endswith("train") and settings.group_components.get(group, 1) > 1:
            raise UserError(
                f"--group-components {group}={settings.group_components[group]}: found on a plan "
                "that is finished, expected --forcerun plan_experiments beside: Snakemake would "
                "submit its experiments several times (docs/cluster.md)"
            )


def requested(name):
    """Return the function of one resource of an experiment (see flops_fit.launch.resources)."""

    def resource(wildcards, attempt, rulename):
        plan = checkpoints.plan_experiments.get().output.plan
        # What the profile sets for this rule; in another workflow's module it has another name.
        given = workflow.get_rule(rulename).resources
        try:
            check_groups()
            executor = getattr(workflow.executor_plugin, "name", None)
            site = Site.from_resources({key: given[key].raw for key in given}, executor)
            row = read_row(plan, wildcards.id)
            return getattr(request(row, site, attempt), name)
        except UserError as error:
            # The one class that Snakemake shows without a traceback here.
            raise ResourceValidationError(str(error)) from None

    return resource


def print_closing_lines():
    """Say how far the study is, what is wrong, and what to do next."""
    files = workflow.overwrite_configfiles
    options = engine_options(sys.argv)
    options += ["--configfile", readable_path(files[0])] if files else []
    try:
        rows = read_plan(f"{STUDY_FOLDER}/plan.csv")
        outcomes = study_outcomes(rows, STUDY_FOLDER, STUDY.name)
        lines = closing_lines(STUDY.name, outcomes, STUDY_FOLDER, options)
    except (OSError, UserError) as error:
        logs = (f"{STUDY_FOLDER}/logs/plan.log", f"{DATA_FOLDER}/prepare.log")
        lines = closing_lines_without_plan(STUDY.name, error, logs, options)
    print("", *lines, sep="\n", file=sys.stderr)


class EndOfAnIdleRun(logging.Handler):
    """Prints the closing lines where there is nothing to be done: Snakemake calls no hook then."""

    def emit(self, record):
        main = workflow.exec_mode == ExecMode.DEFAULT and not workflow.dryrun
        if main and record.msg == NOTHING_TO_BE_DONE_MSG:
            print_closing_lines()


def listen_for_idle_runs():
    """Have the closing lines printed where no hook is called."""
    for handler in [h for h in logger.handlers if h.name == EndOfAnIdleRun.__name__]:
        logger.removeHandler(handler)  # of an earlier workflow in this process
    handler = EndOfAnIdleRun()
    handler.name = EndOfAnIdleRun.__name__
    logger.addHandler(handler)


share_library(os.environ)
if "SLURM_JOB_ID" in os.environ:
    # SLURM's warning before the time limit goes to all processes of an experiment's job step, to
    # the Snakemake in it, too, and to the shell that it starts: only the trainer is to act on it.
    with suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
try:
    STUDY = load_study()
    STUDY_FILE = str(claim_study(STUDY))
except UserError as error:
    raise WorkflowError(str(error)) from None

STUDY_FOLDER = f"results/{STUDY.name}"
IMPORTED = STUDY.runs_table is not None
# What says the unit of D: the measured dataset, or the study itself where it brings its runs.
UNIT_FILE = PLANNED_STUDY_FILE = STUDY_FILE
PLAN_FILES = []
if not IMPORTED:
    # Both: what was moved aside because it is damaged is planned anew.
    PLAN_FILES = [f"{STUDY_FOLDER}/plan.csv", f"{STUDY_FOLDER}/specs.json"]
    PLANNED_STUDY_FILE = f"{STUDY_FOLDER}/planned_study.json"
    DATA_FOLDER = f"results/data/{STUDY.data_fingerprint}"
    UNIT_FILE = f"{DATA_FOLDER}/meta.json"
    PLANNED_BEFORE = None
    if workflow.exec_mode == ExecMode.DEFAULT:
        PLANNED_BEFORE = time_of(PLAN_FILES[0])
    if PLANNED_BEFORE:
        # A damaged plan is a sentence here; where a rule asks for its inputs it is a traceback.
        # What was not moved aside may have been planned by half: then it is planned anew.
        try:
            read_plan(PLAN_FILES[0])
        except UserError as error:
            if not all(map(os.path.exists, PLAN_FILES)):
                raise WorkflowError(str(error)) from None


wildcard_constraints:
    id="[0-9a-f]{12}",
