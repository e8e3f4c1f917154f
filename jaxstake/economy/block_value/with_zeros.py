"""Blocks that pay nothing, as a point mass at zero beside any family."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxstake.core.checks import require_domain
from jaxstake.core.domain import FRACTION
from jaxstake.core.numerics import as_float, safe_log
from jaxstake.core.pytree import branch, leaf, pytree
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
from jaxstake.economy.block_value.invert import require_levels


@pytree
class WithZeros:
    """Block values that are zero but for a share of blocks, whose values follow another family."""

    paid_share: Scalar = leaf(domain=FRACTION, meaning="share of blocks that pay anything")
    paid: Any = branch()


@mean.register
def _(distribution: WithZeros) -> Scalar:
    return _part(distribution.paid_share, mean(distribution.paid))


@variance.register
def _(distribution: WithZeros) -> Scalar:
    share, middle = as_float(distribution.paid_share), mean(distribution.paid)
    spread = jnp.where(share < 1.0, (1.0 - share) * middle**2, 0.0)
    return _part(share, variance(distribution.paid) + spread)


@third_central_moment.register
def _(distribution: WithZeros) -> Scalar:
    """From the cumulants of a payment that happens with a chance."""
    share, middle = as_float(distribution.paid_share), mean(distribution.paid)
    miss, spread = 1.0 - share, variance(distribution.paid)
    rest = 3.0 * miss * middle * spread + miss * (miss - share) * middle**3
    return _part(share, third_central_moment(distribution.paid) + jnp.where(share < 1.0, rest, 0.0))


@cdf.register
def _(distribution: WithZeros, *, value: Scalar) -> Scalar:
    share = as_float(distribution.paid_share)
    inside = (1.0 - share) + share * cdf(distribution.paid, value=value)
    return jnp.where(as_float(value) < 0, 0.0, inside)


@survival.register
def _(distribution: WithZeros, *, value: Scalar) -> Scalar:
    inside = distribution.paid_share * as_float(survival(distribution.paid, value=value))
    return jnp.where(as_float(value) < 0, 1.0, inside)


@log_cdf.register
def _(distribution: WithZeros, *, value: Scalar) -> Scalar:
    return safe_log(cdf(distribution, value=value), at_zero=-jnp.inf)


@log_survival.register
def _(distribution: WithZeros, *, value: Scalar) -> Scalar:
    inside = safe_log(distribution.paid_share, at_zero=-jnp.inf) + log_survival(distribution.paid, value=value)
    return jnp.where(as_float(value) < 0, 0.0, inside)


@log_density.register
def _(distribution: WithZeros, *, value: Scalar) -> Scalar:
    """With respect to length and a unit mass at 0: there it is the logarithm of the share that pays nothing."""
    value, share = as_float(value), as_float(distribution.paid_share)
    inside = safe_log(share, at_zero=-jnp.inf) + log_density(distribution.paid, value=value)
    return jnp.where(value == 0, safe_log(1.0 - share, at_zero=-jnp.inf), inside)


@quantile.register
def _(distribution: WithZeros, *, level: Scalar) -> Scalar:
    level, share = as_float(require_domain("level", level, FRACTION)), as_float(distribution.paid_share)
    nothing = level <= 1.0 - share
    inner = (level - (1.0 - share)) / jnp.where(share > 0, share, 1.0)
    return jnp.where(
        nothing, 0.0, quantile(distribution.paid, level=jnp.where(nothing, 0.5, jnp.clip(inner, 0.0, 1.0)))
    )


@tail_mean.register
def _(distribution: WithZeros, *, level: Scalar) -> Scalar:
    level, share = require_levels(level), as_float(distribution.paid_share)
    zeros = level <= 1.0 - share
    inner = (level - (1.0 - share)) / jnp.where(share > 0, share, 1.0)
    above = tail_mean(distribution.paid, level=jnp.where(zeros, 0.0, jnp.clip(inner, 0.0, None)))
    return jnp.where(zeros, mean(distribution) / (1.0 - level), above)


@limited_mean.register
def _(distribution: WithZeros, *, value: Scalar) -> Scalar:
    value = as_float(value)
    limited = distribution.paid_share * as_float(limited_mean(distribution.paid, value=value))
    return jnp.where(value <= 0, value, limited)


@sample.register
def _(distribution: WithZeros, *, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
    chance_key, value_key = jax.random.split(key)
    value = sample(distribution.paid, key=value_key, shape=shape)
    return jnp.where(jax.random.uniform(chance_key, shape, value.dtype) < distribution.paid_share, value, 0.0)


def _part(share: Scalar, amount: Scalar) -> jax.Array:
    """The share of an amount that may be infinite; of none, nothing."""
    share, none = as_float(share), as_float(share) == 0
    return jnp.where(none, 0.0, share * jnp.where(none, 1.0, amount))
