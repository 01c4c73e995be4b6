"""The typed study: every key of the schema ends up in it, and its folder belongs to one file."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import flops_fit
import pytest
from flops_fit.errors import UserError
from flops_fit.launch.launcher import ACCELERATE_CONFIG
from flops_fit.study.claim import claim_study
from flops_fit.study.configuration import load_schema, walk_keys
from flops_fit.study.study import (
    FitSettings,
    ModelFamily,
    PlanSettings,
    Study,
    Target,
    TrainSettings,
    fingerprint,
)
from hand_computed import FILE, FULL, SMALL, changed, small_study

WORKFLOW = Path(flops_fit.__file__).resolve().parent.parent
RANGE = {"model.sizes": {"min": 8, "max": 128, "count": 5, "multiple_of": 8}}
LOSS = {"loss": {"target": "mine:loss"}}
OPTIMIZER = {"train.optimizer": {"target": "mine:optimizer"}}

# For every leaf of the schema: what else the study holds, and two values that must differ in it.
OTHER_VALUES = {
    "study": ({}, "small", "other"),
    "model.target": ({}, "mine:Model", "mine:Other"),
    "model.size_param": ({}, "width", "depth"),
    "model.sizes": ({}, [50, 100, 200], [50, 100, 201]),
    "model.sizes.min": (RANGE, 8, 16),
    "model.sizes.max": (RANGE, 128, 256),
    "model.sizes.count": (RANGE, 5, 4),
    "model.sizes.multiple_of": (RANGE, 8, 5),
    "model.kwargs": ({}, {"heads": 1}, {"heads": 2}),
    "model.version": ({}, 1, 2),
    "dataset.target": ({}, "mine:Data", "mine:Other"),
    "dataset.kwargs": ({}, {}, {"length": 2}),
    "dataset.version": ({}, 1, "2b"),
    "loss": ({}, "mine:loss", "mine:other"),
    "loss.target": (LOSS, "mine:loss", "mine:other"),
    "loss.version": (LOSS, 1, 2),
    "plan.budgets": ({}, [6e6], [6e6, 7e6]),
    "plan.sizes_per_budget": ({}, 5, 4),
    "plan.tokens_per_param": ({}, [3, 450], [3, 451]),
    "plan.min_steps": ({}, 100, 99),
    "plan.flops": ({}, "measured", "6ND"),
    "plan.seeds": ({}, [0], [0, 1]),
    "train.batch": ({}, 10, 20),
    "train.lr": ({}, 0.01, [0.01, 0.02]),
    "train.lr_scaling.power": ({}, 0, -1),
    "train.lr_scaling.reference_size": ({}, 1, 32),
    "train.lr_scaling.apply": ({}, "matrices", "all"),
    "train.optimizer": ({}, "adamw", "mine:optimizer"),
    "train.optimizer.target": (OPTIMIZER, "mine:optimizer", "mine:other"),
    "train.optimizer.version": (OPTIMIZER, 1, 2),
    "train.weight_decay": ({}, 0.1, 0),
    "train.warmup_fraction": ({}, 0.1, 0),
    "train.grad_clip": ({}, 1.0, None),
    "train.schedule": ({}, "cosine", "constant"),
    "train.final_lr_fraction": ({}, 0.1, 0.2),
    "train.precision": ({}, "no", "float64"),
    "train.processes": ({}, 1, 2),
    "train.compile": ({}, False, True),
    "train.find_unused_parameters": ({}, False, True),
    "train.accelerate_config": ({}, None, str(ACCELERATE_CONFIG)),
    "train.checkpoint_minutes": ({}, 10, None),
    "train.keep_checkpoint": ({}, False, True),
    "train.eval_units": ({}, 200_000, 100),
    "fit.params": ({}, "non_embedding", "total"),
    "fit.approaches": ({}, ["2"], ["2", "3"]),
    "fit.bootstrap": ({}, 1000, 200),
    "fit.ci": ({}, 0.95, 0.9),
    "fit.seed": ({}, 0, 1),
    "fit.stratify": ({}, True, False),
    "fit.holdout_budgets": ({}, 1, 2),
    "fit.tie_exponents": ({}, False, True),
    "fit.exclude": ({}, [], ["0123456789ab"]),
    "fit.allow_mixed_code": ({}, False, True),
    "predict.budgets": ({}, [], [1e12]),
}


def typed(study: Study) -> dict:
    """All of a study but its plain form."""
    values = {field.name: getattr(study, field.name) for field in dataclasses.fields(study)}
    return {name: value for name, value in values.items() if name != "config"}


def refusal(changes: dict) -> str:
    with pytest.raises(UserError) as caught:
        small_study(changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_table_above_covers_every_key():
    keys = {key for key, node in walk_keys(load_schema()) if node["unit"] != "section"}
    # A study with a runs_table is another kind of study, with tests of its own.
    assert {key for key in keys if not key.startswith("runs_table")} == set(OTHER_VALUES)


@pytest.mark.parametrize("key", sorted(OTHER_VALUES))
def test_every_key_of_a_study_changes_what_is_read(key):
    rest, one, other = OTHER_VALUES[key]
    first, again, second = (
        typed(small_study({**rest, key: value})) for value in (one, one, other)
    )  # fmt: skip
    assert first == again
    assert first != second


def test_the_approaches_are_read():
    known = next(node for key, node in walk_keys(load_schema()) if key == "fit.approaches")
    for approach in known["items"]["enum"]:
        assert small_study({"fit.approaches": [approach]}).fit.approaches == (approach,)


@pytest.mark.parametrize(
    "settings", [ModelFamily, PlanSettings, TrainSettings, FitSettings, Target]
)
def test_every_setting_is_used_outside_of_this_module(settings):
    """A key that is read into a study and then forgotten would be a promise that nobody keeps."""
    used = set()
    for file in WORKFLOW.rglob("*.py"):
        if file.name != "study.py":
            tree = ast.parse(file.read_text(encoding="utf-8"))
            used |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert {field.name for field in dataclasses.fields(settings)} - used == set()


def test_what_a_full_study_says():
    study = Study.from_config(FULL, "my.yaml")
    assert study.model == ModelFamily(
        target=Target(path="mine:OtherModel", kwargs={"heads": 2}, version=7),
        size_param="depth",
        sizes=(10, 30, 90),
    )
    assert study.dataset == Target(path="mine:OtherData", kwargs={"length": 9}, version="second")
    assert study.loss == Target(path="mine:other_loss", kwargs={}, version=3)
    assert study.plan == PlanSettings(
        budgets=(1e7, 2e7), sizes_per_budget=4, tokens_per_param=(1, 100), min_steps=10,
        flops="6ND", seeds=(3, 4),
    )  # fmt: skip
    assert study.train == TrainSettings(
        batch={1e7: 20, 2e7: 40}, lr={1e7: (0.1, 0.2), 2e7: (0.3,)},
        lr_power=-1, lr_reference_size=32, lr_apply="all",
        optimizer="mine:optimizer", optimizer_version=5, weight_decay=0.2, warmup_fraction=0.3,
        grad_clip=2.0, schedule="constant", final_lr_fraction=0.5, precision="bf16",
        processes=((0, 1), (1050, 2)), compile=True, find_unused_parameters=True,
        accelerate_config=str(ACCELERATE_CONFIG), sharded=False, checkpoint_minutes=2.5,
        keep_checkpoint=True, eval_units=1000,
    )  # fmt: skip
    assert study.fit == FitSettings(
        params="total",
        approaches=("2",),
        bootstrap=200,
        ci=0.9,
        seed=5,
        stratify=False,
        holdout_budgets=2,
        tie_exponents=True,
        exclude=("abc",),
        allow_mixed_code=True,
    )
    assert study.predict_budgets == (1e9,)
    assert study.folder == Path()


def test_one_number_holds_for_every_budget():
    study = small_study({"plan.budgets": [2e6, 1e6], "train.lr": [0.2, 0.1]})
    assert study.plan.budgets == (1e6, 2e6)
    assert study.train.batch == {1e6: 10, 2e6: 10}
    assert study.train.lr == {1e6: (0.1, 0.2), 2e6: (0.1, 0.2)}


@pytest.mark.parametrize(
    ("processes", "expected"),
    [
        (3, {1: 3, 10**12: 3}),
        ([{"from_params": 0, "processes": 2}], {1: 2, 10**12: 2}),
        (
            [{"from_params": 0, "processes": 1}, {"from_params": "1e3", "processes": "4"},
             {"from_params": 1e6, "processes": 2}],
            {1: 1, 999: 1, 1000: 4, 999_999: 4, 10**6: 2, 10**12: 2},
        ),
    ],
)  # fmt: skip
def test_processes_follow_the_number_of_parameters(processes, expected):
    study = small_study({"train.processes": processes})
    assert {n: study.processes_for(n) for n in expected} == expected


def test_an_accelerate_configuration_is_sought_beside_the_studys(tmp_path):
    (tmp_path / "own.yaml").write_text("distributed_type: MULTI_GPU\n")
    file = str(tmp_path / "my.yaml")
    found = small_study({"train.accelerate_config": "own.yaml"}, file).train.accelerate_config
    assert found == str(tmp_path / "own.yaml")
    with pytest.raises(UserError) as caught:
        small_study({"train.accelerate_config": "other.yaml"}, file)
    assert str(caught.value) == (
        f"{file}: train.accelerate_config: found no file {tmp_path / 'other.yaml'}, expected an "
        "existing one"
    )


@pytest.mark.parametrize(
    ("text", "sharded"),
    [
        ("distributed_type: MULTI_GPU\n", False),
        ("distributed_type: NO\n", False),
        ("num_machines: 1\n", False),
        ("distributed_type: FSDP\nfsdp_config: {fsdp_version: 2}\n", True),
    ],
)
def test_an_accelerate_configuration_may_ask_for_shards(tmp_path, text, sharded):
    (tmp_path / "own.yaml").write_text(text)
    file = str(tmp_path / "my.yaml")
    assert small_study({"train.accelerate_config": "own.yaml"}, file).train.sharded is sharded


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "distributed_type: DEEPSPEED\n",
            "distributed_type: found 'DEEPSPEED', expected MULTI_GPU, FSDP or NO",
        ),
        (
            "distributed_type: FSDP\n",
            "fsdp_config.fsdp_version: found 1, expected 2",
        ),
        (
            "distributed_type: FSDP\nfsdp_config: yes\n",
            "fsdp_config.fsdp_version: found None, expected 2",
        ),
        (
            "distributed_type: MULTI_GPU\nparallelism_config: {parallelism_config_tp_size: 2}\n",
            "parallelism_config: found {'parallelism_config_tp_size': 2}, expected no such key",
        ),
        (
            "distributed_type: MULTI_GPU\ngpu_ids: '2,3'\n",
            "gpu_ids: found '2,3', expected all, or no such key",
        ),
        ("use_cpu: true\n", "use_cpu: found True, expected false"),
        ("- a list\n", "is no configuration file of accelerate (YAML)"),
        ("{", "is no configuration file of accelerate (YAML)"),
    ],
)
def test_a_parallelism_that_would_go_wrong_in_silence_is_refused(tmp_path, text, sentence):
    own = tmp_path / "own.yaml"
    own.write_text(text)
    with pytest.raises(UserError) as caught:
        small_study({"train.accelerate_config": "own.yaml"}, str(tmp_path / "my.yaml"))
    assert str(caught.value).startswith(f"{own}: {sentence}")


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([200, 50, 100.0, 12.5], (12.5, 50, 100, 200)),
        # ratios of 2, all multiples of 8
        (RANGE["model.sizes"], (8, 16, 32, 64, 128)),
        # 10, 31.6, 100, 316.2, 1000 in tens
        ({"min": 10, "max": 1000, "count": 5, "multiple_of": 10}, (10, 30, 100, 320, 1000)),
        # 1, 1.41, 2, 2.83, 4 as whole numbers: 1 stands twice
        ({"min": 1, "max": 4, "count": 5}, (1, 2, 3, 4)),
        ({"min": 1, "max": 4, "count": 3, "multiple_of": 0.5}, (1, 2, 4)),
    ],
)
def test_sizes_of_lists_and_ranges(sizes, expected):
    found = small_study({"model.sizes": sizes}).model.sizes
    assert found == expected
    # A model that takes a width of 64 takes no 64.0.
    assert [type(size) for size in found] == [type(size) for size in expected]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"plan.budgets": [6e6, "6e6"]}, "plan.budgets: found 6e+06 twice, expected different"),
        ({"model.sizes": [1, 2, 2.0]}, "model.sizes: found 2 twice, expected different"),
        ({"train.lr": [0.1, 0.1]}, "train.lr: found 0.1 twice, expected different"),
        ({"train.lr": {6e6: [1, 1]}}, "train.lr: found 1 twice, expected different"),
        ({"predict.budgets": [1e9, 1e9]}, "predict.budgets: found 1e+09 twice"),
        (
            {"plan.tokens_per_param": [450, 3]},
            "plan.tokens_per_param: found [450, 3], expected the smaller number first",
        ),
        ({"plan.tokens_per_param": [3, 3]}, "plan.tokens_per_param: found [3, 3], expected"),
        (
            {"train.batch": {5e6: 10}},
            "train.batch: has no entry for the budget 6e+06, expected one number for all",
        ),
        (
            {"train.processes": [{"from_params": 5, "processes": 1}]},
            "train.processes: found from_params [5.0], expected 0 first and then ascending",
        ),
        (
            {"train.processes": [{"from_params": n, "processes": 1} for n in (0, 9, 9)]},
            "train.processes: found from_params [0.0, 9.0, 9.0], expected 0 first and then",
        ),
        (
            {"train.processes": [{"processes": 1}]},
            "train.processes[0].from_params: is missing, expected a number at least 0",
        ),
        ({"train.lr": {"six": 0.1}}, "train.lr: found the key 'six', expected a budget in FLOPs"),
        (
            {"model.sizes": {"min": 9, "max": 3, "count": 3}},
            "model.sizes: found min 9 and max 3, expected min below max",
        ),
        (
            {"model.sizes": {"min": 1, "max": 2, "count": 9}},
            "model.sizes: the range gives the sizes [1.0, 2.0] only, expected at least 3; widen",
        ),
        (
            {"train.optimizer": "mine:optimizer", "train.lr_scaling": {"power": -1}},
            "train.lr_scaling.apply: found matrices with the optimizer 'mine:optimizer', expected "
            "all or none",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes, sentence):
    assert refusal(changes).startswith(f"{FILE}: {sentence}")


def test_a_study_survives_its_file(tmp_path):
    study = Study.from_config(FULL, "my.yaml")
    file = tmp_path / "study.json"
    file.write_text(study.to_json(), encoding="utf-8")
    assert Study.load(file) == study
    assert Study.load(file).to_json() == study.to_json()


def test_the_text_of_a_study_knows_no_order():
    backwards = {
        key: dict(reversed(value.items())) if isinstance(value, dict) else value
        for key, value in reversed(FULL.items())
    }
    assert list(backwards) != list(FULL)
    assert Study.from_config(backwards, FILE).to_json() == Study.from_config(FULL, FILE).to_json()


# Fingerprints ------------------------------------------------------------------------------------


def test_a_fingerprint_is_the_hash_of_the_one_spelling():
    text = '{"a":[1,2.5,null],"b":"\\u00e9"}'  # sorted, no spaces, ASCII
    assert (
        fingerprint({"b": "é", "a": (1, 2.5, None)})
        == hashlib.sha256(text.encode("ascii")).hexdigest()[:12]
    )


def test_a_fingerprint_of_nan_does_not_exist():
    with pytest.raises(ValueError, match="not JSON compliant"):
        fingerprint({"a": math.nan})


def test_the_prepared_data_depend_on_nothing_but_the_dataset():
    first = small_study().data_fingerprint
    others = {"study": "x", "plan.budgets": [1e9], "model.version": 9, "train.eval_units": 7}
    assert small_study(others).data_fingerprint == first
    for key in ("dataset.target", "dataset.kwargs", "dataset.version"):
        assert small_study({key: OTHER_VALUES[key][2]}).data_fingerprint != first


# results/<study>/study.json ----------------------------------------------------------------------


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_an_unchanged_study_is_not_written_again(tmp_path):
    path = claim_study(small_study(), tmp_path)
    assert path == tmp_path / "small" / "study.json"
    assert Study.load(path) == small_study()
    os.utime(path, ns=(10**18, 10**18))  # long ago, so that any writing shows
    # The same study in other words: its modification time is what would make the plan run again.
    assert claim_study(small_study({"train.lr": "1e-2", "plan.min_steps": 100}), tmp_path) == path
    assert path.stat().st_mtime_ns == 10**18
    assert list(files_below(tmp_path)) == ["small/study.json"]


def test_a_changed_study_is_written(tmp_path):
    path = claim_study(small_study(), tmp_path)
    os.utime(path, ns=(10**18, 10**18))
    edited = small_study({"plan.seeds": [0, 1]})
    assert claim_study(edited, tmp_path) == path
    assert Study.load(path) == edited
    assert path.stat().st_mtime_ns > 10**18
    assert list(files_below(tmp_path)) == ["small/study.json"]


def test_a_name_that_belongs_to_another_file_is_refused_and_nothing_is_lost(tmp_path):
    claim_study(small_study(), tmp_path)
    (tmp_path / "small" / "runs.csv").write_text("precious")
    before = files_below(tmp_path)
    with pytest.raises(UserError) as caught:
        claim_study(small_study({"plan.seeds": [1]}, file="elsewhere/small.yaml"), tmp_path)
    message = str(caught.value)
    assert message.startswith(
        f"elsewhere/small.yaml: study: the name 'small' already belongs to {FILE}, "
    )
    assert "give this study another name" in message
    assert files_below(tmp_path) == before


def test_two_studies_stand_side_by_side(tmp_path):
    claim_study(small_study(), tmp_path)
    claim_study(small_study({"study": "other"}, file="other.yaml"), tmp_path)
    assert list(files_below(tmp_path)) == ["other/study.json", "small/study.json"]


@pytest.mark.parametrize("blocked", ["results", "results/small"])
def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path, blocked):
    """A file in the folder's place stops even the superuser, whom permissions do not."""
    file = tmp_path / blocked
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("in the way")
    with pytest.raises(UserError) as caught:
        claim_study(small_study(), tmp_path / "results")
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/results/small/study.json: cannot be ")
    assert "expected a results folder that this user may write to" in message
    assert "\n" not in message
    assert file.read_text() == "in the way"


