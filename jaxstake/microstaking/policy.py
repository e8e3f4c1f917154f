"""The dynamic minimum stake: a rule that follows the number of validators and the volatility of the price.

The rule is clipped to a range; beside the clip stands a smooth one, which tends to it as its temperature falls.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxstake.core.checks import confirm, every, in_domains, poison, require_domain
from jaxstake.core.domain import FINITE, NON_NEGATIVE, POSITIVE, Domain
from jaxstake.core.numerics import as_float
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar

STABLE_EXPONENT = Domain(-1.0, 1.0, open_low=True, open_high=True)
"""The count follows the minimum with exponent -1, so that a rule of exponent 1 or more in the count oscillates."""


@pytree
class MinimumStakePolicy:
    """`v_min = clip(v_0 f(n, sigma), lowest, highest)`. Only the first three are levers; the references fix the scale.

    Were the references free, each would be an exact null direction with `v_0`.
    """

    base_eth: Scalar = leaf(default=32.0, unit="ETH", domain=POSITIVE, meaning="minimum stake at the references")
    count_exponent: Scalar = leaf(
        default=0.0, domain=STABLE_EXPONENT, meaning="relative change per relative change of n"
    )
    volatility_slope: Scalar = leaf(
        default=0.0, unit="sqrt(year)", domain=FINITE, meaning="relative change per unit of volatility"
    )
    # Mainnet, 2026-08-22: 42.2 million ETH in pieces of 32.
    reference_count: Scalar = leaf(default=1.32e6, domain=POSITIVE, meaning="number of validators at which f is 1")
    # Daily closes of ETH, 2021 to 2025.
    reference_volatility: Scalar = leaf(
        default=0.693, unit="1/sqrt(year)", domain=NON_NEGATIVE, meaning="volatility at which f is 1"
    )
    lowest_eth: Scalar = leaf(default=1.0, unit="ETH", domain=POSITIVE, meaning="smallest minimum")
    highest_eth: Scalar = leaf(default=64.0, unit="ETH", domain=POSITIVE, meaning="largest minimum")


def validate(policy: MinimumStakePolicy) -> jax.Array | bool:
    """Check every leaf against its domain, and the range.

    Raises:
        ValueError: a concrete value breaks a rule.
    """
    ordered = confirm(
        policy.highest_eth > policy.lowest_eth,
        "highest_eth must exceed lowest_eth = {lowest}, got {highest}",
        lowest=policy.lowest_eth,
        highest=policy.highest_eth,
    )
    return every(in_domains(policy), ordered)


def log_factor(policy: MinimumStakePolicy, *, validators: Scalar, volatility: Scalar) -> jax.Array:
    """Logarithm of the factor that moves the minimum.

    Equation: `ln f = a ln(n / n*) + b (sigma - sigma*)`.

    Args:
        policy: the rule.
        validators: number of validators n at the start of the period, > 0.
        volatility: sigma of the price, per square root of a year, >= 0.

    Raises:
        ValueError: a concrete value is out of range.

    Source: Micro-staking analysis, section 4.1, which leaves f open.

    Example:
        >>> rule = MinimumStakePolicy(count_exponent=0.5, volatility_slope=1.0)
        >>> print(f"{log_factor(rule, validators=2.64e6, volatility=0.793):.3f}")
        0.447
    """
    ok = validate(policy)
    count = as_float(require_domain("validators", validators, POSITIVE))
    excess = as_float(require_domain("volatility", volatility, NON_NEGATIVE)) - policy.reference_volatility
    growth = jnp.log(count) - jnp.log(as_float(policy.reference_count))
    return poison(ok, policy.count_exponent * growth + policy.volatility_slope * excess)  # type: ignore[return-value]


def minimum_stake(policy: MinimumStakePolicy, *, validators: Scalar, volatility: Scalar) -> jax.Array:
    """Minimum stake under the hard rule, ETH.

    Equation: `v_min = min(max(v_0 f, lowest), highest)`. At a limit the gradient in the levers is 0.

    Arguments, errors and source as `log_factor`.

    Example:
        >>> rule = MinimumStakePolicy(base_eth=16.0, volatility_slope=4.0)
        >>> [f"{minimum_stake(rule, validators=1e6, volatility=s):.1f}" for s in (0.0, 0.693, 2.0)]
        ['1.0', '16.0', '64.0']
    """
    raw = jnp.log(as_float(policy.base_eth)) + log_factor(policy, validators=validators, volatility=volatility)
    low, high = jnp.log(as_float(policy.lowest_eth)), jnp.log(as_float(policy.highest_eth))
    return jnp.exp(jnp.clip(raw, low, high))


def soft_minimum_stake(
    policy: MinimumStakePolicy, *, validators: Scalar, volatility: Scalar, temperature: Scalar = 0.05
) -> jax.Array:
    """`minimum_stake` with a smooth clip of the logarithm, so that a lever keeps a gradient at the limits.

    Equation: `ln v = l + tau (softplus((x - l)/tau) - softplus((x - h)/tau))`, x the logarithm of `v_0 f`, l and
    h those of the limits. It stays within them and differs from the hard rule by a factor of at most `2^tau`.

    Args:
        policy: the rule.
        validators: number of validators at the start of the period, > 0.
        volatility: of the price, per square root of a year, >= 0.
        temperature: tau, > 0.

    Raises:
        ValueError: a concrete value is out of range.

    Example:
        >>> print(f"{soft_minimum_stake(MinimumStakePolicy(base_eth=64.0), validators=1e6, volatility=0.693):.1f}")
        61.8
    """
    tau = as_float(require_domain("temperature", temperature, POSITIVE))
    raw = jnp.log(as_float(policy.base_eth)) + log_factor(policy, validators=validators, volatility=volatility)
    low, high = jnp.log(as_float(policy.lowest_eth)), jnp.log(as_float(policy.highest_eth))
    above = jax.nn.softplus((raw - low) / tau) - jax.nn.softplus((raw - high) / tau)
    return jnp.exp(low + tau * above)
