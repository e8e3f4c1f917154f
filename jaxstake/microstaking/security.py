"""How likely an attack is: thresholds, corrupt operators, committees, and the level of security.

`common_shock` has the chance that operators fail together, `attack_cost` the chance that an attack is bought, and
`assessment` joins all of them. Chances are natural logarithms until the last step, because an attack is rare:
`security_level` counts its decimal places. Every function takes scalars, but those over operators, which take
stakes `[O]`.
"""

from __future__ import annotations

import math
from typing import Literal

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr

from jaxstake.core.checks import require, require_domain
from jaxstake.core.domain import FINITE, FRACTION, NON_NEGATIVE, POSITIVE, POSITIVE_FRACTION, Domain
from jaxstake.core.numerics import as_float
from jaxstake.core.typing import Scalar
from jaxstake.microstaking.binomial_tail import TRIALS, log_binomial_tail, threshold_count
from jaxstake.microstaking.concentration import shares

STOPS_FINALITY = 1 / 3
WINS_FORK_CHOICE = 1 / 2
FINALISES_ALONE = 2 / 3
"""Shares of the stake, or of a committee, from which an attacker can do so."""

_LOG_CHANCE = Domain(high=0.0)


def byzantine_margin(*, corrupt: Scalar, total: Scalar, threshold: Scalar = STOPS_FINALITY) -> Scalar:
    """Distance of the corrupt share from the threshold: positive is safe.

    Equation: `threshold - f / n`.

    Args:
        corrupt: corrupt stake (ETH) or number of validators `f`, >= 0.
        total: all stake or all validators `n`, in the same unit, > 0.
        threshold: share from which the attack works, in (0, 1]: 1/3, 1/2 or 2/3.

    Raises:
        ValueError: a concrete argument is out of range, or corrupt exceeds total.

    Source: M. Pease, R. Shostak and L. Lamport, Journal of the ACM 27 (1980) 228-234, for 1/3; phase 0 fork choice
    and `weigh_justification_and_finalization` for 1/2 and 2/3.

    Example:
        >>> print(f"{byzantine_margin(corrupt=250.0, total=1000.0, threshold=0.5):.2f}")
        0.25
    """
    corrupt = require_domain("corrupt", corrupt, NON_NEGATIVE)
    total = require_domain("total", total, POSITIVE)
    threshold = require_domain("threshold", threshold, POSITIVE_FRACTION)
    covered = require(
        corrupt <= total, "corrupt must be at most total = {total}, got {corrupt}", corrupt=corrupt, total=total
    )
    return threshold - corrupt / total * covered


def is_byzantine_safe(*, corrupt: Scalar, total: Scalar, threshold: Scalar = STOPS_FINALITY) -> jax.Array:
    """Whether the corrupt share is below the threshold: `f / n < threshold`, strictly, by stake or by count.

    Arguments, errors and source as `byzantine_margin`; a traced bad argument is not safe.

    Example:
        >>> bool(is_byzantine_safe(corrupt=1.0, total=4.0)), bool(is_byzantine_safe(corrupt=2.0, total=4.0))
        (True, False)
    """
    return jnp.asarray(byzantine_margin(corrupt=corrupt, total=total, threshold=threshold) > 0)


def operator_quality(*, stake_eth: Scalar, kappa: Scalar = 0.25, quality_at_32: Scalar = 2.326) -> Scalar:
    """Mean quality of new solo stakers who put in a stake, in standard deviations above the failing level.

    Equation: `mu_Q(v) = 2.326 - kappa ln(32 / v)`.

    Args:
        stake_eth: stake `v` of one staker, ETH, > 0.
        kappa: loss of quality per e-fold of a smaller stake, >= 0; 0 to 0.5 is the range to sweep (judgement).
        quality_at_32: quality at 32 ETH; 2.326 makes one staker in a hundred fail (judgement).

    Raises:
        ValueError: a concrete argument is out of range.

    Example:
        >>> print(f"{operator_quality(stake_eth=1.0):.3f}")
        1.460
    """
    stake_eth = require_domain("stake_eth", stake_eth, POSITIVE)
    kappa = require_domain("kappa", kappa, NON_NEGATIVE)
    quality_at_32 = require_domain("quality_at_32", quality_at_32, FINITE)
    return quality_at_32 + kappa * jnp.log(as_float(stake_eth / 32.0))


def corruption_probability(*, quality: Scalar) -> jax.Array:
    """Chance that an operator is corrupt or fails: `q = Phi(-mu_Q)`, quality being normal with deviation 1.

    Args:
        quality: mean quality `mu_Q`, standard deviations, finite.

    Raises:
        ValueError: quality is concrete and not finite.

    Example:
        >>> print(f"{corruption_probability(quality=2.326):.4f}")
        0.0100
    """
    return ndtr(-as_float(require_domain("quality", quality, FINITE)))


