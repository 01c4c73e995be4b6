"""From an answer to a training: the optimum of a known law, and a study that plans exactly it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from flops_fit.cli import main
from flops_fit.errors import UserError
from flops_fit.laws.reading import FittedLaws
from flops_fit.pipeline.family import nearest_multiple, step_of_sizes
from flops_fit.pipeline.recommending import Results, recommend
from flops_fit.plan.lr_pilot import pilot_key
from flops_fit.plan.plan import make_plan
from flops_fit.study.study import Study
from flops_fit.user_code.dataset_meta import DatasetMeta
from flops_fit.user_code.measure import measure_sizes
from forged_study import SIZES, best_width, forge, law

BEYOND = 6.4e8
"""Twenty times the largest budget, whose best width is beyond the sizes."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("finished")
        patch.chdir(root)
        patch.syspath_prepend(root / "config" / "studies")
        forge(root, lambda config: config["train"].update(lr={"4e6": 0.1, "8e6": 0.1,
              "1.6e7": 0.05, "3.2e7": [0.02]}))  # fmt: skip
        return root


@pytest.fixture
def results(finished, tmp_path, monkeypatch) -> Path:
    """A copy of the finished study in the working directory."""
    shutil.copytree(finished, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return Path("results/tiny")


def test_the_size_is_that_of_the_known_law(results):
    """Inside the list one of its sizes, beyond it any width: within 15% of the best width."""
    inside = recommend(Results.of(results), 1.6e7)
    assert inside.row.size in SIZES
    assert best_width(1.6e7) == 10  # none of them; 8 and 12 are the nearest
    assert inside.row.size in (8, 12)
    assert (inside.extrapolated, inside.notes) == (None, ())
    beyond = recommend(Results.of(results), BEYOND)
    assert beyond.row.size not in SIZES
    assert beyond.row.size == pytest.approx(best_width(BEYOND), rel=0.15)
    assert beyond.extrapolated == pytest.approx(BEYOND / 3.2e7)
    row = beyond.row
    assert row.n_params_non_embedding == 13 * row.size + 4
    assert row.flops_per_unit == 56 * row.size
    assert row.D == row.steps * 8 == 8 * round(BEYOND / (56 * row.size * 8))
    assert row.epochs == row.D / 200_000
    # What the answer says of it holds the law's own optimum.
    best = best_width(BEYOND)
    low, high = beyond.optimum["N_opt"].interval
    assert low < 13 * best + 4 < high
    low, high = beyond.optimum["L_opt"].interval
    assert low < law(13 * best + 4, BEYOND / (56 * best)) < high


def test_a_size_off_the_optimum_costs_what_the_law_says(results):
    """The same factor off the law's own optimum, where D follows from C."""
    half = recommend(Results.of(results), 3.2e7, size=8)
    factor, C, best = half.price["factor"].value, 3.2e7, 13 * best_width(3.2e7) + 4
    N_opt = FittedLaws.from_file(results).at_compute(C)["N_opt"].value
    assert (half.row.size, factor) == (8, pytest.approx(108 / N_opt))

    def along(N):
        return law(N, C / (56 * (N - 4) / 13))

    assert half.price["extra"].value == pytest.approx(along(factor * best) - along(best), rel=0.2)


def test_what_is_extrapolated_or_too_much_is_said(results):
    said = "\n".join(recommend(Results.of(results), 1e10).notes)
    assert "train.lr is a map from budgets: its entry at 3.2e+07 is taken" in said
    assert "lies beyond the trained sizes (2 to 42): the nearest multiple of 1" in said
    assert "epochs of the 200,000 samples of the training split are more than" in said
    assert recommend(Results.of(results), 1e10).row.lr == 0.02
    assert recommend(Results.of(results), 4e6).row.lr == 0.1


def test_hours_are_those_of_the_runs(results):
    """A step took 10 ms at every size and an hour passes before: 10 ms + 1 h."""
    found = recommend(Results.of(results), 3.2e7)
    assert found.hours.seconds == pytest.approx(3600 + 0.01 * found.row.steps, rel=1e-6)
    assert found.hours.reached
    assert not recommend(Results.of(results), 1e10).hours.reached


def test_the_written_study_plans_the_recommended_training(results, capsys):
    assert main(["recommend", str(results), "--budget", str(BEYOND)]) == 0
    said = capsys.readouterr().out
    file = Path("config/studies/tiny_final.yaml")
    assert f"--configfile {file}" in said
    assert "extrapolates: 20 times above the largest measured budget" in said
    content = json.loads(file.with_suffix(".json").read_text())
    study = Study.from_config(yaml.safe_load(file.read_text()), file)
    assert (study.name, study.train.keep_checkpoint) == ("tiny_final", True)
    data = Path("results/data") / study.data_fingerprint  # that of the study: no new preparation
    meta = DatasetMeta.load(data / "meta.json")
    (row,) = make_plan(study, measure_sizes(study, data, meta), meta).experiments
    promised = content["training"]
    assert {name: promised[name] for name in ("id", "size", "D", "steps", "batch", "lr")} == {
        name: getattr(row, name) for name in ("id", "size", "D", "steps", "batch", "lr")
    }
    assert promised["recipe"]["D"] == row.D
    assert content["N_opt"]["interval"][0] < content["N_opt"]["value"]
    assert content["hours"] > 1


def test_everything_is_found_from_another_working_directory(results, monkeypatch, capsys):
    here = Path.cwd()
    monkeypatch.chdir(here.parent)
    folder = here / "results" / "tiny" / "fit.json"
    assert main(["recommend", str(folder), "--budget", "1e9"]) == 0
    assert (here / "config" / "studies" / "tiny_final.yaml").exists()
    assert "here/config/studies/tiny_final.yaml" in capsys.readouterr().out


def test_modules_beside_the_configuration_keep_the_file_there(results, capsys):
    assert main(["recommend", str(results), "--budget", "1e9", "--output", "elsewhere"]) == 1
    said = capsys.readouterr().err
    assert (
        "--output elsewhere: found a folder other than config/studies, which holds teacher" in said
    )
    assert not Path("elsewhere").exists()


def test_without_an_answer_there_is_no_recommendation(results, capsys):
    fit = json.loads((results / "fit.json").read_text())
    fit["answer"] |= {"method": None, "law": None, "why": "no budget holds three sizes"}
    (results / "fit.json").write_text(json.dumps(fit))
    assert main(["recommend", str(results), "--budget", "1e9"]) == 1
    assert "has no answer to recommend from: no budget holds three" in capsys.readouterr().err
    with pytest.raises(UserError, match="recommend from"):
        Results.of(results)


def test_runs_that_were_brought_along_give_the_optimum_alone(results, capsys):
    (results / "planned_study.json").unlink()
    assert main(["recommend", str(results), "--budget", "1e9"]) == 0
    assert "brought its runs along" in capsys.readouterr().out
    content = json.loads((results / "tiny_final.json").read_text())
    found = FittedLaws.from_file(results).at_compute(1e9)
    assert content["N_opt"]["value"] == found["N_opt"].value
    assert "training" not in content


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--budget", "10"], "is not one step of 8 units"),
        (["--budget", "-1"], "must be a positive number of FLOPs"),
        (["--budget", "1e9", "--size", "0"], "--size: found 0, expected a positive number"),
    ],
)
def test_impossible_requests_end_in_a_sentence(results, arguments, said, capsys):
    assert main(["recommend", str(results), *arguments]) == 1
    assert said in capsys.readouterr().err


