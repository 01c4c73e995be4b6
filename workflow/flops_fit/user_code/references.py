"""Which model, dataset, loss and optimizer a study or an experiment names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flops_fit.study.spec import Spec
from flops_fit.study.study import Study, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class UserCode:
    """The import paths of one study or experiment, and where they are looked up."""

    model: Target
    size_param: str
    sizes: tuple[float, ...]
    dataset: Target
    loss: str
    optimizer: str  # adamw or an import path
    folder: Path
    source: str  # what the errors name: the configuration file

    @classmethod
    def of_study(cls, study: Study) -> UserCode:
        """The user's code that a configuration names."""
        return cls(
            model=study.model.target,
            size_param=study.model.size_param,
            sizes=study.model.sizes,
            dataset=study.dataset,
            loss=study.loss.path,
            optimizer=study.optimizer.path,
            folder=study.folder,
            source=study.config_file,
        )

    @classmethod
    def of_spec(cls, spec: Spec, folder: str | Path, source: str) -> UserCode:
        """The user's code that an experiment's spec names."""
        model, dataset = spec.model, spec.dataset
        return cls(
            model=Target(path=model.target, kwargs=model.kwargs, version=model.version),
            size_param=model.size_param,
            sizes=(spec.size,),
            dataset=Target(path=dataset.target, kwargs=dataset.kwargs, version=dataset.version),
            loss=spec.loss.target,
            optimizer=spec.optimizer.target,
            folder=Path(folder),
            source=source,
        )
