"""Checks of the accelerate configuration file that a study may name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from flops_fit.errors import UserError

DATA_PARALLEL = ("NO", "MULTI_GPU", False)  # YAML 1.1 reads a bare NO as false
OTHER_PARALLELISM = ("parallelism_config", "deepspeed_config", "megatron_lm_config", "fp8_config")


def asks_for_shards(path: str | Path) -> bool:
    """Return whether a file asks to shard parameters over the processes (FSDP2).

    Parameters
    ----------
    path
        A file as ``accelerate config`` writes it.

    Raises
    ------
    UserError
        If it is not such a file, or asks for a parallelism under which the trainer would silently
        go wrong.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        content = None
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: is no configuration file of accelerate (YAML)")
    for key in OTHER_PARALLELISM:
        if content.get(key):
            raise UserError(
                f"{path}: {key}: found {content[key]!r}, expected no such key: experiments are "
                "trained data parallel, with whole (MULTI_GPU) or sharded (FSDP) parameters"
            )
    if content.get("gpu_ids", "all") not in ("all", None):
        raise UserError(
            f"{path}: gpu_ids: found {content['gpu_ids']!r}, expected all, or no such key: every "
            "experiment leases GPUs of its own (CUDA_VISIBLE_DEVICES chooses among which)"
        )
    if content.get("use_cpu"):
        raise UserError(
            f"{path}: use_cpu: found {content['use_cpu']!r}, expected false: to train on the CPU "
            "of a machine with GPUs, set CUDA_VISIBLE_DEVICES= (empty)"
        )
    kind = content.get("distributed_type", "NO")
    if kind == "FSDP":
        _check_fsdp(content.get("fsdp_config") or {}, path)
        return True
    if kind not in DATA_PARALLEL:
        raise UserError(
            f"{path}: distributed_type: found {kind!r}, expected MULTI_GPU, FSDP or NO: "
            "experiments are trained data parallel, with whole or sharded parameters"
        )
    return False


def _check_fsdp(config: Any, path: str | Path) -> None:
    version = config.get("fsdp_version", 1) if isinstance(config, Mapping) else None
    if version not in (2, "2"):
        raise UserError(
            f"{path}: fsdp_config.fsdp_version: found {version!r}, expected 2: flops-fit shards "
            "with PyTorch's fully_shard"
        )
