"""Writes figures as files that are reproducible byte for byte."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from flops_fit.files.writing import whole_file
from flops_fit.report.style import house_style


def save(figure: Figure, path_without_suffix: str | Path) -> list[Path]:
    """Write a figure as SVG and PNG, each whole or not at all.

    The bytes depend only on the figure and the version of matplotlib: element ids are salted with a
    constant, and neither file carries a date.

    Returns
    -------
    list of Path
        The SVG and the PNG.
    """
    stem = Path(path_without_suffix)
    metadata = {"svg": {"Date": None, "Creator": "flops-fit"}, "png": {"Software": None}}
    written = []
    with house_style():
        for suffix, fields in metadata.items():
            # `with_suffix` would cut a stem such as "fit.v2".
            path = stem.with_name(f"{stem.name}.{suffix}")
            with whole_file(path) as temporary:
                figure.savefig(temporary, format=suffix, metadata=fields)
            written.append(path)
    return written
