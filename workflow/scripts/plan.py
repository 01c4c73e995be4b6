"""Measure every size, lay out the experiments, and print what they cost."""

from pathlib import Path

from flops_fit.pipeline.lr_pilot import with_tuned_rates
from flops_fit.pipeline.planning import PlanFiles, plan_study
from flops_fit.pipeline.script import reported
from flops_fit.study.study import Study
from flops_fit.user_code.dataset_meta import DatasetMeta

with reported(snakemake.log[0]):
    study = Study.load(snakemake.input.study)
    folder = Path(snakemake.resources.data_folder)
    study.check_data_folder(folder)
    files = PlanFiles(**{name: Path(path) for name, path in snakemake.output.items()})
    meta = DatasetMeta.load(snakemake.input.meta)
    headline = plan_study(with_tuned_rates(study, meta, files.plan.parent), meta, folder, files)
    print(f"{headline} (all of it: {files.summary})")
