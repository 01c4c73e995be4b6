"""Merge the run records of the plan into runs.csv, and forget the stored copies."""

from pathlib import Path

from flops_fit.files.rows import csv_text
from flops_fit.files.writing import write_whole
from flops_fit.pipeline.collecting import collect_runs
from flops_fit.pipeline.script import reported
from flops_fit.plan.files import read_plan, whole_plan
from flops_fit.records.experiment_files import clear_stored_records
from flops_fit.records.merged_runs import MergedRun
from flops_fit.study.study import Study

with reported(snakemake.log[0]):
    folder = Path(snakemake.output.runs).parent
    study = Study.load(snakemake.input.study)
    rows = collect_runs(
        read_plan(whole_plan(snakemake.input.plan)), folder, study.fit.params, study.name
    )
    write_whole(snakemake.output.runs, csv_text(MergedRun, rows))
    clear_stored_records(folder, (row.id for row in rows))
