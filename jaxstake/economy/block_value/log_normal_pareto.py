"""A lognormal body with a generalised Pareto tail: the few blocks that carry much of the value."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
from jax.scipy.special import log_ndtr, ndtri

from jaxstake.core.checks import require_domain
from jaxstake.core.domain import FINITE, FRACTION, POSITIVE, Domain
from jaxstake.core.numerics import as_float, expm1_ratio, log1p_ratio, normal_cdf, safe_log
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar
from jaxstake.economy.block_value.interface import (
    cdf,
    central_moments,
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
from jaxstake.economy.block_value.invert import require_levels

SHAPES = Domain(-0.5, open_low=True)
"""Tail shapes for which a likelihood is regular."""


@pytree
class LogNormalPareto:
    """Lognormal up to a threshold, generalised Pareto beyond it.

    Equation: `P(X <= x) = (1 - s) Phi(z(x)) / Phi(z(u))` up to the threshold u, with `z(x) = (ln x - mu) / sigma`, and
    `P(X > x) = s (1 + xi (x - u) / beta)^(-1 / xi)` above it. Moments of order k exist for `xi < 1 / k`. The density
    may jump at the threshold.
    """

    log_mean: Scalar = leaf(unit="log ETH", domain=FINITE, meaning="mean of the logarithm of the body, untruncated")
    log_std: Scalar = leaf(unit="log ETH", domain=POSITIVE, meaning="its standard deviation")
    threshold_eth: Scalar = leaf(unit="ETH", domain=POSITIVE, meaning="where the tail begins")
    tail_share: Scalar = leaf(domain=FRACTION, meaning="share of blocks beyond the threshold")
    tail_scale_eth: Scalar = leaf(unit="ETH", domain=POSITIVE, meaning="scale of the excess over the threshold")
    tail_shape: Scalar = leaf(domain=SHAPES, meaning="shape of the tail; above 0 a power law of exponent 1/shape")


def _z(distribution: LogNormalPareto, value: Scalar) -> jax.Array:
    return (jnp.log(as_float(value)) - distribution.log_mean) / distribution.log_std


def _log_body(distribution: LogNormalPareto) -> jax.Array:
    """Logarithm of the mass that the untruncated lognormal has below the threshold."""
    return log_ndtr(_z(distribution, distribution.threshold_eth))


def _time(distribution: LogNormalPareto, value: jax.Array) -> jax.Array:
    """`-ln P(X > value | tail) = ln(1 + xi y / beta) / xi` of the excess y; infinite past the end of a short tail."""
    endless = jnp.isinf(value)
    excess = jnp.where(endless, distribution.threshold_eth, value) - distribution.threshold_eth
    y = excess / distribution.tail_scale_eth
    growth = distribution.tail_shape * y
    ended = endless | (growth <= -1.0)
    return jnp.where(ended, jnp.inf, y * log1p_ratio(jnp.where(ended, 0.0, growth)))


def _split(distribution: LogNormalPareto, value: Scalar) -> tuple[jax.Array, ...]:
    """Whether a value is not positive, whether it is in the body, and harmless stand-ins for each branch."""
    value = as_float(value)
    threshold = distribution.threshold_eth
    outside, body = value <= 0, value <= threshold
    return outside, body, jnp.where(outside | ~body, threshold, value), jnp.where(body, threshold, value)


def _body_moment(distribution: LogNormalPareto, order: int) -> jax.Array:
    """Raw moment of the body alone."""
    sigma = as_float(distribution.log_std)
    z = _z(distribution, distribution.threshold_eth)
    whole = order * distribution.log_mean + 0.5 * (order * sigma) ** 2
    return jnp.exp(whole + log_ndtr(z - order * sigma) - log_ndtr(z))


def _tail_moment(distribution: LogNormalPareto, order: int) -> jax.Array:
    """Raw moment of the tail alone, of order up to 3; infinite from the shape 1/order on."""
    shape, scale = as_float(distribution.tail_shape), distribution.tail_scale_eth
    exists = shape * order < 1.0
    inner = jnp.where(exists, shape, 0.0)
    excess, total = jnp.ones_like(inner), as_float(distribution.threshold_eth) ** order
    for k in range(1, order + 1):
        excess = excess * k * scale / (1.0 - k * inner)
        total = total + math.comb(order, k) * excess * distribution.threshold_eth ** (order - k)
    return jnp.where(exists, total, jnp.inf)


def _moment(distribution: LogNormalPareto, order: int) -> jax.Array:
    share = as_float(distribution.tail_share)
    tail = _tail_moment(distribution, order)
    none = share == 0
    part = jnp.where(none, 0.0, share * jnp.where(none, 1.0, tail))
    return (1.0 - share) * _body_moment(distribution, order) + part


@mean.register
def _(distribution: LogNormalPareto) -> Scalar:
    return _moment(distribution, 1)


@variance.register
def _(distribution: LogNormalPareto) -> Scalar:
    second = _moment(distribution, 2)
    return central_moments(_moment(distribution, 1), second, second)[0]


@third_central_moment.register
def _(distribution: LogNormalPareto) -> Scalar:
    return central_moments(*(_moment(distribution, order) for order in (1, 2, 3)))[1]


@cdf.register
def _(distribution: LogNormalPareto, *, value: Scalar) -> Scalar:
    outside, body, low, high = _split(distribution, value)
    share = as_float(distribution.tail_share)
    below = (1.0 - share) * normal_cdf(_z(distribution, low)) / normal_cdf(_z(distribution, distribution.threshold_eth))
    beyond = 1.0 - share * jnp.exp(-_time(distribution, high))
    return jnp.where(outside, 0.0, jnp.where(body, below, beyond))


@survival.register
def _(distribution: LogNormalPareto, *, value: Scalar) -> Scalar:
    return jnp.exp(log_survival(distribution, value=value))


@log_cdf.register
def _(distribution: LogNormalPareto, *, value: Scalar) -> Scalar:
    outside, body, low, high = _split(distribution, value)
    share = as_float(distribution.tail_share)
    below = safe_log(1.0 - share, at_zero=-jnp.inf) + log_ndtr(_z(distribution, low)) - _log_body(distribution)
    beyond = jnp.log1p(-jnp.where(body, 0.0, share * jnp.exp(-_time(distribution, high))))
    return jnp.where(outside, -jnp.inf, jnp.where(body, below, beyond))


@log_survival.register
def _(distribution: LogNormalPareto, *, value: Scalar) -> Scalar:
    outside, body, low, high = _split(distribution, value)
    share = as_float(distribution.tail_share)
    between = -jnp.expm1(log_ndtr(_z(distribution, low)) - _log_body(distribution))
    below = safe_log(share + (1.0 - share) * between, at_zero=-jnp.inf)
    beyond = safe_log(share, at_zero=-jnp.inf) - _time(distribution, high)
    return jnp.where(outside, 0.0, jnp.where(body, below, beyond))


@log_density.register
def _(distribution: LogNormalPareto, *, value: Scalar) -> Scalar:
    outside, body, low, high = _split(distribution, value)
    share, sigma = as_float(distribution.tail_share), as_float(distribution.log_std)
    z = _z(distribution, low)
    norm = jnp.log(sigma) + 0.5 * math.log(2.0 * math.pi) + jnp.log(low) + _log_body(distribution)
    below = safe_log(1.0 - share, at_zero=-jnp.inf) - 0.5 * z**2 - norm
    time, shape = _time(distribution, high), as_float(distribution.tail_shape)
    ended = jnp.isinf(time)
    slope = (1.0 + shape) * jnp.where(ended, 0.0, time) + jnp.log(distribution.tail_scale_eth)
    beyond = safe_log(share, at_zero=-jnp.inf) - jnp.where(ended, jnp.inf, slope)
    return jnp.where(outside, -jnp.inf, jnp.where(body, below, beyond))


@quantile.register
def _(distribution: LogNormalPareto, *, level: Scalar) -> Scalar:
    level = as_float(require_domain("level", level, FRACTION))
    share = as_float(distribution.tail_share)
    lowest, highest, body = level <= 0, level >= 1, level <= 1.0 - share
    inner = jnp.where(body & ~lowest, level, 0.5 * (1.0 - share))
    within = jnp.where(share < 1.0, inner / jnp.where(share < 1.0, 1.0 - share, 1.0), 0.5)
    z = ndtri(within * normal_cdf(_z(distribution, distribution.threshold_eth)))
    below = jnp.exp(distribution.log_mean + distribution.log_std * z)
    beyond = _beyond(
        distribution, -jnp.log(jnp.where(body | highest, 1.0, (1.0 - level) / jnp.where(body, 1.0, share)))
    )
    shape = as_float(distribution.tail_shape)
    short = shape < 0
    end = distribution.threshold_eth - distribution.tail_scale_eth / jnp.where(short, shape, -1.0)
    top = jnp.where(share > 0, jnp.where(short, end, jnp.inf), distribution.threshold_eth)
    return jnp.where(lowest, 0.0, jnp.where(highest, top, jnp.where(body, below, beyond)))


def _beyond(distribution: LogNormalPareto, time: jax.Array) -> jax.Array:
    """Value in the tail that a share `exp(-time)` of the tail exceeds."""
    return distribution.threshold_eth + distribution.tail_scale_eth * time * expm1_ratio(distribution.tail_shape * time)


@limited_mean.register
def _(distribution: LogNormalPareto, *, value: Scalar) -> Scalar:
    outside, body, low, high = _split(distribution, value)
    share, sigma = as_float(distribution.tail_share), as_float(distribution.log_std)
    z, body_mass = _z(distribution, low), normal_cdf(_z(distribution, distribution.threshold_eth))
    whole_mean = jnp.exp(distribution.log_mean + 0.5 * sigma**2)
    above = share + (1.0 - share) * (1.0 - normal_cdf(z) / body_mass)
    below = (1.0 - share) * whole_mean * normal_cdf(z - sigma) / body_mass + low * above
    time = _time(distribution, high)
    ended = jnp.isinf(time)
    lasting = jnp.where(ended, 1.0, time)
    bend = as_float(distribution.tail_shape) - 1.0
    finite = bend < 0
    whole = jnp.where(finite, -1.0 / jnp.where(finite, bend, -1.0), jnp.inf)
    excess = distribution.tail_scale_eth * jnp.where(ended, whole, lasting * expm1_ratio(bend * lasting))
    beyond = (1.0 - share) * _body_moment(distribution, 1) + share * (distribution.threshold_eth + excess)
    return jnp.where(outside, as_float(value), jnp.where(body, below, beyond))


@tail_mean.register
def _(distribution: LogNormalPareto, *, level: Scalar) -> Scalar:
    level = require_levels(level)
    share, shape = as_float(distribution.tail_share), as_float(distribution.tail_shape)
    at = quantile(distribution, level=level)
    body = level < 1.0 - share
    exists = shape < 1.0
    excess = jnp.where(body, 0.0, at - distribution.threshold_eth)
    further = (distribution.tail_scale_eth + shape * excess) / jnp.where(exists, 1.0 - shape, 1.0)
    tame = dataclasses.replace(distribution, tail_shape=jnp.where(exists, shape, 0.0))  # no infinity to differentiate
    inside = at + (_moment(tame, 1) - limited_mean(tame, value=at)) / (1.0 - level)
    return jnp.where(exists, jnp.where(body, inside, at + further), jnp.inf)


@sample.register
def _(distribution: LogNormalPareto, *, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
    """One uniform number decides between body and tail and, in the body, the place; the tail has a draw of its own."""
    dtype = jnp.result_type(*jax.tree.leaves(distribution), float)
    place_key, tail_key = jax.random.split(key)
    place, share = jax.random.uniform(place_key, shape, dtype), distribution.tail_share
    beyond = place < share
    least = jnp.finfo(dtype).tiny
    within = jnp.clip((place - share) / jnp.where(as_float(share) < 1.0, 1.0 - share, 1.0), least, 1.0)
    z = ndtri(within * normal_cdf(_z(distribution, distribution.threshold_eth)))
    body = jnp.exp(distribution.log_mean + distribution.log_std * z)
    return jnp.where(beyond, _beyond(distribution, jax.random.exponential(tail_key, shape, dtype)), body)
