"""A design: rounds that follow each other, and that never change once they are trained."""

from __future__ import annotations

import json
import shutil

import pytest
from checkout import Checkout, jobs_of
from quick_design import (
    design,
    forget_rounds,
    ids_of,
    planned_ids,
    rounds_of,
)


def decisions(checkout: Checkout) -> dict[str, bytes]:
    folder = checkout.study / "rounds"
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_design_goes_from_round_to_round_to_an_answer(complete):
    checkout, output = complete
    rounds = rounds_of(checkout)
    assert len(rounds) > 3
    assert rounds[-1] == []
    assert all(rounds[:-1])
    ids = [run_id for rows in rounds for run_id in ids_of(rows)]
    assert len(set(ids)) == len(ids) == jobs_of(output)
    assert planned_ids(checkout) == set(ids) == set(checkout.records())
    assert jobs_of(output, "plan_round") == len(rounds)
    # What a round predicts, and how it came out.
    for rows in rounds[1:-1]:
        for row in rows:
            loss = checkout.records()[row["id"]]["loss"]
            off = abs(loss - float(row["predicted_loss"])) / float(row["predicted_std"])
            assert off < 4
            text = (checkout.study / "rounds" / f"{rounds.index(rows)}.md").read_text()
            assert row["id"] in text
    decision = json.loads((checkout.study / "rounds" / "2.json").read_text())
    assert decision["checks"]["chi2_p"] > 0.001
    spent = sum(record["C"] for record in checkout.records().values())
    assert spent < decision["asked"]["spend"]
    fit = json.loads((checkout.study / "fit.json").read_text())
    assert fit["n_runs"] == len(ids)
    assert fit["answer"]["predictions"]
    assert "Design of the study tiny" in checkout.succeed("plan", "--cores", "1")


def test_a_repeat_trains_and_plans_nothing_even_without_snakemakes_memory(designed):
    assert "Nothing to be done" in designed.succeed("--cores", "1")
    shutil.rmtree(designed.path / ".snakemake")
    output = designed.succeed("--cores", "1")
    assert jobs_of(output) == jobs_of(output, "plan_round") == 0


def test_a_run_that_was_deleted_is_trained_alone_and_no_round_is_planned_again(designed):
    before = decisions(designed)
    run_id = rounds_of(designed)[1][0]["id"]
    (designed.study / "runs" / f"{run_id}.json").unlink()
    output = designed.succeed("--cores", "2")
    assert jobs_of(output) == 1
    assert jobs_of(output, "plan_round") == 0
    assert decisions(designed) == before


def test_a_larger_spend_adds_rounds_and_changes_none(designed):
    before, trained = rounds_of(designed), set(designed.records())
    texts = decisions(designed)
    design(designed, spend=7e9)
    output = designed.succeed("runs", "--cores", "2")
    after = rounds_of(designed)
    kept = len(before) - 1  # the last one said that the design is complete
    assert after[:kept] == before[:kept]
    assert all(decisions(designed)[f"{i}.json"] == texts[f"{i}.json"] for i in range(kept))
    new = [run_id for rows in after[kept:] for run_id in ids_of(rows)]
    assert len(new) == jobs_of(output) > 0
    assert not trained & set(new)
    assert max(float(row["budget"]) for rows in after[kept:] for row in rows) == 7.589e8


def test_rounds_that_were_deleted_are_decided_again_as_they_were(designed):
    """Their runs are there, so that nothing is trained."""
    before = decisions(designed)
    for names in (["1.csv"], ["0.csv", "0.json", "2.md", "2.csv", "2.json"]):
        for name in names:
            (designed.study / "rounds" / name).unlink()
        output = designed.succeed("runs", "--cores", "1")
        assert jobs_of(output) == 0
        assert decisions(designed) == before


