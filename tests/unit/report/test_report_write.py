from __future__ import annotations

import csv

import pytest
from flops_fit.report.files import whole_file
from flops_fit.report.tables import prediction_table, table_markdown
from flops_fit.report.write import write_report

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
    assert (folder / "table.md").read_text("utf-8") == table_markdown(fit, unit="image")
    with open(folder / "table.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["N_opt"]) for row in rows] == prediction_table(fit)["N_opt"].tolist()
    assert {row["D_per_N_lo"] for row in rows} == {""}


def test_report_of_nothing_fitted_is_still_written(fit, runs, tmp_path):
    fit["recommended"] = None
    fit["approaches"]["2"] = {"status": "failed", "reason": "no minimum", "warnings": []}
    write_report(fit, runs, tmp_path, "token")
    assert _files(tmp_path) == FILES


def test_interrupted_write_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "table.md"
    path.write_text("earlier")

    def write_half():
        with whole_file(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_files_are_readable_like_any_other(tmp_path):
    plain, whole = tmp_path / "plain", tmp_path / "whole"
    plain.write_text("")
    with whole_file(whole) as temporary:
        temporary.write_text("")
    assert whole.stat().st_mode == plain.stat().st_mode