DAMAGED = [b"", b"no JSON", b"[]", b"{}", b"\xff\xfe\x00", b"[" * 100_000]


@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
@pytest.mark.parametrize("planned", ["of this one", "nothing", "damaged as well"])
def test_a_damaged_study_file_is_moved_aside_and_written_anew(tmp_path, capfd, content, planned):
    file = claim_study(small_study(), tmp_path)
    whole = file.read_bytes()
    file.write_bytes(content)
    beside = {"of this one": whole, "nothing": None, "damaged as well": b""}[planned]
    if beside is not None:
        file.with_name("planned_study.json").write_bytes(beside)
    assert claim_study(small_study(), tmp_path) == file
    assert file.read_bytes() == whole
    assert file.with_name("study.json.damaged").read_bytes() == content
    assert f"it was written anew from {FILE}" in capfd.readouterr().err


@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_study_file_of_another_configuration_is_left_alone(tmp_path, content):
    file = claim_study(small_study(file="other.yaml"), tmp_path)
    file.rename(file.with_name("planned_study.json"))
    file.write_bytes(content)
    before = files_below(tmp_path)
    with pytest.raises(UserError, match=r"is not a study\.json of flops-fit; move it away"):
        claim_study(small_study(), tmp_path)
    assert files_below(tmp_path) == before


