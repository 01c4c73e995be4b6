"""Imported tables: read, mapped, derived, fitted without torch, and refused in one sentence."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from flops_fit.errors import UserError
from flops_fit.pipeline.fitting import fit_study
from flops_fit.records.imported_table import import_runs
from flops_fit.study.study import RunsTable, Study, unit_of
from judged import found, only


def frame(n_budgets=4, n_sizes=6):
    C = np.repeat(np.logspace(18, 21, n_budgets), n_sizes)
    N = 0.1 * C**0.5 * np.tile(np.exp(np.linspace(-1.2, 1.2, n_sizes)), n_budgets)
    D = C / (6 * N)
    return pd.DataFrame({"N": N, "D": D, "C": C, "loss": 1.7 + 400 / N**0.34 + 410 / D**0.28})


def read(path, columns=None, unit="token"):
    return import_runs(RunsTable(path=path, columns=columns or {}, unit=unit))


def fit(path, tmp_path, **keys):
    raw = {"study": "own", "runs_table": str(path)} | keys
    study = Study.from_config(raw, tmp_path / "study.yaml")
    runs = tmp_path / "runs.csv"
    import_runs(study.runs_table).to_csv(runs, index=False)
    return fit_study(study, runs)


KINDS = ["csv", "tsv", "jsonl", "ndjson", "parquet"]


def write(data, path):
    kind = path.suffix[1:]
    if kind == "parquet":
        data.to_parquet(path)
    elif kind in ("jsonl", "ndjson"):
        data.to_json(path, orient="records", lines=True, double_precision=15)
    else:
        data.to_csv(path, index=False, sep="\t" if kind == "tsv" else ",")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_gives_the_same_runs(tmp_path, kind):
    path = tmp_path / f"runs.{kind}"
    data = frame()
    write(data, path)
    found = read(path)
    for name in ("N", "D", "C", "loss"):
        np.testing.assert_allclose(found[name], data[name], rtol=1e-12)
    assert found["id"].tolist()[:2] == ["row 1", "row 2"]
    assert set(found["status"]) == {"completed"}


def test_columns_are_mapped_and_case_does_not_matter(tmp_path):
    path = tmp_path / "runs.csv"
    data = frame().rename(columns={"N": "params", "C": "c", "loss": "Loss"})
    data.assign(ignored=1).to_csv(path, index=False)
    found = read(path, {"N": "params"})
    np.testing.assert_allclose(found["C"], frame()["C"])
    assert "ignored" not in found


@pytest.mark.parametrize("kind", KINDS)
def test_mapped_columns_of_every_kind_are_fitted(tmp_path, kind):
    path = tmp_path / f"runs.{kind}"
    theirs = {"N": "n params", "D": "tokens", "C": "flops", "loss": "val/loss", "seed": "s"}
    data = frame(5).assign(seed=np.arange(30) % 2, note="text").rename(columns=theirs)
    # A run that was not finished has no loss: an empty cell, a null
    data.loc[30] = data.loc[29]
    data.loc[30, "val/loss"] = np.nan
    data["state"] = ["completed"] * 30 + ["diverged"]
    write(data, path)
    table = {"path": str(path), "columns": theirs | {"status": "state"}}
    study = Study.from_config(
        {"study": "own", "runs_table": table, "fit": {"bootstrap": 0, "approaches": ["3"]}},
        tmp_path / "study.yaml",
    )
    runs = tmp_path / "runs.csv.out"
    import_runs(study.runs_table).to_csv(runs, index=False)
    result = fit_study(study, runs)
    assert result["n_runs"] == 30
    assert result["excluded"] == [{"id": "row 31", "reason": "diverged"}]
    assert result["approaches"]["3"]["surface"]["alpha"] == pytest.approx(0.34, rel=1e-6)


@pytest.mark.parametrize("missing", ["C", "D"])
def test_a_missing_C_or_D_is_derived_and_said(tmp_path, missing):
    path = tmp_path / "runs.csv"
    frame().drop(columns=missing).to_csv(path, index=False)
    np.testing.assert_allclose(read(path)[missing], frame()[missing], rtol=1e-12)
    result = fit(path, tmp_path, fit={"bootstrap": 0, "approaches": ["3"]})
    values = only(result, "derived_column", None)
    assert values == {"column": missing, "k": 6.0, "n": 24, "of": 24, "assumed": True}


def test_a_table_is_fitted_like_a_plan(tmp_path):
    path = tmp_path / "runs.csv"
    frame(5).to_csv(path, index=False)
    result = fit(path, tmp_path, fit={"bootstrap": 0, "params": "total"})
    assert [e["status"] for e in result["approaches"].values()] == ["ok"] * 4
    surface = result["approaches"]["3"]["surface"]
    assert surface["alpha"] == pytest.approx(0.34, rel=1e-6)
    assert surface["beta"] == pytest.approx(0.28, rel=1e-6)


def test_a_large_table_is_fitted_from_file_to_laws(tmp_path):
    """More runs than are refitted in full: 21,000 rows, every approach, intervals that say how."""
    path = tmp_path / "runs.csv"
    rng = np.random.default_rng(0)
    data = pd.concat([frame(6, 7)] * 500, ignore_index=True)
    data["loss"] *= np.exp(0.02 * rng.normal(size=len(data)))
    data.to_csv(path, index=False)
    result = fit(path, tmp_path, fit={"bootstrap": 40, "params": "total"})
    assert result["n_runs"] == 21_000
    assert result["excluded"] == []
    assert [e["status"] for e in result["approaches"].values()] == ["ok"] * 4
    assert "(one Newton step each)" in result["interval_method"]
    for name in ("3", "vpnls"):
        surface = result["approaches"][name]["surface"]
        # An estimate from the truth, in its own standard errors
        assert abs(surface["a"] - 0.28 / 0.62) < 4 * surface["std_err"]["a"]
        assert 0 < surface["std_err"]["a"] < 0.01
    assert result["answer"]["if_form_is_exact"]["approach"] in ("3", "vpnls")


def test_C_that_is_not_6ND_is_judged(tmp_path):
    path = tmp_path / "runs.csv"
    data = frame(5)
    data["D"] *= 6 / 4.5
    data.to_csv(path, index=False)
    result = fit(path, tmp_path, fit={"bootstrap": 0})
    assert result["k"]["value"] == pytest.approx(4.5)
    assert found(result, "compute_differs_from_6nd")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.csv", None, "no such table"),
        ("runs.xlsx", "x", "must be one of .csv"),
        ("runs.csv", "", "cannot be read as a table"),
        ("runs.csv", "N,D,C,loss\n", "holds no runs"),
        ("runs.csv", "width,D,loss\n1,2,3\n", "lacks N; its columns are width, D, loss"),
        ("runs.csv", "N,loss\n1,2\n", "lacks C or D"),
        ("runs.csv", "N,D,loss\n1,2,3\n4,many,6\n", "D of row 2 is 'many'"),
        ("runs.jsonl", '{"N": 1}\nnonsense\n', "line 2 is not JSON"),
        ("runs.jsonl", "[1]\n", "line 1 is not an object"),
        ("runs.jsonl", '{"N": 1}\n{"N": ' + "[" * 10**5 + "]" * 10**5 + "}", "line 2 is not JSON"),
        ("runs.jsonl", '{"N": ' + "1" * 5000 + "}", "line 1 is not JSON"),
        ("runs.csv", "N,C,loss\n" + "1" * 5000 + ",2,3\n", r"^.{0,300}N of row 1 is '1{79}, but"),
        ("runs.parquet", "N,D,loss\n1,2,3\n", "cannot be read as a table"),
        ("gone.parquet", None, "no such table"),
    ],
)
def test_unusable_files_are_named_in_one_sentence(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        read(path)
    assert "\n" not in str(caught.value)


HEADER = "N,D,C,loss"


@pytest.mark.parametrize("separator", [",", "\t"])
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["9,1,2,12,3", "8,4,5,120,6"], "line 2 has 5 fields, but the header has 4"),
        (["1,2,12,3", "4,5,120,6,7"], "line 3 has 5 fields, but the header has 4"),
        (["1,2,12,3", "", "4,5,120"], "line 4 has 3 fields, but the header has 4"),
        (["1,2,12,3,,note"], "line 2 has 6 fields, but the header has 4"),
    ],
)
def test_rows_that_do_not_fit_the_header_are_refused_by_line(tmp_path, separator, rows, message):
    """pandas takes the first of too many fields for an index: every number moves by a column."""
    path = tmp_path / ("runs.csv" if separator == "," else "runs.tsv")
    path.write_text("\n".join([HEADER, *rows]).replace(",", separator))
    with pytest.raises(UserError, match=rf"{path}: .*\({message}\)"):
        read(path)


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        (HEADER + ",", ["1,2,12,3,", "4,5,120,6,"]),
        (HEADER, ["1,2,12,3,", "4,5,120,6,"]),
        (HEADER, ["1,2,12,3,,", "4,5,120,6"]),
        (HEADER + ",", ["1,2,12,3", "4,5,120,6"]),
        ("," + HEADER, ["0,1,2,12,3", "1,4,5,120,6"]),
        (HEADER, ['1,2,12,"3"', "", '4,"5",120,6', ""]),
        ("\ufeff" + HEADER, ["1, 2, 12, 3", "4, 5, 120, 6"]),
    ],
)
def test_commas_at_the_end_index_columns_and_quotes_move_nothing(tmp_path, header, rows):
    path = tmp_path / "runs.csv"
    path.write_text("\n".join([header, *rows]), encoding="utf-8")
    found = read(path)
    assert found[["N", "D", "C", "loss"]].to_numpy().tolist() == [[1, 2, 12, 3], [4, 5, 120, 6]]


def test_single_cells_of_C_and_D_are_derived_with_what_the_other_rows_spend(tmp_path):
    path = tmp_path / "runs.csv"
    data = frame(5)
    data["C"] *= 4.5 / 6
    truth = data.copy()
    data.loc[[3, 4], "C"] = np.nan
    data.loc[7, "D"] = np.nan
    data.to_csv(path, index=False)
    table = read(path)
    for name in ("C", "D"):
        np.testing.assert_allclose(table[name], truth[name], rtol=1e-12)
    assert table["C_6nd"].isna().tolist() == [i in (3, 4, 7) for i in range(30)]
    result = fit(path, tmp_path, fit={"bootstrap": 0, "approaches": ["3"]})
    expected = [("C", 2), ("D", 1)]
    derived = found(result, "derived_column", None)
    assert [(values["column"], values["n"]) for values in derived] == expected
    for values in derived:
        assert (values["k"], values["of"]) == (pytest.approx(4.5), 30)
        assert not values["assumed"]


def test_an_empty_status_is_completed(tmp_path):
    path = tmp_path / "runs.csv"
    status = ["", None, " ", "diverged", "completed"] * 6
    frame(5).assign(status=status).to_csv(path, index=False)
    found = read(path)["status"]
    assert found.tolist() == ["completed", "completed", "completed", "diverged", "completed"] * 6
    result = fit(path, tmp_path, fit={"bootstrap": 0, "approaches": ["3"]})
    assert (result["n_runs"], len(result["excluded"])) == (24, 6)


@pytest.mark.parametrize("name", ["loss", "N"])
def test_unusable_runs_are_said_to_be_in_the_table_that_the_user_gave(tmp_path, name):
    path = tmp_path / "theirs.csv"
    data = frame(5)
    data.loc[3, name] = np.nan
    data.to_csv(path, index=False)
    options = {"bootstrap": 0, "approaches": ["3"]}
    with pytest.raises(UserError, match=rf"^{path}: .*[rR]un row 4 is") as caught:
        fit(path, tmp_path, fit=options)
    assert "\n" not in str(caught.value)
    # A run that the study leaves out may be unusable
    assert fit(path, tmp_path, fit=options | {"exclude": ["row 4"]})["n_runs"] == 29


def test_a_wrong_map_suggests_the_right_name(tmp_path):
    path = tmp_path / "runs.csv"
    frame().rename(columns={"N": "n_params"}).to_csv(path, index=False)
    with pytest.raises(UserError, match="did you mean 'n_params'"):
        read(path, {"N": "nparams"})
    with pytest.raises(UserError, match="found 'M', expected names among"):
        read(path, {"M": "n_params"})


def test_training_keys_beside_a_table_are_refused():
    raw = {"study": "own", "runs_table": "runs.csv"}
    for name in ("model", "dataset", "loss", "plan", "train"):
        with pytest.raises(UserError, match=f"{name}: found beside runs_table"):
            Study.from_config(raw | {name: {}}, "study.yaml")
    study = Study.from_config(raw, "some/where/study.yaml")
    assert str(study.runs_table.path) == "some/where/runs.csv"
    assert study.plan is None


def test_the_unit_of_an_imported_study(tmp_path):
    for node, unit in (("runs.csv", "token"), ({"path": "r.csv", "unit": "image"}, "image")):
        study = Study.from_config({"study": "own", "runs_table": node}, "study.yaml")
        (tmp_path / "study.json").write_text(study.to_json())
        assert unit_of(tmp_path / "study.json") == unit
    (tmp_path / "meta.json").write_text(json.dumps({"unit": "byte"}))
    assert unit_of(tmp_path / "meta.json") == "byte"


def test_import_and_fit_need_no_torch(tmp_path):
    """From the file to the report, where `import torch` fails."""
    (tmp_path / "without" / "torch").mkdir(parents=True)
    (tmp_path / "without" / "torch" / "__init__.py").write_text('raise ImportError("no torch")')
    frame(5).to_csv(tmp_path / "own.csv", index=False)
    code = """
import sys
import pandas as pd
import flops_fit.cli, flops_fit.pipeline.progress
from flops_fit.pipeline.fitting import fit_study
from flops_fit.report.write import write_report
from flops_fit.records.imported_table import import_runs
from flops_fit.study.study import Study

raw = {"study": "own", "runs_table": "own.csv", "fit": {"bootstrap": 5}}
study = Study.from_config(raw, "study.yaml")
import_runs(study.runs_table).to_csv("runs.csv", index=False)
fit = fit_study(study, "runs.csv")
write_report(fit, pd.read_csv("runs.csv"), "report", "token")
print(fit["approaches"]["3"]["surface"]["alpha"])
try:
    import torch
except ImportError:
    print("no torch")
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join([str(tmp_path / "without"), *(p for p in sys.path if p)])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    alpha, torch = done.stdout.splitlines()[-2:]
    assert float(alpha) == pytest.approx(0.34, rel=1e-6)
    assert torch == "no torch"
    assert "approach 3" in (tmp_path / "report" / "table.md").read_text()
