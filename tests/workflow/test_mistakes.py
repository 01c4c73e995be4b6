"""What a user gets wrong in the first hour: one sentence, a failure, and nothing half-written."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml
from checkout import jobs_of
from flops_fit.errors import UserError
from flops_fit.plan.plan import make_plan
from flops_fit.study.study import Study
from flops_fit.user_code.dataset_meta import DatasetMeta
from flops_fit.user_code.measure import measure_sizes
from flops_fit.user_code.prepare import prepare

BAD_MODULE = """
import torch
from torch import nn
from torch.utils.data import IterableDataset
from teacher import TeacherLabels


def sizeless(n_features, n_classes):
    return nn.Linear(n_features, n_classes)


class Fragile(nn.Module):
    def __init__(self, width, n_features, n_classes):
        super().__init__()
        if width == 5:
            raise RuntimeError("five is not allowed")
        self.layer = nn.Linear(n_features, n_classes)

    def forward(self, x):
        return self.layer(x)


class Stream(IterableDataset):
    def __init__(self, split, folder, n_features, n_classes):
        pass

    def __iter__(self):
        yield torch.zeros(8), 0


class NoLength:
    def __init__(self, split, folder, n_features, n_classes):
        pass

    def __getitem__(self, i):
        return torch.zeros(8), 0


class NoValidation(TeacherLabels):
    def __len__(self):
        return super().__len__() if len(self.y) > 10_000 else 0


def vector_loss(outputs, targets):
    return nn.functional.cross_entropy(outputs, targets, reduction="none")
