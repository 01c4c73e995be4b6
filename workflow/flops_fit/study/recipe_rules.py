"""Learning rates and batches by rule of the size and the data: a power law of N, D and C.

A rule makes numbers for plans; ids hold the numbers and know nothing of the rule.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pydantic import StringConstraints

from flops_fit.study.section import Section, key, section
from flops_fit.study.values import Positive, number

_DIGITS = 6
"""Significant digits of a learning rate by rule: the last digits of a power differ between
machines, and an id must not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRule:
    """value = base * N^power_n * D^power_d * C^power_c, with N non-embedding and D in tokens."""

    base: float
    power_n: float = 0.0
    power_d: float = 0.0
    power_c: float = 0.0
    source: str

    def value(self, budget: float, N: float, D: float) -> float:
        """Return the value at a budget C, N and D."""
        parts = ((budget, self.power_c), (N, self.power_n), (D, self.power_d))
        return power_law(self.base, parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class LrFactor:
    """What a learning-rate pilot multiplies ``train.lr`` by: base (N/n)^power_n (D/d)^power_d."""

    base: float
    power_n: float
    power_d: float
    n: float  # non-embedding parameters
    d: float  # units

    def at(self, N: float, D: float) -> float:
        """Return the factor at N and D."""
        return power_law(self.base, ((N / self.n, self.power_n), (D / self.d, self.power_d)))

    def __str__(self) -> str:
        """The rule of the learning rate, for reading."""
        powers = f" * (N / {self.n:.4g})^{self.power_n:.3g}" if self.power_n else ""
        powers += f" * (D / {self.d:.4g})^{self.power_d:.3g}" if self.power_d else ""
        return f"train.lr * {self.base:.3g}{powers}"


_STEP_LAW = "Step Law: Li et al. 2025 (arXiv 2503.04715), abstract and equation 1"
_DEEPSEEK = "Bi et al. 2024 (arXiv 2401.02954, DeepSeek LLM), equation 1"
# Step Law counts the tokens of a batch, and so does DeepSeek, whose C = M D holds attention but not
# the head; a budget of ours holds both.
PUBLISHED_LR = {
    "step_law": PublishedRule(base=1.79, power_n=-0.713, power_d=0.307, source=_STEP_LAW),
    "deepseek": PublishedRule(base=0.3118, power_c=-0.1250, source=_DEEPSEEK),
}
PUBLISHED_BATCH = {
    "step_law": PublishedRule(base=0.58, power_d=0.571, source=_STEP_LAW),
    "deepseek": PublishedRule(base=0.2920, power_c=0.3271, source=_DEEPSEEK),
}
RULE_NAMES = tuple(PUBLISHED_LR)
NAME_PATTERN = StringConstraints(pattern=f"^({'|'.join(RULE_NAMES)})$")


class Reference(Section):
    """Where a rule has its base."""

    n: Positive = key("N at which the rule gives its base.", "parameters", default=1)
    d: Positive = key("D at which the rule gives its base.", "units", default=1)


class PowerRule(Section):
    """A rule of one's own: base * (N / n)^power_n * (D / d)^power_d."""

    base: Positive = key("Value at the reference.", "that of the key")
    power_n: number() = key("Exponent of N, the non-embedding count.", "exponent", default=0)
    power_d: number() = key("Exponent of D, the units of the training.", "exponent", default=0)
    reference: Reference = section("N and D at which the rule gives its base.", default={})

    def value(self, budget: float, N: float, D: float) -> float:
        """Return the value at N and D, whatever the budget."""
        n, d = self.reference.n, self.reference.d
        return power_law(self.base, ((N / n, self.power_n), (D / d, self.power_d)))


def power_law(base: float, parts: tuple[tuple[float, float], ...]) -> float:
    """Return base * product of x^power over the parts (x, power); infinite where it overflows."""
    exponent = math.log(base) + sum(power * math.log(x) for x, power in parts)
    try:
        return math.exp(exponent)
    except OverflowError:
        return math.inf


def rounded(value: float) -> float:
    """Return a learning rate with the digits that an id may hold."""
    return float(f"{value:.{_DIGITS}g}")
