def nothing_to_train(wildcards):
    """Refuse a target of studies that train their runs."""
    raise ResourceValidationError(
        f"{STUDY.config_file}: runs_table: a study that brings its own runs has nothing to plan or "
        "train; its targets are fit and report"
    )


rule collect:
    input:
        table=str(STUDY.runs_table.path),
        study=STUDY_FILE,
        sources=sources_of("import_runs.py"),
    output:
        runs=f"{STUDY_FOLDER}/runs.csv",
    log:
        f"{STUDY_FOLDER}/logs/collect.log",
    localrule: True
    conda:
        "../../envs/environment.yaml"
    script:
        "../scripts/import_runs.py"


rule plan:
    # These are there to say that they are not: as targets nobody makes, Snakemake would take
    # them for files that no rule writes.
    localrule: True
    resources:
        study=nothing_to_train,


rule calibrate:
    localrule: True
    resources:
        study=nothing_to_train,


rule runs:
    localrule: True
    resources:
        study=nothing_to_train,


rule partial:
    localrule: True
    resources:
        study=nothing_to_train,


rule simulate:
    localrule: True
    resources:
        study=nothing_to_train,
