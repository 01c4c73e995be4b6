"""What flops-fit reads beside the optima: loss, price, inference, and partners of N and D."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from flops_fit.cli import main
from flops_fit.errors import UserError
from flops_fit.laws import Surface, fit_runs
from flops_fit.laws.reading import FittedLaws

TRUTH = Surface(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37)
EARLIER = Path(__file__).parents[1] / "data" / "study_of_version_0.1.0" / "results" / "points"


@pytest.fixture(scope="module")
def fits(tmp_path_factory):
    """Fits of one sweep: with all approaches, and with approach 2 alone."""
    C = np.array([1e18, 10**18.5, 1e19, 10**19.5, 1e20])[:, None]
    N = TRUTH.G * (C / 6) ** TRUTH.a * np.exp(np.linspace(-1.5, 1.5, 9))
    L = TRUTH.loss(N, C / (6 * N))
    L = L * np.exp(0.003 * np.random.default_rng(1).normal(size=L.shape))
    C = np.broadcast_to(C, N.shape)
    runs = {"budget": C, "N": N, "D": C / (6 * N), "C": C, "loss": L}
    runs = {key: value.ravel() for key, value in runs.items()}
    found = {}
    for name, approaches in (("all", None), ("profiles", ["2"])):
        fit = fit_runs(
            runs, study=name, params="total", predict_budgets=[1e21], bootstrap=200,
            approaches=approaches,
        )  # fmt: skip
        folder = tmp_path_factory.mktemp(name)
        (folder / "fit.json").write_text(json.dumps(fit))
        found[name] = (folder, fit)
    return found


def test_the_table_and_the_command_read_the_same_draws_by_the_same_rule(fits):
    for folder, fit in fits.values():
        laws = FittedLaws.from_file(folder)
        for row in fit["answer"]["predictions"]:
            found = laws.at_compute(row["C"])
            for name in ("N_opt", "D_opt", "D_per_N", "L_opt"):
                assert found[name].value == pytest.approx(row[name], rel=1e-7)
                assert found[name].interval == pytest.approx(row[f"{name}_ci"], rel=1e-7)


def test_D_for_a_given_N_holds_what_is_not_known_of_C(fits):
    laws = FittedLaws.from_file(fits["all"][0])
    C = laws.at_value("N_opt", 1e9)["C"].value
    width = {}
    for name, found in (("given", laws.at_value("N_opt", 1e9)), ("known", laws.at_compute(C))):
        low, high = found["D_opt"].interval
        width[name] = np.log(high / low)
    # As log N rises with half of log C, about twice as much, and the bend adds to that
    assert 1.7 < width["given"] / width["known"] < 4
    # The other way round: the answer's median at that C is the N that was asked for
    assert laws.at_compute(C)["N_opt"].value == pytest.approx(1e9, rel=1e-3)


def test_the_best_D_the_price_and_the_loss_agree_draw_by_draw(fits):
    laws = FittedLaws.from_file(fits["all"][0])
    at_best = laws.off_optimum(1e20, 1.0)
    optimum = laws.at_compute(1e20)
    for name, same in (("N", "N_opt"), ("D", "D_opt"), ("D_per_N", "D_per_N"), ("L", "L_opt")):
        assert at_best[name].value == pytest.approx(optimum[same].value, rel=1e-9)
        assert at_best[name].interval == pytest.approx(optimum[same].interval, rel=1e-9)
    assert at_best["extra"].interval == (0, 0)
    assert at_best["equivalent"].value == pytest.approx(1)
    half = laws.off_optimum(1e20, 0.5)
    N = TRUTH.G * (1e20 / 6) ** TRUTH.a
    D = 1e20 / (6 * N)
    extra = float(TRUTH.loss(N / 2, 2 * D) - TRUTH.loss(N, D))
    assert half["extra"].interval[0] < extra < half["extra"].interval[1]
    # The price of half the best N is known far better than the losses whose difference it is
    width = np.ptp(half["extra"].interval)
    assert width < 0.5 * np.ptp(half["L"].interval)
    model = laws.at_model(N / 2, 2 * D)
    low, high = model["L"].interval
    assert low < TRUTH.loss(N / 2, 2 * D) < high
    assert model["extra"].interval[0] >= 0


def test_inference_makes_the_best_model_smaller(fits):
    laws = FittedLaws.from_file(fits["all"][0])
    none, much = (laws.with_inference(served, total=1e20) for served in (0.0, 1e10))
    optimum = laws.at_compute(1e20)
    for name in ("N_opt", "D_opt", "L_opt"):
        assert none[name].value == pytest.approx(optimum[name].value, rel=1e-6)
    assert much["N_opt"].value < 0.95 * none["N_opt"].value
    assert much["L_opt"].value > none["L_opt"].value
    total = much["C"].value + 2 * much["N_opt"].value * 1e10
    assert total == pytest.approx(1e20, rel=1e-3)
    back = laws.with_inference(1e10, loss=much["L_opt"].value)
    assert back["total"].value == pytest.approx(1e20, rel=0.02)
    assert back["saving"].value > 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["loss", "--params", "1e9", "2e9", "--tokens", "1e10"],
        ["price", "1e20", "--factor", "0.5", "--factor", "2"],
        ["inference", "--served", "1e9", "1e11", "--total", "1e20"],
        ["inference", "--served", "1e9", "1e11", "--loss", "2.6"],
    ],
)
def test_each_read_out_is_a_table_of_two_rows(fits, capsys, arguments):
    folder = fits["all"][0]
    assert main([arguments[0], str(folder), *arguments[1:]]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "all, the answer, 95% intervals in brackets"
    assert lines[1].split("  ")[0] in ("C (FLOPs)", "served")
    numbers = [line for line in lines[2:] if line[0].isdigit()]
    assert len(numbers) == 2
    assert all("[" in line and "nan" not in line for line in numbers)


def test_without_a_surface_the_optima_are_read_and_one_sentence_says_why_no_more(fits, capsys):
    folder, fit = fits["profiles"]
    assert fit["surface"] is None
    assert main(["predict", str(folder), "1e20", "--params", "1e9"]) == 0
    capsys.readouterr()
    for arguments in (
        ["loss", str(folder), "--params", "1e9", "--tokens", "1e10"],
        ["price", str(folder), "1e20"],
        ["inference", str(folder), "--served", "1e9", "--total", "1e20"],
    ):
        assert main(arguments) == 1
        printed = capsys.readouterr().err
        assert "Only the optima of profiles can be read: no approach gave a surface" in printed
        assert printed.count("\n") == 1


def test_a_fit_of_version_0_1_0_is_read_by_its_recommended_approach(capsys):
    """Its surface is its own path, so that a loss is the surface's."""
    fit = json.loads((EARLIER / "fit.json").read_text())
    assert "answer" not in fit
    laws = FittedLaws.from_file(EARLIER)
    assert laws.said_by == "approach 3"
    row = fit["approaches"]["3"]["predictions"][0]
    found = laws.at_compute(row["C"])
    for name in ("N_opt", "D_opt", "L_opt"):
        assert found[name].value == pytest.approx(row[name], rel=1e-9)
    surface = Surface(**{k: fit["approaches"]["3"]["surface"][k] for k in Surface.__slots__})
    L = laws.at_model(3000, 20000)["L"].value
    assert pytest.approx(float(surface.loss(3000, 20000)), rel=1e-9) == L
    assert main(["price", str(EARLIER), "1e6"]) == 0
    assert "approach 3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["loss", "--params", "1e9", "2e9", "--tokens", "1", "2", "3"], "equally many"),
        (["loss", "--params", "-1", "--tokens", "1e9"], "N is -1.0, but must be a positive"),
        (["price"], "at which compute"),
        (["price", "1e20", "--factor", "0"], "must be a positive number"),
        (["inference", "--served", "-1", "--total", "1e20"], "0 or more"),
        (["inference", "--served", "1e9", "--loss", "0.1"], "ask for a higher one"),
    ],
)
def test_impossible_wishes_are_one_sentence(fits, capsys, arguments, message):
    assert main([arguments[0], str(fits["all"][0]), *arguments[1:]]) == 1
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1


