"""The distribution of payments themselves, between whose quantiles the logarithm of the value runs straight."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxstake.core.checks import require_domain
from jaxstake.core.domain import FRACTION, POSITIVE
from jaxstake.core.numerics import as_float, expm1_ratio
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar
from jaxstake.economy.block_value.interface import (
    cdf,
    central_moments,
    limited_mean,
    log_density,
    mean,
    quantile,
    sample,
    survival,
    tail_mean,
    third_central_moment,
    variance,
)
from jaxstake.economy.block_value.invert import require_levels


@pytree
class Empirical:
    """Block values by quantiles, K of them.

    Between two levels the logarithm of the quantile is linear, so that the distribution has a density, ends at the
    first and the last value, and is differentiable in all of them. Equal values are a step without density.
    """

    value_eth: jax.Array = leaf(unit="ETH", domain=POSITIVE, meaning="[K] quantiles, ascending, K >= 2")
    level: jax.Array = leaf(domain=FRACTION, meaning="[K] their levels, ascending from 0 to 1")


def empirical_of(payments_eth: jax.Array, *, weights: jax.Array | None = None, knots: int | None = None) -> Empirical:
    """The distribution of payments.

    Equation: the i-th of n payments has the level `(c_i - w_i / 2 - w_1 / 2) / (1 - w_1 / 2 - w_n / 2)`, with w the
    weights over their sum and c their cumulative sum; for equal weights `(i - 1) / (n - 1)`.

    Args:
        payments_eth: [B] payments, ETH, all above 0, B >= 2.
        weights: [B] how often each counts, > 0; 1 if not given.
        knots: K, number of quantiles to keep; all payments if not given. A quarter of them are the largest payments,
            one by one, the rest evenly spaced in level.

    Returns:
        `Empirical`; its mean differs from that of the payments by about half the largest over B.

    Raises:
        ValueError: payments_eth is no vector of two or more, or there are too few knots.

    Example:
        >>> value = empirical_of(jnp.asarray([0.04, 0.01, 0.02]))
        >>> print(f"{quantile(value, level=0.5):.3f} {mean(value):.5f}")
        0.020 0.02164
    """
    payments = as_float(payments_eth)
    if payments.ndim != 1 or payments.size < 2:
        raise ValueError(f"payments_eth must be a vector of two payments or more, got shape {payments.shape}")
    if knots is not None and knots < 8:
        raise ValueError(f"knots must be at least 8, got {knots}")
    counts = jnp.ones_like(payments) if weights is None else as_float(weights)
    order = jnp.argsort(payments)
    ordered, share = payments[order], counts[order] / jnp.sum(counts)
    middle = jnp.cumsum(share) - 0.5 * share
    level = jnp.clip((middle - middle[0]) / (middle[-1] - middle[0]), 0.0, 1.0)
    if knots is None or knots >= payments.size:
        return Empirical(value_eth=ordered, level=level)
    top = knots // 4
    even = jnp.linspace(0.0, 1.0, knots - top + 1, dtype=level.dtype)[:-1] * level[-top]
    body = jnp.exp(jnp.interp(even, level, jnp.log(ordered))).at[0].set(ordered[0])  # not rounded above it
    return Empirical(value_eth=jnp.concatenate([body, ordered[-top:]]), level=jnp.concatenate([even, level[-top:]]))


def _pieces(distribution: Empirical) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Lower value, logarithm of the ratio of the upper to it, and mass of each of the K - 1 pieces."""
    values = as_float(distribution.value_eth)
    logs = jnp.log(values)
    return values[:-1], logs[1:] - logs[:-1], jnp.diff(as_float(distribution.level))


def _moment(distribution: Empirical, order: int) -> jax.Array:
    low, growth, mass = _pieces(distribution)
    return jnp.sum(mass * low**order * expm1_ratio(order * growth))


@mean.register
def _(distribution: Empirical) -> Scalar:
    return _moment(distribution, 1)


@variance.register
def _(distribution: Empirical) -> Scalar:
    second = _moment(distribution, 2)
    return central_moments(_moment(distribution, 1), second, second)[0]


@third_central_moment.register
def _(distribution: Empirical) -> Scalar:
    return central_moments(*(_moment(distribution, order) for order in (1, 2, 3)))[1]


@cdf.register
def _(distribution: Empirical, *, value: Scalar) -> Scalar:
    value = as_float(value)
    inside = jnp.where(value <= 0, distribution.value_eth[0], value)
    logs, level = jnp.log(as_float(distribution.value_eth)), as_float(distribution.level)
    chance = jnp.interp(jnp.log(inside), logs, level, left=0.0, right=1.0)
    chance = jnp.where(value >= distribution.value_eth[-1], 1.0, chance)  # a step there is missed otherwise
    return jnp.where(value <= 0, 0.0, chance)


@quantile.register
def _(distribution: Empirical, *, level: Scalar) -> Scalar:
    level = as_float(require_domain("level", level, FRACTION))
    return jnp.exp(jnp.interp(level, as_float(distribution.level), jnp.log(as_float(distribution.value_eth))))


@log_density.register
def _(distribution: Empirical, *, value: Scalar) -> Scalar:
    value = as_float(value)
    values = as_float(distribution.value_eth)
    outside = (value < values[0]) | (value > values[-1])
    inside = jnp.where(outside, values[0], value)
    _, growth, mass = _pieces(distribution)
    piece = jnp.clip(jnp.searchsorted(values, inside, side="right") - 1, 0, values.size - 2)
    step = growth[piece] <= 0
    height = jnp.log(mass[piece]) - jnp.log(inside) - jnp.log(jnp.where(step, 1.0, growth[piece]))
    return jnp.where(outside, -jnp.inf, jnp.where(step, jnp.inf, height))


@limited_mean.register
def _(distribution: Empirical, *, value: Scalar) -> Scalar:
    value = as_float(value)
    chance = as_float(cdf(distribution, value=value))
    rest = jnp.where(chance < 1.0, value * survival(distribution, value=value), 0.0)  # an infinite value may come
    limited = _below(distribution, chance) + rest
    return jnp.where(value <= 0, value, limited)


def _below(distribution: Empirical, level: jax.Array) -> jax.Array:
    """Contribution to the mean of all blocks up to a level: whole pieces, and the part of one more."""
    low, growth, mass = _pieces(distribution)
    levels = as_float(distribution.level)
    whole = jnp.concatenate([jnp.zeros(1, low.dtype), jnp.cumsum(mass * low * expm1_ratio(growth))])
    piece = jnp.clip(jnp.searchsorted(levels, level, side="right") - 1, 0, low.size - 1)
    width = jnp.where(mass[piece] > 0, mass[piece], 1.0)
    part = (level - levels[piece]) / width
    return whole[piece] + (level - levels[piece]) * low[piece] * expm1_ratio(growth[piece] * part)


@tail_mean.register
def _(distribution: Empirical, *, level: Scalar) -> Scalar:
    level = require_levels(level)
    return (mean(distribution) - _below(distribution, level)) / (1.0 - level)


@sample.register
def _(distribution: Empirical, *, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
    dtype = jnp.result_type(distribution.value_eth, float)
    return as_float(quantile(distribution, level=jax.random.uniform(key, shape, dtype)))
