"""The values of ``snakemake --config``, read as in a configuration file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml


def command_line_values(arguments: Iterable[str]) -> dict[str, Any]:
    """Return the keys of ``--config KEY=VALUE ...`` with numbers as numbers.

    Snakemake (9.27) leaves every value inside a section or list as text: ``kwargs: {n_layer: 2}``
    would hand ``'2'`` to the model.

    Parameters
    ----------
    arguments
        The arguments as typed.
    """
    return {key: _read(text) for key, _, text in (entry.partition("=") for entry in arguments)}


def _read(text: str) -> Any:
    """Return a section or list as YAML reads it; single values at top level are text or nothing."""
    try:
        value = yaml.safe_load(text)
        return value if isinstance(value, dict | list) else yaml.load(text, yaml.BaseLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return text
