"""What a plan says about data that is repeated, or missing at its target."""

from __future__ import annotations

from dataclasses import replace

from flops_fit.laws.forms.surface import Surface
from flops_fit.plan.data_budget import data_budget
from flops_fit.plan.layouts.designed import Ground
from flops_fit.plan.plan import make_plan
from hand_computed import dataset_meta, measures, small_study


def said(target: float, units_train: int) -> str:
    changes = {"plan.target": target, "plan.spend": target / 10, "plan.prior": 20}
    study = small_study(changes)
    data = dataset_meta(units_train=units_train)
    ground = Ground(study=study, sizes=measures(study), data=data)
    return " ".join(data_budget(ground, make_plan(study, measures(study), data), target))


def test_a_target_that_needs_more_data_than_there_is_is_warned_of():
    """Under C = 6 N D and D = 20 N, N_opt at 1.2e10 FLOPs is 1e4 and D_opt 2e5."""
    assert said(1.2e10, units_train=10**6) == ""
    text = said(1.2e10, units_train=20_000)
    assert "the target itself needs about 2e+05 tokens at N_opt (about 1e+04 parameters)" in text
    assert (
        "10 epochs of the 2e+04 tokens of the training split, more than plan.max_epochs 4" in text
    )
    assert "the target" not in said(1.2e10, units_train=50_001)


def test_the_law_that_runs_show_replaces_the_prior():
    """With D = 2 N at the optimum, the target needs a third of the data."""
    changes = {"plan.target": 1.2e10, "plan.spend": 1e9}
    study, data = small_study(changes), dataset_meta(units_train=20_000)
    ground = Ground(study=study, sizes=measures(study), data=data)
    plan = make_plan(study, measures(study), data)
    alpha, A = 0.35, 400.0
    # alpha A / N^alpha = beta B / D^beta with D = 2 N
    law = Surface(E=1.8, A=A, B=A * 2**alpha, alpha=alpha, beta=alpha)
    assert data_budget(ground, plan, 1.2e10, law) == []
    half = data_budget(ground, plan, 1.2e10, replace(law, B=A * 5**alpha))
    assert "about 1e+05 tokens" in half[0]


def test_experiments_that_repeat_data_are_counted():
    """At 6e6 FLOPs N = 50, 100, 200, 400 train on 20,000, 10,000, 5000 and 2500 units."""
    text = said(1e9, units_train=8000)
    assert "2 experiments repeat training data, up to 2.5 epochs (plan.max_epochs: 4)." in text
    assert said(1e9, units_train=12_000).startswith("1 experiment repeats training data, up to")
