"""Fit and report what is finished so far, and list what is missing and why."""

from flops_fit.pipeline.partial import fit_partial
from flops_fit.pipeline.progress import resampling_bar
from flops_fit.pipeline.script import reported
from flops_fit.plan.files import read_plan, whole_plan
from flops_fit.study.study import Study, unit_of

with reported(snakemake.log[0]):
    with resampling_bar() as progress:
        folder = fit_partial(
            Study.load(snakemake.input.study),
            read_plan(whole_plan(snakemake.input.plan)),
            whole_plan(snakemake.input.plan).parent,
            unit_of(snakemake.input.unit),
            workers=snakemake.threads,
            progress=progress,
        )
    print((folder / "table.md").read_text(encoding="utf-8"))
    print(f"Table, figures and laws so far: {folder}; what is missing: {folder / 'missing.txt'}")
