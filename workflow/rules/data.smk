rule prepare:
    # Makes meta.json in the dataset's folder as well, and does not declare it: studies share it, and
    # Snakemake would lock out all others until this run ends. flops_fit.pipeline.prepared says more.
    output:
        meta=copy_of_meta(DATA_FOLDER, STUDY_FOLDER),
    log:
        f"{STUDY_FOLDER}/logs/prepare.log",
    localrule: True
    conda:
        "../../envs/environment.yaml"
    resources:
        # No input: studies share a dataset's folder, and one must not prepare it again for the other.
        # A resource triggers no rerun; the folder's name covers the relevant part of the study.
        study=STUDY_FILE,
        data_folder=DATA_FOLDER,
    script:
        "../scripts/prepare.py"