def test_sizes_beyond_a_list_are_multiples_of_what_divides_it():
    assert step_of_sizes([8, 12, 16, 96]) == 4
    assert step_of_sizes({"min": 8, "max": 90, "multiple_of": 6}) == 6
    assert step_of_sizes([0.5, 1.25, 1.5]) == 0.25
    counted = []

    def square(size):
        counted.append(size)
        return round(size * size)

    for wanted, best in ((1e6, 1000), (1.5e6, 1224), (3, 4), (1e4, 100)):
        counted.clear()
        assert nearest_multiple(4, square, wanted, start=96, name="width") == best
        assert len(counted) < 30
    assert nearest_multiple(0.25, square, 1.6, start=1, name="width") == 1.25
    with pytest.raises(UserError, match=r"width: N is 7 at .*, and does not grow up to the 1e"):
        nearest_multiple(1, lambda size: 7, 1e4, start=1, name="width")


def test_the_rates_of_a_pilot_are_those_of_the_final_training(results):
    """0.1 * 3 * (N / 100)^-0.5, as in the sweep that the answer is from."""
    planned = json.loads((results / "planned_study.json").read_text())
    planned["config"]["plan"]["lr_pilot"] = True
    planned["config"]["train"]["lr"] = 0.1
    (results / "planned_study.json").write_text(json.dumps(planned))
    study = Study.from_config(planned["config"], planned["config_file"])
    rule = {"base": 3.0, "power_n": -0.5, "power_d": 0.0, "n": 100.0, "d": 1.0}
    key = pilot_key(study, Results.of(results).data)
    (results / "lr_pilot").mkdir()
    (results / "lr_pilot" / "decision.json").write_text(
        json.dumps({"key": key, "waves": [[]], "decision": {"rule": rule}})
    )
    row = recommend(Results.of(results), BEYOND).row
    assert row.lr == pytest.approx(0.3 * (row.n_params_non_embedding / 100) ** -0.5, rel=1e-5)
