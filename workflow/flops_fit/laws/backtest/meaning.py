"""The sentence that says what a backtest means."""

from __future__ import annotations

Hits = tuple[int, int]
"""How many intervals reached what was found, and of how many."""


def meaning(
    *,
    level: float,
    N: Hits,
    L: Hits,
    factor: float,
    error: float | None,
    tested: float,
    asked: float,
    missed: bool,
) -> str:
    """Return the sentence.

    Parameters
    ----------
    factor, error : float
        Mean error of N_opt as a factor, and of L_opt as a share of it; None without a law, or
        where losses may be negative, of which no share makes sense.
    tested : float
        The furthest prediction: C over the largest C that was kept.
    asked : float
        The same of the predictions that the study asks for; 1 or less without extrapolation.
    missed : bool
        Whether the hits are too few for chance.
    """
    held = f"{N[0]} of {N[1]} {level:.0%} intervals reach the best size that was found there"
    typical = f"a factor of {factor:.2f} in N"
    if L[1]:
        held += f", and {L[0]} of {L[1]} the loss"
    if error is not None:
        typical += f" and {error:.2%} of the loss"
    text = (
        f"The largest budgets, predicted from smaller ones up to {times(tested)} times ahead: "
        f"{held}; the mean error is {typical}; "
    )
    further = f"what is asked for, {times(asked)} times the largest C,"
    if missed:
        text += "so few are no accident, and intervals further ahead will be too narrow, too"
    elif asked <= 1:
        text += "nothing is asked for beyond the largest C"
    elif asked <= tested:
        text += f"{further} lies no further ahead than that"
    else:
        text += (
            f"{further} lies further ahead than these runs can test, and its interval rests on how "
            "published sweeps went on"
        )
    return f"{text}."


def times(factor: float) -> str:
    """Return a factor with two or three digits that count, written in full."""
    return f"{factor:.3g}" if factor < 100 else f"{float(f'{factor:.2g}'):,.0f}"
