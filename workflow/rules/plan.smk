include: "common_grid.smk"


checkpoint plan_experiments:
    input:
        study=STUDY_FILE,
        meta=META_FILE,
        code=note_edited_code(STUDY, STUDY_FOLDER, write=MAIN),
        pilot=finished_pilot if LR_PILOT else [],
    output:
        plan=f"{STUDY_FOLDER}/plan.csv",
        specs=f"{STUDY_FOLDER}/specs.json",
        summary=f"{STUDY_FOLDER}/plan.log",
        # The study that was planned. Later steps read this copy, so that a configuration edited
        # while the study runs cannot mix with it.
        study=PLANNED_STUDY_FILE,
    log:
        f"{STUDY_FOLDER}/logs/plan.log",
    localrule: True
    conda:
        "../../envs/environment.yaml"
    resources:
        # A resource triggers no rerun.
        data_folder=DATA_FOLDER,
    script:
        "../scripts/plan.py"
