# What the rules need to know of a pilot of learning rates, whether the study asks for one or not.
from flops_fit.pipeline.lr_pilot import (
    is_decided,
    plan_pilot_again_if_lost,
    runs_of_wave,
)

LR_PILOT = STUDY.plan.lr_pilot
PILOT_FOLDER = f"{STUDY_FOLDER}/lr_pilot"
if MAIN:
    plan_pilot_again_if_lost(STUDY_FOLDER)
# `snakemake plan` trains nothing: it shows the pilot as long as that is undecided.
PILOT_UNDECIDED = LR_PILOT and not is_decided(STUDY, STUDY_FOLDER, META_FILE)


def table_of_wave(number):
    """Return the table of a wave, and the records that it asks for."""
    table = checkpoints.plan_lr_pilot.get(wave=str(number)).output.table
    try:
        return table, runs_of_wave(table)
    except UserError as error:
        raise WorkflowError(str(error)) from None


def earlier_pilot_runs(wildcards):
    """Return the records of all waves before one."""
    return [
        run for number in range(int(wildcards.wave)) for run in table_of_wave(number)[1]
    ]


def finished_pilot(wildcards):
    """Return the tables of all waves of a pilot that has decided."""
    tables, runs = [], ["none yet"]
    while runs:
        table, runs = table_of_wave(len(tables))
        tables.append(table)
    return tables


def resource_of_pilot(name, wildcards, attempt, rulename):
    """Return one resource of an experiment of the pilot."""
    plan = f"{PILOT_FOLDER}/plan.csv"
    checkpoints.plan_lr_pilot.get(wave="0")
    try:
        if MAIN:
            check_present_code(STUDY, PILOT_FOLDER, time_of(plan))
        return requested_resource(workflow, rulename, plan, wildcards.id, name, attempt)
    except UserError as error:
        raise ResourceValidationError(str(error)) from None


def requested_of_pilot(name):
    """Return the function of one resource of an experiment of the pilot."""
    return partial(resource_of_pilot, name)
