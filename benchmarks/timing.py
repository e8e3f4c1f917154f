"""Timing: implementations take turns, so that a busy machine slows all of them alike; medians of what is left."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

SLOW_SECONDS = 2.0
"""A run this long is repeated a third as often."""


@dataclasses.dataclass(frozen=True)
class Task:
    """One implementation of one workload.

    Attributes:
        work: the workload; tasks of one workload are compared lane by lane.
        by: the implementation: "jaxstake", "NumPy" or "Numba", with a note after a comma.
        lanes: lanes of one run.
        bytes_per_lane: what must be read and written per lane, at least; 0 if there is no such number.
        run: does the work on one of several sets of inputs and returns when it is done.
    """

    work: str
    by: str
    lanes: int
    bytes_per_lane: int
    run: Callable[[int], Any]


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds: first call less a later one, median and least of the repeats, and processor time of the median."""

    compile: float
    run: float
    best: float
    cpu: float


def measure(tasks: Sequence[Task], *, repeat: int) -> list[Timing]:
    """Time every task, taking turns."""
    first = [_once(task, 0)[0] for task in tasks]
    warm = [_once(task, 1)[0] for task in tasks]
    counts = [repeat if seconds < SLOW_SECONDS else max(2, repeat // 3) for seconds in warm]
    runs: list[list[tuple[float, float]]] = [[] for _ in tasks]
    for turn in range(repeat):
        for task, count, found in zip(tasks, counts, runs, strict=True):
            if turn < count:
                found.append(_once(task, turn))
    timings = []
    for seconds, found in zip(first, runs, strict=True):
        wall, cpu = zip(*found, strict=True)
        run = statistics.median(wall)
        timings.append(Timing(max(0.0, seconds - run), run, min(wall), statistics.median(cpu)))
    return timings


def input_sets(bytes_of_one: int) -> int:
    """How many sets of inputs to rotate, so that none is in cache from the run before."""
    return int(min(8, max(1, -(-(256 << 20) // bytes_of_one))))


def copy_bandwidth(*, quick: bool = False) -> float:
    """Bytes read and written per second by a large copy on the default device, the best of several ways."""
    size = 1 << (24 if quick else 26 if jax.default_backend() == "cpu" else 29)
    source, target = jnp.ones(size, jnp.float32), jnp.zeros(size, jnp.float32)
    fresh = jax.jit(lambda values, one: values + one)
    into = jax.jit(lambda _, values, one: values + one, donate_argnums=0, keep_unused=True)
    one = np.float32(1)
    best = float("inf")
    for turn in range(6):
        start = time.perf_counter()
        target = jax.block_until_ready(into(target, source, one))
        middle = time.perf_counter()
        jax.block_until_ready(fresh(source, one))
        end = time.perf_counter()
        if turn:  # the first turn compiles
            best = min(best, middle - start, end - middle)
    return 8.0 * size / best


def _once(task: Task, turn: int) -> tuple[float, float]:
    cpu, start = time.process_time(), time.perf_counter()
    task.run(turn)
    return time.perf_counter() - start, time.process_time() - cpu
