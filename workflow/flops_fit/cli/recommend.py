"""`flops-fit recommend`: from the answer of a study to the training at a budget."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from flops_fit.cli.arguments import add_results, nothing_placed, number
from flops_fit.cli.layout import aligned, cell, extrapolations, heading
from flops_fit.errors import UserError

if TYPE_CHECKING:
    from flops_fit.laws.reading import Reading
    from flops_fit.pipeline.recommending import Hours, Recommended


def add(commands: argparse._SubParsersAction) -> None:
    """Describe its arguments."""
    parser = commands.add_parser(
        "recommend", help="write the configuration of the best training at a budget"
    )
    add_results(parser, "fit", "a study")
    parser.add_argument(
        "--budget", type=number, required=True, metavar="C", help="compute of the training in FLOPs"
    )
    parser.add_argument(
        "--size", type=number, help="size of the model (the one whose N is nearest to N_opt)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="folder of the files that are written (that of the study's configuration)",
    )
    parser.set_defaults(run=run, place=nothing_placed)


def run(options: argparse.Namespace) -> list[str]:
    """Write the files and return the lines to print."""
    from flops_fit.pipeline.recommended_files import write_files, write_optimum
    from flops_fit.pipeline.recommending import Results, recommend

    results = Results.of(options.fit)
    if not results.trained:
        optimum = results.laws.at_compute(options.budget)
        lines = [heading(results.laws), *_optimum_lines(optimum)]
        lines += extrapolations(results.laws, [options.budget])
        path = write_optimum(optimum, results, options.output)
        return [
            *lines,
            f"{results.fit['study']} brought its runs along: no model is known that could be "
            "sized, and no recipe.",
            f"Written: {path}",
        ]
    if options.size is not None and not options.size > 0:
        raise UserError(f"--size: found {options.size:g}, expected a positive number")
    size = options.size
    if size is not None and size.is_integer():
        size = int(size)
    found = recommend(results, options.budget, size)
    paths = write_files(found, results, options.output)
    return [
        heading(results.laws),
        *_optimum_lines(found.optimum),
        *extrapolations(results.laws, [options.budget]),
        "",
        *_training_lines(found),
        *(f"note: {note}" for note in found.notes),
        "",
        f"Train it: snakemake --cores all --configfile {paths[0]}",
        f"For other trainers: {paths[1]}",
    ]


def _optimum_lines(optimum: Reading) -> list[str]:
    return aligned(
        [
            ("C (FLOPs)", "N_opt", "D_opt", "D/N", "L_opt"),
            (
                cell(optimum["C"], ".4g"),
                cell(optimum["N_opt"], ".4g", ".3g"),
                cell(optimum["D_opt"], ".4g", ".3g"),
                cell(optimum["D_per_N"], ".4g", ".3g"),
                cell(optimum["L_opt"], ".4f"),
            ),
        ]
    )


def _training_lines(found: Recommended) -> Iterator[str]:
    row, unit, name = found.row, found.unit, found.study.model.size_param
    yield f"{name} {row.size:g}: {row.n_params:,} parameters, {row.n_params_non_embedding:,} of "\
        "them not embedding"  # fmt: skip
    if found.price is not None:
        extra = cell(found.price["extra"], ".2g")
        yield f"  N is {found.price['factor'].value:.3g} times N_opt, which costs {extra} in loss"
    yield (
        f"D = {row.D:,} {unit}s ({row.epochs:.3g} epochs): {row.steps:,} steps of {row.batch:,} "
        f"{unit}s, C = {row.C:.4g} FLOPs"
    )
    scaling = found.spec.lr_scaling
    scaled = ""
    if scaling.apply != "none" and scaling.power != 0:
        of = "all parameters" if scaling.apply == "all" else "matrices"
        own = row.lr * (row.size / scaling.reference_size) ** scaling.power
        scaled = f" at {name} {scaling.reference_size:g} ({own:.4g} for {of} of this size)"
    yield f"peak learning rate {row.lr:.6g}{scaled}, {found.spec.schedule}"
    yield _time_line(found.hours, row.processes, found.study.plan.price_per_gpu_hour)


def _time_line(hours: Hours | None, processes: int, price: float | None) -> str:
    from flops_fit.pipeline.explain import duration

    several = f"{processes} process{'es' * (processes > 1)}"
    if hours is None:
        return f"{several}; no throughput is known (plan.hardware states one)"
    what = f"{processes} GPU{'s' * (processes > 1)}" if hours.on_gpus else several
    text = f"{what}, about {duration(hours.seconds)} ({hours.source}"
    text += ")" if hours.reached else "; N lies beyond what was timed)"
    each = hours.seconds / 3600 * processes
    if hours.on_gpus:
        text += f", {each:.3g} GPU-hours"
    if price is not None:
        text += f", {each * price:.4g} by plan.price_per_gpu_hour"
    return text
