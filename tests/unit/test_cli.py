"""The command flops-fit, on fits of known surfaces."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flops_fit.cli import main
from flops_fit.laws import Surface, fit_runs
from flops_fit.laws.comparison import compare
from flops_fit.laws.reading import FittedLaws
from flops_fit.laws.readouts.landscape import Landscape, Surfaces, shuffled_rows

TRUTH = Surface(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37)


def study(folder, name, tilt=0.0, **options):
    C = np.array([1e18, 10**18.5, 1e19, 10**19.5, 1e20])[:, None]
    N = TRUTH.G * (C / 6) ** TRUTH.a * np.exp(np.linspace(-1.5, 1.5, 9))
    rng = np.random.default_rng(sum(map(ord, name)))
    L = TRUTH.loss(N, C / (6 * N)) * np.exp(0.003 * rng.normal(size=N.shape))
    L = L * (C / 1e19) ** tilt
    C = np.broadcast_to(C, N.shape)
    runs = {"budget": C, "N": N, "D": C / (6 * N), "C": C, "loss": L}
    runs = {key: value.ravel() for key, value in runs.items()}
    options = {"bootstrap": 200} | options
    fit = fit_runs(runs, study=name, params="total", predict_budgets=[1e21], **options)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(fit))
    return path, fit


def earlier(fit):
    """The same fit as version 0.1.0 wrote it: without an answer, and without a kept surface."""
    exact = fit["answer"]["if_form_is_exact"]
    kept = {key: fit[key] for key in fit if key not in ("answer", "surface", "backtest")}
    return kept | {"recommended": {"approach": exact["approach"], "why": exact["why"]}}


def test_predict_prints_what_fit_json_says(tmp_path, capsys):
    path, fit = study(tmp_path, "one")
    assert main(["predict", str(path), "1e19", "1e21"]) == 0
    printed = capsys.readouterr().out
    rows = {row["C"]: row for row in fit["answer"]["predictions"]}
    for C in (1e19, 1e21):
        low, high = rows[C]["N_opt_ci"]
        assert f"{rows[C]['N_opt']:.4g} [{low:.3g}, {high:.3g}]" in printed
        assert f"{rows[C]['L_opt']:.4f}" in printed
    assert "C = 1e+21 extrapolates: 10 times above the largest" in printed
    assert "C = 1e+19 extrapolates" not in printed


@pytest.mark.parametrize("approach", ["2", "3", "vpnls"])
def test_params_and_tokens_find_their_partner(tmp_path, capsys, approach):
    path, _ = study(tmp_path, "one", approaches=[approach])
    for option, column in (("--params", 1), ("--tokens", 2)):
        assert main(["predict", str(path), option, "1e9"]) == 0
        row = capsys.readouterr().out.splitlines()[2]
        cells = [cell.split(" ")[0] for cell in row.split("  ") if cell]
        assert float(cells[column]) == pytest.approx(1e9, rel=1e-3)
        N, D = float(cells[1]), float(cells[2])
        assert 6 * N * D == pytest.approx(float(cells[0]), rel=2e-3)
        truth = TRUTH.G * (float(cells[0]) / 6) ** TRUTH.a
        assert N == pytest.approx(truth, rel=0.25)


def test_compare_finds_the_crossing(tmp_path, capsys):
    first, _ = study(tmp_path, "one")
    second, _ = study(tmp_path, "two", tilt=0.02)
    assert main(["compare", str(first), str(second)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("two") >= 2
    line = next(line for line in printed.splitlines() if line.startswith("They cross"))
    low, high = (float(x) for x in line.split("[")[1].split("]")[0].split(","))
    # The losses differ by the factor (C / 1e19)^0.02, which is 1 at 1e19
    assert low < 1e19 < high
    assert high / low < 3
    assert "100% of the draws cross" in printed
    rows = {line.split()[0]: line for line in printed.splitlines()}
    assert "  two  " in rows["1e+18"]
    assert "  one  " in rows["1e+20"]


def test_intervals_of_a_comparison_carry_the_small_sample_factors_of_the_fits(tmp_path):
    """Against a study without scatter, the difference is as uncertain as the other study's L."""
    fit = earlier(study(tmp_path, "one", approaches=["3"])[1])
    assert fit["prediction"]["stretch"] < 0.9
    laws = FittedLaws.from_json(fit, "fit.json")
    row = laws.estimate.path.rows
    still = Surfaces(rows=np.repeat(row, 200, axis=0), flops=laws.flops)
    still = replace(laws, draws=Landscape(path=still, shape=None, flops=laws.flops))
    found = compare(laws, still, np.array([1e18, 1e20]))
    for i, C in enumerate((1e18, 1e20)):
        L = laws.at_compute(C)["L_opt"]
        low, high = L.interval
        assert found.interval[0][i] == pytest.approx(low - L.value, rel=1e-6)
        assert found.interval[1][i] == pytest.approx(high - L.value, rel=1e-6)