def test_a_flipped_bit_in_the_owners_name_does_not_take_the_study_away(tmp_path):
    file = claim_study(small_study(), tmp_path)
    whole = file.read_text()
    file.with_name("planned_study.json").write_text(whole)
    file.write_text(whole.replace(FILE, FILE.replace("small", "smalm")))
    claim_study(small_study(), tmp_path)
    assert file.read_text() == whole
    # A configuration that is there, though, was named by its user: the study was moved to it.
    moved = tmp_path / "moved.yaml"
    moved.write_text("")
    file.write_text(whole.replace(FILE, str(moved)))
    with pytest.raises(UserError, match=f"already belongs to {moved}"):
        claim_study(small_study(), tmp_path)


def test_what_the_workflow_imports_at_parse_time_is_light():
    """Dry runs start at once only as long as none of these modules imports torch."""
    modules = (
        "study.study", "study.claim", "plan.plan", "launch.launcher", "launch.resources",
        "records.merged_runs", "user_code.importable", "user_code.dataset_contract",
        "user_code.loss_contract", "user_code.source_fingerprint", "pipeline.fitting",
        "pipeline.status", "pipeline.script",
    )  # fmt: skip
    imports = "".join(f"import flops_fit.{name}\n" for name in modules)
    code = f"import sys\n{imports}print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(WORKFLOW)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False\n"


def test_the_small_study_of_these_tests_is_valid():
    assert json.loads(Study.from_config(changed(SMALL, {}), FILE).to_json())["config_file"] == FILE
