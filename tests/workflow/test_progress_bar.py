"""A person at a terminal sees a progress bar; a file gets plain lines."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios

from checkout import environment


def run_in_terminal(command, cwd):
    """Run a command whose output is a pseudo-terminal; return its status and what was shown."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
    process = subprocess.Popen(
        command, cwd=cwd, env=environment() | {"TERM": "xterm"},
        stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    return process.wait(timeout=60), shown.decode(errors="replace")


def test_terminal_shows_a_bar_with_loss_and_rate_and_the_log_file_has_plain_lines(checkout):
    checkout.configure(lambda c: c["plan"].update(budgets=[1e7], tokens_per_param=[1, 1e6]))
    checkout.succeed("plan")
    first = (checkout.study / "plan.csv").read_text().splitlines()[1]
    run_id = first.split(",")[0]
    target = f"results/tiny/runs/{run_id}.json"
    command = ["snakemake", target, "--cores", "1", "--configfile", "config/studies/tiny.yaml"]
    status, shown = run_in_terminal(command, checkout.path)
    assert status == 0, shown
    bars = re.findall(r"\r(width=2 C=1e\+07: .*?samples/s[^\r]*)", shown)
    assert bars, shown
    assert any(re.search(r"loss \d\.\d{4}", bar) for bar in bars)
    log = (checkout.study / "logs" / f"{run_id}.log").read_text()
    assert "\r" not in log
    assert f"{run_id}: completed, loss" in log


def test_without_a_terminal_there_are_plain_lines(trained):
    _, output = trained
    assert "completed, loss" in output
    assert "\r" not in output
    assert "%|" not in output
