"""One training process, from its start on."""

from __future__ import annotations

import os
import subprocess
import sys

from checkout import ROOT

# Prints whether the parent was looked at, at the moment that torch is imported.
START = """
import sys

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            sys.exit(str("flops_fit.launch.signals" in sys.modules))

sys.meta_path.insert(0, Watch())
import flops_fit.train.process
"""


def test_a_process_knows_its_parent_before_the_imports_that_take_seconds():
    done = subprocess.run(
        [sys.executable, "-c", START], text=True, check=False, capture_output=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "workflow")},
    )  # fmt: skip
    assert done.stderr == "True\n"
