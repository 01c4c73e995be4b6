from flops_fit.pipeline.calls import call_of, resource_of_calibration

TRAIN_RULE = workflow.modifier.modify_rulename("train")
CALL = partial(call_of, workflow, TRAIN_RULE, main=MAIN)
CALIBRATION = partial(resource_of_calibration, workflow, TRAIN_RULE, PLAN)


rule calibrate:
    # Without an output it runs whenever it is asked for, and times nothing that it has timed before.
    input:
        plan=PLAN,
        study=PLANNED_STUDY_FILE,
    log:
        f"{STUDY_FOLDER}/logs/calibrate.log",
    conda:
        "../../envs/environment.yaml"
    # On a cluster it is a job like one of the rule train, with the hardware of the experiments.
    threads: lambda wildcards, attempt: CALIBRATION("threads", attempt)
    resources:
        gpu=lambda wildcards, attempt: CALIBRATION("gpu", attempt),
        gpu_model=lambda wildcards, attempt: CALIBRATION("gpu_model", attempt),
        nodes=lambda wildcards, attempt: CALIBRATION("nodes", attempt),
        tasks=lambda wildcards, attempt: CALIBRATION("tasks", attempt),
        mpi=lambda wildcards, attempt: CALIBRATION("mpi", attempt),
        slurm_extra=lambda wildcards, attempt: CALIBRATION("slurm_extra", attempt),
        slurm_account=lambda wildcards, attempt: CALIBRATION("slurm_account", attempt),
        slurm_partition=lambda wildcards, attempt: CALIBRATION(
            "slurm_partition", attempt
        ),
        mem_mb=lambda wildcards, attempt: CALIBRATION("mem_mb", attempt),
        runtime=lambda wildcards, attempt: CALIBRATION("runtime", attempt),
    params:
        call=lambda wildcards: CALL(),
        meta=META_FILE,
        data_folder=DATA_FOLDER,
    script:
        "../scripts/calibrate.py"


rule plan:
    # Without an output it runs whenever it is asked for: `snakemake plan` always shows the plan, and
    # its price.
    input:
        plan=PLAN,
        # A design writes it with every round, undeclared.
        summary=[] if DESIGNED else f"{STUDY_FOLDER}/plan.log",
        study=PLANNED_STUDY_FILE,
    log:
        f"{STUDY_FOLDER}/logs/show_plan.log",
    localrule: True
    conda:
        "../../envs/environment.yaml"
    # Where it times short trainings, nothing else disturbs them.
    threads: cores_here(workflow)
    params:
        call=lambda wildcards: CALL(),
        meta=META_FILE,
        data_folder=DATA_FOLDER,
    script:
        "../scripts/show_plan.py"
