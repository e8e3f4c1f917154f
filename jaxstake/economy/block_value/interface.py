"""What every family of block values offers, and how a function finds the family's own."""

from __future__ import annotations

import functools
from typing import Any, NoReturn

import jax
import jax.numpy as jnp

from jaxstake.core.numerics import as_float, safe_log
from jaxstake.core.typing import Scalar


def _unknown(distribution: Any) -> NoReturn:
    raise TypeError(f"not a block-value distribution: {type(distribution).__name__}")


@functools.singledispatch
def mean(distribution: Any) -> Scalar:
    """Expected value, ETH; infinite where the tail is too heavy. Lognormal: `exp(mu + sigma^2 / 2)`."""
    _unknown(distribution)


@functools.singledispatch
def variance(distribution: Any) -> Scalar:
    """Variance, ETH^2; infinite where the tail is too heavy. Lognormal: `(exp(sigma^2) - 1) exp(2 mu + sigma^2)`."""
    _unknown(distribution)


@functools.singledispatch
def third_central_moment(distribution: Any) -> Scalar:
    """Third central moment, ETH^3, or infinite. Lognormal: `(exp(sigma^2) + 2) (exp(sigma^2) - 1)^2 mean^3`."""
    _unknown(distribution)


@functools.singledispatch
def cdf(distribution: Any, *, value: Scalar) -> Scalar:
    """Chance that a block is worth at most `value` ETH; 0 for value <= 0 (but `WithZeros` has a step at 0)."""
    _unknown(distribution)


@functools.singledispatch
def survival(distribution: Any, *, value: Scalar) -> Scalar:
    """Chance that a block is worth more than `value` ETH, without the cancellation of `1 - cdf` where a family can."""
    return 1.0 - as_float(cdf(distribution, value=value))


@functools.singledispatch
def log_cdf(distribution: Any, *, value: Scalar) -> Scalar:
    """Logarithm of the cdf, what a payment known to be at most `value` contributes; minus infinity where it is 0."""
    return safe_log(cdf(distribution, value=value), at_zero=-jnp.inf)


@functools.singledispatch
def log_survival(distribution: Any, *, value: Scalar) -> Scalar:
    """Logarithm of the survival, what a payment known to exceed `value` contributes; minus infinity where it is 0."""
    return safe_log(survival(distribution, value=value), at_zero=-jnp.inf)


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

    A lognormal at `log_std` 0 has all mass at the median: plus infinity there, minus infinity elsewhere.
    """
    _unknown(distribution)


@functools.singledispatch
def tail_mean(distribution: Any, *, level: Scalar) -> Scalar:
    """Mean of the blocks above the quantile at `level` in [0, 1), ETH; infinite where the mean is.

    Lognormal: `mean Phi(sigma - z) / (1 - level)` with z the normal quantile of the level.
    """
    _unknown(distribution)


@functools.singledispatch
def limited_mean(distribution: Any, *, value: Scalar) -> Scalar:
    """Expected value of a block of which no more than `value` ETH counts, `E[min(X, value)]`; always finite.

    Lognormal: `mean Phi(z - sigma) + value (1 - Phi(z))` with `z = (ln value - mu) / sigma`. Its slope is the survival.
    """
    _unknown(distribution)


@functools.singledispatch
def sample(distribution: Any, *, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
    """Independent draws, ETH, of the given shape. `key` is new style, from `jax.random.key`."""
    _unknown(distribution)


def central_moments(mean: Scalar, second: Scalar, third: Scalar) -> tuple[jax.Array, jax.Array]:
    """Variance and third central moment from the mean and the raw moments; infinite moments stay so."""
    mean, second, third = as_float(mean), as_float(second), as_float(third)
    finite = jnp.where(jnp.isinf(second), 0.0, mean)
    spread = jnp.where(jnp.isinf(second), jnp.inf, second - finite**2)
    known = jnp.where(jnp.isinf(third), 0.0, second)
    centre = jnp.where(jnp.isinf(third), 0.0, mean)
    return spread, jnp.where(jnp.isinf(third), jnp.inf, third - 3.0 * centre * known + 2.0 * centre**3)
