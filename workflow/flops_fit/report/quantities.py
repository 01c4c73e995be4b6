"""How numbers are written for a reader: in tables as plain text, in figures as mathtext."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from flops_fit.report.fitted import Law

SUFFIXES = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))

PARAMETER_LABELS = {"non_embedding": "non-embedding parameters", "total": "total parameters"}


def parameter_label(params: str) -> str:
    """What N counts, in words, from the `params` field of `fit.json`."""
    return PARAMETER_LABELS.get(params, "parameters")


def loss_unit_label(loss_unit: str | None, unit: str) -> str:
    """The unit of losses in words, from the field `loss_unit` of `fit.json`.

    Parameters
    ----------
    loss_unit : str, optional
        None if nobody stated it: then it is nats, as with `nats_per_unit`.
    unit : str
        What D counts, in the singular.
    """
    if loss_unit == "other":
        return "the unit of the table"
    if loss_unit in (None, "nats_per_unit"):
        return f"nats per {unit}"
    return loss_unit.replace("_", " ")


def _round(value: float, digits: int) -> float:
    return float(f"{value:.{digits - 1}e}")


def human_count(value: float, digits: int = 3) -> str:
    """Write a count with a suffix: 10.3k, 1.69M, 67B, 1.4T.

    Parameters
    ----------
    value : float
        A count, for example of parameters or tokens.
    digits : int
        Significant digits; trailing zeros are dropped. From 1e15 on the text is scientific,
        because no suffix beyond T is in common use.
    """
    rounded = _round(value, digits)
    if abs(rounded) >= 1e15:
        return human_flops(value, digits)
    for scale, suffix in SUFFIXES:
        if abs(rounded) >= scale:
            return f"{rounded / scale:.{digits}g}{suffix}"
    return f"{rounded:.{digits}g}"


def human_flops(value: float, digits: int = 3) -> str:
    """Write FLOPs as in a configuration file: 5e10, 1.5e11, 3.46e19."""
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def human_loss(value: float) -> str:
    """Write a loss with three decimals, 1.326 or 2.100; a tiny or huge one with four digits."""
    return f"{value:.3f}" if 0.1 <= abs(value) < 1000.0 else f"{value:#.4g}"


def human_r_squared(r_squared: float | None) -> str:
    """Write R² with four decimals; "undefined" if the fit gives none, as for a constant."""
    return "undefined" if r_squared is None else f"{r_squared:.4f}"


def human_interval(interval: Sequence[float] | None, write: Callable[[float], str]) -> str:
    """Write an interval as "[lo, hi]"; empty if none was computed."""
    if interval is None:
        return ""
    low, high = interval
    return f"[{write(low)}, {write(high)}]"


def math_number(value: float, digits: int = 3) -> str:
    r"""Write a number as mathtext without dollar signs: `1.5 \times 10^{11}`, `10^{12}`, `0.43`.

    Plain decimals are used between 0.01 and 1000, where a power of ten is harder to read.
    """
    if value == 0.0 or 0.01 <= abs(value) < 1000.0:
        return f"{value:.{digits}g}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    power = f"10^{{{int(exponent)}}}"
    if float(mantissa) == 1.0:
        return power
    return rf"{float(mantissa):g} \times {power}"


def law_text(symbol: str, law: Law, digits: int = 3) -> str:
    """Write y = offset + coefficient * C^exponent as mathtext with its dollar signs.

    Parameters
    ----------
    symbol : str
        Mathtext of y, for example `N`.
    law : Law
        The law of y.
    digits : int
        Significant digits of offset and coefficient; the exponent has three decimals.
    """
    offset = "" if not law.offset else f"{math_number(law.offset, digits)} + "
    coefficient = math_number(law.coefficient, digits)
    return rf"${symbol} = {offset}{coefficient}\,C^{{\,{law.exponent:.3f}}}$"


def log_ticks(low: float, high: float, most: int, subdivide: bool = True) -> list[float]:
    """Round tick values for a logarithmic axis: the densest regular choice of at most `most`.

    Parameters
    ----------
    low, high : float
        Limits of the axis, positive.
    most : int
        The largest number of ticks whose labels fit.
    subdivide : bool
        Whether 2, 3 and 5 times a power of ten may be ticks; otherwise powers of ten alone.

    Returns
    -------
    list of float
        Ascending, inside the limits; empty if the axis is too short for any choice.
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    choices = [((1.0, 2.0, 5.0), 1), ((1.0, 3.0), 1)] if subdivide else []
    choices += [((1.0,), step) for step in (1, 2, 3, 4, 5, 6, 8, 10, 15, 20)]
    for multiples, step in choices:
        exponents = (e for e in range(first, last + 1) if e % step == 0)
        ticks = [m * 10.0**e for e in exponents for m in multiples]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= most:
            return ticks
    return []
