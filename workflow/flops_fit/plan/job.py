"""One planned experiment as the launcher and the trainer know it: an entry of ``specs.json``."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from flops_fit.files.fields import FieldError, check_fields, later, to_plain
from flops_fit.study.identity import fingerprint
from flops_fit.study.spec import Spec


def _shared() -> Any:
    """Return a field that has one value in all jobs of a study."""
    return field(metadata={"shared": True})


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The spec of an experiment, where its parts are, and what was planned for it."""

    spec: Spec
    study: str = _shared()
    unit: str = _shared()  # token, image, sample
    budget: float  # FLOPs
    n_params: int
    n_params_non_embedding: int
    flops_per_unit: float
    steps: int
    processes: int
    compile: bool = _shared()
    find_unused_parameters: bool = _shared()
    accelerate_config: str | None = _shared()
    checkpoint_minutes: float | None = _shared()
    keep_checkpoint: bool = _shared()
    data_folder: str = _shared()
    search_folder: str = _shared()  # of the configuration file and the user's modules
    trunk: str | None = later()  # that trains its beginning; absent where it does so itself

    @classmethod
    def from_json(cls, run_id: str, plain: Any) -> Job:
        """Return the job that an entry of ``specs.json`` holds.

        Parameters
        ----------
        run_id
            Its key, which must follow from its spec, so that no other experiment is trained than
            the requested one.

        Raises
        ------
        FieldError
            If a field is missing or of the wrong type, or does not agree with another one.
        """
        check_fields(cls, plain)
        try:
            derived = fingerprint(plain["spec"])
        except (ValueError, RecursionError):
            derived = None
        if derived != run_id:
            raise FieldError(f"spec: gives the id {derived}")
        try:
            spec = Spec.from_json(plain["spec"])
        except FieldError as error:
            raise FieldError(f"spec.{error}") from None
        if spec.D != plain["steps"] * spec.batch:
            expected = spec.D // spec.batch
            raise FieldError(f"steps: found {plain['steps']}, expected {expected}")
        if plain.get("trunk") not in (None, spec.trunk):
            raise FieldError(f"trunk: found {plain['trunk']!r}, expected {spec.trunk!r}")
        values = {one.name: plain[one.name] for one in fields(cls) if one.name in plain}
        return cls(**values | {"spec": spec})

    def to_json(self) -> dict[str, Any]:
        """Return the entry of ``specs.json``."""
        return to_plain(self)

    @property
    def id(self) -> str:
        """The id of the experiment."""
        return fingerprint(self.spec.to_json())

    @property
    def title(self) -> str:
        """The experiment's name for people."""
        return f"{self.spec.model.size_param}={self.spec.size} C={self.budget:.3g}"


SHARED_FIELDS = tuple(one.name for one in fields(Job) if one.metadata.get("shared"))
