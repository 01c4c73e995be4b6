"""A study's folder under results/ belongs to one configuration file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from flops_fit.errors import UserError
from flops_fit.study.claim import as_claimed, claim_study
from flops_fit.study.study import Study
from hand_computed import FILE, small_study


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_an_unchanged_study_is_not_written_again(tmp_path):
    path = claim_study(small_study(), tmp_path)
    assert path == tmp_path / "small" / "study.json"
    assert Study.load(path) == small_study()
    os.utime(path, ns=(10**18, 10**18))  # long ago, so that any writing shows
    # The same study in other words: its modification time is what would make the plan run again.
    assert claim_study(small_study({"train.lr": "1e-2", "plan.min_steps": 100}), tmp_path) == path
    assert path.stat().st_mtime_ns == 10**18
    assert list(files_below(tmp_path)) == ["small/study.json"]


def test_a_changed_study_is_written(tmp_path):
    path = claim_study(small_study(), tmp_path)
    os.utime(path, ns=(10**18, 10**18))
    edited = small_study({"plan.seeds": [0, 1]})
    assert claim_study(edited, tmp_path) == path
    assert Study.load(path) == edited
    assert path.stat().st_mtime_ns > 10**18
    assert list(files_below(tmp_path)) == ["small/study.json"]


def test_a_name_that_belongs_to_another_file_is_refused_and_nothing_is_lost(tmp_path):
    claim_study(small_study(), tmp_path)
    (tmp_path / "small" / "runs.csv").write_text("precious")
    before = files_below(tmp_path)
    with pytest.raises(UserError) as caught:
        claim_study(small_study({"plan.seeds": [1]}, file="elsewhere/small.yaml"), tmp_path)
    message = str(caught.value)
    assert message.startswith(
        f"elsewhere/small.yaml: study: the name 'small' already belongs to {FILE}, "
    )
    assert "give this study another name" in message
    assert files_below(tmp_path) == before


def test_two_studies_stand_side_by_side(tmp_path):
    claim_study(small_study(), tmp_path)
    claim_study(small_study({"study": "other"}, file="other.yaml"), tmp_path)
    assert list(files_below(tmp_path)) == ["other/study.json", "small/study.json"]


@pytest.mark.parametrize("blocked", ["results", "results/small"])
def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path, blocked):
    """A file in the folder's place stops even the superuser, whom permissions do not."""
    file = tmp_path / blocked
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("in the way")
    with pytest.raises(UserError) as caught:
        claim_study(small_study(), tmp_path / "results")
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/results/small/study.json: cannot be ")
    assert "expected a results folder that this user may write to" in message
    assert "\n" not in message
    assert file.read_text() == "in the way"


DAMAGED = [b"", b"no JSON", b"[]", b"{}", b"\xff\xfe\x00", b"[" * 100_000]


@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
@pytest.mark.parametrize("planned", ["of this one", "nothing", "damaged as well"])
def test_a_damaged_study_file_is_moved_aside_and_written_anew(tmp_path, capfd, content, planned):
    file = claim_study(small_study(), tmp_path)
    whole = file.read_bytes()
    file.write_bytes(content)
    beside = {"of this one": whole, "nothing": None, "damaged as well": b""}[planned]
    if beside is not None:
        file.with_name("planned_study.json").write_bytes(beside)
    assert claim_study(small_study(), tmp_path) == file
    assert file.read_bytes() == whole
    assert file.with_name("study.json.damaged").read_bytes() == content
    assert f"it was rewritten from {FILE}" in capfd.readouterr().err


@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_study_file_of_another_configuration_is_left_alone(tmp_path, content):
    file = claim_study(small_study(file="other.yaml"), tmp_path)
    file.rename(file.with_name("planned_study.json"))
    file.write_bytes(content)
    before = files_below(tmp_path)
    with pytest.raises(UserError, match=r"is not a study\.json of flops-fit; move it away"):
        claim_study(small_study(), tmp_path)
    assert files_below(tmp_path) == before


def test_a_flipped_bit_in_the_owners_name_does_not_take_the_study_away(tmp_path):
    file = claim_study(small_study(), tmp_path)
    whole = file.read_text()
    file.with_name("planned_study.json").write_text(whole)
    file.write_text(whole.replace(FILE, FILE.replace("small", "smalm")))
    claim_study(small_study(), tmp_path)
    assert file.read_text() == whole
    # A configuration that is there, though, was named by its user: the study was moved to it.
    moved = tmp_path / "moved.yaml"
    moved.write_text("")
    file.write_text(whole.replace(FILE, str(moved)))
    with pytest.raises(UserError, match=f"already belongs to {moved}"):
        claim_study(small_study(), tmp_path)


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """A working directory with a configuration, a table, and another name of their folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "a.yaml").write_text("")
    (tmp_path / "config" / "runs.csv").write_text("")
    (tmp_path / "linked").symlink_to("config")
    return tmp_path


SPELLINGS = ["./config/a.yaml", "config/../config/a.yaml", "linked/a.yaml", "absolute"]


@pytest.mark.parametrize("spelled", SPELLINGS)
@pytest.mark.parametrize("known", ["study.json", "planned_study.json"])
def test_one_file_in_two_spellings_is_one_configuration(folders, spelled, known):
    file = claim_study(small_study(file="config/a.yaml"))
    whole = file.read_bytes()
    os.utime(file, ns=(10**18, 10**18))
    if known == "planned_study.json":
        file.rename(file.with_name(known))
        file.write_bytes(b"damaged")
    spelled = str(folders / "config" / "a.yaml") if spelled == "absolute" else spelled
    study = as_claimed(small_study(file=spelled))
    assert study == small_study(file="config/a.yaml")
    assert claim_study(study) == file
    assert file.read_bytes() == whole
    if known == "study.json":
        assert file.stat().st_mtime_ns == 10**18  # nothing is planned again


def test_a_relative_path_in_the_configuration_follows_its_spelling(folders):
    def own(file):
        return Study.from_config({"study": "own", "runs_table": "runs.csv"}, file)

    claim_study(own("linked/a.yaml"))
    study = as_claimed(own("config/a.yaml"))
    assert study.config_file == "linked/a.yaml"
    assert study.runs_table.path == Path("linked/runs.csv")


@pytest.mark.parametrize("other", ["config/b.yaml", "elsewhere/a.yaml", "gone/a.yaml"])
def test_two_files_stay_two_configurations(folders, other):
    """Even with the same content: `elsewhere/a.yaml` is a hard link, and `b.yaml` a copy."""
    (folders / "config" / "b.yaml").write_text("")
    (folders / "elsewhere").mkdir()
    (folders / "elsewhere" / "a.yaml").hardlink_to(folders / "config" / "a.yaml")
    claim_study(small_study(file="config/a.yaml"))
    study = as_claimed(small_study(file=other))
    assert study.config_file == other
    with pytest.raises(UserError, match=r"already belongs to config/a\.yaml"):
        claim_study(study)


@pytest.mark.parametrize("content", [*DAMAGED, b'{"config_file": 7}'], ids=range(7))
def test_a_damaged_study_file_claims_nothing(folders, content):
    file = claim_study(small_study(file="config/a.yaml"))
    file.write_bytes(content)
    assert as_claimed(small_study(file="linked/a.yaml")).config_file == "linked/a.yaml"
