"""Experiments that are launched as the train rule launches them, without Snakemake around."""

from launchpad import launchpad

__all__ = ["launchpad"]
