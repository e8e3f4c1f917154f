"""Block values that remember: a stationary model of the dependence of successive payments.

Payments keep their distribution; what is serially correlated is the normal number behind each,
`z = Phi^-1(F(payment))` (a Gaussian copula). That number is the sum of a level that moves slowly, a short memory and
independent noise, so that its autocorrelation falls fast at first and slowly after, as that of real payments does.
AR(1) is the short memory alone.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr, ndtri

from jaxstake.core.checks import require_domain
from jaxstake.core.domain import FRACTION, NON_NEGATIVE, PROPER_FRACTION
from jaxstake.core.numerics import as_float
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar
from jaxstake.economy import block_value


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
    short = (1.0 - level) * memory.short_share
    return level, short, jnp.maximum(1.0 - level - short, 0.0)


def _kept(persistence: Scalar, lag: Scalar) -> jax.Array:
    """`persistence^lag`, with a finite gradient at a persistence of 0."""
    persistence, lag = as_float(persistence), as_float(lag)
    none = persistence <= 0
    power = jnp.exp(lag * jnp.log(jnp.where(none, 0.5, persistence)))
    return jnp.where(none, jnp.where(lag == 0, 1.0, 0.0), power)


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


def normal_scores(distribution: object, payments_eth: jax.Array) -> jax.Array:
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
    """
    level_size, short_size, noise_size = _shares(memory)
    draws = jax.random.normal(key, (3, *jnp.shape(state.level)), state.level.dtype)
    parts = []
    for part, persistence, draw in (
        (state.level, memory.level_persistence, draws[0]),
        (state.short, memory.short_persistence, draws[1]),
    ):
        keep = _kept(persistence, slots)
        parts.append(keep * part + jnp.sqrt(jnp.maximum(1.0 - keep**2, 0.0)) * draw)
    later = MemoryState(level=parts[0], short=parts[1])
    score = jnp.sqrt(level_size) * later.level + jnp.sqrt(short_size) * later.short + jnp.sqrt(noise_size) * draws[2]
    return later, score


def payment_of(distribution: object, score: jax.Array) -> jax.Array:
    """The payment behind which a normal number stands: the quantile at `Phi(score)`, ETH.

    Scores so high that the chance rounds to 1 (8.2, in single precision 5.4) pay the last quantile below it.
    """
    level = ndtr(as_float(score))
    return as_float(
        block_value.quantile(distribution, level=jnp.clip(level, 0.0, 1.0 - 0.5 * jnp.finfo(level.dtype).eps))
    )


def serial_covariance(distribution: object, *, correlation: Scalar, nodes: int = 96) -> jax.Array:
    """Covariance of two payments whose normal numbers are correlated, ETH^2.

    Equation: `E[g(z1) g(z2)] - mean^2` with g the quantile of Phi(z), by Gauss-Legendre up to 8 standard deviations
    (5 in single precision) either way; for a lognormal it is `mean^2 (exp(sigma^2 r) - 1)`. Only for a finite variance; infinite otherwise.

    Args:
        distribution: family of block values.
        correlation: r of the normal numbers, in [0, 1).
        nodes: nodes of the quadrature per axis.

    Raises:
        ValueError: a concrete correlation is out of range.

    Example:
        >>> value = block_value.LogNormal(log_mean=0.0, log_std=0.5)
        >>> print(f"{serial_covariance(value, correlation=0.4):.4f}")
        0.1350
    """
    import numpy as np

    r = as_float(require_domain("correlation", correlation, PROPER_FRACTION))
    places, weights = np.polynomial.legendre.leggauss(nodes)
    middle = as_float(block_value.mean(distribution))
    reach = 8.0 if middle.dtype == jnp.float64 else 5.0
    z = jnp.asarray(reach * places, middle.dtype)
    gap = (payment_of(distribution, z) - middle) * jnp.asarray(reach * weights, middle.dtype)
    ratio = z[:, None] ** 2 + z[None, :] ** 2 - 2.0 * r * z[:, None] * z[None, :]
    density = jnp.exp(-0.5 * ratio / (1.0 - r**2)) / (2.0 * jnp.pi * jnp.sqrt(1.0 - r**2))
    found = gap @ density @ gap
    return jnp.where(jnp.isinf(as_float(block_value.variance(distribution))), jnp.inf, found)


def variance_inflation(
    distribution: object, memory: Memory, *, share: Scalar, slots: Scalar, lags: int = 160
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
        lags: lags at which the covariance is evaluated.

    Raises:
        ValueError: a concrete share is out of range.

    Example:
        >>> value = block_value.LogNormal(log_mean=-3.0, log_std=0.9)
        >>> print(f"{variance_inflation(value, ar1(0.37), share=0.3, slots=2_629_800):.2f}")
        1.16
    """
    share = as_float(require_domain("share", share, FRACTION))
    spread, middle = as_float(block_value.variance(distribution)), as_float(block_value.mean(distribution))
    few = 32
    steps = jnp.linspace(0.0, 1.0, lags, dtype=middle.dtype)
    first = few + 0.5
    far = first * jnp.exp(steps * jnp.log(as_float(slots) / first))
    near = jnp.arange(1, few + 1).astype(middle.dtype)
    lag = jnp.concatenate([near, far])
    covariance = _covariances(distribution)(autocorrelation(memory, lag=lag))
    weight = (1.0 - lag / slots) * covariance
    total = jnp.sum(weight[:few]) + jnp.trapezoid(weight[few:] * far, jnp.log(far))
    heavy = jnp.isinf(spread)
    ratio = 2.0 * share * total / (jnp.where(heavy, 1.0, spread) + (1.0 - share) * middle**2)
    return 1.0 + jnp.where(heavy, 0.0, ratio)


def _covariances(distribution: object) -> Callable[[jax.Array], jax.Array]:
    return jax.vmap(lambda r: serial_covariance(distribution, correlation=r, nodes=64))
