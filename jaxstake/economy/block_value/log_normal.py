"""Lognormal block values."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax.scipy.special import log_ndtr, ndtri

from jaxstake.core.checks import require_domain
from jaxstake.core.domain import FINITE, FRACTION, NON_NEGATIVE, PROPER_FRACTION
from jaxstake.core.numerics import as_float, normal_cdf
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


@pytree
class LogNormal:
    """Block values whose natural logarithm is normal."""

    log_mean: Scalar = leaf(
        unit="log ETH", domain=FINITE, meaning="mean of the logarithm; the median is its exponential"
    )
    log_std: Scalar = leaf(unit="log ETH", domain=NON_NEGATIVE, meaning="standard deviation of the logarithm")


def log_normal_from_median(*, median_eth: float, mean_eth: float) -> LogNormal:
    """The lognormal with a given median and mean, ETH.

    Equation: `log_mean = ln median`, `log_std = sqrt(2 ln(mean / median))`.

    Raises:
        ValueError: the median is not positive, or the mean is below it.

    Example:
        >>> value = log_normal_from_median(median_eth=0.011, mean_eth=0.015)
        >>> print(f"{value.log_mean:.4f} {value.log_std:.4f} {mean(value):.4f}")
        -4.5099 0.7876 0.0150
    """
    if not 0 < median_eth <= mean_eth:
        raise ValueError(f"need 0 < median_eth <= mean_eth, got {median_eth} and {mean_eth}")
    return LogNormal(log_mean=math.log(median_eth), log_std=math.sqrt(2.0 * math.log(mean_eth / median_eth)))


@mean.register
def _(distribution: LogNormal) -> Scalar:
    return jnp.exp(distribution.log_mean + 0.5 * distribution.log_std**2)


@variance.register
def _(distribution: LogNormal) -> Scalar:
    return jnp.expm1(as_float(distribution.log_std) ** 2) * mean(distribution) ** 2


@third_central_moment.register
def _(distribution: LogNormal) -> Scalar:
    growth = jnp.expm1(as_float(distribution.log_std) ** 2)
    return (growth + 3.0) * growth**2 * mean(distribution) ** 3


@cdf.register
def _(distribution: LogNormal, *, value: Scalar) -> Scalar:
    value = as_float(value)
    outside = value <= 0
    chance = normal_cdf(_standardised(distribution, jnp.where(outside, 1.0, value)))
    return jnp.where(outside, 0.0, chance)


@survival.register
def _(distribution: LogNormal, *, value: Scalar) -> Scalar:
    value = as_float(value)
    outside = value <= 0
    chance = normal_cdf(-_standardised(distribution, jnp.where(outside, 1.0, value)))
    return jnp.where(outside, 1.0, chance)


@log_cdf.register
def _(distribution: LogNormal, *, value: Scalar) -> Scalar:
    value = as_float(value)
    outside = value <= 0
    chance = log_ndtr(_standardised(distribution, jnp.where(outside, 1.0, value)))
    return jnp.where(outside, -jnp.inf, chance)


@log_survival.register
def _(distribution: LogNormal, *, value: Scalar) -> Scalar:
    value = as_float(value)
    outside = value <= 0
    chance = log_ndtr(-_standardised(distribution, jnp.where(outside, 1.0, value)))
    return jnp.where(outside, 0.0, chance)


@limited_mean.register
def _(distribution: LogNormal, *, value: Scalar) -> Scalar:
    value = as_float(value)
    outside = value <= 0
    inside = jnp.where(outside, 1.0, value)
    z = _standardised(distribution, inside)
    rest = jnp.where(jnp.isinf(inside), 0.0, inside * normal_cdf(-z))
    limited = mean(distribution) * normal_cdf(z - distribution.log_std) + rest
    return jnp.where(outside, value, limited)


@quantile.register
def _(distribution: LogNormal, *, level: Scalar) -> Scalar:
    level = as_float(require_domain("level", level, FRACTION))
    lowest, highest = level <= 0, level >= 1
    z = ndtri(jnp.where(lowest | highest, 0.5, level))
    value = jnp.exp(distribution.log_mean + distribution.log_std * z)
    return jnp.where(lowest, 0.0, jnp.where(highest, jnp.inf, value))


@log_density.register
def _(distribution: LogNormal, *, value: Scalar) -> Scalar:
    value = as_float(value)
    outside = value <= 0
    inside = jnp.where(outside, 1.0, value)
    spread = as_float(distribution.log_std)
    point = spread == 0
    z = _standardised(distribution, inside)
    log_norm = jnp.log(jnp.where(point, 1.0, spread)) + 0.5 * math.log(2.0 * math.pi) + jnp.log(inside)
    at_point = point & (jnp.log(inside) == distribution.log_mean)
    return jnp.where(outside, -jnp.inf, jnp.where(at_point, jnp.inf, -0.5 * z**2 - log_norm))


@tail_mean.register
def _(distribution: LogNormal, *, level: Scalar) -> Scalar:
    level = as_float(require_domain("level", level, PROPER_FRACTION))
    everything = level <= 0
    z = ndtri(jnp.where(everything, 0.5, level))
    # Newer releases of JAX: NaN slope of ndtri at 0.
    above = jnp.where(everything, 1.0, normal_cdf(distribution.log_std - z))
    return mean(distribution) * above / (1.0 - level)


@sample.register
def _(distribution: LogNormal, *, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
    dtype = jnp.result_type(distribution.log_mean, distribution.log_std, float)
    return jnp.exp(distribution.log_mean + distribution.log_std * jax.random.normal(key, shape, dtype))


def _standardised(distribution: LogNormal, value: jax.Array) -> jax.Array:
    """`(ln value - mu) / sigma`; at sigma 0 the limit, plus infinity from the median on and minus infinity below."""
    spread = as_float(distribution.log_std)
    point = spread == 0
    gap = jnp.log(value) - distribution.log_mean
    limit = jnp.where(gap >= 0, jnp.inf, -jnp.inf)
    return jnp.where(point, limit, gap / jnp.where(point, 1.0, spread))
