"""The keys of ``train``: the recipe of one experiment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import ConfigDict, RootModel, Strict, field_validator, model_validator

from flops_fit.study.recipe_rules import (
    NAME_PATTERN,
    PUBLISHED_BATCH,
    PUBLISHED_LR,
    RULE_NAMES,
    PowerRule,
    PublishedRule,
    rounded,
)
from flops_fit.study.section import Section, key, section, spelled
from flops_fit.study.values import (
    CODE_WANTED,
    AdamWOrImportPath,
    Flag,
    ImportPath,
    Positive,
    PositiveWhole,
    Text,
    Version,
    budget_map_of,
    check_distinct,
    choice,
    list_of,
    mistakes_below,
    number,
    sentence,
)


class OptimizerSettings(Section):
    """The long form of ``train.optimizer``."""

    target: ImportPath = key(
        "Import path of the optimizer's factory.", "import path", expected=CODE_WANTED
    )
    version: Version = key(
        "Raise it when the factory's code changed; every experiment is trained again.",
        "version",
        default=1,
    )


class PerBudget(RootModel):
    """One value for all budgets, or a map from the budget's one spelling to its value."""

    model_config = ConfigDict(frozen=True)
    root: Any

    def missing(self, budgets: tuple[float, ...]) -> list[float]:
        """Return the budgets without an entry."""
        if not isinstance(self.root, dict):
            return []
        return [budget for budget in budgets if repr(budget) not in self.root]

    def written(self, budget: float) -> Any:
        """Return the entry of a budget, as written."""
        return self.root[repr(budget)] if isinstance(self.root, dict) else self.root


_RuleName = Annotated[str, Strict(), NAME_PATTERN]


class Batch(PerBudget):
    """Units per optimizer step, by budget, or by rule of N and D."""

    root: spelled(
        one=PositiveWhole,
        keys=budget_map_of(PositiveWhole),
        name=_RuleName,
        names=RULE_NAMES,
        rule=PowerRule,
    )

    @property
    def rule(self) -> PowerRule | PublishedRule | None:
        """The rule, if it is one."""
        return _rule(self.root, PUBLISHED_BATCH)

    def at(self, budget: float, N: float, D: float) -> float:
        """Return the units per step at a budget, N non-embedding parameters and about D units.

        A number as written, or what a rule gives, which is no whole number.
        """
        return self.rule.value(budget, N, D) if self.rule else self.written(budget)


_Rates = list_of(Positive, check_distinct, min_length=1)


class LearningRates(PerBudget):
    """A grid of peak learning rates, by budget, or one rate by rule of N and D."""

    root: spelled(
        one=Positive,
        list=_Rates,
        keys=budget_map_of(spelled(one=Positive, list=_Rates)),
        name=_RuleName,
        names=RULE_NAMES,
        rule=PowerRule,
    )

    @property
    def rule(self) -> PowerRule | PublishedRule | None:
        """The rule, if it is one."""
        return _rule(self.root, PUBLISHED_LR)

    @property
    def is_grid(self) -> bool:
        """Whether several rates are tried at a budget."""
        values = self.root.values() if isinstance(self.root, dict) else [self.root]
        return any(isinstance(value, tuple) for value in values)

    def at(self, budget: float, N: float, D: float) -> tuple[float, ...]:
        """Return the grid, ascending, at a budget, N non-embedding parameters and D units."""
        if self.rule:
            return (rounded(self.rule.value(budget, N, D)),)
        rates = self.written(budget)
        return tuple(sorted(rates)) if isinstance(rates, tuple) else (rates,)


def _rule(root: Any, published: Mapping[str, PublishedRule]) -> PowerRule | PublishedRule | None:
    if isinstance(root, str):
        return published[root]
    return root if isinstance(root, PowerRule) else None


class LrScaling(Section):
    """How the learning rate follows the size."""

    power: number() = key(
        "Exponent of the scaling; -1 with matrices is the rule for widths.", "exponent", default=0
    )
    reference_size: Positive = key(
        "The size at which lr applies unscaled.", "value of size_param", default=1
    )
    apply: choice("matrices", "all", "none") = key(
        "Which parameters are scaled: matrices (two and more dimensions, without input lookup "
        "tables), all, or none.",
        "choice",
        default="matrices",
    )


class ProcessesFrom(Section):
    """One threshold of processes."""

    from_params: number(ge=0) = key("Total parameters from which this entry holds.", "parameters")
    processes: PositiveWhole = key("Data-parallel processes from there on.", "processes")


