"""Which approach the evidence of a study supports, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from flops_fit.laws.approach import Approach
from flops_fit.laws.approaches.registry import reference_approach
from flops_fit.laws.holdout import HoldoutScore
from flops_fit.laws.judgement.judgement import Judgement, has, judge
from flops_fit.laws.results import ApproachResult

CLEARLY_WORSE = 2.0
"""Ratio of hold-out errors from which one approach counts as worse than another."""

NEGLIGIBLE_ERROR = 0.01
"""Share of L below which noise hides any difference between hold-out errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """The approach to read a study with, None if none gave laws, and why."""

    approach: str | None
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An approach that gave laws, and what the evidence says about it."""

    approach: Approach
    result: ApproachResult
    error: float | None
    """Of the hold-out of the largest budgets; None if it was not scored."""

    def flaws(self, reference: Candidate | None) -> list[str]:
        """Return what speaks against its form: judgements, and a hold-out that is clearly worse."""
        if not self.approach.assumes_form:
            return []
        named = self.approach.flaws
        found = [named[code] for code in named if has(self.result.judgements, code)]
        found = list(dict.fromkeys(found))
        own, other = self.error, None if reference is None else reference.error
        if own is None or other is None:
            return found
        if own > max(CLEARLY_WORSE * other, NEGLIGIBLE_ERROR):
            called = reference.approach.called
            found.append(f"misses the held-out loss by {own:.2%}, {called} by {other:.2%}")
        return found


def recommend(
    fitted: Sequence[tuple[Approach, ApproachResult]], holdout: Sequence[HoldoutScore]
) -> Recommendation:
    """Return the approach to read the study with, and the reasons in one sentence.

    An approach that fits a form to all runs uses every run, and its optima do not have a parabola's
    bias. It is preferred if no judgement is one that it calls a flaw, and if it does not predict
    held-out budgets clearly worse than the reference. Among several such approaches, a robust one
    is chosen if there are outliers, otherwise one of least squares, whose intervals are narrower.
    If there is none, the usable approach of the first rank is chosen.
    """
    usable = _candidates(fitted, holdout)
    if not usable:
        reasons = "; ".join(f"{a.called}: {r.status}, {r.reason}" for a, r in fitted)
        return Recommendation(approach=None, why=f"no approach gave laws ({reasons})")
    reference = _reference(usable)
    forms = [item for item in usable if item.approach.assumes_form]
    sound = [item for item in forms if not item.flaws(reference)]
    if sound:
        chosen, outliers = _soundest(sound)
        why = _why_form(chosen, outliers=outliers, alone=len(forms) == 1)
    else:
        chosen = usable[0]
        why = _why_other(chosen, usable, reference)
    return Recommendation(approach=chosen.approach.name, why=why)


def recommend_surface(
    fitted: Sequence[tuple[Approach, ApproachResult]], holdout: Sequence[HoldoutScore]
) -> Recommendation:
    """Return the approach whose surface says how the loss rises beside the optimum, and why.

    As `recommend`, among surfaces alone; where something speaks against each, the one of the first
    rank, because the shape beside an optimum asks less of a form than its optima far away do.
    """
    usable = _candidates(fitted, holdout)
    surfaces = [item for item in usable if item.result.surface is not None]
    if not surfaces:
        return Recommendation(approach=None, why="no approach gave a surface with an optimum")
    reference = _reference(usable)
    sound = [item for item in surfaces if not item.flaws(reference)]
    if sound:
        chosen, outliers = _soundest(sound)
        why = _why_form(chosen, outliers=outliers, alone=len(surfaces) == 1)
    else:
        chosen = surfaces[0]
        against = ", ".join(chosen.flaws(reference))
        why = f"no surface is free of objections; against {chosen.approach.called}: {against}"
    return Recommendation(approach=chosen.approach.name, why=why)


def _candidates(
    fitted: Sequence[tuple[Approach, ApproachResult]], holdout: Sequence[HoldoutScore]
) -> list[Candidate]:
    """Return the approaches that gave laws, by their rank."""
    usable = [
        Candidate(approach=approach, result=result, error=holdout_error(holdout, approach.name))
        for approach, result in fitted
        if result.status == "ok"
    ]
    return sorted(usable, key=lambda candidate: candidate.approach.rank)


def _reference(usable: Sequence[Candidate]) -> Candidate | None:
    return next((item for item in usable if item.approach.is_reference), None)


def _soundest(sound: Sequence[Candidate]) -> tuple[Candidate, bool]:
    """Return the first robust one if there are outliers, else the first of least squares."""
    outliers = any(has(item.result.judgements, "outliers") for item in sound)
    return min(sound, key=lambda item: item.approach.is_robust is not outliers), outliers


def holdout_error(holdout: Sequence[HoldoutScore], name: str) -> float | None:
    """Return the error of an approach at the largest budgets, None if it was not scored."""
    scores = (score for score in holdout if score.approach == name and score.kind == "largest")
    return next((score.error for score in scores), None)


def _why_form(chosen: Candidate, *, outliers: bool, alone: bool) -> str:
    parts = ["the surface fits all runs without a sign of lack of fit, no parameter on a bound"]
    if chosen.error is not None:
        parts.append(f"it predicts the held-out loss to {chosen.error:.2%}")
    if outliers and chosen.approach.is_robust:
        parts.append("its robust loss withstands the outliers")
    elif not outliers and not chosen.approach.is_robust and not alone:
        parts.append("no run is an outlier, so that least squares are the most precise")
    return "; ".join(parts)


def _why_other(chosen: Candidate, usable: Sequence[Candidate], reference: Candidate | None) -> str:
    n = len(chosen.result.points)
    if len(usable) == 1:
        why = f"the only approach that gave laws; it rests on {n} measured optima"
    elif not chosen.approach.assumes_form:
        why = f"it rests on {n} measured optima and assumes no form of the surface"
    else:
        why = "no approach is free of objections"
        if reference is None:
            why += f", and {reference_approach().called} gave no laws"
    if chosen.error is not None:
        why += f"; it predicts the held-out loss to {chosen.error:.2%}"
    flaws = {item.approach.called: item.flaws(reference) for item in usable}
    against = "; ".join(f"{name}: {', '.join(found)}" for name, found in flaws.items() if found)
    if not against or chosen.approach.assumes_form:
        return why
    return f"{why} (against the surfaces: {against})"


def disagreements(
    exponents: Sequence[tuple[Approach, float, Sequence[float]]],
) -> list[Judgement]:
    """Say which approaches' exponents of N_opt differ by more than their intervals allow.

    Parameters
    ----------
    exponents : sequence of (approach, exponent, interval)
    """
    found = []
    for (one, value, interval), (other, value_2, interval_2) in combinations(exponents, 2):
        if interval[0] > interval_2[1] or interval_2[0] > interval[1]:
            found.append(
                judge(
                    "approaches_disagree",
                    approaches=[one.name, other.name],
                    titles=[one.called, other.called],
                    exponents=[value, value_2],
                    intervals=[interval, interval_2],
                )
            )
    return found
