rule train:
    # Frozen: a change of this list of inputs or of the parameters would train every experiment of
    # every study again. What may change lives in the launcher. The plan is ancient() because a plan
    # that gained an experiment must not retrain the others: an id never changes its meaning.
    input:
        plan=ancient(f"{STUDY_FOLDER}/plan.csv"),
    output:
        run=f"{STUDY_FOLDER}/runs/{{id}}.json",
    log:
        f"{STUDY_FOLDER}/logs/{{id}}.log",
    benchmark:
        f"{STUDY_FOLDER}/benchmarks/{{id}}.tsv"
    conda:
        "../../envs/environment.yaml"
    # One thread per process: two experiments side by side train several times faster on two cores
    # than one experiment with two threads. More: `--set-threads train=8`.
    threads: requested("threads")
    resources:
        gpu=requested("gpu"),
        # The rest is for batch systems and ignored on a single machine.
        gpu_model=requested("gpu_model"),
        nodes=requested("nodes"),
        tasks=requested("tasks"),
        mpi=requested("mpi"),
        slurm_extra=requested("slurm_extra"),
        mem_mb=requested("mem_mb"),
        runtime=requested("runtime"),
    shell:
        "python -m flops_fit.launch --plan {input.plan:q} --id {wildcards.id} --log {log:q} --threads {threads}"


rule runs:
    input:
        planned_runs,
        plan=PLAN_FILES,
    localrule: True
