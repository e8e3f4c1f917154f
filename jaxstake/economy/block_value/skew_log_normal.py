"""Block values whose logarithm is skew-normal: one more parameter than the lognormal, for the lean of the logarithm."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax.scipy.special import log_ndtr, ndtr

from jaxstake.core.domain import FINITE, POSITIVE
from jaxstake.core.normal_pair import bivariate_normal_cdf
from jaxstake.core.numerics import as_float
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
from jaxstake.economy.block_value.invert import require_levels, solve_quantile

REACH = {32: 13.0, 64: 38.0}
"""Standard deviations beyond which a normal has no mass, by the bits of a float."""


@pytree
class SkewLogNormal:
    """Block values whose natural logarithm is skew-normal.

    Equation: density of `y = ln x`: `2 / omega phi(z) Phi(alpha z)` with `z = (y - xi) / omega`. At `alpha` 0 it is
    lognormal, and there the likelihood of `alpha` is not regular.

    Source: A. Azzalini, Scandinavian Journal of Statistics 12 (1985) 171-178.
    """

    log_location: Scalar = leaf(unit="log ETH", domain=FINITE, meaning="location xi of the logarithm, not its mean")
    log_scale: Scalar = leaf(unit="log ETH", domain=POSITIVE, meaning="scale omega of the logarithm")
    log_shape: Scalar = leaf(domain=FINITE, meaning="lean alpha of the logarithm; above 0 to high values")


def _delta(distribution: SkewLogNormal) -> jax.Array:
    shape = as_float(distribution.log_shape)
    return shape / jnp.sqrt(1.0 + shape**2)


def _split(distribution: SkewLogNormal, value: Scalar) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Whether a value is not positive, a harmless stand-in, and its standardised logarithm."""
    value = as_float(value)
    outside = value <= 0
    inside = jnp.where(outside, 1.0, value)
    return outside, inside, (jnp.log(inside) - distribution.log_location) / distribution.log_scale


def _moment(distribution: SkewLogNormal, order: int) -> jax.Array:
    """`2 exp(k xi + k^2 omega^2 / 2) Phi(k delta omega)`."""
    step = order * as_float(distribution.log_scale)
    whole = order * distribution.log_location + 0.5 * step**2
    return 2.0 * jnp.exp(whole + log_ndtr(_delta(distribution) * step))


@mean.register
def _(distribution: SkewLogNormal) -> Scalar:
    return _moment(distribution, 1)


@variance.register
def _(distribution: SkewLogNormal) -> Scalar:
    second = _moment(distribution, 2)
    return central_moments(_moment(distribution, 1), second, second)[0]


@third_central_moment.register
def _(distribution: SkewLogNormal) -> Scalar:
    return central_moments(*(_moment(distribution, order) for order in (1, 2, 3)))[1]


@cdf.register
def _(distribution: SkewLogNormal, *, value: Scalar) -> Scalar:
    outside, _, z = _split(distribution, value)
    return jnp.where(outside, 0.0, 2.0 * bivariate_normal_cdf(z, 0.0, correlation=-_delta(distribution)))


@survival.register
def _(distribution: SkewLogNormal, *, value: Scalar) -> Scalar:
    outside, _, z = _split(distribution, value)
    return jnp.where(outside, 1.0, 2.0 * bivariate_normal_cdf(-z, 0.0, correlation=_delta(distribution)))


@log_density.register
def _(distribution: SkewLogNormal, *, value: Scalar) -> Scalar:
    outside, inside, z = _split(distribution, value)
    norm = jnp.log(as_float(distribution.log_scale)) + 0.5 * math.log(0.5 * math.pi) + jnp.log(inside)
    return jnp.where(outside, -jnp.inf, log_ndtr(distribution.log_shape * z) - 0.5 * z**2 - norm)


@limited_mean.register
def _(distribution: SkewLogNormal, *, value: Scalar) -> Scalar:
    """What lies above the value is an extended skew-normal: a probability of two normals."""
    outside, inside, z = _split(distribution, value)
    delta, scale = _delta(distribution), distribution.log_scale
    whole = 2.0 * jnp.exp(distribution.log_location + 0.5 * as_float(scale) ** 2)
    below = whole * bivariate_normal_cdf(z - scale, delta * scale, correlation=-delta)
    rest = jnp.where(jnp.isinf(inside), 0.0, inside * survival(distribution, value=inside))
    limited = below + rest
    return jnp.where(outside, as_float(value), limited)


@quantile.register
def _(distribution: SkewLogNormal, *, level: Scalar) -> Scalar:
    def bracket(inner: jax.Array) -> tuple[jax.Array, jax.Array]:
        reach = REACH[jnp.finfo(inner.dtype).bits] * as_float(distribution.log_scale)
        return distribution.log_location - reach, distribution.log_location + reach

    return solve_quantile(distribution, level=level, bracket=bracket)


@tail_mean.register
def _(distribution: SkewLogNormal, *, level: Scalar) -> Scalar:
    level = require_levels(level)
    everything = level <= 0
    at = quantile(distribution, level=jnp.where(everything, 0.5, level))
    _, _, z = _split(distribution, at)
    delta, scale = _delta(distribution), as_float(distribution.log_scale)
    whole = 2.0 * jnp.exp(distribution.log_location + 0.5 * scale**2)
    above = whole * bivariate_normal_cdf(scale - z, delta * scale, correlation=delta)
    return jnp.where(everything, whole * ndtr(delta * scale), above / (1.0 - level))


@sample.register
def _(distribution: SkewLogNormal, *, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
    """`delta |u| + sqrt(1 - delta^2) v` with two normal numbers."""
    dtype = jnp.result_type(*jax.tree.leaves(distribution), float)
    u, v = jax.random.normal(key, (2, *shape), dtype)
    lean = as_float(distribution.log_shape)
    z = (lean * jnp.abs(u) + v) / jnp.sqrt(1.0 + lean**2)
    return jnp.exp(distribution.log_location + distribution.log_scale * z)
