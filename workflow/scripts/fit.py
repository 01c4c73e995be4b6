"""Fit the scaling laws to runs.csv: fit.json."""

from flops_fit.files.writing import write_json
from flops_fit.pipeline.fitting import fit_study
from flops_fit.pipeline.progress import resampling_bar
from flops_fit.pipeline.script import reported
from flops_fit.study.study import Study

with reported(snakemake.log[0]):
    study = Study.load(snakemake.input.study)
    with resampling_bar() as progress:
        fit = fit_study(study, snakemake.input.runs, workers=snakemake.threads, progress=progress)
    write_json(snakemake.output.fit, fit)
