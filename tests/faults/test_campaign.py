"""A study is killed at random moments, and comes out as if nothing had happened."""

from __future__ import annotations

import random

import pytest
from checkout import bring_records
from fault_campaign import Campaign, fresh_copy


@pytest.mark.timeout(2400)  # it trains much of the study again and again
@pytest.mark.parametrize(
    ("kills", "finished"), [(3, 3), pytest.param(15, 0, marks=pytest.mark.long)]
)
def test_a_study_that_is_killed_again_and_again_ends_as_an_undisturbed_one(
    undisturbed, tmp_path, kills, finished
):
    """It begins with some experiments that are finished; benchmarks/faults.py kills all night."""
    planned, whole = undisturbed
    killed = fresh_copy(planned, tmp_path / "killed")
    bring_records(whole, killed.study, but=6 - finished)
    campaign = Campaign(killed, (whole.study / "runs.csv").read_bytes(), random.Random(7))
    campaign.run(kills)
    assert sum(campaign.kills.values()) >= min(kills, 3)
