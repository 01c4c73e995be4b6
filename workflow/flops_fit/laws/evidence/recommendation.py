"""Which approach the evidence of a study supports, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flops_fit.laws.approaches.registry import SURFACES
from flops_fit.laws.evidence.judgement import Judgement, has, judge
from flops_fit.laws.results import ApproachResult

DISQUALIFYING = {
    "lack_of_fit": "lack of fit",
    "parameters_on_bound": "parameters on a bound",
    "e_is_zero": "E is not identified",
    "e_not_identified": "E is not identified",
}
"""Judgements after which a surface's extrapolation is not the first choice, and their names."""

CLEARLY_WORSE = 2.0
"""Ratio of hold-out errors from which one approach is worse than another by more than luck."""


def recommend(
    results: Mapping[str, ApproachResult], holdout: Sequence[Mapping[str, Any]]
) -> dict[str, str | None]:
    """Return the approach to read the study with, and the reasons in one sentence.

    A surface uses every run, and its optima do not carry a parabola's bias: it comes first where
    its residuals show no lack of fit, none of its parameters lies on a bound, and it does not
    predict held-out budgets clearly worse than approach 2. Of two such surfaces the robust one
    (approach 3) where runs lie far off, else the one of least squares, whose intervals are
    narrower. Without a sound surface approach 2, which assumes no form, and then what there is.
    """
    usable = {name: result for name, result in results.items() if result.status == "ok"}
    if not usable:
        reasons = "; ".join(f"approach {n}: {r.status}, {r.reason}" for n, r in results.items())
        return {"approach": None, "why": f"no approach gave laws ({reasons})"}
    errors = {name: holdout_error(holdout, name) for name in usable}
    flaws = {name: _flaws(name, usable, errors) for name in usable if name in SURFACES}
    sound = [name for name in flaws if not flaws[name]]
    if sound:
        outliers = any(has(usable[name].judgements, "outliers") for name in sound)
        order = ("3", "vpnls") if outliers else ("vpnls", "3")
        name = next(name for name in order if name in sound)
        return {"approach": name, "why": _why_surface(name, usable, errors, outliers)}
    against = "; ".join(f"{_called(name)}: {', '.join(found)}" for name, found in flaws.items())
    for name in ("2", *SURFACES, "1"):
        if name in usable:
            return {"approach": name, "why": _why_other(name, usable, errors, against)}
    raise AssertionError("an approach that is usable has a name")


def holdout_error(holdout: Sequence[Mapping[str, Any]], name: str) -> float | None:
    """Return the error of L_opt at the largest budgets, None where it was not scored."""
    for entry in holdout:
        if entry["approach"] == name and entry["kind"] == "largest":
            error = entry["mean_abs_relative_error"]
            return entry["per_run_error"] if error is None else error
    return None


def _flaws(
    name: str, usable: Mapping[str, ApproachResult], errors: Mapping[str, float | None]
) -> list[str]:
    flaws = [flaw for code, flaw in DISQUALIFYING.items() if has(usable[name].judgements, code)]
    found = list(dict.fromkeys(flaws))
    own, other = errors[name], errors.get("2")
    # Below 1% of L both are as good as the noise lets anyone tell
    if own is not None and other is not None and own > max(CLEARLY_WORSE * other, 0.01):
        found.append(f"misses the held-out loss by {own:.2%}, approach 2 by {other:.2%}")
    return found


def _why_surface(
    name: str,
    usable: Mapping[str, ApproachResult],
    errors: Mapping[str, float | None],
    outliers: bool,
) -> str:
    parts = ["the surface fits all runs without a sign of lack of fit, no parameter on a bound"]
    if errors[name] is not None:
        parts.append(f"it predicts the held-out loss to {errors[name]:.2%}")
    if outliers:
        parts.append("its robust loss withstands the outliers")
    elif {*SURFACES} <= set(usable):
        parts.append("no run is an outlier, so that least squares are the most precise")
    return "; ".join(parts)


def _why_other(
    name: str,
    usable: Mapping[str, ApproachResult],
    errors: Mapping[str, float | None],
    against: str,
) -> str:
    result = usable[name]
    if len(usable) == 1:
        why = f"the only approach that gave laws; it rests on {len(result.points)} measured optima"
    elif name == "2":
        why = f"it rests on {len(result.points)} measured optima and assumes no form of the surface"
    else:
        why = "no approach is free of objections, and approach 2 gave no laws"
    if errors[name] is not None:
        why += f"; it predicts the held-out loss to {errors[name]:.2%}"
    return why + (f" (against the surfaces: {against})" if against and name == "2" else "")


def _called(name: str) -> str:
    return "VPNLS" if name == "vpnls" else f"approach {name}"


def disagreements(entries: Mapping[str, Mapping[str, Any]]) -> list[Judgement]:
    """Say which approaches' exponents of N_opt differ by more than their intervals allow."""
    found = []
    fitted = [
        (name, entry["N_opt"])
        for name, entry in entries.items()
        if entry["status"] == "ok" and entry["N_opt"]["ci"]["exponent"] is not None
    ]
    for i, (one, law) in enumerate(fitted):
        for other, law_2 in fitted[i + 1 :]:
            (low, high), (low_2, high_2) = law["ci"]["exponent"], law_2["ci"]["exponent"]
            if low > high_2 or low_2 > high:
                found.append(
                    judge(
                        "approaches_disagree",
                        approaches=[one, other],
                        titles=[_called(one), _called(other)],
                        exponents=[law["exponent"], law_2["exponent"]],
                        intervals=[[low, high], [low_2, high_2]],
                    )
                )
    return found
