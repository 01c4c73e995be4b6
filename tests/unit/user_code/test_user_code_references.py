"""A study and an experiment of it name the same code."""

from __future__ import annotations

from flops_fit.plan.plan import make_plan
from flops_fit.user_code.references import UserCode
from hand_computed import dataset_meta, measures, small_study


def test_a_study_and_a_spec_name_the_same_code(tmp_path):
    study = small_study(
        {"model.kwargs": {"a": 1}, "dataset.kwargs": {"b": 2}, "train.optimizer": "mine:optimizer"}
    )
    spec, *_ = make_plan(study, measures(study), dataset_meta()).specs.values()
    of_study = UserCode.of_study(study)
    of_spec = UserCode.of_spec(spec, study.folder, study.config_file)
    assert of_study.sizes == (50, 100, 200, 400)
    assert of_spec.sizes == (spec.size,)
    for name in set(UserCode.__slots__) - {"sizes"}:
        assert getattr(of_study, name) == getattr(of_spec, name), name
