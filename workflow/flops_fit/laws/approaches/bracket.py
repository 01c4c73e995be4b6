"""The surface with an exponent on the bracket of its terms, by least squares.

L = E + (A/N^alpha + B/D^beta)^gamma lets valleys be deeper or flatter than a sum of two power laws.
Its optimum has the same formula. It is fitted where fit.approaches asks for it: one more parameter
makes every interval wider, and few sweeps tell gamma from 1.
"""

from __future__ import annotations

from flops_fit.laws.approaches.parametric import SURFACE_FLAWS, SurfaceApproach
from flops_fit.laws.forms.bracket import BracketSurface
from flops_fit.laws.solver.objectives import SquaredLoss

BRACKET = SurfaceApproach(
    name="bracket",
    called="the bracket surface",
    does="parametric surface with an exponent on its terms",
    colour="#56B4E9",
    marker="D",
    rank=4,
    objective=SquaredLoss(),
    form=BracketSurface,
    columns=BracketSurface.columns,
    flaws=SURFACE_FLAWS | {"gamma_not_identified": "gamma is not told from 1"},
)
