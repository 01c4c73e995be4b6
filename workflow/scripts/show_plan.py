"""Print the plan and its price."""

from pathlib import Path

from flops_fit.pipeline.outlook import outlook_of
from flops_fit.pipeline.pricing import Call, price_of_plan, summary_of
from flops_fit.pipeline.script import reported
from flops_fit.plan.files import study_folder_of
from flops_fit.study.study import Study

with reported(snakemake.log[0]):
    study, params = Study.load(snakemake.input.study), snakemake.params
    folder = study_folder_of(snakemake.input.plan)
    print(summary_of(folder), flush=True)
    outlook = outlook_of(study, folder, Path(params.meta), Path(params.data_folder))
    print(price_of_plan(study, outlook, Call(**params.call)))
