"""Read the study's table of runs into runs.csv."""

from flops_fit.files.writing import write_whole
from flops_fit.pipeline.script import reported
from flops_fit.records.imported_table import import_runs
from flops_fit.study.study import Study

with reported(snakemake.log[0]):
    table = Study.load(snakemake.input.study).runs_table
    write_whole(snakemake.output.runs, import_runs(table).to_csv(index=False))
