rule collect:
    input:
        plan=f"{STUDY_FOLDER}/plan.csv",
        study=STUDY_FILE,
        runs=planned_runs,
    output:
        runs=f"{STUDY_FOLDER}/runs.csv",
    log:
        f"{STUDY_FOLDER}/logs/collect.log",
    conda:
        "../../envs/environment.yaml"
    script:
        "../scripts/collect.py"


rule fit_laws:
    input:
        runs=f"{STUDY_FOLDER}/runs.csv",
        study=STUDY_FILE,
        sources=library_sources("laws"),
    output:
        fit=f"{STUDY_FOLDER}/fit.json",
    log:
        f"{STUDY_FOLDER}/logs/fit.log",
    conda:
        "../../envs/environment.yaml"
    script:
        "../scripts/fit.py"


rule fit:
    input:
        rules.fit_laws.output.fit,
    localrule: True
