"""The chance that a share of all operators fails at once, when a common shock moves all of them.

Independent operators would make security a step: certain below a third, none above. With a common shock the chance is
a mean over the shock. Where operators are few the binomial is smooth in the shock, and the mean is taken over the
shock. Where they are many the binomial is a step there, and the mean is taken over the share at which it steps, which
is beta distributed. Both are Gauss-Hermite sums of the same integral, blended by which of the two is the narrower.
"""

from __future__ import annotations

import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr, logsumexp, ndtr, ndtri
from jax.scipy.stats import norm

from jaxstake.core.checks import require_domain
from jaxstake.core.domain import POSITIVE_FRACTION, PROPER_FRACTION, Domain
from jaxstake.core.numerics import as_float, safe_sqrt
from jaxstake.core.typing import Scalar
from jaxstake.microstaking.binomial_tail import TRIALS, log_binomial_mass, log_tail, threshold_count

CHANCE = Domain(0.0, 1.0, open_low=True, open_high=True)

_BALANCED = 8.0
"""Variance of the shock over that of the threshold at which both sums are trusted alike (64 nodes)."""


def log_fault_probability(
    *,
    n_eff: Scalar,
    corruption: Scalar,
    correlation: Scalar = 0.15,
    threshold: Scalar = 1 / 3,
    rule: Literal["smooth", "hard"] = "smooth",
    nodes: int = 64,
) -> jax.Array:
    """Logarithm of the chance that, on one day, the corrupt operators hold a threshold of the stake.

    Equation: `P = E_Z[P(Bin(n_eff, q(Z)) >= n_eff theta)]`, `Z` a standard normal shock common to all, and
    `q(Z) = Phi((Phi^-1(q) + sqrt(rho) Z) / sqrt(1 - rho))`, so that `E[q(Z)] = q`.

    Args:
        n_eff: number of equal operators, `1 / HHI` of their stakes, >= 1.
        corruption: chance `q` that an operator is corrupt, in (0, 1).
        correlation: `rho` between two operators' qualities, in [0, 1); 0.15 is a judgement between 0.06 (daily
            non-participation on mainnet) and 0.46 (a panel of testnet operators).
        threshold: share `theta` from which the attack works, in (0, 1].
        rule: "smooth" for `n_eff theta` corrupt operators, or "hard" for its ceiling.
        nodes: Gauss-Hermite nodes, static.

    Returns:
        Natural logarithm of the chance. With 64 nodes the probability is within a relative 1e-4 of the integral over
        the exact binomial tail. Its gradient in the correlation is 0 at 0.

    Raises:
        ValueError: a concrete argument is out of range, nodes is not positive, or the rule is unknown.

    Source: O. Vasicek, "Probability of Loss on Loan Portfolio", KMV (1987), with a binomial in place of its limit.

    Example:
        >>> print(f"{log_fault_probability(n_eff=14.0, corruption=0.01):.2f}")
        -8.85
    """
    if nodes < 1:
        raise ValueError(f"nodes must be at least 1, got {nodes}")
    n_eff = require_domain("n_eff", n_eff, TRIALS)
    threshold = require_domain("threshold", threshold, POSITIVE_FRACTION)
    count = as_float(threshold_count(n=n_eff, share=threshold, rule=rule))
    centre = ndtri(as_float(require_domain("corruption", corruption, CHANCE)))
    rho = as_float(require_domain("correlation", correlation, PROPER_FRACTION))
    n_eff = as_float(n_eff)
    mode = count / (n_eff + 1.0)
    place = ndtri(mode)
    spread = jnp.sqrt(mode * (1.0 - mode) / (n_eff + 2.0)) / norm.pdf(place)
    common = rho > 0
    some = jnp.where(common, rho, 0.1)
    balance = 4.0 * (jnp.log(some / (1.0 - some)) - 2.0 * jnp.log(spread) - math.log(_BALANCED))
    by_shock = _over_shocks(n_eff, count, centre, rho, nodes)
    by_share = _over_shares(n_eff, count, centre, some, place, spread, nodes)
    mixed = jnp.logaddexp(jax.nn.log_sigmoid(balance) + by_share, jax.nn.log_sigmoid(-balance) + by_shock)
    return jnp.minimum(jnp.where(common, mixed, by_shock), 0.0)


