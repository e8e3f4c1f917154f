"""Static minimum stakes: what each does, the best for given weights, and the best over all weights."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxstake.core.numerics import as_float
from jaxstake.core.pytree import branch, pytree
from jaxstake.microstaking import wealth as wealth_law
from jaxstake.microstaking import welfare as good
from jaxstake.microstaking.dynamics import simulate
from jaxstake.microstaking.market_paths import MarketPath
from jaxstake.microstaking.policy import MinimumStakePolicy
from jaxstake.microstaking.run_security import FaultSurface, fault_surface
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


@pytree
class World:
    """All that a rule meets, but for the market."""

    scenario: WelfareScenario = branch()
    classes: SizeClasses = branch()
    faults: FaultSurface = branch()


def build_world(policy: MinimumStakePolicy, scenario: WelfareScenario, *, classes: int, paths: MarketPath) -> World:
    """Size classes, and a surface of faults over what the smallest and the largest minimum lead to, and more.

    Every rule between the limits leads to less than either of them does; a margin of a quarter in the number of
    operators, of a fifth and a half in their chance to fail, is for other markets.
    """
    sizes = wealth_law.size_classes(scenario.dynamics.population.wealth, classes=classes)
    ends = [dataclasses.replace(policy, base_eth=as_float(v)) for v in (policy.lowest_eth, policy.highest_eth)]
    number, corruption = zip(*(_spread(rule, scenario, sizes, paths) for rule in ends), strict=True)
    number, corruption = jnp.concatenate(number), jnp.concatenate(corruption)
    wide = jnp.stack([jnp.maximum(0.8 * jnp.min(number), 1.0), 1.25 * jnp.max(number)])
    chance = jnp.stack([0.8 * jnp.min(corruption), jnp.minimum(1.5 * jnp.max(corruption), 0.999)])
    faults = jax.jit(functools.partial(fault_surface, points=9))(scenario.security, number=wide, corruption=chance)
    return World(scenario=scenario, classes=sizes, faults=faults)


@jax.jit
def _spread(
    policy: MinimumStakePolicy, scenario: WelfareScenario, classes: SizeClasses, paths: MarketPath
) -> tuple[jax.Array, jax.Array]:
    """Numbers of equal operators and chances to fail, of all runs and periods."""
    _, runs = jax.vmap(lambda path: simulate(policy, scenario.dynamics, classes=classes, path=path))(paths)
    return 1.0 / jnp.ravel(runs.herfindahl), jnp.ravel(runs.corruption)


@jax.jit
def terms_by_path(policy: MinimumStakePolicy, world: World, paths: MarketPath) -> Terms:
    """`welfare.terms_by_path`, compiled."""
    return good.terms_by_path(policy, world.scenario, classes=world.classes, paths=paths, surface=world.faults)


def static_terms(policy: MinimumStakePolicy, world: World, paths: MarketPath) -> tuple[jax.Array, Terms]:
    """Mean terms [G] over static minima."""
    grid = jnp.geomspace(policy.lowest_eth, policy.highest_eth, GRID)
    grid = grid.at[0].set(policy.lowest_eth).at[-1].set(policy.highest_eth)  # not to a rounding
    found = [terms_by_path(dataclasses.replace(policy, base_eth=v), world, paths) for v in grid]
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
