"""The security of a set of operators as one number, from a scenario of everything it depends on."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxstake.core.checks import in_domains, poison
from jaxstake.core.domain import FINITE, FRACTION, NON_NEGATIVE, POSITIVE, POSITIVE_FRACTION, PROPER_FRACTION
from jaxstake.core.numerics import as_float
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar
from jaxstake.microstaking.attack_cost import attack_cost, economic_security, log_economic_probability
from jaxstake.microstaking.common_shock import log_fault_probability
from jaxstake.microstaking.concentration import effective_number
from jaxstake.microstaking.security import (
    corruption_probability,
    log_attack_probability,
    operator_quality,
    security,
    security_level,
)


@pytree
class SecurityScenario:
    """What the chance of an attack depends on, beside the stakes. Daily chances; money in USD."""

    # Judgement: one solo staker in a hundred with 32 ETH fails (2.326 standard deviations).
    quality_at_32: Scalar = leaf(default=2.326, domain=FINITE, meaning="quality of a staker with 32 ETH")
    # Judgement; sweep 0 to 0.5.
    kappa_quality: Scalar = leaf(
        default=0.25, domain=NON_NEGATIVE, meaning="quality lost per e-fold of a smaller stake"
    )
    # The present minimum.
    stake_eth: Scalar = leaf(default=32.0, unit="ETH", domain=POSITIVE, meaning="stake of one staker")
    # Judgement, between 0.06 (mainnet's daily non-participation) and 0.46 (a panel of testnet operators).
    correlation: Scalar = leaf(default=0.15, domain=PROPER_FRACTION, meaning="correlation between operators' qualities")
    # Pease, Shostak and Lamport (1980): finality stops at a third.
    threshold: Scalar = leaf(default=1 / 3, domain=POSITIVE_FRACTION, meaning="share of the stake that is an attack")
    # Mainnet, 2026-08-22 (validator queue site).
    total_stake_eth: Scalar = leaf(default=42_228_608.0, unit="ETH", domain=POSITIVE, meaning="total active stake")
    # Close of 2025-12-31 on Binance, the last of the daily series at hand.
    price_usd: Scalar = leaf(default=2_971.64, unit="USD", domain=POSITIVE, meaning="price of ETH")
    # Judgement: slashed with a third of the stake, all of it is lost.
    loss_fraction: Scalar = leaf(default=1.0, domain=FRACTION, meaning="share of the attacking stake that is lost")
    # Judgement: of order 1 in all markets where it was measured (Bouchaud 2010).
    impact: Scalar = leaf(default=1.0, domain=NON_NEGATIVE, meaning="price impact of a day's volume, volatilities")
    # 0.693 a year, daily closes to 2025.
    daily_volatility: Scalar = leaf(default=0.0363, domain=NON_NEGATIVE, meaning="deviation of a day's log return")
    # Judgement: some 15 billion USD a day on spot markets.
    daily_volume_eth: Scalar = leaf(default=5e6, unit="ETH/day", domain=POSITIVE, meaning="ETH traded in a day")
    # Judgement: bought stake of the threshold succeeds.
    success: Scalar = leaf(default=1.0, domain=POSITIVE_FRACTION, meaning="chance that a paid attack succeeds")
    # Judgement.
    reward_usd: Scalar = leaf(default=1e9, unit="USD", domain=POSITIVE, meaning="median reward of an attack")
    # Judgement: a factor of e either way.
    log_std_reward: Scalar = leaf(default=1.0, domain=POSITIVE, meaning="deviation of the reward's logarithm")


@pytree
class Security:
    """Result of `assess`, per day."""

    n_eff: Scalar = leaf(meaning="equal operators as concentrated as the real ones")
    corruption: Scalar = leaf(meaning="chance that an operator is corrupt or fails")
    log_fault: Scalar = leaf(meaning="ln of the chance that corrupt operators hold the threshold")
    log_economic: Scalar = leaf(meaning="ln of the chance that an attack pays")
    cost_usd: Scalar = leaf(unit="USD", meaning="cost of an attack")
    economic_security: Scalar = leaf(meaning="cost over expected reward")
    level: Scalar = leaf(meaning="-log10 of the chance of an attack")
    security: Scalar = leaf(meaning="1 less the chance of an attack")


def assess(scenario: SecurityScenario, *, stakes: jax.Array, counts: jax.Array | None = None) -> Security:
    """Security of a set of operators, all of the quality that goes with the scenario's stake.

    Equation: `log_fault_probability` at `n_eff = 1/HHI`, `log_economic_probability` at `attack_cost`, joined by
    `log_attack_probability`.

    Args:
        scenario: numbers.
        stakes: [O] stake of each row, any unit, >= 0, not all 0.
        counts: [O] equal operators that share it, > 0; default 1 each.

    Raises:
        ValueError: a shape is wrong, or a concrete value is out of its domain.

    Example:
        >>> result = assess(SecurityScenario(), stakes=jnp.array([1.0]), counts=jnp.array([14.0]))
        >>> print(f"{result.corruption:.4f} {result.level:.2f}")
        0.0100 3.66
    """
    ok = in_domains(scenario)
    s = scenario
    n_eff = jnp.maximum(effective_number(stakes, counts), 1.0)
    quality = operator_quality(stake_eth=s.stake_eth, kappa=s.kappa_quality, quality_at_32=s.quality_at_32)
    corruption = corruption_probability(quality=quality)
    log_fault = log_fault_probability(
        n_eff=n_eff, corruption=corruption, correlation=s.correlation, threshold=s.threshold
    )
    cost = attack_cost(
        total_stake_eth=s.total_stake_eth,
        price_usd=s.price_usd,
        daily_volume_eth=s.daily_volume_eth,
        threshold=s.threshold,
        loss_fraction=s.loss_fraction,
        impact=s.impact,
        daily_volatility=s.daily_volatility,
    )
    log_median = jnp.log(as_float(s.reward_usd))
    log_economic = log_economic_probability(
        cost_usd=cost, success=s.success, log_mean_reward=log_median, log_std_reward=s.log_std_reward
    )
    level = security_level(log_attack=log_attack_probability(log_fault=log_fault, log_economic=log_economic))
    result = Security(
        n_eff=n_eff,
        corruption=corruption,
        log_fault=log_fault,
        log_economic=log_economic,
        cost_usd=cost,
        economic_security=economic_security(cost_usd=cost, success=s.success, reward_usd=s.reward_usd),
        level=level,
        security=security(level=level),
    )
    return jax.tree.map(lambda value: poison(ok, value), result)
