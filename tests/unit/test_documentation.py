"""What a newcomer reads is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flops_fit.laws.judgement.texts import judgement_kinds
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


PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *ROOT.glob("*/*.md"))
    if ".venv" not in path.parts
)


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_page_links_to_or_names_exist(page):
    text = (ROOT / page).read_text()
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text) + re.findall(r'src="([^"]+)"', text)
    for link in links:
        if not link.startswith("http"):
            assert (ROOT / page).parent.joinpath(link).exists(), link
    for name in re.findall(r"`((?:tests|benchmarks|workflow|docs|envs|profiles)/[\w./]*)`", text):
        assert (ROOT / name).exists(), name


def test_the_pages_are_found():
    assert {"README.md", "CONTRIBUTING.md", "docs/laws.md", "config/README.md"} <= set(PAGES)


def test_each_judgement_is_explained_with_its_severity():
    page = (ROOT / "docs" / "laws.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| .{20,} \|$", page, re.MULTILINE)
    assert len(rows) == len(dict(rows))
    assert dict(rows) == {code: severity for code, (severity, _) in judgement_kinds().items()}


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_the_commands_that_a_page_names_are_targets_of_make(page):
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"(?:^|`)make ([\w-]+)", (ROOT / page).read_text(), re.MULTILINE)
    assert {"test"} <= set(targets)
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
