"""What it costs to buy an attack, and how likely it is that the attack is worth more.

The attacker buys a share of the stake on the open market and loses part of it. The price impact follows the
square-root law, because a third of the stake cannot be bought from an AMM. The cost depends on the stake and not on
the number of validators.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.scipy.special import log_ndtr

from jaxstake.core.checks import require_domain
from jaxstake.core.domain import FINITE, FRACTION, NON_NEGATIVE, POSITIVE, POSITIVE_FRACTION
from jaxstake.core.numerics import as_float
from jaxstake.core.typing import Scalar

SMALLEST_SUCCESS = 1e-12
"""Floor of the chance of success inside the logarithm."""


def attack_cost(
    *,
    total_stake_eth: Scalar,
    price_usd: Scalar,
    daily_volume_eth: Scalar,
    threshold: Scalar = 1 / 3,
    loss_fraction: Scalar = 1.0,
    impact: Scalar = 1.0,
    daily_volatility: Scalar = 0.0363,
) -> jax.Array:
    """Cost of an attack with a bought share of the stake, USD.

    Equation: `C = P (theta T loss + theta T Y sigma sqrt(theta T / V))`: the part of the stake that is lost, and the
    price impact of buying it.

    Args:
        total_stake_eth: stake `T`, ETH, > 0.
        price_usd: price `P` of ETH before the attack, USD, > 0.
        daily_volume_eth: ETH traded in a day `V`, > 0.
        threshold: share to buy `theta`, in (0, 1].
        loss_fraction: share of the bought stake that is slashed or loses its value, in [0, 1].
        impact: `Y`, impact in units of the volatility for a day's volume, >= 0; of order 1 in all markets.
        daily_volatility: `sigma`, standard deviation of a day's log return, >= 0; 0.693 a year is 0.0363 a day.

    Raises:
        ValueError: a concrete argument is out of range.

    Source: J.-P. Bouchaud, "Price Impact" (2010), arXiv:0903.2428, for the square-root law.

    Example:
        >>> cost = attack_cost(total_stake_eth=36e6, price_usd=3000.0, daily_volume_eth=3e6, daily_volatility=0.05)
        >>> print(f"{cost:.3e}")
        3.960e+10
    """
    bought = require_domain("threshold", threshold, POSITIVE_FRACTION) * require_domain(
        "total_stake_eth", total_stake_eth, POSITIVE
    )
    impact = require_domain("impact", impact, NON_NEGATIVE)
    daily_volatility = require_domain("daily_volatility", daily_volatility, NON_NEGATIVE)
    days = bought / require_domain("daily_volume_eth", daily_volume_eth, POSITIVE)
    loss = require_domain("loss_fraction", loss_fraction, FRACTION)
    slippage = impact * daily_volatility * jnp.sqrt(as_float(days))
    return require_domain("price_usd", price_usd, POSITIVE) * bought * (loss + slippage)


def log_economic_probability(
    *,
    cost_usd: Scalar,
    success: Scalar = 1.0,
    log_mean_reward: Scalar,
    log_std_reward: Scalar = 1.0,
) -> jax.Array:
    """Logarithm of the chance that the expected reward of an attack exceeds its cost.

    Equation: `P_econ = Phi((ln P_success + mu_R - ln C) / sigma_R)` for a lognormal reward.

    Args:
        cost_usd: cost `C`, USD, > 0.
        success: chance that the attack succeeds once paid for, in [0, 1]; at least 1e-12 inside the logarithm.
        log_mean_reward: `mu_R`, logarithm of the median reward in USD, finite.
        log_std_reward: `sigma_R`, standard deviation of the logarithm of the reward, > 0.

    Returns:
        Natural logarithm of the chance; its gradient in success is 0 below the floor.

    Raises:
        ValueError: a concrete argument is out of range.

    Example:
        >>> print(f"{log_economic_probability(cost_usd=1e9, log_mean_reward=jnp.log(1e9)):.4f}")
        -0.6931
    """
    success = as_float(require_domain("success", success, FRACTION))
    low = success < SMALLEST_SUCCESS
    log_success = jnp.log(jnp.where(low, SMALLEST_SUCCESS, success))
    log_cost = jnp.log(as_float(require_domain("cost_usd", cost_usd, POSITIVE)))
    log_mean_reward = require_domain("log_mean_reward", log_mean_reward, FINITE)
    log_std_reward = require_domain("log_std_reward", log_std_reward, POSITIVE)
    return log_ndtr((log_success + log_mean_reward - log_cost) / log_std_reward)


def economic_security(*, cost_usd: Scalar, success: Scalar = 1.0, reward_usd: Scalar) -> Scalar:
    """Cost of an attack over its expected reward: above 1 it does not pay.

    Equation: `E_s = C / (P_success R)`.

    Args:
        cost_usd: cost `C`, USD, > 0.
        success: chance that the attack succeeds once paid for, in (0, 1].
        reward_usd: reward `R` of a success, USD, > 0.

    Raises:
        ValueError: a concrete argument is out of range.

    Example:
        >>> print(f"{economic_security(cost_usd=3e9, success=0.5, reward_usd=1e9):.1f}")
        6.0
    """
    cost_usd = require_domain("cost_usd", cost_usd, POSITIVE)
    success = require_domain("success", success, POSITIVE_FRACTION)
    return cost_usd / (success * require_domain("reward_usd", reward_usd, POSITIVE))
