"""Section 2.2 of the APR guide: the reward calculator, component by component, and the annual rate.

`Calculator` holds what the document's class holds; its functions take it first.
"""

from __future__ import annotations

from jaxstake.articles.arithmetic import divide
from jaxstake.core.domain import NON_NEGATIVE, POSITIVE
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar
from jaxstake.core.units import GWEI_PER_ETH


@pytree
class Calculator:
    """The attributes of `StakingRewardCalculator`, with the document's values."""

    slots_per_epoch: Scalar = leaf(default=32.0, unit="slots", domain=POSITIVE)
    epochs_per_day: Scalar = leaf(default=225.0, unit="epochs", domain=POSITIVE)
    days_per_year: Scalar = leaf(default=365.0, unit="days", domain=POSITIVE)
    base_reward_factor: Scalar = leaf(default=64.0, domain=POSITIVE)
    base_recipients_per_epoch: Scalar = leaf(default=1.0, domain=POSITIVE)
    proposer_score_boost: Scalar = leaf(default=1 / 8, domain=NON_NEGATIVE, meaning="share of the proposer")
    effective_balance: Scalar = leaf(default=32.0, unit="ETH", domain=POSITIVE)


@pytree
class SyncCommitteeReward:
    """What the document returns about the sync committee."""

    average: Scalar = leaf(unit="ETH/epoch", meaning="average reward of a member")
    selection_probability: Scalar = leaf(meaning="chance to be selected")
    annual: Scalar = leaf(unit="ETH/year", meaning="yearly reward, not weighted by that chance")


@pytree
class DailyReward:
    """The three terms that the annual rate adds up."""

    base: Scalar = leaf(unit="ETH/day")
    proposer: Scalar = leaf(unit="ETH/day")
    sync: Scalar = leaf(unit="ETH/day")


@pytree
class AnnualApr:
    """What `calculate_annual_apr` returns. Rates are percent, `annual_reward_eth` is ETH per year."""

    base_apr: Scalar = leaf(unit="%/year")
    mev_apr: Scalar = leaf(unit="%/year")
    tips_apr: Scalar = leaf(unit="%/year")
    total_apr: Scalar = leaf(unit="%/year")
    annual_reward_eth: Scalar = leaf(unit="ETH/year")


def base_reward(calculator: Calculator, *, total_stake: Scalar) -> Scalar:
    """Base reward of one validator per epoch, the calculator's version.

    Printed: `BaseReward = EffectiveBalance * BaseRewardFactor * 1 * 1e9 / TotalStake / 1e9`; the docstring has the
        factor twice, the code once.

    Args:
        calculator: constants.
        total_stake: total effective stake, ETH, > 0.

    Returns:
        ETH per epoch: a billion times that of section 2.1.

    Outside: NaN for no stake, where the document's code stops with a division by zero.

    Protocol: `EB * 64 / sqrt(S)` with balances in Gwei. At 10 million ETH this version is 10 times too large, the ratio
        falling with the square root of the stake: `jaxstake.protocol.rewards.get_base_reward`.

    Source: APR guide, section 2.2, `StakingRewardCalculator.calculate_base_reward`.

    Example:
        >>> print(f"{base_reward(Calculator(), total_stake=10e6):.7f}")
        0.0002048
    """
    per_epoch = calculator.base_reward_factor * calculator.base_recipients_per_epoch * GWEI_PER_ETH
    return divide(calculator.effective_balance * per_epoch, total_stake) / GWEI_PER_ETH


