# Loads the study, checks it, and says which files the targets are. Imports no torch.
import os
import sys
from pathlib import Path

from snakemake.common.configfile import load_configfile
from snakemake.exceptions import WorkflowError
from snakemake.utils import update_config

# `current_basedir` is this file's folder, also where another workflow imports this one as a module.
WORKFLOW_FOLDER = Path(str(workflow.current_basedir)).parent
sys.path.insert(0, str(WORKFLOW_FOLDER))

from flops_fit.errors import UserError
from flops_fit.plan import read_plan
from flops_fit.script import share_library
from flops_fit.status import closing_lines, study_outcomes
from flops_fit.study import Study, claim_study


def load_study():
    """Return the study of --configfile, or the demo; --config overlays either."""
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
    modules = (WORKFLOW_FOLDER / "flops_fit" / part).glob("*.py")
    return sorted(readable_path(path) for path in modules)


def planned_rows():
    """Return the rows of the plan, once the checkpoint has written it."""
    return read_plan(checkpoints.plan_experiments.get().output.plan)


def planned_runs(wildcards):
    """Return the record of every experiment in the plan."""
    return [f"{STUDY_FOLDER}/runs/{row['id']}.json" for row in planned_rows()]


def processes_of(wildcards):
    """Return how many processes (and GPUs, where there are any) an experiment uses."""
    rows = {row["id"]: row for row in planned_rows()}
    return int(rows[wildcards.id]["processes"])


def print_closing_lines():
    """Say how far the study is, what is wrong, and what to do next."""
    try:
        outcomes = study_outcomes(read_plan(f"{STUDY_FOLDER}/plan.csv"), STUDY_FOLDER)
    except (OSError, UserError):  # there is no plan yet; what went wrong has been said
        return
    files = workflow.overwrite_configfiles
    options = ["--configfile", readable_path(files[0])] if files else []
    print(
        "",
        *closing_lines(STUDY.name, outcomes, STUDY_FOLDER, options),
        sep="\n",
        file=sys.stderr,
    )


share_library(os.environ)
try:
    STUDY = load_study()
    STUDY_FILE = str(claim_study(STUDY))
except UserError as error:
    raise WorkflowError(str(error)) from None

STUDY_FOLDER = f"results/{STUDY.name}"
IMPORTED = STUDY.runs_table is not None
# What says the unit of D: the measured dataset, or the study itself where it brings its runs.
UNIT_FILE = PLANNED_STUDY_FILE = STUDY_FILE
if not IMPORTED:
    PLANNED_STUDY_FILE = f"{STUDY_FOLDER}/planned_study.json"
    DATA_FOLDER = f"results/data/{STUDY.data_fingerprint}"
    UNIT_FILE = f"{DATA_FOLDER}/meta.json"


wildcard_constraints:
    id="[0-9a-f]{12}",
