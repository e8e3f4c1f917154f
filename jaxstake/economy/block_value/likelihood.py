"""Likelihood of payments under any family: weighted, and censored from either side."""

from __future__ import annotations

import enum
from typing import Any

import jax
import jax.numpy as jnp

from jaxstake.core.numerics import as_float, safe_divide
from jaxstake.economy.block_value.interface import log_cdf, log_density, log_survival


class Censoring(enum.IntEnum):
    """What a payment in the data says of the true one."""

    EXACT = 0
    AT_MOST = -1
    MORE_THAN = 1


def log_likelihood(distribution: Any, payments_eth: jax.Array, *, censoring: jax.Array | None = None) -> jax.Array:
    """Logarithm of the likelihood of each payment.

    Equation: the log density of an exact payment, `ln P(X <= x)` where the payment is known to be at most x, and
    `ln P(X > x)` where it is known to exceed x.

    Args:
        distribution: any family of block values.
        payments_eth: [B] payments or bounds, ETH.
        censoring: [B] integers of `Censoring`; all exact if not given.

    Returns:
        [B] logarithms.

    Example:
        >>> from jaxstake.economy.block_value import LogNormal
        >>> value = LogNormal(log_mean=0.0, log_std=1.0)
        >>> found = log_likelihood(value, jnp.ones(3), censoring=jnp.asarray([-1, 0, 1]))
        >>> [round(float(x), 3) for x in found]
        [-0.693, -0.919, -0.693]
    """
    payments = as_float(payments_eth)
    if censoring is None:
        return as_float(log_density(distribution, value=payments))
    below, above = censoring == Censoring.AT_MOST, censoring == Censoring.MORE_THAN
    at_most = log_cdf(distribution, value=jnp.where(below, payments, 1.0))
    more = log_survival(distribution, value=jnp.where(above, payments, 1.0))
    exact = log_density(distribution, value=jnp.where(below | above, 1.0, payments))
    return jnp.where(below, at_most, jnp.where(above, more, exact))


def negative_log_likelihood(
    distribution: Any,
    payments_eth: jax.Array,
    weights: jax.Array | None = None,
    censoring: jax.Array | None = None,
) -> jax.Array:
    """Mean negative log likelihood of a payment, the loss of every fit.

    Equation: `-sum_i w_i ln L_i / sum_i w_i`. What has no weight does not count, whatever it is.

    Args:
        distribution: any family of block values.
        payments_eth: [B] payments or bounds, ETH.
        weights: [B] how often each counts, >= 0; 1 if not given.
        censoring: [B] integers of `Censoring`; all exact if not given.

    Example:
        >>> from jaxstake.economy.block_value import LogNormal
        >>> print(f"{negative_log_likelihood(LogNormal(log_mean=0.0, log_std=1.0), jnp.ones(3)):.4f}")
        0.9189
    """
    payments = as_float(payments_eth)
    if weights is None:
        return -jnp.mean(log_likelihood(distribution, payments, censoring=censoring))
    counts = as_float(weights)
    used = counts > 0
    each = log_likelihood(distribution, jnp.where(used, payments, 1.0), censoring=censoring)
    return -safe_divide(jnp.sum(jnp.where(used, counts * jnp.where(used, each, 0.0), 0.0)), jnp.sum(counts))
