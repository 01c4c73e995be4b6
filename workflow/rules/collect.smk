rule collect:
    input:
        plan=f"{STUDY_FOLDER}/plan.csv",
        study=STUDY_FILE,
        runs=planned_runs,
    output:
        runs=f"{STUDY_FOLDER}/runs.csv",
    log:
        f"{STUDY_FOLDER}/logs/collect.log",
    localrule: True
    conda:
        "../../envs/environment.yaml"
    script:
        "../scripts/collect.py"
