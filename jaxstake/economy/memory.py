"""Block values that remember: a stationary model of the dependence of successive payments.

Payments keep their distribution; what is serially correlated is the normal number behind each,
`z = Phi^-1(F(payment))` (a Gaussian copula). That number is the sum of a level that moves slowly, a short memory and
independent noise, so that its autocorrelation falls fast at first and slowly after, as that of real payments does.
AR(1) is the short memory alone.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri

from jaxstake.core.checks import require_domain
from jaxstake.core.domain import FRACTION, NON_NEGATIVE, PROPER_FRACTION, Domain
from jaxstake.core.numerics import as_float, safe_sqrt
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar
from jaxstake.economy import block_value

_YEAR = Domain(64.0, open_low=True)


@pytree
class Memory:
    """Autocorrelation of the normal number behind a payment, slot by slot.

    Equation: at a lag of k > 0 slots `l p^k + (1 - l) s q^k` with l the share of the level and p its persistence, s
    the share of the short memory in the rest and q its persistence; what is left is noise.
    """

    level_share: Scalar = leaf(default=0.0, domain=FRACTION, meaning="share of the variance that the level has")
    level_persistence: Scalar = leaf(default=0.0, domain=PROPER_FRACTION, meaning="correlation of the level per slot")
    short_share: Scalar = leaf(default=0.0, domain=FRACTION, meaning="share of the rest that the short memory has")
    short_persistence: Scalar = leaf(
        default=0.0, domain=PROPER_FRACTION, meaning="correlation of the short memory per slot"
    )


@pytree
class MemoryState:
    """The two parts of the normal number that last."""

    level: jax.Array = leaf(meaning="of variance 1")
    short: jax.Array = leaf(meaning="of variance 1")


def ar1(persistence: Scalar) -> Memory:
    """First-order autoregression: the correlation at a lag of k slots is the k-th power of that at one.

    Example:
        >>> print(f"{autocorrelation(ar1(0.4), lag=2.0):.2f}")
        0.16
    """
    return Memory(short_share=1.0, short_persistence=persistence)


def _shares(memory: Memory) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Variances of level, short memory and noise."""
    level = as_float(memory.level_share)
    return level, (1.0 - level) * memory.short_share, (1.0 - level) * (1.0 - as_float(memory.short_share))


def _kept(persistence: Scalar, lag: Scalar) -> jax.Array:
    """`persistence^lag`; at a persistence of 0 the gradient is that of a whole number of slots, and finite."""
    persistence, lag = as_float(persistence), as_float(lag)
    none = persistence <= 0
    power = jnp.exp(lag * jnp.log(jnp.where(none, 0.5, persistence)))
    return jnp.where(none, jnp.where(lag == 0, 1.0, jnp.where(lag == 1, persistence, 0.0)), power)


def autocorrelation(memory: Memory, *, lag: Scalar) -> jax.Array:
    """Correlation of the normal numbers behind two payments so many slots apart.

    Args:
        memory: the model.
        lag: slots between them, >= 0; any shape.

    Raises:
        ValueError: a concrete lag is negative.

    Example:
        >>> slow = Memory(level_share=0.2, level_persistence=0.999, short_share=0.2, short_persistence=0.5)
        >>> print(f"{autocorrelation(slow, lag=1.0):.3f} {autocorrelation(slow, lag=100.0):.3f}")
        0.280 0.181
    """
    lag = as_float(require_domain("lag", lag, NON_NEGATIVE))
    level, short, _ = _shares(memory)
    later = level * _kept(memory.level_persistence, lag) + short * _kept(memory.short_persistence, lag)
    return jnp.where(lag == 0, 1.0, later)


def normal_scores(distribution: Any, payments_eth: jax.Array) -> jax.Array:
    """The normal number behind each payment, `Phi^-1(F(payment))`; NaN where the payment is not above 0.

    Args:
        distribution: family of block values that the payments follow.
        payments_eth: [B] payments, ETH.
    """
    payments = as_float(payments_eth)
    paid = payments > 0
    inside = jnp.where(paid, payments, 1.0)
    below = as_float(block_value.cdf(distribution, value=inside))
    above = as_float(block_value.survival(distribution, value=inside))
    least = jnp.finfo(below.dtype).tiny
    score = jnp.where(below < 0.5, ndtri(jnp.clip(below, least, 0.5)), -ndtri(jnp.clip(above, least, 0.5)))
    return jnp.where(paid, score, jnp.nan)


