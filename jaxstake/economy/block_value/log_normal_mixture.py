"""A mixture of two lognormals: quiet blocks, and the few in which something happens."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxstake.core.domain import FINITE, FRACTION, POSITIVE
from jaxstake.core.numerics import as_float, safe_log
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar
from jaxstake.economy.block_value.interface import (
    cdf,
    limited_mean,
    log_cdf,
    log_density,
    log_survival,
    mean,
    quantile,
    sample,
    survival,
    tail_mean,
    third_central_moment,
    variance,
)
from jaxstake.economy.block_value.invert import require_levels, solve_quantile
from jaxstake.economy.block_value.log_normal import LogNormal


@pytree
class LogNormalMixture:
    """Block values that are lognormal of a second kind with a chance, and else of the first.

    Which is which is a convention: a fit orders them by `log_mean`.
    """

    first_log_mean: Scalar = leaf(unit="log ETH", domain=FINITE, meaning="mean of the logarithm, first kind")
    first_log_std: Scalar = leaf(unit="log ETH", domain=POSITIVE, meaning="its standard deviation")
    second_log_mean: Scalar = leaf(unit="log ETH", domain=FINITE, meaning="mean of the logarithm, second kind")
    second_log_std: Scalar = leaf(unit="log ETH", domain=POSITIVE, meaning="its standard deviation")
    second_share: Scalar = leaf(domain=FRACTION, meaning="share of blocks of the second kind")


def components(distribution: LogNormalMixture) -> tuple[LogNormal, LogNormal]:
    """Both kinds, each a lognormal of its own."""
    first = LogNormal(log_mean=distribution.first_log_mean, log_std=distribution.first_log_std)
    return first, LogNormal(log_mean=distribution.second_log_mean, log_std=distribution.second_log_std)


def _average(distribution: LogNormalMixture, of_first: Scalar, of_second: Scalar) -> jax.Array:
    share = as_float(distribution.second_share)
    return (1.0 - share) * of_first + share * of_second


def _log_average(distribution: LogNormalMixture, of_first: Any, of_second: Any) -> jax.Array:
    """Logarithm of the average of two numbers known by their logarithms, both of which may be minus infinity."""
    share = as_float(distribution.second_share)
    first = safe_log(1.0 - share, at_zero=-jnp.inf) + of_first
    second = safe_log(share, at_zero=-jnp.inf) + of_second
    largest = jax.lax.stop_gradient(jnp.maximum(first, second))
    nothing = jnp.isneginf(largest)
    total = sum(jnp.exp(jnp.where(nothing, 0.0, term - jnp.where(nothing, 0.0, largest))) for term in (first, second))
    return jnp.where(nothing, -jnp.inf, jnp.log(total) + largest)


@mean.register
def _(distribution: LogNormalMixture) -> Scalar:
    first, second = components(distribution)
    return _average(distribution, mean(first), mean(second))


@variance.register
def _(distribution: LogNormalMixture) -> Scalar:
    middle = mean(distribution)
    spreads = [variance(part) + (mean(part) - middle) ** 2 for part in components(distribution)]
    return _average(distribution, *spreads)


@third_central_moment.register
def _(distribution: LogNormalMixture) -> Scalar:
    middle, parts = mean(distribution), []
    for part in components(distribution):
        shift = mean(part) - middle
        parts.append(third_central_moment(part) + 3.0 * shift * variance(part) + shift**3)
    return _average(distribution, *parts)


@cdf.register
def _(distribution: LogNormalMixture, *, value: Scalar) -> Scalar:
    first, second = components(distribution)
    return _average(distribution, cdf(first, value=value), cdf(second, value=value))


@survival.register
def _(distribution: LogNormalMixture, *, value: Scalar) -> Scalar:
    first, second = components(distribution)
    return _average(distribution, survival(first, value=value), survival(second, value=value))


@log_cdf.register
def _(distribution: LogNormalMixture, *, value: Scalar) -> Scalar:
    first, second = components(distribution)
    return _log_average(distribution, log_cdf(first, value=value), log_cdf(second, value=value))


@log_survival.register
def _(distribution: LogNormalMixture, *, value: Scalar) -> Scalar:
    first, second = components(distribution)
    return _log_average(distribution, log_survival(first, value=value), log_survival(second, value=value))


@log_density.register
def _(distribution: LogNormalMixture, *, value: Scalar) -> Scalar:
    first, second = components(distribution)
    return _log_average(distribution, log_density(first, value=value), log_density(second, value=value))


@limited_mean.register
def _(distribution: LogNormalMixture, *, value: Scalar) -> Scalar:
    first, second = components(distribution)
    return _average(distribution, limited_mean(first, value=value), limited_mean(second, value=value))


@quantile.register
def _(distribution: LogNormalMixture, *, level: Scalar) -> Scalar:
    """Between the quantiles of the two kinds, which bracket it."""

    def bracket(inner: jax.Array) -> tuple[jax.Array, jax.Array]:
        ends = [jnp.log(quantile(part, level=inner)) for part in components(distribution)]
        return jnp.minimum(*ends), jnp.maximum(*ends)

    return solve_quantile(distribution, level=level, bracket=bracket)


@tail_mean.register
def _(distribution: LogNormalMixture, *, level: Scalar) -> Scalar:
    level = require_levels(level)
    at = quantile(distribution, level=level)
    above = [mean(part) - limited_mean(part, value=at) for part in components(distribution)]
    return at + _average(distribution, *above) / (1.0 - level)


@sample.register
def _(distribution: LogNormalMixture, *, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
    first, second = components(distribution)
    dtype = jnp.result_type(*jax.tree.leaves(distribution), float)
    kind_key, value_key = jax.random.split(key)
    other = jax.random.uniform(kind_key, shape, dtype) < distribution.second_share
    middle = jnp.where(other, second.log_mean, first.log_mean)
    spread = jnp.where(other, second.log_std, first.log_std)
    return jnp.exp(middle + spread * jax.random.normal(value_key, shape, dtype))
