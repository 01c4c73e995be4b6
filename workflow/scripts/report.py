"""Write the table and draw the figures."""

from pathlib import Path

import pandas as pd
from flops_fit.files.reading import read_json_object
from flops_fit.pipeline.script import reported
from flops_fit.study.study import unit_of

with reported(snakemake.log[0]):
    from flops_fit.report.write import write_report

    fit = read_json_object(snakemake.input.fit, ("answer", "judgements"))
    runs = pd.read_csv(snakemake.input.runs, dtype={"id": str})
    unit = unit_of(snakemake.input.unit)
    write_report(fit, runs, Path(snakemake.output.csv).parent, unit)
