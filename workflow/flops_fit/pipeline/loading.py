"""From the files and the command line of Snakemake to a study. Imports no torch.

It does not import Snakemake either: callers pass in how it reads and merges configurations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flops_fit.errors import UserError
from flops_fit.files.plain_values import unfit_value
from flops_fit.files.reading import other_kind
from flops_fit.pipeline.rules import readable_path
from flops_fit.pipeline.script import LIBRARY_FOLDER
from flops_fit.study.command_line import command_line_values
from flops_fit.study.configuration import printable
from flops_fit.study.expected_laws import check_laws
from flops_fit.study.study import Study


def load_study(
    workflow: Any,
    config: Mapping[str, Any],
    load: Callable[[str | Path], Mapping[str, Any]],
    merge: Callable[[dict[str, Any], Mapping[str, Any]], None],
) -> Study:
    """Return the study of ``--configfile``, or the demo; ``--config`` overlays either.

    As a module of another workflow, it is the ``config:`` that the workflow passes, and belongs to
    its Snakefile: relative paths and the user's own code are looked up from there.

    Parameters
    ----------
    load, merge
        As in :func:`load_layers`.

    Raises
    ------
    UserError
        As in :func:`load_layers`.
    """
    if importer := importer_of(workflow):
        return check_laws(Study.from_config(config, readable_path(importer)))
    files = workflow.overwrite_configfiles or [LIBRARY_FOLDER.parent / "config" / "config.yaml"]
    return load_layers(files, workflow.config_settings.config_args, load, merge)


def importer_of(workflow: Any) -> Path | None:
    """Return the Snakefile of the workflow that imports ours, None if ours was started itself."""
    main = Path(str(workflow.main_snakefile)).resolve()
    ours = [folder / "Snakefile" for folder in (LIBRARY_FOLDER, LIBRARY_FOLDER.parent)]
    return None if main in [path.resolve() for path in ours] else main


def load_layers(
    files: Sequence[str | Path],
    arguments: Iterable[str],
    load: Callable[[str | Path], Mapping[str, Any]],
    merge: Callable[[dict[str, Any], Mapping[str, Any]], None],
) -> Study:
    """Return the study of configuration files, each overlaid by the next, and all by ``--config``.

    Parameters
    ----------
    files
        At least one; the study is named after the first.
    arguments
        What ``--config`` was given, as typed.
    load
        Returns the keys of a YAML or JSON file.
    merge
        Overlays the first configuration with the second one, in place.

    Raises
    ------
    UserError
        Naming the file, the key, what was found and what is expected.
    """
    raw: dict[str, Any] = {}
    for file in files:
        merge(raw, _checked(_loaded(file, load), readable_path(file)))
    merge(raw, _checked(command_line_values(arguments), "--config"))
    return check_laws(Study.from_config(raw, readable_path(files[0])))


def _loaded(file: str | Path, load: Callable[[str | Path], Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the keys of a file, or say what it is that no parser takes."""
    name = readable_path(file)
    if kind := other_kind(file):
        raise UserError(
            f"{name}: found {kind}, expected a file: a configuration is read more than once"
        )
    try:
        return load(file)
    except RecursionError:
        raise UserError(
            f"{name}: found values nested too deeply to be read, expected less"
        ) from None
    except (OSError, ValueError) as error:  # such as a whole number of thousands of digits
        reason = str(error).partition(";")[0].splitlines()[0] if str(error) else "no reason given"
        raise UserError(
            f"{name}: cannot be read ({reason}), expected the keys of a study"
        ) from None


def _checked(layer: Mapping[str, Any], source: str) -> Mapping[str, Any]:
    """Return a layer that can be merged: one that holds itself never ends."""
    if unfit := unfit_value(layer):
        key, problem = unfit
        raise UserError(f"{source}: {printable(key or 'the keys')}: {problem}")
    return layer
