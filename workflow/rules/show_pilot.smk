rule plan:
    # Of a study whose learning rates are not decided: what its pilot trains, and the sweep without them.
    input:
        plan=f"{PILOT_FOLDER}/waves/0.csv",
        summary=f"{PILOT_FOLDER}/waves/0.log",
    log:
        f"{STUDY_FOLDER}/logs/show_plan.log",
    # Without an output it runs whenever it is asked for: `snakemake plan` always shows the plan.
    localrule: True
    conda:
        "../../envs/environment.yaml"
    shell:
        "cat {input.summary:q} 2> {log:q}"
