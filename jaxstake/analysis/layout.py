"""How a sweep is cut into chunks of one shape, so that one compilation serves them all.

A grid chunk is a box: one value of each leading axis, a block of one axis, and all values of the trailing ones.
A zip chunk is a block of lanes. Lanes are counted in row-major order of the axes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Literal

import numpy as np

Mode = Literal["grid", "zip"]


@dataclasses.dataclass(frozen=True)
class Layout:
    """The shape of a sweep and of its chunks.

    Attributes:
        mode: "grid" (every combination) or "zip" (axes side by side).
        names: swept leaves, in order.
        shape: length of each axis; for a zip the number of lanes alone.
        split: the axis that chunks cut; those before it are walked one value at a time.
        block: length of a chunk along it; the last block may reach past its end.
    """

    mode: Mode
    names: tuple[str, ...]
    shape: tuple[int, ...]
    split: int
    block: int

    @property
    def lanes(self) -> int:
        """Lanes of the whole sweep."""
        return math.prod(self.shape)

    @property
    def chunk_shape(self) -> tuple[int, ...]:
        """Lengths of a chunk along the split axis and those after it."""
        return (self.block, *self.shape[self.split + 1 :])

    @property
    def chunk_lanes(self) -> int:
        """Lanes of one chunk, the padding of the last included."""
        return math.prod(self.chunk_shape)

    @property
    def inner_lanes(self) -> int:
        """Lanes of a chunk per value of the split axis."""
        return math.prod(self.chunk_shape[1:])

    @property
    def blocks(self) -> int:
        """Blocks along the split axis."""
        return -(-self.shape[self.split] // self.block)

    @property
    def chunks(self) -> int:
        """Chunks of the whole sweep."""
        return math.prod(self.shape[: self.split]) * self.blocks


def plan(axes: Mapping[str, np.ndarray], *, mode: Mode, chunk: int) -> Layout:
    """Cut a sweep into equal chunks of about, and never more than, `chunk` lanes.

    Example:
        >>> layout = plan({"a": np.zeros(3), "b": np.zeros(10), "c": np.zeros(4)}, mode="grid", chunk=20)
        >>> layout.chunk_shape, layout.chunks, layout.lanes
        ((5, 4), 6, 120)
    """
    names = tuple(axes)
    shape = tuple(len(values) for values in axes.values()) if mode == "grid" else (len(axes[names[0]]),)
    split = len(shape) - 1
    while split > 0 and math.prod(shape[split:]) <= chunk:
        split -= 1
    most = max(1, chunk // math.prod(shape[split + 1 :]))
    blocks = -(-shape[split] // most)
    return Layout(mode=mode, names=names, shape=shape, split=split, block=-(-shape[split] // blocks))


@dataclasses.dataclass(frozen=True)
class Chunk:
    """One chunk: its number, where its results belong, and how much of its block is real."""

    index: int
    leading: tuple[int, ...]
    start: int
    length: int

    @property
    def region(self) -> tuple[int | slice, ...]:
        """Index of the chunk's results in an array of the sweep's shape."""
        return (*self.leading, slice(self.start, self.start + self.length))


def chunk_at(layout: Layout, index: int) -> Chunk:
    """The chunk of that number, in row-major order."""
    *leading, block = np.unravel_index(index, (*layout.shape[: layout.split], layout.blocks))
    start = int(block) * layout.block
    length = min(layout.block, layout.shape[layout.split] - start)
    return Chunk(index=index, leading=tuple(int(i) for i in leading), start=start, length=length)


def values_at(layout: Layout, axes: Mapping[str, np.ndarray], chunk: Chunk) -> dict[str, np.ndarray]:
    """Axis values of a chunk: scalars, then a block padded with its last value, then whole axes (zip: blocks)."""
    stop = chunk.start + chunk.length

    def block(values: np.ndarray) -> np.ndarray:
        part = values[chunk.start : stop]
        missing = layout.block - chunk.length
        return np.concatenate([part, np.repeat(part[-1:], missing)]) if missing else part

    if layout.mode == "zip":
        return {name: block(values) for name, values in axes.items()}
    found: dict[str, np.ndarray] = {}
    for axis, (name, values) in enumerate(axes.items()):
        if axis < layout.split:
            found[name] = values[chunk.leading[axis]]
        else:
            found[name] = block(values) if axis == layout.split else values
    return found


def lane_of(layout: Layout, chunk: Chunk, position: int) -> int:
    """Number in the sweep of the lane at a position of a chunk, both row-major."""
    if layout.mode == "zip":
        return chunk.start + position
    inner = np.unravel_index(position, layout.chunk_shape)
    where = (*chunk.leading, chunk.start + int(inner[0]), *(int(i) for i in inner[1:]))
    return _ravel(where, layout.shape)


def coordinates(layout: Layout, axes: Mapping[str, np.ndarray], lane: int) -> dict[str, float]:
    """Values of the swept leaves at a lane."""
    if layout.mode == "zip":
        return {name: float(values[lane]) for name, values in axes.items()}
    found: dict[str, float] = {}
    for name, values in reversed(list(axes.items())):
        lane, place = divmod(lane, len(values))
        found[name] = float(values[place])
    return {name: found[name] for name in axes}


def _ravel(where: tuple[int, ...], shape: tuple[int, ...]) -> int:
    """Row-major number of an index, in unbounded integers."""
    lane = 0
    for place, length in zip(where, shape, strict=True):
        lane = lane * length + place
    return lane
