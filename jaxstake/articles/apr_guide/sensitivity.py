"""Section 2.3 of the APR guide: three studies of how the rate responds."""

from __future__ import annotations

import dataclasses

from jaxstake.articles.apr_guide.calculator import Calculator, annual_apr, attestation_reward, base_reward
from jaxstake.articles.arithmetic import divide
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar


@pytree
class StakeSensitivity:
    """Columns of the first study."""

    change: Scalar = leaf(unit="percentage points", meaning="change of the total rate")
    change_rate: Scalar = leaf(unit="%", meaning="relative change")


@pytree
class ParticipationSensitivity:
    """Columns of the second study."""

    apr: Scalar = leaf(unit="%/year")
    change_rate: Scalar = leaf(unit="%", meaning="relative change")


@pytree
class BalanceSensitivity:
    """Columns of the third study."""

    apr: Scalar = leaf(unit="%/year")
    annual_reward: Scalar = leaf(unit="ETH/year")


def stake_sensitivity(
    calculator: Calculator, *, total_stake: Scalar, reference_stake: Scalar = 20e6
) -> StakeSensitivity:
    """Change of the annual rate with the total stake.

    Printed: `change = apr - apr_20M`, `change rate = change / apr_20M * 100`, MEV and tips included.

    Args:
        calculator: constants.
        total_stake: total effective stake, ETH, > 0.
        reference_stake: the stake to compare with, ETH, > 0.

    Returns:
        `StakeSensitivity`, percentage points and percent.

    Outside: NaN for no stake, where the document's code stops with a division by zero.

    Protocol: The elasticity of the consensus rate is -1/2, printed nearly -1:
        `jaxstake.analysis.sensitivity.elasticity` of `jaxstake.economy.apr.apr`.

    Source: APR guide, section 2.3, `sensitivity_analysis`, part 1.

    Example:
        >>> found = stake_sensitivity(Calculator(), total_stake=22e6)
        >>> print(f"{found.change:.3f} {found.change_rate:.2f} %")
        -2.398 -8.30 %
    """
    reference = annual_apr(calculator, total_stake=reference_stake).total_apr
    change = annual_apr(calculator, total_stake=total_stake).total_apr - reference
    return StakeSensitivity(change=change, change_rate=divide(change, reference) * 100)


def participation_sensitivity(
    calculator: Calculator, *, participation_rate: Scalar, reference_apr: Scalar, total_stake: Scalar = 20e6
) -> ParticipationSensitivity:
    """Annual rate of base and attestation rewards at a participation rate.

    Printed: `apr = (BaseReward + AttestationReward) * 225 * 365 / 32 * 100`, and its change against `reference_apr`:
        the loop sets it at 99 %, and until then (95 and 97 %) still holds the total rate of the first study, left over
        in the same variable, so that a flat function prints a change of -6.17 %.

    Args:
        calculator: constants.
        participation_rate: share of the stake that attests, in (0, 1].
        reference_apr: the rate to compare with, percent, > 0.
        total_stake: total effective stake, ETH, > 0.

    Returns:
        `ParticipationSensitivity`, percent. The rate does not depend on the participation.

    Outside: NaN for no stake or no participation, where the document's code stops with a division by zero.

    Protocol: What a flag pays is proportional to the share of the stake that earns it, and the elasticity of a
        validator's consensus rate to the others' participation is close to 1:
        `jaxstake.protocol.rewards.expected_epoch_rewards`.

    Source: APR guide, section 2.3, `sensitivity_analysis`, part 2.
    """
    base = base_reward(calculator, total_stake=total_stake)
    attestation = attestation_reward(calculator, total_stake=total_stake, participation_rate=participation_rate)
    annual = (base + attestation) * calculator.epochs_per_day * calculator.days_per_year
    apr = annual / 32 * 100
    return ParticipationSensitivity(apr=apr, change_rate=divide(apr - reference_apr, reference_apr) * 100)


def effective_balance_sensitivity(
    calculator: Calculator, *, effective_balance: Scalar, total_stake: Scalar = 20e6
) -> BalanceSensitivity:
    """Annual rate and reward at an effective balance.

    Printed: `annual = BaseReward * 225 * 365`, `apr = annual / balance * 100`, for balances of 16, 24 and 32 ETH.

    Args:
        calculator: constants; its own effective balance is not used.
        effective_balance: ETH, > 0.
        total_stake: total effective stake, ETH, > 0.

    Returns:
        `BalanceSensitivity`, percent and ETH per year.

    Outside: NaN for no stake or no balance, where the document's code stops with a division by zero.

    Protocol: That the rate does not depend on the balance is right, from 17 to 2,048 ETH since Electra. At 16 ETH a
        validator is ejected: `jaxstake.protocol.rewards.get_base_reward`.

    Source: APR guide, section 2.3, `sensitivity_analysis`, part 3.
    """
    changed = dataclasses.replace(calculator, effective_balance=effective_balance)
    annual = base_reward(changed, total_stake=total_stake) * calculator.epochs_per_day * calculator.days_per_year
    return BalanceSensitivity(apr=divide(annual, effective_balance) * 100, annual_reward=annual)
