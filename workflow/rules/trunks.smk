# Trunks train what experiments share before the first of them is trained (plan.trunks). The rule train
# knows nothing of them: an experiment that finds no state of its trunk trains its beginning itself.
include: "common_trunks.smk"


rule trunk:
    # The states of the branches lie in their own folders (state/<id>/trunk.safetensors), undeclared,
    # until their records are written. A branch that is added trains the trunk as far as it needs it.
    input:
        plan=ancient(f"{STUDY_FOLDER}/plan.csv"),
    output:
        record=f"{STUDY_FOLDER}/trunks/{{trunk}}.json",
    log:
        f"{STUDY_FOLDER}/logs/{{trunk}}.log",
    conda:
        "../../envs/environment.yaml"
    threads: partial(resource_of_trunk, "threads")
    resources:
        gpu=partial(resource_of_trunk, "gpu"),
        gpu_model=partial(resource_of_trunk, "gpu_model"),
        nodes=partial(resource_of_trunk, "nodes"),
        tasks=partial(resource_of_trunk, "tasks"),
        mpi=partial(resource_of_trunk, "mpi"),
        slurm_extra=partial(resource_of_trunk, "slurm_extra"),
        mem_mb=partial(resource_of_trunk, "mem_mb"),
        runtime=partial(resource_of_trunk, "runtime"),
    params:
        branches=branches_of_trunk,
    shell:
        "python -m flops_fit.launch --plan {input.plan:q} --id {wildcards.trunk} --trunk --log {log:q} --threads {threads}"


checkpoint trunks:
    # Were they inputs of the experiments, Snakemake (9.27) would forget those that wait for a trunk
    # which is trained again, or train again those that do not.
    input:
        trunks_of_plan,
    output:
        trained=touch(f"{STUDY_FOLDER}/trunks/trained"),
    log:
        f"{STUDY_FOLDER}/logs/trunks.log",
    localrule: True
    conda:
        "../../envs/environment.yaml"
    shell:
        "true > {log:q}"


wildcard_constraints:
    trunk="[0-9a-f]{12}",
