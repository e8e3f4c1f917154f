"""Statistics of a sweep that need no lane kept: partial results per chunk on the device, merged on the host.

A chunk yields sums in its own precision around a pivot; the merge (Chan's formula) runs in double precision, so
that a billion float32 lanes lose no digits to their number. Quantiles and histograms take a second pass over the
sweep, between the smallest and the largest value that the first one found.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

NAMES = ("mean", "std", "min", "max", "argmin", "argmax", "quantiles", "histogram")
QUANTILE_LEVELS = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)
QUANTILE_BINS = 1 << 14
HISTOGRAM_BINS = 128
_ROW = 256  # running sums side by side: they vectorise, and float32 rounding grows 256 times slower


def needs_second_pass(reductions: tuple[str, ...]) -> bool:
    """Whether a pass between known bounds is needed."""
    return "quantiles" in reductions or "histogram" in reductions


def first_pass(values: jax.Array, valid: jax.Array, reductions: tuple[str, ...]) -> dict[str, jax.Array]:
    """Partial results of one chunk: count, mean, sum of squared deviations, extremes and their positions.

    Args:
        values: [L] one output over the lanes of a chunk.
        valid: [L] lanes that count.
        reductions: names wanted; what none of them needs is not computed.
    """
    count = jnp.sum(valid, dtype=jnp.int32)
    found: dict[str, jax.Array] = {"count": count}
    if not set(reductions).isdisjoint({"mean", "std"}):
        weight = jnp.maximum(count, 1).astype(values.dtype)
        pivot = values[jnp.argmax(valid)]
        mean = pivot + _sum(jnp.where(valid, values - pivot, 0)) / weight
        found["mean"] = mean
        if "std" in reductions:
            found["squares"] = _sum(jnp.where(valid, (values - mean) ** 2, 0))
    wants_range = needs_second_pass(reductions)
    if wants_range or not set(reductions).isdisjoint({"min", "argmin"}):
        found |= dict(zip(("min", "argmin"), _smallest(jnp.where(valid, values, jnp.inf)), strict=True))
    if wants_range or not set(reductions).isdisjoint({"max", "argmax"}):
        low, place = _smallest(jnp.where(valid, -values, jnp.inf))
        found |= {"max": -low, "argmax": place}
    return found


def second_pass(values: jax.Array, valid: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
    """Counts of one chunk in `QUANTILE_BINS` equal bins between two bounds, the ends included."""
    width = jnp.where(high > low, high - low, 1)
    place = jnp.floor((values - low) / width * QUANTILE_BINS)
    place = jnp.clip(jnp.where(valid, place, 0), 0, QUANTILE_BINS - 1).astype(jnp.int32)
    return jnp.zeros(QUANTILE_BINS, jnp.int32).at[place].add(valid.astype(jnp.int32))


@dataclasses.dataclass
class Accumulator:
    """Merged results of one output, in double precision and unbounded integers."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    min: float = math.inf
    max: float = -math.inf
    argmin: int = -1
    argmax: int = -1
    bins: np.ndarray | None = None

    def merge(self, partial: Mapping[str, Any], lane_of: Any) -> None:
        """Add a chunk; `lane_of` turns a position in it into the number of the lane."""
        count = int(partial["count"])
        if count == 0:
            return
        if "mean" in partial:
            step = float(partial["mean"]) - self.mean
            total = self.count + count
            self.squares += float(partial.get("squares", 0.0)) + step**2 * self.count * count / total
            self.mean += step * count / total
        self.count += count
        if "min" in partial and float(partial["min"]) < self.min:
            self.min, self.argmin = float(partial["min"]), lane_of(int(partial["argmin"]))
        if "max" in partial and float(partial["max"]) > self.max:
            self.max, self.argmax = float(partial["max"]), lane_of(int(partial["argmax"]))

    def merge_bins(self, counts: np.ndarray) -> None:
        """Add the counts of a chunk."""
        self.bins = counts.astype(np.int64) if self.bins is None else self.bins + counts

    def statistic(self, name: str) -> float:
        """One number by name; NaN if no lane was valid."""
        if self.count == 0:
            return math.nan
        if name == "std":
            return math.sqrt(self.squares / self.count)
        return float(getattr(self, name))


def bin_edges(accumulator: Accumulator, bins: int) -> np.ndarray:
    """[bins + 1] edges between the extremes; NaN if no lane was valid."""
    if accumulator.count == 0:
        return np.full(bins + 1, np.nan)
    high = accumulator.max if accumulator.max > accumulator.min else accumulator.min + 1.0
    return np.linspace(accumulator.min, high, bins + 1)


def histogram(accumulator: Accumulator) -> np.ndarray:
    """[HISTOGRAM_BINS] counts."""
    if accumulator.bins is None:
        return np.zeros(HISTOGRAM_BINS, np.int64)
    return accumulator.bins.reshape(HISTOGRAM_BINS, -1).sum(axis=1)


def quantiles(accumulator: Accumulator) -> np.ndarray:
    """Values at `QUANTILE_LEVELS`, by linear interpolation of the cumulative counts.

    Their error is at most one bin, `(max - min) / QUANTILE_BINS`; values never leave the extremes.
    """
    edges = bin_edges(accumulator, QUANTILE_BINS)
    if accumulator.bins is None or accumulator.max <= accumulator.min:
        return np.full(len(QUANTILE_LEVELS), edges[0])
    cumulative = np.concatenate([[0], np.cumsum(accumulator.bins)])
    wanted = np.asarray(QUANTILE_LEVELS) * cumulative[-1]
    place = np.clip(np.searchsorted(cumulative, wanted, side="left") - 1, 0, QUANTILE_BINS - 1)
    inside = (wanted - cumulative[place]) / np.maximum(accumulator.bins[place], 1)
    return edges[place] + np.clip(inside, 0.0, 1.0) * (edges[place + 1] - edges[place])


def _sum(values: jax.Array) -> jax.Array:
    """Sum of a vector as 256 running sums."""
    return jnp.sum(jnp.sum(_rows(values, 0), axis=0))


def _smallest(values: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Smallest value of a vector without NaN, and its first position; several times faster on a CPU than argmin."""
    low = jnp.min(jnp.min(_rows(values, jnp.inf), axis=0))
    place = jnp.where(values == low, jnp.arange(values.size, dtype=jnp.int32), values.size)
    return low, jnp.min(jnp.min(_rows(place, values.size), axis=0))


def _rows(values: jax.Array, padding: Any) -> jax.Array:
    """A vector as rows of `_ROW`, padded."""
    return jnp.pad(values, (0, -values.size % _ROW), constant_values=padding).reshape(-1, _ROW)