def test_the_interval_of_a_crossing_scales_with_the_small_sample_factor(tmp_path):
    fits = [
        earlier(study(tmp_path, *a, approaches=["vpnls"])[1]) for a in (("one",), ("two", 0.02))
    ]
    widths = []
    for factor in (1e-9, 0.5, 1.0):
        for fit in fits:
            fit["prediction"]["stretch"] = factor
        laws = [FittedLaws.from_json(fit, "fit.json") for fit in fits]
        found = compare(*laws, np.array([1e19]))
        widths.append(np.log(found.crossing_interval[1] / found.crossing_interval[0]))
    # Draws that keep to the estimate cross where it does; a small factor is a linear map
    assert widths[0] < 1e-6
    assert widths[1] == pytest.approx(widths[2] / 2, rel=0.1)


def test_the_interval_of_a_crossing_is_that_of_the_draws(tmp_path):
    fits = [study(tmp_path, *a, approaches=["vpnls"], ci=0.8)[1] for a in (("one",), ("two", 0.02))]
    laws = [FittedLaws.from_json(fit, "fit.json") for fit in fits]
    found = compare(*laws, np.array([1e19]))
    log_C = np.linspace(np.log(1e17), np.log(1e21), 2001)
    one, two = (law.losses(np.exp(log_C))[1] for law in laws)
    gap = one - two[shuffled_rows(len(two))]
    crossings = [log_C[np.argmin(np.abs(row))] for row in gap]
    expected = np.quantile(crossings, [0.1, 0.9])
    np.testing.assert_allclose(np.log(found.crossing_interval), expected, atol=0.02)


def test_draws_of_the_same_resampled_rows_are_not_paired(tmp_path):
    """Two studies of one design and seed: row i of both draws comes from the same resample.

    The extreme are two studies of equal losses, whose draws are equal row by row. What the noise of
    one study did to it says nothing of the other: the difference scatters as of independent ones.
    """
    _, fit = study(tmp_path, "one", approaches=["vpnls"], bootstrap=1000, ci=0.8)
    laws = FittedLaws.from_json(fit, "one")
    C = np.array([1e18, 1e19, 1e20])
    found = compare(laws, replace(laws, study="two"), C)
    np.testing.assert_array_equal(found.difference, 0)
    draws = laws.losses(C)[1]
    one, two = np.random.default_rng(9).integers(len(draws), size=(2, 100_000))
    expected = np.quantile(draws[one] - draws[two], [0.1, 0.9], axis=0)
    np.testing.assert_allclose(found.interval, expected, rtol=0.12)


