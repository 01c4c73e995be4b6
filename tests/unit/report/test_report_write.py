from __future__ import annotations

import csv

from fitted_study import without_answer
from flops_fit.report.fitted import ReportedFit
from flops_fit.report.tables import prediction_table, table_markdown
from flops_fit.report.write import write_report

read = ReportedFit.from_json

FILES = [
    "figures/isoflop_profiles.png",
    "figures/isoflop_profiles.svg",
    "figures/optimum_scaling.png",
    "figures/optimum_scaling.svg",
    "table.csv",
    "table.md",
]


def _files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_report_writes_tables_and_figures(fit, runs, tmp_path):
    folder = tmp_path / "new" / "report"
    written = write_report(fit, runs, folder, "image")
    assert _files(folder) == FILES
    assert sorted(str(path.relative_to(folder)) for path in written) == FILES
    assert (folder / "table.md").read_text("utf-8") == table_markdown(read(fit), unit="image")
    with open(folder / "table.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["N_opt"]) for row in rows] == prediction_table(read(fit))["N_opt"].tolist()


def test_report_of_nothing_fitted_is_still_written(fit, runs, tmp_path):
    without_answer(fit, "no approach gave laws")
    fit["approaches"]["2"] = {"status": "failed", "reason": "no minimum"}
    write_report(fit, runs, tmp_path, "token")
    assert _files(tmp_path) == FILES
