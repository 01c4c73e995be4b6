"""Let the dataset do its one-off work and measure it: meta.json."""

from pathlib import Path

from flops_fit.pipeline.script import reported
from flops_fit.study.study import Study

with reported(snakemake.log[0]):
    from flops_fit.user_code.prepare import prepare

    study, meta = Study.load(snakemake.resources.study), Path(snakemake.output.meta)
    study.check_data_folder(meta.parent)
    prepare(study, meta)
