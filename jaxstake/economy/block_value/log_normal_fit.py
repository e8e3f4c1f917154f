"""The lognormal of maximum likelihood in closed form, and how far a distribution lies from payments."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxstake.core.numerics import as_float, safe_divide, safe_sqrt
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar
from jaxstake.economy.block_value.interface import cdf
from jaxstake.economy.block_value.log_normal import LogNormal


@pytree
class LogNormalFit:
    """A lognormal fitted to payments, how well it fits, and what was left out.

    `paid` counts the payments that the fit uses, `zero` those that are 0 or less and `missing` those that are not
    numbers; the expected value of a block is the mean of the distribution times `paid / (paid + zero)`.
    """

    distribution: LogNormal = leaf()
    log_mean_error: Scalar = leaf(unit="log ETH", meaning="standard error of log_mean")
    log_std_error: Scalar = leaf(unit="log ETH", meaning="standard error of log_std")
    log_likelihood: Scalar = leaf(meaning="of the payments used")
    ks_distance: Scalar = leaf(meaning="largest gap between the fitted and the empirical distribution")
    sample_mean: Scalar = leaf(unit="ETH", meaning="mean of the payments used, to hold against the fitted mean")
    paid: Scalar = leaf()
    zero: Scalar = leaf()
    missing: Scalar = leaf()


def fit_log_normal(payments_eth: jax.Array, *, weights: jax.Array | None = None) -> LogNormalFit:
    """Maximum-likelihood lognormal of payments, in closed form.

    Equation: `log_mean` and `log_std` are the mean and the standard deviation (divisor n) of the logarithms of the
    positive payments; their standard errors are `log_std / sqrt(n)` and `log_std / sqrt(2 n)`.

    Args:
        payments_eth: [B] payments, ETH; NaN for a block whose payment is unknown.
        weights: [B] how often each counts, >= 0; 1 if not given. Counts are then sums of weights.

    Returns:
        `LogNormalFit`; NaN in every estimate if fewer than two payments are positive.

    Raises:
        ValueError: payments_eth is not a vector.

    Example:
        >>> fit = fit_log_normal(jnp.exp(jnp.array([-4.0, -3.0, -2.0, jnp.nan])))
        >>> print(f"{fit.distribution.log_mean:.3f} {fit.distribution.log_std:.3f} {int(fit.missing)} missing")
        -3.000 0.816 1 missing
    """
    payments = as_float(payments_eth)
    if payments.ndim != 1:
        raise ValueError(f"payments_eth must be a vector [B], got shape {payments.shape}")
    counts = jnp.ones_like(payments) if weights is None else as_float(weights)
    missing = jnp.isnan(payments)
    used = payments > 0
    height = jnp.where(used, counts, 0.0)
    count = jnp.sum(height)
    usable = jnp.where(jnp.sum(height > 0) >= 2, 1.0, jnp.nan)
    log_payment = jnp.log(jnp.where(used, payments, 1.0))
    log_mean = safe_divide(jnp.sum(height * log_payment), count) * usable
    spread = jnp.where(used, log_payment - log_mean, 0.0)
    log_std = safe_sqrt(safe_divide(jnp.sum(height * spread**2), count)) * usable
    fitted = LogNormal(log_mean=log_mean, log_std=log_std)
    log_likelihood = -jnp.sum(height * log_payment) - count * (jnp.log(log_std) + 0.5 * math.log(2.0 * math.pi) + 0.5)
    return LogNormalFit(
        distribution=fitted,
        log_mean_error=log_std / jnp.sqrt(count),
        log_std_error=log_std / jnp.sqrt(2.0 * count),
        log_likelihood=log_likelihood,
        ks_distance=ks_distance(fitted, payments, weights) + 0.0 * log_std,
        sample_mean=safe_divide(jnp.sum(height * jnp.where(used, payments, 0.0)), count) * usable,
        paid=count,
        zero=jnp.sum(jnp.where(payments <= 0, counts, 0.0)),
        missing=jnp.sum(jnp.where(missing, counts, 0.0)),
    )


def ks_distance(distribution: Any, payments_eth: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """Kolmogorov-Smirnov distance: the largest gap between a distribution and that of the positive payments.

    Args:
        distribution: any family of block values.
        payments_eth: [B] payments, ETH; those that are not above 0 are ignored.
        weights: [B] how often each counts, >= 0; 1 if not given.

    Example:
        >>> value = LogNormal(log_mean=0.0, log_std=1.0)
        >>> print(f"{ks_distance(value, jnp.asarray([1.0, 1.0])):.2f}")
        0.50
    """
    payments = as_float(payments_eth)
    counts = jnp.ones_like(payments) if weights is None else as_float(weights)
    used = payments > 0
    order = jnp.argsort(jnp.where(used, payments, jnp.inf))
    ordered, heights = jnp.where(used, payments, jnp.inf)[order], jnp.where(used, counts, 0.0)[order]
    total = jnp.sum(heights)
    after = jnp.cumsum(heights)
    chance = cdf(distribution, value=ordered)
    gap = jnp.maximum(chance - safe_divide(after - heights, total), safe_divide(after, total) - chance)
    return jnp.max(jnp.where(used[order], gap, 0.0), initial=0.0)
