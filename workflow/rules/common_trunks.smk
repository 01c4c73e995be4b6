# What experiments share, and what a trunk asks for. Read after common_grid.smk.
from types import SimpleNamespace

from flops_fit.plan.files import read_trunk, trunks_of

runs_of_plan = planned_runs


def specs_of_plan():
    """Return the file that says which trunk an experiment branches off."""
    return Path(checkpoints.plan_experiments.get().output.specs)


def planned_runs(wildcards):
    """Return the record of every experiment in the plan, once there are the trunks."""
    runs = runs_of_plan(wildcards)
    checkpoints.trunks.get()
    return runs


def trunks_of_plan(wildcards):
    """Return the record of every trunk in the plan."""
    found = sorted(set(trunks_of(specs_of_plan()).values()))
    return [f"{STUDY_FOLDER}/trunks/{one}.json" for one in found]


def branches_of_trunk(wildcards):
    """Return the ids of the experiments that branch off a trunk, the shortest first."""
    return [job.id for job in read_trunk(specs_of_plan(), wildcards.trunk)]


def resource_of_trunk(name, wildcards, attempt, rulename):
    """Return one resource of a trunk: that of its longest branch, whose beginning it is."""
    longest = SimpleNamespace(id=branches_of_trunk(wildcards)[-1])
    rule_of_branches = rulename.removesuffix("trunk") + "train"
    return resource_of_experiment(name, longest, attempt, rule_of_branches)
