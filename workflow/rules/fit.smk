rule fit_laws:
    input:
        runs=f"{STUDY_FOLDER}/runs.csv",
        study=PLANNED_STUDY_FILE,
        sources=sources_of("fit.py"),
    output:
        fit=f"{STUDY_FOLDER}/fit.json",
    log:
        f"{STUDY_FOLDER}/logs/fit.log",
    localrule: True
    conda:
        "../../envs/environment.yaml"
    # The resamples are shared among as many cores as there are; the numbers are the same on one.
    threads: cores_here(workflow)
    script:
        "../scripts/fit.py"


rule fit:
    input:
        rules.fit_laws.output.fit,
    localrule: True
