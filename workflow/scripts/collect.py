"""Merge the run records of the plan into runs.csv, and forget the stored copies."""

from pathlib import Path

from flops_fit.files.writing import write_whole
from flops_fit.pipeline.script import reported
from flops_fit.plan.plan import read_plan
from flops_fit.records.experiment_files import clear_stored_records
from flops_fit.records.merged_runs import collect_runs, runs_csv
from flops_fit.study.study import Study

with reported(snakemake.log[0]):
    folder = Path(snakemake.output.runs).parent
    study = Study.load(snakemake.input.study)
    rows = collect_runs(read_plan(snakemake.input.plan), folder, study.fit.params, study.name)
    write_whole(snakemake.output.runs, runs_csv(rows))
    clear_stored_records(folder, (row["id"] for row in rows))
