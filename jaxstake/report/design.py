"""Which scenarios the report looks at: ranges of leaves around a base, and a grid of about as many lanes as asked."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxstake.core import leaves


@dataclasses.dataclass(frozen=True, kw_only=True)
class Range:
    """A leaf with the interval over which the report moves it, why that one, and its claim to fine steps."""

    leaf: str
    ends: Callable[[float], tuple[float, float]]
    reason: str
    weight: int
    log: bool = False


def _around(low: float, high: float) -> Callable[[float], tuple[float, float]]:
    return lambda base: (base * low, base * high)


def _between(low: float, high: float) -> Callable[[float], tuple[float, float]]:
    return lambda base: (min(low, base), max(high, base))


RANGES = (
    Range(
        leaf="network.total_stake_eth",
        ends=_around(0.5, 2.0),
        reason="half to twice the scenario's stake",
        weight=4,
        log=True,
    ),
    Range(
        leaf="block_value.log_mean",
        ends=lambda base: (base - math.log(3.0), base + math.log(3.0)),
        reason="a third to three times the scenario's",
        weight=4,
    ),
    Range(leaf="validator.uptime", ends=_between(0.9, 1.0), reason="down five weeks a year, to never down", weight=3),
    Range(leaf="costs.commission", ends=_between(0.0, 0.25), reason="none, to a quarter of the reward", weight=3),
    Range(
        leaf="network.participation",
        ends=_between(0.95, 1.0),
        reason="the worst days since 2023, to all votes",
        weight=2,
    ),
    Range(leaf="block_value.log_std", ends=_around(0.75, 1.5), reason="a thinner and a heavier tail", weight=2),
    Range(
        leaf="hazards.slashing_probability",
        ends=_between(0.0, 1e-3),
        reason="never, to one in a thousand a year",
        weight=2,
    ),
)
"""What the sweep moves, the leaves that deserve the finest steps first."""


def ranges(base: Any) -> dict[str, tuple[float, float]]:
    """Interval of every leaf of `RANGES` that the base has, clipped to the leaf's domain; by leaf name."""
    found, domains = {}, leaves.domains(base)
    for entry in RANGES:
        if entry.leaf in domains:
            domain = domains[entry.leaf]
            low, high = entry.ends(float(leaves.get(base, entry.leaf)))
            found[entry.leaf] = (max(low, domain.low), min(high, domain.high))
    return found


def counts(lanes: int, weights: Sequence[int]) -> list[int]:
    """Points per axis of a grid of at most `lanes` lanes, and as near as doubling axis after axis comes.

    Doublings are dealt in proportion to the weights; what then is left widens the first axis.

    Raises:
        ValueError: lanes is not positive.

    Example:
        >>> counts(1_048_576, [4, 4, 3, 3, 2, 2, 2]), counts(1000, [4, 4, 3])
        ([16, 16, 8, 8, 4, 4, 4], [31, 8, 4])
    """
    if lanes < 1:
        raise ValueError(f"lanes must be at least 1, got {lanes}")
    doublings = [0] * len(weights)
    while 2 ** (sum(doublings) + 1) <= lanes:
        claims = [weight / (dealt + 1) for weight, dealt in zip(weights, doublings, strict=True)]
        doublings[claims.index(max(claims))] += 1
    points = [2**dealt for dealt in doublings]
    points[0] = lanes // math.prod(points[1:])
    return points


def grid(base: Any, lanes: int) -> dict[str, np.ndarray]:
    """Axes of the sweep: equal steps (of the logarithm where the range says so); one point is the base itself."""
    entries = {entry.leaf: entry for entry in RANGES}
    ends = ranges(base)
    found, points_of = {}, counts(lanes, [entries[leaf].weight for leaf in ends])
    for (leaf, (low, high)), points in zip(ends.items(), points_of, strict=True):
        space = np.geomspace if entries[leaf].log else np.linspace
        found[leaf] = space(low, high, points) if points > 1 else np.array([float(leaves.get(base, leaf))])
    return found


def shares_of_variance(values: np.ndarray) -> list[float]:
    """Share of the variance over a full grid that each axis explains by itself; the rest is joint.

    Equation: `Var(mean of the values at a point of the axis) / Var(values)`, the first-order Sobol index of the grid.
    NaN where nothing varies; lanes that are NaN are left out.
    """
    values = np.asarray(values, dtype=float)
    total = float(np.nanvar(values))
    if not total > 0:
        return [math.nan] * values.ndim
    every = range(values.ndim)
    return [
        float(np.nanvar(np.nanmean(values, axis=tuple(other for other in every if other != axis)))) / total
        for axis in every
    ]