def test_one_goal_of_inference_is_given(fits):
    laws = FittedLaws.from_file(fits["all"][0])
    for goals in ({}, {"total": 1e20, "loss": 2.5}):
        with pytest.raises(UserError, match="not both"):
            laws.with_inference(1e9, **goals)


def test_losses_in_two_units_are_not_compared(tmp_path, capsys):
    C = np.repeat([1e12, 1e14, 1e16], 3)
    N = np.sqrt(C) * np.tile([0.5, 1.0, 2.0], 3)
    runs = {"budget": C, "N": N, "D": C / (6 * N), "C": C, "loss": 2 + np.log(N / C**0.5) ** 2}
    paths = []
    for study, unit in (("one", "bits_per_byte"), ("two", "nats_per_token")):
        fit = fit_runs(runs, study=study, params="total", bootstrap=0, loss_unit=unit)
        paths.append(tmp_path / f"{study}.json")
        paths[-1].write_text(json.dumps(fit))
    assert main(["compare", *map(str, paths)]) == 1
    said = capsys.readouterr().err
    assert "of one are in bits_per_byte, those of two in nats_per_token" in said


def test_a_fit_without_an_answer_says_why(tmp_path, capsys):
    C = np.repeat([1e12, 1e14, 1e16], 3)
    N = np.sqrt(C) * np.tile([0.5, 1.0, 2.0], 3)
    flat = {"budget": C, "N": N, "D": C / (6 * N), "C": C, "loss": np.full(9, 2.0)}
    path = tmp_path / "fit.json"
    path.write_text(json.dumps(fit_runs(flat, study="flat", params="total", bootstrap=0)))
    assert main(["predict", str(path), "1e18"]) == 1
    assert "gives no law: at no budget do the losses have a minimum" in capsys.readouterr().err
