"""What holds for all tests."""

from __future__ import annotations

import signal

# Shells start background jobs with interrupts ignored, and children inherit that; tests send
# interrupts to the processes that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
