rule simulate:
    # Without an output it runs whenever it is asked for, and nothing depends on it: it reads neither
    # the plan nor any run. It takes the configuration itself, since study.json leaves out what only
    # simulations read.
    input:
        meta=META_FILE,
    log:
        f"{STUDY_FOLDER}/logs/simulate.log",
    localrule: True
    conda:
        "../../envs/environment.yaml"
    # Studies are shared among as many processes as there are cores; the numbers are those of one.
    threads: cores_here(workflow)
    resources:
        data_folder=DATA_FOLDER,
    params:
        config=STUDY.config,
        config_file=STUDY.config_file,
    script:
        "../scripts/simulate.py"
