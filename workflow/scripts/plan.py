"""Measure every size, lay out the experiments, and print what they cost."""

from pathlib import Path

from flops_fit.files.writing import write_json, write_whole
from flops_fit.pipeline.script import reported
from flops_fit.plan.files import plan_csv, plan_specs
from flops_fit.plan.plan import make_plan
from flops_fit.plan.summary import plan_headline, plan_summary
from flops_fit.study.study import Study
from flops_fit.user_code.dataset_meta import DatasetMeta

with reported(snakemake.log[0]):
    from flops_fit.user_code.measure import measure_sizes

    study = Study.load(snakemake.input.study)
    folder = Path(snakemake.input.meta).parent
    study.check_data_folder(folder)
    write_whole(snakemake.output.study, study.to_json())
    plan = make_plan(study, measure_sizes(study, folder), DatasetMeta.load(snakemake.input.meta))
    specs = plan_specs(plan, study, data_folder=str(folder), search_folder=str(study.folder))
    write_json(snakemake.output.specs, specs)
    write_whole(snakemake.output.summary, plan_summary(plan))
    write_whole(snakemake.output.plan, plan_csv(plan))
    print(f"{plan_headline(plan)} (all of it: {snakemake.output.summary})")
