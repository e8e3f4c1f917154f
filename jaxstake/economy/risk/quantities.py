"""What a distribution of returns says: chances, quantiles, tails, and what a risk-averse operator would take for it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxstake.core.checks import require_domain
from jaxstake.core.domain import NON_NEGATIVE, Domain
from jaxstake.core.numerics import as_float, keep_where, safe_divide
from jaxstake.core.typing import Scalar
from jaxstake.economy.risk.distribution import ReturnDistribution

LEVEL = Domain(0.0, 1.0, open_low=True, open_high=True)
_SMALL = 1e-3  # below it a certainty equivalent is a series, of relative error its cube


def cdf(found: ReturnDistribution, *, value: Scalar) -> jax.Array:
    """Chance of a return of at most `value`, linear inside a cell; above the grid all but `found.beyond`.

    Args:
        found: distribution.
        value: return per year, a fraction; any shape.
    """
    value = as_float(value)
    size = found.mass.size
    place = jnp.clip((value - found.start) / found.step, 0.0, float(size))
    cell = jnp.clip(jax.lax.stop_gradient(jnp.floor(jnp.nan_to_num(place))), 0, size - 1).astype(jnp.int32)
    return _cumulative(found.mass)[cell] + found.mass[cell] * (place - cell.astype(place.dtype))


def density(found: ReturnDistribution, *, value: Scalar) -> jax.Array:
    """Density of the return at `value`, per unit of return: the mass of its cell over the cell's width; 0 outside.

    An atom (no proposal and no seat) is as high as the cells are narrow.
    """
    place = (as_float(value) - found.start) / found.step
    inside = (place >= 0) & (place < found.mass.size)
    cell = jnp.where(inside, jnp.floor(place), 0.0).astype(jnp.int32)
    return jnp.where(inside, found.mass[cell], 0.0) / found.step + 0.0 * place


def quantile(found: ReturnDistribution, *, level: Scalar) -> jax.Array:
    """Return that is not exceeded with chance `level`, linear inside a cell.

    Its derivative by a parameter is `-(dF/dtheta) / density`, with both on the grid. Within an atom the quantile is
    that of the atom spread over its cell, so that the derivative is that of the atom's place.

    Args:
        found: distribution.
        level: chance, in (0, 1); any shape.

    Returns:
        Return per year, of the level's shape; NaN where the level lies beyond the grid or the cell has no mass.

    Raises:
        ValueError: level is concrete and outside (0, 1).
    """
    level = as_float(require_domain("level", level, LEVEL))
    cell, below = _cell(found, level)
    chance = found.mass[cell]
    reached = (below[1] >= level) & (chance > 0)
    share = (level - below[0]) / jnp.where(reached, chance, 1.0)
    value = found.start + found.step * (cell.astype(found.mass.dtype) + share)
    return keep_where(reached, value, otherwise=jnp.nan)


def cdf_bounds(found: ReturnDistribution, *, value: Scalar) -> tuple[jax.Array, jax.Array]:
    """Between which two numbers the true cdf lies: that of the grid at `value -+ shift`, `doubt` lower or higher."""
    low = cdf(found, value=value - found.shift) - found.doubt
    high = cdf(found, value=value + found.shift) + found.doubt
    return jnp.clip(low, 0.0, 1.0), jnp.clip(high, 0.0, 1.0)


def quantile_bounds(found: ReturnDistribution, *, level: Scalar) -> tuple[jax.Array, jax.Array]:
    """Between which two returns the true quantile lies; NaN where `level -+ doubt` leaves the grid."""
    level = as_float(require_domain("level", level, LEVEL))
    sides = []
    for sign in (-1.0, 1.0):
        moved = level + sign * found.doubt
        inside = (moved > 0.0) & (moved < 1.0)
        at = quantile(found, level=jnp.where(inside, moved, 0.5))
        sides.append(jnp.where(inside, at, jnp.nan) + sign * found.shift)
    return sides[0], sides[1]


def lower_tail_mean(found: ReturnDistribution, *, share: Scalar) -> jax.Array:
    """Mean of the worst `share` of outcomes, a return per year: the expected shortfall, not as a loss.

    Args:
        found: distribution.
        share: in (0, 1), scalar.

    Raises:
        ValueError: share is concrete and outside (0, 1).
    """
    share = as_float(require_domain("share", share, LEVEL))
    at = quantile(found, level=share)
    cell, below = _cell(found, share)
    whole = jnp.sum(jnp.where(jnp.arange(found.mass.size, dtype=jnp.int32) < cell, found.mass * _middles(found), 0.0))
    edge = found.start + found.step * cell.astype(found.mass.dtype)
    return (whole + (share - below[0]) * 0.5 * (edge + at)) / share


def upper_tail_mean(found: ReturnDistribution, *, share: Scalar) -> jax.Array:
    """Mean of the best `share` of outcomes; what lies beyond the grid counts with its mean, infinite if that is.

    Args:
        found: distribution.
        share: in (0, 1), scalar; NaN if it is below `found.beyond`.

    Raises:
        ValueError: share is concrete and outside (0, 1).
    """
    share = as_float(require_domain("share", share, LEVEL))
    level = 1.0 - share
    at = quantile(found, level=level)
    cell, below = _cell(found, level)
    whole = jnp.sum(jnp.where(jnp.arange(found.mass.size, dtype=jnp.int32) > cell, found.mass * _middles(found), 0.0))
    edge = found.start + found.step * (cell.astype(found.mass.dtype) + 1.0)
    return (whole + (below[1] - level) * 0.5 * (edge + at) + _beyond_part(found)) / share


def value_at_risk(found: ReturnDistribution, *, level: Scalar = 0.95) -> jax.Array:
    """Loss that is exceeded with chance `1 - level`: `-quantile(1 - level)`; negative while the return is a gain."""
    return -quantile(found, level=1.0 - as_float(level))


def conditional_value_at_risk(found: ReturnDistribution, *, level: Scalar = 0.95) -> jax.Array:
    """Mean loss in the worst `1 - level` of outcomes: `-lower_tail_mean(1 - level)`."""
    return -lower_tail_mean(found, share=1.0 - as_float(level))


def certainty_equivalent(found: ReturnDistribution, *, risk_aversion: Scalar) -> jax.Array:
    """Sure return that an operator with constant relative risk aversion takes for the random one.

    Equation: with wealth `1 + R` and y = 1 - risk_aversion, `(E (1 + R)^y)^(1/y) - 1`, and `exp(E ln(1 + R)) - 1` at a
    risk aversion of 1. For small `y` the series in y of the logarithm's cumulants. What lies beyond the grid counts at
    its mean, or at the grid's end if that is infinite, which understates it.

    Args:
        found: distribution.
        risk_aversion: at least 0; 0 gives the mean, 1 is logarithmic utility.

    Returns:
        Return per year; NaN if all could be lost.

    Raises:
        ValueError: risk_aversion is concrete and negative.
    """
    power = 1.0 - as_float(require_domain("risk_aversion", risk_aversion, NON_NEGATIVE))
    ends = found.start + found.step * float(found.mass.size)
    distant = ends + jnp.maximum(0.0, safe_divide(_beyond_part(found), found.beyond) - ends)
    distant = jnp.where((found.beyond > 0) & jnp.isfinite(distant), distant, ends)
    growth, most = jnp.log1p(_middles(found)), jnp.log1p(distant)
    total = jnp.sum(found.mass) + found.beyond

    def expected(function: Any) -> jax.Array:
        return (jnp.sum(found.mass * function(growth)) + found.beyond * function(most)) / total

    centre = expected(lambda x: x)
    near = jnp.abs(power) < _SMALL
    away = jnp.where(near, 1.0, power)
    exact = jnp.log1p(expected(lambda x: jnp.expm1(away * (x - centre)))) / away
    second, third = expected(lambda x: (x - centre) ** 2), expected(lambda x: (x - centre) ** 3)
    series = 0.5 * power * second + power**2 / 6.0 * third
    return jnp.expm1(centre + jnp.where(near, series, exact))


def expected_return(found: ReturnDistribution) -> jax.Array:
    """Mean of the grid, without what lies beyond it; that of the law is `found.mean`."""
    return jnp.sum(found.mass * _middles(found))


def _middles(found: ReturnDistribution) -> jax.Array:
    return found.start + found.step * (jnp.arange(found.mass.size).astype(found.mass.dtype) + 0.5)


def _beyond_part(found: ReturnDistribution) -> jax.Array:
    """`E[R; R beyond the grid]`, the closed-form mean less the grid's; 0 where nothing is beyond."""
    return jnp.where(found.beyond > 0, found.mean - expected_return(found), 0.0)


def _cumulative(mass: jax.Array) -> jax.Array:
    """[points + 1] chance below each edge of a cell."""
    return jnp.concatenate([jnp.zeros(1, mass.dtype), jnp.cumsum(mass)])


def _cell(found: ReturnDistribution, level: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """Index of the cell that a level falls into, and the chances below both of its edges."""
    edges = _cumulative(found.mass)
    cell = jnp.searchsorted(jax.lax.stop_gradient(edges[1:]), jax.lax.stop_gradient(level), side="left")
    cell = jnp.clip(cell, 0, found.mass.size - 1).astype(jnp.int32)
    return cell, (edges[cell], edges[cell + 1])
