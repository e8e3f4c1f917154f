"""Static minimum stakes: what each does, the best for given weights, and the best over all weights."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxstake.microstaking import welfare as good
from jaxstake.microstaking.market_paths import MarketPath
from jaxstake.microstaking.policy import MinimumStakePolicy
from jaxstake.microstaking.wealth import SizeClasses
from jaxstake.microstaking.welfare import Scale, Terms, WelfareScenario

GRID = 25
"""Static minima that are tried, in equal steps of the logarithm."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Surface:
    """Static minima over the weights.

    Attributes:
        minimum_eth: [G] static minima tried.
        terms: [G] terms at each, on the training paths.
        weights: [W, 5] weights on the simplex, in the order of `Terms`.
        best_eth: [W] the best of the minima for each.
        corner: [W] whether that is the smallest or the largest.
    """

    minimum_eth: np.ndarray
    terms: Terms
    weights: np.ndarray
    best_eth: np.ndarray
    corner: np.ndarray


@jax.jit
def terms_by_path(
    policy: MinimumStakePolicy, scenario: WelfareScenario, classes: SizeClasses, paths: MarketPath
) -> Terms:
    """`welfare.terms_by_path`, compiled."""
    return good.terms_by_path(policy, scenario, classes=classes, paths=paths)


def static_terms(
    policy: MinimumStakePolicy, scenario: WelfareScenario, classes: SizeClasses, paths: MarketPath
) -> tuple[jax.Array, Terms]:
    """Mean terms [G] over static minima."""
    grid = jnp.geomspace(policy.lowest_eth, policy.highest_eth, GRID)
    found = [terms_by_path(dataclasses.replace(policy, base_eth=v), scenario, classes, paths) for v in grid]
    return grid, jax.tree.map(lambda *values: jnp.stack([jnp.mean(value) for value in values]), *found)


def best_static(scenario: WelfareScenario, grid: jax.Array, terms: Terms, scale: Scale) -> tuple[jax.Array, bool]:
    """The best static minimum: the top of the parabola through the best of the grid and its neighbours."""
    value = np.asarray(jax.vmap(lambda t: good.welfare(t, weights=scenario.weights, scale=scale))(terms))
    if not np.all(np.isfinite(value)):
        raise ValueError("the welfare of a static minimum must be finite; look at the scenario's extreme values")
    best = int(np.argmax(value))
    if best in (0, GRID - 1):
        return grid[best], True
    left, middle, right = value[best - 1 : best + 2]
    shift = 0.5 * (left - right) / (left - 2.0 * middle + right)
    step = jnp.log(grid[1] / grid[0])
    return grid[best] * jnp.exp(shift * step), False


def surface(grid: jax.Array, terms: Terms, scale: Scale, *, steps: int = 6) -> Surface:
    """The best of the static minima for weights all over the simplex."""
    weights = simplex(steps)
    scaled = np.stack(
        [
            np.asarray(values) / float(scale) if float(scale) > 0 else np.zeros(GRID)
            for values, scale in zip(jax.tree.leaves(terms), jax.tree.leaves(scale.ranges), strict=True)
        ]
    )
    best = np.argmax(weights @ scaled, axis=1)
    minimum = np.asarray(grid)
    return Surface(
        minimum_eth=minimum,
        terms=jax.tree.map(np.asarray, terms),
        weights=weights,
        best_eth=minimum[best],
        corner=np.isin(best, (0, GRID - 1)),
    )


def simplex(steps: int) -> np.ndarray:
    """[W, 5] all weights that are multiples of `1 / steps` and add up to 1.

    Example:
        >>> simplex(2).shape
        (15, 5)
    """
    whole = np.indices((steps + 1,) * 5).reshape(5, -1).T
    return whole[whole.sum(axis=1) == steps] / steps
