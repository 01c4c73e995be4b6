"""The checkpoint file: written aside and renamed, and verified by checksum when it is read.

A checkpoint is one safetensors file. Its metadata hold a JSON text that says where each tensor
belongs (nested dictionaries, lists and tuples, as the state of an optimizer is), and a checksum of
that text and of every tensor. Reading a checkpoint executes no code from the file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from flops_fit.files.writing import whole_file
from flops_fit.records.experiment_files import CHECKPOINT, PREVIOUS_CHECKPOINT

FORMAT = 1
Keys = tuple[Any, ...]  # keys and indices from the outermost container to a value


class UnusableCheckpointError(Exception):
    """The file is not a checkpoint that a training could resume from; the message says why."""


class UnsavableStateError(Exception):
    """A state that a checkpoint cannot hold; the message says where it is."""


def encode(content: Any) -> tuple[str, dict[str, torch.Tensor]]:
    """Split a nested structure into a JSON text and its tensors.

    Parameters
    ----------
    content
        Dictionaries (their keys text, numbers, truth values or tuples of them), lists, tuples,
        text, numbers, truth values, None, and tensors on the CPU.

    Raises
    ------
    UnsavableStateError
        If it holds anything else.
    """
    tensors: dict[str, torch.Tensor] = {}
    names: dict[tuple[Any, ...], str] = {}

    def add(tensor: torch.Tensor) -> str:
        tensor = tensor.detach().contiguous()
        if tensor.untyped_storage().nbytes() != tensor.nbytes:
            tensor = tensor.clone()  # a view: save only its own elements
        # A tensor that occurs in several places (tied weights) is saved once.
        same = (tensor.data_ptr(), tensor.dtype, tuple(tensor.shape))
        if tensor.numel() and same in names:
            return names[same]
        name = str(len(tensors))
        tensors[name], names[same] = tensor, name
        return name

    def walk(value: Any, path: Keys) -> Any:
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if torch.is_tensor(value):
            return {"tensor": add(value)}
        if isinstance(value, Mapping):
            return {
                "dict": [[walk(k, (*path, "key")), walk(v, (*path, k))] for k, v in value.items()]
            }
        if isinstance(value, list | tuple):
            kind = "list" if isinstance(value, list) else "tuple"
            return {kind: [walk(item, (*path, i)) for i, item in enumerate(value)]}
        where = ".".join(map(str, path))
        raise UnsavableStateError(
            f"{where} is a {type(value).__name__}, expected tensors, numbers, text, and "
            "dictionaries, lists or tuples of them"
        )

    return json.dumps(walk(content, ())), tensors


def decode(structure: str, fetch: Callable[[Keys, str], torch.Tensor]) -> Any:
    """Rebuild the nested structure that :func:`encode` split.

    Parameters
    ----------
    structure
        The JSON text.
    fetch
        Returns the tensor for a path in the structure, given its name; called in the order of the
        names in the text.
    """

    def walk(node: Any, path: Keys) -> Any:
        if not isinstance(node, dict):
            return node
        ((kind, items),) = node.items()
        if kind == "tensor":
            return fetch(path, items)
        if kind == "dict":
            found = {}
            for key, value in items:
                key = walk(key, path)
                found[key] = walk(value, (*path, key))
            return found
        values = [walk(item, (*path, i)) for i, item in enumerate(items)]
        return tuple(values) if kind == "tuple" else values

    return walk(json.loads(structure), ())


def checksum(structure: str, tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 of a structure and of its tensors: names, types, shapes and values."""
    digest = hashlib.sha256(structure.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def write_checkpoint(
    folder: str | Path,
    structure: str,
    tensors: Mapping[str, torch.Tensor],
    name: str = CHECKPOINT,
) -> None:
    """Write the newest checkpoint and keep its predecessor as the previous one.

    A file of another name has no predecessor.

    Raises
    ------
    OSError
        If it cannot be written; existing checkpoints stay as they were.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for forgotten in folder.glob(f".{name}.*.tmp"):  # left by a killed process
        forgotten.unlink(missing_ok=True)
    earlier = folder / PREVIOUS_CHECKPOINT if name == CHECKPOINT else None
    metadata = {"structure": structure, "checksum": checksum(structure, tensors)}
    with whole_file(folder / name, earlier=earlier) as aside:
        save_tensors(aside, tensors, metadata)


def read_checkpoint(path: str | Path) -> tuple[str, dict[str, torch.Tensor]]:
    """Return structure and tensors of a file whose checksum is right.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    UnusableCheckpointError
        If it is not a complete, undamaged checkpoint.
    """
    if not Path(path).stat().st_size:
        raise UnusableCheckpointError("it is empty")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            structure, expected = metadata["structure"], metadata["checksum"]
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        found = checksum(structure, tensors)
    except Exception as error:  # whatever the reader raises, the file is damaged
        raise UnusableCheckpointError(f"it is damaged ({error})") from None
    if found != expected:
        raise UnusableCheckpointError("it is damaged (its checksum does not match)")
    return structure, tensors


def write_weights(path: str | Path, weights: Mapping[str, torch.Tensor]) -> None:
    """Write a model's weights for the user, readable by ``safetensors.torch.load_file``."""
    with whole_file(path) as aside:
        save_tensors(aside, weights, {"format": "pt"})


def save_tensors(
    path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]
) -> None:
    """Write a safetensors file; a failure of the file system is raised as an OSError."""
    try:
        save_file(dict(tensors), path, metadata=dict(metadata))
    except SafetensorError as error:
        raise OSError(str(error)) from None