def negative_log_likelihood(memory: Memory, scores: jax.Array, gaps: jax.Array) -> jax.Array:
    """Mean negative log likelihood of normal scores at uneven times, by a Kalman filter.

    Equation: each score is the level plus the short memory plus noise; between two scores the parts decay to
    `persistence^gap` of themselves, and their uncertainty grows back to their variance.

    Args:
        memory: the model.
        scores: [N] normal scores of known payments in the order of time.
        gaps: [N] slots since the score before, > 0; the first is not used.

    Returns:
        Mean over the N scores; independent scores have `ln(2 pi) / 2 + mean(z^2) / 2`.

    Source: R. E. Kalman, Journal of Basic Engineering 82 (1960) 35-45.

    Example:
        >>> print(f"{negative_log_likelihood(Memory(), jnp.zeros(3), jnp.ones(3)):.4f}")
        0.9189
    """
    scores = as_float(scores)
    gaps = as_float(gaps)
    level, short, noise = _shares(memory)
    size = jnp.stack([level, short])
    kept = jnp.stack([_kept(memory.level_persistence, gaps), _kept(memory.short_persistence, gaps)], axis=1)

    def step(carry: tuple[jax.Array, jax.Array], inputs: tuple[jax.Array, jax.Array]) -> tuple[tuple, jax.Array]:
        mean, spread = carry
        score, keep = inputs
        mean = keep * mean
        spread = spread * (keep[:, None] * keep[None, :]) + jnp.diag(size * (1.0 - keep**2))
        total = jnp.sum(spread) + noise
        gain = jnp.sum(spread, axis=1) / total
        error = score - jnp.sum(mean)
        cost = 0.5 * (jnp.log(2.0 * jnp.pi * total) + error**2 / total)
        return (mean + gain * error, spread - total * gain[:, None] * gain[None, :]), cost

    start = (jnp.zeros(2, scores.dtype), jnp.diag(size).astype(scores.dtype))
    return jnp.mean(jax.lax.scan(step, start, (scores, kept))[1])


def stationary(memory: Memory, *, key: jax.Array, shape: tuple[int, ...] = ()) -> MemoryState:
    """A state drawn from the long run."""
    dtype = jnp.result_type(*jax.tree.leaves(memory), float)
    level, short = jax.random.normal(key, (2, *shape), dtype)
    return MemoryState(level=level, short=short)


def advance(memory: Memory, state: MemoryState, *, slots: Scalar, key: jax.Array) -> tuple[MemoryState, jax.Array]:
    """The state so many slots later, and the normal number behind the payment there.

    Args:
        memory: the model.
        state: before, of any shape.
        slots: slots that pass, >= 0, of the same shape or a scalar.
        key: random key, new style.

    Raises:
        ValueError: concrete slots are negative.
    """
    slots = require_domain("slots", slots, NON_NEGATIVE)
    level_size, short_size, noise_size = _shares(memory)
    draws = jax.random.normal(key, (3, *jnp.shape(state.level)), state.level.dtype)
    parts = []
    for part, persistence, draw in (
        (state.level, memory.level_persistence, draws[0]),
        (state.short, memory.short_persistence, draws[1]),
    ):
        keep = _kept(persistence, slots)
        parts.append(keep * part + safe_sqrt(1.0 - keep**2) * draw)
    later = MemoryState(level=parts[0], short=parts[1])
    score = safe_sqrt(level_size) * later.level + safe_sqrt(short_size) * later.short + safe_sqrt(noise_size) * draws[2]
    return later, score


def chance_of(score: Scalar) -> jax.Array:
    """`Phi(score)`, but never 1: scores that round to it (from 8.3, in single precision 5.4) have the last below."""
    level = ndtr(as_float(score))
    return jnp.clip(level, 0.0, 1.0 - 0.5 * jnp.finfo(level.dtype).eps)


def payment_of(distribution: Any, score: Scalar) -> jax.Array:
    """The payment behind which a normal number stands: the quantile at `chance_of(score)`, ETH, which is finite."""
    return as_float(block_value.quantile(distribution, level=chance_of(score)))


