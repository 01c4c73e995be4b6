"""Try the plan out on simulated losses: simulated/, and its summary printed."""

from pathlib import Path

from flops_fit.pipeline.progress import simulation_bar
from flops_fit.pipeline.script import reported
from flops_fit.pipeline.simulating import simulate_study, write_simulated
from flops_fit.study.study import Study
from flops_fit.user_code.dataset_meta import DatasetMeta

with reported(snakemake.log[0]):
    study = Study.from_config(snakemake.params.config, snakemake.params.config_file)
    folder, study_folder = Path(snakemake.resources.data_folder), Path(snakemake.log[0]).parents[1]
    meta = DatasetMeta.load(snakemake.input.meta)
    with simulation_bar() as progress:
        trials = simulate_study(study, folder, meta, workers=snakemake.threads, progress=progress)
    print(write_simulated(study, trials, study_folder))
    print(f"SIMULATED studies, one a row: {study_folder}/simulated/studies.csv")