"""


def change(section, **values):
    return lambda config: config[section].update(values)


def mistake(sentence, change):
    return pytest.param(change, sentence, id=" ".join(sentence[-1].split()[:6]))


PREPARING, PLANNING = "prepare", "plan_experiments"
# One for each rule that meets the user's code.
SHOWN_BY_SNAKEMAKE = [
    (
        PREPARING,
        ["IterableDataset", "expected a map-style dataset", "prepare(folder"],
        change("dataset", target="bad:Stream"),
    ),
    (
        PLANNING,
        ["bad:Fragile(width=5)", "RuntimeError: five is not allowed", "every one of model.sizes"],
        change("model", target="bad:Fragile"),
    ),
]
MISTAKES = [
    mistake(
        ["model.target", "has no 'Missing'", "Classifier"],
        change("model", target="teacher:Missing"),
    ),
    mistake(["model.target", "no module 'absent'"], change("model", target="absent:Model")),
    mistake(
        ["model.size_param", "takes no argument 'width'", "n_features, n_classes"],
        change("model", target="bad:sizeless"),
    ),
    mistake(["without __len__"], change("dataset", target="bad:NoLength")),
    mistake(
        ["split='validation'", "is empty, expected at least one sample"],
        change("dataset", target="bad:NoValidation"),
    ),
    mistake(["loss", "(2,)", "expected a scalar"], lambda c: c.update(loss="bad:vector_loss")),
    mistake(
        ["plan.budgets", "2e+06", "0 of the 3 sizes", "lower plan.min_steps"],
        change("plan", min_steps=10**6),
    ),
]


@pytest.mark.parametrize(("rule", "sentence", "change"), SHOWN_BY_SNAKEMAKE)
def test_a_mistake_in_the_users_code_stops_before_the_plan(checkout, rule, change, sentence):
    checkout.config_file.with_name("bad.py").write_text(BAD_MODULE)
    checkout.configure(change)
    output = checkout.refuse("--cores", "2")
    assert f"Error in rule {rule}:" in output
    lines = [line for line in output.splitlines() if line.startswith("error: ")]
    assert len(set(lines)) == 1, output
    for part in ["config/studies/tiny.yaml", *sentence]:
        assert part in lines[0]
    assert not (checkout.study / "plan.csv").exists()
    assert not (checkout.study / "specs.json").exists()
    assert not (checkout.study / "runs").exists()


@pytest.fixture
def plan(checkout, monkeypatch):
    """Return a function that does what these two rules do, in this process."""
    monkeypatch.chdir(checkout.path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # the search for modules adds folders
    checkout.config_file.with_name("bad.py").write_text(BAD_MODULE)

    def run(change):
        file = checkout.configure(change).relative_to(checkout.path)
        study = Study.from_config(yaml.safe_load(file.read_text()), file)
        meta = Path("results") / "data" / study.data_fingerprint / "meta.json"
        prepare(study, meta)
        return make_plan(study, measure_sizes(study, meta.parent), DatasetMeta.load(meta))

    yield run
    for name in ("bad", "teacher"):
        sys.modules.pop(name, None)


def test_without_a_mistake_it_plans(plan):
    assert len(plan(None).experiments) == 6


@pytest.mark.parametrize(("change", "sentence"), MISTAKES)
def test_a_mistake_in_the_users_code_is_a_sentence(plan, change, sentence):
    with pytest.raises(UserError) as caught:
        plan(change)
    for part in ["config/studies/tiny.yaml", *sentence]:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_key(checkout):
    checkout.configure(lambda c: c["plan"].update(seed=[1]))
    output = checkout.refuse("--cores", "2")
    assert "config/studies/tiny.yaml: plan.seed: unknown key; did you mean 'seeds'?" in output
    assert not checkout.study.exists()


def test_a_name_that_another_file_has(checkout):
    checkout.succeed("-n")
    before = (checkout.study / "study.json").read_bytes()
    checkout.configure(change("plan", seeds=[5]), name="second.yaml")
    output = checkout.refuse("--cores", "2", config="config/studies/second.yaml")
    assert "'tiny' already belongs to config/studies/tiny.yaml" in output
    assert (checkout.study / "study.json").read_bytes() == before


def test_a_results_folder_that_cannot_be_written(checkout):
    (checkout.path / "results").write_text("a file where a folder should be")
    output = checkout.refuse("--cores", "2")
    assert "results/tiny/study.json" in output
    assert "expected a results folder that this user may write to" in output


def test_a_configuration_that_is_no_study(checkout):
    checkout.config_file.write_text("- a\n- list\n")
    assert "keys at top level" in checkout.refuse("--cores", "2")


def test_no_key_of_the_demo_survives_in_another_study(checkout):
    checkout.succeed("-n")
    demo = yaml.safe_load((checkout.path / "config" / "config.yaml").read_text())
    resolved = yaml.safe_load((checkout.study / "study.json").read_text())["config"]
    given = yaml.safe_load(checkout.config_file.read_text())
    for section in ("plan", "train", "predict"):
        for key in set(demo[section]) - set(given[section]):
            found = resolved[section].get(key)
            assert found != demo[section][key] or key in DEFAULTS_OF_THE_DEMO
    assert resolved["model"]["kwargs"] == given["model"]["kwargs"]
    assert resolved["train"]["batch"] == 32
    assert resolved["train"]["lr_scaling"]["power"] == 0


# Keys whose value in the demo is the schema's default as well.
DEFAULTS_OF_THE_DEMO = {
    "sizes_per_budget", "flops", "seeds", "optimizer", "weight_decay", "warmup_fraction",
    "grad_clip", "schedule", "final_lr_fraction", "precision", "processes",
}  # fmt: skip


def test_the_command_line_overlays_the_demo(checkout):
    overlay = "plan={budgets: [5e10, '1.5e11', 5e11], seeds: [3]}"
    checkout.succeed("-n", "--config", overlay, config=None)
    resolved = yaml.safe_load((checkout.path / "results/demo/study.json").read_text())["config"]
    assert resolved["plan"]["budgets"] == [5e10, 1.5e11, 5e11]
    assert resolved["plan"]["seeds"] == [3]
    assert resolved["plan"]["sizes_per_budget"] == 5  # the demo's other keys stay


def test_the_command_line_overlays_a_study(checkout):
    checkout.succeed("-n", "--config", "plan={budgets: [3e6]}")
    resolved = yaml.safe_load((checkout.study / "study.json").read_text())["config"]
    assert resolved["plan"]["budgets"] == [3e6]
    assert resolved["plan"]["min_steps"] == 10


def test_the_command_line_hands_numbers_to_the_users_code(checkout):
    """Snakemake itself leaves what stands inside a section as text."""
    checkout.configure(lambda config: config["dataset"]["kwargs"].update(label="2"))
    overlay = "model={kwargs: {n_layer: 2, rate: 0.5, bias: false, name: '2', 7: [1e3]}}"
    checkout.succeed("-n", "--config", overlay, "plan={budgets: [3000000]}")
    resolved = yaml.safe_load((checkout.study / "study.json").read_text())["config"]
    assert resolved["model"]["kwargs"] == {
        "n_features": 8, "n_classes": 4,
        "n_layer": 2, "rate": 0.5, "bias": False, "name": "2", "7": [1000.0],
    }  # fmt: skip
    assert resolved["plan"]["budgets"] == [3e6]
    assert resolved["dataset"]["kwargs"]["label"] == "2"  # quoted in the file: text


def test_groups_of_a_finished_plan_have_it_made_again(checkout):
    """Snakemake would make the groups twice, and submit their experiments several times."""
    checkout.succeed("plan", "--cores", "1")
    grouped = ("runs", "-n", "--cores", "1", "--groups", "train=s", "--group-components", "s=2")
    sentence = "--group-components s=2: found on a plan that is finished, expected --forcerun"
    assert sentence in checkout.refuse(*grouped)
    again = checkout.succeed(*grouped, "--forcerun", "plan_experiments")
    assert jobs_of(again, "plan_experiments") == 1
