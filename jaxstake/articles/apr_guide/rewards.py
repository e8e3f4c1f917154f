"""Chapter 2 of the APR guide: the base reward in all its printed versions, and the annual rate built on it.

The versions do not agree with each other: their ratios are powers of ten, of 64 and of the stake.
"""

from __future__ import annotations

from jaxstake.articles.arithmetic import divide
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar
from jaxstake.core.units import GWEI_PER_ETH


@pytree
class BaseReward:
    """What the function of section 2.1 returns."""

    reward_eth: Scalar = leaf(unit="ETH/epoch", meaning="base reward of one validator")
    base_rewards_per_epoch_eth: Scalar = leaf(unit="ETH/epoch", meaning="base rewards per epoch")


@pytree
class AnnualBaseReward:
    """The columns of the table of section 2.1; the document heads the last one "income per day"."""

    reward_per_epoch: Scalar = leaf(unit="ETH/epoch")
    reward_per_day: Scalar = leaf(unit="ETH/day")
    reward_per_year: Scalar = leaf(unit="ETH/year")
    apr: Scalar = leaf(unit="%/year")


def base_reward_calculation(
    *,
    total_effective_stake: Scalar = 16e6,
    validator_effective_balance: Scalar = 32.0,
    base_reward_factor: Scalar = 64.0,
) -> BaseReward:
    """Base reward of one validator per epoch, the code of section 2.1.

    Printed: `reward = B * F * 1 / S`, taken to be Gwei and divided by 1e9. It also takes the slots of an epoch, which
        it does not use.

    Args:
        total_effective_stake: `S`, ETH, > 0.
        validator_effective_balance: `B`, ETH, >= 0.
        base_reward_factor: `F`, > 0.

    Returns:
        `BaseReward`, ETH per epoch.

    Outside: NaN for no stake, where the document's code stops with a division by zero.

    Protocol: The base reward is `B * 64 / sqrt(S)` with balances in Gwei: it falls with the square root of the stake,
        not with the stake. At 10 million ETH this version is too small by a factor of 1e8:
        `jaxstake.protocol.rewards.get_base_reward`.

    Source: APR guide, section 2.1, theorem 2, `base_reward_calculation`.

    Example:
        >>> print(f"{base_reward_calculation(total_effective_stake=10e6).reward_eth:.4g}")
        2.048e-13
    """
    per_epoch = base_reward_factor * 1
    reward = divide(validator_effective_balance * per_epoch, total_effective_stake)
    return BaseReward(reward_eth=reward / GWEI_PER_ETH, base_rewards_per_epoch_eth=per_epoch / GWEI_PER_ETH)


def annual_base_reward(
    *,
    total_effective_stake: Scalar,
    validator_effective_balance: Scalar = 32.0,
    epochs_per_day: Scalar = 225.0,
    days_per_year: Scalar = 365.0,
) -> AnnualBaseReward:
    """Base reward per epoch, day and year, and as a rate: the loop of section 2.1.

    Printed: `apr = reward * 225 * 365 / 32 * 100`.

    Args:
        total_effective_stake: `S`, ETH, > 0.
        validator_effective_balance: ETH, > 0.
        epochs_per_day: epochs in a day, > 0.
        days_per_year: days in a year, > 0.

    Returns:
        `AnnualBaseReward`, ETH and percent per year.

    Outside: NaN for no stake or no balance.

    Protocol: Every rate of that table is printed as 0.00 %; `jaxstake.protocol.issuance.perfect_apr` is the rate.

    Source: APR guide, section 2.1, the loop below `base_reward_calculation`.
    """
    reward = base_reward_calculation(
        total_effective_stake=total_effective_stake, validator_effective_balance=validator_effective_balance
    ).reward_eth
    per_day = reward * epochs_per_day
    per_year = per_day * days_per_year
    apr = divide(per_year, validator_effective_balance) * 100
    return AnnualBaseReward(reward_per_epoch=reward, reward_per_day=per_day, reward_per_year=per_year, apr=apr)


def base_reward_definition(
    *,
    total_participation: Scalar,
    validator_effective_balance: Scalar = 32.0,
    base_reward_factor: Scalar = 64.0,
    base_recipients_per_epoch: Scalar = 1.0,
) -> Scalar:
    """Base reward of one validator, the formula that the document attributes to the Yellow Paper.

    Printed: `BaseReward(validator) = B * F * (BaseRewardsPerEpoch / Total_Participation)` with
        `BaseRewardsPerEpoch = F * BaseRecipientsPerEpoch`. Section 2.2 and appendix A.1 print it again with the total
        stake; no code computes it, because `F` enters twice.

    Args:
        total_participation: total effective stake `S`, ETH, > 0.
        validator_effective_balance: `B`, ETH, >= 0.
        base_reward_factor: `F`, > 0.
        base_recipients_per_epoch: > 0; the document assumes 1.

    Returns:
        No unit is given; `B^0 F^2` if balances are ETH.

    Outside: NaN for no stake.

    Protocol: The Yellow Paper, about the execution layer, defines no base reward. The consensus specification does:
        `jaxstake.protocol.rewards.get_base_reward`.

    Source: APR guide, section 2.1, docstring of `base_reward_calculation`; section 2.2; appendix A.1.
    """
    base_rewards_per_epoch = base_reward_factor * base_recipients_per_epoch
    return validator_effective_balance * base_reward_factor * divide(base_rewards_per_epoch, total_participation)


def base_reward_simplified(
    *,
    total_effective_stake: Scalar = 16e6,
    validator_effective_balance: Scalar = 32.0,
    base_reward_factor: Scalar = 64.0,
    slots_per_epoch: Scalar = 32.0,
) -> Scalar:
    """Base reward of one validator, "simplified".

    Printed: `BaseReward(validator) = B * F * (S * F) / S_validator / (T / B)`, with `S_validator` read as `B`, the
        validator's own stake.

    Args:
        total_effective_stake: `S`, ETH, > 0.
        validator_effective_balance: `B` and `S_validator`, ETH, > 0.
        base_reward_factor: `F`, > 0.
        slots_per_epoch: `T`, > 0.

    Returns:
        No unit is given.

    Outside: NaN for no balance or no slots.

    Protocol: It grows with the total stake, and is no simplification of the line above it:
        `jaxstake.protocol.rewards.get_base_reward`.

    Source: APR guide, section 2.1, docstring of `base_reward_calculation`.
    """
    balance, factor = validator_effective_balance, base_reward_factor
    return divide(
        divide(balance * factor * (total_effective_stake * factor), balance), divide(slots_per_epoch, balance)
    )


def base_reward_further_simplified(
    *,
    total_effective_stake: Scalar = 16e6,
    validator_effective_balance: Scalar = 32.0,
    base_reward_factor: Scalar = 64.0,
    slots_per_epoch: Scalar = 32.0,
) -> Scalar:
    """Base reward of one validator, "further simplified".

    Printed: `BaseReward(validator) = B^2 * F^2 / (S_total * T)`.

    Args:
        total_effective_stake: `S_total`, ETH, > 0.
        validator_effective_balance: `B`, ETH, >= 0.
        base_reward_factor: `F`, > 0.
        slots_per_epoch: `T`, > 0.

    Returns:
        No unit is given.

    Outside: NaN for no stake or no slots.

    Protocol: The base reward grows with the balance, not with its square, and does not depend on the slots of an epoch:
        `jaxstake.protocol.rewards.get_base_reward`.

    Source: APR guide, section 2.1, docstring of `base_reward_calculation`.
    """
    squares = validator_effective_balance**2 * base_reward_factor**2
    return divide(squares, total_effective_stake * slots_per_epoch)
