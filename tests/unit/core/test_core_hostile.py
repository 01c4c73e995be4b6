"""Whatever stands in a configuration: it plans, or it is refused with a sentence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from core_study import FILE, FULL, SMALL, changed, dataset_meta, measures
from flops_fit.errors import UserError
from flops_fit.plan import make_plan, plan_csv, plan_specs, plan_summary
from flops_fit.study import Study
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

HOSTILE_TEXT = [
    "", " ", ".", "..", "../x", "/etc/passwd", "~", "a/b", "a\\b", "a b", "a'b", 'a"b', "`id`",
    "$(touch pwned)", "${HOME}", "{wildcard}", "{id}", "{{x}}", "a;b", "a&b", "a|b", "a\nb", "a\0b",
    "-rf", "--config", "data", "DATA", "ünï", "𝔘", "\u202e",
    "a" * 5000, "nan", "inf", "-inf", "1e999",
    "1e5", "0x10", "1_000", "٣", "yes", "null", "!!python/object:os.system", "&a", "*a",
]  # fmt: skip


def keys_of(node, prefix=""):
    """Every dotted key of a configuration, sections included."""
    for name, value in node.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            yield from keys_of(value, f"{prefix}{name}.")


KEYS = sorted({*keys_of(SMALL), *keys_of(FULL), "runs_table", "fit.unknown", "unknown", "model.x"})
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**3), 10**9),
    st.sampled_from([0, -1, 10**30, 10**400, -(10**400), 2**63, 1e308, 5e-324, -0.0]),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from(HOSTILE_TEXT),
    st.text(max_size=20),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.one_of(st.text(max_size=8), st.floats(), st.integers()), inner, max_size=3
        ),
        st.fixed_dictionaries({"min": inner, "max": inner, "count": inner}),
        st.fixed_dictionaries({"target": inner}, optional={"version": inner}),
        st.lists(st.fixed_dictionaries({"from_params": inner, "processes": inner}), max_size=3),
    ),
    max_leaves=6,
)
CONFIGURATIONS = st.builds(
    lambda base, changes: (base, changes),
    st.sampled_from([SMALL, FULL]),
    st.dictionaries(st.sampled_from(KEYS), VALUES, min_size=1, max_size=3),
)


POSITIVE = st.one_of(st.integers(1, 10**6), st.integers(1, 10**30), st.floats(1e-3, 1e30))
PLAUSIBLE = st.fixed_dictionaries(
    {},
    optional={
        "plan.budgets": st.lists(st.floats(1e3, 1e12) | POSITIVE, min_size=1, max_size=4),
        "plan.sizes_per_budget": st.integers(3, 50),
        "plan.tokens_per_param": st.lists(st.floats(1e-3, 1e6), min_size=2, max_size=2).map(sorted),
        "plan.min_steps": st.integers(1, 1000) | POSITIVE,
        "plan.seeds": st.lists(st.integers(0, 2**70), min_size=1, max_size=3),
        "plan.flops": st.sampled_from(["measured", "6ND"]),
        "model.sizes": st.one_of(
            st.lists(POSITIVE, min_size=3, max_size=8),
            st.fixed_dictionaries({"min": POSITIVE, "max": POSITIVE, "count": POSITIVE}),
            st.fixed_dictionaries(
                {"min": POSITIVE, "max": POSITIVE, "count": st.integers(3, 20)},
                optional={"multiple_of": POSITIVE},
            ),
        ),
        "train.batch": st.integers(1, 200).map(lambda n: 5 * n) | POSITIVE,
        "train.lr": st.floats(1e-12, 1e3) | st.lists(st.floats(1e-6, 1), min_size=1, max_size=3),
        "train.processes": st.integers(1, 8) | POSITIVE,
        "predict.budgets": st.lists(POSITIVE, max_size=3),
    },
)


def configured(base, changes):
    """Change the base; a change inside of what another change replaced is left out."""
    config = base
    for key, value in sorted(changes.items()):
        try:
            config = changed(config, {key: value})
        except (TypeError, AttributeError):
            continue
    return config


MANY = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@settings(MANY, max_examples=1000)
@given(CONFIGURATIONS)
def test_a_hostile_configuration_plans_or_is_refused_with_a_sentence(drawn):
    plan_or_be_refused(configured(*drawn))


@settings(MANY, max_examples=500)
@given(PLAUSIBLE)
@example({"plan.budgets": [1000.0], "model.sizes": {"min": 1, "max": 33, "count": 97}})
def test_a_configuration_of_any_numbers_plans_or_is_refused_with_a_sentence(changes):
    plan_or_be_refused(changed(SMALL, changes))


def plan_or_be_refused(config):
    try:
        study = Study.from_config(config, FILE)
    except UserError as error:
        check_sentence(str(error))
        event("refused")
        return
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", study.name)
    folder = Path("results") / study.name
    assert folder.resolve().parent == Path("results").resolve()
    assert Study.from_config(study.config, FILE).to_json() == study.to_json()
    if study.runs_table is not None:
        return
    assert re.fullmatch("[A-Za-z0-9._-]+", study.data_fingerprint)
    try:
        plan = make_plan(study, measures(study), dataset_meta())
    except UserError as error:
        check_sentence(str(error))
        event("no plan")
        return
    event("planned")
    assert plan_csv(plan)
    assert plan_summary(plan)
    specs = plan_specs(plan, study, data_folder="data", search_folder="studies")
    for row in plan.experiments:
        assert re.fullmatch("[0-9a-f]{12}", row.id)
        assert specs[row.id]["spec"] == row.spec
        assert row.D == row.steps * row.batch
        assert row.C == pytest.approx(row.budget, rel=0.0101)


def check_sentence(text: str) -> None:
    """A line for each mistake; each names the file, and shows what was found in readable length."""
    for line in text.splitlines():
        assert line.startswith(f"{FILE}: ")
        assert len(line) < 2000
