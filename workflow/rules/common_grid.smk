# What a sweep that is planned at once has to have trained.


def current_plan():
    """Return the plan."""
    return checkpoints.plan_experiments.get().output.plan


def planned_runs(wildcards):
    """Return the record of every experiment in the plan."""
    try:
        planned = read_plan(current_plan())
    except UserError as error:
        raise WorkflowError(str(error)) from None
    return [f"{STUDY_FOLDER}/runs/{experiment.id}.json" for experiment in planned]
