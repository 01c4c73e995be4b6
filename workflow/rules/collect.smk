rule collect:
    input:
        plan=PLAN,
        study=PLANNED_STUDY_FILE,
        runs=planned_runs,
        sources=sources_of("collect.py"),
    output:
        runs=f"{STUDY_FOLDER}/runs.csv",
    log:
        f"{STUDY_FOLDER}/logs/collect.log",
    localrule: True
    conda:
        "../../envs/environment.yaml"
    script:
        "../scripts/collect.py"


rule partial:
    # Without an output it runs whenever it is asked for; what it reads beside the plan may change
    # at any moment.
    input:
        plan=PLAN,
        study=PLANNED_STUDY_FILE,
        unit=ancient(UNIT_FILE),
    log:
        f"{STUDY_FOLDER}/logs/partial.log",
    localrule: True
    conda:
        "../../envs/environment.yaml"
    threads: cores_here(workflow)
    script:
        "../scripts/partial.py"
