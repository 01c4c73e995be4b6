# flops-fit: how big a model, and how much data, for a compute budget?
#
#   dataset --> prepare --> plan (checkpoint) --> train, once per experiment --> collect --> fit --> report
#                             ^ a design plans again after each round  |
#
#   snakemake --cores 8 --resources gpu=4                      the demo study
#   snakemake --cores 8 --configfile config/studies/mine.yaml  your own
#
# Targets: plan (with its price), calibrate (times what hours follow from), simulate (tries the plan
# out on simulated losses), runs, fit, report (the default), partial (fits what is finished so far).
# Configuration: config/README.md.
# A study with a runs_table brings its own runs and starts at collect: fit, report.
from snakemake.utils import min_version

min_version("9.0")


include: "workflow/rules/common.smk"


onstart:
    begin()


if IMPORTED:

    include: "workflow/rules/import.smk"

else:

    include: "workflow/rules/data.smk"
    include: "workflow/rules/common_pilot.smk"

    if DESIGNED:

        include: "workflow/rules/rounds.smk"

    else:

        include: "workflow/rules/plan.smk"

    if STUDY.plan.trunks:

        include: "workflow/rules/trunks.smk"
    include: "workflow/rules/simulate.smk"
    include: "workflow/rules/train.smk"

    if PILOT_UNDECIDED:

        include: "workflow/rules/show_pilot.smk"

    else:

        include: "workflow/rules/price.smk"

    if LR_PILOT:

        include: "workflow/rules/lr_pilot.smk"
    include: "workflow/rules/collect.smk"

    onsuccess:
        say_how_far()

    onerror:
        say_how_far()


include: "workflow/rules/fit.smk"
include: "workflow/rules/report.smk"


rule report:
    default_target: True
    input:
        # Plan, runs and merged results are named one by one: Snakemake does not miss an
        # intermediate file that was deleted while everything after it is there.
        plan=PLAN_FILES,
        runs=[] if IMPORTED else planned_runs,
        merged=f"{STUDY_FOLDER}/runs.csv",
        fit=f"{STUDY_FOLDER}/fit.json",
        table=f"{STUDY_FOLDER}/table.md",
