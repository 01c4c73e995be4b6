"""What a newcomer reads is true."""

from __future__ import annotations

import re
from pathlib import Path

from flops_fit.study.document_keys import SCHEMA_FILE, schema_text, update
from flops_fit.study.schema import study_schema, walk_keys

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
CONFIG_README = (ROOT / "config" / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_schema_and_table_of_keys_are_those_of_the_settings():
    """Where this fails: PYTHONPATH=workflow python -m flops_fit.study.document_keys."""
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text()
    assert update(CONFIG_README) == CONFIG_README
    for key, node in walk_keys(study_schema()):
        if node.get("unit") != "section":
            assert f"| `{key}` |" in CONFIG_README, key


def test_the_example_of_the_readme_is_the_one_that_the_tests_run():
    studies = ROOT / "config" / "studies"
    assert (studies / "teacher.py").read_text() in blocks("python")
    assert (studies / "teacher.yaml").read_text() in blocks("yaml")


def test_files_that_the_readme_links_to_exist():
    links = re.findall(r"\]\(([^)#]+)\)", README) + re.findall(r'src="([^"]+)"', README)
    assert links
    for link in links:
        if not link.startswith("http"):
            assert (ROOT / link).exists(), link


def test_the_commands_of_the_readme_are_targets_of_make():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"^make (\w+)", "\n".join(blocks("sh")), re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
