"""Learning rates and batches by rule against numbers worked out by hand, and exact D throughout."""

from __future__ import annotations

import pytest
from flops_fit.errors import UserError
from flops_fit.plan.plan import make_plan
from flops_fit.study.recipe_rules import PUBLISHED_BATCH, PUBLISHED_LR
from hand_computed import FILE, dataset_meta, measures, planned, small_study

# At N = 100, D = 1e4 (1e6 FLOPs / N of the small study) the rules give 10 units and 0.01.
BATCH = {"base": 10, "power_d": 0.5, "reference": {"d": 1e4}}
LR = {"base": 0.01, "power_n": -0.5, "power_d": 0.25, "reference": {"n": 100, "d": 1e4}}


def plan_of(changes: dict, file: str = FILE, **meta):
    study = small_study(changes, file)
    return make_plan(study, measures(study), dataset_meta(**meta))


def refusal(changes: dict, file: str = FILE, **meta) -> str:
    with pytest.raises(UserError) as caught:
        plan_of(changes, file, **meta)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "N", "D", "C", "lr", "batch"),
    [
        # 10^(9 * -0.713 + 11 * 0.307) = 10^-3.04 and 10^(11 * 0.571) = 10^6.281
        ("step_law", 1e9, 1e11, 6e20, 1.79 * 9.12011e-4, 0.58 * 1.909853e6),
        # 10^(20 * -0.125) = 10^-2.5 and 10^(20 * 0.3271) = 10^6.542
        ("deepseek", 1e8, 1e10, 1e20, 0.3118 * 3.162278e-3, 0.2920 * 3.483373e6),
    ],
)
def test_published_rules_by_hand(name, N, D, C, lr, batch):
    assert PUBLISHED_LR[name].value(C, N, D) == pytest.approx(lr, rel=1e-5)
    assert PUBLISHED_BATCH[name].value(C, N, D) == pytest.approx(batch, rel=1e-5)


def test_deepseeks_rule_gives_what_deepseek_trained_with():
    """Arxiv 2401.02954, table 2: 30 layers of 4096, 2304 sequences of 4096, 4.2e-4, 2e12 tokens."""
    M = 72 * 30 * 4096**2 + 12 * 30 * 4096 * 4096  # FLOPs per token, equation 2
    D = 2e12
    assert PUBLISHED_LR["deepseek"].value(M * D, 7e9, D) == pytest.approx(4.2e-4, rel=0.03)
    assert PUBLISHED_BATCH["deepseek"].value(M * D, 7e9, D) == pytest.approx(2304 * 4096, rel=0.03)


def test_a_rule_of_n_and_d_by_hand():
    """D is 20000, 10000, 5000, 2500 and the batch by rule 14.1, 10, 7.1, 5, in samples of 5."""
    rows = planned({"train.batch": BATCH, "train.lr": LR}).experiments
    assert [(row.size, row.batch, row.steps, row.D) for row in rows] == [
        (50, 15, 1333, 19_995), (100, 10, 1000, 10_000), (200, 5, 1000, 5000), (400, 5, 500, 2500),
    ]  # fmt: skip
    # 0.01 sqrt(100 / N) (D / 1e4)^(1/4), with the exact D
    assert [row.lr for row in rows] == [0.0168169, 0.01, 0.00594604, 0.00353553]


def test_a_rule_without_powers_is_the_number_itself():
    """The ids hold the numbers, so that a study may write its numbers as rules."""
    rules = planned({"train.batch": {"base": "10"}, "train.lr": {"base": "1e-2"}})
    assert rules.experiments == planned().experiments


def test_a_published_rule_of_the_budget_gives_one_batch_within_it():
    changes = {"train.batch": "deepseek", "train.lr": "deepseek", "plan.budgets": [6e6, 6e7]}
    limits = {"plan.min_steps": 50, "plan.tokens_per_param": [1, 2000]}
    plan = planned({**changes, **limits})
    found = {(row.budget, row.batch, row.lr) for row in plan.experiments}
    # 0.2920 * 6e6^0.3271 = 48.1 and, at ten times C, 102.2; 6e6^-0.125 = 0.142145
    assert found == {(6e6, 50, 0.0443208), (6e7, 100, 0.0332359)}


def test_a_batch_has_at_least_one_sample():
    rows = planned({"train.batch": {"base": 1e-3}}).experiments
    assert {row.batch for row in rows} == {5}


def test_a_batch_by_rule_is_shared_by_the_processes_that_parameters_are_sharded_over(tmp_path):
    """14.1, 10, 7.1 and 5 units in multiples of 2 processes * 5 units."""
    text = "distributed_type: FSDP\nfsdp_config: {fsdp_version: 2}\n"
    (tmp_path / "own.yaml").write_text(text)
    changes = {"train.batch": BATCH, "train.processes": 2}
    sharded = {**changes, "train.accelerate_config": "own.yaml"}
    rows = plan_of(sharded, str(tmp_path / "my.yaml")).experiments
    assert [row.batch for row in rows] == [10, 10, 10, 10]
    assert [row.D for row in rows] == [20_000, 10_000, 5000, 2500]
    # Whole parameters leave the batch, and so the ids, alone.
    assert refusal(changes) == (
        f"{FILE}: train.batch: 5 units are 1 samples, expected at least one for each of the 2 "
        "processes (train.processes) of a model of 1200 parameters"
    )


def test_lr_scaling_is_applied_on_top():
    scaling = {"power": -1, "reference_size": 100}
    plan = planned({"train.lr": LR, "train.lr_scaling": scaling})
    assert [row.lr for row in plan.experiments] == [
        row.lr for row in planned({"train.lr": LR}).experiments
    ]
    assert {spec.lr_scaling.power for spec in plan.specs.values()} == {-1}


def test_a_rule_of_tokens_is_refused_for_other_units():
    assert refusal({"train.batch": "step_law"}, unit="image") == (
        f"{FILE}: train.batch: found step_law, a rule for tokens, but the dataset's unit is image; "
        "expected a number, a map, or the keys of a rule of your own: base, power_n, power_d, "
        "reference"
    )


@pytest.mark.parametrize("key", ["lr", "batch"])
def test_a_rule_beyond_all_numbers_is_refused(key):
    assert refusal({f"train.{key}": {"base": 1, "power_n": 999}}) == (
        f"{FILE}: train.{key}: the rule gives inf at N = 50 and D = 2e+04, expected a positive "
        "finite number; check its powers and its reference"
    )


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ({"power_n": -1}, "train.lr.base: is missing, expected a number above 0 (that of the key)"),
        ({"base": 1, "powern": 1}, "train.lr.powern: unknown key; did you mean 'power_n'?"),
        ({"base": 1, "reference": {"N": 1}}, "train.lr.reference.N: unknown key"),
        ({"base": -1}, "train.lr.base: found -1.0, expected a number above 0 (that of the key)"),
        ("steplaw", "train.lr: found 'steplaw', expected a positive number, a list of them"),
    ],
)
def test_mistakes_in_rules(rule, sentence):
    assert refusal({"train.lr": rule}).startswith(f"{FILE}: {sentence}")
