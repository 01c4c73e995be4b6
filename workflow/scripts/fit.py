"""Fit the scaling laws to runs.csv: fit.json."""

from flops_fit.derived_files import write_json
from flops_fit.fitting import fit_study
from flops_fit.progress_bar import resampling_bar
from flops_fit.script import reported
from flops_fit.study import Study

with reported(snakemake.log[0]):
    study = Study.load(snakemake.input.study)
    with resampling_bar() as progress:
        fit = fit_study(study, snakemake.input.runs, workers=snakemake.threads, progress=progress)
    write_json(snakemake.output.fit, fit)
