"""Experiments that are launched as the train rule launches them, without Snakemake around."""

from launchpad import launchpad
from leasing import node

__all__ = ["launchpad", "node"]
