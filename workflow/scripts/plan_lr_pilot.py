"""Choose what a wave of a learning-rate pilot trains, or decide."""

from pathlib import Path

from flops_fit.pipeline.lr_pilot import plan_wave
from flops_fit.pipeline.script import reported
from flops_fit.study.study import Study
from flops_fit.user_code.dataset_meta import DatasetMeta

with reported(snakemake.log[0]):
    study = Study.load(snakemake.input.study)
    folder = Path(snakemake.resources.data_folder)
    study.check_data_folder(folder)
    meta = DatasetMeta.load(snakemake.input.meta)
    number, table = int(snakemake.wildcards.wave), Path(snakemake.output.table)
    print(plan_wave(study, meta, folder, number, table, Path(snakemake.output.summary)))
