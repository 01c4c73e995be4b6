"""Checkpoints with a right checksum and a content that no training wrote."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from flops_fit.train.checkpoint import checksum, decode, encode, read_checkpoint
from hypothesis import strategies as st
from safetensors.torch import save_file

Place = tuple[Any, ...]  # keys and indices


def content_of(path: Path) -> dict:
    structure, tensors = read_checkpoint(path)
    return decode(structure, lambda keys, name: tensors[name].clone())


def write_content(path: Path, content: Any) -> None:
    """Write a checkpoint whose checksum is right."""
    write_structure(path, *encode(content))


def write_structure(path: Path, structure: str, tensors: dict[str, torch.Tensor]) -> None:
    metadata = {"structure": structure, "checksum": checksum(structure, tensors)}
    save_file(tensors, path, metadata)


DTYPES = [torch.float32, torch.float64, torch.int64, torch.uint8, torch.bool, torch.bfloat16]
TENSORS = st.builds(
    lambda shape, dtype, fill: torch.full(shape, fill).to(dtype),
    st.lists(st.integers(0, 3), max_size=3),
    st.sampled_from(DTYPES),
    st.sampled_from([0.0, 1.0, -1.0, 1e30, float("nan"), float("inf")]),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-20, 20),
    st.sampled_from([10**30, -(10**30), 10**400, 2**63, 1e308, -1e308, 5e-324, -0.0]),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["", "2026-13-01T00:00:00Z", "\n", "a\0b", "adamw"]),
)
KEYS = st.text(max_size=5) | st.integers(-2, 9) | st.booleans()
VALUES = st.recursive(
    SCALARS | TENSORS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=2).map(tuple),
        st.dictionaries(
            st.text(max_size=5) | st.integers(-2, 9) | st.booleans(), inner, max_size=3
        ),
    ),
    max_leaves=4,
)


def places(value: Any, path: Place = ()) -> Iterator[Place]:
    """Every place in a structure below its outermost container."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield (*path, key)
        if isinstance(item, dict | list | tuple):
            yield from places(item, (*path, key))


def at(content: Any, path: Place) -> Any:
    for key in path:
        content = content[key]
    return content


def put(content: Any, path: Place, value: Any) -> None:
    """Put a value in a place; tuples on the way there become new ones."""
    *before, last = path
    parent = at(content, before)
    if isinstance(parent, tuple):
        put(content, tuple(before), (*parent[:last], value, *parent[last + 1 :]))
    else:
        parent[last] = value


def remove(content: Any, path: Place) -> None:
    *before, last = path
    parent = at(content, before)
    if isinstance(parent, tuple):
        put(content, tuple(before), parent[:last] + parent[last + 1 :])
    else:
        del parent[last]


def altered_tensors(tensor: torch.Tensor) -> st.SearchStrategy:
    """A tensor of another shape or type, or one with other values."""

    def filled(value: float) -> torch.Tensor:
        flat = tensor.clone().reshape(-1)
        flat[:1] = torch.tensor(value).to(tensor.dtype)
        return flat.reshape(tensor.shape)

    flat = tensor.reshape(-1)
    return st.one_of(
        st.sampled_from(DTYPES).map(tensor.to),
        st.sampled_from([flat, flat[:-1], tensor[None], torch.stack([tensor, tensor])]),
        st.floats(width=32).map(filled),
    )


def altered_numbers(number: float) -> st.SearchStrategy:
    return st.sampled_from([number + 1, number - 1, -number, 0, 1, 2 * number + 3, str(number)])


def altered(value: Any) -> st.SearchStrategy:
    """Something else in the place of a value, often close to it."""
    if torch.is_tensor(value):
        return altered_tensors(value) | VALUES
    if isinstance(value, int | float) and not isinstance(value, bool):
        return altered_numbers(value) | VALUES
    if isinstance(value, dict):
        more = st.builds(lambda k, v: {**value, k: v}, st.text(max_size=5) | st.integers(), VALUES)
        return more | st.just(dict(reversed(value.items()))) | VALUES
    if isinstance(value, list | tuple):
        kind = type(value)
        return st.one_of(
            VALUES,
            VALUES.map(lambda item: kind([*value, item])),
            st.sampled_from([kind(reversed(value)), kind([*value, *value]), tuple(value)]),
        )
    return VALUES


class Forged:
    """A checkpoint with something else in one place, or nothing."""

    def __init__(self, place: Place, content: dict) -> None:
        self.place, self.content = place, content

    def __repr__(self) -> str:
        try:
            return f"{self.place}: {at(self.content, self.place)!r}"
        except (KeyError, IndexError):
            return f"nothing at {self.place}"


@st.composite
def forgeries(draw, checkpoint: Any) -> Forged:
    """Draw what became of the content of a checkpoint."""
    content = checkpoint.content
    first = draw(st.sampled_from(list(content)))
    below = [(first,)]
    if isinstance(content[first], dict | list):
        below += [(first, *path) for path in places(content[first])]
    place = draw(st.sampled_from(below))
    changed = copy.deepcopy(content)
    if draw(st.integers(0, 5)) == 0:
        remove(changed, place)
    else:
        put(changed, place, draw(altered(at(content, place))))
    return Forged(place, changed)
