"""One record, written once, by the main process, whole at every instant."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

# Python calls this before anything else: every process of the launch reports its renames and links.
TRACER = """
import os
import sys


def trace(event, arguments):
    if event in ("os.rename", "os.link"):
        rank = os.environ.get("RANK", "-")
        line = f"{event} rank={rank} {arguments[0]} {arguments[1]}\\n"
        handle = os.open(os.environ["TRACE_FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, line.encode())
        os.close(handle)


sys.addaudithook(trace)
"""


def test_two_processes_write_one_record_once_and_leave_nothing_behind(launchpad, tmp_path):
    launchpad.config["train"]["processes"] = 2
    run_id = launchpad.plan()[0]
    (tmp_path / "tracer").mkdir()
    (tmp_path / "tracer" / "sitecustomize.py").write_text(TRACER)
    trace = tmp_path / "trace.log"
    path = f"{tmp_path / 'tracer'}:{launchpad.environment()['PYTHONPATH']}"
    launchpad.launch(run_id, PYTHONPATH=path, TRACE_FILE=str(trace))
    lines = trace.read_text().splitlines()
    target = str(launchpad.study / "runs" / f"{run_id}.json")
    written = [line for line in lines if line.endswith(target)]
    assert len(written) == 1
    assert "rank=0" in written[0]
    stored = str(launchpad.study / "state" / run_id / "record.json")
    (kept,) = [line for line in lines if line.endswith(stored)]
    assert "rank=0" in kept
    assert [path for path in launchpad.study.rglob("*") if path.name.endswith(".tmp")] == []


@pytest.mark.parametrize("experiments", [4, pytest.param(20, marks=pytest.mark.long)])
def test_a_reader_never_sees_a_partial_record(launchpad, experiments):
    """Experiments finish while a reader polls their files as fast as it can."""
    launchpad.config["plan"]["budgets"] = [2e5]
    launchpad.config["plan"]["seeds"] = list(range(7))
    ids = launchpad.plan()[:experiments]
    assert len(ids) == experiments
    folder = launchpad.study / "runs"
    folder.mkdir()
    seen: dict[str, int] = {}
    broken: list[str] = []
    done = threading.Event()
    reader = threading.Thread(target=poll, args=(folder, seen, broken, done))
    reader.start()
    try:
        for pair in zip(ids[::2], ids[1::2], strict=True):
            processes = [launchpad.start(run_id) for run_id in pair]
            for process in processes:
                output, _ = process.communicate(timeout=300)
                assert process.returncode == 0, output
    finally:
        done.set()
        reader.join()
    assert broken == []
    assert set(seen) == set(ids)


def poll(folder: Path, seen: dict[str, int], broken: list[str], done: threading.Event) -> None:
    last = False
    while not last:
        last = done.is_set()  # one more look after the end
        for path in folder.iterdir():
            if path.name.startswith("."):
                continue
            try:
                record = json.loads(path.read_text())
                assert record["id"] == path.stem
            except (ValueError, KeyError, AssertionError) as error:
                broken.append(f"{path.name}: {error!r}")
            seen[path.stem] = seen.get(path.stem, 0) + 1