def test_the_gain_is_the_compute_that_the_worse_study_lacks(tmp_path):
    """Two power laws of which one needs 2.5 times the compute of the other at every loss."""
    fit = study(tmp_path, "one", approaches=["3"])[1]
    laws = FittedLaws.from_json(fit, "one")
    law = laws.draws.path
    later = replace(law, centre=law.centre + np.log(2.5))
    worse = replace(laws, draws=replace(laws.draws, path=later))
    C = np.array([1e18, 1e20, 1e22])
    for pair in ((laws, worse), (worse, laws)):
        found = compare(*pair, C)
        for gain in found.gain:
            assert gain.interval[0] < gain.value < gain.interval[1]
            assert gain.value == pytest.approx(2.5, rel=0.05)
    # Without scatter it is exact, and infinite where the loss lies below what the worse can reach
    still = replace(law, rows=np.tile(np.median(law.rows, axis=0), (4, 1)))
    paths = (still, replace(still, centre=later.centre))
    floor = still.rows + np.eye(7)[6]
    paths += (replace(still, rows=floor),)
    alone, behind, above = (replace(laws, draws=replace(laws.draws, path=path)) for path in paths)
    assert [gain.value for gain in compare(alone, behind, C).gain] == pytest.approx([2.5] * 3)
    assert [gain.value for gain in compare(above, alone, np.array([1e24])).gain] == [np.inf]


def test_each_study_is_marked_where_it_extrapolates_and_so_is_the_crossing(tmp_path, capsys):
    first, _ = study(tmp_path, "one", bootstrap=0)
    second, fit = study(tmp_path, "two", tilt=0.02, bootstrap=0)
    # As if the second had been measured at larger budgets than the first
    fit["prediction"]["budgets"] = [3e19, 1e21]
    second.write_text(json.dumps(fit))
    assert main(["compare", str(first), str(second), "5e19"]) == 0
    printed = capsys.readouterr().out
    marks = {}
    for line in printed.splitlines()[1:]:
        cells = [cell.strip() for cell in line.split("  ") if cell.strip()]
        if len(cells) == 6:
            marks[float(cells[0])] = ["extrapolated" in cell for cell in cells[1:3]]
    assert marks[1e18] == [False, True]
    assert marks[5e19] == [False, False]
    assert marks[1e21] == [True, False]
    assert marks[1e22] == [True, True]
    # They cross at 1e19, where the second was not measured
    assert "That crossing extrapolates two, which was measured from 3e+19 to 1e+21." in printed
    assert "extrapolates one" not in printed


def test_compute_may_stand_behind_an_option(tmp_path, capsys):
    path, _ = study(tmp_path, "one", bootstrap=0, approaches=["3"])
    printed = []
    for arguments in (["1e22", "--params", "7e9"], ["--params", "7e9", "1e22"]):
        assert main(["predict", str(path), *arguments]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert "1e+22" in printed[0]
    for mistake in (["--parms", "7e9"], ["--params", "7e9", "many"]):
        with pytest.raises(SystemExit) as stopped:
            main(["predict", str(path), *mistake])
        assert stopped.value.code == 2
        assert mistake[-1 if mistake[0] == "--params" else 0] in capsys.readouterr().err


def test_a_fit_without_intervals_predicts_without_them(tmp_path, capsys):
    path, fit = study(tmp_path, "one", bootstrap=0)
    path.write_text(json.dumps(earlier(fit)))
    assert main(["predict", str(path), "1e19"]) == 0
    printed = capsys.readouterr().out
    assert "no intervals" in printed
    assert "[" not in printed


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (None, ["1e19"], "cannot be read"),
        ("{", ["1e19"], "is not a JSON file"),
        ("{}", ["1e19"], "is not a fit.json"),
        ("[]", ["1e19"], "is not a fit.json"),
        ('{"recommended": {"approach": null, "why": "too few"}}', ["1e19"], "too few"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, capsys, content, arguments, message):
    path = tmp_path / "fit.json"
    if content is not None:
        path.write_text(content)
    assert main(["predict", str(path), *arguments]) == 1
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.startswith("error: ")
    assert printed.count("\n") == 1


def test_impossible_wishes_are_refused(tmp_path, capsys):
    path, _ = study(tmp_path, "one", bootstrap=0, approaches=["3"])
    for arguments, message in (
        ([], "Say what to predict"),
        (["0"], "positive number"),
        (["nan"], "positive number"),
        (["--params", "-1"], "positive number"),
        (["--tokens", "1e300"], "No compute between"),
    ):
        assert main(["predict", str(path), *arguments]) == 1
        assert message in capsys.readouterr().err


REAL = Path(__file__).parents[1] / "data" / "study_of_version_0.1.0" / "results"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "workflow")}


