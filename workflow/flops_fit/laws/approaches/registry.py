"""The four approaches, by the names that they have in fit.json."""

from __future__ import annotations

from dataclasses import dataclass

from flops_fit.laws.approaches.envelope import Curves, fit_envelope
from flops_fit.laws.approaches.isoflop import fit_isoflop
from flops_fit.laws.approaches.parametric import fit_parametric, fit_vpnls
from flops_fit.laws.data.table import RunTable
from flops_fit.laws.results import ApproachResult

APPROACHES = ("1", "2", "3", "vpnls")
"""Training-curve envelope, IsoFLOP profiles, parametric surface, surface by least squares."""

SURFACES = ("3", "vpnls")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproachOptions:
    """What single approaches need besides the runs."""

    tied: bool = False
    """Keep alpha = beta in surfaces."""
    curves: Curves | None = None
    """Training curves for approach 1, by run id."""
    decays: bool = True
    """Whether the learning rate decays towards each run's own end."""
    judged: bool = True
    """Whether surfaces are judged, which takes refits; hold-outs do without."""


def fit_approach(name: str, runs: RunTable, options: ApproachOptions) -> ApproachResult:
    """Fit one of `APPROACHES` to the runs."""
    if name == "1":
        return fit_envelope(runs, curves=options.curves, decays=options.decays)
    if name == "2":
        return fit_isoflop(runs)
    if name == "3":
        return fit_parametric(runs, tied=options.tied, judged=options.judged)
    return fit_vpnls(runs, tied=options.tied, judged=options.judged)
