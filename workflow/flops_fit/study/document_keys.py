"""The table of configuration keys in config/README.md, made from the schema.

    PYTHONPATH=workflow python -m flops_fit.study.document_keys config/README.md

rewrites what stands between the markers; a test fails where the file is behind the schema.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from flops_fit.study.configuration import load_schema, walk_keys

BEGIN = "<!-- keys: made from workflow/schemas/study.schema.yaml -->"
END = "<!-- end of keys -->"


def document_keys() -> str:
    """Return a Markdown table per section: key, default, unit, meaning."""
    lines: list[str] = []
    section = None
    schema = load_schema()
    top = [item for item in walk_keys(schema) if "." not in item[0]]
    for name, node in top:
        if node.get("unit") != "section":
            if section != "top":
                section = "top"
                lines += ["", "### Top level", "", *_HEADER]
            lines.append(_row(name, node, name in schema["required"]))
    for name, node in top:
        if node.get("unit") == "section" or node.get("properties"):
            lines += ["", f"### `{name}`", "", node["description"], "", *_HEADER]
            lines += _rows(node, name)
    return "\n".join(lines).strip() + "\n"


def update(text: str) -> str:
    """Return ``text`` with the table between its markers made anew."""
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n\n{document_keys()}\n{END}{after}"


_HEADER = ["| key | default | unit | meaning |", "|---|---|---|---|"]


def _rows(parent: dict[str, Any], prefix: str) -> list[str]:
    rows = []
    for name, node in parent.get("properties", {}).items():
        full = f"{prefix}.{name}"
        if node.get("unit") != "section":
            rows.append(_row(full, node, name in parent.get("required", [])))
        rows += _rows(node, full)
    return rows


def _row(name: str, node: dict[str, Any], required: bool) -> str:
    default = "required" if required else f"`{json.dumps(node.get('default'))}`"
    meaning = node["description"]
    if "enum" in node:
        meaning += " One of " + ", ".join(f"`{choice}`" for choice in node["enum"]) + "."
    cells = (f"`{name}`", default, node["unit"], meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    readme = Path(sys.argv[1])
    readme.write_text(update(readme.read_text(encoding="utf-8")), encoding="utf-8")
