"""Smooth bijections between a bounded parameter and a free number, so that an optimiser need not know of bounds.

A lower bound is `low + exp(u)`, an upper one `high - exp(u)`, an interval `low + (high - low) sigmoid(u)`. A bound is
reached only in the limit, closed or not: `near_bound` tells when a fit has gone there.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax.scipy.special import logit

from jaxstake.core.domain import Domain
from jaxstake.core.numerics import as_float
from jaxstake.core.typing import Scalar

NEAR = 1e-2
"""Distance to a bound, relative to the interval or to where the fit started, that counts as near."""


def from_free(free: Scalar, *, domain: Domain) -> jax.Array:
    """The parameter of a free number.

    Example:
        >>> print(f"{from_free(0.0, domain=Domain(0.0, 4.0)):.1f} {from_free(0.0, domain=Domain(3.0)):.1f}")
        2.0 4.0
    """
    free = as_float(free)
    if math.isfinite(domain.low) and math.isfinite(domain.high):
        return domain.low + (domain.high - domain.low) * jax.nn.sigmoid(free)
    if math.isfinite(domain.low):
        return domain.low + jnp.exp(free)
    return domain.high - jnp.exp(free) if math.isfinite(domain.high) else free


def to_free(value: Scalar, *, domain: Domain) -> jax.Array:
    """The free number of a parameter strictly inside its domain; infinite on a bound, NaN outside.

    Example:
        >>> print(f"{to_free(2.0, domain=Domain(0.0, 4.0)):.1f} {to_free(4.0, domain=Domain(3.0)):.1f}")
        0.0 0.0
    """
    value = as_float(value)
    if math.isfinite(domain.low) and math.isfinite(domain.high):
        return logit((value - domain.low) / (domain.high - domain.low))
    if math.isfinite(domain.low):
        return jnp.log(value - domain.low)
    return jnp.log(domain.high - value) if math.isfinite(domain.high) else value


def near_bound(value: Scalar, *, start: Scalar, domain: Domain) -> jax.Array:
    """Whether a parameter is within a hundredth of a bound: of the interval, or of the start's distance to it."""
    value, start = as_float(value), as_float(start)
    whole = domain.high - domain.low
    found = jnp.zeros(value.shape, bool)
    for bound in (domain.low, domain.high):
        if math.isfinite(bound):
            scale = whole if math.isfinite(whole) else jnp.abs(start - bound)
            found = found | (jnp.abs(value - bound) <= NEAR * scale)
    return found


def simplex(free: jax.Array) -> jax.Array:
    """Weights that are positive and add up to 1, from one free number less than there are weights.

    Equation: the softmax of the free numbers and a 0 in front.

    Args:
        free: [K - 1] free numbers.

    Returns:
        [K] weights.

    Example:
        >>> [round(float(weight), 3) for weight in simplex(jnp.zeros(2))]
        [0.333, 0.333, 0.333]
    """
    free = as_float(free)
    return jax.nn.softmax(jnp.concatenate([jnp.zeros(1, free.dtype), free]))
