"""``planned_code.json``: the user's code when the study was planned. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flops_fit.files.fields import from_plain, to_plain
from flops_fit.files.reading import parse_json
from flops_fit.files.writing import write_json
from flops_fit.user_code.references import UserCode
from flops_fit.user_code.source_fingerprint import CodeInUse, code_in_use

FILE = "planned_code.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCode:
    """What the sizes were measured with."""

    fingerprints: dict[str, str | None]  # by part
    imported: list[str]  # modules that count because they were imported by computed names
    files: dict[str, str]  # own modules that were reached: name -> file

    @classmethod
    def of(cls, code: CodeInUse) -> PlannedCode:
        """Return what is kept of the code in use."""
        return cls(fingerprints=code.fingerprints, imported=list(code.imported), files=code.files)

    @classmethod
    def read(cls, study_folder: str | Path) -> PlannedCode | None:
        """Return the file's content; None if there is none (version 0.1) or it is damaged."""
        try:
            return from_plain(cls, parse_json(Path(study_folder) / FILE))
        except (OSError, ValueError):
            return None

    def write(self, path: str | Path) -> None:
        """Write the file."""
        write_json(path, to_plain(self))

    def now(self, code: UserCode) -> dict[str, str | None]:
        """Return the present fingerprints of the same modules."""
        return code_in_use(code, imported=self.imported, known=self.files).fingerprints

    def changed(self, code: UserCode) -> list[str]:
        """Return the parts whose code is not the planned one any more."""
        now = self.now(code)
        return [part for part, planned in self.fingerprints.items() if now.get(part) != planned]
