# Loads and checks the study, and defines the target files. Imports no torch.
import os
import sys
from functools import partial
from pathlib import Path

from snakemake.cli import get_argument_parser
from snakemake.common import NOTHING_TO_BE_DONE_MSG
from snakemake.common.configfile import load_configfile
from snakemake.exceptions import ResourceValidationError, WorkflowError
from snakemake.logging import logger
from snakemake_interface_executor_plugins.settings import ExecMode
from snakemake.utils import update_config

# `current_basedir` is this file's folder, even if another workflow imports this one as a module.
WORKFLOW_FOLDER = Path(str(workflow.current_basedir)).parent
sys.path.insert(0, str(WORKFLOW_FOLDER))

from flops_fit.errors import UserError
from flops_fit.pipeline.closing import call_on_message, logs_of_planning
from flops_fit.pipeline.closing import print_closing_lines
from flops_fit.pipeline.hangup import end_at_hangup, leave_warnings_to_the_trainer
from flops_fit.pipeline.loading import importer_of, load_study
from flops_fit.pipeline.next_command import next_commands
from flops_fit.pipeline.one_run import explain_refusals, hold_study
from flops_fit.pipeline.prepared import copy_of_meta, measured_dataset, planned_files
from flops_fit.pipeline.present_code import check_present_code, note_edited_code
from flops_fit.pipeline.present_code import refusal_of_code
from flops_fit.pipeline.room import check_room
from flops_fit.pipeline.rules import check_groups, cores_here, only_simulates
from flops_fit.pipeline.rules import requested_resource
from flops_fit.pipeline.rules import sources_of, time_of, time_of_finished_plan
from flops_fit.pipeline.script import share_library
from flops_fit.pipeline.to_train import runs_to_have
from flops_fit.plan.files import read_plan
from flops_fit.study.claim import as_claimed, claim_study


def resource_of_experiment(name, wildcards, attempt, rulename):
    """Return one resource of an experiment."""
    plan = current_plan()
    try:
        check_groups(workflow, plan, PLANNED_BEFORE, PLANNER)
        if MAIN:
            check_present_code(STUDY, STUDY_FOLDER, time_of(plan))
        return requested_resource(workflow, rulename, plan, wildcards.id, name, attempt)
    except UserError as error:
        # The only class that Snakemake shows without a traceback here.
        raise ResourceValidationError(str(error)) from None


def requested(name):
    """Return the function of one resource of an experiment."""
    return partial(resource_of_experiment, name)


def say_how_far():
    """Print the lines that end a run; a dry run has none."""
    if not workflow.dryrun and not only_simulates(workflow):
        commands = COMMANDS(sys.argv[1:], get_argument_parser(), planner=PLANNER)
        refusal = partial(refusal_of_code, STUDY, study_folder=STUDY_FOLDER)
        logs = logs_of_planning(STUDY_FOLDER)
        print_closing_lines(STUDY.name, STUDY_FOLDER, logs, commands, refusal)


def begin():
    """Hold the study, which one run at a time may write to."""
    try:
        hold_study(STUDY.name, STUDY_FOLDER)
    except UserError as error:
        raise WorkflowError(str(error)) from None


share_library(os.environ)
# The commands that the closing lines advise, with the names that rules of a module have.
COMMANDS = partial(
    next_commands,
    renamed=workflow.modifier.modify_rulename,
    by_default=importer_of(workflow) is None,
)
# Whether this is the Snakemake that the user started, and not one that runs a job.
MAIN = workflow.exec_mode == ExecMode.DEFAULT
leave_warnings_to_the_trainer(os.environ)
if MAIN:
    end_at_hangup()
try:
    STUDY = as_claimed(load_study(workflow, config, load_configfile, update_config))
    STUDY_FOLDER = f"results/{STUDY.name}"
    if MAIN:
        check_room(".snakemake", STUDY_FOLDER)
        explain_refusals(logger, STUDY.name, STUDY_FOLDER)
    STUDY_FILE = str(claim_study(STUDY))
    IMPORTED = STUDY.runs_table is not None
    if not IMPORTED:
        DATA_FOLDER = f"results/data/{STUDY.data_fingerprint}"
        META_FILE = measured_dataset(DATA_FOLDER, STUDY_FOLDER, main=MAIN)
        PLANNED_BEFORE = time_of_finished_plan(STUDY_FOLDER) if MAIN else None
except UserError as error:
    raise WorkflowError(str(error)) from None

# The file with the unit of D: the measured dataset, or the study itself if it brings its runs.
UNIT_FILE = PLANNED_STUDY_FILE = STUDY_FILE
PLAN_FILES, DESIGNED = [], False
if not IMPORTED:
    DESIGNED = STUDY.plan.designed
    # The file that the plan is known by: that of a design grows, and its first round stays.
    PLAN = f"{STUDY_FOLDER}/{'rounds/0.csv' if DESIGNED else 'plan.csv'}"
    PLANNER = "plan_round" if DESIGNED else "plan_experiments"
    PLAN_FILES = planned_files(PLAN, META_FILE, main=MAIN)
    PLANNED_STUDY_FILE = f"{STUDY_FOLDER}/planned_study.json"
    UNIT_FILE = META_FILE
    if MAIN:
        # If there is nothing to be done, Snakemake calls none of the hooks.
        call_on_message(logger, NOTHING_TO_BE_DONE_MSG, say_how_far)


wildcard_constraints:
    id="[0-9a-f]{12}",
    round="[0-9]+",
    wave="[0-9]+",
