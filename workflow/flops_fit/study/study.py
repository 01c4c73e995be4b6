"""A study: the configuration as typed, checked objects. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flops_fit.errors import UserError
from flops_fit.files.plain_values import unfit_value
from flops_fit.files.reading import make_room, other_kind, read_json_object
from flops_fit.study.accelerate_config import asks_for_shards
from flops_fit.study.configuration import check_configuration
from flops_fit.study.identity import fingerprint
from flops_fit.study.plan_settings import PlanSettings
from flops_fit.study.recipe_rules import LrFactor
from flops_fit.study.section import Section
from flops_fit.study.settings import (
    FitSettings,
    ImportedStudy,
    LossSettings,
    SizeRange,
    TableFile,
    TrainedStudy,
)
from flops_fit.study.simulate_settings import SimulateSettings
from flops_fit.study.train_settings import OptimizerSettings, TrainSettings

LATER_DEFAULTS = (
    ("fit", "E", None),
    ("fit", "noise", "constant"),
    ("plan", "target", None),
    ("plan", "spend", None),
    ("plan", "precision", None),
    ("plan", "experiments", None),
    ("plan", "prior", 20),
    ("plan", "max_epochs", 4.0),
    ("plan", "trunks", False),
    ("plan", "lr_pilot", False),
    ("train", "warmup_steps", None),
    ("train", "decay_fraction", 0.2),
    ("train", "decay_shape", "linear"),
    ("plan", "hardware", None),
    ("plan", "price_per_gpu_hour", None),
)
"""Section, key and default of the keys that study.json did not hold from the start."""

ONLY_SIMULATED = (("plan", "truth"), ("simulate",))
"""Keys that only simulations read: they are not in study.json, so that nothing is planned again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A piece of user code, found by its import path ``package.module:name``."""

    path: str
    kwargs: dict[str, Any]
    version: int | str

    def identity(self) -> dict[str, Any]:
        """The part of the target that ids depend on."""
        return {"target": self.path, "kwargs": self.kwargs, "version": self.version}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFamily:
    """``target(<size_param>=size, **kwargs)`` for each of ``sizes`` (ascending).

    ``dense`` sizes are a range of which those about 10% apart in N are measured.
    """

    target: Target
    size_param: str
    sizes: tuple[float, ...]
    dense: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsTable:
    """Runs that exist already, as a file."""

    path: Path
    columns: dict[str, str]  # our name -> the table's
    unit: str
    loss_unit: str | None = None
    scale: Mapping[str, float] = field(default_factory=dict)  # our name -> factor


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """One checked configuration. ``config`` is its plain form, with every default filled in.

    A study that brings its own runs has a ``runs_table``, and no model, dataset, loss, plan or
    train.
    """

    name: str
    config_file: str  # as the user would type it from the working directory
    config: dict[str, Any]
    fit: FitSettings
    predict_budgets: tuple[float, ...]
    model: ModelFamily | None = None
    dataset: Target | None = None
    loss: Target | None = None
    plan: PlanSettings | None = None
    train: TrainSettings | None = None
    optimizer: Target | None = None
    accelerate_config: str | None = None  # path of the file, relative to the working directory
    sharded: bool = False  # whether parameters are sharded over the processes
    runs_table: RunsTable | None = None
    simulate: SimulateSettings | None = None
    lr_factor: LrFactor | None = None  # what a learning-rate pilot decided

    @classmethod
    def from_config(cls, raw: Mapping[str, Any], config_file: str | Path) -> Study:
        """Check a raw configuration and return it as a study.

        Raises
        ------
        UserError
            Naming the file, the key, what was found and what is expected.
        """
        source = str(config_file)
        if unfit_value(source):
            raise UserError(f"{source!a}: found a file name that UTF-8 cannot spell; rename it")
        settings = check_configuration(raw, source)
        found = (_imported if isinstance(settings, ImportedStudy) else _trained)(settings, source)
        return cls(
            name=settings.study,
            config_file=source,
            config=settings.model_dump(mode="json"),
            fit=settings.fit,
            predict_budgets=_predicted(settings),
            **found,
        )

    @classmethod
    def load(cls, path: str | Path) -> Study:
        """Read a ``study.json`` that the workflow wrote.

        Raises
        ------
        UserError
            If it is damaged; it was renamed, and a rerun writes it again.
        """
        stored = read_json_object(path, ("config", "config_file"))
        try:
            return cls.from_config(stored["config"], stored["config_file"])
        except UserError as error:  # it passed when it was written
            raise make_room(path, f"cannot be used any more ({error})") from None

    def to_json(self) -> str:
        """The text of ``study.json``: equal texts mean equal studies."""
        # Keys that came later are left out at their defaults, so that a study's text stays as it is
        config = {
            section: {
                k: v
                for k, v in value.items()
                if (section, k, v) not in LATER_DEFAULTS and (section, k) not in ONLY_SIMULATED
            }
            if isinstance(value, dict)
            else value
            for section, value in self.config.items()
            if (section,) not in ONLY_SIMULATED
        }
        stored = {"config_file": self.config_file, "config": config}
        return json.dumps(stored, indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    def processes_for(self, n_params: int) -> int:
        """Data-parallel processes of an experiment whose model has ``n_params`` parameters."""
        processes = self.train.processes
        if isinstance(processes, int):
            return processes
        return [step.processes for step in processes if step.from_params <= n_params][-1]

    @property
    def folder(self) -> Path:
        """Folder of the configuration file, where the user's modules are looked up as well."""
        return Path(self.config_file).parent

    def check_data_folder(self, folder: Path) -> None:
        """Raise a UserError unless ``folder`` is that of this study's prepared dataset.

        ``study.json`` reflects the newest configuration, but ``folder`` the one that the running
        Snakemake began with.
        """
        if self.dataset is None or self.data_fingerprint != folder.name:
            asked = folder.with_name(self.data_fingerprint) if self.dataset else "no dataset"
            raise UserError(
                f"{self.config_file}: dataset: was edited while snakemake ran, which began with "
                f"{folder}, and asks for {asked} now; run snakemake again"
            )

    @property
    def data_fingerprint(self) -> str:
        """Name of the prepared dataset's folder under ``results/data/``.

        If the dataset's module lies beside the configuration, that folder counts as well, since two
        studies may each have a ``data.py``.
        """
        identity = self.dataset.identity()
        package = self.dataset.path.partition(":")[0].partition(".")[0]
        if (self.folder / package).is_dir() or (self.folder / f"{package}.py").is_file():
            identity["folder"] = str(self.folder)
        return fingerprint(identity)


