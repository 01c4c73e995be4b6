"""Files are written whole or not at all."""

from __future__ import annotations

import errno
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import flops_fit
import pytest
from flops_fit.files.writing import whole_file, write_json, write_whole

WORKFLOW = Path(flops_fit.__file__).resolve().parent.parent


def test_write_whole_creates_folders_and_leaves_nothing_else(tmp_path):
    file = tmp_path / "a" / "b.txt"
    write_whole(file, "first\n")
    write_whole(file, "zweitens: ü\n")
    assert file.read_bytes() == "zweitens: ü\n".encode()
    assert os.listdir(file.parent) == ["b.txt"]


def test_a_write_that_fails_keeps_the_old_file(tmp_path):
    file = tmp_path / "b.txt"
    write_whole(file, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(file, "half of it, then \ud800")
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["b.txt"]


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_json_that_is_not_json_is_not_written(tmp_path, number):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"loss": number})
    assert os.listdir(tmp_path) == []


def test_a_reader_never_sees_half_a_file(tmp_path):
    """A process writes files of very different lengths while this one reads."""
    file = tmp_path / "record.json"
    write_json(file, {"n": 0, "ballast": []})
    code = """
import sys
from flops_fit.files.writing import write_json

for n in range(1, 301):
    write_json(sys.argv[1], {"n": n, "ballast": list(range(5000 * (n % 2)))})
"""
    writer = subprocess.Popen(
        [sys.executable, "-c", code, str(file)],
        env={**os.environ, "PYTHONPATH": str(WORKFLOW)},
    )
    seen = []
    while writer.poll() is None:
        content = json.loads(file.read_text(encoding="utf-8"))
        assert len(content["ballast"]) == 5000 * (content["n"] % 2)
        seen.append(content["n"])
    assert writer.returncode == 0
    assert json.loads(file.read_text(encoding="utf-8"))["n"] == 300
    assert seen == sorted(seen)
    assert len(set(seen)) > 2  # else this has read nothing while something was written
    assert os.listdir(tmp_path) == ["record.json"]


def test_interrupted_write_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "table.md"
    path.write_text("earlier")

    def write_half():
        with whole_file(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_files_are_readable_like_any_other(tmp_path):
    plain, whole = tmp_path / "plain", tmp_path / "whole"
    plain.write_text("")
    with whole_file(whole) as temporary:
        temporary.write_text("")
    assert whole.stat().st_mode == plain.stat().st_mode


def test_the_earlier_file_is_kept_where_it_is_wanted(tmp_path):
    newest, earlier = tmp_path / "newest", tmp_path / "earlier"
    for text in ("1", "2", "3"):
        with whole_file(newest, earlier=earlier) as aside:
            aside.write_text(text)
    assert (newest.read_text(), earlier.read_text()) == ("3", "2")
    assert sorted(os.listdir(tmp_path)) == ["earlier", "newest"]


def test_what_is_renamed_is_on_the_disk_already(tmp_path, monkeypatch):
    """Where the disk refuses, both files stay as they were, and the error names the right one."""
    newest, earlier = tmp_path / "newest", tmp_path / "earlier"
    newest.write_text("2")
    earlier.write_text("1")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:  # noqa: SIM117
        with whole_file(newest, earlier=earlier) as aside:
            aside.write_text("3")
    assert caught.value.filename == str(newest)
    assert (newest.read_text(), earlier.read_text()) == ("2", "1")
    assert sorted(os.listdir(tmp_path)) == ["earlier", "newest"]


def test_an_error_about_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:  # noqa: SIM117
        with whole_file(tmp_path / "file"):
            (tmp_path / "another").read_text()
    assert caught.value.filename == str(tmp_path / "another")
