"""The next round of a design: a pilot, then where the runs tell most, then the two top budgets.

What is due follows from the budgets and the runs alone, in this order: the three lowest budgets get
a pilot around the prior's optimum, and another one where the fitted optimum is at the pilot's edge;
budgets up to ten times the largest trained one are informed, four sizes at each and then one cell
after another by its gain per FLOP; the next budget gets four sizes, the top budget two; and if the
checks call the form inexact, the two top budgets are filled to five sizes. Where runs failed, the
same step is due again with other sizes.
"""

from __future__ import annotations

from collections.abc import Sequence

from flops_fit.design.history import Round, Trained
from flops_fit.design.known import Known
from flops_fit.design.offer import Offer
from flops_fit.design.prior import PriorLaw
from flops_fit.design.question import Question
from flops_fit.design.steps import fill, inform, next_budget, pilot, pilot_again, top_budget

STEPS = (pilot, pilot_again, inform, next_budget, top_budget, fill)


def next_round(
    question: Question,
    offer: Offer,
    prior: PriorLaw,
    rounds: Sequence[tuple[Round, Sequence[Trained]]],
    also: Sequence[Trained] = (),
) -> Round:
    """Return what is trained next; the same for the same arguments.

    Parameters
    ----------
    question : Question
    offer : Offer
    prior : PriorLaw
        Centres the pilot.
    rounds : sequence of (Round, sequence of Trained)
        All rounds so far with the outcomes of all their choices.
    also : sequence of Trained
        Runs that the user brings along; they count, but not as spent.

    Returns
    -------
    Round
        Of kind "done", without choices, when nothing is left to train. A larger spend, or another
        budget, gives further rounds.

    Raises
    ------
    DesignError
        If no design is possible.
    """
    known = Known.of(question, offer, prior, rounds, also)
    for step in STEPS:
        found = step(known)
        if found is not None and found.choices:
            return found
    return known.round("done", (), _ending(known))


def _ending(known: Known) -> str:
    """Say what the design has, and what it did not need."""
    top = known.standing.budgets[-1]
    if not known.standing.n_sizes(top):
        return (
            f"What is left, {known.left:.3g} FLOPs, does not pay for the largest budget: the "
            "design ends here."
        )
    if known.has_had("fill"):
        return f"All budgets have their sizes; {known.left:.3g} FLOPs are left."
    return (
        f"All budgets have their sizes and the checks found nothing; {known.left:.3g} FLOPs, held "
        "back for a form that does not fit, are not needed."
    )
