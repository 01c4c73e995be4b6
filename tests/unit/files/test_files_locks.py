"""Locks: alone or shared, and who holds them when the one who took them is gone."""

from __future__ import annotations

import subprocess
import sys

import pytest
from flops_fit.files.locks import is_locked, lock, lock_if_free


def test_a_lock_is_held_once_and_until_its_file_is_closed(tmp_path):
    path = tmp_path / "lock"
    assert not is_locked(path)
    assert not path.exists()  # whoever only asks leaves no file
    with lock_if_free(path):
        assert is_locked(path)
        assert lock_if_free(path) is None
    assert not is_locked(path)
    with lock(path):
        assert lock_if_free(path) is None


def test_shared_locks_stand_beside_each_other(tmp_path):
    path = tmp_path / "lock"
    with lock(path, shared=True), lock(path, shared=True):
        assert not is_locked(path)  # not by one alone
        assert lock_if_free(path) is None
    with lock_if_free(path):
        pass


@pytest.mark.parametrize("inheritable", [True, False])
def test_a_child_holds_the_locks_that_it_inherits(tmp_path, inheritable):
    path = tmp_path / "lock"
    file = lock_if_free(path, inheritable=inheritable)
    child = subprocess.Popen(
        [sys.executable, "-c", "print(input('started\\n'), flush=True)"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, close_fds=False,
    )  # fmt: skip
    file.close()
    assert child.stdout.readline() == "started\n"  # only now has it closed what it has no part in
    assert is_locked(path) is inheritable
    child.communicate("\n")
    assert not is_locked(path)


def test_what_is_no_file_cannot_be_locked(tmp_path):
    assert not is_locked(tmp_path)
    with pytest.raises(IsADirectoryError):
        lock_if_free(tmp_path)
    with pytest.raises(FileNotFoundError):
        lock(tmp_path / "missing" / "lock")
