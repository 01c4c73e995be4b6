# What a design has to have trained, round by round.


def current_plan():
    """Return the plan, which holds the rounds that are decided so far.

    The Snakemake of a job on a cluster knows of no round: trainings have plan.csv as their input,
    which is no checkpoint's.
    """
    plan = f"{STUDY_FOLDER}/plan.csv"
    if not Path(plan).exists():
        checkpoints.plan_round.get(round="0")
    return plan


def runs_of_round(number):
    """Return the records of a round, and whether it ends the design."""
    table = checkpoints.plan_round.get(round=str(number)).output.table
    try:
        return runs_to_have(table, STUDY, STUDY_FOLDER)
    except UserError as error:
        raise WorkflowError(str(error)) from None


def earlier_runs(wildcards):
    """Return the records of all rounds before one."""
    return [
        run
        for number in range(int(wildcards.round))
        for run in runs_of_round(number)[0]
    ]


def planned_runs(wildcards):
    """Return the record of every experiment of a design that is complete."""
    runs, done, number = [], False, 0
    while not done:
        of_round, done = runs_of_round(number)
        runs += of_round
        number += 1
    return runs
