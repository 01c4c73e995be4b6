"""Choose what a round of a design trains, and print what it costs."""

from pathlib import Path

from flops_fit.pipeline.script import reported
from flops_fit.study.study import Study
from flops_fit.user_code.dataset_meta import DatasetMeta

with reported(snakemake.log[0]):
    from flops_fit.pipeline.designing import plan_round
    from flops_fit.pipeline.lr_pilot import with_tuned_rates

    study = Study.load(snakemake.input.study)
    folder = Path(snakemake.resources.data_folder)
    study.check_data_folder(folder)
    meta = DatasetMeta.load(snakemake.input.meta)
    table, text = Path(snakemake.output.table), Path(snakemake.output.text)
    study = with_tuned_rates(study, meta, table.parents[1])
    headline = plan_round(study, meta, folder, int(snakemake.wildcards.round), table, text)
    print(f"{headline} (more: {snakemake.output.text})")
