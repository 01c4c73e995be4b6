# A pilot of learning rates: waves of experiments in a folder of their own, before the sweep is planned.
# Each wave extends the rates whose minimum is not found; an empty one decides.


checkpoint plan_lr_pilot:
    # The runs are ancient(): one that is trained again must not begin other waves. plan.csv,
    # specs.json and decision.json are not declared: they last, and grow with each wave.
    input:
        study=STUDY_FILE,
        meta=META_FILE,
        code=note_edited_code(STUDY, STUDY_FOLDER, write=MAIN),
        runs=ancient(earlier_pilot_runs),
    output:
        table=f"{PILOT_FOLDER}/waves/{{wave}}.csv",
        summary=f"{PILOT_FOLDER}/waves/{{wave}}.log",
    log:
        f"{STUDY_FOLDER}/logs/lr_pilot_{{wave}}.log",
    localrule: True
    conda:
        "../../envs/environment.yaml"
    resources:
        # A resource triggers no rerun.
        data_folder=DATA_FOLDER,
    script:
        "../scripts/plan_lr_pilot.py"


use rule train as train_pilot with:
    input:
        plan=ancient(f"{PILOT_FOLDER}/plan.csv"),
    output:
        run=f"{PILOT_FOLDER}/runs/{{id}}.json",
    log:
        f"{PILOT_FOLDER}/logs/{{id}}.log",
    benchmark:
        f"{PILOT_FOLDER}/benchmarks/{{id}}.tsv"
    threads: requested_of_pilot("threads")
    resources:
        gpu=requested_of_pilot("gpu"),
        gpu_model=requested_of_pilot("gpu_model"),
        nodes=requested_of_pilot("nodes"),
        tasks=requested_of_pilot("tasks"),
        mpi=requested_of_pilot("mpi"),
        slurm_extra=requested_of_pilot("slurm_extra"),
        mem_mb=requested_of_pilot("mem_mb"),
        runtime=requested_of_pilot("runtime"),