class TrainSettings(Section):
    """The recipe of one experiment."""

    batch: Batch = key(
        "Units per optimizer step over all processes, a number, a map budget -> number, or a rule "
        "of N and D: its keys, or the name of a published one (step_law or deepseek).",
        "units",
        expected="a whole number of units, a map budget -> number, or a rule: {base:, power_n:, "
        f"power_d:, reference:}}, {' or '.join(RULE_NAMES)}",
    )
    lr: LearningRates = key(
        "Peak learning rate at the reference size, a number, a map budget -> number, or a rule of "
        "N and D as for batch; a list is a grid, of which the best enters the fit.",
        "learning rate",
        expected="a positive number, a list of them (a grid), a map budget -> number or list, or a "
        f"rule: {{base:, power_n:, power_d:, reference:}}, {' or '.join(RULE_NAMES)}",
    )
    lr_scaling: LrScaling = section(
        "Learning rate of a size: lr * (size / reference_size)^power.", default={}
    )
    optimizer: spelled(one=AdamWOrImportPath, keys=OptimizerSettings) = key(
        "adamw (betas 0.9 and 0.95, decay on matrices only) or the import path of "
        "target(model, lr, weight_decay) -> torch.optim.Optimizer.",
        "import path",
        default="adamw",
        expected="adamw, an import path 'package.module:name', or {target:, version:}",
    )
    weight_decay: number(ge=0) = key(
        "Weight decay passed to the optimizer.", "1 / learning rate", default=0.1
    )
    warmup_fraction: number(ge=0, lt=1) = key(
        "Share of the steps in which the learning rate rises linearly.",
        "share of the steps",
        default=0.1,
    )
    warmup_steps: PositiveWhole | None = key(
        "Steps in which the learning rate rises linearly, the same for all experiments; null takes "
        "warmup_fraction of each.",
        "optimizer steps",
        default=None,
    )
    grad_clip: Positive | None = key(
        "Largest norm of the whole gradient; null switches clipping off.",
        "gradient norm",
        default=1.0,
    )
    schedule: choice("cosine", "constant", "wsd") = key(
        "Course of the learning rate after the warm-up: cosine, constant, or wsd (constant, then "
        "a decay over the last decay_fraction of the steps).",
        "choice",
        default="cosine",
    )
    final_lr_fraction: number(ge=0, le=1) = key(
        "Share of the peak learning rate at the end of a cosine or wsd.",
        "share of lr",
        default=0.1,
    )
    decay_fraction: number(ge=0, le=1) = key(
        "Share of the steps, the last ones, in which the learning rate of wsd falls.",
        "share of the steps",
        default=0.2,
    )
    decay_shape: choice("linear", "1-sqrt") = key(
        "Course of the learning rate of wsd in its decay.", "choice", default="linear"
    )
    precision: choice("no", "bf16", "fp16", "float64") = key(
        'Arithmetic of the training; "no" is float32, float64 is meant for strict tests.',
        "choice",
        default="no",
    )
    processes: spelled(one=PositiveWhole, list=list_of(ProcessesFrom, min_length=1)) = key(
        "Data-parallel processes per experiment, one GPU each if any; not part of the id. A "
        "list of {from_params:, processes:} sets it by the model's size: the last entry whose "
        "from_params is not above the model's total parameters holds.",
        "processes",
        default=1,
        expected="a whole number, or a list of {from_params:, processes:} that begins with "
        "from_params: 0",
    )
    compile: Flag = key(
        "Compile the model with torch.compile; pays off for runs of minutes; not part of the id.",
        "choice",
        default=False,
    )
    find_unused_parameters: Flag = key(
        "Find out in every step of several processes which parameters have a gradient. Models need "
        "it if some parameters have none in some steps (experts that got no token); others train "
        "a little faster without. Not part of the id.",
        "choice",
        default=False,
    )
    accelerate_config: Text | None = key(
        "A configuration file of accelerate for data parallelism with whole (MULTI_GPU) or sharded "
        "parameters (FSDP, fsdp_version 2; the number of processes then has to divide the samples "
        "of a batch). Without this key no such file has any effect, not even the one in the home "
        "folder. The number of processes and the precision always come from this study.",
        "path",
        default=None,
    )
    checkpoint_minutes: Positive | None = key(
        "How often a training saves a checkpoint; a killed experiment loses no more work than "
        "that. null saves only when a training is asked to leave (SIGTERM, SIGUSR1, Ctrl-C). Not "
        "part of the id.",
        "minutes",
        default=10,
    )
    keep_checkpoint: Flag = key(
        "Keep the final weights as results/<study>/weights/<id>.safetensors; checkpoints are "
        "removed in any case once the record is written. Not part of the id.",
        "choice",
        default=False,
    )
    eval_units: PositiveWhole = key(
        "Size of the fixed validation set, in whole samples spread evenly over the validation "
        "split; the whole split if it is smaller.",
        "units",
        default=200000,
    )

    @field_validator("processes")
    @classmethod
    def _check_processes(cls, value: int | tuple[ProcessesFrom, ...]) -> Any:
        starts = [0.0] if isinstance(value, int) else [step.from_params for step in value]
        if starts[0] != 0 or starts != sorted(set(starts)):
            raise sentence(
                f"found from_params {starts}, expected 0 first and then ascending numbers"
            )
        return value

    @model_validator(mode="after")
    def _check_decay(self) -> TrainSettings:
        if self.schedule != "wsd" or self.warmup_steps is not None:
            return self
        if self.warmup_fraction + self.decay_fraction > 1:
            text = (
                f"found {self.decay_fraction:g} with warmup_fraction {self.warmup_fraction:g}, "
                "expected at most 1 together"
            )
            raise mistakes_below("train", [(("decay_fraction",), text)])
        return self

    @model_validator(mode="after")
    def _check_scaling(self) -> TrainSettings:
        if self.optimizer == "adamw" or self.lr_scaling.power == 0:
            return self
        if self.lr_scaling.apply == "matrices":
            path = getattr(self.optimizer, "target", self.optimizer)
            text = (
                f"found matrices with the optimizer {path!r}, expected all or none: its own "
                "factory makes the parameter groups"
            )
            raise mistakes_below("train", [(("lr_scaling", "apply"), text)])
        return self
