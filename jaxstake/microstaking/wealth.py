"""Wealth of the holders of ETH: a truncated lognormal, its partial moments, its size classes and samples of it.

Most holders are poor and most ether is rich: with the default numbers a thousandth of a percent of the untruncated
law lies above 1 ETH, so that every probability is a small difference in a far tail. All of it is done with the
logarithm of the normal distribution function, on the side of the tail on which nothing cancels.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import log_ndtr, ndtri

from jaxstake.core.checks import confirm, every, in_domains, poison, require_domain
from jaxstake.core.domain import FINITE, POSITIVE
from jaxstake.core.numerics import as_float
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar


@pytree
class Wealth:
    """`w ~ LogNormal(log_mean, log_std)` truncated to [smallest, largest], ETH, of a number of holders.

    Location and spread are fixed and not fitted: they lie on a ridge, and only the part above 1 ETH is seen.
    """

    # Judgement, with the next four: 121 million ETH in all, a tenth of the holders with 32 ETH or more.
    holders: Scalar = leaf(default=1.202e6, domain=POSITIVE, meaning="holders of the smallest amount or more")
    log_mean: Scalar = leaf(default=-16.262, domain=FINITE, meaning="mean of ln(wealth) before truncation")
    log_std: Scalar = leaf(default=5.394, domain=POSITIVE, meaning="deviation of ln(wealth) before truncation")
    smallest_eth: Scalar = leaf(default=1.0, unit="ETH", domain=POSITIVE, meaning="least wealth")
    largest_eth: Scalar = leaf(default=1e7, unit="ETH", domain=POSITIVE, meaning="largest wealth")


@pytree
class SizeClasses:
    """Holders of one size, C classes; the sums of `holders` and of `holders * size_eth` are those of the law."""

    size_eth: jax.Array = leaf(unit="ETH", meaning="[C] mean wealth in the class")
    holders: jax.Array = leaf(meaning="[C] expected number of holders")
    log_width: Any = leaf(default=None, meaning="width of a class in ln(wealth); None where each is a single size")


def validate(wealth: Wealth) -> jax.Array | bool:
    """Check that every number is in its domain and the largest wealth exceeds the smallest.

    Raises:
        ValueError: a concrete number is not.
    """
    ordered = confirm(
        wealth.largest_eth > wealth.smallest_eth,
        "largest_eth must exceed smallest_eth = {smallest}, got {largest}",
        smallest=wealth.smallest_eth,
        largest=wealth.largest_eth,
    )
    return every(in_domains(wealth), ordered)


def log_partial_moment(wealth: Wealth, *, order: Scalar, low: Scalar, high: Scalar) -> jax.Array:
    """Logarithm of the mean of `w^order` over the holders with wealth between two amounts.

    Equation: `ln E[w^m 1(low <= w <= high)] = m mu + m^2 sigma^2 / 2 + ln(Phi(z_high) - Phi(z_low)) - ln Z`,
    `z = (ln w - mu) / sigma - m sigma`, Z the same difference at order 0 between smallest and largest.

    Args:
        wealth: the law.
        order: m, finite; 0 counts holders, 1 their ether.
        low: ETH, > 0; clipped to the range of the law.
        high: ETH, > 0; clipped likewise.

    Returns:
        Natural logarithm; minus infinity where no holder lies between the two (the gradient there is 0).

    Raises:
        ValueError: a concrete argument is out of range.

    Source: lognormal partial moments, N. L. Johnson, S. Kotz and N. Balakrishnan, Continuous Univariate
    Distributions 1 (1994), chapter 14.

    Example:
        >>> share = jnp.exp(log_partial_moment(Wealth(), order=0.0, low=32.0, high=1e7))
        >>> print(f"{share:.4f} of the holders have 32 ETH or more")
        0.0991 of the holders have 32 ETH or more
    """
    ok = validate(wealth)
    order = as_float(require_domain("order", order, FINITE))
    ends = [
        jnp.clip(as_float(require_domain(name, value, POSITIVE)), wealth.smallest_eth, wealth.largest_eth)
        for name, value in (("low", low), ("high", high))
    ]
    whole = _log_between(wealth, 0.0, wealth.smallest_eth, wealth.largest_eth)
    raised = order * (wealth.log_mean + 0.5 * order * jnp.square(as_float(wealth.log_std)))
    return poison(ok, raised + _log_between(wealth, order, *ends) - whole)  # type: ignore[return-value]


def partial_moment(wealth: Wealth, *, order: Scalar, low: Scalar, high: Scalar) -> jax.Array:
    """Sum of `w^order` over all holders with wealth between two amounts: `holders * exp(log_partial_moment)`.

    Example:
        >>> print(f"{partial_moment(Wealth(), order=1.0, low=1.0, high=1e7) / 1e6:.1f} million ETH")
        121.2 million ETH
    """
    return wealth.holders * jnp.exp(log_partial_moment(wealth, order=order, low=low, high=high))


def size_classes(wealth: Wealth, *, classes: int = 256, low: Scalar | None = None) -> SizeClasses:
    """The law as classes of equal width in the logarithm of wealth, each at its mean.

    What is summed over the classes is exact for holders and ether; for a smooth function of size the error falls with
    the square of the width, 0.063 at the default.

    Args:
        wealth: the law.
        classes: number of classes, static, >= 1.
        low: where the first class begins, ETH, > 0; default the smallest wealth, to which it is clipped.

    Returns:
        `SizeClasses`, ascending. Without holders above `low`, sizes are that amount and numbers 0.

    Raises:
        ValueError: a number is out of range.

    Example:
        >>> found = size_classes(Wealth(), classes=4)
        >>> [f"{float(size):.3g}" for size in found.size_eth]
        ['6.39', '304', '1.45e+04', '7.03e+05']
    """
    if classes < 1:
        raise ValueError(f"classes must be at least 1, got {classes}")
    ok = validate(wealth)
    start = wealth.smallest_eth if low is None else require_domain("low", low, POSITIVE)
    start = jnp.clip(as_float(start), wealth.smallest_eth, wealth.largest_eth)
    least, most = jnp.log(start), jnp.log(as_float(wealth.largest_eth))
    edges = jnp.exp(least + (most - least) * jnp.linspace(0.0, 1.0, classes + 1))
    # The outer edges as given, so that rounding moves nothing out of the range.
    edges = edges.at[0].set(start).at[-1].set(wealth.largest_eth)

    def between(order: float) -> jax.Array:
        return jax.vmap(lambda a, b: log_partial_moment(wealth, order=order, low=a, high=b))(edges[:-1], edges[1:])

    number, ether = between(0.0), between(1.0)
    some = jnp.isfinite(number) & jnp.isfinite(ether)
    size = jnp.where(some, jnp.exp(jnp.where(some, ether, 0.0) - jnp.where(some, number, 0.0)), edges[:-1])
    found = SizeClasses(size_eth=size, holders=wealth.holders * jnp.exp(number), log_width=(most - least) / classes)
    return jax.tree.map(lambda value: poison(ok, value), found)


def sample(wealth: Wealth, *, key: jax.Array, holders: int, tilt: Scalar = 0.5) -> SizeClasses:
    """A stratified sample of holders, drawn by a power of their wealth and weighted by its inverse.

    Equation: `w = exp(mu + t sigma^2 + sigma z)`, `Phi(-z)` uniform in one of n equal strata of its range, which is the
    law of density `w^t f(w)`; one drawn holder stands for `N E[w^t] w^-t / n`.

    Equally likely holders (t = 0) would not do: a thousandth of them has two thirds of the ether. Between holders
    (t = 0) and ether (t = 1), the default sees both.

    Args:
        wealth: the law.
        key: random key.
        holders: sampled holders n, static, >= 1.
        tilt: t, finite.

    Returns:
        `SizeClasses` with n classes, ascending but for ties.

    Raises:
        ValueError: a number is out of range.

    Example:
        >>> drawn = sample(Wealth(), key=jax.random.key(0), holders=10_000)
        >>> print(f"{jnp.sum(drawn.holders) / 1e6:.2f} {jnp.sum(drawn.size_eth * drawn.holders) / 1e6:.0f}")
        1.20 121
    """
    if holders < 1:
        raise ValueError(f"holders must be at least 1, got {holders}")
    ok = validate(wealth)
    tilt = as_float(require_domain("tilt", tilt, FINITE))
    rarest, likeliest = (
        jnp.exp(log_ndtr(-_standard(wealth, end, tilt))) for end in (wealth.largest_eth, wealth.smallest_eth)
    )
    strata = jnp.arange(holders, dtype=float)[::-1] + jax.random.uniform(key, (holders,))
    z = -ndtri(rarest + (likeliest - rarest) * strata / holders)
    log_size = wealth.log_mean + wealth.log_std * (z + tilt * wealth.log_std)
    size = jnp.clip(jnp.exp(log_size), wealth.smallest_eth, wealth.largest_eth)
    log_moment = log_partial_moment(wealth, order=tilt, low=wealth.smallest_eth, high=wealth.largest_eth)
    count = wealth.holders / holders * jnp.exp(log_moment - tilt * jnp.log(size))
    return SizeClasses(size_eth=poison(ok, size), holders=poison(ok, count))  # type: ignore[arg-type]


def _standard(wealth: Wealth, amount: Scalar, order: Scalar) -> jax.Array:
    return (jnp.log(as_float(amount)) - wealth.log_mean) / wealth.log_std - order * wealth.log_std


def _log_between(wealth: Wealth, order: Scalar, low: Scalar, high: Scalar) -> jax.Array:
    """`ln(Phi(z_high) - Phi(z_low))`, in the tail in which the larger of both is the smaller probability."""
    a, b = _standard(wealth, low, order), _standard(wealth, high, order)
    right = a + b > 0
    near, far = jnp.where(right, -a, b), jnp.where(right, -b, a)
    empty = near <= far
    gap = log_ndtr(jnp.where(empty, far - 1.0, far)) - log_ndtr(near)
    return jnp.where(empty, -math.inf, log_ndtr(near) + jnp.log(-jnp.expm1(gap)))
