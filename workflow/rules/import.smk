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
