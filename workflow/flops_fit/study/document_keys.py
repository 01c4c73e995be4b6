"""The schema file and the table of configuration keys in config/README.md, made from the settings.

    PYTHONPATH=workflow python -m flops_fit.study.document_keys

rewrites both; a test fails if one of them is out of date.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from flops_fit.study.schema import study_schema

ROOT = Path(__file__).resolve().parents[3]
SCHEMA_FILE = ROOT / "workflow" / "schemas" / "study.schema.yaml"
README_FILE = ROOT / "config" / "README.md"
BEGIN = "<!-- keys: made from workflow/flops_fit/study/settings.py -->"
END = "<!-- end of keys -->"
_HEADER = ["| key | default | unit | meaning |", "|---|---|---|---|"]


def main() -> None:
    """Write both files."""
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
    README_FILE.write_text(update(README_FILE.read_text(encoding="utf-8")), encoding="utf-8")


def schema_text() -> str:
    """Return the text of the schema file."""
    made = "# Made by `python -m flops_fit.study.document_keys`; edit the settings instead.\n"
    return made + yaml.safe_dump(study_schema(), sort_keys=False, width=100, allow_unicode=True)


def update(text: str) -> str:
    """Return ``text`` with the table between its markers rewritten."""
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n\n{document_keys()}\n{END}{after}"


def document_keys() -> str:
    """Return a Markdown table per section: key, default, unit, meaning."""
    schema = study_schema()
    required = [*schema["required"], *schema["oneOf"][0]["required"]]  # of a study that trains
    lines = ["### Top level", "", *_HEADER]
    for name, node in schema["properties"].items():
        if node["unit"] != "section":
            lines.append(_row(name, node, required=name in required))
    for name, node in schema["properties"].items():
        if "properties" in node:
            lines += ["", f"### `{name}`", "", node["description"], "", *_HEADER]
            lines += _rows(node, name)
    return "\n".join(lines) + "\n"


def _rows(parent: dict[str, Any], prefix: str) -> Iterator[str]:
    for name, node in parent.get("properties", {}).items():
        full = f"{prefix}.{name}"
        if node["unit"] != "section":
            yield _row(full, node, required=name in parent.get("required", []))
        yield from _rows(node, full)


def _row(name: str, node: dict[str, Any], *, required: bool) -> str:
    default = f"`{json.dumps(node['default'])}`" if "default" in node else "none"
    meaning = node["description"]
    if "enum" in node:
        meaning += " One of " + ", ".join(f"`{c}`" for c in node["enum"] if c is not None) + "."
    cells = (f"`{name}`", "required" if required else default, node["unit"], meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    main()
