"""A study: the configuration as typed, checked objects. Imports no torch."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flops_fit.errors import UserError
from flops_fit.files.plain_values import unfit_value
from flops_fit.files.reading import make_room, read_json_object
from flops_fit.study.accelerate_config import asks_for_shards
from flops_fit.study.configuration import check_configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Something of the user's, found by import path ``package.module:name``."""

    path: str
    kwargs: dict[str, Any]
    version: int | str

    def identity(self) -> dict[str, Any]:
        """What an id is derived from."""
        return {"target": self.path, "kwargs": self.kwargs, "version": self.version}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFamily:
    """``target(<size_param>=size, **kwargs)`` for each of ``sizes`` (ascending)."""

    target: Target
    size_param: str
    sizes: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSettings:
    """Which experiments the sweep holds."""

    budgets: tuple[float, ...]  # FLOPs, ascending
    sizes_per_budget: int
    tokens_per_param: tuple[float, float]  # feasible D / non-embedding N
    min_steps: int
    flops: str  # measured | 6ND
    seeds: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """The recipe of one experiment."""

    batch: dict[float, int]  # budget -> units per optimizer step, over all processes
    lr: dict[float, tuple[float, ...]]  # budget -> grid of peak learning rates
    lr_power: float
    lr_reference_size: float
    lr_apply: str  # matrices | all | none
    optimizer: str
    optimizer_version: int | str
    weight_decay: float
    warmup_fraction: float
    grad_clip: float | None
    schedule: str
    final_lr_fraction: float
    precision: str
    processes: tuple[tuple[float, int], ...]  # (from so many parameters on, processes)
    compile: bool
    find_unused_parameters: bool
    accelerate_config: str | None
    sharded: bool  # parameters over the processes, as accelerate_config asks for
    checkpoint_minutes: float | None
    keep_checkpoint: bool
    eval_units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FitSettings:
    """How laws are fitted."""

    params: str  # total | non_embedding
    approaches: tuple[str, ...]
    bootstrap: int
    ci: float
    seed: int
    stratify: bool
    holdout_budgets: int
    tie_exponents: bool
    exclude: tuple[str, ...]
    allow_mixed_code: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsTable:
    """Runs that exist already, as a file."""

    path: Path
    columns: dict[str, str]  # our name -> the table's
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """One checked configuration. ``config`` is its plain form, with every default filled in.

    A study that brings its own runs has a ``runs_table``, and neither model nor dataset, loss, plan
    and train.
    """

    name: str
    config_file: str  # as the user would type it from the working directory
    config: dict[str, Any]
    model: ModelFamily | None
    dataset: Target | None
    loss: Target | None
    plan: PlanSettings | None
    train: TrainSettings | None
    fit: FitSettings
    predict_budgets: tuple[float, ...]
    runs_table: RunsTable | None = None

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
        config = check_configuration(raw, source)
        common: dict[str, Any] = {
            "name": config["study"],
            "config_file": source,
            "config": config,
            "fit": _fit_settings(config["fit"]),
            "predict_budgets": _ascending(
                config["predict"]["budgets"], source, "predict.budgets", allow_empty=True
            ),
        }
        if "runs_table" in config:
            training = dict.fromkeys(("model", "dataset", "loss", "plan", "train"))
            table = _runs_table(config["runs_table"], source)
            return cls(**common, **training, runs_table=table)
        budgets = _ascending(config["plan"]["budgets"], source, "plan.budgets")
        config["plan"]["budgets"] = list(budgets)
        train, plan = config["train"], config["plan"]
        low, high = plan["tokens_per_param"]
        if low >= high:
            raise UserError(
                f"{source}: plan.tokens_per_param: found [{low:g}, {high:g}], expected the smaller "
                "number first"
            )
        loss = _as_target(config["loss"])
        optimizer = _as_target(train["optimizer"])
        scaling = train["lr_scaling"]
        if optimizer.path != "adamw" and scaling["apply"] == "matrices" and scaling["power"] != 0:
            raise UserError(
                f"{source}: train.lr_scaling.apply: found matrices with the optimizer "
                f"{optimizer.path!r}, expected all or none: its own factory makes the parameter "
                "groups"
            )
        accelerate_config = _existing_file(
            train["accelerate_config"], source, "train.accelerate_config"
        )
        return cls(
            **common,
            model=ModelFamily(
                target=_as_target(config["model"]),
                size_param=config["model"]["size_param"],
                sizes=_sizes(config["model"]["sizes"], source),
            ),
            dataset=_as_target(config["dataset"]),
            loss=loss,
            plan=PlanSettings(
                budgets=budgets,
                sizes_per_budget=plan["sizes_per_budget"],
                tokens_per_param=(low, high),
                min_steps=plan["min_steps"],
                flops=plan["flops"],
                seeds=tuple(plan["seeds"]),
            ),
            train=TrainSettings(
                batch=_per_budget(train["batch"], budgets, source, "train.batch"),
                lr={
                    budget: tuple(_ascending(_as_list(lr), source, "train.lr"))
                    for budget, lr in _per_budget(train["lr"], budgets, source, "train.lr").items()
                },
                lr_power=scaling["power"],
                lr_reference_size=scaling["reference_size"],
                lr_apply=scaling["apply"],
                optimizer=optimizer.path,
                optimizer_version=optimizer.version,
                weight_decay=train["weight_decay"],
                warmup_fraction=train["warmup_fraction"],
                grad_clip=train["grad_clip"],
                schedule=train["schedule"],
                final_lr_fraction=train["final_lr_fraction"],
                precision=train["precision"],
                processes=_processes(train["processes"], source),
                compile=train["compile"],
                find_unused_parameters=train["find_unused_parameters"],
                accelerate_config=accelerate_config,
                sharded=accelerate_config is not None and asks_for_shards(accelerate_config),
                checkpoint_minutes=train["checkpoint_minutes"],
                keep_checkpoint=train["keep_checkpoint"],
                eval_units=train["eval_units"],
            ),
        )

    @classmethod
    def load(cls, path: str | Path) -> Study:
        """Read a ``study.json`` that the workflow wrote.

        Raises
        ------
        UserError
            If it is damaged; it was renamed, and is written anew by a rerun.
        """
        stored = read_json_object(path, ("config", "config_file"))
        try:
            return cls.from_config(stored["config"], stored["config_file"])
        except UserError as error:  # what was written had passed
            raise make_room(path, f"cannot be used any more ({error})") from None

    def to_json(self) -> str:
        """The text of ``study.json``: equal texts mean equal studies."""
        stored = {"config_file": self.config_file, "config": self.config}
        return json.dumps(stored, indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    def processes_for(self, n_params: int) -> int:
        """Data-parallel processes of an experiment whose model has ``n_params`` parameters."""
        return [count for start, count in self.train.processes if start <= n_params][-1]

    @property
    def folder(self) -> Path:
        """Folder of the configuration file, where the user's modules are searched as well."""
        return Path(self.config_file).parent

    def check_data_folder(self, folder: Path) -> None:
        """Raise a UserError unless ``folder`` is that of this study's prepared dataset.

        ``study.json`` is of the newest configuration, the folder of the one that a running
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

        Where the dataset's module lies beside the configuration, the folder counts as well: two
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


def fingerprint(content: Any) -> str:
    """Return 12 hexadecimal digits that name JSON-ready ``content`` (SHA-256 of its one spelling).

    Twelve digits are 48 bits: among 100 000 experiments two collide with probability 2e-5, and the
    plan refuses two rows with one id.
    """
    text = json.dumps(
        content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _as_target(node: str | Mapping[str, Any]) -> Target:
    if isinstance(node, str):
        return Target(path=node, kwargs={}, version=1)
    return Target(path=node["target"], kwargs=node.get("kwargs", {}), version=node["version"])


def _fit_settings(fit: Mapping[str, Any]) -> FitSettings:
    return FitSettings(
        params=fit["params"],
        approaches=tuple(fit["approaches"]),
        bootstrap=fit["bootstrap"],
        ci=fit["ci"],
        seed=fit["seed"],
        stratify=fit["stratify"],
        holdout_budgets=fit["holdout_budgets"],
        tie_exponents=fit["tie_exponents"],
        exclude=tuple(fit["exclude"]),
        allow_mixed_code=fit["allow_mixed_code"],
    )


def _runs_table(node: str | Mapping[str, Any], source: str) -> RunsTable:
    if isinstance(node, str):
        node = {"path": node, "columns": {}, "unit": "token"}
    folder = Path(source).parent
    if set("{}") & set(str(folder / node["path"])):
        raise UserError(
            f"{source}: runs_table.path: found {str(folder / node['path'])!r:.200} with braces, "
            "expected a path without: Snakemake takes them for wildcards"
        )
    return RunsTable(path=folder / node["path"], columns=dict(node["columns"]), unit=node["unit"])


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _ascending(
    values: list[float], source: str, key: str, *, allow_empty: bool = False
) -> tuple[float, ...]:
    numbers = sorted(float(value) for value in values)
    for number, following in itertools.pairwise(numbers):
        if number == following:
            raise UserError(f"{source}: {key}: found {number:g} twice, expected different numbers")
    if not numbers and not allow_empty:
        raise UserError(f"{source}: {key}: found an empty list, expected numbers")
    return tuple(numbers)


def _per_budget(value: Any, budgets: tuple[float, ...], source: str, key: str) -> dict[float, Any]:
    if not isinstance(value, Mapping):
        return dict.fromkeys(budgets, value)
    given: dict[float, Any] = {}
    for name, item in value.items():
        try:
            given[float(name)] = item
        except ValueError:
            raise UserError(
                f"{source}: {key}: found the key {name!r}, expected a budget in FLOPs"
            ) from None
    for budget in budgets:
        if budget not in given:
            raise UserError(
                f"{source}: {key}: has no entry for the budget {budget:g}, expected one number for "
                "all budgets or an entry for each of plan.budgets"
            )
    return {budget: given[budget] for budget in budgets}


def _processes(value: int | list[Mapping[str, Any]], source: str) -> tuple[tuple[float, int], ...]:
    if isinstance(value, int):
        return ((0.0, value),)
    steps = tuple((float(step["from_params"]), step["processes"]) for step in value)
    starts = [start for start, _ in steps]
    if starts[0] != 0 or any(a >= b for a, b in itertools.pairwise(starts)):
        raise UserError(
            f"{source}: train.processes: found from_params {starts}, expected 0 first and then "
            "ascending numbers"
        )
    return steps


def _existing_file(name: str | None, source: str, key: str) -> str | None:
    """A path of the configuration starts at the configuration file's folder."""
    if name is None:
        return None
    path = Path(source).parent / name
    try:
        exists = path.is_file()
    except OSError:  # such as a name that is too long
        exists = False
    if not exists:
        raise UserError(
            f"{source}: {key}: found no file {str(path)[:200]}, expected an existing one"
        )
    return str(path)


def _whole(number: float) -> float:
    """A size such as 64.0 is handed to the model as the integer 64."""
    return int(number) if float(number).is_integer() else float(number)


def _sizes(node: list[float] | Mapping[str, Any], source: str) -> tuple[float, ...]:
    if not isinstance(node, Mapping):
        return tuple(_whole(size) for size in _ascending(node, source, "model.sizes"))
    low, high, step = node["min"], node["max"], node["multiple_of"]
    if low >= high:
        raise UserError(
            f"{source}: model.sizes: found min {low:g} and max {high:g}, expected min below max"
        )
    if not math.isfinite(high / low) or not math.isfinite(2 * high / step):
        raise UserError(
            f"{source}: model.sizes: found min {low:g}, max {high:g} and multiple_of {step:g}, "
            "expected numbers that do not differ beyond all measure"
        )
    ratio = math.log(high / low) / (node["count"] - 1)
    spread = (low * math.exp(ratio * i) for i in range(node["count"]))
    rounded = {step * max(1, round(size / step)) for size in spread}
    if not all(map(math.isfinite, rounded)):
        raise UserError(
            f"{source}: model.sizes: found max {high:g}, expected less than the largest number"
        )
    if len(rounded) < 3:
        raise UserError(
            f"{source}: model.sizes: the range gives the sizes {sorted(rounded)} only, expected at "
            "least 3; widen it or lower multiple_of"
        )
    return tuple(_whole(size) for size in sorted(rounded))
