"""A study is killed at random moments, and comes out as if nothing had happened."""

from __future__ import annotations

import random

import pytest
from fault_campaign import Campaign, fresh_copy


@pytest.mark.timeout(2400)  # it trains the study twice, and some of it again and again
def test_a_study_that_is_killed_again_and_again_ends_as_an_undisturbed_one(undisturbed, tmp_path):
    """Short; benchmarks/faults.py does it at length."""
    planned, expected = undisturbed
    campaign = Campaign(fresh_copy(planned, tmp_path / "killed"), expected, random.Random(7))
    campaign.run(kills=5)
    assert sum(campaign.kills.values()) >= 3
