"""The scenarios of `planner.py`: true surfaces, misfits, and noises.

The surfaces are exact, or have a term more that decays with N or with D (3% of the loss at the
smallest optimum), a curvature of A/N^alpha in log-log, or a bracket (a^(1/g) + b^(1/g))^g in place
of the sum of both terms.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

import numpy as np
from flops_fit.laws import Surface

SPAN, SIZES = 6.0, 8
FASTER = 0.9
"""Exponent by which an extra term decays, on N or on D."""

PER_SIZE = 0.002
"""Standard deviation of an error of log L that all runs of a size share."""

SURFACES = {
    "equal": (Surface(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37), 1e18),
    "alpha": (Surface(E=1.8, A=4857.0, B=224.0, alpha=0.5, beta=0.25), 1e18),
    "beta": (Surface(E=1.8, A=101.5, B=23700.0, alpha=0.25, beta=0.5), 1e18),
    "small": (Surface(E=0.55, A=29.2, B=62.7, alpha=0.43, beta=0.38), 5e10),
}
"""Constants and the smallest budget, as in `misspecified.py`."""

NOISES = {"0.3%": (0.003, 0.003), "1%": (0.01, 0.01), "1% to 0.3%": (0.01, 0.003),
          "0.3% and 0.2% per size": (0.003, 0.003)}  # fmt: skip
"""Standard deviation of log L at the smallest and at the largest budget."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A truth, a misfit with its strength, and a noise."""

    surface: str
    noise: str
    misfit: str = ""
    strength: float = 0.0

    @property
    def name(self) -> str:
        """What the tables call it."""
        return ", ".join(filter(None, (self.surface, self.misfit, self.noise)))

    @property
    def budgets(self) -> np.ndarray:
        """The seven budgets, ascending."""
        return SURFACES[self.surface][1] * 10 ** (0.5 * np.arange(7))

    def loss(self, log_N: np.ndarray, log_D: np.ndarray) -> np.ndarray:
        """Return the undisturbed loss."""
        law, smallest = SURFACES[self.surface]
        of_N, of_D = law.A * np.exp(-law.alpha * log_N), law.B * np.exp(-law.beta * log_D)
        N_0 = law.G * (smallest / 6) ** law.a
        lowest = float(law.loss(N_0, smallest / 6 / N_0))
        if self.misfit == "term of N":
            of_N = of_N + self.strength * lowest * np.exp(-FASTER * (log_N - np.log(N_0)))
        if self.misfit == "term of D":
            D_0 = smallest / 6 / N_0
            of_D = of_D + self.strength * lowest * np.exp(-FASTER * (log_D - np.log(D_0)))
        if self.misfit == "curvature":
            middle = np.log(law.G) + law.a * np.log(smallest * 10**1.5 / 6)
            of_N = of_N * np.exp(-self.strength * (log_N - middle) ** 2)
        if self.misfit == "bracket":
            gamma = self.strength
            return law.E + (of_N ** (1 / gamma) + of_D ** (1 / gamma)) ** gamma
        return law.E + of_N + of_D

    def optimum(self, C: float) -> tuple[float, float]:
        """Return log N_opt and L_opt on a fine grid, between whose points a parabola is laid."""
        law = SURFACES[self.surface][0]
        x = np.log(law.G) + law.a * np.log(C / 6) + np.linspace(-4, 4, 4001)
        L = self.loss(x, np.log(C / 6) - x)
        i = int(np.clip(np.argmin(L), 1, x.size - 2))
        before, at, after = L[i - 1 : i + 2]
        best = x[i] + 0.5 * (before - after) / (before - 2 * at + after) * (x[1] - x[0])
        return float(best), float(self.loss(best, np.log(C / 6) - best))


SCENARIOS = tuple(
    Scenario(surface=surface, misfit=misfit, strength=strength, noise=noise)
    for surface, misfit, strength, noise in (
        ("equal", "", 0.0, "0.3%"),
        ("equal", "", 0.0, "1%"),
        ("equal", "", 0.0, "1% to 0.3%"),
        ("alpha", "", 0.0, "0.3%"),
        ("alpha", "", 0.0, "1%"),
        ("beta", "", 0.0, "0.3%"),
        ("small", "", 0.0, "0.3%"),
        ("small", "", 0.0, "1%"),
        ("equal", "term of N", 0.03, "0.3%"),
        ("equal", "term of N", 0.03, "1%"),
        ("equal", "term of D", 0.03, "0.3%"),
        ("equal", "curvature", 0.006, "0.3%"),
        ("equal", "bracket", 0.8, "0.3%"),
        ("equal", "bracket", 0.8, "1%"),
        ("alpha", "term of D", 0.03, "0.3%"),
        ("alpha", "term of N", 0.03, "0.3%"),
        ("alpha", "bracket", 0.8, "0.3%"),
        ("small", "bracket", 0.8, "0.3%"),
        ("small", "curvature", 0.006, "1%"),
        ("equal", "", 0.0, "0.3% and 0.2% per size"),
        ("equal", "bracket", 0.8, "0.3% and 0.2% per size"),
    )
)


@dataclass(kw_only=True)
class Lab:
    """Trains in a scenario: the same size has the same error where sizes have errors."""

    scenario: Scenario
    rng: np.random.Generator
    of_size: dict[float, float] = field(default_factory=dict)

    def train(self, log_N: np.ndarray, C: np.ndarray) -> np.ndarray:
        """Return losses at log N and C = 6 N D, (n,) each."""
        budgets = self.scenario.budgets
        first, last = NOISES[self.scenario.noise]
        done = np.clip(np.log(C / budgets[0]) / np.log(budgets[-1] / budgets[0]), 0, 1)
        error = first * (last / first) ** done * self.rng.standard_normal(log_N.size)
        if "per size" in self.scenario.noise:
            for i, x in enumerate(np.round(log_N, 3).tolist()):
                if x not in self.of_size:
                    self.of_size[x] = PER_SIZE * self.rng.standard_normal()
                error[i] += self.of_size[x]
        return self.scenario.loss(log_N, np.log(C / 6) - log_N) * np.exp(error)


def rng_of(scenario: Scenario, seed: int, study: int, part: int) -> np.random.Generator:
    """Return the random numbers of one study."""
    return np.random.default_rng([seed, study, part, zlib.crc32(scenario.name.encode())])


def grid(scenario: Scenario, seed: int, study: int) -> dict[str, np.ndarray]:
    """Return the runs of the standard grid."""
    lab = Lab(scenario=scenario, rng=rng_of(scenario, seed, study, 0))
    C = np.repeat(scenario.budgets, SIZES)
    around = np.linspace(-np.log(SPAN), np.log(SPAN), SIZES)
    log_N = np.concatenate([scenario.optimum(budget)[0] + around for budget in scenario.budgets])
    return columns(log_N, C, C, lab.train(log_N, C))


def columns(
    log_N: np.ndarray, C: np.ndarray, budget: np.ndarray, L: np.ndarray
) -> dict[str, np.ndarray]:
    """Return what `read_runs` takes."""
    return {"N": np.exp(log_N), "D": C / 6 / np.exp(log_N), "C": C, "budget": budget, "loss": L}
