rule draw:
    input:
        fit=f"{STUDY_FOLDER}/fit.json",
        runs=f"{STUDY_FOLDER}/runs.csv",
        unit=ancient(UNIT_FILE),
        sources=sources_of("report.py"),
    output:
        csv=f"{STUDY_FOLDER}/table.csv",
        markdown=f"{STUDY_FOLDER}/table.md",
        figures=multiext(
            f"{STUDY_FOLDER}/figures/",
            "isoflop_profiles.svg",
            "isoflop_profiles.png",
            "optimum_scaling.svg",
            "optimum_scaling.png",
        ),
    log:
        f"{STUDY_FOLDER}/logs/report.log",
    localrule: True
    conda:
        "../../envs/environment.yaml"
    script:
        "../scripts/report.py"