def serial_covariance(distribution: Any, *, correlation: Scalar, nodes: int = 96) -> jax.Array:
    """Covariance of two payments whose normal numbers are correlated, ETH^2.

    Equation: `sum_(n>=1) r^n c_n^2` with `c_n = E[g(z) He_n(z)] / sqrt(n!)`, g the quantile of Phi(z) and He_n the
    Hermite polynomials (Mehler's formula). The sum of all c_n^2 is the variance, so that what the terms leave of it
    goes with the next power. For a lognormal it is `mean^2 (exp(sigma^2 r) - 1)`. Infinite where the variance is.

    The c_n are integrals by Gauss-Legendre up to 8 standard deviations either way (5 in single precision), from which
    a log standard deviation above 2 (1 in single precision) begins to suffer.

    Args:
        distribution: family of block values.
        correlation: r of the normal numbers, in [0, 1); any shape.
        nodes: nodes of the quadrature; half as many terms are summed (a quarter in single precision).

    Raises:
        ValueError: a concrete correlation is out of range.

    Source: F. G. Mehler, Journal fuer die reine und angewandte Mathematik 66 (1866) 161-176.

    Example:
        >>> value = block_value.LogNormal(log_mean=0.0, log_std=0.5)
        >>> print(f"{serial_covariance(value, correlation=0.4):.4f}")
        0.1350
    """
    r = as_float(require_domain("correlation", correlation, PROPER_FRACTION))
    middle, spread = (as_float(moment(distribution)) for moment in (block_value.mean, block_value.variance))
    heavy = jnp.isinf(spread)
    double = middle.dtype == jnp.float64
    z, basis = _hermite(nodes, 8.0 if double else 5.0, nodes // 2 if double else nodes // 4)
    gap = payment_of(distribution, jnp.asarray(z, middle.dtype)) - jnp.where(heavy, 0.0, middle)
    squares = (jnp.asarray(basis, middle.dtype) @ gap) ** 2
    rest = jnp.where(heavy, 0.0, spread) - jnp.sum(squares)
    powers = jnp.concatenate([rest[None], squares[::-1], jnp.zeros(1, squares.dtype)])
    return jnp.where(heavy, jnp.inf, jnp.polyval(powers, r))


def _hermite(nodes: int, reach: float, terms: int) -> tuple[np.ndarray, np.ndarray]:
    """Places [nodes], and the weights [terms, nodes] with which a function there has its first Hermite coefficients."""
    places, weights = np.polynomial.legendre.leggauss(nodes)
    z = reach * places
    rows = [reach * weights * np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi)]
    rows.append(z * rows[0])
    for n in range(1, terms):
        rows.append((z * rows[n] - np.sqrt(n) * rows[n - 1]) / np.sqrt(n + 1))
    return z, np.stack(rows[1:])


def variance_inflation(
    distribution: Any, memory: Memory, *, share: Scalar, slots: Scalar, lags: int = 160
) -> jax.Array:
    """By how much memory raises the variance of what an operator's blocks pay in a year: a factor of 1 or more.

    Equation: with p the share of slots, v the variance and m the mean of a payment, and C(k) the covariance at a lag:
    `1 + 2 p sum_(k=1)^n (1 - k / n) C(k) / (v + (1 - p) m^2)`. The sum is exact up to 32 lags and an integral over the
    logarithm of the lag beyond. It is 1 where the variance is infinite: there memory is no share of it.

    Args:
        distribution: family of block values.
        memory: the model.
        share: operator's share of the slots, in [0, 1].
        slots: slots of the year, n, > 64.
        lags: lags beyond 32 at which the covariance is evaluated.

    Raises:
        ValueError: a concrete share or number of slots is out of range.

    Example:
        >>> value = block_value.LogNormal(log_mean=-3.0, log_std=0.9)
        >>> print(f"{variance_inflation(value, ar1(0.37), share=0.3, slots=2_629_800):.2f}")
        1.16
    """
    share = as_float(require_domain("share", share, FRACTION))
    slots = as_float(require_domain("slots", slots, _YEAR))
    spread, middle = as_float(block_value.variance(distribution)), as_float(block_value.mean(distribution))
    heavy = jnp.isinf(spread)
    few = 32
    steps = jnp.linspace(0.0, 1.0, lags, dtype=middle.dtype)
    first = few + 0.5
    far = first * jnp.exp(steps * jnp.log(slots / first))
    near = jnp.arange(1, few + 1).astype(middle.dtype)
    lag = jnp.concatenate([near, far])
    covariance = serial_covariance(distribution, correlation=autocorrelation(memory, lag=lag))
    weight = (1.0 - lag / slots) * jnp.where(heavy, 0.0, covariance)
    total = jnp.sum(weight[:few]) + jnp.trapezoid(weight[few:] * far, jnp.log(far))
    around = jnp.where(heavy, 1.0, spread) + (1.0 - share) * jnp.where(heavy, 0.0, middle) ** 2
    return 1.0 + 2.0 * share * total / around
