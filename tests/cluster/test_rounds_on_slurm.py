"""A design on the cluster: its rounds are trained there, and chosen here."""

from __future__ import annotations

from checkout import jobs_of
from quick_design import ids_of, make_design, planned_ids, rounds_of

SIZES = [2, 6, 14, 44, 100, 200, 430]


def test_a_round_is_trained_on_the_cluster_and_the_next_one_is_chosen_from_it(site):
    make_design(site.checkout, sizes=SIZES)
    output = site.submit(
        "results/tiny/rounds/1.csv", "--groups", "train=sweep", "--group-components", "sweep=10",
        "--resources", "gpu=1", "nodes=1", "--set-resource-scopes", "gpu=local", "nodes=local",
    )  # fmt: skip
    pilot, chosen = rounds_of(site.checkout)
    assert set(site.checkout.records()) == set(ids_of(pilot))
    assert 10 < len(pilot) <= 20
    assert output.count("has been submitted with SLURM jobid") == 2
    assert jobs_of(output, "plan_round") == 2
    assert chosen
    assert planned_ids(site.checkout) == {*ids_of(pilot), *ids_of(chosen)}
    assert all(row["predicted_loss"] for row in chosen)
    # The profile of the cluster is none of the rounds.
    assert "Nothing to be done" in site.submit("results/tiny/rounds/1.csv")
