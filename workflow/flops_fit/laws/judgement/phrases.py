"""Texts of judgements that list things or depend on a value: see `texts`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def listed(values: Sequence[float]) -> str:
    """Return numbers with three digits for a sentence."""
    return ", ".join(f"{value:.3g}" for value in values)


def learning_rates(n: int, of: int, cells: Sequence[Mapping[str, Any]]) -> str:
    named = "; ".join(
        f"budget {cell['budget']:.3g}, size {cell['size']}, D {cell['D']:.3g}: {cell['best']:g} is "
        f"the {cell['side']} of {cell['tried']}"
        for cell in cells
    )
    return (
        f"The best learning rate lies at the edge of its grid in {n} of {of} cells ({named}), so "
        "that a better one may lie outside."
    )


def moved_minima(profiles: Sequence[Mapping[str, Any]]) -> str:
    named = "; ".join(
        f"C = {profile['C']:.3g}: N_opt = {profile['weighted']:.3g}, with equal weights "
        + (f"{profile['equal']:.3g}" if profile["equal"] is not None else "none near the sizes")
        for profile in profiles
    )
    return (
        f"Runs far off their profile count less, which moved its minimum ({named}): look at the "
        "runs of high loss, which may have spiked, or exclude them."
    )


def disagreement(
    approaches: Sequence[str],
    titles: Sequence[str],
    exponents: Sequence[float],
    intervals: Sequence[Sequence[float]],
) -> str:
    grow = [
        f"C^{exponent:.3f} [{low:.3f}, {high:.3f}]"
        for exponent, (low, high) in zip(exponents, intervals, strict=True)
    ]
    one, other = titles
    return (
        f"{one[0].upper()}{one[1:]} and {other} disagree beyond their intervals: N_opt grows as "
        f"{grow[0]} and {grow[1]}."
    )


def mixed_code(fingerprints: Mapping[str, Mapping[str, Sequence[str]]]) -> str:
    return f"Runs of different code or data are fitted together: {mixed_groups(fingerprints)}."


def mixed_trainer(trainers: Mapping[str, Sequence[str]]) -> str:
    return (
        "Runs of different trainers are fitted together, whose losses may differ for that reason "
        f"alone: {mixed_groups({'trainer': trainers})}."
    )


def unknown_trainer(ids: Sequence[str], of: int) -> str:
    return (
        f"The records of {len(ids)} of {of} runs do not say which trainer made them, as they are "
        f"of version 0.1: {first_ids(ids)}."
    )


def mixed_environment(circumstances: Mapping[str, Mapping[str, Sequence[str]]]) -> str:
    return (
        "Runs under different versions of torch or on different devices are fitted together, whose "
        f"rounding differs: {mixed_groups(circumstances)}."
    )


def first_ids(ids: Sequence[str], most: int = 12) -> str:
    """Return ids for a sentence; of many only the first `most` are named."""
    more = f" and {len(ids) - most} more" if len(ids) > most else ""
    return f"{', '.join(ids[:most])}{more}"


def mixed_groups(fingerprints: Mapping[str, Mapping[str, Sequence[str]]], most: int = 12) -> str:
    """Return which runs carry which fingerprint; of many ids only the first `most` are named."""
    described = []
    for name, groups in fingerprints.items():
        texts = []
        for value, ids in groups.items():
            runs = "1 run" if len(ids) == 1 else f"{len(ids)} runs"
            texts.append(f"{runs} with {value or 'none'} ({first_ids(ids, most)})")
        described.append(f"{name.replace('_', ' ')}: {', '.join(texts)}")
    return "; ".join(described)


def units(columns: Sequence[Mapping[str, Any]], n: int, of: int, k: float, floor: float) -> str:
    counted = {"N": "parameters", "D": "units", "C": "FLOPs"}
    looks, factors, losses = [], [], []
    for entry in columns:
        name, unit = entry["column"], entry["unit"]
        span = f"{entry['lowest']:.3g} to {entry['highest']:.3g}"
        if name == "loss":
            losses.append(
                f"losses of {span} are mostly below {floor:g}, the nats per token that text was "
                f"found to keep, as {unit} would be: state runs_table.loss_unit"
            )
        elif unit is None:
            looks.append(f"{name} of {span} is no count of {counted[name]}")
        else:
            looks.append(f"{name} of {span} looks like {unit}")
            factors.append(f"{name} by {entry['factor']:g}".replace("e+0", "e").replace("e+", "e"))
    parts = losses
    if looks:
        way = "correct them, or set runs_table.scale"
        if n < of:
            way = "correct these rows"
        elif factors:
            way = f"multiply {', '.join(factors)} (runs_table.scale)"
        where = "" if n == of else f" in {n} of {of} runs"
        text = f"{', '.join(looks)}, and C/(N D) is {k:.2g}{where} (near 6 is usual): {way}"
        parts = [text, *losses]
    text = "; ".join(parts)
    return f"Units? {text[0].upper()}{text[1:]}."


def unfinished(n: int, of: int, states: Mapping[str, int]) -> str:
    counts = ", ".join(f"{count} {state}" for state, count in states.items())
    return (
        f"{n} of {of} runs of the table are left out, because they did not finish ({counts}): what "
        "they end at is not the loss of their N and D."
    )


def derived(column: str, k: float, n: int, of: int, assumed: bool) -> str:
    formula, truth = {
        "C": (f"{k:.3g} N D", "spent"),
        "D": (f"C / ({k:.3g} N)", "trained on"),
    }[column]
    where = "" if n == of else f" in {n} of {of} rows"
    source = "" if assumed else " as in the other rows (median),"
    return (
        f"The table has no {column}{where}: it is taken as {formula},{source} not what was really "
        f"{truth}."
    )


def bounds(parameters: Mapping[str, float]) -> str:
    named = ", ".join(f"{name} = {value:.4g}" for name, value in parameters.items())
    return f"Parameters of the surface lie on a bound: {named}."


def lack_of_fit(
    share: float, F: float, freedom: Sequence[int], p_value: float, replicated: bool
) -> str:
    source = " of replicated runs" if replicated else ""
    return (
        f"Lack of fit: the residuals of the surface bend with log N beyond the noise{source}, by "
        f"{share:.2%} of L (F = {F:.3g} on {freedom[0]} and {freedom[1]} degrees of freedom, p = "
        f"{p_value:.2g}); the five-parameter form does not describe these runs."
    )


def outliers(n: int, of: int, runs: Sequence[Mapping[str, Any]]) -> str:
    named = ", ".join(f"{run['id']} ({run['t']:+.1f})" for run in runs[:5])
    more = f" and {n - 5} more" if n > 5 else ""
    return (
        f"{n} of {of} runs are outliers, far off the surface (studentised residual: {named}{more}):"
        " look at them, or list them in fit.exclude."
    )


def end_points(why: str) -> str:
    return (
        f"Only the end points of the runs are used, because {WHY_END_POINTS[why]}: N_opt is the "
        "best size that was trained, as coarse as the grid."
    )


WHY_END_POINTS = {
    "decaying_schedule": "the schedule decays to each run's own end",
    "no_curves": "there are no training curves",
}


def optimum_beyond_sizes(C: Sequence[float]) -> str:
    return (
        f"N_opt of C = {listed(C)} lies beyond all measured sizes, where flops_per_unit/N keeps "
        "its end value."
    )


def best_run_at_edge(C: Sequence[float]) -> str:
    return f"The best run at C = {listed(C)} has the smallest or the largest size there."


def extrapolation(C: Sequence[float], times: float, largest: float) -> str:
    return (
        f"The predictions for C = {listed(C)} extrapolate up to {times:.3g} times beyond the "
        f"largest budget, {largest:.3g}."
    )


def prediction_beyond_sizes(C: Sequence[float], smallest: float, largest: float) -> str:
    return (
        f"The predicted N_opt for C = {listed(C)} lies beyond the measured sizes {smallest:.3g} to "
        f"{largest:.3g}, where flops_per_unit/N keeps its end value."
    )


def repeated_data(
    n: int, of: int, most: float, R_star: float, identified: bool, published: float
) -> str:
    source = (
        "fitted" if identified else f"between what the runs say and the published {published:.3g}"
    )
    return (
        f"{n} of {of} runs repeat data (up to {most:.3g} epochs): each is counted as the run on "
        f"fresh data that it equals (R_D* = {R_star:.3g}, {source}). Laws and optima are for fresh "
        "data."
    )


def data_run_out(C: Sequence[float], units: float, epochs: float) -> str:
    return (
        f"D_opt at C = {listed(C)} is more than the {units:.3g} distinct units of the data: up to "
        f"{epochs:.3g} epochs, while the optimum is for fresh data."
    )
