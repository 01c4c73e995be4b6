"""A study that brings its own runs: from the table to the report, where torch is missing."""

from __future__ import annotations

import csv
import gzip
import json

import numpy as np
import pandas as pd
import pytest
import yaml
from checkout import jobs_of

E, A, B, ALPHA, BETA = 1.69, 406.4, 410.7, 0.34, 0.28


def their_runs() -> pd.DataFrame:
    """Runs of a known surface with 4.5 FLOPs per parameter and token, in somebody's columns."""
    C = np.repeat([1e18, 1e19, 1e20, 1e21, 1e22], 7)
    best = (ALPHA * A / (BETA * B)) ** (1 / (ALPHA + BETA)) * (C / 4.5) ** (BETA / (ALPHA + BETA))
    N = best * np.tile(np.exp(np.linspace(-1.5, 1.5, 7)), 5)
    D = C / (4.5 * N)
    noise = np.exp(1e-4 * np.random.default_rng(0).normal(size=C.size))
    loss = (E + A / N**ALPHA + B / D**BETA) * noise
    columns = {"run": [f"run-{i}" for i in range(35)], "n_params": N, "tokens": D, "flops": C}
    return pd.DataFrame(columns | {"val loss": loss, "note": "text, with a comma"})


@pytest.fixture
def own(checkout):
    """A checkout with such a study, in an environment where `import torch` fails."""
    without = checkout.path / "without"
    (without / "torch").mkdir(parents=True)
    (without / "torch" / "__init__.py").write_text('raise ImportError("no torch here")')
    checkout.variables["PYTHONPATH"] = str(without)
    folder = checkout.path / "config" / "studies"
    their_runs().to_csv(folder / "theirs.csv", index=False)
    names = {"id": "run", "N": "n_params", "D": "tokens", "C": "flops", "loss": "val loss"}
    study = {
        "study": "own",
        "runs_table": {"path": "theirs.csv", "columns": names},
        "fit": {"bootstrap": 100},
        "predict": {"budgets": [1e24]},
    }
    (folder / "own.yaml").write_text(yaml.safe_dump(study))
    return checkout


CONFIG = "config/studies/own.yaml"


def test_a_table_gives_laws_table_and_figures_without_torch(own):
    output = own.succeed("--cores", "2", config=CONFIG)
    assert jobs_of(output) == 0
    results = own.path / "results" / "own"
    fit = json.loads((results / "fit.json").read_text())
    assert fit["n_runs"] == 35
    assert fit["k"]["value"] == pytest.approx(4.5)
    for name in ("3", "vpnls"):
        surface = fit["approaches"][name]["surface"]
        # The noise of 0.01% lets the exponents scatter by 0.2%
        assert surface["alpha"] == pytest.approx(ALPHA, rel=0.02)
        assert surface["beta"] == pytest.approx(BETA, rel=0.02)
        assert surface["E"] == pytest.approx(E, rel=0.01)
        low, high = fit["approaches"][name]["N_opt"]["ci"]["exponent"]
        assert low < BETA / (ALPHA + BETA) < high
    rows = list(csv.DictReader((results / "table.csv").open()))
    assert [float(row["C"]) for row in rows] == [1e18, 1e19, 1e20, 1e21, 1e22, 1e24]
    G = (ALPHA * A / (BETA * B)) ** (1 / (ALPHA + BETA))
    truth = G * (1e24 / 4.5) ** (BETA / (ALPHA + BETA))
    assert float(rows[-1]["N_opt"]) == pytest.approx(truth, rel=0.05)
    assert rows[-1]["extrapolated"] == "True"
    text = (results / "table.md").read_text()
    assert "Hold-out" in text
    assert "6ND differs from the FLOPs really spent by +33.3%" in text
    for figure in ("isoflop_profiles", "optimum_scaling"):
        assert (results / "figures" / f"{figure}.png").stat().st_size > 10_000
    # Nothing is left to do
    assert "Nothing to be done" in own.succeed("--cores", "1", config=CONFIG)


def test_a_table_as_a_tracker_exports_it_gives_the_same_laws(own):
    """Semicolons, decimal commas, usual names, states, blank rows, gzip: nothing is mapped."""
    runs = their_runs().drop(columns=["run", "note"]).rename(columns={"val loss": "val/loss"})
    runs["n_params"] = [f"{N / 1e6:.6f}M".replace(".", ",") for N in runs["n_params"]]
    runs["State"] = "finished"
    crashed = runs.iloc[[3, 17]].assign(State="crashed", **{"val/loss": 9.0})
    text = pd.concat([runs, crashed]).to_csv(index=False, sep=";", decimal=",")
    folder = own.path / "config" / "studies"
    (folder / "theirs.csv.gz").write_bytes(gzip.compress(text.replace("\n", "\n;;;;\n").encode()))
    study = {"study": "own", "runs_table": "theirs.csv.gz", "fit": {"bootstrap": 0}}
    (folder / "own.yaml").write_text(yaml.safe_dump(study))
    own.succeed("--cores", "2", config=CONFIG)
    fit = json.loads((own.path / "results" / "own" / "fit.json").read_text())
    assert (fit["n_runs"], fit["params"], fit["k"]["value"]) == (
        35, "as_in_table", pytest.approx(4.5)
    )  # fmt: skip
    assert [entry["reason"] for entry in fit["excluded"]] == [
        "not finished: crashed in the table"
    ] * 2
    assert fit["approaches"]["vpnls"]["surface"]["alpha"] == pytest.approx(ALPHA, rel=0.02)
    text = (own.path / "results" / "own" / "table.md").read_text()
    assert "2 of 37 runs of the table are left out" in text


def test_a_row_that_is_too_long_stops_the_study_with_its_line(own):
    table = own.path / "config" / "studies" / "theirs.csv"
    lines = table.read_text().splitlines()
    lines[9] = "7," + lines[9]
    table.write_text("\n".join(lines))
    printed = own.refuse("--cores", "1", config=CONFIG)
    log = own.path / "results" / "own" / "logs" / "collect.log"
    told = printed + (log.read_text() if log.exists() else "")
    assert "theirs.csv: cannot be read as a table of runs" in told
    assert "line 10 has 7 fields, but the header has 6" in told
    assert not (own.path / "results" / "own" / "runs.csv").exists()
