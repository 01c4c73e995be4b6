rule prepare:
    input:
        study=ancient(STUDY_FILE),
    output:
        meta=f"{DATA_FOLDER}/meta.json",
    log:
        f"{DATA_FOLDER}/prepare.log",
    conda:
        "../../envs/environment.yaml"
    script:
        "../scripts/prepare.py"