def unit_of(path: str | Path) -> str:
    """Return what D counts, from a dataset's ``meta.json`` or an importing ``study.json``."""
    stored = read_json_object(path)
    if "unit" in stored:
        return stored["unit"]
    table = stored["config"]["runs_table"]
    return "token" if isinstance(table, str) else table["unit"]


def _predicted(settings: TrainedStudy | ImportedStudy) -> tuple[float, ...]:
    """Return where the study predicts, ascending: its budgets, and the target of a design."""
    budgets = set(settings.predict.budgets)
    if isinstance(settings, TrainedStudy) and settings.plan.target is not None:
        budgets.add(settings.plan.target)
    return tuple(sorted(budgets))


def _trained(settings: TrainedStudy, source: str) -> dict[str, Any]:
    """Return the fields of a study that trains its runs."""
    model, train = settings.model, settings.train
    dense = isinstance(model.sizes, SizeRange) and model.sizes.count is None
    if settings.plan.experiments is not None:
        sizes, dense = sorted({one.size for one in settings.plan.experiments}), False
    else:
        sizes = model.sizes.values if isinstance(model.sizes, SizeRange) else sorted(model.sizes)
    accelerate_config = _existing_file(train.accelerate_config, source, "train.accelerate_config")
    return {
        "model": ModelFamily(
            target=_target(model),
            size_param=model.size_param,
            # A model that accepts a width of 64 may not accept 64.0.
            sizes=tuple(int(size) if size.is_integer() else size for size in sizes),
            dense=dense,
        ),
        "dataset": _target(settings.dataset),
        "loss": _target(settings.loss, LossSettings),
        "plan": settings.plan,
        "train": train,
        "simulate": settings.simulate,
        "optimizer": _target(train.optimizer, OptimizerSettings),
        "accelerate_config": accelerate_config,
        "sharded": accelerate_config is not None and asks_for_shards(accelerate_config),
    }


def _imported(settings: ImportedStudy, source: str) -> dict[str, Any]:
    """Return the fields of a study that brings its own runs."""
    table = settings.runs_table
    if isinstance(table, str):
        table = TableFile(path=table)
    path = Path(source).parent / table.path
    if set("{}") & set(str(path)):
        raise UserError(
            f"{source}: runs_table.path: found {str(path)!r:.200} with braces, expected a path "
            "without: Snakemake takes them for wildcards"
        )
    if kind := other_kind(path):
        raise UserError(
            f"{source}: runs_table.path: found {kind}, {str(path)[:200]}, expected a file"
        )
    return {
        "runs_table": RunsTable(
            path=path,
            columns=table.columns,
            unit=table.unit,
            loss_unit=table.loss_unit,
            scale=table.scale,
        )
    }


def _target(settings: Any, long_form: type[Section] | None = None) -> Target:
    """Return the target of a section, or of the bare path that stands for one."""
    if isinstance(settings, str):
        version = long_form.model_fields["version"].default
        return Target(path=settings, kwargs={}, version=version)
    kwargs = getattr(settings, "kwargs", {})
    return Target(path=settings.target, kwargs=kwargs, version=settings.version)


def _existing_file(name: str | None, source: str, key: str) -> str | None:
    """Return the path of a file that is named relative to the configuration file's folder."""
    if name is None:
        return None
    path = Path(source).parent / name
    try:
        exists = path.is_file()
    except OSError:  # such as a name that is too long
        exists = False
    if not exists:
        found = f"{kind}, " if (kind := other_kind(path)) else "no file "
        raise UserError(
            f"{source}: {key}: found {found}{str(path)[:200]}, expected an existing file"
        )
    return str(path)
