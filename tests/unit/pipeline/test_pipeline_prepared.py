"""Where a study reads what was measured on its dataset, and when that is prepared (again)."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
from flops_fit.errors import UserError
from flops_fit.files.locks import is_locked
from flops_fit.files.writing import write_json, write_whole
from flops_fit.pipeline import preparing
from flops_fit.pipeline.prepared import copy_of_meta, measured_dataset
from flops_fit.user_code.dataset_meta import DatasetMeta
from hand_computed import small_study

META = asdict(
    DatasetMeta(
        target="data:Data", kwargs={}, version=1, unit="token", units_per_sample=4,
        units_train=120, units_validation=280, content_fingerprint="abc",
    )
)  # fmt: skip
DATA, STUDY = Path("results/data/0123456789ab"), Path("results/tiny")
SHARED = DATA / "meta.json"


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def copy() -> Path:
    return Path(copy_of_meta(DATA, STUDY))


def both_see(path: Path) -> None:
    """The main process and then its jobs read the measurements from a path."""
    assert measured_dataset(DATA, STUDY, main=True) == str(path)
    assert measured_dataset(DATA, STUDY, main=False) == str(path)


def test_a_fresh_study_makes_a_copy_even_if_another_one_prepares_the_dataset_meanwhile(copy):
    both_see(copy)
    write_json(SHARED, META)
    write_json(copy, META)
    both_see(copy)


def test_a_dataset_that_is_prepared_already_is_read_as_it_is(copy):
    write_json(SHARED, META)
    both_see(SHARED)
    assert not copy.exists()


def test_a_copy_goes_with_the_dataset_that_it_was_made_of(copy):
    write_json(copy, META)
    both_see(copy)
    assert not copy.exists()
    write_json(copy, META)
    write_json(SHARED, META | {"content_fingerprint": "other"})
    both_see(SHARED)
    assert not copy.exists()


def test_only_the_main_process_removes_and_moves_files(copy):
    write_json(copy, META)
    write_whole(SHARED, "{")
    assert measured_dataset(DATA, STUDY, main=False) == str(copy)
    assert copy.exists()
    assert SHARED.exists()


def test_another_dataset_leaves_the_copy_of_a_running_study_alone(copy):
    write_json(SHARED, META)
    write_json(copy, META)
    measured_dataset("results/data/ba9876543210", STUDY, main=True)
    both_see(copy)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_a_damaged_meta_is_named_and_made_again_in_the_same_run(copy, content, capsys):
    write_json(copy, META)
    write_whole(SHARED, content)
    both_see(copy)
    assert not copy.exists()
    assert SHARED.with_name("meta.json.damaged").read_text() == content
    assert capsys.readouterr().err.startswith(f"{SHARED}: ")


def test_files_that_cannot_be_read_are_one_sentence(copy):
    SHARED.mkdir(parents=True)
    with pytest.raises(UserError, match=r"meta.json: cannot be accessed \(Is a directory\)"):
        measured_dataset(DATA, STUDY, main=True)


@pytest.fixture
def prepared(monkeypatch) -> list[str]:
    """The names of the studies whose dataset was prepared; to do so just writes the file."""
    names = []

    def prepare(study, meta):
        names.append(study.name)
        assert is_locked(f"{DATA}.lock")
        write_json(meta, META)

    monkeypatch.setattr(preparing, "prepare", prepare)
    return names


def test_a_dataset_is_prepared_once_and_again_when_it_is_damaged(prepared, capsys):
    preparing.prepare_once(small_study(), SHARED)
    preparing.prepare_once(small_study(), SHARED)
    assert len(prepared) == 1
    write_whole(SHARED, "{")
    preparing.prepare_once(small_study(), SHARED)
    assert len(prepared) == 2
    assert not is_locked(f"{DATA}.lock")
    assert "waits" not in capsys.readouterr().err


def test_a_failed_preparation_leaves_no_lock(prepared, monkeypatch):
    monkeypatch.setattr(preparing, "prepare", lambda study, meta: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        preparing.prepare_once(small_study(), SHARED)
    assert not is_locked(f"{DATA}.lock")
