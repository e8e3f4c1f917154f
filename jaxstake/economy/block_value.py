"""The value of one block to its proposer (MEV and tips) as a distribution, ETH.

A family is a container of parameters, so that it sweeps, differentiates and calibrates like any scenario.
The functions below are the interface: each dispatches on the family, and a new family registers its own
(`@mean.register`). All take scalars, except that `sample` takes a shape.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr, ndtri

from jaxstake.core.checks import require_domain
from jaxstake.core.domain import FINITE, FRACTION, NON_NEGATIVE, PROPER_FRACTION
from jaxstake.core.numerics import as_float, safe_divide, safe_sqrt
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar


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


def _unknown(distribution: Any) -> NoReturn:
    raise TypeError(f"not a block-value distribution: {type(distribution).__name__}")


@functools.singledispatch
def mean(distribution: Any) -> Scalar:
    """Expected value, ETH. Lognormal: `exp(mu + sigma^2 / 2)`."""
    _unknown(distribution)


@functools.singledispatch
def variance(distribution: Any) -> Scalar:
    """Variance, ETH^2. Lognormal: `(exp(sigma^2) - 1) exp(2 mu + sigma^2)`."""
    _unknown(distribution)


@functools.singledispatch
def third_central_moment(distribution: Any) -> Scalar:
    """Third central moment, ETH^3. Lognormal: `(exp(sigma^2) + 2) (exp(sigma^2) - 1)^2 mean^3`."""
    _unknown(distribution)


@functools.singledispatch
def cdf(distribution: Any, *, value: Scalar) -> Scalar:
    """Chance that a block is worth at most `value` ETH; 0 for value <= 0."""
    _unknown(distribution)


@functools.singledispatch
def quantile(distribution: Any, *, level: Scalar) -> Scalar:
    """Value that a share `level` in [0, 1] of blocks does not exceed, ETH.

    Lognormal: `exp(mu + sigma z)` with z the normal quantile of the level; 0 at level 0 and infinite at level 1, with
    gradient 0 there.
    """
    _unknown(distribution)


@functools.singledispatch
def log_density(distribution: Any, *, value: Scalar) -> Scalar:
    """Natural logarithm of the density at `value` ETH; minus infinity for value <= 0.

    At `log_std` 0 all mass is at the median: plus infinity there, minus infinity elsewhere.
    """
    _unknown(distribution)


@functools.singledispatch
def tail_mean(distribution: Any, *, level: Scalar) -> Scalar:
    """Mean of the blocks above the quantile at `level` in [0, 1), ETH.

    Lognormal: `mean Phi(sigma - z) / (1 - level)` with z the normal quantile of the level.
    """
    _unknown(distribution)


@functools.singledispatch
def sample(distribution: Any, *, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
    """Independent draws, ETH, of the given shape. `key` is new style, from `jax.random.key`."""
    _unknown(distribution)


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
    chance = ndtr(_standardised(distribution, jnp.where(outside, 1.0, value)))
    return jnp.where(outside, 0.0, chance)


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
    above = jnp.where(everything, 1.0, ndtr(distribution.log_std - z))  # newer releases of JAX: NaN slope of ndtri at 0
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


def fit_log_normal(payments_eth: jax.Array) -> LogNormalFit:
    """Maximum-likelihood lognormal of payments, in closed form.

    Equation: `log_mean` and `log_std` are the mean and the standard deviation (divisor n) of the logarithms of the
    positive payments; their standard errors are `log_std / sqrt(n)` and `log_std / sqrt(2 n)`.

    Args:
        payments_eth: [B] payments, ETH; NaN for a block whose payment is unknown.

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
    missing = jnp.isnan(payments)
    used = payments > 0
    count = jnp.sum(used).astype(payments.dtype)
    usable = jnp.where(count >= 2, 1.0, jnp.nan)
    log_payment = jnp.log(jnp.where(used, payments, 1.0))
    log_mean = safe_divide(jnp.sum(log_payment), count) * usable
    spread = jnp.where(used, log_payment - log_mean, 0.0)
    log_std = safe_sqrt(safe_divide(jnp.sum(spread**2), count)) * usable
    fitted = LogNormal(log_mean=log_mean, log_std=log_std)
    log_likelihood = -jnp.sum(jnp.where(used, log_payment, 0.0)) - count * (
        jnp.log(log_std) + 0.5 * math.log(2.0 * math.pi) + 0.5
    )
    return LogNormalFit(
        distribution=fitted,
        log_mean_error=log_std / jnp.sqrt(count),
        log_std_error=log_std / jnp.sqrt(2.0 * count),
        log_likelihood=log_likelihood,
        ks_distance=_ks_distance(fitted, payments, used, count),
        sample_mean=safe_divide(jnp.sum(jnp.where(used, payments, 0.0)), count) * usable,
        paid=count,
        zero=jnp.sum(payments <= 0).astype(payments.dtype),
        missing=jnp.sum(missing).astype(payments.dtype),
    )


def _ks_distance(fitted: LogNormal, payments: jax.Array, used: jax.Array, count: jax.Array) -> jax.Array:
    """Kolmogorov-Smirnov distance over the used payments; the others are sorted to the end and ignored."""
    ordered = jnp.sort(jnp.where(used, payments, jnp.inf))
    rank = jnp.arange(payments.size).astype(payments.dtype)
    chance = cdf(fitted, value=ordered)
    gap = jnp.maximum(chance - rank / count, (rank + 1.0) / count - chance)
    return jnp.max(jnp.where(rank < count, gap, 0.0), initial=0.0) + 0.0 * fitted.log_std
