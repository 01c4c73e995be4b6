rule prepare:
    output:
        meta=f"{DATA_FOLDER}/meta.json",
    log:
        f"{DATA_FOLDER}/prepare.log",
    localrule: True
    conda:
        "../../envs/environment.yaml"
    resources:
        # No input: studies share a dataset's folder, and one must not prepare it again for the other.
        # A resource triggers no rerun; the folder's name covers the relevant part of the study.
        study=STUDY_FILE,
    script:
        "../scripts/prepare.py"