def attestation_reward(calculator: Calculator, *, total_stake: Scalar, participation_rate: Scalar = 0.99) -> Scalar:
    """Attestation reward of one validator per epoch.

    Printed: `BaseReward * AttestationWeight / TotalWeight * ParticipationRate`, with an attestation weight of 1 and
        `TotalWeight = 32 * ParticipationRate`: the participation cancels, and 1/32 of the base reward is left.

    Args:
        calculator: constants.
        total_stake: total effective stake, ETH, > 0.
        participation_rate: share of the stake that attests, in (0, 1].

    Returns:
        ETH per epoch. The annual rate computes it and does not use it.

    Outside: NaN for no stake or no participation, where the document's code stops with a division by zero.

    Protocol: Attestations are 54/64 of the base reward, times the participation of each flag:
        `jaxstake.protocol.rewards.attestation_reward`.

    Source: APR guide, section 2.2, `StakingRewardCalculator.calculate_attestation_reward`.

    Example:
        >>> print(f"{attestation_reward(Calculator(), total_stake=10e6):.7f}")
        0.0000064
    """
    attestation_weight = 1
    total_weight = calculator.slots_per_epoch * participation_rate
    reward = base_reward(calculator, total_stake=total_stake) * attestation_weight
    return divide(reward, total_weight) * participation_rate


def proposer_reward(calculator: Calculator, *, total_stake: Scalar, chain_activity_rate: Scalar = 0.98) -> Scalar:
    """Proposer reward of one validator per epoch.

    Printed: `R_proposer = BaseReward * ProposerBoost * ParticipationRate`, a boost of 1/8 and a rate of 0.98.

    Args:
        calculator: constants.
        total_stake: total effective stake, ETH, > 0.
        chain_activity_rate: share of slots with a block, in [0, 1].

    Returns:
        ETH per epoch.

    Outside: NaN for no stake, where the document's code stops with a division by zero.

    Protocol: An eighth of the base reward is the expectation per epoch over all epochs, so that nothing is left to
        multiply by a chance of being selected. The "proposer score boost" of the specification is another thing, of the
        fork choice: `jaxstake.protocol.rewards.proposer_reward`.

    Source: APR guide, section 2.2, `StakingRewardCalculator.calculate_proposer_reward`.
    """
    return base_reward(calculator, total_stake=total_stake) * calculator.proposer_score_boost * chain_activity_rate


def sync_committee_reward(
    calculator: Calculator,
    *,
    total_stake: Scalar,
    sync_committee_size: Scalar = 512.0,
    sync_reward_factor: Scalar = 2.0,
) -> SyncCommitteeReward:
    """Sync committee reward of one validator.

    Printed: `average = BaseReward * 2 / 512`, `probability = 512 / (TotalStake / EffectiveBalance)`, and
        `annual = average * 225 * 365`, without the probability.

    Args:
        calculator: constants.
        total_stake: total effective stake, ETH, > 0.
        sync_committee_size: members, > 0.
        sync_reward_factor: "twice an ordinary attestation".

    Returns:
        `SyncCommitteeReward`.

    Outside: NaN for no stake or no members, where the document's code stops with a division by zero.

    Protocol: A member earns `M b 2/64 / 512` per epoch, `M b` the base reward of all; a committee serves 256 epochs,
        not one; in expectation a validator earns 2/64 of its base reward:
        `jaxstake.protocol.rewards.sync_committee_income`, `jaxstake.protocol.rewards.get_sync_participant_reward`.

    Source: APR guide, section 2.2, `StakingRewardCalculator.calculate_sync_committee_reward`.
    """
    average = divide(base_reward(calculator, total_stake=total_stake) * sync_reward_factor, sync_committee_size)
    probability = divide(sync_committee_size, divide(total_stake, calculator.effective_balance))
    annual = average * calculator.epochs_per_day * calculator.days_per_year
    return SyncCommitteeReward(average=average, selection_probability=probability, annual=annual)


