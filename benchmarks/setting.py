"""What a workload runs on: sizes, inputs on the host and on the device, and the chunk that suits NumPy."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import baselines, lanes, timing
from benchmarks.timing import Task
from jaxstake.economy.scenario import Scenario

MOST_BASELINE_LANES = 1 << 22
"""Lanes of a NumPy or Numba run at most: their time per lane no longer changes, and they are compared per lane."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """Sizes of a run."""

    lanes: int
    repeat: int

    @property
    def baseline_lanes(self) -> int:
        """Lanes of a NumPy or Numba run."""
        return min(self.lanes, MOST_BASELINE_LANES)

    @functools.cached_property
    def host(self) -> list[tuple[np.ndarray, ...]]:
        """Sets of ten columns."""
        return [tuple(lanes.sample(self.lanes, seed=seed)) for seed in range(timing.input_sets(40 * self.lanes))]

    @functools.cached_property
    def baseline(self) -> list[tuple[np.ndarray, ...]]:
        """The same, as long as the baselines take them."""
        return [tuple(column[: self.baseline_lanes] for column in columns) for columns in self.host]

    @functools.cached_property
    def device(self) -> list[list[jax.Array]]:
        """The same, where JAX computes."""
        return [[jnp.asarray(column) for column in columns] for columns in self.host]

    def ours(self, work: str, note: str, bytes_per_lane: int, function: Callable[..., Any]) -> Task:
        """A task of this package: a function of ten columns on the device."""
        sets = self.device
        by = f"jaxstake, {note}" if note else "jaxstake"
        return Task(
            work,
            by,
            self.lanes,
            bytes_per_lane,
            lambda turn: jax.block_until_ready(function(*sets[turn % len(sets)])),
        )

    def theirs(self, work: str, by: str, bytes_per_lane: int, function: Callable[..., Any]) -> Task:
        """A task of a baseline: a function of a tuple of ten columns on the host."""
        sets = self.baseline
        return Task(work, by, self.baseline_lanes, bytes_per_lane, lambda turn: function(sets[turn % len(sets)]))


@functools.cache
def constants() -> Any:
    """Of the default scenario, for the baselines."""
    return baselines.constants(Scenario())


@functools.cache
def numpy_chunk() -> int:
    """Lanes at a time at which NumPy is fastest on this machine."""
    columns = lanes.sample(1 << 19)
    seconds = {}
    for chunk in (1 << bits for bits in range(12, 19)):
        found = []
        for _ in range(4):
            start = time.perf_counter()
            baselines.value(columns, constants(), chunk=chunk)
            found.append(time.perf_counter() - start)
        seconds[chunk] = min(found)
    return min(seconds, key=lambda chunk: seconds[chunk])
