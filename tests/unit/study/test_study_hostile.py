"""Whatever stands in a configuration: it plans, or it is refused with a sentence."""

from __future__ import annotations

import copy
import re
from collections import Counter
from pathlib import Path

import pytest
from flops_fit.errors import UserError
from flops_fit.plan.files import plan_csv, plan_specs
from flops_fit.plan.plan import make_plan
from flops_fit.plan.summary import plan_summary
from flops_fit.study.study import Study
from hand_computed import FILE, FULL, SMALL, changed, dataset_meta, measures
from hypothesis import event, example, given
from hypothesis import strategies as st

HOSTILE_TEXT = [
    "", " ", ".", "..", "../x", "/etc/passwd", "~", "a/b", "a\\b", "a b", "a'b", 'a"b', "`id`",
    "$(touch pwned)", "${HOME}", "{wildcard}", "{id}", "{{x}}", "a;b", "a&b", "a|b", "a\nb", "a\0b",
    "-rf", "--config", "data", "DATA", "ünï", "𝔘", "\u202e",
    "a" * 5000, "nan", "inf", "-inf", "1e999",
    "\ud800", "1e5", "0x10", "1_000", "٣", "yes", "null", "!!python/object:os.system", "&a", "*a",
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
    st.sampled_from([0, -1, 10**30, 10**400, -(10**400), 10**4000, 2**63, 1e308, 5e-324, -0.0]),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from(HOSTILE_TEXT),
    st.text(max_size=20),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.one_of(
                st.text(max_size=8), st.floats(), st.integers(), st.sampled_from(HOSTILE_TEXT)
            ),
            inner,
            max_size=3,
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


@given(CONFIGURATIONS)
def test_a_hostile_configuration_plans_or_is_refused_with_a_sentence(drawn):
    plan_or_be_refused(configured(*drawn))


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
        return "refused"
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", study.name)
    folder = Path("results") / study.name
    assert folder.resolve().parent == Path("results").resolve()
    assert Study.from_config(study.config, FILE).to_json() == study.to_json()
    if study.runs_table is not None:
        return "imported"
    assert re.fullmatch("[A-Za-z0-9._-]+", study.data_fingerprint)
    try:
        plan = make_plan(study, measures(study), dataset_meta())
    except UserError as error:
        check_sentence(str(error))
        event("no plan")
        return "no plan"
    event("planned")
    assert plan_csv(plan)
    assert plan_summary(plan)
    specs = plan_specs(plan, study, data_folder="data", search_folder="studies")
    for row in plan.experiments:
        assert re.fullmatch("[0-9a-f]{12}", row.id)
        assert specs[row.id]["spec"] == plan.specs[row.id].to_json()
        assert row.D == row.steps * row.batch
        assert row.C == pytest.approx(row.budget, rel=0.0101)
    return "planned"


# Values that a study may well have, among them any keyword arguments and versions.
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20)
    | st.sampled_from([text for text in HOSTILE_TEXT if text != "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)  # fmt: skip
KWARGS = st.dictionaries(st.text(max_size=8), ANYTHING, max_size=3)
VERSIONS = st.integers() | st.text(max_size=10)
VALID = st.fixed_dictionaries(
    {},
    optional={
        "study": st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True),
        "model.kwargs": KWARGS,
        "model.version": VERSIONS,
        "dataset.kwargs": KWARGS,
        "dataset.version": VERSIONS,
        "plan.budgets": st.lists(
            st.sampled_from([3e6, 4e6, "6e6", 1.2e7]), min_size=1, max_size=4, unique=True
        ),
        "plan.sizes_per_budget": st.integers(3, 8),
        "plan.seeds": st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=3, unique=True),
        "train.lr": st.floats(1e-12, 1e3) | st.sampled_from(["1e-3", [0.1, "2e-2"]]),
        "train.weight_decay": st.floats(0, 1e6),
        "train.grad_clip": st.none() | st.floats(1e-9, 1e9),
        "train.warmup_fraction": st.floats(0, 0.99),
        "train.processes": st.integers(1, 2),
        "train.eval_units": st.integers(1, 10**12),
        "fit.bootstrap": st.integers(0, 10**6),
        "fit.exclude": st.lists(st.text(max_size=12), max_size=3),
        "predict.budgets": st.lists(st.floats(1, 1e300), max_size=3, unique=True),
    },
)


@pytest.mark.hypothesis  # within: `make test-long` finds it
def test_what_a_study_may_have_plans():
    outcomes = Counter()

    @given(VALID)
    def throw(changes):
        outcomes[plan_or_be_refused(changed(SMALL, changes))] += 1

    throw()
    assert outcomes["planned"] >= 0.9 * outcomes.total()


def nested(depth):
    value = "in"
    for _ in range(depth):
        value = [value]
    return value


def monsters():
    """What YAML makes of a few lines."""
    looped = {}
    looped["again"] = looped
    billion = ["lol"] * 10
    for _ in range(9):
        billion = [billion] * 10
    return {
        "nested": nested(900), "very deep": nested(100_000), "in itself": looped,
        "a billion": billion, "digits": 10**5000, "negative": -(10**5000),
        "half a pair": "\ud800", "as a key": {"\udfff": 1}, "as a value": [{"a": "\ud800"}],
    }  # fmt: skip


@pytest.mark.parametrize("monster", monsters().values(), ids=monsters())
@pytest.mark.parametrize(
    "key", ["study", "plan", "model.kwargs.x", "dataset.version", "train.batch", "unknown"]
)
def test_what_nothing_can_work_with_is_refused_with_a_sentence(monster, key):
    config = copy.deepcopy(SMALL)
    *sections, last = key.split(".")
    node = config
    for section in sections:
        node = node.setdefault(section, {})
    node[last] = monster
    with pytest.raises(UserError) as caught:
        Study.from_config(config, FILE)
    check_sentence(str(caught.value))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"model.sizes": {"min": 5e-324, "max": 1e308, "count": 5}},
        {"model.sizes": {"min": 1, "max": 1e308, "count": 5, "multiple_of": 5e-324}},
        {"model.sizes": {"min": 1, "max": 1.7e308, "count": 5, "multiple_of": 1e308}},
        {"train.accelerate_config": "a" * 5000},
        {"fit.bootstrap": 1e15},
        {"fit.ci": 5e-324},
        {"fit.ci": 1 - 1e-16},
    ],
)
def test_a_number_or_name_beyond_all_measure_is_refused_with_a_sentence(changes):
    with pytest.raises(UserError) as caught:
        Study.from_config(changed(SMALL, changes), FILE)
    check_sentence(str(caught.value))
    (key,) = changes
    assert str(caught.value).startswith(f"{FILE}: {key}: found ")


@pytest.mark.parametrize("path", ["{b}.csv", "a{b,c}.csv", "{{}}.csv"])
def test_a_table_whose_name_snakemake_would_interpret_is_refused(path):
    with pytest.raises(UserError, match=r"runs_table\.path: found .* braces"):
        Study.from_config({"study": "own", "runs_table": path}, FILE)


def test_a_configuration_whose_name_no_text_can_hold_is_refused():
    with pytest.raises(UserError) as caught:
        Study.from_config(SMALL, b"caf\xe9.yaml".decode("utf-8", "surrogateescape"))
    assert str(caught.value).startswith("'caf\\udce9.yaml': found a file name that UTF-8 cannot")


def check_sentence(text: str) -> None:
    """A line for each mistake; each names the file, and shows what was found in readable length."""
    for line in text.splitlines():
        assert line.startswith(f"{FILE}: ")
        assert len(line) < 2000
