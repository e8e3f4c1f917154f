"""Block-value families written once more with SciPy and NumPy, and their moments by numerical integration."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import integrate, optimize, special, stats


@dataclasses.dataclass(frozen=True)
class Oracle:
    """A distribution of positive values, with a share of zeros beside it.

    Attributes:
        density: of a positive value.
        below: chance of at most a value.
        above: chance of more than a value.
        edges: logarithms of values between which the density is smooth; from the least to the largest.
        zeros: share of blocks that pay nothing.
    """

    density: Callable[[float], float]
    below: Callable[[float], float]
    above: Callable[[float], float]
    edges: tuple[float, ...]
    zeros: float = 0.0

    def integral(self, of: Callable[[float], float], *, low: float = 0.0, high: float = math.inf) -> float:
        """Of a function times the density, over the logarithm of the value."""
        least = math.log(low) if low > 0 else -math.inf
        most = math.log(high) if high < math.inf else math.inf
        points = [least, most, *self.edges]
        ends = sorted({min(max(x, least, self.edges[0]), most, self.edges[-1]) for x in points})
        inner = lambda y: of(math.exp(y)) * self.density(math.exp(y)) * math.exp(y)  # noqa: E731
        pairs = itertools.pairwise(ends)
        return sum(integrate.quad(inner, a, b, epsabs=1e-16, epsrel=1e-10, limit=200)[0] for a, b in pairs)

    def mean(self) -> float:
        return self.integral(lambda x: x)

    def central(self, order: int) -> float:
        """Central moment."""
        middle = self.mean()
        return self.integral(lambda x: (x - middle) ** order) + self.zeros * (-middle) ** order

    def quantile(self, level: float) -> float:
        """By bisection in the smaller of the two chances."""
        if level <= self.zeros:
            return 0.0
        if level < 0.5:
            gap = lambda y: self.below(math.exp(y)) - level  # noqa: E731
        else:
            gap = lambda y: (1 - level) - self.above(math.exp(y))  # noqa: E731
        return math.exp(optimize.brentq(gap, self.edges[0], self.edges[-1], xtol=1e-14, rtol=1e-14))

    def tail_mean(self, level: float) -> float:
        return self.integral(lambda x: x, low=self.quantile(level) if level > 0 else 0.0) / (1 - level)

    def limited_mean(self, value: float) -> float:
        return self.integral(lambda x: x, high=value) + value * self.above(value)


def _edges(log_mean: float, log_std: float) -> tuple[float, ...]:
    return tuple(log_mean + log_std * step for step in range(-36, 37, 4))


def log_normal(log_mean: float, log_std: float) -> Oracle:
    z = lambda x: (math.log(x) - log_mean) / log_std  # noqa: E731
    norm = 1 / (log_std * math.sqrt(2 * math.pi))
    return Oracle(
        lambda x: norm / x * math.exp(-0.5 * z(x) ** 2),
        lambda x: special.ndtr(z(x)),
        lambda x: special.ndtr(-z(x)),
        _edges(log_mean, log_std),
    )


def mixture(first: Oracle, second: Oracle, share: float) -> Oracle:
    def mixed(name: str) -> Callable[[float], float]:
        one, two = getattr(first, name), getattr(second, name)
        return lambda x: (1 - share) * one(x) + share * two(x)

    edges = tuple(sorted({*first.edges, *second.edges}))
    return Oracle(mixed("density"), mixed("below"), mixed("above"), edges)


def skew(location: float, scale: float, shape: float) -> Oracle:
    """The chances from Owen's T."""
    z = lambda x: (math.log(x) - location) / scale  # noqa: E731
    norm = 2 / (scale * math.sqrt(2 * math.pi))
    return Oracle(
        lambda x: norm / x * math.exp(-0.5 * z(x) ** 2 + special.log_ndtr(shape * z(x))),
        lambda x: special.ndtr(z(x)) - 2 * special.owens_t(z(x), shape),
        lambda x: special.ndtr(-z(x)) + 2 * special.owens_t(z(x), shape),
        tuple(location + scale * step for step in range(-36, 37, 2)),
    )


def pareto(
    log_mean: float, log_std: float, threshold: float, share: float, tail_scale: float, tail_shape: float
) -> Oracle:
    body = stats.lognorm(s=log_std, scale=math.exp(log_mean))
    tail = stats.genpareto(tail_shape, loc=threshold, scale=tail_scale)
    mass = body.cdf(threshold)
    short = tail_shape < 0
    end = math.log(threshold - tail_scale / tail_shape) if short else math.log(threshold) + 90.0
    low = [x for x in _edges(log_mean, log_std) if x < math.log(threshold)]
    high = np.linspace(math.log(threshold), end, 3 if short else 31)
    return Oracle(
        lambda x: (1 - share) * body.pdf(x) / mass if x <= threshold else share * tail.pdf(x),
        lambda x: (1 - share) * body.cdf(x) / mass if x <= threshold else 1 - share * tail.sf(x),
        lambda x: share + (1 - share) * (mass - body.cdf(x)) / mass if x <= threshold else share * tail.sf(x),
        (*low, *high),
    )


def log_linear(values: Any, levels: Any) -> Oracle:
    """Quantiles whose logarithm is straight between levels."""
    logs, levels = np.log(values), np.asarray(levels)

    def density(x: float) -> float:
        place = int(np.clip(np.searchsorted(logs, math.log(x), side="right") - 1, 0, len(logs) - 2))
        inside = logs[0] <= math.log(x) <= logs[-1]
        return (levels[place + 1] - levels[place]) / (logs[place + 1] - logs[place]) / x if inside else 0.0

    below = lambda x: float(np.interp(math.log(x), logs, levels))  # noqa: E731
    return Oracle(density, below, lambda x: 1 - below(x), tuple(logs))


def with_zeros(paid: Oracle, share: float) -> Oracle:
    return Oracle(
        lambda x: share * paid.density(x),
        lambda x: 1 - share + share * paid.below(x),
        lambda x: share * paid.above(x),
        paid.edges,
        1 - share,
    )
