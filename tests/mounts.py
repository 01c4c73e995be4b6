"""File systems of a test's own: small ones, and a folder under a second name."""

from __future__ import annotations

import subprocess
import sys

import pytest

# In a mount namespace of its own, so that nobody else sees the mounts, and they end with it.
MOUNT = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
_WORKS = "mount -t tmpfs tmpfs /tmp"

needs_mounts = pytest.mark.skipif(
    sys.platform != "linux" or subprocess.run([*MOUNT, _WORKS], check=False).returncode != 0,
    reason="needs to mount in a namespace of its own (Linux: as root, or with user namespaces)",
)
