"""Intervals of the weights and of the strength from signed slopes, valid at the edge of the simplex too.

A weight is a ratio of slopes. Its interval is a profile: all values for which some slopes `b = k w`, none negative,
are no further from the estimate than the quantile of chi-squared allows, measured by the clustered covariance. Inside
the simplex this is Fieller's interval; where the strength may be 0 every weight is allowed, as it should be.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

CHI_SQUARED = {0.90: 2.7055434540954, 0.95: 3.8414588206941, 0.99: 6.6348966010212}
"""Quantiles of the chi-squared law with one degree of freedom."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Intervals:
    """Intervals of one level, each (low, high); `identified` tells which weights have both ends inside (0, 1).

    Attributes:
        weights: [3, 2] of alpha, beta and gamma.
        strength: [2] of k; the lower end is 0 where no effect is excluded.
        overdispersion: [2] of rho.
        identified: [3] whether each weight's interval excludes 0 and 1.
    """

    weights: np.ndarray
    strength: np.ndarray
    overdispersion: np.ndarray
    identified: np.ndarray


def intervals(
    slopes: np.ndarray,
    information: np.ndarray,
    *,
    logit_overdispersion: float,
    logit_variance: float,
    estimate: np.ndarray | None = None,
    level: float = 0.95,
    cells: int = 200,
) -> Intervals:
    """Profile intervals of the weights and the strength, and the interval of rho on its log odds.

    Args:
        slopes: [3] signed estimates.
        information: [3, 3] inverse of their covariance; 0 along a direction of which nothing is known.
        logit_overdispersion: estimate of the log odds of rho.
        logit_variance: its variance.
        estimate: [3] slopes of the fit on the simplex, from which distances count if they are further from the signed
            ones than need be (another metric chose them); it is in its own intervals then. Default the nearest.
        level: 0.9, 0.95 or 0.99.
        cells: steps of the grid over a weight; its curve is interpolated between them.

    Returns:
        `Intervals`.

    Raises:
        ValueError: the level is none of these.

    Example:
        >>> found = intervals(np.array([1.0, 0.5, 0.5]), np.eye(3) * 1e4, logit_overdispersion=0.0, logit_variance=0.01)
        >>> found.weights.round(2).tolist(), found.identified.tolist()
        ([[0.49, 0.51], [0.24, 0.26], [0.24, 0.26]], [True, True, True])
    """
    if level not in CHI_SQUARED:
        raise ValueError(f"level must be one of {', '.join(map(str, CHI_SQUARED))}, got {level}")
    allowed = CHI_SQUARED[level]
    low_end = _least(slopes, information, cells)
    if estimate is not None:
        low_end = max(low_end, float((slopes - estimate) @ information @ (slopes - estimate)))
    found = np.array([_weight(place, slopes, information, low_end + allowed, cells) for place in range(3)])
    strength = _strength(slopes, information, low_end + allowed, cells)
    half = math.sqrt(allowed * max(float(logit_variance), 0.0))
    spread = np.array([logit_overdispersion - half, logit_overdispersion + half])
    inside = (found[:, 0] > 0.0) & (found[:, 1] < 1.0) & (strength[0] > 0.0)
    return Intervals(weights=found, strength=strength, overdispersion=1.0 / (1.0 + np.exp(-spread)), identified=inside)