def mean_corruption(*, stakes: jax.Array, corruption: jax.Array) -> jax.Array:
    """Chance of corruption of an ether: the mean over operators, weighted by stake.

    Args:
        stakes: [O] stake of each operator, any unit, >= 0, not all 0.
        corruption: [O] chance that it is corrupt, in [0, 1].

    Raises:
        ValueError: a shape is wrong, or a concrete value is out of range.

    Example:
        >>> print(f"{mean_corruption(stakes=jnp.array([3.0, 1.0]), corruption=jnp.array([0.0, 0.2])):.3f}")
        0.050
    """
    weights = shares(stakes)
    chances = as_float(corruption)
    if chances.shape != weights.shape:
        raise ValueError(f"corruption must have the shape of stakes {weights.shape}, got shape {chances.shape}")
    return jnp.sum(weights * require_domain("corruption", chances, FRACTION))


def log_committee_failure(
    *,
    size: Scalar,
    corrupt_share: Scalar,
    threshold: Scalar = FINALISES_ALONE,
    rule: Literal["smooth", "hard"] = "hard",
) -> jax.Array:
    """Logarithm of the chance that a committee drawn at random is corrupt to a threshold.

    Equation: `ln P(Bin(c, x) >= c theta)`; members are drawn as if with replacement.

    Args:
        size: members `c`, >= 1.
        corrupt_share: corrupt share `x` of all validators, in [0, 1].
        threshold: share of the committee `theta` that is enough, in (0, 1].
        rule: "hard" for whole members, the ceiling of `c theta`, or "smooth".

    Returns:
        Natural logarithm; over `-ln 2` it is bits. Accuracy as `log_binomial_tail`.

    Raises:
        ValueError: a concrete argument is out of range, or the rule is unknown.

    Source: the sharding design's minimum committee of 111, with a chance of failure of 2^-40 at a third corrupt.

    Example:
        >>> print(f"{-log_committee_failure(size=111.0, corrupt_share=1 / 3) / jnp.log(2.0):.1f}")
        40.2
    """
    size = require_domain("size", size, TRIALS)
    threshold = require_domain("threshold", threshold, POSITIVE_FRACTION)
    count = threshold_count(n=size, share=threshold, rule=rule)
    return log_binomial_tail(n=size, k=count, x=require_domain("corrupt_share", corrupt_share, FRACTION))


def log_attack_probability(*, log_fault: Scalar, log_economic: Scalar) -> jax.Array:
    """Logarithm of the chance that faults or a bought attack succeed, independently, without cancellation.

    Equation: `P = 1 - (1 - P_fault)(1 - P_econ)`, as `ln P = h + ln(1 + e^(l-h) (1 - e^h))` with the larger logarithm
    `h` and the smaller `l`.

    Args:
        log_fault: natural logarithm of `P_fault`, at most 0.
        log_economic: natural logarithm of `P_econ`, at most 0.

    Raises:
        ValueError: a concrete argument is out of range.

    Example:
        >>> print(f"{jnp.exp(log_attack_probability(log_fault=jnp.log(0.5), log_economic=jnp.log(0.1))):.2f}")
        0.55
    """
    fault = as_float(require_domain("log_fault", log_fault, _LOG_CHANCE))
    economic = as_float(require_domain("log_economic", log_economic, _LOG_CHANCE))
    high, low = jnp.maximum(fault, economic), jnp.minimum(fault, economic)
    return jnp.minimum(high + jnp.log1p(-jnp.exp(low - high) * jnp.expm1(high)), 0.0)


def security_level(*, log_attack: Scalar) -> Scalar:
    """Decimal places of security: `s = -log10 P(attack)`.

    Args:
        log_attack: natural logarithm of `P(attack)`, at most 0.

    Raises:
        ValueError: a concrete argument is out of range.

    Example:
        >>> print(f"{security_level(log_attack=-23.0259):.3f}")
        10.000
    """
    return -require_domain("log_attack", log_attack, _LOG_CHANCE) / math.log(10.0)


def security(*, level: Scalar) -> jax.Array:
    """Chance that nothing happens: `S = 1 - 10^-s`, without cancellation at a small level.

    Args:
        level: decimal places of security `s`, >= 0.

    Raises:
        ValueError: level is concrete and out of range.

    Example:
        >>> print(f"{security(level=2.0):.2f}")
        0.99
    """
    return -jnp.expm1(-math.log(10.0) * as_float(require_domain("level", level, NON_NEGATIVE)))
