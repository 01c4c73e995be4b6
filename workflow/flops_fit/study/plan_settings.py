"""The keys of ``plan``: which experiments are trained, a grid or a design."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import model_validator

from flops_fit.study.given_settings import GivenExperiment
from flops_fit.study.hardware import HardwareSettings
from flops_fit.study.section import Section, key, spelled
from flops_fit.study.values import (
    Flag,
    NumberOrText,
    Positive,
    PositivePair,
    PositiveWhole,
    check_distinct,
    choice,
    distinct_list_of,
    list_of,
    mistakes_below,
    number,
    whole,
)

TOKENS_PER_PARAM = [3, 450]
"""Feasible D/N of a grid whose study does not state it."""


class TruthSettings(Section):
    """A law to simulate from: L(N, D) = E + A / N^alpha + B / D^beta, with noise."""

    E: number(ge=0) = key("Loss that nothing can beat.", "nats")
    A: Positive = key("Coefficient of N.", "nats")
    B: Positive = key("Coefficient of D.", "nats")
    alpha: Positive = key("Exponent of N.", "exponent")
    beta: Positive = key("Exponent of D.", "exponent")
    noise: number(ge=0, lt=1) = key(
        "Standard deviation of the logarithm of a loss, from seed to seed.",
        "share of the loss",
        default=0.003,
    )


class PlanSettings(Section):
    """Which experiments the sweep holds."""

    budgets: list_of(Positive, check_distinct, sorted, tuple, min_length=1) | None = key(
        "Compute budgets C. Alone they are a grid: at each one several sizes are trained. Beside "
        "target they are the ladder of a design, which otherwise chooses its own.",
        "FLOPs",
        default=None,
        expected="a list of positive numbers",
    )
    target: Positive | None = key(
        "The compute budget that the answer is for. With spend or precision the sweep is a design: "
        "experiments are chosen in rounds, each from the runs of those before (docs/planner.md).",
        "FLOPs",
        default=None,
    )
    spend: Positive | None = key(
        "What all rounds of a design may cost together, below target.", "FLOPs", default=None
    )
    precision: number(gt=1) | None = key(
        "Instead of spend: the factor up to which N_opt at the target shall be known, such as 1.5; "
        "the smallest spend whose forecast says so is taken (docs/planner.md).",
        "factor",
        default=None,
    )
    experiments: list_of(GivenExperiment, min_length=1) | None = key(
        "Single experiments, such as the final training, instead of a sweep: a list of {size:, D:} "
        "or {size:, C:}, each optionally with seed, lr and batch. They are trained as stated: "
        "tokens_per_param and min_steps drop none.",
        "experiments",
        default=None,
        expected="a list of {size:, D:} or {size:, C:}, optionally with seed, lr and batch",
    )
    prior: NumberOrText = key(
        "Where a design expects the optimum before its first run: units per parameter, the name "
        "of a published law (chinchilla, hoffmann, llama3, deepseek), or the fit.json of an "
        "earlier study. The pilot corrects it.",
        "units per parameter, name, or path",
        default=20,
        expected="a number of units per parameter, the name of a law, or a path to a fit.json",
    )
    truth: spelled(one=NumberOrText, keys=TruthSettings) | None = key(
        "The law that `snakemake simulate` draws losses from, as in prior or by its parameters; "
        "without it that of the prior.",
        "units per parameter, name, path, or law",
        default=None,
        expected="a number of units per parameter, the name of a law, a path to a fit.json, or "
        "{E:, A:, B:, alpha:, beta:, noise:}",
    )
    max_epochs: Positive = key(
        "A design repeats training data no more often than this (four epochs are nearly worth new "
        "data: arXiv 2305.16264); the plan of a grid says which experiments do.",
        "epochs",
        default=4,
    )
    sizes_per_budget: whole(ge=3) = key(
        "How many sizes a grid trains at each budget, spread evenly in log N.", "sizes", default=5
    )
    tokens_per_param: PositivePair | None = key(
        "Feasible range of D/N, with N the non-embedding parameters. A design has none unless it "
        "is stated: its optimum decides.",
        "units per non-embedding parameter",
        default=TOKENS_PER_PARAM,
        expected="a pair [smallest, largest] of positive numbers",
    )
    min_steps: PositiveWhole = key(
        "An experiment with fewer optimizer steps than this is dropped from the plan.",
        "optimizer steps",
        default=100,
    )
    flops: choice("measured", "6ND") = key(
        "How C is counted: measured counts one forward and backward pass per size; 6ND takes "
        "6 FLOPs per non-embedding parameter and unit.",
        "choice",
        default="measured",
    )
    seeds: distinct_list_of(whole(ge=0, le=2**31 - 1), min_length=1) = key(
        "Every (budget, size) of a grid is trained once per seed (initialisation and data order); "
        "a design takes a further seed only where it tells more than another size.",
        "seeds",
        default=[0],
        expected="a list of different whole numbers",
    )
    hardware: spelled(keys=HardwareSettings) | None = key(
        "Hardware to price the plan for, instead of timing short trainings on this one. It changes "
        "no experiment.",
        "hardware",
        default=None,
        expected="{flops_per_second:}, or {gpu:, mfu:}",
    )
    price_per_gpu_hour: number(ge=0) | None = key(
        "What an hour of one process (one GPU) costs, in any currency: `snakemake plan` then shows "
        "the money.",
        "money",
        default=None,
    )

    trunks: Flag = key(
        "Train what experiments of different length share once: one trunk per size, seed and "
        "learning rate at a constant rate, from which those of each budget branch off for their "
        "decay. Needs train.schedule wsd and train.warmup_steps; not part of the id.",
        "choice",
        default=False,
    )
    lr_pilot: Flag = key(
        "Try three learning rates around train.lr at two sizes of the two lowest budgets first; "
        "their optima and their drift with N and D decide the rates of the sweep.",
        "choice",
        default=False,
    )

    @property
    def designed(self) -> bool:
        """Whether experiments are chosen in rounds, and not laid out at once."""
        return self.target is not None

    @model_validator(mode="before")
    @classmethod
    def _leave_ratio_open(cls, raw: Any) -> Any:
        """Give a design no range of D/N that nobody asked for."""
        if isinstance(raw, Mapping) and raw.get("target") is not None:
            return {"tokens_per_param": None, **raw}
        return raw

    @model_validator(mode="after")
    def _check(self) -> PlanSettings:
        if self.experiments is not None:
            found = _mistakes_of_given(self)
        else:
            found = _mistakes_of_design(self) if self.designed else _mistakes_of_grid(self)
        if found:
            raise mistakes_below("plan", [((name,), text) for name, text in found])
        return self


def _mistakes_of_given(plan: PlanSettings) -> list[tuple[str, str]]:
    """Return (key, sentence) of what cannot stand beside single experiments."""
    text = "found beside plan.experiments, expected one of them: named experiments, or a sweep"
    names = ("budgets", "target", "spend", "precision")
    found = [(name, text) for name in names if getattr(plan, name) is not None]
    if plan.lr_pilot:
        found.append(("lr_pilot", "found beside plan.experiments, expected a grid or a design"))
    return found


def _mistakes_of_grid(plan: PlanSettings) -> list[tuple[str, str]]:
    """Return (key, sentence) of what a grid lacks, or has and cannot use."""
    found = [
        (name, "found without plan.target, expected both: they belong to a design")
        for name in ("spend", "precision")
        if getattr(plan, name) is not None
    ]
    if plan.budgets is None and not found:
        found = [
            (
                "budgets",
                "is missing, expected a list of positive numbers (a grid), plan.target with "
                "plan.spend (a design), or plan.experiments",
            )
        ]
    if plan.tokens_per_param is None:
        text = "found None, expected a pair [smallest, largest] of positive numbers"
        found.append(("tokens_per_param", text))
    return found


def _mistakes_of_design(plan: PlanSettings) -> list[tuple[str, str]]:
    """Return (key, sentence) of what does not fit together in a design."""
    found = []
    if plan.spend is None and plan.precision is None:
        text = f"found {plan.target:g} alone, expected plan.spend or plan.precision beside it"
        found.append(("target", text))
    elif plan.spend is not None and plan.precision is not None:
        text = (
            "found beside plan.spend, expected one of them: the precision follows from what is "
            "spent, and the other way round"
        )
        found.append(("precision", text))
    elif plan.spend is not None and plan.spend >= plan.target:
        text = (
            f"found {plan.target:g}, not above plan.spend {plan.spend:g}, expected a budget that "
            "is too large to try sizes at; train at the target itself instead"
        )
        found.append(("target", text))
    elif plan.budgets and plan.budgets[-1] >= plan.target:
        text = (
            f"found {plan.target:g}, not above the largest of plan.budgets "
            f"{plan.budgets[-1]:g}, expected a larger target or smaller budgets"
        )
        found.append(("target", text))
    return found
