"""One configuration file under several names is one study, with nothing to do again."""

from __future__ import annotations

import subprocess

from checkout import environment
from mounts import MOUNT, needs_mounts

# As on a disk that is mounted twice, or one that does not tell letter cases apart.
TWO_NAMES = """
set -e
mount --bind config/studies again
exec snakemake -n --configfile again/tiny.yaml
"""


@needs_mounts
def test_a_configuration_under_a_second_name_keeps_its_study(finished):
    before = (finished.study / "study.json").read_bytes()
    (finished.path / "again").mkdir()
    done = subprocess.run(
        [*MOUNT, TWO_NAMES], cwd=finished.path, env=environment(), text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "Nothing to be done" in done.stdout
    assert (finished.study / "study.json").read_bytes() == before


def test_a_symbolic_link_and_an_absolute_path_are_the_file_itself(finished):
    (finished.path / "linked").symlink_to("config")
    absolute = finished.path / "linked" / "studies" / ".." / "studies" / "tiny.yaml"
    assert "Nothing to be done" in finished.succeed("-n", config=str(absolute))
