"""`flops-fit explain`: what an id means and how that experiment went, or how two differ."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

MOST = 2
"""Ids that one call explains."""


def add(commands: argparse._SubParsersAction) -> None:
    """Describe its arguments."""
    parser = commands.add_parser(
        "explain", help="what an id means and how that experiment went, or how two differ"
    )
    parser.add_argument(
        "ids",
        metavar="ID",
        nargs="+",
        help="an id, its first digits (at least 4), or the path of a run record; of two, the "
        "differences are shown",
    )
    parser.add_argument(
        "--results", type=Path, default=Path("results"), help="folder of the studies (results)"
    )
    parser.set_defaults(run=run, place=place)


def place(options: argparse.Namespace, rest: list[str]) -> list[str]:
    """Append ids behind an option to the others; return what is none, or one too many."""
    options.ids += [text for text in rest if not text.startswith("-")]
    return [text for text in rest if text.startswith("-")] + options.ids[MOST:]


def run(options: argparse.Namespace) -> list[str]:
    """Return the lines to print."""
    from flops_fit.pipeline.explain import explain
    from flops_fit.pipeline.explain_difference import lines_of_two
    from flops_fit.pipeline.explain_text import lines_of_one
    from flops_fit.pipeline.finding import find_experiments

    now = time.time()
    found = find_experiments(options.ids, options.results)
    explained = [explain(one, now) for one in found]
    return lines_of_one(*explained) if len(explained) == 1 else lines_of_two(*explained)
