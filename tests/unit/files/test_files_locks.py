"""Locks: alone or shared, and who holds them when the one who took them is gone."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from flops_fit.files.locks import is_locked, lock, lock_if_free, remove_if_free


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


def test_a_file_is_removed_only_while_nobody_holds_it(tmp_path):
    path = tmp_path / "lock"
    for shared in (True, False):
        with lock(path, shared=shared):
            assert not remove_if_free(path)
            assert path.exists()
    assert remove_if_free(path)
    assert not path.exists()


@pytest.mark.parametrize(
    "take", [lock, lock_if_free, partial(lock, shared=True)], ids=["alone", "if free", "shared"]
)
def test_a_lock_is_on_the_file_that_others_find(tmp_path, monkeypatch, take):
    """Whoever removes it is between the opening and the lock, as luck has it."""
    path = tmp_path / "lock"
    path.touch()
    flock, opened = fcntl.flock, []

    def late(file, how):
        if not opened:
            opened.append(file)
            assert remove_if_free(path)
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with take(path):
        monkeypatch.undo()
        assert path.exists()
        assert lock_if_free(path) is None
    assert opened[0].closed


def test_a_lock_is_held_once_while_others_remove_the_file(tmp_path):
    path, inside, most, done = tmp_path / "lock", [], [0], threading.Event()

    def hold() -> None:
        for _ in range(300):
            with lock(path):
                inside.append(None)
                time.sleep(0.0002)  # let the others run
                most[0] = max(most[0], len(inside))
                inside.pop()

    def remove() -> None:
        while not done.is_set():
            remove_if_free(path)

    removing = threading.Thread(target=remove)
    removing.start()
    with ThreadPoolExecutor(4) as pool:
        holding = [pool.submit(hold) for _ in range(4)]
    done.set()
    removing.join()
    assert [future.result() for future in holding] == [None] * 4
    assert most == [1]