def test_explain_prints_one_experiment_or_the_differences_of_two(monkeypatch, capsys):
    monkeypatch.chdir(REAL.parent)
    assert main(["explain", "27a21803c6a8"]) == 0
    whole = capsys.readouterr().out
    assert "lr_scaling.power           0.0 (exponent)\n" in whole
    monkeypatch.chdir("/")
    results = ["--results", str(REAL)]
    for arguments in (["27a2", *results], [*results, "27a2"]):
        assert main(["explain", *arguments]) == 0
        assert capsys.readouterr().out.replace(str(REAL), "results") == whole
    for arguments in (["27a2", *results, "7af4"], [*results, "27a2", "7af4"]):
        assert main(["explain", *arguments]) == 0
        printed = capsys.readouterr().out
        assert "27 other fields of the spec are equal" in printed
        assert printed.startswith("27a21803c6a8  ")


@pytest.mark.parametrize("arguments", [[], ["27a2", "7af4", "8c33"], ["27a2", "--result=x", "-v"]])
def test_explain_takes_one_id_or_two(capsys, arguments):
    with pytest.raises(SystemExit) as stopped:
        main(["explain", *arguments])
    assert stopped.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_a_mistake_in_an_id_is_one_sentence(capsys):
    for text, message in (
        ("27b0", "the nearest: 27a21803c6a8"),
        ("2", "at least 4"),
        ("x", "no id"),
    ):
        assert main(["explain", text, "--results", str(REAL)]) == 1
        printed = capsys.readouterr().err
        assert printed.startswith("error: ")
        assert message in printed
        assert printed.count("\n") == 1


def test_what_a_terminal_cannot_spell_or_should_not_read_is_escaped(tmp_path):
    results = shutil.copytree(REAL, tmp_path / "r\u00e9sultats")
    (results / "points" / "runs" / "27a21803c6a8.json").unlink()
    (results / "points" / "logs").mkdir()
    log = results / "points" / "logs" / "27a21803c6a8.log"
    log.write_bytes("x launch\n\x1b[2Jcaf\u00e9 \u7d50\n".encode() + b"\xff\n")
    for encoding, spelled in (("ascii", "caf\\xe9 \\u7d50"), ("utf-8", "caf\u00e9 \u7d50")):
        done = subprocess.run(
            [sys.executable, "-m", "flops_fit.cli", "explain", "27a2", "--results", results],
            capture_output=True, env={**ENVIRONMENT, "PYTHONIOENCODING": encoding},
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, b"")
        assert f"\\x1b[2J{spelled}\n" in done.stdout.decode(encoding)


def test_explain_starts_without_what_takes_long_to_import():
    program = """
import sys
from flops_fit.cli import main
assert main(["explain", "27a2", "7af4"]) == 0
assert main(["explain", "27a2"]) == 0
print(*{"torch", "accelerate", "numpy", "scipy", "pandas"} & set(sys.modules), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REAL.parent, capture_output=True, text=True,
        env=ENVIRONMENT,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "\n")
    assert "0.386575 +- 0.011 nats per sample" in done.stdout


def test_a_results_folder_is_as_good_as_its_fit_json(tmp_path, capsys):
    path, _ = study(tmp_path, "fit", bootstrap=0, approaches=["3"])
    assert path.name == "fit.json"
    printed = []
    for place in (path, tmp_path):
        assert main(["predict", str(place), "1e20"]) == 0
        assert main(["compare", str(place), str(path), "1e20"]) == 0
        printed.append(capsys.readouterr().out.replace(str(path), str(tmp_path)).split())
    assert printed[0] == printed[1]
    (tmp_path / "empty").mkdir()
    assert main(["predict", str(tmp_path / "empty"), "1e20"]) == 1
    assert f"{tmp_path / 'empty' / 'fit.json'}: cannot be read" in capsys.readouterr().err
