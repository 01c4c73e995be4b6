# A design: its experiments are chosen in rounds, each from the runs of the rounds before.
include: "common_rounds.smk"


rule keep_study:
    # The study that is planned. All rounds and later steps read this copy, so that a configuration
    # edited while the study runs cannot mix with it.
    input:
        STUDY_FILE,
    output:
        PLANNED_STUDY_FILE,
    log:
        f"{STUDY_FOLDER}/logs/keep_study.log",
    localrule: True
    conda:
        "../../envs/environment.yaml"
    shell:
        "cp {input:q} {output:q} 2> {log:q}"


checkpoint plan_round:
    # The runs are ancient(): a run that is trained again must not make later rounds choose again.
    # plan.csv, specs.json, plan.log and rounds/<round>.json are written as well, and not declared:
    # Snakemake would delete them before the next round is planned. Trainings go by plan.csv as those
    # of a grid do, so that a study may become the other one.
    input:
        study=PLANNED_STUDY_FILE,
        meta=META_FILE,
        code=note_edited_code(STUDY, STUDY_FOLDER, write=MAIN),
        pilot=finished_pilot if LR_PILOT else [],
        runs=ancient(earlier_runs),
    output:
        table=f"{STUDY_FOLDER}/rounds/{{round}}.csv",
        text=f"{STUDY_FOLDER}/rounds/{{round}}.md",
    log:
        f"{STUDY_FOLDER}/logs/round_{{round}}.log",
    localrule: True
    conda:
        "../../envs/environment.yaml"
    resources:
        # A resource triggers no rerun.
        data_folder=DATA_FOLDER,
    script:
        "../scripts/plan_round.py"
