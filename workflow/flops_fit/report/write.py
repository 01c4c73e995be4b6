"""Write the report's files into one folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from flops_fit.files.writing import whole_file, write_whole
from flops_fit.report.figures.backtest import backtest_figure
from flops_fit.report.figures.isoflop_profiles import isoflop_profiles
from flops_fit.report.figures.optimum_scaling import optimum_scaling
from flops_fit.report.figures.saving import save
from flops_fit.report.fitted import ReportedFit
from flops_fit.report.tables import prediction_table, table_markdown


def write_report(
    fit: Mapping[str, Any], runs: pd.DataFrame, folder: str | Path, unit: str
) -> list[Path]:
    """Write `table.csv`, `table.md` and `figures/*.{svg,png}`, each whole or not at all.

    A figure of an earlier backtest is removed if there is none now.

    Parameters
    ----------
    fit : mapping
        Content of `fit.json`.
    runs : DataFrame
        Content of `runs.csv`.
    folder : path
        Where to write; created if missing.
    unit : str
        What D counts, in the singular: `token`, `image`, ...

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    UserError
        If `fit` is not a fit.json of this version.
    """
    folder = Path(folder)
    fitted = ReportedFit.from_json(fit, str(folder / "fit.json"))
    written = [folder / "table.csv", folder / "table.md"]
    with whole_file(written[0]) as temporary:
        prediction_table(fitted).to_csv(temporary, index=False)
    write_whole(written[1], table_markdown(fitted, unit=unit))
    figures = folder / "figures"
    written += save(isoflop_profiles(fitted, runs, unit), figures / "isoflop_profiles")
    written += save(optimum_scaling(fitted, runs, unit), figures / "optimum_scaling")
    test = backtest_figure(fitted)
    if test is not None:
        written += save(test, figures / "backtest")
    else:
        for suffix in ("svg", "png"):
            (figures / f"backtest.{suffix}").unlink(missing_ok=True)
    return written