def test_a_design_whose_rounds_are_all_gone_begins_with_the_runs_that_are_there(designed):
    ids = set(designed.records())
    shutil.rmtree(designed.study / "rounds")
    output = designed.succeed("results/tiny/rounds/0.csv", "--cores", "1")
    assert jobs_of(output) == 0
    first = rounds_of(designed)[0]
    along = [row for row in first if row["why"] == "trained already"]
    assert set(ids_of(along)) == ids
    assert set(designed.records()) == ids


def test_it_can_be_stopped_after_any_round_and_goes_on_as_it_would_have(designed):
    whole = rounds_of(designed)
    forget_rounds(designed, 2)
    output = designed.succeed("partial", "--cores", "1")
    assert jobs_of(output) == 0
    fit = json.loads((designed.study / "partial" / "fit.json").read_text())
    assert fit["n_runs"] == len(whole[0]) + len(whole[1])
    assert fit["answer"]["predictions"]
    assert "and rounds to come" in fit["warnings"][0]
    assert "of the rounds so far" in output
    assert "chooses and trains the next round; `snakemake partial" in output
    dry = designed.succeed("-n")
    assert jobs_of(dry, "plan_round") == 1
    output = designed.succeed("runs", "--cores", "2")
    assert jobs_of(output) == sum(len(rows) for rows in whole[2:])
    assert rounds_of(designed) == whole


def test_another_recipe_is_another_design_and_the_way_back_trains_nothing(designed):
    before = rounds_of(designed)
    design(designed, lr=0.02)
    designed.succeed("plan", "--cores", "1")
    assert not set(ids_of(rounds_of(designed)[0])) & set(designed.records())
    design(designed)
    assert jobs_of(designed.succeed("runs", "--cores", "1")) == 0
    assert rounds_of(designed) == before


def test_a_smaller_spend_keeps_what_is_trained(designed):
    """After round 2 the spend is cut below what is spent already."""
    whole = rounds_of(designed)
    forget_rounds(designed, 3)
    design(designed, spend=6e8)
    output = designed.snakemake("runs", "--cores", "1").stdout
    assert jobs_of(output) == 0
    assert "Traceback" not in output
    assert rounds_of(designed)[:3] == whole[:3]
    assert planned_ids(designed) == {i for rows in whole[:3] for i in ids_of(rows)}
    assert "Design of the study tiny" in designed.succeed("plan", "--cores", "1")


def test_a_diverged_run_leads_to_another_choice(designed):
    whole = rounds_of(designed)
    forget_rounds(designed, 1)
    row = whole[0][0]
    (designed.study / "runs" / f"{row['id']}.json").unlink()
    marks = designed.path / "results" / "marks"
    marks.mkdir()
    (marks / f"diverge_{row['id']}").touch()
    output = designed.succeed("results/tiny/rounds/1.csv", "--cores", "1")
    assert jobs_of(output) == 1
    assert designed.records()[row["id"]]["status"] == "diverged"
    chosen = rounds_of(designed)[1]
    assert chosen
    assert row["id"] not in ids_of(chosen)
    assert (row["budget"], row["size"]) not in {(one["budget"], one["size"]) for one in chosen}


def test_a_budget_of_which_all_runs_diverged_is_left_out(designed):
    whole = rounds_of(designed)
    forget_rounds(designed, 1)
    lost = [row["id"] for row in whole[0] if float(row["budget"]) == 2.4e5]
    for run_id in lost:
        (designed.study / "runs" / f"{run_id}.json").unlink()
    marks = designed.path / "results" / "marks"
    marks.mkdir()
    (marks / "diverge_2.4e+05").touch()
    output = designed.succeed("results/tiny/rounds/1.csv", "--cores", "2")
    assert jobs_of(output) == len(lost) > 3
    assert 2.4e5 not in {float(row["budget"]) for row in rounds_of(designed)[1]}
    text = (designed.study / "rounds" / "1.md").read_text()
    assert "All runs at 2.4e+05 FLOPs failed, so that the design does without." in text


