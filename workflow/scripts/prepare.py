"""Let the dataset do its one-off work and measure it, unless another study did: meta.json."""

from pathlib import Path

from flops_fit.files.writing import write_whole
from flops_fit.pipeline.script import reported
from flops_fit.study.study import Study

with reported(snakemake.log[0]):
    from flops_fit.pipeline.preparing import prepare_once

    study, folder = Study.load(snakemake.resources.study), Path(snakemake.resources.data_folder)
    study.check_data_folder(folder)
    prepare_once(study, folder / "meta.json")
    write_whole(snakemake.output.meta, (folder / "meta.json").read_bytes())