def daily_reward(calculator: Calculator, *, total_stake: Scalar) -> DailyReward:
    """Rewards of one validator in a day, as the annual rate counts them.

    Printed: `BaseReward * 225 + ProposerReward * (7200 / TotalStake / EffectiveBalance) + SyncAnnual / 365`.

    Args:
        calculator: constants.
        total_stake: total effective stake, ETH, > 0.

    Returns:
        `DailyReward`, ETH per day.

    Outside: NaN for no stake, where the document's code stops with a division by zero.

    Protocol: Attestations, 54/64 of all rewards, are missing; the number of proposals divides by the balance where it
        should multiply, a factor of 32^2; the sync term is not weighted by selection:
        `jaxstake.protocol.rewards.expected_epoch_rewards`.

    Source: APR guide, section 2.2, `StakingRewardCalculator.calculate_annual_apr`.
    """
    slots_per_day = calculator.slots_per_epoch * calculator.epochs_per_day
    proposals = divide(divide(slots_per_day, total_stake), calculator.effective_balance)
    sync = sync_committee_reward(calculator, total_stake=total_stake).annual
    return DailyReward(
        base=base_reward(calculator, total_stake=total_stake) * calculator.epochs_per_day,
        proposer=proposer_reward(calculator, total_stake=total_stake) * proposals,
        sync=sync / calculator.days_per_year,
    )


def annual_apr(
    calculator: Calculator,
    *,
    total_stake: Scalar,
    mev_rate: Scalar = 0.02,
    tips_rate: Scalar = 0.005,
    include_mev: bool = True,
    include_tips: bool = True,
) -> AnnualApr:
    """Annual rate of one validator, with MEV and tips.

    Printed: `daily = BaseReward * 225 + ProposerReward * (7200 / TotalStake / EffectiveBalance) + SyncAnnual / 365`,
        then 365 days of it, plus 2 % of the balance for MEV and 0.5 % for tips.

    Args:
        calculator: constants.
        total_stake: total effective stake, ETH, > 0.
        mev_rate: MEV per year and ETH of effective balance, "estimated", a fraction.
        tips_rate: tips per year and ETH of effective balance, "estimated", a fraction.
        include_mev: whether MEV counts; static.
        include_tips: whether tips count; static.

    Returns:
        `AnnualApr`, percent and ETH per year.

    Outside: NaN for no stake, where the document's code stops with a division by zero.

    Protocol: 5.3 % at 10 million ETH instead of 52.8 %. Beside the base reward: attestations are computed and not
        added, the proposer term divides by the balance where it should multiply (a factor of 32^2), the sync term is
        not weighted by selection, and MEV and tips do not depend on the number of validators who share them:
        `jaxstake.economy.apr.apr`, `jaxstake.protocol.issuance.perfect_apr`.

    Source: APR guide, section 2.2, `StakingRewardCalculator.calculate_annual_apr`.

    Example:
        >>> print(f"{annual_apr(Calculator(), total_stake=10e6).base_apr:.3f} %")
        52.765 %
    """
    daily = daily_reward(calculator, total_stake=total_stake)
    balance = calculator.effective_balance
    annual = (daily.base + daily.proposer + daily.sync) * calculator.days_per_year
    mev = mev_rate * balance if include_mev else 0.0
    tips = tips_rate * balance if include_tips else 0.0
    total = annual + mev + tips
    return AnnualApr(
        base_apr=divide(annual, balance) * 100,
        mev_apr=divide(mev, balance) * 100,
        tips_apr=divide(tips, balance) * 100,
        total_apr=divide(total, balance) * 100,
        annual_reward_eth=total,
    )


def total_reward(
    *, base: Scalar, attestation: Scalar, proposer: Scalar, sync: Scalar, mev: Scalar, tips: Scalar
) -> Scalar:
    """Total reward, the formula of the appendix.

    Printed: `TotalReward = BaseReward + AttestationReward + ProposerReward + SyncReward + MEV + Tips`.

    Args:
        base: base reward, ETH.
        attestation: attestation reward, ETH.
        proposer: proposer reward, ETH.
        sync: sync committee reward, ETH.
        mev: MEV, ETH.
        tips: tips, ETH.

    Returns:
        ETH, over the same period.

    Outside: Any numbers are added as they are.

    Protocol: The base reward is no income beside the others: it is the measure of which attestations earn 54/64, the
        sync committee 2/64 and proposals 8/64. The sum counts it twice:
        `jaxstake.protocol.rewards.expected_epoch_rewards`.

    Source: APR guide, appendix A.2.
    """
    return base + attestation + proposer + sync + mev + tips