def distance(slopes: np.ndarray, information: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Least squared distance from the slopes to `k w`, k >= 0, in the metric of the information.

    Equation: `b'Jb - max(w'Jb, 0)^2 / (w'Jw)`.

    Args:
        slopes: [3] b.
        information: [3, 3] J.
        weights: [..., 3] w.

    Returns:
        [...] distances.

    Example:
        >>> float(distance(np.array([1.0, 0.0, 0.0]), np.eye(3), np.array([0.0, 1.0, 0.0])))
        1.0
    """
    whole = float(slopes @ information @ slopes)
    along = np.maximum(weights @ (information @ slopes), 0.0)
    length = np.einsum("...i,ij,...j->...", weights, information, weights)
    return whole - np.divide(along**2, length, out=np.zeros_like(along), where=length > 0.0)


def _face(place: int, value: np.ndarray, cells: int) -> np.ndarray:
    """[len(value), cells + 1, 3] weights with one of them given and the rest divided among the other two."""
    share = np.linspace(0.0, 1.0, cells + 1)
    w = np.empty((value.size, share.size, 3))
    others = [j for j in range(3) if j != place]
    w[..., place] = value[:, None]
    w[..., others[0]] = (1.0 - value)[:, None] * share[None, :]
    w[..., others[1]] = (1.0 - value)[:, None] * (1.0 - share)[None, :]
    return w


def _profile(place: int, value: np.ndarray, slopes: np.ndarray, information: np.ndarray, cells: int) -> np.ndarray:
    """Least distance with one weight given: on the grid, refined by the parabola through the best three shares."""
    far = distance(slopes, information, _face(place, value, cells))
    best = np.argmin(far, axis=1)
    rows, middle = np.arange(value.size), np.clip(best, 1, cells - 1)
    left, centre, right = far[rows, middle - 1], far[rows, middle], far[rows, middle + 1]
    bend = left - 2.0 * centre + right
    vertex = centre - np.divide((right - left) ** 2, 8.0 * bend, out=np.zeros_like(bend), where=bend > 0)
    return np.where((best == middle) & (bend > 0), np.maximum(vertex, 0.0), far[rows, best])


def _least(slopes: np.ndarray, information: np.ndarray, cells: int) -> float:
    """Least distance over the simplex: 0 for slopes of one sign, else of the projection."""
    total = float(np.sum(slopes))
    if np.all(slopes >= 0) and total > 0:
        return 0.0
    return float(np.min(_profile(0, np.linspace(0.0, 1.0, cells + 1), slopes, information, cells)))


def _weight(place: int, slopes: np.ndarray, information: np.ndarray, limit: float, cells: int) -> list[float]:
    """Ends of the values whose profile is within the limit."""
    value = np.linspace(0.0, 1.0, cells + 1)
    excess = _profile(place, value, slopes, information, cells) - limit
    inside = np.flatnonzero(excess <= 0)
    if inside.size == 0:  # narrower than a cell: go around the estimate
        positive = np.maximum(slopes, 0.0)
        at = float(positive[place] / np.sum(positive))
        value = np.clip(np.linspace(at - 1.0 / cells, at + 1.0 / cells, cells + 1), 0.0, 1.0)
        excess = _profile(place, value, slopes, information, 20 * cells) - limit
        inside = np.flatnonzero(excess <= 0)
        if inside.size == 0:
            return [at, at]
    first, last = int(inside[0]), int(inside[-1])
    low = value[first] if first == 0 else _crossing(value, excess, first - 1)
    high = value[last] if last == value.size - 1 else _crossing(value, excess, last)
    return [float(low), float(high)]


def _crossing(value: np.ndarray, excess: np.ndarray, at: int) -> float:
    """Where the excess is 0 between two points of opposite sign, along a straight line."""
    part = excess[at] / (excess[at] - excess[at + 1])
    return float(value[at] + part * (value[at + 1] - value[at]))


def _strength(slopes: np.ndarray, information: np.ndarray, limit: float, cells: int) -> np.ndarray:
    """Least and largest k of slopes `k w` within the limit.

    Inside the cone it is the sum of the slopes with its standard error; else, the ends over the grid of weights.
    """
    w = _face(0, np.linspace(0.0, 1.0, cells + 1), cells).reshape(-1, 3)
    whole, along = float(slopes @ information @ slopes), w @ (information @ slopes)
    length = np.einsum("ni,ij,nj->n", w, information, w)
    usable = length > 1e-12 * np.max(length, initial=0.0)
    root = along**2 - length * (whole - limit)
    within = usable & (root >= 0.0) & ((along > 0.0) | (whole <= limit))
    if not np.all(usable):
        return np.array([0.0, math.inf])
    if not np.any(within):
        total = float(np.sum(np.maximum(slopes, 0.0)))
        return np.array([total, total])
    high = float(np.max((along[within] + np.sqrt(root[within])) / length[within]))
    low = 0.0 if whole <= limit else float(np.min((along[within] - np.sqrt(root[within])) / length[within]))
    return np.array([max(low, 0.0), max(high, 0.0)])
