"""What holds for all tests."""

from __future__ import annotations

import os
import signal

# The tests train on the CPU, also on a machine with GPUs, but for those that need one
# (tests/distributed/test_gpus.py), which find here what was visible.
os.environ.setdefault("FLOPS_FIT_TEST_GPUS", os.environ.get("CUDA_VISIBLE_DEVICES", "all"))
os.environ["CUDA_VISIBLE_DEVICES"] = ""

# Waiting threads sleep: beside other work, spinning ones take many times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Shells start background jobs with interrupts ignored, and children inherit that; tests send
# interrupts to the processes that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