def test_an_experiment_that_always_fails_can_be_excluded_and_leads_to_another_choice(designed):
    whole = rounds_of(designed)
    forget_rounds(designed, 1)
    row = whole[0][0]
    (designed.study / "runs" / f"{row['id']}.json").unlink()
    marks = designed.path / "results" / "marks"
    marks.mkdir()
    (marks / f"crash_{row['id']}").touch()
    output = designed.refuse("results/tiny/rounds/1.csv", "--cores", "1")
    assert "this experiment always fails" in output
    assert not (designed.study / "rounds" / "1.csv").exists()
    design(designed, exclude=[row["id"]])
    output = designed.succeed("results/tiny/rounds/1.csv", "--cores", "1")
    assert jobs_of(output) == 0
    first, chosen = rounds_of(designed)
    assert first == whole[0]
    assert row["id"] not in planned_ids(designed)
    assert (row["budget"], row["size"]) not in {(one["budget"], one["size"]) for one in chosen}
    # The fit knows the id, although no run has it.
    assert designed.succeed("partial", "--cores", "1")


def test_a_grid_that_becomes_a_design_takes_its_runs_along(designed):
    """The same recipe, and budgets that are partly those of the design."""
    shutil.rmtree(designed.study)
    grid = {"budgets": [2.4e6, 1e7], "sizes_per_budget": 3, "tokens_per_param": [0.1, 5000]}
    design(designed, target=None, spend=None, **grid)
    assert jobs_of(designed.succeed("runs", "--cores", "2")) == 6
    ids = set(designed.records())
    design(designed)
    output = designed.succeed("results/tiny/rounds/1.csv", "--cores", "2")
    rows = rounds_of(designed)[0]
    assert jobs_of(output) == len(rows) - 6
    along = [row for row in rows if row["why"] == "trained already"]
    assert set(ids_of(along)) == ids
    assert {float(row["budget"]) for row in along} == {2.4e6, 1e7}
    assert ids < planned_ids(designed)
    # And back.
    design(designed, target=None, spend=None, **grid)
    assert jobs_of(designed.succeed("runs", "--cores", "1")) == 0
    # With another recipe they do not count.
    design(designed, lr=0.02)
    designed.succeed("results/tiny/rounds/0.csv", "--cores", "1")
    assert not ids & set(ids_of(rounds_of(designed)[0]))


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({"spend": 2e5}, "config/studies/tiny.yaml: plan: 0 of 7 budgets (24 to 2.4e+04 FLOPs)"),
        (
            {"budgets": [1e6, 3e6, 1e7, 3e7, 1e9]},
            "config/studies/tiny.yaml: plan.budgets: a run of 1e+09 FLOPs is more than a quarter",
        ),
    ],
)
def test_what_cannot_be_designed_is_one_sentence(designed, plan, words):
    shutil.rmtree(designed.study)
    design(designed, **plan)
    output = designed.refuse("plan", "--cores", "1")
    assert f"error: {words}" in output
    assert "tiny: no experiment is planned" in output


def test_a_decision_that_is_missing_is_named(designed):
    (designed.study / "rounds" / "0.json").unlink()
    (designed.study / "rounds" / "1.csv").unlink()
    output = designed.refuse("runs", "--cores", "1")
    assert "results/tiny/rounds/0.json: is missing, expected the decision of the round" in output
    (designed.study / "rounds" / "0.csv").unlink()
    assert jobs_of(designed.succeed("runs", "--cores", "1")) == 0


def test_lost_files_of_the_plan_are_written_again_and_nothing_is_trained(designed):
    before = (designed.study / "plan.csv").read_bytes()
    (designed.study / "plan.csv").unlink()
    (designed.study / "specs.json").unlink()
    output = designed.succeed("runs", "--cores", "1")
    assert jobs_of(output) == 0
    assert (designed.study / "plan.csv").read_bytes() == before
    assert planned_ids(designed) == set(designed.records())