def log_fault_probability_of_many(
    *, corruption: Scalar, correlation: Scalar = 0.15, threshold: Scalar = 1 / 3
) -> jax.Array:
    """The limit of `log_fault_probability` for infinitely many operators.

    Equation: `P = Phi((Phi^-1(q) - sqrt(1 - rho) Phi^-1(theta)) / sqrt(rho))`.

    Args:
        corruption: chance `q` that an operator is corrupt, in (0, 1).
        correlation: `rho` between two operators' qualities, in (0, 1).
        threshold: share `theta` from which the attack works, in (0, 1).

    Raises:
        ValueError: a concrete argument is out of range.

    Source: O. Vasicek, "Probability of Loss on Loan Portfolio", KMV (1987).

    Example:
        >>> print(f"{log_fault_probability_of_many(corruption=0.01):.2f}")
        -14.97
    """
    centre = ndtri(as_float(require_domain("corruption", corruption, CHANCE)))
    correlation = as_float(require_domain("correlation", correlation, CHANCE))
    edge = ndtri(as_float(require_domain("threshold", threshold, CHANCE)))
    return log_ndtr((centre - jnp.sqrt(1.0 - correlation) * edge) / jnp.sqrt(correlation))


def _over_shocks(n: jax.Array, count: jax.Array, centre: jax.Array, rho: jax.Array, nodes: int) -> jax.Array:
    """`ln E_Z[P(Bin(n, q(Z)) >= count)]`."""
    places, log_weights = _nodes(nodes, centre)
    quality = (centre + safe_sqrt(rho) * places) / jnp.sqrt(1.0 - rho)

    def given(level: jax.Array) -> jax.Array:
        return log_tail(n=n, k=count, x=ndtr(level), complement=ndtr(-level))

    return logsumexp(jax.vmap(given)(quality) + log_weights)


def _over_shares(
    n: jax.Array,
    count: jax.Array,
    centre: jax.Array,
    rho: jax.Array,
    place: jax.Array,
    spread: jax.Array,
    nodes: int,
) -> jax.Array:
    """The same as `ln E_T[Phi((centre - sqrt(1-rho) T) / sqrt(rho))]`, `Phi(T)` beta distributed (count, n-count+1).

    T is nearly normal (place, spread); the nodes follow that normal, tilted towards the rare side, and the exact
    density is in the weights, so that the sum does not depend on where the nodes are.
    """
    places, log_weights = _nodes(nodes, centre)
    private = jnp.sqrt(1.0 - rho)
    both = rho + (1.0 - rho) * spread * spread
    edge = (centre - private * place) / jnp.sqrt(rho)
    inverse_mills = jnp.exp(norm.logpdf(edge) - log_ndtr(edge))
    tilted = place - spread * spread * private * jnp.sqrt(rho) * inverse_mills / both
    width = spread * jnp.sqrt(rho / both)
    tilted, width = jax.lax.stop_gradient((tilted, width))
    t = tilted + width * places
    tiny = float(jnp.finfo(t.dtype).tiny)
    share, rest = jnp.maximum(ndtr(t), tiny), jnp.maximum(ndtr(-t), tiny)

    def density(share: jax.Array, rest: jax.Array) -> jax.Array:
        return log_binomial_mass(n=n, k=count, x=share, complement=rest) + jnp.log(count) - jnp.log(share)

    log_density = jax.vmap(density)(share, rest) + norm.logpdf(t)
    log_ratio = log_density + jnp.log(width) - norm.logpdf(places)
    return logsumexp(log_weights + log_ratio + log_ndtr((centre - private * t) / jnp.sqrt(rho)))


def _nodes(number: int, like: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Places and logarithms of the weights of a Gauss-Hermite mean over a standard normal."""
    places, weights = np.polynomial.hermite_e.hermegauss(number)
    kept = weights > 0
    log_weights = np.log(weights[kept]) - 0.5 * math.log(2.0 * math.pi)
    return jnp.asarray(places[kept], like.dtype), jnp.asarray(log_weights, like.dtype)
