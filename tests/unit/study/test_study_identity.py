"""The fingerprint behind every id, and how little is imported to read a study."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path

import flops_fit
import pytest
from flops_fit.study.identity import fingerprint

WORKFLOW = Path(flops_fit.__file__).resolve().parent.parent


def test_a_fingerprint_is_the_hash_of_the_one_spelling():
    text = '{"a":[1,2.5,null],"b":"\\u00e9"}'  # sorted, no spaces, ASCII
    assert (
        fingerprint({"b": "é", "a": (1, 2.5, None)})
        == hashlib.sha256(text.encode("ascii")).hexdigest()[:12]
    )


def test_a_fingerprint_of_nan_does_not_exist():
    with pytest.raises(ValueError, match="not JSON compliant"):
        fingerprint({"a": math.nan})


def test_what_the_workflow_imports_at_parse_time_is_light():
    """Dry runs start at once only as long as none of these modules imports torch."""
    modules = (
        "study.study", "study.claim", "plan.plan", "launch.launcher", "launch.resources",
        "records.merged_runs", "user_code.importable", "user_code.dataset_contract",
        "user_code.loss_contract", "user_code.source_fingerprint", "pipeline.fitting",
        "pipeline.status", "pipeline.script",
    )  # fmt: skip
    imports = "".join(f"import flops_fit.{name}\n" for name in modules)
    code = f"import sys\n{imports}print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(WORKFLOW)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False\n"
